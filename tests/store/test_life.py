"""The demo's imaginary worker: runs begin, move, wait across shards and end, and nothing is left to be repaired."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from store.demo.life import Life, Pace
from store.embedded import Cluster
from store.federation import Federation
from store.plans import NewRun
from store.records import EnvironmentRecord
from store.residency import LEGACY, NEW
from tests.conftest import SHARDS
from tests.federation import FederationUnderTest
from tests.swept import Urls, databases, opened, writing_of

AT_ONCE = Pace(1, 1, 1)
PATIENCE = 200
"""Turns: more than any test takes."""

RUNS = """SELECT r.*, ARRAY(SELECT s."executionStatus"::text FROM "TaskRunExecutionSnapshot" s
            WHERE s."runId" = r.id ORDER BY s."createdAt", s.id) AS steps
          FROM "TaskRun" r WHERE r."runtimeEnvironmentId" = $1"""


@pytest.fixture(scope="module")
async def own_urls(clusters: dict[Any, Cluster]) -> Urls:
    return await databases(clusters, "alive")


@pytest.fixture(params=[2], ids=lambda count: f"{count}-shards")
async def two(request: pytest.FixtureRequest, own_urls: Urls) -> AsyncIterator[FederationUnderTest]:
    async with opened(own_urls, SHARDS[: request.param]) as federation:
        yield federation


over = pytest.mark.parametrize("two", [1, 3], indirect=True, ids=lambda count: f"{count}-shards")


async def environment_of(federation: FederationUnderTest) -> EnvironmentRecord:
    found = await federation.federation.credentials.environment_by_api_key(federation.tenant.api_key)
    assert found is not None
    return found


async def life_of(federation: FederationUnderTest, most: int) -> Life:
    opened: Federation = federation.federation
    environment = await environment_of(federation)
    return Life(opened.router, writing_of(federation), environment, pace=AT_ONCE, most=most)


async def lived(life: Life) -> None:
    """Take turns until nothing is at work."""
    for _ in range(PATIENCE):
        if await life.turn() == 0:
            return
    raise AssertionError("it does not end")


async def runs_of(federation: FederationUnderTest) -> dict[str, dict[str, Any]]:
    """Return all runs of the tenant, and on which shard each is."""
    found: dict[str, dict[str, Any]] = {}
    for shard in federation.shards:
        rows = await federation.connections[shard].fetch(RUNS, federation.tenant.environment_id)
        found |= {row["id"]: {**row, "shard": shard} for row in rows}
    return found


def without_waits(steps: list[str]) -> list[str]:
    """Return the steps of a run without those of each wait, and of going on after it."""
    text = " ".join(steps)
    for wait in ("EXECUTING_WITH_WAITPOINTS SUSPENDED QUEUED PENDING_EXECUTING", "EXECUTING_WITH_WAITPOINTS"):
        text = text.replace(f" EXECUTING {wait} EXECUTING", " EXECUTING")
    return text.split()


@over
async def test_runs_pass_through_their_states_and_end_and_nothing_is_left_to_repair(two: FederationUnderTest) -> None:
    await lived(await life_of(two, 28))

    runs = await runs_of(two)
    assert {run["shard"] for run in runs.values()} == set(two.shards)
    assert {run["status"] for run in runs.values()} == {"COMPLETED_SUCCESSFULLY", "COMPLETED_WITH_ERRORS"}
    for run in runs.values():
        assert without_waits(run["steps"]) == ["QUEUED", "PENDING_EXECUTING", "EXECUTING", "FINISHED"]
        assert run["createdAt"] <= run["startedAt"] <= run["completedAt"] == run["updatedAt"]
        assert json.loads(run["metadata"])["progress"] == 100
        assert (run["output"] is None) == (run["status"] == "COMPLETED_WITH_ERRORS") == (run["error"] is not None)
    for shard in two.shards:
        assert await two.connections[shard].fetchval('SELECT count(*) FROM "TaskRunWaitpoint"') == 0
        batches = await two.connections[shard].fetch('SELECT status::text, "runCount" FROM "BatchTaskRun"')
        assert {tuple(batch) for batch in batches} <= {("COMPLETED", 5)}
    report = await writing_of(two).sweeper.round(dry_run=True)
    assert report.is_whole
    assert not report.done.total()


async def test_runs_wait_for_tokens_of_the_other_shard_and_for_their_children(two: FederationUnderTest) -> None:
    await lived(await life_of(two, 28))

    runs = await runs_of(two)
    tokens = await two.connections[LEGACY].fetch("SELECT id, status::text FROM \"Waitpoint\" WHERE type = 'MANUAL'")
    assert tokens
    assert {token["status"] for token in tokens} == {"COMPLETED"}
    waits = await two.connections[NEW].fetch(
        'SELECT "taskRunId" AS run, "waitpointId" AS id FROM "WaitpointRunConnection"'
    )
    waited = [runs[wait["run"]] for wait in waits if wait["id"] in {token["id"] for token in tokens}]
    assert len(waited) == len(tokens)
    parents = [runs[run["parentTaskRunId"]] for run in runs.values() if run["parentTaskRunId"]]
    assert {parent["shard"] for parent in parents} == set(two.shards)
    assert all("EXECUTING_WITH_WAITPOINTS" in run["steps"] for run in (*waited, *parents))
    assert {run["batchId"] for run in runs.values()} > {None}


async def test_it_makes_no_more_runs_than_it_may_and_keeps_few_at_work(two: FederationUnderTest) -> None:
    life = await life_of(two, 23)
    at_work = [await life.turn() for _ in range(PATIENCE)]

    assert max(at_work) <= 12
    assert at_work[-1] == 0
    assert 23 - 6 < len(await runs_of(two)) == life.made <= 23


async def test_who_triggers_a_run_with_the_tag_has_it_carried_out_and_no_other(two: FederationUnderTest) -> None:
    triggers, environment = writing_of(two).triggers, await environment_of(two)
    life = await life_of(two, 0)
    await life.turn()
    await triggers.run(environment, NewRun("their-own", tags=("mine", "live"), metadata='{"note": "kept"}'))
    await triggers.run(environment, NewRun("left-alone", tags=("mine",)))

    await lived(life)

    runs = {run["taskIdentifier"]: run for run in (await runs_of(two)).values()}
    assert runs["their-own"]["status"] == "COMPLETED_SUCCESSFULLY"
    assert json.loads(runs["their-own"]["metadata"]) == {"note": "kept", "progress": 100}
    assert runs["left-alone"]["status"] == "PENDING"


async def test_the_next_process_goes_on_with_what_is_at_work(two: FederationUnderTest) -> None:
    first = await life_of(two, 20)
    while first.made < 15:
        await first.turn()
    assert await first.turn() > 0

    await lived(await life_of(two, 0))

    assert {bool(run["completedAt"]) for run in (await runs_of(two)).values()} == {True}


async def test_a_canceled_run_stays_so_and_its_parent_goes_on(two: FederationUnderTest) -> None:
    life = await life_of(two, 30)
    canceled: set[str] = set()
    for _ in range(PATIENCE):
        if await life.turn() == 0:
            break
        for id_, run in (await runs_of(two)).items():
            if run["parentTaskRunId"] and run["status"] == "EXECUTING" and id_ not in canceled:
                environment = two.tenant.environment_id
                canceled |= {id_} if await writing_of(two).changes.cancel([environment], id_, environment) else set()

    runs = await runs_of(two)
    assert canceled == {id_ for id_, run in runs.items() if run["status"] == "CANCELED"} != set()
    assert {runs[runs[id_]["parentTaskRunId"]]["status"] for id_ in canceled} == {"COMPLETED_SUCCESSFULLY"}
    assert not (await writing_of(two).sweeper.round(dry_run=True)).done.total()


async def test_a_shard_that_is_down_stops_its_own_runs_which_go_on_afterwards(
    federation: FederationUnderTest, down: Cluster, urls: Urls
) -> None:
    life = await life_of(federation, 36)
    while life.made < 15:
        await life.turn()

    await asyncio.to_thread(down.kill)
    with capture_logs() as logs:
        made = life.made
        for _ in range(20):
            await life.turn()
    assert [entry["shard"] for entry in logs if entry["event"].startswith("demo runs stand still")] == [NEW]
    assert not [entry for entry in logs if entry["log_level"] == "error"]
    assert life.made > made, "the other shard lives"

    await asyncio.to_thread(down.start)
    federation.connections[NEW] = connection = await asyncpg.connect(urls[NEW])
    deadline = time.monotonic() + 30
    while await life.turn() or life.made < 30:
        await writing_of(federation).sweeper.round()
        assert time.monotonic() < deadline
    runs = await runs_of(federation)
    await connection.close()
    assert {bool(run["completedAt"]) for run in runs.values()} == {True}


async def test_it_ends_at_once_when_it_is_told_to(two: FederationUnderTest) -> None:
    life, stop = await life_of(two, 60), asyncio.Event()
    living = asyncio.create_task(life.run(stop))
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(1):
        await living
