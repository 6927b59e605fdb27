"""Bad input for every mutation: one typed sentence says what is wrong with which field, and nothing is written.

Made from the schema: every field of every input, nested ones too, gets the bad values of its type and name, in an input
that is good otherwise. `GOOD` says what a good one is: a mutation or a field that it lacks fails.
"""

import asyncio
import copy
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
)
from structlog.testing import capture_logs

from store import ids
from store.control_plane import CONTROL_PLANE
from store.residency import LEGACY, NEW, ShardKey
from tests.conftest import over_shards
from tests.federation import START, FederationUnderTest, Tenant, bearer, plant_tenant
from tests.schema.test_bad_input import (
    BOOLEANS,
    CORE,
    HOSTILE,
    LEAKS,
    MEGABYTE,
    NEARLY,
    OBJECTS,
    SLOWEST,
    TIMES,
    Spot,
    bad_enums,
    look_alikes,
    nested,
    spots,
    torn,
)

Given = dict[str, Any]
Plant = Callable[[FederationUnderTest, ShardKey], Awaitable[str]]
AT_ONCE = 8


async def plant_run(federation: FederationUnderTest, shard: ShardKey, **columns: Any) -> str:
    return f"run_{await federation.run(shard, **{'status': 'EXECUTING', **columns})}"


async def plant_waitpoint(federation: FederationUnderTest, shard: ShardKey, type_: str, **columns: Any) -> str:
    return f"waitpoint_{await federation.waitpoint(shard, type=type_, **columns)}"


async def plant_batch(federation: FederationUnderTest, shard: ShardKey) -> str:
    return f"batch_{await federation.batch(shard)}"


async def plant_key(federation: FederationUnderTest, shard: ShardKey) -> str:
    key = ids.mint_cuid()
    await federation.run(shard, idempotencyKey=key)
    return key


async def plant_bulk_action(federation: FederationUnderTest, _: ShardKey, **columns: Any) -> str:
    id_, tenant = ids.mint_cuid(), federation.tenant
    place = {"projectId": tenant.project_id, "environmentId": tenant.environment_id, **federation.times()}
    row = {"id": id_, "friendlyId": f"bulk_{id_}", "type": "CANCEL", **place, **columns}
    await federation.insert(CONTROL_PLANE, "BulkActionGroup", row)
    return f"bulk_{id_}"


async def plant_version(federation: FederationUnderTest, _: ShardKey) -> str:
    id_, tenant = ids.mint_cuid(), federation.tenant
    row = {"id": id_, "friendlyId": f"worker_{id_}", "version": id_, "contentHash": "x", "metadata": "{}"}
    place = {"projectId": tenant.project_id, "runtimeEnvironmentId": tenant.environment_id, **federation.times()}
    await federation.insert(CONTROL_PLANE, "BackgroundWorker", {**row, **place})
    return id_


async def environment(federation: FederationUnderTest, _: ShardKey) -> str:
    return f"env_{federation.tenant.environment_id}"


async def fresh(_: FederationUnderTest, __: ShardKey) -> str:
    return ids.mint_cuid()


LATER = START + timedelta(days=36_500)
ROWS: dict[str, Plant] = {
    "run": plant_run,
    "parent": plant_run,
    "delayed": partial(plant_run, status="DELAYED", delayUntil=LATER),
    "final": partial(plant_run, status="COMPLETED_SUCCESSFULLY"),
    "retired": partial(plant_run, engine="V1"),
    "delayed and retired": partial(plant_run, engine="V1", status="DELAYED"),
    "tagged": partial(plant_run, runTags=[str(number) for number in range(9)]),
    "full": partial(plant_run, metadata=json.dumps({"a": "x" * 262_000})),
    "keyed": lambda federation, shard: plant_run(federation, shard, idempotencyKey=ids.mint_cuid()),
    "key": plant_key,
    "token": partial(plant_waitpoint, type_="MANUAL"),
    "time": partial(plant_waitpoint, type_="DATETIME", completedAfter=LATER),
    "end of a run": partial(plant_waitpoint, type_="RUN"),
    "end of a batch": partial(plant_waitpoint, type_="BATCH"),
    "batch": plant_batch,
    "bulk": plant_bulk_action,
    "aborted": partial(plant_bulk_action, status="ABORTED"),
    "version": plant_version,
    "environment": environment,
    "fresh": fresh,
}
"""What a good input names in angle brackets, planted when it is needed. `fresh` is a text that nothing has."""

A_RUN: Given = {
    "task": "hello",
    "payload": {"a": [1, None]},
    "metadata": {"b": 2},
    "tags": ["c"],
    "queue": "d",
    "concurrencyKey": "e",
    "machine": "SMALL_1X",
    "region": "eu",
    "version": "<version>",
    "maxAttempts": 3,
    "maxDurationSeconds": 60,
    "delay": "1h",
    "ttl": "10m",
    "priorityMs": 7,
    "isTest": True,
    "idempotencyKey": "<fresh>",
    "idempotencyKeyTTL": "1d",
    "idempotencyKeyScope": "RUN",
}
UNDER_A_KEY: Given = {"idempotencyKey": "<fresh>", "idempotencyKeyTTL": "1d"}
WITH_A_PARENT: Given = {
    "environmentId": "<environment>",
    "parentRunId": "<parent>",
    "resumeParentOnCompletion": True,
}
SET = {"type": "set", "key": "a", "value": 1}
GOOD: dict[str, tuple[Given, ...]] = {
    "triggerRun": (A_RUN | WITH_A_PARENT,),
    "triggerBatch": ({"items": [{"task": "hello"}, A_RUN], **UNDER_A_KEY, **WITH_A_PARENT},),
    "cancelRun": ({"id": "<run>"},),
    "replayRun": (
        {
            **{name: value for name, value in A_RUN.items() if name not in {"task", "delay", "ttl", "isTest"}},
            "id": "<run>",
            "environmentId": "<environment>",
            "delaySeconds": 60,
            "ttlSeconds": 60,
            "idempotencyKeyTTLSeconds": 60,
            "prioritySeconds": 7,
        },
    ),
    "rescheduleRun": ({"id": "<delayed>", "delay": "2h"},),
    "addRunTags": ({"id": "<run>", "tags": ["a", "b"]},),
    "updateRunMetadata": (
        {"id": "<run>", "metadata": {}, "operations": [SET], "parentOperations": [SET], "rootOperations": [SET]},
    ),
    "resetIdempotencyKey": (
        {"environmentId": "<environment>", "taskIdentifier": "hello", "key": "<key>"},
        {"runId": "<keyed>"},
    ),
    "createWaitpointToken": ({"environmentId": "<environment>", **UNDER_A_KEY, "timeout": "1h", "tags": ["a"]},),
    "completeWaitpointToken": ({"id": "<token>", "data": {"a": 1}}, {"id": "<token>", "timedOut": True}),
    "skipDateTimeWaitpoint": ({"id": "<time>"},),
    "waitForWaitpointToken": ({"runId": "<run>", "waitpointId": "<token>"},),
    "waitForDuration": ({"runId": "<run>", "date": "2031-01-01T00:00:00Z", **UNDER_A_KEY},),
    "createBulkAction": (
        {
            "environmentId": "<environment>",
            "action": "REPLAY",
            "name": "a",
            "runIds": ["<run>"],
            "targetRegion": "eu",
        },
        {"action": "CANCEL", "filter": {"tags": ["<fresh>"], "createdAt": {"period": "1d"}}},
    ),
    "abortBulkAction": ({"id": "<bulk>"},),
}
"""Of each mutation, inputs that are done; several where fields exclude each other."""
for _name in ("idempotencyKeyTTL", "idempotencyKeyScope", "priorityMs"):
    GOOD["replayRun"][0].pop(_name)

ERRORS = "userErrors { __typename code message path ... on InvalidRunStateError { status } }"


def mutations() -> dict[str, GraphQLField]:
    """Return the mutations of the schema. Each must have a good input, or nothing is proven of it."""
    assert isinstance(CORE.mutation_type, GraphQLObjectType)
    fields = dict(CORE.mutation_type.fields)
    missing = ", ".join(fields.keys() - GOOD.keys())
    assert not missing, f"say in GOOD of tests/schema/test_bad_writes.py what a good input is of: {missing}"
    return fields


def document(name: str, selected: str = "") -> str:
    """Return the operation of a mutation, which shows the plain fields of its payload, and more if told."""
    field = mutations()[name]
    payload = CORE.type_map[str(field.type).rstrip("!")]
    assert isinstance(payload, GraphQLObjectType)
    plain = [one for one, inner in payload.fields.items() if str(inner.type).rstrip("!") in ("Boolean", "Int")]
    objects = [one for one in ("run", "batch", "waitpoint", "bulkAction") if one in payload.fields]
    shown = selected or " ".join(f"{one} {{ id }}" for one in objects)
    kind = field.args["input"].type
    return f"mutation ($input: {kind}) {{ {name}(input: $input) {{ {' '.join(plain)} {shown} {ERRORS} }} }}"


async def filled(
    federation: FederationUnderTest, shard: ShardKey, given: Any, known: dict[str, str] | None = None
) -> Any:
    """Return an input with rows in the places of their names. One name is one row."""
    known = {} if known is None else known
    match given:
        case dict():
            return {key: await filled(federation, shard, value, known) for key, value in given.items()}
        case list() | tuple():
            return [await filled(federation, shard, value, known) for value in given]
        case str() if given.startswith("<") and given.endswith(">") and given[1:-1] in ROWS:
            name = given[1:-1]
            if name == "fresh" or name not in known:
                known[name] = await ROWS[name](federation, shard)
            return known[name]
    return given


class Watch:
    """Tells whether anything was written: how many rows each table has, and a digest of those of some tenants."""

    def __init__(self, federation: FederationUnderTest, *tenants: Tenant) -> None:
        self._connections = {id(one): one for one in federation.connections.values()}.values()
        self._environments = [tenant.environment_id for tenant in tenants]
        self._statements: dict[int, str] = {}

    async def rows(self) -> dict[tuple[int, str], tuple[int, int]]:
        """Return the rows of every table of every database, counted and digested: one statement a database."""
        seen = {}
        for number, connection in enumerate(self._connections):
            if number not in self._statements:
                self._statements[number] = await _counting(connection)
            for row in await connection.fetch(self._statements[number], self._environments):
                seen[number, row["table"]] = row["rows"], row["digest"]
        return seen


async def _counting(connection: "asyncpg.Connection[Any]") -> str:
    """Return the statement that counts the rows of a database, and digests those of environments."""
    columns = await connection.fetch(
        """SELECT t.tablename AS name, min(c.column_name) AS place FROM pg_tables t
           LEFT JOIN information_schema.columns c ON c.table_schema = 'public' AND c.table_name = t.tablename
             AND c.column_name IN ('environmentId', 'runtimeEnvironmentId')
           WHERE t.schemaname = 'public' GROUP BY 1 ORDER BY 1"""
    )
    assert len(columns) > 10
    parts = []
    for name, place in columns:
        mine = f'r."{place}" = ANY($1)' if place else "$1::text[] IS NOT NULL"
        digest = f"coalesce(sum(hashtextextended(r::text, 0)) FILTER (WHERE {mine}), 0) AS digest"
        parts.append(f"SELECT '{name}' AS table, count(*) AS rows, {digest} FROM \"{name}\" r")  # noqa: S608  its own names
    return " UNION ALL ".join(parts)


class Bad(NamedTuple):
    """A bad value of a field, in an input that is good otherwise, or a request that holds no good input at all."""

    mutation: str
    keys: tuple[str, ...]
    value: Any
    body: bytes

    @property
    def label(self) -> str:
        text = ascii(self.value)
        text = text if len(text) < 90 else f"{text[:60]}... of {len(text)}"
        return f"{self.mutation}({'.'.join(self.keys)}): {text}"


def put(given: Given, keys: tuple[str, ...], value: Any) -> Any:
    """Return an input with a value in the place of a field; of several items, of the last one."""
    if len(keys) == 1:
        return value
    changed: Given = copy.deepcopy(given)
    place: Any = changed
    for key in keys[1:-1]:
        place = place.setdefault(key, {})
        place = place[-1] if isinstance(place, list) else place
    place[keys[-1]] = value
    return changed


# fmt: off  lists of values are read as lists
DURATIONS = (
    "",
    " ",
    "x",
    "1",
    "1x",
    "1y",
    "h",
    "-1d",
    "+1d",
    "--1d",
    "1.5h",
    "1,5h",
    "1e3d",
    "0x7d",
    "1_0d",
    "1h 30m",
    "30m1h",
    "1d1d",
    " 1d",
    "1d ",
    "1d\n",
    "1d\0",
    "\0",
    "\ud800",
    "\u0661d",
    "\uff11d",
    "1\uff44",
    "\u00b2d",
    "1\u200bd",
    "P7D",
    "yesterday",
    "infinity",
    "{}",
    "9" * 5_000 + "d",
    "9" * NEARLY,
    "999999999w",
    "5300w",
    "1d" * 60,
)
MOMENTS = (
    "0000-01-01",
    "10000-01-01",
    "2031-02-30",
    "2031-13-01T00:00:00Z",
    "2031-01-01T25:00:00Z",
    "2200-01-01",
    "9999-12-31T23:59:59-14:00",
    "2031-01-01\n",
    "\uff12031-01-01",
    "2031-01-01T00:00:00Z\0",
    "2031-W01-1",
)
PASSED = ("2020-01-01", "2020-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "0s", "0d")
LIFETIMES = ("1w", "0s", "0d", "0", "60", "1d1h", "3654d", "999999999d", "9999999999s", "2031-01-01")
WRONG_TEXTS: tuple[Any, ...] = (7, 1.5, True, {}, {"a": 1}, [[]])
WRONG_IDS: tuple[Any, ...] = (1.5, True, {}, {"id": "run_x"}, [["a"]])
WRONG_NUMBERS: tuple[Any, ...] = (
    2**31,
    -(2**31) - 1,
    2**53,
    2**63,
    2**64,
    10**400,
    1.5,
    1e10,
    1e300,
    True,
    "",
    "1",
    "\u0663",
    "\ud800",
    [],
    [1, 2],
)
NO_JSON = (
    "a\0b",
    {"a": "\0"},
    {"\0": 1},
    ["\ud800"],
    {"\udfff": 1},
    nested(("a",) * 201, 1),
    nested(("a",) * 240, 1),
)
NO_OBJECTS: tuple[Any, ...] = ("x", "{}", 7, 0, 1.5, True, False, [], [{}], [1])
NO_OPERATIONS: tuple[Any, ...] = (
    7,
    True,
    "set",
    "{}",
    [],
    [SET],
    {},
    {"type": "set"},
    {"type": "set", "key": "a"},
    {"type": "set", "value": 1},
    {"key": "a", "value": 1},
    {"type": "SET", "key": "a", "value": 1},
    {"type": "put", "key": "a", "value": 1},
    {"type": None, "key": "a", "value": 1},
    {"type": "set", "key": 7, "value": 1},
    SET | {"key": ["a"]},
    {"type": "set", "key": None, "value": 1},
    SET | {"more": 1},
    {"type": "delete"},
    {"type": "delete", "key": 1},
    {"type": "delete", "key": "a", "value": 1},
    {"type": "update"},
    {"type": "update", "value": []},
    {"type": "update", "value": None},
    {"type": "update", "value": "{}"},
    {"type": "update", "key": "a", "value": {}},
    {"type": "increment", "key": "a"},
    {"type": "increment", "key": "a", "value": "1"},
    {"type": "increment", "key": "a", "value": True},
    {"type": "increment", "key": "a", "value": None},
    {"type": "increment", "key": "a", "value": [1]},
    {"type": "append", "key": "a"},
    {"type": "remove", "key": "a"},
    SET | {"key": "$."},
    SET | {"key": "$.a..b"},
    SET | {"key": "$.a[b]"},
    SET | {"key": "$.a[-1]"},
    SET | {"key": "$.a["},
    SET | {"key": "$.[0]"},
    SET | {"key": "$.a[\u0661]"},
    SET | {"key": "$." + "a." * 200 + "a"},
    SET | {"key": "\0"},
    SET | {"key": "x" * 300_000},
    SET | {"value": "\0"},
    SET | {"value": "x" * 262_145},
    SET | {"value": nested(("a",) * 240, 1)},
    SET | {"value": "\ud800"},
    {"type": "update", "value": {"\0": 1}},
)
# fmt: on
LONGEST = {"key": 2_048, "idempotencyKey": 2_048, "name": 255}
DURING = {"delay": (*DURATIONS, *MOMENTS), "timeout": (*DURATIONS, *MOMENTS, *PASSED)}
WHOLE = {
    "priorityMs": (-(2**31),),
    "prioritySeconds": (2**31 - 1, -(2**31), 2_147_484),
    "delaySeconds": (-1, -(2**31)),
}


def bad_texts(name: str, spot: Spot) -> Iterator[Any]:
    """Yield bad texts for a field of that name: what is not stored of its kind, and what is stored of none."""
    if name in DURING:
        yield from DURING[name]
    elif name == "ttl":
        # A number is a number of seconds.
        yield from (text for text in (*DURATIONS, *MOMENTS, "2031-01-01") if text != "1")
    elif name == "idempotencyKeyTTL":
        yield from (*DURATIONS, *LIFETIMES)
    elif name == "period":
        yield from ("", " ", "7", "d", "7y", "-1d", "1d1h", "\u0667d", "7d\0", "9" * 5_000 + "d")
    else:
        yield from ("\0", "a\0b", "\0" * 10)
        if "filter" not in spot.keys:
            most = LONGEST.get(name, 128)
            yield from ("x" * (most + 1), "\N{ZERO WIDTH SPACE}" * (most + 1), "x" * NEARLY, "\ud800", "a\udfff")
            yield from [] if name == "tags" else [""]
            yield from ["\N{LATIN SMALL LETTER E WITH ACUTE}" * (most // 2 + 1)] if most > 2_000 else []


def bad_ids(spot: Spot, good: str, strangers: Collection[str]) -> Iterator[Any]:
    """Yield ids that name nothing of the asker's: of other kinds, malformed, missing, and others'."""
    prefix, _, body = good.partition("_")
    yield from (id_ for id_ in strangers if spot.keys[-1] != "runIds" or not id_.startswith("run_"))
    yield from (body, prefix, "_", f"_{body}", f"{prefix.upper()}_{body}", f"{prefix}-{body}", 7, 0, -1, 2**63)
    yield from (f"{prefix}_{'é' * 200}", f"{prefix}_{body}\0", f"{prefix}_{body}\ud800", good.ljust(NEARLY, "a"))
    yield from HOSTILE
    if spot.keys[-1] != "runIds":
        shapes = ("", ids.mint_cuid(), ids.mint_v1(), ids.mint_v2("z"), "0" * 27, "z" * 27, "x")
        yield from (f"{prefix}_{shape}" for shape in (*shapes, "0" * 10_000, good, body.upper()))
        yield from (f"{good}_{good}", f"{good}_", *torn(good), *look_alikes(good))


def bad_members(spot: Spot, good: Any, strangers: Collection[str]) -> Iterator[Any]:
    """Yield bad values of a field's type and name; of a list, of one of its members."""
    name = spot.keys[-1]
    match spot.named.name:
        case "ID" if "filter" in spot.keys:
            yield from ()  # an id that names nothing finds nothing there
        case "ID":
            yield from bad_ids(spot, good, strangers)
        case "String":
            yield from bad_texts(name, spot)
        case "Int":
            yield from WHOLE.get(name, (0, -1, -(2**31)))
        case "JSON" if name.lower().endswith("operations"):
            yield from NO_OPERATIONS
        case "JSON":
            yield from NO_JSON
            if name == "metadata":
                yield from (*NO_OBJECTS, {"a": "x" * 262_140}, {"x" * 300_000: 1}, {"a": [0.1] * 70_000})
        case "MachinePreset" | "BulkActionType" | "RunStatus" | "RawRunStatus":
            yield "UNKNOWN"


def misfits(spot: Spot) -> Iterator[Any]:
    """Yield values that are not of a field's type; of a list, of one of its members."""
    kind = spot.named
    match kind.name:
        case "ID":
            yield from WRONG_IDS
        case "String":
            yield from WRONG_TEXTS
        case "Int":
            yield from WRONG_NUMBERS
        case "Boolean":
            yield from BOOLEANS
        case "DateTime":
            yield from TIMES
        case _ if isinstance(kind, GraphQLEnumType):
            yield from (bad for bad in bad_enums(kind) if bad not in list(kind.values))
        case _ if isinstance(kind, GraphQLInputObjectType):
            yield from OBJECTS


def lists(spot: Spot, good: Any) -> Iterator[Any]:
    """Yield bad lists of a field that takes one."""
    member = good[0] if isinstance(good, list) else "x"
    yield from ([None], [member, None], [[[member]]])
    match spot.keys[-1], spot.named.name:
        case "tags", _ if "filter" not in spot.keys:
            yield from ([f"tag {number}" for number in range(many)] for many in (11, 20_000))
        case _, "JSON":
            yield from ([SET] * 101, [SET] * 10_000)
        case "items", _:
            yield from ([], [{"task": "hello"}] * 501, [{"task": "hello"}] * 50_000)
        case "runIds", _ if "filter" not in spot.keys:
            yield from ([], [member] * 501, [member] * 20_000)
        case _:
            yield from ([member] * many for many in (101, 20_000))


def some(values: list[Any], number: int, always: int) -> list[Any]:
    """Return all values for the first field of a kind; for another those that come first, and one in so many."""
    rest = values[always:]
    return values[:always] + rest[number % 7 :: 7] if number and len(rest) > 7 else values


def bad_values(spot: Spot, good: Any, strangers: Collection[str], tried: Counter[str]) -> Iterator[Any]:
    """Yield the bad values of a field. What the same code refuses everywhere is given to the first field of a kind."""
    member = good[0] if isinstance(good, list) and good else good
    is_scalar = isinstance(spot.named, GraphQLScalarType)
    of_type = spot.named.name if is_scalar else type(spot.named).__name__
    of_name = next((name for name in (*DURING, "ttl", "TTL") if spot.keys[-1].endswith(name)), of_type)
    members = some(list(bad_members(spot, member, strangers)), tried[of_name], len(strangers) if of_name == "ID" else 8)
    others = some(list(misfits(spot)), tried[of_type], 0)
    tried.update({of_name, of_type})
    for value in (*members, *others):
        if spot.is_list and not isinstance(value, list):
            yield [*(good or ()), value]
        elif spot.is_list:
            yield [value]
        else:
            yield value
    if spot.is_list:
        yield from lists(spot, good)
    if isinstance(spot.type, GraphQLNonNull):
        yield None


def at(given: Any, keys: Iterable[str]) -> Any:
    """Return the value of a field of an input, of several items of the last one; None if it is not given."""
    for key in keys:
        given = given[-1] if isinstance(given, list) else given
        given = given.get(key) if isinstance(given, dict) else None
    return given


SAID_ONCE = {"environmentId", "parentRunId", "resumeParentOnCompletion"}
"""Of a batch, not of its items."""


async def aimed(
    federation: FederationUnderTest, name: str, field: GraphQLField, strangers: list[str], tried: Counter[str]
) -> list[list[Bad]]:
    """Return everything bad that can be said to a mutation, by the field that it is said of."""
    shard = (LEGACY, NEW)[len(tried) % 2]
    variants = [await filled(federation, shard, variant) for variant in GOOD[name]]
    query, found = document(name), []
    for spot in spots(field):
        keys = spot.keys[1:]
        fits = [one for one in variants if at(one, keys) is not None] or [
            one for one in variants if not keys[:-1] or at(one, keys[:-1]) is not None
        ]
        values = bad_values(spot, at(fits[0], keys), strangers, tried)
        if "items" in keys and keys[-1] in SAID_ONCE:
            values = iter((True, 7) if keys[-1].startswith("resume") else (*fits[0].values(), "env_x"))
            values = (value for value in values if isinstance(value, str | int))
        bads = []
        for value in values:
            body = json.dumps({"query": query, "variables": {"input": put(fits[0], spot.keys, value)}}).encode()
            bads.append(Bad(name, spot.keys, value, body))
        assert bads, f"no bad value is known for {name}({'.'.join(spot.keys)})"
        found.append(bads)
    return found


class Answer(NamedTuple):
    """What came back: the payload if there is one, the errors at top level, and what is wrong with all of it."""

    payload: Any
    errors: list[Any]
    wrong: list[str]


async def answer_to(client: httpx.AsyncClient, bad: Bad) -> Answer:
    began = time.monotonic()
    response = await client.post("/graphql", content=bad.body, headers={"Content-Type": "application/json"})
    wrong = [] if (took := time.monotonic() - began) < SLOWEST else [f"took {took:.1f} s"]
    if response.status_code not in (200, 400, 413):
        wrong.append(f"HTTP {response.status_code}")
    try:
        answer = response.json()
    except ValueError:
        return Answer(None, [], [*wrong, f"no JSON: {response.text[:200]!r}"])
    payload, errors = (answer.get("data") or {}).get(bad.mutation), answer.get("errors", [])
    codes = {error["extensions"]["code"] for error in errors}
    wrong += [f"code {code}" for code in codes - {"BAD_USER_INPUT", "PAYLOAD_TOO_LARGE"}]
    for error in (*errors, *(payload or {}).get("userErrors", ())):
        wrong += wrong_with(error["message"])
    return Answer(payload, errors, wrong)


def wrong_with(message: str) -> Iterator[str]:
    if len(message.splitlines()) != 1:
        yield f"not one line: {message[:200]!r}"
    if len(message) >= 300:
        yield f"{len(message)} characters: {message[:120]!r}"
    if LEAKS.search(message):
        yield f"tells of our inside: {message[:200]!r}"


TYPED = {
    "NOT_FOUND": "NotFoundError",
    "INVALID_INPUT": "InvalidInputError",
    "PAYLOAD_TOO_LARGE": "PayloadTooLargeError",
    "INVALID_STATE": "InvalidStateError",
    "CONFLICT": "ConflictError",
}


async def judge(client: httpx.AsyncClient, bad: Bad, reached: dict[tuple[str, ...], bool]) -> list[str]:
    """Return what is wrong with the answer to a bad value, and note which field it names, and whether we say it."""
    payload, errors, wrong = await answer_to(client, bad)
    spot = (bad.mutation, *bad.keys)
    if errors:
        if payload is not None:
            wrong.append("errs, and has a payload")
        named = re.sub(r"\[\d+\]", "", " ".join(error["message"] for error in errors))
        if f" at .{'.'.join(bad.keys[1:])}:" in named or len(bad.keys) == 1:
            reached.setdefault(spot, False)
    elif payload is None or len(payload["userErrors"]) != 1:
        wrong.append(f"was not refused: {str(payload)[:200]}")
    else:
        (error,) = payload["userErrors"]
        if error["__typename"] != TYPED.get(error["code"]):
            wrong.append(f"{error['code']} is a {error['__typename']}")
        if any(value for name, value in payload.items() if name != "userErrors"):
            wrong.append(f"was refused, and did something: {str(payload)[:200]}")
        path = tuple(part for part in error["path"] or () if not part.isdigit())
        if path[: len(bad.keys)] == bad.keys or (path and path == bad.keys[: len(path)] and bad.keys[-1] in str(error)):
            reached[spot] = True
        else:
            wrong.append(f"names {error['path']}: {error['message']}")
    return [f"{bad.label}: {what}" for what in wrong]


async def judge_all(
    client: httpx.AsyncClient, watch: Watch, bads: list[Bad], reached: dict[tuple[str, ...], bool]
) -> list[str]:
    """Return what is wrong with the answers to bad values, and which of them have written something."""
    before = await watch.rows()
    failures: list[str] = []
    for start in range(0, len(bads), AT_ONCE):
        judged = await asyncio.gather(*(judge(client, bad, reached) for bad in bads[start : start + AT_ONCE]))
        failures += [what for one in judged for what in one]
    after = await watch.rows()
    if after == before:
        return failures
    for bad in bads if len(bads) > 1 else ():
        failures += [what for what in await judge_all(client, watch, [bad], reached) if "wrote" in what]
    changed = ", ".join(table for (number, table), rows in after.items() if before[number, table] != rows)
    return [*failures, f"{bads[0].label if len(bads) == 1 else 'one of them'}: wrote to {changed}"]


async def strangers_of(federation: FederationUnderTest) -> tuple[list[str], list[Tenant]]:
    """Plant rows of another organization and of an environment beside; return their ids, and whose they are."""
    mine = federation.tenant
    beside = await federation.environment()
    tenants = [
        await plant_tenant(federation.connections[CONTROL_PLANE]),
        Tenant(beside, mine.project_id, mine.organization_id, f"tr_prod_{beside[1:]}", (*mine.slugs[:2], beside)),
    ]
    found = []
    for tenant in tenants:
        others = replace(federation, tenant=tenant)
        for shard in federation.shards if tenant is tenants[0] else federation.shards[:1]:
            found += [await ROWS[kind](others, shard) for kind in ("run", "token", "time", "batch", "bulk")]
        found.append(f"env_{tenant.environment_id}")
    return found, tenants


async def test_whatever_is_wrong_with_an_input_a_sentence_says_so_and_nothing_is_written(
    federation: FederationUnderTest,
) -> None:
    strangers, tenants = await strangers_of(federation)
    watch = Watch(federation, federation.tenant, *tenants)
    reached: dict[tuple[str, ...], bool] = {}
    tried: Counter[str] = Counter()
    failures: list[str] = []
    count = 0
    async with federation.client() as client:
        client.headers.update(bearer(federation.tenant.api_key))
        with capture_logs() as logs:
            for name, field in mutations().items():
                for bads in await aimed(federation, name, field, strangers, tried):
                    count += len(bads)
                    failures += await judge_all(client, watch, bads, reached)
        failures += [repr(entry["exc_info"])[:200] for entry in logs if "exc_info" in entry]
        assert not failures, f"{len(failures)} of {count}:\n" + "\n".join(failures)
        assert count > 1_000
        for shard in federation.shards:
            for name in mutations():
                for variant in GOOD[name]:
                    given = await filled(federation, shard, variant)
                    assert (await ask(client, name, given))["userErrors"] == [], (name, given)

    every = {(name, *spot.keys): spot for name, field in mutations().items() for spot in spots(field)}
    assert [".".join(keys) for keys in every.keys() - reached.keys()] == [], "no answer names these"
    ours = {
        keys
        for keys, spot in every.items()
        if spot.named.name in ("String", "ID", "Int", "JSON") and not ({"filter", "resumeParent"} & set(keys))
    }
    assert [".".join(keys) for keys in ours if not reached[keys]] == [], "these were refused for their type alone"


class Line(NamedTuple):
    """A limit, or a rule, of which the contract says what is said of it. A path is within the input."""

    mutation: str
    given: Given
    message: str
    path: str | None = None
    code: str = "INVALID_INPUT"


def state(mutation: str, given: Given, message: str, path: str | None = None) -> Line:
    return Line(mutation, given, message, path, "INVALID_STATE")


HELLO: Given = {"task": "hello"}
ELEVEN = [f"tag {number}" for number in range(11)]
TAGS_OF_RUNS = "Runs can only have 10 tags, you're trying to set 11."
TOO_LATE = "a run that has ended cannot wait"
TOO_EARLY = "a run that has not begun cannot wait"
RETIRED = "a run of the retired engine is read only"
TOO_MUCH = "Metadata exceeds maximum size of 262144 bytes"
NEITHER = "give a runId, or a taskIdentifier and a key"


WAITS: Given = {"task": "hello", "resumeParentOnCompletion": True}
RULES = [
    Line("triggerRun", HELLO | {"tags": ELEVEN}, TAGS_OF_RUNS, "tags"),
    Line("triggerRun", HELLO | {"ttl": "1x"}, "Invalid ttl: 1x", "ttl"),
    Line("triggerRun", HELLO | {"ttl": ""}, "Invalid ttl: ", "ttl"),
    Line("triggerRun", HELLO | {"delay": "-1d"}, "Invalid delay: -1d", "delay"),
    Line("triggerRun", HELLO | {"delay": "\u0661d"}, "Invalid delay: \u0661d", "delay"),
    Line("triggerRun", HELLO | {"delay": "x\ny"}, "Invalid delay: x?y", "delay"),
    Line("triggerRun", HELLO | {"version": "1"}, "there is no version '1' in this environment", "version"),
    Line("triggerRun", HELLO | {"maxAttempts": 0}, "maxAttempts is not between 1 and 2147483647", "maxAttempts"),
    Line("triggerRun", HELLO | {"task": "x" * 129}, "task is longer than 128 characters", "task"),
    Line("triggerRun", HELLO | {"task": "a\0"}, "task holds a NUL character", "task"),
    Line("triggerRun", HELLO | {"queue": ""}, "queue is empty", "queue"),
    Line("triggerRun", HELLO | {"metadata": []}, "metadata must be an object", "metadata"),
    Line("triggerRun", HELLO | {"metadata": {"a": "x" * 262_137}}, TOO_MUCH, "metadata", "PAYLOAD_TOO_LARGE"),
    Line(
        "triggerRun",
        HELLO | {"payload": nested(("a",) * 200, 1)},
        "payload cannot be stored: it holds text that is not valid, a NUL character, a number that is too large, "
        "or 200 levels and more",
        "payload",
    ),
    Line(
        "triggerRun",
        HELLO | {"idempotencyKey": "x" * 2_049},
        "idempotencyKey is longer than 2048 characters",
        "idempotencyKey",
    ),
    Line(
        "triggerRun",
        HELLO | {"idempotencyKey": "\u00e9" * 1_025},
        "idempotencyKey is longer than 2048 bytes",
        "idempotencyKey",
    ),
    Line(
        "triggerRun",
        HELLO | {"idempotencyKeyScope": "GLOBAL"},
        "a scope needs an idempotencyKey",
        "idempotencyKeyScope",
    ),
    Line(
        "triggerRun",
        HELLO | {"idempotencyKey": "a", "idempotencyKeyScope": "RUN"},
        "the scope RUN needs a parentRunId: it is the key's own in each parent",
        "idempotencyKeyScope",
    ),
    Line("triggerRun", WAITS, "resumeParentOnCompletion needs a parentRunId: say who waits", "parentRunId"),
    Line("triggerRun", HELLO | {"parentRunId": "run_x"}, "Parent run not found", "parentRunId", "NOT_FOUND"),
    Line("triggerRun", HELLO | {"parentRunId": "<batch>"}, "Parent run not found", "parentRunId", "NOT_FOUND"),
    Line("triggerRun", HELLO | {"environmentId": "env_x"}, "Environment not found", "environmentId", "NOT_FOUND"),
    state("triggerRun", WAITS | {"parentRunId": "<final>"}, TOO_LATE, "parentRunId"),
    state("triggerRun", WAITS | {"parentRunId": "<delayed>"}, TOO_EARLY),
    Line("triggerBatch", {"items": []}, "Batch cannot be triggered with no items", "items"),
    Line(
        "triggerBatch",
        {"items": [HELLO] * 501},
        "Batch size of 501 is too large. Maximum allowed batch size is 500.",
        "items",
    ),
    Line("triggerBatch", {"items": [HELLO] * 499 + [HELLO | {"ttl": "1x"}]}, "Invalid ttl: 1x", "items.499.ttl"),
    Line("triggerBatch", {"items": [HELLO, HELLO | {"tags": ELEVEN}]}, TAGS_OF_RUNS, "items.1.tags"),
    Line(
        "triggerBatch",
        {"items": [HELLO, HELLO | {"environmentId": "<environment>"}]},
        "environmentId is said once, for the whole batch",
        "items.1.environmentId",
    ),
    Line(
        "triggerBatch",
        {"items": [HELLO | {"resumeParentOnCompletion": False}]},
        "resumeParentOnCompletion is said once, for the whole batch",
        "items.0.resumeParentOnCompletion",
    ),
    state(
        "triggerBatch",
        {"items": [HELLO], "parentRunId": "<final>", "resumeParentOnCompletion": True},
        TOO_LATE,
        "parentRunId",
    ),
    Line("cancelRun", {"id": "<token>"}, "Run not found", "id", "NOT_FOUND"),
    state("cancelRun", {"id": "<retired>"}, RETIRED),
    state("replayRun", {"id": "<retired>"}, RETIRED, "id"),
    state("addRunTags", {"id": "<retired>", "tags": ["a"]}, RETIRED, "id"),
    state("updateRunMetadata", {"id": "<retired>", "metadata": {}}, RETIRED, "id"),
    state("resetIdempotencyKey", {"runId": "<retired>"}, RETIRED, "runId"),
    Line("replayRun", {"id": "<run>", "environmentId": ""}, "Environment not found", "environmentId", "NOT_FOUND"),
    Line("replayRun", {"id": "<run>", "ttlSeconds": 0}, "ttlSeconds is not between 1 and 3155760000", "ttlSeconds"),
    state("rescheduleRun", {"id": "<run>", "delay": "1h"}, "Cannot reschedule a run that is not delayed"),
    state("rescheduleRun", {"id": "<final>", "delay": "1h"}, "Cannot reschedule a run that is not delayed"),
    state("rescheduleRun", {"id": "<delayed and retired>", "delay": "1h"}, RETIRED, "id"),
    Line("rescheduleRun", {"id": "<delayed>", "delay": "soon"}, "Invalid delay: soon", "delay"),
    Line("rescheduleRun", {"id": "<delayed>", "delay": "5300w"}, "delay is more than a hundred years", "delay"),
    Line("addRunTags", {"id": "<run>", "tags": ELEVEN}, TAGS_OF_RUNS, "tags"),
    Line(
        "addRunTags",
        {"id": "<tagged>", "tags": ["0", "a", "b"]},
        f"{TAGS_OF_RUNS} These tags have not been set: 'a', 'b'.",
        "tags",
    ),
    Line("updateRunMetadata", {"id": "run_x"}, "Task Run not found", "id", "NOT_FOUND"),
    Line(
        "updateRunMetadata",
        {"id": "<run>", "operations": [SET] * 101},
        "operations takes at most 100 operations, not 101",
        "operations",
    ),
    Line(
        "updateRunMetadata",
        {"id": "<run>", "rootOperations": [SET, {"type": "increment", "key": "a", "value": "1"}]},
        "an operation is set, append, remove or increment with a key and a value, delete with a key, "
        "or update with an object as its value",
        "rootOperations.1",
    ),
    Line(
        "updateRunMetadata",
        {"id": "<run>", "operations": [SET | {"key": "$.a..b"}]},
        "a path is keys and indexes, at most 200: $.steps[0].name",
        "operations.0.key",
    ),
    Line(
        "updateRunMetadata",
        {"id": "<full>", "operations": [SET | {"key": "b", "value": "x" * 200}]},
        TOO_MUCH,
        "operations",
        "PAYLOAD_TOO_LARGE",
    ),
    Line(
        "updateRunMetadata",
        {"id": "<full>", "operations": [{"type": "append", "key": "a", "value": "x" * 200}]},
        TOO_MUCH,
        "operations",
        "PAYLOAD_TOO_LARGE",
    ),
    Line(
        "updateRunMetadata",
        {"id": "<full>", "rootOperations": [SET | {"key": "b", "value": "x" * 200}]},
        TOO_MUCH,
        "rootOperations",
        "PAYLOAD_TOO_LARGE",
    ),
    Line("resetIdempotencyKey", {}, NEITHER, ""),
    Line("resetIdempotencyKey", {"key": "a"}, NEITHER, ""),
    Line("resetIdempotencyKey", {"taskIdentifier": "hello"}, NEITHER, ""),
    Line("resetIdempotencyKey", {"runId": "<keyed>", "key": "a"}, NEITHER, "runId"),
    Line("resetIdempotencyKey", {"runId": "<keyed>", "taskIdentifier": "hello"}, NEITHER, "runId"),
    Line("resetIdempotencyKey", {"runId": "<run>"}, "This run does not have an idempotency key", "runId", "NOT_FOUND"),
    Line(
        "resetIdempotencyKey",
        {"taskIdentifier": "hello", "key": "k\n"},
        "No runs found with idempotency key: k? and task: hello",
        "key",
        "NOT_FOUND",
    ),
    Line(
        "createWaitpointToken",
        {"tags": ELEVEN},
        "Waitpoints can only have 10 tags, you're trying to set 11.",
        "tags",
    ),
    Line(
        "createWaitpointToken",
        {"timeout": "2020-01-01T00:00:00Z"},
        "timeout is in the past: 2020-01-01T00:00:00Z",
        "timeout",
    ),
    Line("createWaitpointToken", {"timeout": "1h 30m"}, "Invalid timeout: 1h 30m", "timeout"),
    Line(
        "createWaitpointToken",
        {"idempotencyKey": "a", "idempotencyKeyTTL": "1x"},
        "idempotencyKeyTTL is not valid: a number and one of s, m, h, d",
        "idempotencyKeyTTL",
    ),
    Line(
        "createWaitpointToken",
        {"idempotencyKeyTTL": "3654d"},
        "idempotencyKeyTTL is longer than ten years",
        "idempotencyKeyTTL",
    ),
    state("completeWaitpointToken", {"id": "<time>"}, "a time completes this waitpoint: skip it instead"),
    state("completeWaitpointToken", {"id": "<end of a run>"}, "the end of a run completes this waitpoint"),
    state("completeWaitpointToken", {"id": "<end of a batch>"}, "the end of a batch completes this waitpoint"),
    Line(
        "completeWaitpointToken",
        {"id": "<token>", "timedOut": True, "data": 0},
        "a time-out has no data: give one of them",
        "data",
    ),
    Line("completeWaitpointToken", {"id": "<run>"}, "Waitpoint not found", "id", "NOT_FOUND"),
    Line("completeWaitpointToken", {"id": "waitpoint_x"}, "Waitpoint not found", "id", "NOT_FOUND"),
    state("skipDateTimeWaitpoint", {"id": "<token>"}, "a token is completed, not skipped"),
    state("skipDateTimeWaitpoint", {"id": "<end of a run>"}, "the end of a run completes this waitpoint"),
    state("waitForWaitpointToken", {"runId": "<final>", "waitpointId": "<token>"}, TOO_LATE),
    state("waitForWaitpointToken", {"runId": "<delayed>", "waitpointId": "<token>"}, TOO_EARLY),
    Line(
        "waitForWaitpointToken",
        {"runId": "<run>", "waitpointId": "waitpoint_x"},
        "Waitpoint not found",
        "waitpointId",
        "NOT_FOUND",
    ),
    Line(
        "waitForWaitpointToken",
        {"runId": "<token>", "waitpointId": "<token>"},
        "Run not found",
        "runId",
        "NOT_FOUND",
    ),
    state("waitForDuration", {"runId": "<final>", "date": "2031-01-01T00:00:00Z"}, TOO_LATE),
    state("waitForDuration", {"runId": "<delayed>", "date": "2031-01-01T00:00:00Z"}, TOO_EARLY),
    Line("createBulkAction", {"action": "CANCEL"}, "give a filter or runIds, and not both", ""),
    Line(
        "createBulkAction",
        {"action": "CANCEL", "runIds": ["<run>"], "filter": {"isTest": True}},
        "give a filter or runIds, and not both",
        "",
    ),
    Line("createBulkAction", {"action": "UNKNOWN", "runIds": ["<run>"]}, "a bulk action cancels or replays", "action"),
    Line("createBulkAction", {"action": "CANCEL", "runIds": []}, "runIds names no run", "runIds"),
    Line(
        "createBulkAction",
        {"action": "CANCEL", "runIds": ["run_x"] * 501},
        "Too many runIds (501). Maximum is 500.",
        "runIds",
    ),
    Line("createBulkAction", {"action": "CANCEL", "runIds": ["<token>"]}, "this is no id of a run", "runIds.0"),
    Line(
        "createBulkAction",
        {"action": "CANCEL", "runIds": ["<run>"], "targetRegion": "eu"},
        "only replays have a region",
        "targetRegion",
    ),
    Line(
        "createBulkAction",
        {"action": "CANCEL", "filter": {}},
        "a filter must narrow: give at least one of its fields",
        "filter",
    ),
    Line(
        "createBulkAction",
        {"action": "CANCEL", "filter": {"createdAt": {"period": "1d", "from": "2031-01-01T00:00:00Z"}}},
        "give a period, or from and to, not both",
        "filter",
    ),
    Line(
        "createBulkAction",
        {"action": "CANCEL", "runIds": ["<run>"], "name": "x" * 256},
        "name is longer than 255 characters",
        "name",
    ),
    Line("abortBulkAction", {"id": "bulk_x"}, "Bulk action not found", "id", "NOT_FOUND"),
    state("abortBulkAction", {"id": "<aborted>"}, "The bulk action is already aborted."),
]


async def ask(client: httpx.AsyncClient, name: str, given: Given, selected: str = "") -> Any:
    """Return the payload of a mutation."""
    body = {"query": document(name, selected), "variables": {"input": given}}
    answer = (await client.post("/graphql", json=body)).json()
    assert "errors" not in answer, (name, given, answer["errors"])
    return answer["data"][name]


@over_shards(1, 2)
async def test_what_the_contract_says_of_a_limit_or_a_state_is_said_word_for_word(
    federation: FederationUnderTest,
) -> None:
    watch = Watch(federation, federation.tenant)
    shards = federation.shards
    given = [await filled(federation, shards[at % len(shards)], line.given) for at, line in enumerate(RULES)]
    before = await watch.rows()
    async with federation.client() as client:
        client.headers.update(bearer(federation.tenant.api_key))
        for line, input_ in zip(RULES, given, strict=True):
            payload = await ask(client, line.mutation, input_)
            (error,) = payload.pop("userErrors")
            path = None if line.path is None else ["input", *filter(None, line.path.split("."))]
            assert (error["code"], error["message"], error["path"]) == (line.code, line.message, path), input_
            assert not any(payload.values()), payload
    assert await watch.rows() == before


EVENTS = json.dumps({"query": document("triggerRun")})[:-1]
RAW: dict[str, bytes] = {
    f"{field} {what}": f'{EVENTS},"variables":{{"input":{{"task":"hello","{field}":{text}}}}}}}'.encode()
    for field in ("payload", "metadata")
    for what, text in {
        "is deeper than is read": "[" * 100_000 + "]" * 100_000,
        "is deeper than is read, in objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
        "is as deep as is read": '{"a":' * 900 + "1" + "}" * 900,
        "is a number that is too large": '{"a":1e999}',
        "is a negative number that is too large": '{"a":-1e999}',
        "is a number of 5,000 digits": '{"a":' + "9" * 5_000 + "}",
        "is no number": '{"a":NaN}',
        "is infinite": '{"a":Infinity}',
        "holds a lone surrogate": '{"a":"\\ud800"}',
        "holds half a pair": '{"\\udfff":1}',
        "holds NUL": '{"a":"\\u0000"}',
        "is cut": '{"a":',
        "is larger than a body": f'{{"a":"{"x" * MEGABYTE}"}}',
        "grows larger than what is stored": '{"a":[' + ",".join(["1e15"] * 190_000) + "]}",
    }.items()
}
"""Bodies that no JSON library writes."""
LITERALS = {
    "a number that is too large": "1e999",
    "a number of 5,000 digits": "9" * 5_000,
    "a fraction of 5,000 digits": "1." + "9" * 5_000 + "e9999",
    "lists that are too deep": "[" * 900 + "]" * 900,
    "lists that are deeper than is stored": "[" * 201 + "]" * 201,
    "objects that are too deep": "{a: " * 600 + "1" + "}" * 600,
    "a lone surrogate": '"\\ud800"',
    "a code point that is none": '"\\u{110000}"',
    "NUL": '"a\\u0000"',
    "NUL as it is": '"a\0"',
    "a variable that is not declared": "{a: $more}",
}
"""What is written in the document."""


async def test_what_no_library_writes_is_refused_too(federation: FederationUnderTest) -> None:
    watch, reached = Watch(federation, federation.tenant), dict[tuple[str, ...], bool]()
    bads = [Bad("triggerRun", ("input",), what, body) for what, body in RAW.items()]
    for what, literal in LITERALS.items():
        query = f'mutation {{ triggerRun(input: {{task: "hello", payload: {literal}}}) {{ run {{ id }} {ERRORS} }} }}'
        bads.append(Bad("triggerRun", ("input",), what, json.dumps({"query": query}).encode()))
    async with federation.client() as client:
        client.headers.update(bearer(federation.tenant.api_key))
        with capture_logs() as logs:
            failures = await judge_all(client, watch, bads, reached)
    failures += [repr(entry["exc_info"])[:200] for entry in logs if "exc_info" in entry]
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_what_is_just_within_the_limits_is_written_as_it_is(
    federation: FederationUnderTest, shard: ShardKey
) -> None:
    invisible = ["\N{ZERO WIDTH SPACE}", "\N{RIGHT-TO-LEFT OVERRIDE}a", " a ", "a\x1f"]
    tags = sorted([*invisible, "x" * 128, "\N{ROCKET}" * 128, "%", "'; --", "null", "\\"])
    parent = await plant_run(federation, shard)
    deep, key = nested(("a",) * 199, 1), "\u00e9" * 1_024
    metadata = {"a": "x" * 262_136}
    text = "\N{ZERO WIDTH SPACE}" * 128
    run = "run { id tags payload { json } metadata queue { name concurrencyKey } region ttl delayUntil priorityMs }"
    async with federation.client() as client:
        client.headers.update(bearer(federation.tenant.api_key))
        given: Given = {
            "task": text,
            "parentRunId": parent,
            "tags": [*tags, " ", "%"],
            "payload": deep,
            "metadata": metadata,
            "queue": text,
            "concurrencyKey": text,
            "region": text,
            "idempotencyKey": key,
            "delay": "2020-01-01",
            "ttl": "0",
            "priorityMs": -(2**31) + 1,
            "maxAttempts": 2**31 - 1,
        }
        made = (await ask(client, "triggerRun", given, run))["run"]
        assert made.pop("id")
        assert made == {
            "tags": tags,
            "payload": {"json": deep},
            "metadata": metadata,
            "queue": {"name": text, "concurrencyKey": text},
            "region": text,
            "ttl": None,
            "delayUntil": None,
            "priorityMs": -(2**31) + 1,
        }
        assert (await ask(client, "triggerRun", given))["isCached"]
        batch = await ask(client, "triggerBatch", {"items": [HELLO] * 500, "parentRunId": parent}, "batch { runCount }")
        assert batch["batch"] == {"runCount": 500}
        token = "waitpoint { id tags idempotencyKey timeoutAt }"
        given = {"tags": tags, "idempotencyKey": key, "idempotencyKeyTTL": "3650d", "timeout": "5200w"}
        made = (await ask(client, "createWaitpointToken", given, token))["waitpoint"]
        assert (made["tags"], made["idempotencyKey"]) == (tags, key)
        completed = await ask(
            client, "completeWaitpointToken", {"id": made["id"], "data": ""}, "waitpoint { status output { json } }"
        )
        assert completed["waitpoint"] == {"status": "COMPLETED", "output": None}
        for date in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"):
            waited = await ask(client, "waitForDuration", {"runId": parent, "date": date}, "waitpoint { timeoutAt }")
            assert waited["waitpoint"]["timeoutAt"].startswith(date[:19])


async def test_lists_without_end_in_a_payload_are_refused_in_one_sentence(federation: FederationUnderTest) -> None:
    payload: Any = []
    for _ in range(900):
        payload = [payload]
    query = 'mutation($p: JSON) { triggerRun(input: { task: "x", payload: $p }) { userErrors { message path } } }'
    (error,) = (await federation.ask(query, p=payload))["triggerRun"]["userErrors"]
    assert error["message"].startswith("payload cannot be stored")
    assert error["path"] == ["input", "payload"]
