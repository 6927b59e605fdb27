"""Bad input of every kind for everything that the schema takes: nothing is found, or one sentence says why.

The table is made from the schema: every argument, and every field of every input, gets the bad values of its kind. A
new argument is in it without an edit, and one that no bad value reaches fails the test.
"""

import asyncio
import base64
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from heapq import heappop, heappush
from itertools import groupby
from typing import Any, NamedTuple

import httpx
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    get_named_type,
    get_nullable_type,
    is_introspection_type,
)
from structlog.testing import capture_logs

from schema.api import schema
from schema.limits import decided
from store import ids
from store.residency import LEGACY, NEW
from tests.federation import START, FederationUnderTest, plant_tenant

CORE = schema._schema  # noqa: SLF001  strawberry offers no other way to its result
MEGABYTE = 2**20
NEARLY = MEGABYTE - 4_096
"""Of one value: with the document around it, the body is just below the limit."""
SLOWEST = 2.0
"""Seconds that no answer takes."""
LONG = 90_000
"""Characters of a value that is asked with alone."""
TOGETHER = 12
"""Most values of the right type that one operation asks with: each under an alias, and each is judged."""
CODES = {"BAD_USER_INPUT", "BAD_CURSOR", "NOT_FOUND"}
LEAKS = re.compile(
    r"Traceback|\bFile \"|\bline \d+|SELECT |FROM \"|WHERE |asyncpg|sqlalchemy|graphql\.|<class|object at 0x|NoneType"
    r"|isoformat|\b[A-Z]\w*(Error|Exception)\b|\b(int|str|bytes|datetime|codec)\b.* (argument|object|decode|encode)"
)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
INVISIBLE = ("\N{ZERO WIDTH SPACE}", "\N{RIGHT-TO-LEFT OVERRIDE}", "\N{SOFT HYPHEN}")
FULLWIDTH = {ord(digit): chr(ord(digit) + 0xFEE0) for digit in "0123456789"}
Cursors = Mapping[str, Mapping[str, str]]
"""Of each list, by the name of its field: its own, and those of the same list in other circumstances."""


class World(NamedTuple):
    """What was planted for one viewer: by type, an id that names one; by argument, a text that finds something."""

    key: str
    ids: dict[str, str]
    texts: dict[str, str]


class Place(NamedTuple):
    """A field with arguments, and how it is reached from the root."""

    owner: str
    name: str
    field: GraphQLField
    way: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.owner}.{self.name}"

    @property
    def finds(self) -> Any:
        return get_named_type(self.field.type)

    @property
    def is_list(self) -> bool:
        return "nodes" in getattr(self.finds, "fields", {})

    def parent(self, data: Any) -> dict[str, Any] | None:
        """Return the parent of the field in an answer's data, or None if it was not reached."""
        for step in self.way:
            data = data.get(step.partition("(")[0]) if isinstance(data, dict) else None
            data = data[0] if isinstance(data, list) and data else data
        return data if isinstance(data, dict) else None


class Spot(NamedTuple):
    """An argument, or a field of an input within one."""

    keys: tuple[str, ...]
    type: Any

    @property
    def named(self) -> Any:
        return get_named_type(self.type)

    @property
    def is_list(self) -> bool:
        return isinstance(get_nullable_type(self.type), GraphQLList)

    @property
    def kind(self) -> str:
        """Spots of one kind get the same bad values, but for those that depend on what is good there."""
        if self.keys[-1] in ("after", "before", "period"):
            return "cursor" if self.keys[-1] != "period" else "period"
        return self.named.name if isinstance(self.named, GraphQLScalarType) else type(self.named).__name__


class Bad(NamedTuple):
    """A bad value: it finds nothing. It may also be `refused` for sure, or be odd and have a meaning."""

    value: Any
    refused: bool = False
    may_find: bool = False


class Aim(NamedTuple):
    """A line of the table that is aimed at a field: the arguments with which it is asked for, one of them bad."""

    what: str
    place: Place
    arguments: dict[str, Any]
    bad: Bad
    covers: tuple[str, ...] = ()
    written: bool = False
    """Whether the arguments stand in the document, not in variables."""

    @property
    def label(self) -> str:
        text = ascii(self.bad.value)
        text = text if len(text) < 90 else f"{text[:60]}... of {len(text)}"
        return f"{self.place.label}({self.what}){', written' if self.written else ''}: {text}"


class Request(NamedTuple):
    """A line of the table that is aimed at the endpoint."""

    label: str
    body: Any
    content_type: str = "application/json"
    may_find: bool = False
    is_address: bool = False


async def plant(federation: FederationUnderTest) -> World:
    """Plant one object of every kind, tied to each other so that every list has one."""
    tenant, mark = federation.tenant, ids.mint_cuid()
    texts = {
        "Organization.slug": tenant.slugs[0],
        "Project.slug": tenant.slugs[1],
        "Environment.slug": tenant.slugs[2],
        "ref": f"proj_{tenant.project_id}",
        "traceId": f"trace-{mark}",
        "tags": f"tag-{mark}",
        "name": f"tag-{mark}",
        "queue": f"task/{mark}",
        "taskIdentifier": f"task-{mark}",
        "version": f"version-{mark}",
        "region": f"region-{mark}",
        "idempotencyKey": f"key-{mark}",
    }
    of_project = {"projectId": tenant.project_id, **federation.times()}
    schedule, bulk = ids.mint_cuid(), ids.mint_cuid()
    await federation.insert(
        LEGACY,
        "TaskSchedule",
        {
            "id": schedule,
            "friendlyId": f"sched_{schedule}",
            "taskIdentifier": texts["taskIdentifier"],
            "deduplicationKey": mark,
            "generatorExpression": "0 0 * * *",
            "generatorDescription": "At midnight",
            **of_project,
        },
    )
    of_environment = {"environmentId": tenant.environment_id, **of_project}
    row = {"id": bulk, "friendlyId": f"bulk_{bulk}", "type": "REPLAY", **of_environment}
    await federation.insert(LEGACY, "BulkActionGroup", row)
    batch = await federation.batch(LEGACY)
    token = await federation.waitpoint(
        LEGACY,
        tags=[texts["tags"]],
        idempotencyKey=texts["idempotencyKey"],
        userProvidedIdempotencyKey=True,
    )
    run = await federation.run(
        LEGACY,
        status="COMPLETED_SUCCESSFULLY",
        batchId=batch,
        scheduleId=schedule,
        bulkActionGroupIds=[bulk],
        traceId=texts["traceId"],
        runTags=[texts["tags"]],
        queue=texts["queue"],
        taskIdentifier=texts["taskIdentifier"],
        taskVersion=texts["version"],
        region=texts["region"],
    )
    await federation.run(LEGACY, parentTaskRunId=run, rootTaskRunId=run, depth=1)
    await federation.connect(LEGACY, run, token)
    await federation.block(LEGACY, run, token)
    tag = {"id": ids.mint_cuid(), "name": texts["name"], "createdAt": START}
    place = {"environmentId": tenant.environment_id, "projectId": tenant.project_id}
    await federation.insert(NEW, "WaitpointTag", {**tag, **place})
    return World(
        tenant.api_key,
        {
            "Run": f"run_{run}",
            "Batch": f"batch_{batch}",
            "Waitpoint": f"waitpoint_{token}",
            "BulkAction": f"bulk_{bulk}",
            "Schedule": f"sched_{schedule}",
            "Environment": f"env_{tenant.environment_id}",
            "Project": f"project_{tenant.project_id}",
            "Organization": f"org_{tenant.organization_id}",
        },
        texts,
    )


def kind_of(world: World, *hints: str) -> str | None:
    """Return the type whose ids an argument takes, told from its name, its field's or its type's."""
    for hint in hints:
        for name in sorted(world.ids, key=len, reverse=True):
            if f"{hint[0].upper()}{hint[1:]}".startswith(name):
                return name
    return None


def good(world: World, place: Place, spot: Spot) -> Any:
    """Return a value with which the place finds what was planted, or None if none is known."""
    name = spot.keys[-1]
    value: str | None = None
    if spot.named.name == "ID":
        around = get_named_type(place.field.args[spot.keys[0]].type).name if len(spot.keys) > 1 else place.name
        kind = kind_of(world, name, around, place.finds.name)
        kind = "Run" if kind is None and isinstance(place.finds, GraphQLInterfaceType) else kind
        value = None if kind is None else world.ids[kind]
    elif spot.named.name == "String":
        of = place.finds.name if name == "slug" else name.removesuffix("Slug") if name.endswith("Slug") else ""
        value = world.texts.get(f"{of[0].upper()}{of[1:]}.slug" if of else name)
    return [value] if spot.is_list and value is not None else value


def needed(world: World, place: Place) -> dict[str, Any] | None:
    """Return good values of the arguments that a field requires, or None if they are not known."""
    required = (Spot((name,), given.type) for name, given in place.field.args.items())
    values = {spot.keys[0]: good(world, place, spot) for spot in required if isinstance(spot.type, GraphQLNonNull)}
    return None if None in values.values() else values


def friends(world: World, place: Place) -> dict[str, Any]:
    """Return good values of the slugs that a field may be given together."""
    slugs = (Spot((name,), given.type) for name, given in place.field.args.items() if name.lower().endswith("slug"))
    return {spot.keys[0]: value for spot in slugs if (value := good(world, place, spot)) is not None}


def places(world: World) -> list[Place]:
    """Return every field with arguments, reached in the way that needs least: no list, few arguments, few steps."""
    found: list[Place] = []
    seen: set[str] = set()
    ways: list[tuple[int, tuple[str, ...], str]] = [(0, (), "Query")]
    while ways:
        cost, way, owner = heappop(ways)
        kind = CORE.type_map[owner]
        if owner in seen or not isinstance(kind, GraphQLObjectType):
            continue
        seen.add(owner)
        for name, field in kind.fields.items():
            place = Place(owner, name, field, way)
            if field.args:
                found.append(place)
            values = needed(world, place)
            if values is not None:
                step = f"{name}({literal(values)[1:-1]})" if values else name
                price = 1 + 10 * len(values) + 100 * isinstance(get_nullable_type(field.type), GraphQLList)
                heappush(ways, (cost + price, (*way, step), place.finds.name))
    return found


def spots(field: GraphQLField) -> Iterator[Spot]:
    """Yield the arguments of a field, and the fields of inputs within them."""

    def walk(keys: tuple[str, ...], kind: Any) -> Iterator[Spot]:
        yield Spot(keys, kind)
        named = get_named_type(kind)
        if isinstance(named, GraphQLInputObjectType):
            for name, inner in named.fields.items():
                yield from walk((*keys, name), inner.type)

    for name, argument in field.args.items():
        yield from walk((name,), argument.type)


def literal(value: Any) -> str:
    """Return a value in GraphQL's own writing."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {literal(inner)}" for name, inner in value.items()) + "}"
    return "[" + ", ".join(map(literal, value)) + "]" if isinstance(value, list) else json.dumps(value)


def nested(keys: tuple[str, ...], value: Any) -> Any:
    return nested(keys[:-1], {keys[-1]: value}) if keys else value


def selection(kind: Any, *more: str) -> str:
    fields = getattr(kind, "fields", None)
    if fields is None:
        return ""
    shown = (f"{name} {selection(get_named_type(fields[name].type))}" for name in ("id", "nodes") if name in fields)
    return f"{{ {' '.join(['__typename', *shown, *more])} }}"


def around(place: Place, fields: str, declared: str = "") -> str:
    """Return an operation that asks for fields where a place is."""
    for step in reversed(place.way):
        fields = f"{step} {{ {fields} }}"
    return f"query {declared} {{ {fields} }}"


def operation(aims: tuple[Aim, ...], *more: str) -> dict[str, Any]:
    """Return an operation that asks for one field with the arguments of each aim, under the aliases a0, a1, ..."""
    place = aims[0].place
    fields, declared, variables = [], [], {}
    for number, aim in enumerate(aims):
        given = []
        for name, value in aim.arguments.items():
            given.append(f"{name}: {literal(value) if aim.written else f'${name}{number}'}")
            if not aim.written:
                declared.append(f"${name}{number}: {place.field.args[name].type}")
                variables[f"{name}{number}"] = value
        text = f"({', '.join(given)})" if given else ""
        fields.append(f"a{number}: {place.name}{text} {selection(place.finds, *more)}")
    query = around(place, " ".join(fields), f"({', '.join(declared)})" if declared else "")
    return {"query": query, "variables": variables}


def look_alikes(text: str) -> Iterator[str]:
    """Yield what a person could take for a text."""
    middle = len(text) // 2
    alike = [
        text.replace("c", "\N{CYRILLIC SMALL LETTER ES}"),
        text.translate(FULLWIDTH),
        text.replace("_", "\N{FULLWIDTH LOW LINE}").replace("-", "\N{NON-BREAKING HYPHEN}"),
        text.replace("t", "\N{MATHEMATICAL SANS-SERIF SMALL T}").replace("u", "u\N{COMBINING DIAERESIS}"),
        *(text[:middle] + invisible + text[middle:] for invisible in INVISIBLE),
        f"\N{ZERO WIDTH NO-BREAK SPACE}{text}",
    ]
    yield from (other for other in alike if other != text)


def torn(text: str) -> Iterator[str]:
    """Yield a text with something before, behind or within it, or in other letters."""
    around = (f" {text}", f"{text} ", f"\n{text}", f"{text}\n", f"{text}\r\n", f"\t{text}", f"\N{NO-BREAK SPACE}{text}")
    within = (f"{text}\N{LINE SEPARATOR}", f"{text}\0", f"\0{text}", f"{text}\ud800", f"{text}\x1f{text}", f"{text}%")
    other = (text[:-1], f"{text}x", text.upper(), text.swapcase(), f"{text},{text}", text[::-1])
    yield from (changed for changed in (*around, *within, *other) if changed != text)


# fmt: off  lists of values are read as lists
HOSTILE = (
    "",
    " ",
    "\0",
    "\ud800",
    "\n",
    "%",
    "_",
    "\\",
    "'",
    "' OR 1=1 --",
    "$1",
    ":a",
    "{}",
    "null",
    "-",
    "\U0001f680",
)
PERIODS: tuple[Any, ...] = (
    "",
    " ",
    "7",
    "d",
    "7y",
    "7D",
    "7M",
    "-1d",
    "+1d",
    "--1d",
    "1.5h",
    "1,5h",
    "1e3d",
    "0x7d",
    "1_0d",
    "7 d",
    " 7d",
    "7d ",
    "7d\n",
    "7d\0",
    "\0",
    "\ud800",
    "\u0667d",
    "\uff17d",
    "7\uff44",
    "\u00b2d",
    "7\u200bd",
    "\u221ed",
    "7d7d",
    "1d12h",
    "P7D",
    "999999d",
    "7dd",
    "9" * 5_000 + "d",
    "9" * NEARLY,
    "yesterday",
    7,
    1.5,
    True,
    [],
    ["7d", "7d"],
    {},
)
ODD_PERIODS = ("99999w", "0s", "0w", "00001d")
TIMES: tuple[Any, ...] = (
    "",
    " ",
    "yesterday",
    "now",
    "2026-01-01",
    "2026-01-01T00:00:00",
    "2026-01-01 00:00:00",
    "T00:00:00Z",
    "00:00:00Z",
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "-0001-01-01T00:00:00Z",
    "+12026-01-01T00:00:00Z",
    "99999999999999",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-13-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-01-01T25:00:00Z",
    "2026-01-01T00:60:00Z",
    "2026-01-01T00:00:00+99:99",
    "2026-01-01T00:00:00+24:00",
    "infinity",
    "2026-01-01T00:00:00Z\0",
    "2026-01-01\x0000:00:00Z",
    "2026-01-01\n00:00:00Z",
    " 2026-01-01T00:00:00Z",
    "-infinity",
    "2026-01-01T00:00:00Z\n",
    "\uff12026-01-01T00:00:00Z",
    "\u0662026-01-01T00:00:00Z",
    "2026-01-01T00:00:00ZZ",
    "\ud800",
    "2026-01-01T00:00:00 Europe/Berlin",
    "2026-01-01\ud80000:00:00Z",
    "2026-01-01\u00e900:00:00Z",
    "\0",
    "x" * NEARLY,
    "0" * 10_000,
    7,
    0,
    -1,
    1_767_225_600_000,
    2**63,
    1.5,
    1e300,
    True,
    [],
    ["2026-01-01T00:00:00Z"] * 2,
    {},
)
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
ODD_TIMES = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z")
NUMBERS: tuple[Any, ...] = (
    0,
    -1,
    -100,
    101,
    1_000,
    2**31 - 1,
    -(2**31) + 1,
    2**31,
    -(2**31) - 1,
    2**53,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
    10**400,
    1.5,
    0.1,
    -0.5,
    1e10,
    1e300,
    True,
    False,
    "",
    "1",
    "-1",
    "ten",
    "\u0663",
    "\uff11",
    "1\0",
    "\ud800",
    "x" * NEARLY,
    "9" * 5_000,
    [],
    [1, 2],
    [[1]],
    {},
    {"first": 1},
)
BOOLEANS: tuple[Any, ...] = (0, 1, -1, 1.0, "", "true", "false", "\0", "\ud800", "x" * 1_000, [], [True, False], {})
OBJECTS: tuple[Any, ...] = (
    "",
    "x",
    "{}",
    "\ud800",
    7,
    1.5,
    True,
    [],
    [[]],
    [{}, {}],
    {"unknown": 1},
    {"": 1},
    {"a\nb": 1},
    {"\0": 1},
    {"x" * 10_000: 1},
    {"__proto__": {}},
    {"__typename": "x"},
    {"unknown": {"unknown": {"unknown": {}}}},
    "x" * NEARLY,
    [[[[[[{}]]]]]],
)
# fmt: on


def bad_ids(place: Place, spot: Spot, own: World, foreign: World) -> Iterator[Bad]:
    base = good(own, place, spot) or own.ids["Run"]
    base = base[0] if isinstance(base, list) else base
    prefix, body = base.split("_")
    possible = CORE.get_possible_types(place.finds) if isinstance(place.finds, GraphQLInterfaceType) else ()
    meant = {kind.name for kind in possible} | {name for name, id_ in own.ids.items() if id_ == base}
    others = {name: id_ for name, id_ in own.ids.items() if id_ != base}
    unknown = (
        ids.mint_cuid(),
        ids.mint_v1(),
        ids.mint_v2("z"),
        ids.mint_v2("9"),
        "0" * 27,
        "z" * 27,
        "x",
        "0",
        "é" * 200,
    )
    yield from (Bad(id_) for name, id_ in others.items() if name not in meant)
    yield from (Bad(f"{prefix}_{ids.body(id_)}") for id_ in others.values())
    yield from map(Bad, foreign.ids.values())
    yield from (Bad(f"{prefix}_{part}") for part in (*unknown, "0" * 10_000, "", base, f"_{body}", body.upper()))
    yield from map(
        Bad, (body, prefix, "_", f"_{body}", f"{base}_{base}", f"{prefix.upper()}_{body}", f"{prefix}-{body}")
    )
    yield from map(
        Bad, (f"{prefix}{body}", f"{base}_", base.ljust(NEARLY, "a"), *torn(base), *look_alikes(base), *HOSTILE)
    )
    yield from (Bad(number) for number in (7, 0, -1, 2**31, 2**63, 2**64 - 1))
    yield from (Bad(value, refused=True) for value in (1.5, True, {}, {"id": base}, [[base], [base]]))


def bad_texts(place: Place, spot: Spot, own: World, foreign: World) -> Iterator[Bad]:
    """Yield bad texts. A text by which a list is searched may be a part of what it finds."""
    base, theirs = (good(world, place, spot) or f"text-{ids.mint_cuid()}" for world in (own, foreign))
    base, theirs = (text[0] if isinstance(text, list) else text for text in (base, theirs))
    searched = len(spot.keys) == 1 and (place.is_list or isinstance(get_nullable_type(place.field.type), GraphQLList))
    for text in (*torn(base), *look_alikes(base), f"{base}{base}", *HOSTILE, "x" * NEARLY, "é" * 300, theirs):
        if text != base:
            yield Bad(text, may_find=searched and text.strip().lower() in base)
    strange: tuple[Any, ...] = (7, 1.5, True, {}, {"a": 1}, [[]], [["x"], ["y"]], [None])
    yield from (Bad(value, refused=True) for value in strange)


def bad_enums(enum: GraphQLEnumType) -> Iterator[str | Any]:
    known = next(iter(enum.values))
    yield from (
        "DONE",
        known.lower(),
        f" {known}",
        f"{known}\n",
        f"{known}\0",
        f"{known}\nx\ny",
        "",
        " ",
        "\0",
        "\ud800",
        "null",
    )
    yield from (*look_alikes(known), "X" * 10_000, "X" * NEARLY, 7, 0, 1.5, True, {}, [[known]], f"{enum.name}.{known}")


def bad_cursors(place: Place, cursors: Cursors) -> Iterator[str | Any]:
    """Yield what is no cursor, what is another list's, and what was this list's."""
    yield from (
        *HOSTILE,
        "x",
        "A" * 600,
        "A" * 100_000,
        "A" * NEARLY,
        "=" * 4,
        "MS4xMjM0NTY3ODkwYWIuMS5h",
        7,
        True,
        [],
        {},
    )
    kinds = cursors.get(place.label, {})
    yield from (kinds["own"] for label, kinds in cursors.items() if label != place.label)
    yield from (cursor for kind, cursor in kinds.items() if kind != "own")
    own = kinds.get("own")
    if own is None:
        return
    everywhere = place.label == min(cursors)
    for at, letter in enumerate(own):
        if not everywhere and at not in (0, 1, len(own) // 3, len(own) // 2, len(own) - 2, len(own) - 1):
            continue
        yield own[:at] + ALPHABET[ALPHABET.index(letter) ^ 1] + own[at + 1 :]
    yield from (*torn(own), *look_alikes(own), own + own, f"{own}=", f"{own}==", own.lower(), own[1:])
    with suppress(ValueError):
        version, checksum, moment, id_ = base64.urlsafe_b64decode(own + "=" * (-len(own) % 4)).decode().split(".", 3)
        for other in (
            f"0{moment}",
            f"+{moment}",
            f" {moment}",
            f"{moment[0]}_{moment[1:]}",
            moment.translate(FULLWIDTH),
            "-1",
        ):
            text = f"{version}.{checksum}.{other}.{id_}"
            yield base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def bad_members(place: Place, spot: Spot, own: World, foreign: World, cursors: Cursors) -> Iterator[Bad]:
    """Yield the bad values of a spot; of a list, of one of its members."""
    always: Iterable[Any] = ()
    match spot.named.name, spot.keys[-1]:
        case "ID", _:
            yield from bad_ids(place, spot, own, foreign)
        case "String", "after" | "before" if place.is_list:
            always = bad_cursors(place, cursors)
        case "String", "period":
            always = PERIODS
            yield from (Bad(period, may_find=True) for period in ODD_PERIODS)
        case "String", _:
            yield from bad_texts(place, spot, own, foreign)
        case "Int", _:
            always = NUMBERS
        case "Boolean", _:
            always = BOOLEANS
        case "DateTime", _:
            always = TIMES
            yield from (Bad(moment, may_find=True) for moment in ODD_TIMES)
        case "TimeRange", _:
            ranges = ({"from": LATE, "to": EARLY}, {"period": "7d", "from": EARLY}, {"period": "7d", "to": LATE})
            always = (*ranges, {"period": "7d", "from": EARLY, "to": LATE}, {"period": "", "from": LATE}, *OBJECTS)
        case _ if isinstance(spot.named, GraphQLEnumType):
            always = bad_enums(spot.named)
            yield from (Bad(label) for label in spot.named.values if label == "UNKNOWN")
        case _:
            always = OBJECTS
    yield from (Bad(value, refused=True) for value in always)


def bad_values(place: Place, spot: Spot, own: World, foreign: World, cursors: Cursors) -> Iterator[Bad]:
    for bad in bad_members(place, spot, own, foreign, cursors):
        yield bad._replace(value=[bad.value]) if spot.is_list else bad
    if isinstance(spot.type, GraphQLNonNull):
        yield Bad(None, refused=True)
    if spot.is_list:
        enum = isinstance(spot.named, GraphQLEnumType)
        member = next(iter(spot.named.values)) if enum else "x"
        yield Bad([])
        yield from (Bad([member] * many, refused=not enum, may_find=enum) for many in (101, 20_000))
        yield from (Bad(value, refused=True) for value in ([None], [member, None], {}, {"0": member}, 1.5))


def fits(value: Any, kind: Any) -> bool:
    """Tell whether a value has the type of a spot: one of another type is refused with the whole operation."""
    kind = get_nullable_type(kind)
    if isinstance(kind, GraphQLList):
        return isinstance(value, list) and all(fits(member, kind.of_type) for member in value)
    if isinstance(kind, GraphQLInputObjectType):
        if not isinstance(value, dict) or value.keys() - kind.fields.keys():
            return False
        return all(fits(inner, kind.fields[name].type) for name, inner in value.items())
    if type(value) is int:
        return kind.name == "ID" or (kind.name == "Int" and abs(value) < 2**31)
    return isinstance(value, str) and (kind.name in ("ID", "String") or value in (EARLY, LATE))


def is_json(value: Any) -> bool:
    """Tell whether a value has a JSON that is UTF-8: one with a lone surrogate is refused with the whole body."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def aims(own: World, foreign: World, cursors: Cursors) -> Iterator[tuple[Aim, ...]]:
    """Yield what is aimed at arguments, in groups that are asked together.

    Every id, text and number is tried on every argument. What is refused because of its type, and what the fields of
    inputs and cursors refuse, is so by the same code everywhere: the first spot of a kind gets all values, and the
    others some, each others. Some values that need an escape are written in the document too.
    """
    tried = Counter[str]()
    for place in places(own):
        crowd: list[Aim] = []
        base, others = needed(own, place) or {}, friends(own, place)
        for spot in spots(place.field):
            number = tried[spot.kind]
            tried[spot.kind] += 1
            inner = number > 0 and len(spot.keys) > 1
            covers = tuple(f"{place.label}({'.'.join(spot.keys[:depth])})" for depth in range(1, len(spot.keys) + 1))
            fitting, escaped, alone, refused, written = [], [], [], [], []
            for bad in bad_values(place, spot, own, foreign, cursors):
                aim = Aim(".".join(spot.keys), place, base | nested(spot.keys, bad.value), bad, covers)
                is_long, sent = len(str(bad.value)) > LONG, is_json(bad.value)
                fits_in = sent and fits(bad.value, spot.type)
                if fits_in and not is_long:
                    fitting.append(aim)
                    if spot.keys[0] in others and others.keys() - aim.arguments.keys():
                        fitting.append(aim._replace(arguments=base | others | nested(spot.keys, bad.value)))
                    if "\\" in json.dumps(bad.value):
                        escaped.append(aim._replace(written=True))
                elif bad.may_find or (sent and (fits_in or not bad.refused) and not (inner and is_long)):
                    alone.append(aim)
                else:
                    refused.append(aim)
                    if not number and not is_long:
                        written.append(aim._replace(written=True))
            step = 8 if inner else 2 if spot.kind == "cursor" else 1
            crowd += some(fitting, number, step) + some(escaped, number, 20)
            yield from ((aim,) for aim in alone + some(refused, number, 30) + written[::4])
        crowd += exclusions(place, base, cursors)
        crowd.sort(key=alike)
        for _, group in groupby(crowd, alike):
            members = tuple(group)
            size = -(-len(members) // -(-len(members) // TOGETHER))  # all alike, so that operations are too
            yield from (members[at : at + size] for at in range(0, len(members), size))


def some(values: list[Aim], number: int, step: int) -> list[Aim]:
    """Return all values for the first spot of a kind, and one in so many for another."""
    return values[number % min(step, len(values)) :: step] if number and values else values


def alike(aim: Aim) -> tuple[bool, list[str]]:
    """What aims have in common that share an operation's text."""
    return aim.written, list(aim.arguments)


def exclusions(place: Place, base: dict[str, Any], cursors: Cursors) -> Iterator[Aim]:
    """Yield arguments that are good alone and exclude each other."""
    cursor = cursors.get(place.label, {}).get("own", "x")
    given = {"first": 1, "last": 1, "after": cursor, "before": cursor}
    for names in ("first last", "first before", "last after", "after before", "first last after", " ".join(given)):
        if set(names.split()) <= place.field.args.keys():
            values = {name: given[name] for name in names.split()}
            yield Aim(names, place, base | values, Bad(values, refused=True))


def misfits(own: World) -> Iterator[Request]:
    """Yield operations whose variables are missing or of another type, and unknown arguments."""
    for place in places(own):
        if base := needed(own, place):
            whole = operation((Aim("", place, base, Bad(None)),))
            yield Request(f"{place.label}: no variables", {"query": whole["query"]})
            yield Request(f"{place.label}: variables null", whole | {"variables": None})
        given = ", ".join(f"{name}: $wrong" for name in place.field.args)
        field = f"{place.name}({given}) {selection(place.finds)}"
        for wrong in ("Boolean = true", "[[Int]] = []"):
            query = around(place, field, f"($wrong: {wrong})")
            yield Request(f"{place.label}: a variable of the type {wrong}", {"query": query})
        field = f"{place.name}(nothing: 7) {selection(place.finds)}"
        yield Request(f"{place.label}: an unknown argument", {"query": around(place, field)})


def bomb(levels: int) -> str:
    """Return a document of fragments, each of which is spread twice by the one before it."""
    spread = " ".join(f"fragment F{level} on Shard {{ ...F{level + 1} ...F{level + 1} }}" for level in range(levels))
    return f"{{ shards {{ ...F0 }} }} {spread} fragment F{levels} on Shard {{ key }}"


DOCUMENTS = {
    "is empty": "",
    "is blank": " \n\t ",
    "is a comment": "# { shards { key } }",
    "is no document": "shards",
    "is cut": "{ shards { key }",
    "is closed twice": "{ shards { key } } }",
    "holds NUL": "{ shards { key\0 } }",
    "holds NUL in a name": "{ sha\0rds { key } }",
    "holds a lone surrogate": "{ shards { key } } # \ud800",
    "holds a control character": "{ shards { \x01 key } }",
    "holds a look-alike": "{ shards { \N{CYRILLIC SMALL LETTER ES}reatedAt } }",
    "holds a text that does not end": '{ run(id: "x) { id } }',
    "holds a text over two lines": '{ run(id: "a\nb") { id } }',
    "holds a wrong escape": '{ run(id: "\\x") { id } }',
    "holds a surrogate's escape": '{ run(id: "\\ud800") { id } }',
    "holds a code point that is none": '{ run(id: "\\u{110000}") { id } }',
    "holds a long number": "{ environment { runs(first: " + "9" * 5_000 + ") { nodes { id } } } }",
    "holds a long fraction": "{ run(id: 1." + "1" * 5_000 + ") { id } }",
    "holds a long name": "{ " + "a" * 100_000 + " }",
    "holds a long name for a value": "{ run(id: " + "a" * 100_000 + ") { id } }",
    "holds a long directive": "{ shards { key @" + "x" * 10_000 + " } }",
    "holds a long comment and no more": "#" * 200_000,
    "nests too deeply": "{ environment { project "
    + "{ organization { projects " * 8
    + "{ slug }"
    + " } }" * 8
    + " } }",
    "nests far too deeply": "{ a" * 900 + " }" * 900,
    "nests lists": "{ run(id: " + "[" * 900 + "]" * 900 + ") { id } }",
    "nests inputs": "{ environment { runs(filter: " + "{ a: " * 600 + "1" + " }" * 600 + ") { nodes { id } } } }",
    "nests types": "query ($id: " + "[" * 900 + "Int" + "]" * 900 + ") { run(id: $id) { id } }",
    "nests a fragment too deeply": "{ environment { ...F } } fragment F on Environment { project "
    + "{ organization { projects " * 6
    + "{ slug }"
    + " } }" * 6
    + " }",
    "has too many aliases": "{" + " ".join(f"a{number}: shards {{ key }}" for number in range(31)) + " }",
    "has far too many aliases": "{" + " ".join(f"a{number}: shards {{ key }}" for number in range(10_000)) + " }",
    "has aliases in fragments": "{ ...F " * 1
    + " ".join(f"a{number}: shards {{ key }}" for number in range(16))
    + " } fragment F on Query { "
    + " ".join(f"b{number}: shards {{ key }}" for number in range(16))
    + " }",
    "has too many tokens": "{ " + "shards { key } " * 700 + "}",
    "has many unknown fields": "{ " + " ".join(f"unknown{number}" for number in range(900)) + " }",
    "has an unknown field": "{ nothing }",
    "has an unknown field of an object": "{ shards { key nothing } }",
    "has a field of nothing": "{ shards { key { nothing } } }",
    "selects nothing": "{ shards }",
    "selects nothing in braces": "{ shards { } }",
    "lacks an argument": "{ run { id } }",
    "gives an argument twice": '{ run(id: "a", id: "b") { id } }',
    "asks one field with two arguments": '{ run(id: "a") { id } run(id: "b") { id } }',
    "uses an undeclared variable": "{ run(id: $id) { id } }",
    "declares a variable twice": "query ($id: ID!, $id: ID!) { run(id: $id) { id } }",
    "declares a variable that it does not use": "query ($id: ID) { shards { key } }",
    "declares a variable of an unknown type": "query ($id: Nothing) { run(id: $id) { id } }",
    "declares a variable of an object's type": "query ($id: Run) { run(id: $id) { id } }",
    "declares a variable that may be null": "query ($id: ID) { run(id: $id) { id } }",
    "declares a wrong default": "query ($n: Int = true) { environment { runs(first: $n) { nodes { id } } } }",
    "lacks a variable": "query ($id: ID!) { run(id: $id) { id } }",
    "spreads an unknown fragment": "{ shards { ...Gone } }",
    "spreads an unknown fragment at the root": "{ ...Gone }",
    "spreads a fragment into itself": "{ ...A } fragment A on Query { ...A }",
    "spreads two fragments into each other": "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
    "spreads a fragment of another type": "{ shards { ...A } } fragment A on Run { id }",
    "spreads a fragment of an unknown type": "{ shards { ...A } } fragment A on Nothing { id }",
    "spreads a fragment of a scalar": "{ shards { ... on String { key } } }",
    "holds a fragment that it does not use": "{ shards { key } } fragment A on Run { id }",
    "holds a fragment twice": "{ ...A } fragment A on Query { shards { key } } fragment A on Query { shards { key } }",
    "holds fragments only": "fragment A on Run { id }",
    "uses an unknown directive": "{ shards { key @nothing } }",
    "uses a directive wrongly": "{ shards { key @include(if: 7) } }",
    "uses a directive without its argument": "{ shards { key @skip } }",
    "uses a directive of schemas": "{ shards { key @deprecated } }",
    "holds two operations": "query A { shards { key } } query B { shards { healthy } }",
    "holds two operations without names": "{ shards { key } } { shards { healthy } }",
    "holds two operations of one name": "query A { shards { key } } query A { shards { healthy } }",
    "mutates": "mutation { run { id } }",
    "subscribes": "subscription { shards { key } }",
    "defines a type": "type Query { a: Int }",
    "defines a type beside an operation": "{ shards { key } } type Other { a: Int }",
    "asks for a type that is none": '{ __type(name: "\\u0000") { name } }',
    "asks for a type with a long name": '{ __type(name: "' + "x" * 100_000 + '") { name } }',
    "asks for a type with a number": "{ __type(name: 7) { name } }",
    "gives a project both names": '{ project(organizationSlug: "x", slug: "a", ref: "b") { id } }',
    "gives a project no name": '{ project(organizationSlug: "x") { id } }',
    "gives an environment both names": '{ environment(id: "env_x", slug: "a") { id } }',
    "gives an environment half a name": '{ environment(projectSlug: "a") { id } }',
}
SHARDS = "{ shards { key } }"
A_RUN = "query ($id: ID!) { run(id: $id) { id } }"
BODIES: dict[str, Any] = {
    "is empty": b"",
    "is cut": b"{",
    "is null": None,
    "is a number": 7,
    "is a text": "{ shards { key } }",
    "is true": True,
    "is a list": [],
    "is a batch": [{"query": SHARDS}],
    "is no UTF-8": b"\xff\xfe{}",
    "is UTF-16": json.dumps({"query": SHARDS}).encode("utf-16"),
    "is NUL": b"\0",
    "is GraphQL": SHARDS.encode(),
    "is a form": b"query=%7Bshards%7Bkey%7D%7D",
    "is followed by another": json.dumps({"query": SHARDS}).encode() * 2,
    "holds NaN": b'{"query":"{ shards { key } }","variables":{"a":NaN}}',
    "nests lists": b"[" * 100_000,
    "nests a query": b'{"query":' + b"[" * 100_000,
    "nests objects": b'{"a":' * 100_000,
    "nests variables": b'{"query":"{ shards { key } }","variables":{"a":' + b"[" * 2_000 + b"]" * 2_000 + b"}}",
    "nests variables that are used": json.dumps({"query": A_RUN}).encode()[:-1]
    + b',"variables":{"id":'
    + b"[" * 900
    + b"]" * 900
    + b"}}",
    "has no query": {},
    "has no query but variables": {"variables": {"a": 1}},
    "has a query in capitals": {"QUERY": SHARDS},
    "has null for a query": {"query": None},
    "has a number for a query": {"query": 7},
    "has a list for a query": {"query": [SHARDS]},
    "has an object for a query": {"query": {"shards": "key"}},
    "has false for a query": {"query": False},
    "has only a name": {"operationName": "A"},
    "has a persisted query that is none": {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "x"}}},
    "has a list for variables": {"query": A_RUN, "variables": []},
    "has a list of variables": {"query": A_RUN, "variables": [{"id": "x"}]},
    "has a text for variables": {"query": A_RUN, "variables": '{"id": "x"}'},
    "has a number for variables": {"query": A_RUN, "variables": 7},
    "has true for variables": {"query": A_RUN, "variables": True},
    "has other variables": {"query": A_RUN, "variables": {"Id": "x"}},
    "has a variable with its dollar": {"query": A_RUN, "variables": {"$id": "x"}},
    "names an operation that is missing": {"query": SHARDS, "operationName": "Missing"},
    "names an operation in the wrong case": {"query": "query A { shards { key } }", "operationName": "a"},
    "names an operation by NUL": {"query": SHARDS, "operationName": "\0"},
    "names an operation by a line": {"query": SHARDS, "operationName": "a\nb"},
    "names an operation by a surrogate": {"query": SHARDS, "operationName": "\ud800"},
    "names an operation at length": {"query": SHARDS, "operationName": "x" * 100_000},
    "names an operation by a number": {"query": SHARDS, "operationName": 7},
    "names an operation by a list": {"query": SHARDS, "operationName": ["A"]},
    "names an operation by an object": {"query": SHARDS, "operationName": {"A": 1}},
    "names one of two, and it is neither": {"query": DOCUMENTS["holds two operations"], "operationName": "C"},
    "names one of two with nothing": {"query": DOCUMENTS["holds two operations"], "operationName": ""},
    "is one byte too large": json.dumps({"query": SHARDS}).encode().ljust(MEGABYTE + 1),
    "is much too large": b" " * 3 * MEGABYTE,
    "holds an id that is too large": {"query": A_RUN, "variables": {"id": "run_" + "a" * MEGABYTE}},
    "holds a query that is too large": {"query": "#" * MEGABYTE},
}
TYPES = {
    "text/plain": SHARDS.encode(),
    "application/graphql": SHARDS.encode(),
    "application/x-www-form-urlencoded": b"query=%7Bshards%7Bkey%7D%7D",
    "multipart/form-data": b"x",
    "multipart/form-data; boundary=x": b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n{}\r\n--x--\r\n',
    "": b"{}",
    "x" * 1_000: b"{}",
}
ADDRESSES: dict[str, dict[str, str]] = {
    "an empty query": {"query": ""},
    "a cut query": {"query": "{"},
    "NUL": {"query": "\0"},
    "variables that are no JSON": {"query": A_RUN, "variables": "{"},
    "variables that are a list": {"query": A_RUN, "variables": "[]"},
    "variables that are null": {"query": A_RUN, "variables": "null"},
    "a lone surrogate in variables": {"query": A_RUN, "variables": '{"id":"\\ud800"}'},
    "the name of a missing operation": {"query": SHARDS, "operationName": "Missing"},
    "a mutation": {"query": "mutation { run { id } }"},
    "a long name": {"query": "{ " + "a" * 50_000 + " }"},
    "extensions that are no JSON": {"query": "{", "extensions": "{"},
}


def requests() -> Iterator[Request]:
    """Yield what is aimed at the endpoint: wrong documents, bodies, content types and addresses."""
    yield from (Request(f"a document that {what}", {"query": query}) for what, query in DOCUMENTS.items())
    yield Request("a document of fragments that double", {"query": bomb(19)}, may_find=True)
    yield from (Request(f"a body that {what}", body) for what, body in BODIES.items())
    yield from (Request(f"a body of the type {name[:60]!r}", body, name) for name, body in TYPES.items())
    yield from (Request(f"an address with {what}", query, is_address=True) for what, query in ADDRESSES.items())


class Answer(NamedTuple):
    """What came back: the status, the JSON, and what is wrong with them whatever was asked."""

    data: Any
    errors: list[Any]
    wrong: list[str]


async def answer_to(client: httpx.AsyncClient, request: Request) -> Answer:
    began = time.monotonic()
    headers = {"Content-Type": request.content_type, "Accept": "application/json"}
    with capture_logs() as logs:
        async with asyncio.timeout(30):
            if request.is_address:
                response = await client.get("/graphql", params=request.body, headers=headers)
            else:
                body = request.body if isinstance(request.body, bytes) else json.dumps(request.body).encode()
                response = await client.post("/graphql", content=body, headers=headers)
    wrong = [repr(entry["exc_info"])[:200] for entry in logs if "exc_info" in entry]
    if (took := time.monotonic() - began) > SLOWEST:
        wrong.append(f"took {took:.1f} s")
    if response.status_code not in (200, 400, 413, 415):
        wrong.append(f"HTTP {response.status_code}")
    try:
        answer = response.json()
    except ValueError:
        return Answer(None, [], [*wrong, f"no JSON: {response.text[:200]!r}"])
    errors = answer.get("errors", [])
    codes = CODES | {"PAYLOAD_TOO_LARGE"} if response.status_code == 413 else CODES
    return Answer(answer.get("data"), errors, wrong + [what for error in errors for what in wrong_with(error, codes)])


def wrong_with(error: Any, codes: set[str]) -> Iterator[str]:
    message, code = error["message"], (error.get("extensions") or {}).get("code")
    if code not in codes:
        yield f"code {code}: {message[:200]!r}"
    if len(message.splitlines()) != 1:
        yield f"not one line: {message[:200]!r}"
    if len(message) >= 300:
        yield f"{len(message)} characters: {message[:120]!r}"
    if LEAKS.search(message):
        yield f"tells of our inside: {message[:200]!r}"


def is_nothing(value: Any) -> bool:
    """Tell whether an answer holds no object."""
    if isinstance(value, dict):
        return "nodes" in value and is_nothing(value["nodes"])
    return value is None or (isinstance(value, list) and all(map(is_nothing, value)))


async def judge_request(client: httpx.AsyncClient, request: Request) -> list[str]:
    answer = await answer_to(client, request)
    wrong = [*answer.wrong]
    if not request.may_find and not answer.errors and not is_nothing_named(answer.data):
        wrong.append(f"no error: {str(answer.data)[:200]}")
    return [f"{request.label}: {what}" for what in wrong]


def is_nothing_named(data: Any) -> bool:
    return isinstance(data, dict) and all(map(is_nothing, data.values()))


async def judge_aims(client: httpx.AsyncClient, group: tuple[Aim, ...], foreign: World, reached: set[str]) -> list[str]:
    """Return what is wrong with the answers to aims that were asked together. What fails is asked once more alone."""
    answer = await answer_to(client, Request("", operation(group)))
    place = group[0].place
    parent = place.parent(answer.data)
    failures = [f"{group[0].label}: {what}" for what in answer.wrong]
    for number, aim in enumerate(group):
        alias = f"a{number}"
        found = None if parent is None else parent.get(alias)
        refused = parent is None or any(alias in error.get("path", ()) for error in answer.errors)
        if parent is not None:
            reached.update(aim.covers)
        elif not answer.errors:
            failures.append(f"{aim.label}: its field was not reached")
        if not refused and aim.bad.refused:
            failures.append(f"{aim.label}: was not refused, and found {str(found)[:150]}")
        elif not aim.bad.may_find and not is_nothing(found):
            failures.append(f"{aim.label}: found {str(found)[:150]}")
        if any(id_ in str(found) for id_ in foreign.ids.values()):
            failures.append(f"{aim.label}: found what is another's: {str(found)[:150]}")
    if failures and len(group) > 1:
        alone = [what for aim in group for what in await judge_aims(client, (aim,), foreign, reached)]
        return alone or [f"only together with others: {what}" for what in failures]
    return failures


async def ask(client: httpx.AsyncClient, world: World, place: Place, **arguments: Any) -> Any:
    """Return what a place finds with good arguments. It must be reached, or bad ones would prove nothing."""
    aim = Aim("", place, (needed(world, place) or {}) | arguments, Bad(None))
    headers = {"Authorization": f"Bearer {world.key}"}
    more = ("pageInfo { endCursor }",) if place.is_list and "after" in place.field.args else ()
    answer = (await client.post("/graphql", json=operation((aim,), *more), headers=headers)).json()
    parent = place.parent(answer["data"])
    assert parent is not None, f"{place.label} was not reached: {answer}"
    return parent["a0"]


async def cursors_of(client: httpx.AsyncClient, own: World, twin: World, foreign: World) -> Cursors:
    """Return cursors of every list: its own; of the same list of another parent or viewer, narrowed or turned round."""
    cursors: dict[str, dict[str, str]] = {}
    lists = [place for place in places(own) if place.is_list and "after" in place.field.args]
    abroad = {place.label: place for place in places(foreign)}
    for place in lists:
        kinds = cursors[place.label] = {"own": await end_of(client, own, place)}
        kinds["another viewer"] = await end_of(client, foreign, abroad[place.label])
        for other in places(twin):
            if other.label == place.label and other.way != place.way:
                kinds["another parent"] = await end_of(client, twin, other)
        if "orderBy" in place.field.args:
            kinds["another order"] = await end_of(client, own, place, orderBy={"direction": "ASC"})
        for spot in spots(place.field):
            if (value := good(own, place, spot)) is not None:
                kinds[".".join(spot.keys)] = await end_of(client, own, place, **nested(spot.keys, value))
    return cursors


async def end_of(client: httpx.AsyncClient, world: World, place: Place, **arguments: Any) -> str:
    """Return the cursor of a list's first row."""
    page = await ask(client, world, place, first=1, **arguments)
    end: str | None = page and page["pageInfo"]["endCursor"]
    assert end, f"{place.label} has no row to stand behind: plant one"
    return end


async def without_good(client: httpx.AsyncClient, own: World, cursors: Cursors) -> list[str]:
    """Return the spots at which not even a good value finds something: that a bad one does not would prove nothing.

    Of a list with cursors it is known: that is where they are from.
    """
    missing = []
    for place in (place for place in places(own) if place.label not in cursors):
        for spot in spots(place.field):
            value = good(own, place, spot)
            if value is None:
                continue
            for arguments in (nested(spot.keys, value), friends(own, place) | nested(spot.keys, value)):
                if not is_nothing(await ask(client, own, place, **arguments)):
                    break
            else:
                missing.append(f"{place.label}({'.'.join(spot.keys)})")
    return missing


def arguments() -> dict[str, bool]:
    """Return every argument of a query, every field of an input too, and whether a bad value of its type exists.

    One of such a type gets as far as our code, and must: a boolean or an enum is refused before. Mutations are judged
    by what they leave behind, in `test_bad_writes.py`, and subscriptions in `test_subscriptions.py`.
    """
    found = {}
    elsewhere = (CORE.mutation_type, CORE.subscription_type)
    for kind in CORE.type_map.values():
        if isinstance(kind, GraphQLObjectType) and not is_introspection_type(kind) and kind not in elsewhere:
            for name, field in kind.fields.items():
                for spot in spots(field):
                    free = spot.is_list or spot.named.name in ("ID", "String", "Int", "DateTime")
                    found[f"{kind.name}.{name}({'.'.join(spot.keys)})"] = free
    return found


async def test_whatever_is_wrong_with_an_input_nothing_is_found_or_one_sentence_says_why(
    federation: FederationUnderTest,
) -> None:
    stranger = replace(federation, tenant=await plant_tenant(federation.connections[LEGACY]))
    own, twin, foreign = await plant(federation), await plant(federation), await plant(stranger)
    failures: list[str] = []
    tried: set[str] = set()
    reached: set[str] = set()
    count = 0
    async with federation.client() as client:
        cursors = await cursors_of(client, own, twin, foreign)
        assert await without_good(client, own, cursors) == []
        client.headers["Authorization"] = f"Bearer {own.key}"
        for group in aims(own, foreign, cursors):
            count += len(group)
            tried.update(name for aim in group for name in aim.covers)
            failures += await judge_aims(client, group, foreign, reached)
        for request in (*misfits(own), *requests()):
            count += 1
            failures += await judge_request(client, request)

    assert not failures, f"{len(failures)} of {count}:\n" + "\n".join(failures)
    assert count >= 220
    assert arguments().keys() - tried == set(), "no bad value is given to these"
    assert {name for name, free in arguments().items() if free} - reached == set(), "no bad value reaches these"


async def test_what_was_decided_of_a_document_is_remembered(federation: FederationUnderTest) -> None:
    query = f"{{ {ids.mint_cuid()}: shards {{ key }} }}"
    before = decided.cache_info()
    for _ in range(3):
        await federation.ask(query)
    after = decided.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 2)
