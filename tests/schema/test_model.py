"""All mutations in any order, over three shards: after each of them every row is what a plain model says it is."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from store import ids
from store.control_plane import CONTROL_PLANE
from store.embedded import Cluster
from store.residency import LEGACY, ShardKey, shard_of
from store.settings import MintSettings
from tests.conftest import SHARDS
from tests.federation import FederationUnderTest, bearer, plant_tenant
from tests.model import FINAL, MOST_REPLAYS, PUBLIC, Model, New, Outcome, Refused, Run, Step, Waitpoint, end_of
from tests.schema.test_mutations import (
    ABORT,
    BULK,
    CANCEL,
    COMPLETE,
    CREATE,
    ERRORS,
    METADATA,
    REPLAY,
    RESCHEDULE,
    RESET,
    SKIP,
    TAGS,
    TRIGGER,
    UNTIL,
    WAIT,
)
from tests.swept import TABLES, Urls, databases, opened, writing_of

T = TypeVar("T")

BATCH = f"""mutation ($input: TriggerBatchInput!) {{ triggerBatch(input: $input) {{
  isCached batch {{ id status runIds }} {ERRORS} }} }}"""

RUN = """query ($id: ID!) { node: run(id: $id) {
  status rawStatus tags metadata depth parentRun { id } rootRun { id } batch { id } replayedFromRun { id }
  blockedBy { batchIndex waitpoint { id } } waitpoints(first: 100) { nodes { id } }
  snapshots(first: 1) { executionStatus completedWaitpoints { id } } } }"""
BATCH_READ = "query ($id: ID!) { node: batch(id: $id) { status runIds runs(first: 100) { nodes { id } } } }"
WAITPOINT = """query ($id: ID!) { node: waitpoint(id: $id) { type status tags outputIsError output { json }
  blockedRuns(first: 100) { nodes { id } } connectedRuns(first: 100) { nodes { id } } } }"""

CONNECTIONS = {LEGACY: '"_WaitpointRunConnections" c ("taskRunId", "waitpointId")'}
COMPLETIONS = {LEGACY: '"_completedWaitpoints" c ("snapshotId", "waitpointId")'}
ROWS = """WITH runs AS (SELECT * FROM "TaskRun" WHERE "runtimeEnvironmentId" = $1),
  steps AS (SELECT * FROM "TaskRunExecutionSnapshot" WHERE "environmentId" = $1),
  waitpoints AS (SELECT * FROM "Waitpoint" WHERE "environmentId" = $1)
SELECT json_build_object(
  'runs', (SELECT json_agg(r) FROM runs r),
  'batches', (SELECT json_agg(b) FROM "BatchTaskRun" b WHERE b."runtimeEnvironmentId" = $1),
  'waitpoints', (SELECT json_agg(w) FROM waitpoints w),
  'steps', (SELECT json_agg(s ORDER BY s."createdAt") FROM steps s),
  'edges', (SELECT json_agg(e) FROM "TaskRunWaitpoint" e WHERE e."projectId" = $2),
  'connections', (SELECT json_agg(json_build_array(c."taskRunId", c."waitpointId")) FROM {connections}
    WHERE c."taskRunId" IN (SELECT id FROM runs) OR c."waitpointId" IN (SELECT id FROM waitpoints)),
  'completions', (SELECT json_agg(json_build_array(c."snapshotId", c."waitpointId")) FROM {completions}
    WHERE c."snapshotId" IN (SELECT id FROM steps) OR c."waitpointId" IN (SELECT id FROM waitpoints)))"""
BULKS = 'SELECT json_agg(b) FROM "BulkActionGroup" b WHERE b."environmentId" = $1'

MISSING = ids.mint_cuid()
PAST, FUTURE = "2020-01-01T00:00:00Z", "2090-01-01T00:00:00Z"
LONG_AGO = datetime(2020, 1, 1)  # noqa: DTZ001  the columns hold naive UTC


@pytest.fixture(scope="module")
async def own_urls(clusters: dict[ShardKey, Cluster]) -> Urls:
    return await databases(clusters, "modelled")


@pytest.fixture
async def world(own_urls: Urls) -> AsyncIterator["World"]:
    mint = MintSettings(enabled=True, ttl=0.0, grace=0.0)
    async with opened(own_urls, SHARDS, mint=mint, deadline=10.0) as federation:
        yield World(federation, asyncio.get_running_loop())


@dataclass
class World:
    """What all examples share, and what was seen in them."""

    federation: FederationUnderTest
    loop: asyncio.AbstractEventLoop
    seen: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work in the session's loop, from a thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@dataclass
class Rows:
    """All rows of a tenant, as a model tells of them; and their primary keys, where a model has none."""

    tables: dict[str, dict[str, Any]]
    updated: dict[str, str]
    ids: dict[str, str]
    """The waitpoints' own, by name."""


async def read_rows(federation: FederationUnderTest) -> Rows:
    """Read everything of a tenant: one statement a shard."""
    tenant = federation.tenant

    async def of(shard: ShardKey) -> dict[str, list[Any]]:
        connections = CONNECTIONS.get(shard, '"WaitpointRunConnection" c')
        completions = COMPLETIONS.get(shard, '"CompletedWaitpoint" c')
        statement = ROWS.format(connections=connections, completions=completions)
        text = await federation.connections[shard].fetchval(statement, tenant.environment_id, tenant.project_id)
        return {table: rows or [] for table, rows in json.loads(text).items()}

    shards = dict(zip(federation.shards, await asyncio.gather(*map(of, federation.shards)), strict=True))
    bulks = json.loads(await federation.connections[CONTROL_PLANE].fetchval(BULKS, tenant.environment_id) or "[]")
    return _rows_of(shards, bulks)


def _rows_of(shards: dict[ShardKey, dict[str, list[Any]]], bulks: list[Any]) -> Rows:
    now = datetime.now(UTC).replace(tzinfo=None).isoformat()
    rows = Rows({"runs": {}, "waitpoints": {}, "batches": {}}, {}, {})
    names = {}
    for shard, tables in shards.items():
        for waitpoint in tables["waitpoints"]:
            ended = waitpoint["completedByTaskRunId"] or waitpoint["completedByBatchId"]
            name = end_of(ended) if ended else waitpoint["id"]
            assert waitpoint["id"] not in names, "it is on one shard"
            assert name not in rows.ids, "there is one for an end"
            names[waitpoint["id"]], rows.ids[name] = name, waitpoint["id"]
            rows.tables["waitpoints"][name] = {"shard": shard, **_waitpoint(waitpoint, now)}
            rows.updated[waitpoint["id"]] = waitpoint["updatedAt"]
        for batch in tables["batches"]:
            assert batch["id"] not in rows.tables["batches"]
            assert shard_of(batch["id"]) == shard
            rows.tables["batches"][batch["id"]] = {"shard": shard, **_batch(batch, now)}
            rows.updated[batch["id"]] = batch["updatedAt"]
    for shard, tables in shards.items():
        for run in tables["runs"]:
            assert run["id"] not in rows.tables["runs"]
            assert shard_of(run["id"]) == shard
            rows.tables["runs"][run["id"]] = {"shard": shard, **_run(run, now), **_around(run, tables, names)}
            rows.updated[run["id"]] = run["updatedAt"]
        mine = {run["id"] for run in tables["runs"]}
        assert {edge["taskRunId"] for edge in tables["edges"]} <= mine, "edges are with their run"
        assert {run_id for run_id, _ in tables["connections"]} <= mine
        assert {step["runId"] for step in tables["steps"]} <= mine
        assert {step for step, _ in tables["completions"]} <= {step["id"] for step in tables["steps"]}
    rows.tables["bulks"] = {
        bulk["id"]: {
            "type": bulk["type"],
            "status": bulk["status"],
            "counts": (bulk["totalCount"], bulk["successCount"], bulk["failureCount"]),
        }
        for bulk in bulks
    }
    return rows


def _is_past(time: str | None, now: str) -> bool:
    return time is not None and time <= now


def _run(row: dict[str, Any], now: str) -> dict[str, Any]:
    key = row["idempotencyKey"]
    return {
        "task": row["taskIdentifier"],
        "status": row["status"],
        "parent": row["parentTaskRunId"],
        "root": row["rootTaskRunId"],
        "depth": row["depth"],
        "batch": row["batchId"],
        "waits": row["resumeParentOnCompletion"],
        "tags": row["runTags"] or [],
        "metadata": (json.loads(row["metadata"] or "{}"), row["metadataVersion"]),
        "key": (key, key is not None and _is_past(row["idempotencyKeyExpiresAt"], now)),
        "is due": _is_past(row["delayUntil"], now) if row["status"] == "DELAYED" else None,
        "replay of": row["replayedFromTaskRunFriendlyId"],
        "bulk actions": row["bulkActionGroupIds"] or [],
    }


def _around(run: dict[str, Any], tables: dict[str, list[Any]], names: dict[str, str]) -> dict[str, Any]:
    """Return what a run's shard tells of its steps, its edges and its connections."""
    steps = [step for step in tables["steps"] if step["runId"] == run["id"]]
    for before, after in pairwise(steps):
        assert before["createdAt"] < after["createdAt"]
        assert after["previousSnapshotId"] == before["id"]
    return {
        "steps": [
            Step(
                step["executionStatus"],
                frozenset(names[waitpoint] for id_, waitpoint in tables["completions"] if id_ == step["id"]),
                tuple(names[waitpoint] for waitpoint in step["completedWaitpointOrder"] or ()),
            )
            for step in steps
        ],
        "blocked by": {
            (names[edge["waitpointId"]], edge["batchIndex"])
            for edge in tables["edges"]
            if edge["taskRunId"] == run["id"]
        },
        "connected with": {names[waitpoint] for id_, waitpoint in tables["connections"] if id_ == run["id"]},
    }


def _waitpoint(row: dict[str, Any], now: str) -> dict[str, Any]:
    is_complete, output = row["status"] == "COMPLETED", row["output"]
    assert is_complete == (row["completedAt"] is not None)
    value = json.loads(output) if output is not None and row["outputType"] != "text/plain" else output
    if isinstance(value, dict) and "code" in value:
        del value["message"]  # it says when
    given = row["userProvidedIdempotencyKey"]
    status = ("TIMED_OUT" if row["outputIsError"] else "COMPLETED") if is_complete else "WAITING"
    old = row["inactiveIdempotencyKey"]
    key = row["idempotencyKey"] if given and old is None else None
    return {
        "type": row["type"],
        "status": status,
        "outcome": Outcome(value, row["outputType"], row["outputIsError"]),
        "tags": row["tags"] or [],
        "key": (key, key is not None and _is_past(row["idempotencyKeyExpiresAt"], now), old),
        "is due": None if row["completedAfter"] is None else _is_past(row["completedAfter"], now),
    }


def _batch(row: dict[str, Any], now: str) -> dict[str, Any]:
    key = row["idempotencyKey"]
    return {
        "status": row["status"],
        "members": row["runIds"],
        "counts": (row["runCount"], row["expectedCount"], row["completedCount"]),
        "key": (key, key is not None and _is_past(row["idempotencyKeyExpiresAt"], now)),
    }


TASKS, KEYS = st.sampled_from(["hello", "b"]), st.sampled_from(["k", "l"])
MAYBE_KEY = st.none() | KEYS
WAITPOINT_KEY = st.sampled_from([None, "k", "k"])
TAG = st.sampled_from([*"abcdefghijkl", " "])
DOCUMENTS = st.none() | st.dictionaries(st.sampled_from("mn"), st.integers(0, 9), max_size=2)
RARELY = st.sampled_from([False, False, False, True])


def new_runs(*scopes: str | None) -> st.SearchStrategy[New]:
    return st.builds(
        New,
        TASKS,
        MAYBE_KEY,
        st.sampled_from(scopes),
        RARELY,
        st.lists(TAG.filter(str.strip), max_size=3, unique=True).map(tuple),
        DOCUMENTS,
    ).map(lambda new: replace(new, scope=new.key and new.scope))


ROOTS, CHILDREN = new_runs(None, "GLOBAL"), new_runs(None, None, "RUN", "ATTEMPT", "GLOBAL")
OPERATION = st.builds(
    lambda type_, key, value: {"type": type_, "key": key} | ({} if type_ == "delete" else {"value": value}),
    st.sampled_from(["set", "append", "increment", "delete"]),
    st.sampled_from("mn"),
    st.integers(1, 5),
)
OPERATIONS = st.lists(OPERATION, max_size=2)
DATA: dict[str, tuple[dict[str, Any], Outcome]] = {
    "nothing": ({}, Outcome()),
    "null": ({"data": None}, Outcome({"json": None}, "application/super+json")),
    "an empty text": ({"data": ""}, Outcome()),
    "a text": ({"data": "t"}, Outcome("t", "text/plain")),
    "an object": ({"data": {"ok": [True]}}, Outcome({"json": {"ok": [True]}}, "application/super+json")),
    "late": ({"timedOut": True}, Outcome({"code": "TRIGGER_WAITPOINT_TIMEOUT"}, is_error=True)),
}
ENDS = {
    "COMPLETED_SUCCESSFULLY": Outcome({"n": 1}),
    "COMPLETED_WITH_ERRORS": Outcome({"type": "STRING_ERROR", "raw": "boom"}, is_error=True),
    "EXPIRED": Outcome(None, is_error=True),
}
NARROWINGS: dict[str, tuple[dict[str, Any], Callable[[Run], bool]]] = {
    "a task": ({"taskIdentifier": ["b"]}, lambda run: run.task == "b"),
    "queued": ({"status": ["QUEUED", "DELAYED"]}, lambda run: run.status in {"PENDING", "DELAYED"}),
    "roots that wait": (
        {"rootOnly": True, "status": ["WAITING"]},
        lambda run: not run.root and PUBLIC[run.status] == "WAITING",
    ),
    "tags": ({"tags": ["a", "b"]}, lambda run: bool({"a", "b"} & set(run.tags))),
}
PLANTED = ["EXECUTING", "EXECUTING", "EXECUTING", "EXECUTING before there were steps", "DEQUEUED", "retired"]


def friendly(prefix: str, id_: str) -> str:
    return f"{prefix}_{id_}"


class Machine(RuleBasedStateMachine):
    """A tenant of its own, and its model. What is answered, and what is read, must be what the model says."""

    world: ClassVar[World]
    runs: Bundle[str] = Bundle("runs")
    triggered: Bundle[str] = Bundle("triggered")
    waitpoints: Bundle[str] = Bundle("waitpoints")
    times: Bundle[str] = Bundle("times")
    batches: Bundle[str] = Bundle("batches")
    bulks: Bundle[str] = Bundle("bulks")

    def __init__(self) -> None:
        super().__init__()
        self.federation = self.world.federation
        self.model = Model()
        for shard in SHARDS:  # a round of the sweeper sees all tenants
            self.write(shard, TABLES)
        self.write(ShardKey(CONTROL_PLANE), 'TRUNCATE "BulkActionGroup" CASCADE')
        self.federation.tenant = self.do(plant_tenant(self.federation.connections[CONTROL_PLANE]))
        self.rows = Rows({"runs": {}, "waitpoints": {}, "batches": {}, "bulks": {}}, {}, {})
        self.turn = 0
        self.has_changed = False

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        self.has_changed = True
        return self.world.do(work)

    def act(self, document: str, given: dict[str, Any], predict: Callable[[Any], T]) -> T | None:
        """Do a mutation and return what `predict` does, which gets the payload; None if both refuse, for one reason."""
        return self.agree(self.do(self.federation.ask(document, input=given)), predict)

    def agree(self, data: dict[str, Any], predict: Callable[[Any], T]) -> T | None:
        ((name, payload),) = data.items()
        expected, predicted = [], None
        try:
            predicted = predict(payload)
        except Refused as refused:
            expected = [(refused.kind, refused.status)]
        errors = [(error["__typename"], error.get("status")) for error in payload["userErrors"]]
        assert errors == expected
        self.world.seen[f"{name} refused" if errors else name] += 1
        self.world.refused.update(kind for kind, _ in errors)
        return predicted

    def write(self, shard: ShardKey, statement: str, *given: Any) -> None:
        """Write as another writer does, directly."""
        self.do(self.federation.connections[shard].execute(statement, *given))

    # What is there before

    @initialize(target=runs)
    def plant_runs_that_execute(self) -> "MultipleResults[str]":
        return multiple(*(self.planted(shard, "EXECUTING", None) for shard in SHARDS))

    @initialize(target=waitpoints)
    def plant_tokens(self) -> "MultipleResults[str]":
        made = [(self.do(self.federation.waitpoint(shard)), shard) for shard in SHARDS]
        self.model.waitpoints |= {id_: Waitpoint(id_, shard, "MANUAL") for id_, shard in made}
        return multiple(*(id_ for id_, _ in made))

    @rule(target=runs, shard=st.sampled_from(SHARDS), kind=st.sampled_from(PLANTED), tags=st.none() | st.just(["a"]))
    def plant_a_run(self, shard: ShardKey, kind: str, tags: list[str] | None) -> str:
        return self.planted(shard, kind, tags)

    def planted(self, shard: ShardKey, kind: str, tags: list[str] | None) -> str:
        is_retired, status = kind == "retired", "DEQUEUED" if kind == "DEQUEUED" else "EXECUTING"
        engine = "V1" if is_retired else "V2"
        id_ = self.do(self.federation.run(shard, status=status, engine=engine, runTags=tags))
        run = Run(id_, shard, "hello", status, tags=list(tags or ()), is_retired=is_retired)
        self.model.add(run)
        if kind in {"EXECUTING", "DEQUEUED"}:
            self.step(run, "EXECUTING" if kind == "EXECUTING" else "PENDING_EXECUTING")
        return id_

    def step(self, run: Run, status: str) -> None:
        """Write a step as an engine does."""
        tenant = self.federation.tenant
        statement = """INSERT INTO "TaskRunExecutionSnapshot" ("id", "engine", "executionStatus", "description",
            "runId", "runStatus", "environmentId", "environmentType", "projectId", "organizationId",
            "previousSnapshotId", "createdAt", "updatedAt")
          SELECT $1, 'V2', $2::"TaskRunExecutionStatus", 'by the engine', $3, r.status, $4, 'PRODUCTION', $5, $6,
            last.id, GREATEST(now() AT TIME ZONE 'utc', last."createdAt" + interval '1 ms'), now() AT TIME ZONE 'utc'
          FROM "TaskRun" r LEFT JOIN LATERAL (SELECT * FROM "TaskRunExecutionSnapshot" s WHERE s."runId" = r.id
            ORDER BY s."createdAt" DESC LIMIT 1) last ON true WHERE r.id = $3"""
        given = (ids.mint_cuid(), status, run.id, tenant.environment_id, tenant.project_id, tenant.organization_id)
        self.write(run.shard, statement, *given)
        run.goes(status)

    @rule(home=st.sampled_from([("cuid", LEGACY), ("runOpsId", SHARDS[1])]))
    def flip(self, home: tuple[str, ShardKey]) -> None:
        kind, self.model.home = home
        statement = """UPDATE "Organization" SET "featureFlags" = $1::text::jsonb WHERE id = $2"""
        flags = json.dumps({"runOpsMintKind": kind})
        self.write(ShardKey(CONTROL_PLANE), statement, flags, self.federation.tenant.organization_id)
        self.world.seen["flip"] += 1

    # What is triggered

    @rule(targets=(runs, triggered), new=ROOTS)
    def trigger_a_root(self, new: New) -> "str | MultipleResults[str]":
        return self.trigger(new, None, waits=False)

    @rule(targets=(runs, triggered), new=CHILDREN, parent=runs, waits=st.booleans())
    def trigger_a_child(self, new: New, parent: str, *, waits: bool) -> "str | MultipleResults[str]":
        return self.trigger(new, parent, waits=waits)

    def trigger(self, new: New, parent: str | None, *, waits: bool) -> "str | MultipleResults[str]":
        given = trigger_input(new) | place_input(parent, waits=waits)

        def predict(payload: Any) -> str:
            made = body_of(payload["run"])
            assert (made, payload["isCached"]) == self.model.trigger(new, made, parent, waits=waits)
            return made

        return self.act(TRIGGER, given, predict) or multiple()

    @rule(target=runs, new=CHILDREN, parents=st.lists(runs, min_size=2, max_size=3))
    def trigger_at_once(self, new: New, parents: list[str]) -> "MultipleResults[str]":
        """Two who trigger under one key at once: one of them makes the run, and the other finds it."""

        async def together() -> list[Any]:
            inputs = [trigger_input(new) | place_input(parent, waits=False) for parent in parents]
            return await asyncio.gather(*(self.federation.ask(TRIGGER, input=given) for given in inputs))

        answers = list(zip(parents, self.do(together()), strict=True))
        made = []
        for parent, data in sorted(answers, key=lambda answer: answer[1]["triggerRun"]["isCached"]):

            def predict(payload: Any, parent: str = parent) -> str:
                id_ = body_of(payload["run"])
                assert (id_, payload["isCached"]) == self.model.trigger(new, id_, parent)
                return id_

            made.append(self.agree(data, predict))
        return multiple(*dict.fromkeys(id_ for id_ in made if id_ is not None))

    @rule(target=batches, items=st.lists(ROOTS, min_size=1, max_size=4), key=MAYBE_KEY)
    def trigger_a_batch_of_roots(self, items: list[New], key: str | None) -> "str | MultipleResults[str]":
        return self.trigger_batch(items, key, None, waits=False)

    @rule(
        target=batches,
        items=st.lists(CHILDREN, min_size=1, max_size=4),
        key=MAYBE_KEY,
        parent=runs,
        waits=st.sampled_from([True, True, False]),
    )
    def trigger_a_batch_of_children(
        self, items: list[New], key: str | None, parent: str, *, waits: bool
    ) -> "str | MultipleResults[str]":
        return self.trigger_batch(items, key, parent, waits=waits)

    def trigger_batch(
        self, items: list[New], key: str | None, parent: str | None, *, waits: bool
    ) -> "str | MultipleResults[str]":
        given = {"items": list(map(trigger_input, items)), "idempotencyKey": key} | place_input(parent, waits=waits)

        def predict(payload: Any) -> str:
            made = body_of(payload["batch"])
            members = [ids.body(run_id) for run_id in (payload["batch"] or {"runIds": []})["runIds"]]
            predicted = self.model.trigger_batch(items, made, members, key=key, parent=parent, waits=waits)
            assert (made, payload["isCached"]) == predicted
            return made

        return self.act(BATCH, given, predict) or multiple()

    @rule(target=runs, batch=batches, index=st.integers(0, 3))
    def look_at_an_item(self, batch: str, index: int) -> str:
        members = self.model.batches[batch].members
        return ids.body(members[index % len(members)])

    @rule(target=runs, source=runs, key=MAYBE_KEY, tags=st.none() | st.lists(st.just("z"), max_size=1))
    def replay(self, source: str, key: str | None, tags: list[str] | None) -> "str | MultipleResults[str]":
        given = {"id": friendly("run", source), "idempotencyKey": key, "tags": tags}

        def predict(payload: Any) -> str:
            made = body_of(payload["run"])
            assert made == self.model.replay(source, made, key, tags)
            return made

        return self.act(REPLAY, given, predict) or multiple()

    # What is changed

    @rule(run=runs)
    def cancel(self, run: str) -> None:
        def predict(payload: Any) -> None:
            self.model.cancel(run)
            assert payload["run"]["status"] == PUBLIC[self.model.runs[run].status]

        self.act(CANCEL, {"id": friendly("run", run)}, predict)

    @rule(run=runs | triggered, is_past=st.booleans())
    def reschedule(self, run: str, *, is_past: bool) -> None:
        given = {"id": friendly("run", run), "delay": PAST if is_past else "2h"}
        self.act(RESCHEDULE, given, lambda _: self.model.reschedule(run, is_past=is_past))

    @rule(run=runs, tags=st.lists(TAG, max_size=6))
    def add_tags(self, run: str, tags: list[str]) -> None:
        self.act(TAGS, {"id": friendly("run", run), "tags": tags}, lambda _: self.model.add_tags(run, tags))

    @rule(run=runs, document=DOCUMENTS, own=OPERATIONS, parents=OPERATIONS, roots=OPERATIONS)
    def write_metadata(
        self, run: str, document: dict[str, Any] | None, own: list[Any], parents: list[Any], roots: list[Any]
    ) -> None:
        operations = {"operations": own, "parentOperations": parents, "rootOperations": roots}

        def predict(payload: Any) -> None:
            self.model.write_metadata(run, document, own, parents, roots)
            written = payload["run"]["metadata"] or {}
            assert written == self.model.runs[run].metadata

        self.act(METADATA, {"id": friendly("run", run), "metadata": document, **operations}, predict)

    @rule(task=TASKS, key=KEYS)
    def reset_a_key(self, task: str, key: str) -> None:
        given = {"taskIdentifier": task, "key": key}

        def predict(payload: Any) -> None:
            assert self.model.reset_key(task, key) == payload["count"]

        self.act(RESET, given, predict)

    @rule(run=runs)
    def reset_the_key_of(self, run: str) -> None:
        def predict(payload: Any) -> None:
            assert self.model.reset_key_of(run) == payload["count"]

        self.act(RESET, {"runId": friendly("run", run)}, predict)

    # What is waited for

    @rule(
        target=waitpoints, key=WAITPOINT_KEY, tags=st.lists(st.sampled_from("ab"), max_size=2, unique=True), late=RARELY
    )
    def create_a_token(self, key: str | None, tags: list[str], *, late: bool) -> "str | MultipleResults[str]":
        given = {"idempotencyKey": key, "tags": tags, "timeout": "1h" if late else None}

        def predict(payload: Any) -> str:
            made = body_of(payload["waitpoint"])
            assert (made, payload["isCached"]) == self.model.create_token(made, key, tags, times_out=late)
            return made

        return self.act(CREATE, given, predict) or multiple()

    @rule(waitpoint=waitpoints, data=st.sampled_from(sorted(DATA)))
    def complete_a_token(self, waitpoint: str, data: str) -> None:
        given, outcome = DATA[data]

        def predict(payload: Any) -> None:
            assert self.model.complete_token(waitpoint, outcome) == payload["alreadyCompleted"]

        self.act(COMPLETE, {"id": friendly("waitpoint", waitpoint), **given}, predict)

    @rule(waitpoint=waitpoints, run=runs)
    def complete_a_token_and_wait_for_it_at_once(self, waitpoint: str, run: str) -> None:
        """Whoever is first: the run does not stay blocked, and of two who complete it one wins."""

        async def together() -> tuple[Any, ...]:
            token = friendly("waitpoint", waitpoint)
            return await asyncio.gather(
                self.federation.ask(COMPLETE, input={"id": token, "data": 1}),
                self.federation.ask(WAIT, input={"runId": friendly("run", run), "waitpointId": token}),
                self.federation.ask(COMPLETE, input={"id": token, "data": 2}),
            )

        one, wait, other = self.do(together())
        self.agree(wait, lambda _: self.model.wait_for(run, waitpoint))
        answers = [(data, Outcome({"json": n}, "application/super+json")) for n, data in ((1, one), (2, other))]
        for data, outcome in sorted(
            answers, key=lambda answer: bool(answer[0]["completeWaitpointToken"]["alreadyCompleted"])
        ):

            def predict(payload: Any, outcome: Outcome = outcome) -> None:
                assert self.model.complete_token(waitpoint, outcome) == payload["alreadyCompleted"]

            self.agree(data, predict)

    @rule(waitpoint=waitpoints | times)
    def skip(self, waitpoint: str) -> None:
        self.act(SKIP, {"id": friendly("waitpoint", waitpoint)}, lambda _: self.model.skip(waitpoint))

    @rule(run=runs, waitpoint=waitpoints)
    def wait_for(self, run: str, waitpoint: str) -> None:
        given = {"runId": friendly("run", run), "waitpointId": friendly("waitpoint", waitpoint)}
        self.act(WAIT, given, lambda _: self.model.wait_for(run, waitpoint))

    @rule(run=runs, other=runs | batches)
    def wait_for_the_end_of(self, run: str, other: str) -> None:
        given = {
            "runId": friendly("run", run),
            "waitpointId": friendly("waitpoint", self.rows.ids.get(end_of(other), MISSING)),
        }
        self.act(WAIT, given, lambda _: self.model.wait_for(run, end_of(other)))

    @rule(targets=(waitpoints, times), run=runs, key=WAITPOINT_KEY, is_past=RARELY)
    def wait_until(self, run: str, key: str | None, *, is_past: bool) -> "str | MultipleResults[str]":
        given = {"runId": friendly("run", run), "date": PAST if is_past else FUTURE, "idempotencyKey": key}

        def predict(payload: Any) -> str:
            made = body_of(payload["waitpoint"])
            assert made == self.model.wait_until(run, made, key, is_past=is_past)
            return made

        return self.act(UNTIL, given, predict) or multiple()

    # What is done to many

    @rule(target=bulks, type_=st.sampled_from(["CANCEL", "REPLAY"]), narrowing=st.sampled_from(sorted(NARROWINGS)))
    def create_a_bulk_action(self, type_: str, narrowing: str) -> "str | MultipleResults[str]":
        filter_, wanted = NARROWINGS[narrowing]
        return self.create_bulk({"action": type_, "filter": filter_}, wanted)

    @rule(target=bulks, type_=st.sampled_from(["CANCEL", "REPLAY"]), named=st.lists(runs, min_size=1, max_size=3))
    def create_a_bulk_action_on(self, type_: str, named: list[str]) -> "str | MultipleResults[str]":
        named = [*named, MISSING]
        given = {"action": type_, "runIds": [friendly("run", run) for run in named]}
        return self.create_bulk(given, lambda run: run.id in named, named)

    def create_bulk(
        self, given: dict[str, Any], wanted: Callable[[Run], bool], named: Sequence[str] | None = None
    ) -> "str | MultipleResults[str]":
        def predict(payload: Any) -> str:
            made = body_of(payload["bulkAction"])
            self.model.create_bulk(made, given["action"], wanted, named)
            return made

        return self.act(BULK, given, predict) or multiple()

    @rule(bulk=bulks)
    def abort(self, bulk: str) -> None:
        self.act(ABORT, {"id": friendly("bulk", bulk)}, lambda _: self.model.abort_bulk(bulk))

    # What happens by itself, and by others

    @rule()
    def idle(self) -> None:
        """Do nothing: the simplest example is nothing else."""

    @rule()
    def sweep(self) -> None:
        self.world.seen["sweep"] += 1
        canceled = self.round()
        if canceled:
            # A bulk action cancels many at once. Who is last, decides whether batches elsewhere are found complete.
            self.round()
        rows = self.do(read_rows(self.federation)).tables["runs"]
        for run in canceled:
            run.steps = rows[run.id]["steps"]
            assert run.steps[-1].status == "FINISHED"

    def round(self) -> list[Run]:
        report = self.do(writing_of(self.federation).sweeper.round())
        assert report.is_whole
        replays = {
            (bulk, ids.body(row["replay of"] or "")): id_
            for id_, row in self.do(read_rows(self.federation)).tables["runs"].items()
            if id_ not in self.model.runs
            for bulk in row["bulk actions"]
        }
        return self.model.sweep(replays)

    @rule(run=triggered)
    def a_run_begins(self, run: str) -> None:
        one = self.model.runs[run]
        if (one.status, one.doing) != ("PENDING", "QUEUED"):
            return
        statement = """UPDATE "TaskRun" SET status = 'EXECUTING', "attemptNumber" = $2,
          "updatedAt" = now() AT TIME ZONE 'utc' WHERE id = $1"""
        one.status, one.attempt = "EXECUTING", one.attempt + 1
        self.write(one.shard, statement, run, one.attempt)
        self.step(one, "EXECUTING")
        self.world.seen["begins"] += 1

    @rule(run=runs, status=st.sampled_from(sorted(ENDS)), says_so=st.booleans())
    def a_run_ends(self, run: str, status: str, *, says_so: bool) -> None:
        one = self.model.runs[run]
        if one.is_final:
            return
        one.status, one.outcome = status, ENDS[status]
        statement = """UPDATE "TaskRun" SET status = $2::"TaskRunStatus", output = $3, error = $4::text::jsonb,
          "completedAt" = now() AT TIME ZONE 'utc', "updatedAt" = now() AT TIME ZONE 'utc' WHERE id = $1"""
        value = None if one.outcome.value is None else json.dumps(one.outcome.value)
        output, error = (None, value) if one.outcome.is_error else (value, None)
        self.write(one.shard, statement, run, status, output, error)
        if says_so:
            self.step(one, "FINISHED")
        self.world.seen[f"ends {status}"] += 1

    @rule(run=triggered)
    def a_delay_ends(self, run: str) -> None:
        one = self.model.runs[run]
        if one.status == "DELAYED":
            one.is_due = True
            self.write(one.shard, 'UPDATE "TaskRun" SET "delayUntil" = $2 WHERE id = $1', run, LONG_AGO)
            self.world.seen["a delay ends"] += 1

    @rule(waitpoint=waitpoints | times)
    def a_time_comes(self, waitpoint: str) -> None:
        one = self.model.waitpoints[waitpoint]
        if one.is_due is False:
            one.is_due = True
            self.write(one.shard, 'UPDATE "Waitpoint" SET "completedAfter" = $2 WHERE id = $1', waitpoint, LONG_AGO)
            self.world.seen["a time comes"] += 1

    @rule(id_=runs | batches | waitpoints)
    def a_key_expires(self, id_: str) -> None:
        for table, of in (
            ("TaskRun", self.model.runs),
            ("BatchTaskRun", self.model.batches),
            ("Waitpoint", self.model.waitpoints),
        ):
            one: Any = of.get(id_)
            if one is not None and one.key is not None:
                one.is_expired = True
                statement = f'UPDATE "{table}" SET "idempotencyKeyExpiresAt" = $2 WHERE id = $1'  # noqa: S608
                self.write(one.shard, statement, id_, LONG_AGO)
                self.world.seen["a key expires"] += 1

    # What is refused whatever there is

    @rule(which=st.integers(0, 99), run=runs, waitpoint=waitpoints)
    def nonsense(self, which: int, run: str, waitpoint: str) -> None:
        every = refusals(friendly("run", run), friendly("waitpoint", waitpoint))
        document, given, kind = every[which % len(every)]

        def predict(_: Any) -> None:
            raise Refused(kind)

        self.act(document, given, predict)

    @rule(waitpoint=waitpoints)
    def complete_with_the_credential_of_another(self, waitpoint: str) -> None:
        made = self.do(self.federation.ask(CREATE, input={}))["createWaitpointToken"]
        self.model.create_token(body_of(made["waitpoint"]), None, [], times_out=False)
        body = self.do(
            self.federation.answer(
                COMPLETE, headers=bearer(made["publicAccessToken"]), input={"id": friendly("waitpoint", waitpoint)}
            )
        )

        def predict(_: Any) -> None:
            raise Refused("ForbiddenError")

        self.agree(body["data"], predict)

    # What is true after each

    @invariant()
    def rows_and_answers_are_as_the_model_says(self) -> None:
        if self.has_changed:
            self.check_rows()
            self.check_answers()
        self.has_changed = False

    def check_rows(self) -> None:
        before, self.rows = self.rows, self.do(read_rows(self.federation))
        expected = self.model.rows
        for table, rows in self.rows.tables.items():
            assert rows.keys() == expected[table].keys()
            assert [
                (id_, column, row[column], expected[table][id_][column])
                for id_, row in rows.items()
                for column in row
                if row[column] != expected[table][id_][column]
            ] == []
        for id_, time in before.updated.items():
            assert self.rows.updated[id_] >= time, "a row's last change goes on"
        for id_, run in before.tables["runs"].items():
            if run["status"] in FINAL:
                assert self.rows.tables["runs"][id_]["status"] == run["status"]

    def check_answers(self) -> None:
        self.turn += 1
        model = self.model
        asked: list[tuple[str, dict[str, Any], Callable[[Any, Any], None]]] = [
            (RUN, model.runs, self.compare_run),
            (BATCH_READ, model.batches, self.compare_batch),
            (WAITPOINT, model.waitpoints, self.compare_waitpoint),
        ]
        document, of, compare = asked[self.turn % len(asked)]
        if of:
            one = list(of.values())[self.turn // len(asked) % len(of)]
            prefix = {RUN: "run", BATCH_READ: "batch", WAITPOINT: "waitpoint"}[document]
            id_ = friendly(prefix, self.rows.ids[one.name] if isinstance(one, Waitpoint) else one.id)
            answer = self.do(self.federation.ask(document, id=id_))
            compare(one, answer["node"])

    def compare_run(self, run: Run, answer: Any) -> None:
        own = {id_: name for name, id_ in self.rows.ids.items()}
        assert (answer["rawStatus"], answer["status"]) == (run.status, PUBLIC[run.status])
        assert (answer["tags"], answer["metadata"] or {}, answer["depth"]) == (
            sorted(run.tags),
            run.metadata,
            run.depth,
        )
        assert [body_of(answer[of]) for of in ("parentRun", "rootRun", "batch", "replayedFromRun")] == [
            run.parent or "",
            run.root or "",
            run.batch or "",
            ids.body(run.replay_of or ""),
        ]
        blocks = {(own[body_of(edge["waitpoint"])], edge["batchIndex"]) for edge in answer["blockedBy"]}
        assert blocks == set(run.ties)
        assert {own[body_of(node)] for node in answer["waitpoints"]["nodes"]} == run.connections
        steps = [
            (step["executionStatus"], frozenset(own[body_of(one)] for one in step["completedWaitpoints"]))
            for step in answer["snapshots"]
        ]
        assert steps == [(step.status, step.links) for step in run.steps[-1:]]

    def compare_batch(self, batch: Any, answer: Any) -> None:
        assert (answer["status"], answer["runIds"]) == (batch.row["status"], batch.members)
        own = {f"run_{run.id}" for run in self.model.runs.values() if run.batch == batch.id}
        assert {node["id"] for node in answer["runs"]["nodes"]} == own | set(batch.members)

    def compare_waitpoint(self, one: Any, answer: Any) -> None:
        assert (answer["type"], answer["status"], answer["tags"]) == (one.type, one.status, sorted(one.tags))
        assert answer["outputIsError"] == one.outcome.is_error
        for of, names in (
            ("blockedRuns", lambda run: {name for name, _ in run.ties}),
            ("connectedRuns", lambda run: run.connections),
        ):
            runs = {f"run_{run.id}" for run in self.model.runs.values() if one.name in names(run)}
            assert {node["id"] for node in answer[of]["nodes"]} == runs


def body_of(node: Any) -> str:
    return "" if node is None else ids.body(node["id"])


def trigger_input(new: New) -> dict[str, Any]:
    return {
        "task": new.task,
        "idempotencyKey": new.key,
        "idempotencyKeyScope": new.scope,
        "delay": "1h" if new.is_delayed else None,
        "tags": list(new.tags),
        "metadata": new.metadata,
    }


def place_input(parent: str | None, *, waits: bool) -> dict[str, Any]:
    return {"parentRunId": parent and friendly("run", parent), "resumeParentOnCompletion": waits}


def refusals(run: str, waitpoint: str) -> list[tuple[str, dict[str, Any], str]]:
    """Return mutations that are refused whatever there is: their inputs, and the types of their refusals."""
    no_run, no_waitpoint = friendly("run", MISSING), friendly("waitpoint", MISSING)
    unknown: list[tuple[str, dict[str, Any]]] = [
        (TRIGGER, {"task": "t", "parentRunId": no_run}),
        (BATCH, {"items": [{"task": "t"}], "parentRunId": no_run}),
        (CANCEL, {"id": no_run}),
        (CANCEL, {"id": waitpoint}),
        (REPLAY, {"id": no_run}),
        (RESCHEDULE, {"id": no_run, "delay": "1h"}),
        (TAGS, {"id": no_run, "tags": ["a"]}),
        (METADATA, {"id": no_run, "metadata": {}}),
        (RESET, {"runId": no_run}),
        (RESET, {"taskIdentifier": "t", "key": "never"}),
        (COMPLETE, {"id": no_waitpoint}),
        (COMPLETE, {"id": run}),
        (SKIP, {"id": no_waitpoint}),
        (WAIT, {"runId": run, "waitpointId": no_waitpoint}),
        (WAIT, {"runId": no_run, "waitpointId": waitpoint}),
        (UNTIL, {"runId": no_run, "date": FUTURE}),
        (ABORT, {"id": friendly("bulk", MISSING)}),
    ]
    senseless: list[tuple[str, dict[str, Any]]] = [
        (TRIGGER, {"task": ""}),
        (TRIGGER, {"task": "t", "idempotencyKeyScope": "GLOBAL"}),
        (TRIGGER, {"task": "t", "idempotencyKey": "k", "idempotencyKeyScope": "RUN"}),
        (TRIGGER, {"task": "t", "resumeParentOnCompletion": True}),
        (BATCH, {"items": []}),
        (BATCH, {"items": [{"task": "t", "parentRunId": run}]}),
        (REPLAY, {"id": run, "delaySeconds": -1}),
        (TAGS, {"id": run, "tags": ["x" * 129]}),
        (METADATA, {"id": run, "operations": [{"type": "set", "key": "a"}]}),
        (RESET, {"runId": run, "key": "k"}),
        (CREATE, {"timeout": PAST}),
        (CREATE, {"idempotencyKey": "k", "idempotencyKeyTTL": "soon"}),
        (COMPLETE, {"id": waitpoint, "data": 1, "timedOut": True}),
        (BULK, {"action": "CANCEL", "filter": {}}),
    ]
    too_large = [(METADATA, {"id": run, "metadata": {"m": "x" * 262_144}})]
    return [
        (document, given, kind)
        for kind, of in (
            ("NotFoundError", unknown),
            ("InvalidInputError", senseless),
            ("PayloadTooLargeError", too_large),
        )
        for document, given in of
    ]


WRITTEN = {
    "triggerRun",
    "triggerBatch",
    "cancelRun",
    "replayRun",
    "rescheduleRun",
    "addRunTags",
    "updateRunMetadata",
    "resetIdempotencyKey",
    "createWaitpointToken",
    "completeWaitpointToken",
    "skipDateTimeWaitpoint",
    "waitForWaitpointToken",
    "waitForDuration",
    "createBulkAction",
    "abortBulkAction",
}
HAPPENED = {
    "sweep",
    "flip",
    "begins",
    "a delay ends",
    "a time comes",
    "a key expires",
    *(f"ends {end}" for end in ENDS),
}
REFUSED = {
    "NotFoundError",
    "InvalidInputError",
    "InvalidStateError",
    "InvalidRunStateError",
    "ConflictError",
    "PayloadTooLargeError",
    "ForbiddenError",
}


def machine(world: World) -> type[Machine]:
    return type("Tenant", (Machine,), {"world": world})


async def test_every_row_is_what_a_plain_model_says_after_each_of_many_mutations(world: World) -> None:
    """Random, of one seed: for others set MODEL_SEED, for more of them MODEL_EXAMPLES."""
    random_seed, examples = int(os.environ.get("MODEL_SEED", "3")), int(os.environ.get("MODEL_EXAMPLES", "12"))
    run = partial(
        run_state_machine_as_test,
        seed(random_seed)(machine(world)),
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            phases=[Phase.generate, Phase.shrink],
            deadline=None,
            database=None,
            derandomize=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    await asyncio.to_thread(run)
    print(sum(world.seen.values()), dict(world.seen), dict(world.refused))  # noqa: T201  how much it was


async def test_every_row_is_what_a_plain_model_says_after_one_of_each_mutation(world: World) -> None:
    await asyncio.to_thread(one_of_each, machine(world))

    assert world.seen.keys() >= WRITTEN | HAPPENED
    assert world.refused.keys() >= REFUSED


def one_of_each(kind: type[Machine]) -> None:
    tenant = kind()
    tenant.plant_runs_that_execute()
    tenant.plant_tokens()
    (legacy, _, other), (token, *_) = tenant.model.runs, tenant.model.waitpoints
    tenant.flip(("runOpsId", SHARDS[1]))
    root = str(tenant.trigger_a_root(New("hello", "k", is_delayed=True)))
    tenant.reschedule(root, is_past=False)
    tenant.a_delay_ends(root)
    tenant.sweep()
    tenant.a_run_begins(root)
    tenant.check_rows()
    batch = tenant.trigger_a_batch_of_children([New("b"), New("hello", "k"), New("b")], None, legacy, waits=True)
    far, *near = [root, *(run.id for run in tenant.model.runs.values() if run.batch == batch)]
    tenant.add_tags(near[0], ["a"])
    one = {"type": "increment", "key": "n", "value": 1}
    tenant.write_metadata(near[0], {"m": 1}, [one], [one], [one])
    tenant.check_rows()
    for run, end in zip((*near, far), ENDS, strict=True):
        tenant.a_run_ends(run, end, says_so=True)
    tenant.sweep()
    tenant.check_rows()
    tenant.wait_for(other, token)
    tenant.skip(str(tenant.wait_until(other, None, is_past=False)))
    tenant.complete_a_token(token, "an object")
    tenant.check_rows()
    late = str(tenant.create_a_token("k", [], late=True))
    tenant.a_key_expires(late)
    tenant.a_time_comes(late)
    tenant.reset_a_key("hello", "k")
    tenant.trigger_a_root(New("hello", "k"))
    tenant.reset_a_key("hello", "k")
    again = str(tenant.replay(root, None, None))
    tenant.cancel(again)
    tenant.reschedule(again, is_past=False)
    aborted = str(tenant.create_a_bulk_action("CANCEL", "a task"))
    for _ in range(2):
        tenant.abort(aborted)
    for _ in range(MOST_REPLAYS + 1):
        tenant.create_a_bulk_action_on("REPLAY", [again])
    tenant.sweep()
    tenant.check_rows()
    tenant.complete_with_the_credential_of_another(token)
    for which in range(len(refusals("", ""))):
        tenant.nonsense(which, legacy, token)
    tenant.check_rows()


async def test_a_token_and_a_time_under_one_key_stay_what_they_are(world: World) -> None:
    def sequence(kind: type[Machine]) -> None:
        tenant = kind()
        tenant.plant_runs_that_execute()
        for run in list(tenant.model.runs):
            for is_past in (False, True):
                tenant.create_a_token("k", [], late=False)
                tenant.wait_until(run, "k", is_past=is_past)
                tenant.check_rows()
            for waitpoint in tenant.model.waitpoints:
                tenant.a_key_expires(waitpoint)

    await asyncio.to_thread(sequence, machine(world))
