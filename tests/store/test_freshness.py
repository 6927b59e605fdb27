"""One law for every read of the router, and of bulk actions: on a replica it may be old, on the primary it never is.

The replicas are real standbys whose replay is paused, so whatever is planted after that is on the primary only.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event

from schema.api import schema
from store import ids
from store.embedded import Cluster
from store.federation import open_federation
from store.pages import Feed, Window
from store.records import Address
from store.residency import LEGACY, NEW, ShardKey
from store.router import Router
from store.shard import ReadFrom
from store.tables import DEDICATED, FULL
from store.topology import Access, ShardAccess, Topology
from store.urls import parse_url
from tests.federation import START, FederationUnderTest, plant_tenant

WINDOW = Window(10)


@dataclass
class Planted:
    """Rows of one shard that are all tied to each other; `of` is their environment."""

    of: str
    run: str
    child: str
    batch: str
    token: str
    trace: str
    bulk: str


Seen = Callable[[Router, Planted, ReadFrom], Awaitable[Any]]


def feeds(it: Planted, parent: str) -> dict[str, Feed]:
    return {parent: Feed("law", (parent,), it.of)}


async def counted(router: Router, it: Planted, source: ReadFrom) -> Any:
    return (await router.count_runs([it.of], (), 9, source))[0][it.of]


async def statuses(router: Router, it: Planted, source: ReadFrom) -> Any:
    return (await router.statuses_by_batch({it.batch: it.of}, source))[it.batch]


LAW: dict[str, Seen] = {
    "runs": lambda router, it, source: router.runs([it.of], [it.run], source),
    "batches": lambda router, it, source: router.batches([it.of], [it.batch], source),
    "listed_runs": lambda router, it, source: router.listed_runs([it.of], [it.batch], source),
    "waitpoints": lambda router, it, source: router.waitpoints([it.of], [it.token], source),
    "waitpoint_ids": lambda router, it, source: router.waitpoint_ids([it.run], WINDOW, source),
    "waitpoint_tags": lambda router, it, source: router.waitpoint_tags(it.of, "", 5, None, source),
    "completions": lambda router, it, source: router.completions([Address(f"snapshot{it.run}", it.run)], source),
    "large_columns": lambda router, it, source: router.large_columns([it.of], [it.run], ["payload"], source),
    "attempt_columns": lambda router, it, source: router.attempt_columns(
        [it.of], [Address(f"attempt{it.run}", it.run)], ["output"], source
    ),
    "attempts_by_reference": lambda router, it, source: router.attempts_by_reference(
        [it.of], [f"attempt_{it.run}"], source
    ),
    "attempts": lambda router, it, source: router.attempts([it.of], [it.run], source),
    "snapshots": lambda router, it, source: router.snapshots([it.run], 5, source),
    "blocks": lambda router, it, source: router.blocks([it.run], source),
    "errors_by_batch": lambda router, it, source: router.errors_by_batch([it.batch], source),
    "outputs": lambda router, it, source: router.outputs([it.of], [it.token], source),
    "runs_by_trace": lambda router, it, source: router.runs_by_trace([it.of], [it.trace], source),
    "statuses_by_batch": statuses,
    "count_runs": counted,
    "runs_by_batch": lambda router, it, source: nodes(router.runs_by_batch(feeds(it, it.batch), {}, WINDOW, source)),
    "runs_by_environment": lambda router, it, source: nodes(
        router.runs_by_environment(feeds(it, it.of), (), WINDOW, source)
    ),
    "batches_by_environment": lambda router, it, source: nodes(
        router.batches_by_environment(feeds(it, it.of), (), WINDOW, source)
    ),
    "waitpoints_by_environment": lambda router, it, source: nodes(
        router.waitpoints_by_environment(feeds(it, it.of), (), WINDOW, source)
    ),
    "child_runs": lambda router, it, source: nodes(router.child_runs(feeds(it, it.run), WINDOW, source)),
    "connected_runs": lambda router, it, source: nodes(router.connected_runs(feeds(it, it.token), WINDOW, source)),
    "blocked_runs": lambda router, it, source: nodes(router.blocked_runs(feeds(it, it.token), WINDOW, source)),
    "runs_by_bulk_action": lambda router, it, source: nodes(
        router.runs_by_bulk_action(feeds(it, it.bulk), WINDOW, source)
    ),
}
"""Every read, as what it shows of the planted rows: something, or nothing."""

ASKED_AGAIN = {"batches", "waitpoints"}
"""Reads whose miss is a permanent answer to a machine: what a replica misses is read from the primary."""


async def nodes(pages: Awaitable[Any]) -> Any:
    """Return the rows of the only page of a mapping."""
    (page,) = (await pages).values()
    return page.nodes


@pytest.fixture(scope="module")
async def lagging(
    clusters: dict[ShardKey, Cluster], urls: dict[ShardKey, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[FederationUnderTest, Planted, Planted, list[str]]]:
    """A federation with paused standbys; rows from before the pause, from after, and the SQL of the one of `new`."""
    directory: Path = tmp_path_factory.mktemp("standby")
    async with AsyncExitStack() as stack:
        connections: dict[str, asyncpg.Connection[Any]] = {}
        accesses: dict[ShardKey, Access] = {}
        for key in (LEGACY, NEW):
            standby = await asyncio.to_thread(clusters[key].base_backup, directory / key)
            await asyncio.to_thread(standby.start)
            stack.push_async_callback(asyncio.to_thread, standby.stop)
            copy = standby.url("runatlas")
            accesses[key] = Access(parse_url(key, urls[key]), parse_url("REPLICA", copy))
            for name, url in ((key, urls[key]), (f"standby of {key}", copy)):
                connections[name] = await asyncpg.connect(url)
                stack.push_async_callback(connections[name].close)
        shards = (ShardAccess(LEGACY, FULL, accesses[LEGACY]), ShardAccess(NEW, DEDICATED, accesses[NEW]))
        opened = await stack.enter_async_context(open_federation(Topology(accesses[LEGACY], shards)))
        federation = FederationUnderTest(opened, connections, await plant_tenant(connections[LEGACY]), (LEGACY, NEW))
        before = await plant(federation)
        for key in accesses:
            await replayed(connections[key], connections[f"standby of {key}"])
            await connections[f"standby of {key}"].execute("SELECT pg_wal_replay_pause()")
        federation.tenant = await plant_tenant(connections[LEGACY])
        after = await plant(federation)
        asked: list[str] = []
        engine = opened.router.shards[NEW].replica.engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        yield federation, before, after, asked
        for key in accesses:
            await connections[f"standby of {key}"].execute("SELECT pg_wal_replay_resume()")


async def replayed(primary: "asyncpg.Connection[Any]", standby: "asyncpg.Connection[Any]") -> None:
    """Return when the standby has what the primary has."""
    written = await primary.fetchval("SELECT pg_current_wal_lsn()")
    deadline = time.monotonic() + 20
    while not await standby.fetchval("SELECT pg_last_wal_replay_lsn() >= $1", written):
        assert time.monotonic() < deadline


async def plant(federation: FederationUnderTest) -> Planted:
    batch = await federation.batch(NEW, runIds=["run_x"])
    bulk = ids.mint_cuid()
    run = await federation.run(NEW, batchId=batch, bulkActionGroupIds=[bulk])
    child = await federation.run(NEW, parentTaskRunId=run)
    token = await federation.waitpoint(NEW, output="x")
    await federation.connect(NEW, run, token)
    await federation.block(NEW, run, token)
    tenant, times = federation.tenant, federation.times()
    await federation.insert(
        NEW,
        "TaskRunExecutionSnapshot",
        {
            "id": f"snapshot{run}",
            "executionStatus": "EXECUTING",
            "description": "x",
            "runId": run,
            "runStatus": "EXECUTING",
            "environmentId": tenant.environment_id,
            "environmentType": "PRODUCTION",
            "projectId": tenant.project_id,
            "organizationId": tenant.organization_id,
            **times,
        },
    )
    await federation.insert(
        NEW,
        "TaskRunAttempt",
        {
            "id": f"attempt{run}",
            "friendlyId": f"attempt_{run}",
            "taskRunId": run,
            "backgroundWorkerId": "x",
            "backgroundWorkerTaskId": "x",
            "runtimeEnvironmentId": tenant.environment_id,
            "queueId": "x",
            **times,
        },
    )
    await federation.insert(
        NEW, "CompletedWaitpoint", {"id": ids.mint_cuid(), "snapshotId": f"snapshot{run}", "waitpointId": token}
    )
    tag = {"id": ids.mint_cuid(), "name": "tag", "environmentId": tenant.environment_id, "projectId": tenant.project_id}
    await federation.insert(NEW, "WaitpointTag", {**tag, "createdAt": START})
    error = {"id": f"error{batch}", "batchTaskRunId": batch, "index": 0, "taskIdentifier": "x", "error": "x"}
    await federation.insert(NEW, "BatchTaskRunError", {**error, "createdAt": START})
    of_tenant = {"environmentId": tenant.environment_id, "projectId": tenant.project_id, **times}
    row = {"id": bulk, "friendlyId": f"bulk_{bulk}", "type": "REPLAY", **of_tenant}
    await federation.insert(LEGACY, "BulkActionGroup", row)
    trace = await federation.connections[NEW].fetchval('SELECT "traceId" FROM "TaskRun" WHERE id = $1', run)
    return Planted(tenant.environment_id, run, child, batch, token, trace, bulk)


def test_every_read_of_the_router_is_in_the_law() -> None:
    reads = {
        name
        for name, member in vars(Router).items()
        if inspect.iscoroutinefunction(member) and not name.startswith("_")
    }
    assert reads == set(LAW)


@pytest.mark.parametrize("read", LAW)
async def test_a_replica_may_be_old_and_a_primary_never_is(lagging: Any, read: str) -> None:
    federation, before, after, asked = lagging
    router, see = federation.federation.router, LAW[read]

    for source in ReadFrom:
        asked.clear()
        assert await see(router, before, source), "what both have is seen on both"
        assert bool(asked) is (source is ReadFrom.REPLICA), "the standby is asked for what may be old"
    assert await see(router, after, ReadFrom.PRIMARY)
    asked.clear()
    assert bool(await see(router, after, ReadFrom.REPLICA)) is (read in ASKED_AGAIN)
    assert asked


@pytest.mark.parametrize("source", ReadFrom)
async def test_bulk_actions_may_be_old_on_a_replica_and_never_are_on_a_primary(lagging: Any, source: ReadFrom) -> None:
    federation, before, after, _ = lagging
    control_plane = federation.federation.control_plane

    for it, seen in ((before, True), (after, source is ReadFrom.PRIMARY)):
        listed = await nodes(control_plane.bulk_actions_by_environment(feeds(it, it.of), WINDOW, source))
        assert bool(listed) is seen
        assert bool(await control_plane.bulk_actions([it.of], [it.bulk], source)) is seen


async def test_after_a_write_a_viewer_reads_primaries(lagging: Any) -> None:
    from resolvers import runs  # noqa: PLC0415  the one test here that is about a viewer
    from resolvers.scope import Scope  # noqa: PLC0415
    from resolvers.viewer import Viewer  # noqa: PLC0415

    federation, _, after, _ = lagging
    environment = await federation.federation.credentials.environment_by_api_key(federation.tenant.api_key)
    assert environment is not None
    viewer = Viewer(federation.federation, Scope.of_environment(environment))
    assert await viewer.load(runs.by_reference, after.run) is None
    viewer.wrote()
    found = await viewer.load(runs.by_reference, after.run)
    assert found is not None


STEPS = "snapshots { executionStatus } blockedBy { waitpoint { id } } waitpoints { nodes { id status } }"
SHOWN = {
    "triggerRun": f"run {{ id status payload {{ json }} environment {{ runs {{ nodes {{ id }} }} }} {STEPS} }}",
    "triggerBatch": "batch { id status runs { nodes { id status } } environment { batches { nodes { id } } } }",
    "cancelRun": f"run {{ id status error {{ message }} {STEPS} }}",
    "replayRun": f"run {{ id status replayedFromRun {{ id }} {STEPS} }}",
    "rescheduleRun": f"run {{ id delayUntil {STEPS} }}",
    "addRunTags": "run { id tags }",
    "updateRunMetadata": "run { id metadata }",
    "resetIdempotencyKey": "count",
    "createWaitpointToken": "waitpoint { id tags environment { waitpointTags waitpointTokens { nodes { id } } } }",
    "completeWaitpointToken": f"waitpoint {{ id status output {{ json }} connectedRuns {{ nodes {{ id {STEPS} }} }} }}",
    "skipDateTimeWaitpoint": f"waitpoint {{ id status connectedRuns {{ nodes {{ id {STEPS} }} }} }}",
    "waitForWaitpointToken": f"waitpoint {{ id blockedRuns {{ nodes {{ id {STEPS} }} }} }}",
    "waitForDuration": f"waitpoint {{ id blockedRuns {{ nodes {{ id {STEPS} }} }} }}",
    "createBulkAction": "bulkAction { id status runs { nodes { id } } environment { bulkActions { nodes { id } } } }",
    "abortBulkAction": "bulkAction { id status environment { bulkActions { nodes { id status } } } }",
}
"""What is selected below the payload of each mutation."""


async def test_all_that_is_below_the_payload_of_a_mutation_is_as_it_wrote_it(lagging: Any) -> None:
    """With all standbys paused. No replica of a shard is asked: its answer would be from before the pause."""
    federation, _, after, asked = lagging
    done: set[str] = set()

    async def do(name: str, **given: Any) -> Any:
        given_type = f"{name[0].upper()}{name[1:]}Input"
        query = (
            f"mutation ($input: {given_type}!) {{ {name}(input: $input) {{ {SHOWN[name]} userErrors {{ message }} }} }}"
        )
        payload = (await federation.ask(query, input=given))[name]
        assert payload.pop("userErrors") == []
        done.add(name)
        return next(iter(payload.values()))

    asked.clear()
    parent = f"run_{after.run}"
    run = await do("triggerRun", task="t", payload=1, idempotencyKey="fresh", parentRunId=parent, delay="1h")
    assert (run["status"], run["payload"], len(run["snapshots"])) == ("DELAYED", {"json": 1}, 1)
    assert run["id"] in [node["id"] for node in run["environment"]["runs"]["nodes"]]
    moved = await do("rescheduleRun", id=run["id"], delay="2030-01-01T00:00:00Z")
    assert (moved["delayUntil"], len(moved["snapshots"])) == ("2030-01-01T00:00:00.000Z", 2)
    assert (await do("addRunTags", id=run["id"], tags=["new"]))["tags"] == ["new"]
    assert (await do("updateRunMetadata", id=run["id"], metadata={"a": 1}))["metadata"] == {"a": 1}
    assert await do("resetIdempotencyKey", taskIdentifier="t", key="fresh") == 1
    again = await do("replayRun", id=run["id"])
    assert again["replayedFromRun"] == {"id": run["id"]}
    token = await do("createWaitpointToken", tags=["fresh"])
    assert "fresh" in token["environment"]["waitpointTags"]
    assert token["id"] in [node["id"] for node in token["environment"]["waitpointTokens"]["nodes"]]
    waiting = await do("waitForWaitpointToken", runId=again["id"], waitpointId=token["id"])
    assert waiting["blockedRuns"]["nodes"][0]["blockedBy"] == [{"waitpoint": {"id": token["id"]}}]
    completed = await do("completeWaitpointToken", id=token["id"], data={"b": 2})
    assert completed["output"] == {"json": {"b": 2}}
    (node,) = completed["connectedRuns"]["nodes"]
    assert node["blockedBy"] == []
    assert node["waitpoints"]["nodes"] == [{"id": token["id"], "status": "COMPLETED"}]
    time = await do("waitForDuration", runId=again["id"], date="2090-01-01T00:00:00Z")
    assert time["blockedRuns"]["nodes"][0]["blockedBy"] == [{"waitpoint": {"id": time["id"]}}]
    skipped = await do("skipDateTimeWaitpoint", id=time["id"])
    assert skipped["status"] == "COMPLETED"
    assert len(skipped["connectedRuns"]["nodes"][0]["snapshots"]) == 5
    batch = await do("triggerBatch", items=[{"task": "a"}], parentRunId=parent)
    assert [node["status"] for node in batch["runs"]["nodes"]] == ["QUEUED"]
    assert batch["id"] in [node["id"] for node in batch["environment"]["batches"]["nodes"]]
    canceled = await do("cancelRun", id=run["id"])
    assert (canceled["status"], canceled["error"]) == ("CANCELED", {"message": "Canceled by user"})
    bulk = await do("createBulkAction", action="CANCEL", runIds=[run["id"]])
    assert bulk["id"] in [node["id"] for node in bulk["environment"]["bulkActions"]["nodes"]]
    aborted = await do("abortBulkAction", id=bulk["id"])
    assert {"id": bulk["id"], "status": "ABORTED"} in aborted["environment"]["bulkActions"]["nodes"]
    assert done == set(SHOWN) == set(schema._schema.mutation_type.fields)  # type: ignore[union-attr]  # noqa: SLF001
    assert asked == [], "the standby of new"
