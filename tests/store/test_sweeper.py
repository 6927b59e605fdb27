"""What a crash leaves undone, planted as it leaves it: a round of the sweeper does it, and the next finds nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from store import ids
from store.control_plane import CONTROL_PLANE
from store.embedded import Cluster
from store.residency import LEGACY, NEW, ShardKey
from store.sweeper import SWEEPER, Report
from store.tokens import NewToken
from tests.conftest import SHARDS
from tests.federation import START, FederationUnderTest
from tests.proxy import Proxy
from tests.swept import Urls, databases, opened, writing_of

PAST = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)
SOON = PAST + timedelta(hours=2)


@pytest.fixture(scope="module")
async def own_urls(clusters: dict[ShardKey, Cluster]) -> Urls:
    return await databases(clusters, "swept")


@pytest.fixture(params=[2], ids=lambda count: f"{count}-shards")
async def two(request: pytest.FixtureRequest, own_urls: Urls) -> AsyncIterator[FederationUnderTest]:
    async with opened(own_urls, SHARDS[: request.param]) as federation:
        yield federation


over = pytest.mark.parametrize("two", [1, 2, 3], indirect=True, ids=lambda count: f"{count}-shards")


async def sweep(federation: FederationUnderTest) -> dict[str, int]:
    """Sweep once, and return what was done."""
    report = await writing_of(federation).sweeper.round()
    assert report.is_whole, report
    return done(report)


def done(report: Report) -> dict[str, int]:
    return {kind: count for kind, count in report.done.items() if count}


async def blocked_run(federation: FederationUnderTest, shard: ShardKey, *waitpoints: str, **columns: Any) -> str:
    """Plant a run that executes and waits for waitpoints."""
    run = await federation.run(shard, **{"status": "EXECUTING", **columns})
    await step(federation, shard, run, "EXECUTING_WITH_WAITPOINTS")
    for waitpoint in waitpoints:
        await federation.block(shard, run, waitpoint)
    return run


async def step(federation: FederationUnderTest, shard: ShardKey, run: str, status: str) -> None:
    tenant = federation.tenant
    row = {
        "id": ids.mint_cuid(),
        "engine": "V2",
        "executionStatus": status,
        "description": "planted",
        "runId": run,
        "runStatus": "EXECUTING",
        "environmentId": tenant.environment_id,
        "environmentType": "PRODUCTION",
        "projectId": tenant.project_id,
        "organizationId": tenant.organization_id,
        **federation.times(),
    }
    await federation.insert(shard, "TaskRunExecutionSnapshot", row)


async def steps(federation: FederationUnderTest, shard: ShardKey, run: str) -> list[str]:
    """Return what a run did, oldest first."""
    rows = await federation.connections[shard].fetch(
        'SELECT "executionStatus" FROM "TaskRunExecutionSnapshot" WHERE "runId" = $1 ORDER BY "createdAt"', run
    )
    return [row[0] for row in rows]


async def edges(federation: FederationUnderTest, shard: ShardKey) -> int:
    return int(await federation.connections[shard].fetchval('SELECT count(*) FROM "TaskRunWaitpoint"'))


async def row(federation: FederationUnderTest, shard: ShardKey, table: str, id_: str) -> dict[str, Any]:
    found = await federation.connections[shard].fetchrow(f'SELECT * FROM "{table}" WHERE id = $1', id_)  # noqa: S608
    assert found is not None
    return dict(found)


COMPLETE = {"status": "COMPLETED", "completedAt": START}


@over
async def test_a_run_whose_waitpoints_are_all_complete_goes_on_wherever_they_are(two: FederationUnderTest) -> None:
    runs = []
    for mine, other in product(two.shards, two.shards):
        waitpoints = [await two.waitpoint(shard, **COMPLETE) for shard in (mine, other)]
        runs.append((mine, await blocked_run(two, mine, *waitpoints)))

    assert await sweep(two) == {"edges": len(runs)}
    assert await sweep(two) == {}
    for shard, run in runs:
        assert await steps(two, shard, run) == ["EXECUTING_WITH_WAITPOINTS", "EXECUTING"]
    assert [await edges(two, shard) for shard in two.shards] == [0] * len(two.shards)


async def test_a_run_that_still_waits_for_something_stays_as_it_is(two: FederationUnderTest) -> None:
    complete, pending = await two.waitpoint(NEW, **COMPLETE), await two.waitpoint(LEGACY)
    run = await blocked_run(two, NEW, complete, pending)

    assert await sweep(two) == {}
    assert await steps(two, NEW, run) == ["EXECUTING_WITH_WAITPOINTS"]
    assert await edges(two, NEW) == 2


@over
async def test_what_waits_for_a_run_that_has_ended_is_completed_with_its_output_and_goes_on(
    two: FederationUnderTest,
) -> None:
    for mine, other in product(two.shards, two.shards):
        ended = await two.run(mine, status="COMPLETED_SUCCESSFULLY", output='{"a":1}', completedAt=START)
        failed = await two.run(mine, status="CRASHED", error='{"type":"STRING_ERROR","raw":"boom"}', completedAt=START)
        waitpoints = [await two.waitpoint(mine, type="RUN", completedByTaskRunId=run) for run in (ended, failed)]
        parent = await blocked_run(two, other, *waitpoints)

        assert await sweep(two) == {"ended": 2, "edges": 1}
        good, bad = [await row(two, mine, "Waitpoint", id_) for id_ in waitpoints]
        assert (good["status"], good["output"], good["outputIsError"]) == ("COMPLETED", '{"a":1}', False)
        assert (bad["status"], bad["outputIsError"]) == ("COMPLETED", True)
        assert "boom" in bad["output"]
        assert await steps(two, other, parent) == ["EXECUTING_WITH_WAITPOINTS", "EXECUTING"]
        assert await sweep(two) == {}


async def test_what_waits_for_a_batch_that_has_ended_is_completed_with_an_error_if_it_was_aborted(
    two: FederationUnderTest,
) -> None:
    for status, is_error in (("COMPLETED", False), ("ABORTED", True), ("PARTIAL_FAILED", None)):
        batch = await two.batch(NEW, status=status)
        waitpoint = await two.waitpoint(NEW, type="BATCH", completedByBatchId=batch)
        run = await blocked_run(two, LEGACY, waitpoint)

        goes_on = is_error is not None
        assert await sweep(two) == ({"ended": 1, "edges": 1} if goes_on else {})
        assert await sweep(two) == {}
        completed = await row(two, NEW, "Waitpoint", waitpoint)
        assert completed["status"] == ("COMPLETED" if goes_on else "PENDING")
        assert completed["outputIsError"] is bool(is_error)
        assert len(await steps(two, LEGACY, run)) == 1 + goes_on


@over
async def test_a_waitpoint_whose_time_has_come_is_completed_and_what_it_blocks_goes_on(
    two: FederationUnderTest,
) -> None:
    planted = []
    for mine, other in product(two.shards, two.shards):
        time_ = await two.waitpoint(mine, type="DATETIME", completedAfter=PAST)
        token = await two.waitpoint(mine, completedAfter=PAST)
        planted.append((mine, other, time_, token, await blocked_run(two, other, time_, token)))
        await two.waitpoint(mine, type="DATETIME", completedAfter=SOON)
        await two.waitpoint(mine, type="DATETIME", completedAfter=PAST, **COMPLETE)

    assert await sweep(two) == {"due": 2 * len(planted)}
    assert await sweep(two) == {}
    for mine, other, time_, token, run in planted:
        assert (await row(two, mine, "Waitpoint", time_))["outputIsError"] is False
        timed_out = await row(two, mine, "Waitpoint", token)
        assert "TRIGGER_WAITPOINT_TIMEOUT" in timed_out["output"]
        assert await steps(two, other, run) == ["EXECUTING_WITH_WAITPOINTS", "EXECUTING"]


@over
async def test_a_delayed_run_is_queued_when_its_time_has_come(two: FederationUnderTest) -> None:
    for shard in two.shards:
        due = [await two.run(shard, status="DELAYED", delayUntil=PAST) for _ in range(2)]
        await step(two, shard, due[0], "DELAYED")
        others = [
            await two.run(shard, status="DELAYED", delayUntil=SOON),
            await two.run(shard, status="DELAYED", delayUntil=PAST, engine="V1"),
            await two.run(shard, status="CANCELED", delayUntil=PAST),
        ]

        assert await sweep(two) == {"delays": 2}
        assert await sweep(two) == {}
        for run in due:
            queued = await row(two, shard, "TaskRun", run)
            assert queued["status"] == "PENDING"
            assert queued["queuedAt"] is not None
            assert (await steps(two, shard, run))[-1] == "QUEUED"
        assert [(await row(two, shard, "TaskRun", run))["status"] for run in others] == [
            "DELAYED",
            "DELAYED",
            "CANCELED",
        ]


async def test_a_run_of_which_nothing_says_where_it_is_holds_up_no_other(two: FederationUnderTest) -> None:
    lost = {"runtimeEnvironmentId": ids.mint_cuid()}
    waitpoint = await two.waitpoint(NEW, **COMPLETE)
    late = await two.run(NEW, status="DELAYED", delayUntil=PAST, **lost)
    stuck = await two.run(NEW, status="WAITING_TO_RESUME", **lost)
    await two.block(NEW, stuck, waitpoint)
    runs = [await blocked_run(two, NEW, waitpoint), await two.run(NEW, status="DELAYED", delayUntil=PAST)]

    with capture_logs() as logs:
        first = await writing_of(two).sweeper.round()
        second = await writing_of(two).sweeper.round()

    assert done(first) == {"edges": 1, "delays": 1}
    assert done(second) == {}
    assert first.failed == second.failed == {"edges": 1}
    assert [(entry["event"], entry["run"]) for entry in logs if entry["log_level"] == "error"] == [
        ("a run cannot go on", f"run_{stuck}")
    ]
    assert [(await steps(two, NEW, run))[-1] for run in runs] == ["EXECUTING", "QUEUED"]
    assert (await row(two, NEW, "TaskRun", late))["status"] == "DELAYED"


@over
async def test_a_sealed_batch_whose_runs_have_all_ended_is_completed_with_what_waits_for_it(
    two: FederationUnderTest,
) -> None:
    for mine, other in product(two.shards, two.shards):
        far = await two.run(other, status="CRASHED")
        batch = await two.batch(mine, sealed=True, runCount=2, runIds=[f"run_{far}"])
        await two.run(mine, batchId=batch, status="COMPLETED_SUCCESSFULLY")
        waitpoint = await two.waitpoint(mine, type="BATCH", completedByBatchId=batch)
        parent = await blocked_run(two, other, waitpoint)
        working = await two.batch(mine, sealed=True, runCount=1)
        await two.run(mine, batchId=working, status="EXECUTING")
        unsealed = await two.batch(mine)

        assert await sweep(two) == {"batches": 1}
        assert await sweep(two) == {}
        assert [(await row(two, mine, "BatchTaskRun", id_))["status"] for id_ in (batch, working, unsealed)] == [
            "COMPLETED",
            "PENDING",
            "PENDING",
        ]
        assert await steps(two, other, parent) == ["EXECUTING_WITH_WAITPOINTS", "EXECUTING"]


async def test_a_walk_that_takes_several_rounds_goes_on_where_it_stopped_and_begins_anew(
    two: FederationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.sweeper.PAGE", 2)
    monkeypatch.setattr("store.sweeper.PAGES", 1)
    monkeypatch.setattr("store.sweeper.MOST_BATCHES", 2)
    complete, pending = await two.waitpoint(LEGACY, **COMPLETE), await two.waitpoint(LEGACY)
    for number in range(7):
        await blocked_run(two, NEW, complete if number == 6 else pending)
        await two.run(NEW, batchId=await two.batch(NEW, sealed=True), status="CRASHED" if number == 6 else "EXECUTING")
    sweeper = writing_of(two).sweeper

    counted = await sweeper.round(dry_run=True)
    first_pass = [await sweeper.round() for _ in range(4)]
    again = [await sweeper.round() for _ in range(4)]

    assert done(counted) == {"batches": 1, "edges": 1}
    assert sum((report.done for report in first_pass), start=counted.done) - counted.done == counted.done
    assert [report.is_partial for report in first_pass] == [True, True, True, False]
    assert not any(done(report) for report in again)
    assert await edges(two, NEW) == 6


async def test_what_is_planted_behind_the_end_of_a_walk_is_found_by_the_next(two: FederationUnderTest) -> None:
    waitpoint = await two.waitpoint(LEGACY)
    await blocked_run(two, LEGACY, waitpoint)
    assert await sweep(two) == {}
    await two.connections[LEGACY].execute("UPDATE \"Waitpoint\" SET status = 'COMPLETED'")
    assert await sweep(two) == {"edges": 1}


async def test_a_dry_run_counts_everything_and_writes_nothing(two: FederationUnderTest) -> None:
    token, complete = await two.waitpoint(NEW, completedAfter=PAST), await two.waitpoint(LEGACY, **COMPLETE)
    ended = await two.run(NEW, status="CRASHED")
    waitpoint = await two.waitpoint(NEW, type="RUN", completedByTaskRunId=ended)
    await blocked_run(two, LEGACY, complete, waitpoint)
    await blocked_run(two, NEW, token)
    await two.run(LEGACY, status="DELAYED", delayUntil=PAST)
    await two.run(NEW, batchId=await two.batch(NEW, sealed=True), status="CRASHED")
    expected = {"due": 1, "delays": 1, "batches": 1, "ended": 1, "edges": 1}

    with two.listening():
        counted = await writing_of(two).sweeper.round(dry_run=True)

    assert done(counted) == expected
    assert {statement.split()[0] for _, statement in two.statements} == {"SELECT", "WITH"}
    assert await sweep(two) == expected
    assert done(await writing_of(two).sweeper.round(dry_run=True)) == {}


@over
async def test_a_round_without_anything_to_do_asks_each_shard_once_for_each_kind_however_much_is_blocked(
    two: FederationUnderTest,
) -> None:
    async def asked() -> dict[str, int]:
        with two.listening():
            assert await sweep(two) == {}
        return dict(two.queries)

    # The control plane is asked for the lock, and for bulk actions.
    assert await asked() == {CONTROL_PLANE: 2} | {str(shard): 4 for shard in two.shards}
    for shard in two.shards:
        for _ in range(30):
            await blocked_run(two, shard, await two.waitpoint(shard))
    assert await asked() == {CONTROL_PLANE: 2} | {str(shard): 4 for shard in two.shards}

    last = two.shards[-1]
    if last == LEGACY:
        return
    for _ in range(30):
        await blocked_run(two, last, await two.waitpoint(LEGACY))
    # What a run waits for on another shard is asked for everywhere, after all that it waits for was read.
    assert await asked() == {CONTROL_PLANE: 2} | {str(shard): 5 for shard in two.shards} | {last: 6}


async def test_of_two_sweepers_one_leads_and_the_other_rests(two: FederationUnderTest) -> None:
    await blocked_run(two, NEW, await two.waitpoint(LEGACY, **COMPLETE))
    sweeper, authority = writing_of(two).sweeper, writing_of(two).authority

    async with authority.tried(SWEEPER) as leads:
        assert leads
        with two.listening():
            resting = await sweeper.round()
    assert (resting.leads, done(resting), len(two.statements)) == (False, {}, 1)
    assert await sweep(two) == {"edges": 1}

    async with authority.tried(SWEEPER), authority.tried(SWEEPER) as second:
        assert not second


async def test_two_sweepers_at_once_do_everything_once(two: FederationUnderTest) -> None:
    runs = [await blocked_run(two, NEW, await two.waitpoint(LEGACY, **COMPLETE)) for _ in range(5)]
    delayed = await two.run(LEGACY, status="DELAYED", delayUntil=PAST)
    sweeper = writing_of(two).sweeper

    reports: list[Report] = []
    for _ in range(5):
        reports += await asyncio.gather(*(sweeper.round() for _ in range(3)))

    assert sum(report.done["edges"] for report in reports) == 5
    assert {len(await steps(two, NEW, run)) for run in runs} == {2}
    assert await steps(two, LEGACY, delayed) == ["QUEUED"]


@pytest.mark.parametrize("outage", ["refused", "hung"])
@pytest.mark.parametrize("count", [2, 3])
async def test_with_one_shard_down_the_others_are_swept_and_it_is_told_once(
    own_urls: Urls, outage: str, count: int
) -> None:
    async with (
        Proxy(own_urls[NEW]) as proxy,
        opened(own_urls, SHARDS[:count], {NEW: proxy.url}) as two,
    ):
        others = [key for key in two.shards if key != NEW]
        complete = [await two.waitpoint(key, **COMPLETE) for key in others]
        far = await two.waitpoint(NEW, **COMPLETE)
        runs = [(key, await blocked_run(two, key, *complete)) for key in others]
        waits = await blocked_run(two, LEGACY, complete[0], far)
        here = await blocked_run(two, NEW, complete[0])
        for key in others:
            await two.waitpoint(key, completedAfter=PAST)
            await two.run(key, status="DELAYED", delayUntil=PAST)
        sweeper = writing_of(two).sweeper
        two.federation.router.shards[NEW].primary.deadline = 1.0  # the others have time

        if outage == "refused":
            proxy.refuse()
        else:
            proxy.pause()
        with capture_logs() as logs:
            reports = [await sweeper.round() for _ in range(3)]
            proxy.accept()
            proxy.resume()
            after = [await sweeper.round()]
            while after[-1].down:  # a database that was down is left alone for a moment
                after.append(await sweeper.round())

        assert done(reports[0]) == {"due": len(others), "delays": len(others), "edges": len(others)}
        assert [report.down for report in reports] == [{NEW}] * 3
        assert [done(report) for report in reports[1:]] == [{}] * 2
        assert sum(report.done["edges"] for report in after) == 2
        for key, run in [*runs, (LEGACY, waits), (NEW, here)]:
            assert await steps(two, key, run) == ["EXECUTING_WITH_WAITPOINTS", "EXECUTING"]
        told = [entry["event"] for entry in logs if "swept" in entry["event"]]
        assert told == ["a database is not swept: it does not answer", "a database is swept again"]


async def test_without_the_control_plane_nobody_leads(own_urls: Urls) -> None:
    async with Proxy(own_urls[LEGACY]) as proxy, opened(own_urls, SHARDS[:2], {LEGACY: proxy.url}) as two:
        await blocked_run(two, NEW, await two.waitpoint(NEW, **COMPLETE))
        proxy.refuse()
        report = await writing_of(two).sweeper.round()
    assert (report.leads, report.down, done(report)) == (False, {CONTROL_PLANE}, {})


async def test_a_sweeper_that_runs_wakes_at_once_for_what_is_due_and_stops_when_told(two: FederationUnderTest) -> None:
    writing, stop = writing_of(two), asyncio.Event()
    (environment,) = (await two.federation.control_plane.environments([two.tenant.environment_id])).values()
    running = asyncio.create_task(writing.sweeper.run(stop))
    try:
        async with asyncio.timeout(20):
            made = await writing.tokens.create(environment, NewToken(timeout_at=PAST))
            pending = 'SELECT count(*) FROM "Waitpoint" WHERE status = \'PENDING\' AND "friendlyId" = $1'
            while await two.connections[LEGACY].fetchval(pending, made.friendly_id):
                assert not running.done()
    finally:
        stop.set()
        await running


async def test_counters_are_served_as_text(two: FederationUnderTest) -> None:
    await blocked_run(two, NEW, await two.waitpoint(LEGACY, **COMPLETE))
    await sweep(two)
    async with two.client() as client:
        response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.text.splitlines()
    assert 'runatlas_repairs_total{kind="edges"} 1.0' in lines
    assert "runatlas_sweeper_leads 1.0" in lines
    assert any(line.startswith("runatlas_sweeper_last_success_seconds 1.") for line in lines)


async def test_everything_that_a_round_reads_is_found_by_an_index(two: FederationUnderTest) -> None:
    await blocked_run(two, NEW, await two.waitpoint(NEW))
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any) -> None:
        asked.append((statement, parameters))

    engines = [
        two.federation.control_plane.primary.engine.sync_engine,
        two.federation.router.shards[NEW].primary.engine.sync_engine,
    ]
    plans = []
    for engine, key in zip(engines, (LEGACY, NEW), strict=True):
        event.listen(engine, "before_cursor_execute", note)
        try:
            await sweep(two)
        finally:
            event.remove(engine, "before_cursor_execute", note)
        async with two.connections[key].transaction():
            await two.connections[key].execute("SET LOCAL enable_seqscan = off")  # the tables are small
            for statement, parameters in asked:
                lines = await two.connections[key].fetch(f"EXPLAIN {statement}", *parameters)
                plans.append("\n".join(line[0] for line in lines))
        asked.clear()

    assert not [plan for plan in plans if "Seq Scan" in plan]
    for index in (
        "runatlas_waitpoint_due",
        "runatlas_run_delayed",
        "runatlas_batch_open",
        "runatlas_bulk_action_pending",
        "TaskRunWaitpoint_pkey",
        "TaskRunWaitpoint_taskRunId",
        "Waitpoint_pkey",
    ):
        assert [plan for plan in plans if index in plan], (index, plans)


MANY_BATCHES = 400


async def test_many_open_batches_are_looked_at_one_by_one(two: FederationUnderTest) -> None:
    """Compared with every run that has not ended, they would take seconds, and nothing else be swept meanwhile."""
    environment, project = two.tenant.environment_id, two.tenant.project_id
    connection = two.connections[NEW]
    await connection.execute(
        """INSERT INTO "BatchTaskRun"
             (id, "friendlyId", "runtimeEnvironmentId", sealed, "runCount", "runIds", "updatedAt")
           SELECT 'b' || n, 'batch_b' || n, $1, true, 50, ARRAY(SELECT 'run_r' || n || '_' || m
             FROM generate_series(1, 50) m), now() FROM generate_series(1, $2::int) n""",
        environment,
        MANY_BATCHES,
    )
    await connection.execute(
        """INSERT INTO "TaskRun" (id, "friendlyId", engine, "taskIdentifier", payload, "traceId", "spanId", queue,
             "runtimeEnvironmentId", "projectId", "batchId", "updatedAt")
           SELECT 'r' || n || '_' || m, 'run_r' || n || '_' || m, 'V2', 't', '', 't', 's', 'q', $1, $2, 'b' || n, now()
           FROM generate_series(1, $3::int) n, generate_series(1, 50) m""",
        environment,
        project,
        MANY_BATCHES,
    )
    await connection.execute("ANALYZE")
    database = two.federation.router.shards[NEW].primary
    seen: list[tuple[str, tuple[Any, ...]]] = []
    plan = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *given: seen.append(given[2:4]))

    await writing_of(two).sweeper.round()

    ((statement, values),) = [given for given in seen if "string_to_array" in given[0]]
    (planned,) = json.loads(await connection.fetchval(plan + statement, *values))
    rows = sum(
        node.get(f"Rows Removed by {what}", 0) * node["Actual Loops"]
        for node in nodes_of(planned["Plan"])
        for what in ("Filter", "Join Filter")
    )
    assert rows < 10 * MANY_BATCHES, "of the runs that are looked at, few are another batch's"


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of a plan."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes_of(below)
