"""Bulk actions, carried on page by page by whoever sweeps: each run once, whatever dies in between."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from store import ids
from store.bulk import Pending
from store.control_plane import CONTROL_PLANE
from store.embedded import Cluster
from store.errors import LimitError, MissingError, ShardError, StateError
from store.filters import RunFilter, TimeRange
from store.moments import now
from store.plans import NewRun
from store.records import EnvironmentRecord, RunRecord
from store.replays import replayed
from store.residency import LEGACY, NEW, ShardKey, shard_of
from store.settings import MintSettings
from store.shard import ReadFrom
from tests.conftest import SHARDS
from tests.federation import START, FederationUnderTest, friendly
from tests.proxy import Proxy
from tests.swept import Urls, databases, opened, writing_of


@pytest.fixture(scope="module")
async def own_urls(clusters: dict[ShardKey, Cluster]) -> Urls:
    return await databases(clusters, "bulk")


@pytest.fixture(params=[2], ids=lambda count: f"{count}-shards")
async def two(request: pytest.FixtureRequest, own_urls: Urls) -> AsyncIterator[FederationUnderTest]:
    async with opened(own_urls, SHARDS[: request.param]) as federation:
        yield federation


over = pytest.mark.parametrize("two", [1, 2, 3], indirect=True, ids=lambda count: f"{count}-shards")


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.bulk.PAGE", 3)
    monkeypatch.setattr("store.bulk.AT_ONCE", 2)


async def environment_of(federation: FederationUnderTest, id_: str | None = None) -> EnvironmentRecord:
    id_ = id_ or federation.tenant.environment_id
    return (await federation.federation.control_plane.environments([id_]))[id_]


async def group(federation: FederationUnderTest, friendly_id: str) -> dict[str, Any]:
    row = await federation.connections[CONTROL_PLANE].fetchrow(
        'SELECT * FROM "BulkActionGroup" WHERE "friendlyId" = $1', friendly_id
    )
    assert row is not None
    return dict(row)


async def pending(federation: FederationUnderTest) -> Pending:
    (one,) = await writing_of(federation).bulk.pending()
    return one


async def sweep(federation: FederationUnderTest) -> int:
    """Sweep until nothing is at work, and return how many pages it took."""
    pages = 0
    async with asyncio.timeout(60):
        while (report := await writing_of(federation).sweeper.round()).done["bulk"]:
            assert report.is_whole, report
            pages += report.done["bulk"]
    return pages


async def runs(federation: FederationUnderTest, where: str = "true") -> list[dict[str, Any]]:
    """Return the runs of all shards, newest first."""
    found = [
        {**row, "shard": shard}
        for shard in federation.shards
        for row in await federation.connections[shard].fetch(f'SELECT * FROM "TaskRun" WHERE {where}')  # noqa: S608
    ]
    return sorted(found, key=lambda run: run["createdAt"], reverse=True)


async def replays(federation: FederationUnderTest) -> Counter[str]:
    """Return how often each run was replayed."""
    found = await runs(federation, '"replayedFromTaskRunFriendlyId" IS NOT NULL')
    return Counter(run["replayedFromTaskRunFriendlyId"] for run in found)


async def record(federation: FederationUnderTest, run: str) -> RunRecord:
    router, scope = federation.federation.router, [federation.tenant.environment_id]
    answer = (await router.runs(scope, [run], ReadFrom.PRIMARY))[run]
    assert isinstance(answer, RunRecord)
    return answer


@over
async def test_every_run_that_a_filter_lets_through_is_canceled_on_its_own_shard(two: FederationUnderTest) -> None:
    wanted = [await two.run(shard, taskIdentifier="mail") for _ in range(3) for shard in two.shards]
    ended = await two.run(two.shards[-1], taskIdentifier="mail", status="COMPLETED_SUCCESSFULLY")
    retired = await two.run(LEGACY, taskIdentifier="mail", engine="V1")
    other = await two.run(LEGACY)
    bulk = writing_of(two).bulk

    id_ = await bulk.create(
        await environment_of(two), "CANCEL", "stop", narrowing=RunFilter(task_identifier=("mail",)), shown={"task": "m"}
    )
    made = await group(two, id_)
    pages = await sweep(two)
    ended_group = await group(two, id_)

    total = len(wanted) + 2
    assert (made["status"], made["totalCount"], json.loads(made["params"]), made["name"]) == (
        "PENDING",
        total,
        {"task": "m"},
        "stop",
    )
    assert pages == -(-total // 3)
    assert (ended_group["status"], ended_group["completedAt"] is None) == ("COMPLETED", False)
    assert [ended_group[name] for name in ("successCount", "failureCount", "totalCount")] == [total - 1, 1, total]
    found = {run["id"]: run for run in await runs(two)}
    assert {found[run]["status"] for run in wanted} == {"CANCELED"}
    assert {run for run, row in found.items() if made["id"] in row["bulkActionGroupIds"]} == {*wanted, ended}
    assert [found[run]["status"] for run in (ended, retired, other)] == ["COMPLETED_SUCCESSFULLY", "PENDING", "PENDING"]


@over
async def test_runs_that_are_named_are_replayed_once_each_and_both_say_by_whom(two: FederationUnderTest) -> None:
    sources = [await two.run(shard, runTags=["a"]) for _ in range(2) for shard in two.shards]
    foreign = await two.environment()
    elsewhere = await two.run(LEGACY, runtimeEnvironmentId=foreign)
    named = friendly("run", [*sources, sources[0], elsewhere, ids.mint_cuid()])

    id_ = await writing_of(two).bulk.create(await environment_of(two), "REPLAY", run_ids=named)
    made = await group(two, id_)
    await sweep(two)

    assert made["totalCount"] == len(set(named))
    completed = await group(two, id_)
    count = len(sources)
    assert [completed[name] for name in ("successCount", "failureCount", "totalCount")] == [count, 0, count]
    assert await replays(two) == Counter(friendly("run", sources))
    for run in await runs(two, '"replayedFromTaskRunFriendlyId" IS NOT NULL'):
        assert (run["bulkActionGroupIds"], run["runTags"], run["status"]) == ([made["id"]], ["a"], "PENDING")
        assert run["shard"] == LEGACY
        assert json.loads(run["annotations"])["triggerAction"] == "replay"
    marked = await runs(two, f"'{made['id']}' = ANY (\"bulkActionGroupIds\")")
    assert len(marked) == 2 * count


async def test_replays_are_made_where_roots_went_when_the_bulk_action_was_created(own_urls: Urls) -> None:
    new = {"featureFlags": json.dumps({"runOpsMintKind": "runOpsId"})}
    async with opened(own_urls, SHARDS[:2], mint=MintSettings(enabled=True, grace=0.0, ttl=0.0)) as two:
        await two.connections[LEGACY].execute(
            'UPDATE "Organization" SET "featureFlags" = $1 WHERE id = $2',
            new["featureFlags"],
            two.tenant.organization_id,
        )
        source = await two.run(LEGACY)
        await writing_of(two).bulk.create(await environment_of(two), "REPLAY", run_ids=[f"run_{source}"])
        await two.connections[LEGACY].execute('UPDATE "Organization" SET "featureFlags" = NULL')
        await sweep(two)
        (replay,) = await runs(two, '"replayedFromTaskRunFriendlyId" IS NOT NULL')
    assert replay["shard"] == shard_of(replay["id"]) == NEW


async def test_a_page_that_is_done_twice_makes_no_second_run_and_counts_once(two: FederationUnderTest) -> None:
    sources = [await two.run(shard) for shard in (LEGACY, NEW, LEGACY, NEW, LEGACY)]
    bulk = writing_of(two).bulk
    id_ = await bulk.create(await environment_of(two), "REPLAY", narrowing=RunFilter())
    before = await pending(two)
    assert await bulk.carry_on(before)
    once = await group(two, id_)

    assert not await bulk.carry_on(before), "somebody else has come further"
    assert await group(two, id_) == once
    await two.connections[CONTROL_PLANE].execute(
        'UPDATE "BulkActionGroup" SET cursor = $1, "successCount" = 0', json.dumps(before.cursor)
    )  # as a crash leaves it between the runs and the cursor
    await sweep(two)

    assert await replays(two) == Counter(friendly("run", sources))
    completed = await group(two, id_)
    assert (completed["status"], completed["successCount"], completed["totalCount"]) == ("COMPLETED", 5, 5)


async def test_two_who_carry_on_at_once_do_each_run_once(two: FederationUnderTest) -> None:
    sources = [await two.run(shard) for shard in (LEGACY, NEW) * 4]
    bulk = writing_of(two).bulk
    id_ = await bulk.create(await environment_of(two), "REPLAY", narrowing=RunFilter())
    while ones := await bulk.pending():
        await asyncio.gather(*(bulk.carry_on(ones[0]) for _ in range(3)))
    assert await replays(two) == Counter(friendly("run", sources))
    assert (await group(two, id_))["successCount"] == len(sources)


@pytest.mark.parametrize("instant", ["before commit", "commit sent"])
async def test_a_page_in_the_middle_of_which_a_shard_is_lost_is_done_again_and_each_run_once(
    own_urls: Urls, instant: str
) -> None:
    async with (
        Proxy(own_urls[LEGACY]) as proxy,
        opened(own_urls, SHARDS[:2], {LEGACY: proxy.url}) as two,
    ):
        sources = [await two.run(shard) for shard in (NEW, LEGACY, NEW)]
        id_ = await writing_of(two).bulk.create(await environment_of(two), "REPLAY", narrowing=RunFilter())
        makes = lambda statements: any('INSERT INTO "TaskRun"' in sql for sql in statements)  # noqa: E731
        cut = proxy.cut_before_commit if instant == "before commit" else proxy.cut_after_commit_sent
        # A transaction that is lost before it commits is tried again, thrice in all.
        fault = cut(times=3, where=makes)

        with pytest.raises(ShardError):
            await writing_of(two).bulk.carry_on(await pending(two))
        left = await group(two, id_)
        fault.times = 0
        await sweep(two)

        assert (left["status"], left["successCount"], json.loads(left["cursor"])["after"]) == ("PENDING", 0, None)
        assert await replays(two) == Counter(friendly("run", sources))
        assert (await group(two, id_))["successCount"] == 3


async def test_while_a_shard_does_not_answer_nothing_is_counted_and_no_haste_is_made(own_urls: Urls) -> None:
    async with (
        Proxy(own_urls[NEW]) as proxy,
        opened(own_urls, SHARDS[:2], {NEW: proxy.url}) as two,
    ):
        sources = [await two.run(shard) for shard in (NEW, LEGACY)]
        id_ = await writing_of(two).bulk.create(await environment_of(two), "CANCEL", narrowing=RunFilter())
        proxy.refuse()
        report = await writing_of(two).sweeper.round()
        left = await group(two, id_)
        proxy.accept()
        while (await writing_of(two).sweeper.round()).down:  # it is left alone for a moment
            pass
        await sweep(two)

        assert (report.down, report.bulk_goes_on, report.done["bulk"]) == ({NEW}, False, 0)
        assert (left["status"], left["successCount"]) == ("PENDING", 0)
        assert {run["status"] for run in await runs(two)} == {"CANCELED"}
        assert (await group(two, id_))["successCount"] == len(sources)


async def test_what_a_bulk_action_replays_it_does_not_replay_again_though_its_clock_is_behind(
    two: FederationUnderTest,
) -> None:
    source = await two.run(LEGACY)
    await writing_of(two).bulk.create(await environment_of(two), "REPLAY", narrowing=RunFilter())
    await two.connections[CONTROL_PLANE].execute(
        'UPDATE "BulkActionGroup" SET "createdAt" = "createdAt" + interval \'1 hour\''
    )
    before = await pending(two)
    await writing_of(two).bulk.carry_on(before)
    await two.connections[CONTROL_PLANE].execute(
        "UPDATE \"BulkActionGroup\" SET cursor = $1, status = 'PENDING'", json.dumps(before.cursor)
    )
    await sweep(two)
    assert await replays(two) == Counter([f"run_{source}"])


async def test_a_run_that_is_younger_than_the_bulk_action_is_none_of_its(two: FederationUnderTest) -> None:
    await writing_of(two).bulk.create(await environment_of(two), "CANCEL", narrowing=RunFilter())
    younger = await two.run(LEGACY, createdAt=now() + timedelta(minutes=1))
    await sweep(two)
    assert [(run["id"], run["status"]) for run in await runs(two)] == [(younger, "PENDING")]


async def test_a_period_counts_from_when_the_bulk_action_was_created(two: FederationUnderTest) -> None:
    moment = now()
    inside, outside = [await two.run(LEGACY, createdAt=moment - timedelta(minutes=age)) for age in (50, 70)]
    narrowing = RunFilter(
        created_at=TimeRange(period=timedelta(hours=1), until=moment), raw_status=("PENDING",), is_test=False
    )
    await writing_of(two).bulk.create(await environment_of(two), "CANCEL", narrowing=narrowing)
    await two.connections[LEGACY].execute('UPDATE "TaskRun" SET "createdAt" = "createdAt" - interval \'5 minutes\'')
    await sweep(two)
    assert {run["id"]: run["status"] for run in await runs(two)} == {inside: "CANCELED", outside: "PENDING"}


async def test_no_more_than_three_replays_of_an_environment_are_at_work_however_many_are_created_at_once(
    two: FederationUnderTest,
) -> None:
    bulk, environment = writing_of(two).bulk, await environment_of(two)
    created = await asyncio.gather(
        *(bulk.create(environment, "REPLAY", narrowing=RunFilter()) for _ in range(6)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in created) == ["LimitError"] * 3 + ["str"] * 3
    await bulk.create(environment, "CANCEL", narrowing=RunFilter())
    await bulk.create(await environment_of(two, await two.environment()), "REPLAY", narrowing=RunFilter())
    await sweep(two)
    for _ in range(3):
        await bulk.create(environment, "REPLAY", narrowing=RunFilter())
    with pytest.raises(LimitError, match="At most 3"):
        await bulk.create(environment, "REPLAY", narrowing=RunFilter())


async def test_one_that_is_at_work_can_be_aborted_and_then_touches_no_further_run(two: FederationUnderTest) -> None:
    for _ in range(5):
        await two.run(LEGACY)
    bulk, scope = writing_of(two).bulk, [two.tenant.environment_id]
    id_ = await bulk.create(await environment_of(two), "CANCEL", narrowing=RunFilter())
    assert await bulk.carry_on(await pending(two))
    for missing in (id_ + "x", f"bulk_{ids.mint_cuid()}"):
        with pytest.raises(MissingError):
            await bulk.abort(scope, missing)
    with pytest.raises(MissingError):
        await bulk.abort([ids.mint_cuid()], id_)

    await bulk.abort(scope, id_)
    await sweep(two)

    aborted = await group(two, id_)
    assert (aborted["status"], aborted["successCount"], aborted["completedAt"] is None) == ("ABORTED", 3, False)
    assert Counter(run["status"] for run in await runs(two)) == {"CANCELED": 3, "PENDING": 2}
    with pytest.raises(StateError, match=r"^The bulk action is already aborted\.$"):
        await bulk.abort(scope, id_)
    done = await bulk.create(await environment_of(two), "CANCEL", narrowing=RunFilter())
    await sweep(two)
    with pytest.raises(StateError, match=r"^The bulk action is already completed\.$"):
        await bulk.abort(scope, done)


async def test_one_whose_environment_is_gone_is_aborted_and_one_of_the_platforms_own_is_left_alone(
    two: FederationUnderTest,
) -> None:
    archived = await two.environment()
    record_ = await environment_of(two, archived)
    await two.run(LEGACY, runtimeEnvironmentId=archived)
    bulk = writing_of(two).bulk
    replay = await bulk.create(record_, "REPLAY", narrowing=RunFilter())
    await two.connections[CONTROL_PLANE].execute(
        'UPDATE "RuntimeEnvironment" SET "archivedAt" = now() WHERE id = $1', archived
    )
    theirs = {"id": ids.mint_cuid(), "friendlyId": "bulk_theirs", "type": "CANCEL", "projectId": two.tenant.project_id}
    times = {"createdAt": START, "updatedAt": START}
    await two.insert(
        CONTROL_PLANE,
        "BulkActionGroup",
        {**theirs, "environmentId": archived, "cursor": json.dumps({"id": "x"}), **times},
    )
    await sweep(two)
    assert (await group(two, replay))["status"] == "ABORTED"
    assert (await group(two, "bulk_theirs"))["status"] == "PENDING"
    assert await replays(two) == Counter()


async def test_a_replay_is_a_copy_but_for_the_key_and_for_a_queue_that_is_gone(two: FederationUnderTest) -> None:
    federation, environment = two.federation, await environment_of(two)
    source = await two.run(
        NEW,
        payload='{"n":1}',
        payloadType="application/super+json",
        metadata='{"step":2}',
        seedMetadata='{"step":1}',
        runTags=["vip", "a"],
        isTest=True,
        queue="gone",
        concurrencyKey="user-1",
        machinePreset="small-2x",
        region="eu-central-1",
        maxAttempts=4,
        maxDurationInSeconds=60,
        priorityMs=500,
        ttl="10m",
        idempotencyKey="k",
        status="CRASHED",
    )
    new = await replayed(federation.router, federation.control_plane, environment, await record(two, source), {})
    expected = NewRun(
        task="hello",
        payload='{"n":1}',
        payload_type="application/super+json",
        metadata='{"step":1}',
        tags=("vip", "a"),
        is_test=True,
        concurrency_key="user-1",
        machine="small-2x",
        region="eu-central-1",
        max_attempts=4,
        max_duration_seconds=60,
        priority_ms=500,
        ttl="10m",
        replayed_from=f"run_{source}",
    )
    assert new == expected

    queue = {"id": ids.mint_cuid(), "friendlyId": ids.mint_cuid(), "name": "gone", "projectId": two.tenant.project_id}
    times = {"createdAt": START, "updatedAt": START}
    await two.insert(
        CONTROL_PLANE, "TaskQueue", {**queue, "runtimeEnvironmentId": environment.id, "type": "NAMED", **times}
    )
    overrides = {"payload": "{}", "machine": None}
    again = await replayed(
        federation.router, federation.control_plane, environment, await record(two, source), overrides
    )
    assert again == replace(expected, queue="gone", payload="{}", machine=None)

    mine = await environment_of(two, await two.environment(type="DEVELOPMENT"))
    there = await replayed(federation.router, federation.control_plane, mine, await record(two, source), {})
    assert (there.region, there.queue) == (None, None)


async def test_a_run_of_the_retired_engine_is_not_replayed(two: FederationUnderTest) -> None:
    retired, federation = await two.run(LEGACY, engine="V1"), two.federation
    with pytest.raises(StateError, match="retired engine"):
        await replayed(
            federation.router, federation.control_plane, await environment_of(two), await record(two, retired), {}
        )
    id_ = await writing_of(two).bulk.create(await environment_of(two), "REPLAY", run_ids=[f"run_{retired}"])
    await sweep(two)
    assert [(await group(two, id_))[name] for name in ("successCount", "failureCount")] == [0, 1]
    assert [run["bulkActionGroupIds"] for run in await runs(two)] == [[]]


async def test_a_run_under_an_id_that_is_taken_is_the_run_that_has_it(two: FederationUnderTest) -> None:
    environment, triggers = await environment_of(two), writing_of(two).triggers
    for shard in (LEGACY, NEW):
        new = NewRun(task="hello", payload="{}", friendly_id=f"run_{writing_of(two).minting.on(shard)}")
        made = await asyncio.gather(*(triggers.run(environment, new) for _ in range(3)))
        assert sorted(one.is_cached for one in made) == [False, True, True]
        assert {one.friendly_id for one in made} == {new.friendly_id}
    assert len(await runs(two)) == 2
    for shard in (LEGACY, NEW):
        assert await two.connections[shard].fetchval('SELECT count(*) FROM "TaskRunExecutionSnapshot"') == 1
