"""What is watched: no change of a row is missed, whoever made it, in whatever order it was committed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event

from store import ids
from store.embedded import Cluster
from store.errors import ShardError
from store.federation import Federation, open_federation
from store.live import watcher as watching
from store.live.topics import Kind, OfBatch, One, Tagged, Topic
from store.live.watch import Watch
from store.live.watcher import Watcher
from store.metrics import Metrics
from store.residency import LEGACY, NEW, ShardKey
from tests.conftest import over_shards, topology_of
from tests.federation import FederationUnderTest
from tests.proxy import Proxy
from tests.streaming import until

PATIENCE = 20.0
"""How long a test waits for a fact, in seconds."""


class Told:
    """A watch, and everything that it has told."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.records: list[Any] = []

    async def until(self, fact: Callable[[list[Any]], object]) -> list[Any]:
        """Read on until a fact holds of the records that were told, and return them."""
        async with asyncio.timeout(PATIENCE):
            while not fact(self.records):
                await self.watch.stirred(1)
                self.records += self.watch.drain()
        return self.records

    async def all_final(self, row_ids: Collection[str]) -> None:
        """Read on until the end of all these rows, and of no others, was told."""
        await self.until(lambda records: {one.id for one in records if one.is_final} == set(row_ids))

    async def state(self, row_id: str, status: str) -> Any:
        """Return the record of a row in a state, as soon as it is told."""
        await self.until(lambda records: any(one.id == row_id and one.raw_status == status for one in records))
        return next(one for one in reversed(self.records) if one.id == row_id)


@contextmanager
def watched(federation: FederationUnderTest, *topics: Topic, of: str | None = None) -> Iterator[Told]:
    with federation.federation.live.watch(frozenset([of or federation.tenant.environment_id])) as watch:
        for topic in topics:
            watch.add(topic)
        yield Told(watch)


@pytest.fixture
def only_when_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody look again by themselves where nothing moves."""
    monkeypatch.setattr(watching, "IDLE", 3600.0)
    monkeypatch.setattr(watching, "CALM", 1e6)


async def calm(federation: FederationUnderTest, *databases: str) -> None:
    """Wait until nobody looks by themselves, `only_when_woken`: a look that found something is followed by one more."""
    registry = federation.federation.metrics.registry
    for database in databases:
        looks = partial(registry.get_sample_value, "runatlas_live_look_seconds_count", {"database": database})
        await until(lambda looks=looks: (looks() or 0) >= 2, PATIENCE)  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _far_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lists reach back to the times of planted runs."""
    monkeypatch.setattr("store.live.versions.LOOKBACK", timedelta(days=4_000))


def tagged(federation: FederationUnderTest, *tags: str) -> Tagged:
    return Tagged(federation.tenant.environment_id, tags)


def run(run_id: str) -> One:
    return One(Kind.RUN, f"run_{run_id}")


UPDATE = 'UPDATE "TaskRun" SET status = $2::text::"TaskRunStatus", "updatedAt" = $3 WHERE id = $1'


async def set_status(federation: FederationUnderTest, shard: str, run_id: str, status: str, at: datetime) -> None:
    await federation.connections[shard].execute(UPDATE, run_id, status, at)


def later(seconds: float) -> datetime:
    return datetime(2026, 9, 1) + timedelta(seconds=seconds)  # noqa: DTZ001  the columns hold naive UTC


@asynccontextmanager
async def another_writer(url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_a_late_commit_with_an_early_time_is_not_missed(
    federation: FederationUnderTest, urls: dict[ShardKey, str], shard: ShardKey
) -> None:
    slow, quick = [await federation.run(shard, runTags=["order"]) for _ in range(2)]
    with watched(federation, tagged(federation, "order")) as told:
        await told.until(lambda records: len(records) == 2)
        async with another_writer(urls[shard]) as writer, writer.transaction():
            await writer.execute(UPDATE, slow, "EXECUTING", later(1))
            await set_status(federation, shard, quick, "EXECUTING", later(2))
            await told.state(quick, "EXECUTING")
            assert not [one for one in told.records if one.id == slow and one.raw_status == "EXECUTING"]

        last = await told.state(slow, "EXECUTING")

    assert last.updated_at == later(1)


@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_a_run_that_is_made_early_and_committed_late_is_not_missed(
    federation: FederationUnderTest, urls: dict[ShardKey, str], shard: ShardKey
) -> None:
    with watched(federation, tagged(federation, "late")) as told:
        async with another_writer(urls[shard]) as writer, writer.transaction():
            mine, federation.connections[shard] = federation.connections[shard], writer
            slow = await federation.run(shard, runTags=["late"], createdAt=later(1), updatedAt=later(1))
            federation.connections[shard] = mine
            quick = await federation.run(shard, runTags=["late"], createdAt=later(2), updatedAt=later(2))
            await told.state(quick, "PENDING")

        await told.state(slow, "PENDING")

    assert [one.id for one in told.records] == [quick, slow]


@over_shards(1, 2, 3)
async def test_every_commit_of_many_writers_is_told_of_in_the_end(
    federation: FederationUnderTest, urls: dict[ShardKey, str]
) -> None:
    homes = {await federation.run(shard, runTags=["many"]): shard for shard in federation.shards for _ in range(10)}
    topics = [run(run_id) for run_id in list(homes)[::2]]

    async def write(run_id: str, number: int) -> None:
        """Write a run through its states, each in a transaction that stays open while others commit."""
        async with another_writer(urls[homes[run_id]]) as writer:
            for step, status in enumerate(("DEQUEUED", "EXECUTING", "COMPLETED_SUCCESSFULLY")):
                async with writer.transaction():
                    await writer.execute(UPDATE, run_id, status, later(step))
                    await writer.execute("SELECT pg_sleep($1)", (number * 7 % 13) / 50)

    with watched(federation, tagged(federation, "many")) as by_tag, watched(federation, *topics) as by_id:
        async with asyncio.TaskGroup() as writers:
            for number, run_id in enumerate(homes):
                writers.create_task(write(run_id, number))
        for told, of in ((by_tag, set(homes)), (by_id, set(list(homes)[::2]))):
            await told.all_final(of)
            for run_id in of:
                times = [one.updated_at for one in told.records if one.id == run_id]
                assert times == sorted(times)


async def test_a_row_whose_time_stands_still_is_told_of(federation: FederationUnderTest) -> None:
    run_id = await federation.run(NEW)
    with watched(federation, run(run_id)) as told:
        await told.until(len)
        await federation.connections[NEW].execute('UPDATE "TaskRun" SET metadata = $2 WHERE id = $1', run_id, "{}")
        await told.until(lambda records: len(records) == 2)


async def test_no_state_goes_back_in_time_but_the_end(federation: FederationUnderTest) -> None:
    run_id, other = await federation.run(NEW, updatedAt=later(10)), await federation.run(NEW)
    with watched(federation, run(run_id), run(other)) as told:
        await told.until(lambda records: len(records) == 2)
        await set_status(federation, NEW, run_id, "EXECUTING", later(5))
        await set_status(federation, NEW, other, "EXECUTING", later(11))
        await told.state(other, "EXECUTING")
        assert [one.raw_status for one in told.records if one.id == run_id] == ["PENDING"]

        await set_status(federation, NEW, run_id, "COMPLETED_SUCCESSFULLY", later(6))
        await told.state(run_id, "COMPLETED_SUCCESSFULLY")


async def test_nothing_is_told_of_another_tenants_rows(federation: FederationUnderTest) -> None:
    run_id, own = await federation.run(NEW, runTags=["x"]), federation.tenant.environment_id
    with watched(federation, run(run_id), of="another") as told:
        assert await told.watch.settled(run(run_id)) == []
        assert told.watch.is_empty
        with watched(federation, run(run_id)) as mine:
            await mine.until(len)
            await set_status(federation, NEW, run_id, "DEQUEUED", later(0))
            await mine.state(run_id, "DEQUEUED")
        assert told.watch.is_empty
        told.watch.scope = frozenset([own])
        await set_status(federation, NEW, run_id, "EXECUTING", later(1))
        await told.state(run_id, "EXECUTING")


async def test_a_row_that_is_deleted_is_lost(federation: FederationUnderTest) -> None:
    run_id = await federation.run(NEW)
    with watched(federation, run(run_id)) as told:
        await told.until(len)
        await federation.connections[NEW].execute('DELETE FROM "TaskRun" WHERE id = $1', run_id)
        async with asyncio.timeout(PATIENCE):
            while not told.watch.is_gone(run(run_id)):
                await told.watch.stirred(1)


async def test_new_s_copy_of_a_waitpoint_counts(federation: FederationUnderTest) -> None:
    token = await federation.waitpoint(LEGACY)
    topic = One(Kind.WAITPOINT, f"waitpoint_{token}")
    with watched(federation, topic) as told:
        await told.until(len)
        row = {"id": token, "friendlyId": f"waitpoint_{token}", "status": "COMPLETED"}
        await federation.waitpoint(NEW, **row)
        await told.state(token, "COMPLETED")
        await federation.connections[LEGACY].execute(
            'UPDATE "Waitpoint" SET tags = $2, "updatedAt" = $3 WHERE id = $1', token, ["old"], later(99)
        )
        other = await federation.waitpoint(LEGACY)
        told.watch.add(One(Kind.WAITPOINT, f"waitpoint_{other}"))
        await told.state(other, "PENDING")
        await federation.connections[LEGACY].execute(
            """UPDATE "Waitpoint" SET status = 'COMPLETED' WHERE id = $1""", other
        )
        await told.state(other, "COMPLETED")

    states = [(one.id, one.status) for one in told.records]
    assert states == [(token, "WAITING"), (token, "COMPLETED"), (other, "WAITING"), (other, "COMPLETED")]


async def test_a_run_that_newer_ones_push_out_of_its_list_is_followed_to_its_end(
    federation: FederationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.live.versions.MOST_TAGGED", 3)
    old = [await federation.run(NEW, runTags=["busy"]) for _ in range(3)]
    with watched(federation, tagged(federation, "busy")) as told:
        await told.until(lambda records: len(records) == 3)
        new = [await federation.run(NEW, runTags=["busy"]) for _ in range(3)]
        await told.until(lambda records: {one.id for one in records} == {*old, *new})
        for run_id in old:
            await set_status(federation, NEW, run_id, "COMPLETED_SUCCESSFULLY", later(1))
        await told.all_final(old)

        await federation.connections[NEW].execute('DELETE FROM "TaskRun" WHERE id = ANY($1)', [*old, *new])
        async with asyncio.timeout(PATIENCE):
            while told.watch.open(tagged(federation, "busy")):
                await told.watch.stirred(0.1)


@pytest.mark.parametrize("count", [1, 40])
async def test_a_look_is_one_statement_however_much_is_watched(federation: FederationUnderTest, count: int) -> None:
    runs = [await federation.run(NEW, runTags=["a", "b"]) for _ in range(count)]
    tokens = [await federation.waitpoint(NEW) for _ in range(count)]
    batches = [await federation.batch(NEW) for _ in range(count)]
    await federation.run(NEW, batchId=batches[0])
    home = federation.tenant.environment_id
    topics: list[Topic] = [
        *(tagged(federation, *tags) for tags in ((), ("a",), ("a", "b"), ('"', "\\"))),
        *(run(run_id) for run_id in runs),
        *(One(Kind.WAITPOINT, f"waitpoint_{token}") for token in tokens),
        *(One(Kind.BATCH, f"batch_{batch}") for batch in batches),
        *(OfBatch(batch, home) for batch in batches),
        *(OfBatch(batch, home, ("run_x", f"run_{runs[0]}")) for batch in batches),
    ]
    watcher = Watcher(NEW, 1, federation.federation.live.watchers[NEW].database, Metrics())
    watches = [Watch(frozenset([home]), lambda _: (watcher,)) for _ in range(3)]
    for watch in watches:
        for topic in topics:
            watch.add(topic)
    await watcher.close()  # it looks when told to
    statements: list[str] = []
    engine = watcher.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))

    await watcher._look(everything=True)  # noqa: SLF001
    assert len(statements) == 1 + 3
    assert [len(watch.drain()) for watch in watches] == [3 * count + 1] * 3

    statements.clear()
    await watcher._look(everything=True)  # noqa: SLF001
    assert len(statements) == 1
    assert all(watch.is_empty for watch in watches)

    statements.clear()
    for run_id in runs:
        await set_status(federation, NEW, run_id, "EXECUTING", later(1))
    await watcher._look(everything=True)  # noqa: SLF001
    assert len(statements) == 1 + 1
    assert [{one.id for one in watch.drain()} for watch in watches] == [set(runs)] * 3


async def test_each_list_is_planned_for_its_own_tags(federation: FederationUnderTest) -> None:
    """For several at once Postgres would take the index over all tags of all environments: seconds, for everybody."""
    watcher = Watcher(NEW, 1, federation.federation.live.watchers[NEW].database, Metrics())
    home = federation.tenant.environment_id
    watch = Watch(frozenset([home]), lambda _: (watcher,))
    lists = [tagged(federation), *(tagged(federation, f"tag {number}") for number in range(60))]
    for topic in lists:
        watch.add(topic)
    await watcher.close()
    statements: list[str] = []
    engine = watcher.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))

    await watcher._look(everything=True)  # noqa: SLF001

    assert len(statements) == 2
    assert sum(statement.count("JOIN LATERAL") for statement in statements) == len(lists)
    assert not any("unnest" in statement for statement in statements)


async def test_single_rows_are_looked_at_before_lists_and_each_list_has_its_turn(
    federation: FederationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MOST_ROWS", 10)
    lists = {tagged(federation, f"{number}"): set[str]() for number in range(6)}
    for topic, runs in lists.items():
        runs |= {await federation.run(NEW, runTags=list(topic.tags)) for _ in range(8)}
    single = await federation.run(NEW)
    watcher = Watcher(NEW, 1, federation.federation.live.watchers[NEW].database, Metrics())
    watch = Watch(frozenset([federation.tenant.environment_id]), lambda _: (watcher,))
    topics: list[Topic] = [*lists, run(single)]
    for added in topics:
        watch.add(added)
    await watcher.close()

    looks = []
    for _ in lists:
        await watcher._look(everything=True)  # noqa: SLF001
        looks.append({one.id for one in watch.drain()})

    assert single in looks[0]
    assert set().union(*looks) == {single}.union(*lists.values())


@pytest.mark.usefixtures("only_when_woken")
async def test_lists_that_find_no_room_in_a_look_have_the_next_at_once(
    federation: FederationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MOST_ROWS", 1)
    single = await federation.run(NEW)
    lists = [tagged(federation, f"{number}") for number in range(20)]
    runs = {await federation.run(NEW, runTags=list(topic.tags)) for topic in lists for _ in range(2)}
    with watched(federation, run(single)) as told:
        await told.until(len)
        await calm(federation, NEW)
        for added in lists:
            told.watch.add(added)
        await told.until(lambda records: {one.id for one in records} == runs | {single})


async def test_a_row_that_moves_from_one_shard_to_another_is_not_lost(federation: FederationUnderTest) -> None:
    for here, there in ((LEGACY, NEW), (NEW, LEGACY)):
        token = await federation.waitpoint(here)
        topic = One(Kind.WAITPOINT, f"waitpoint_{token}")
        with watched(federation, topic) as told:
            await told.until(len)
            await federation.waitpoint(there, id=token, friendlyId=f"waitpoint_{token}")
            await federation.connections[here].execute('DELETE FROM "Waitpoint" WHERE id = $1', token)
            await federation.connections[there].execute(
                """UPDATE "Waitpoint" SET status = 'COMPLETED' WHERE id = $1""", token
            )
            await told.state(token, "COMPLETED")
            assert not told.watch.is_gone(topic)


async def test_who_watches_nothing_any_longer_keeps_nothing(federation: FederationUnderTest) -> None:
    home = federation.tenant.environment_id
    with watched(federation) as told:
        for number in range(5):
            topic = OfBatch("batch", home, (f"run_{number}",))
            told.watch.add(topic)
            await told.watch.settled(topic)
            told.watch.remove(topic)
        assert not told.watch._answers  # noqa: SLF001
        assert not told.watch._holders  # noqa: SLF001


async def test_a_row_of_several_topics_is_told_of_once(federation: FederationUnderTest) -> None:
    run_id, other = await federation.run(NEW, runTags=["x"]), await federation.run(NEW, runTags=["y"])
    with watched(federation, run(run_id), tagged(federation, "x")) as told:
        await told.until(len)
        told.watch.add(tagged(federation))
        await told.until(lambda records: any(one.id == other for one in records))
        assert [one.id for one in told.records] == [run_id, other]


async def test_rows_that_change_all_the_time_leave_others_their_turn(
    federation: FederationUnderTest, urls: dict[ShardKey, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MOST_ROWS", 2)
    busy, quiet = [await federation.run(NEW) for _ in range(4)], await federation.run(NEW)
    with watched(federation, *map(run, busy), run(quiet)) as told:
        await told.until(lambda records: len({one.id for one in records}) == 5)

        async def write() -> None:
            for moment in count():
                for run_id in busy:
                    await set_status(federation, NEW, run_id, "EXECUTING", later(moment))

        writing = asyncio.create_task(write())
        async with another_writer(urls[NEW]) as writer:
            await writer.execute(UPDATE, quiet, "COMPLETED_SUCCESSFULLY", later(1))
        await told.state(quiet, "COMPLETED_SUCCESSFULLY")
        writing.cancel()


@pytest.mark.usefixtures("only_when_woken")
async def test_more_rows_than_a_look_reads_are_left_to_the_next(
    federation: FederationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MOST_ROWS", 3)
    runs = [await federation.run(NEW) for _ in range(20)]
    with watched(federation, *map(run, runs)) as told:
        await told.until(lambda records: {one.id for one in records} == set(runs))
        await calm(federation, NEW)
        for run_id in runs:
            await set_status(federation, NEW, run_id, "COMPLETED_SUCCESSFULLY", later(1))
        federation.federation.live.watchers[NEW].wake()
        await told.all_final(runs)


@pytest.mark.usefixtures("only_when_woken")
async def test_what_this_process_writes_is_looked_for_at_once(federation: FederationUnderTest) -> None:
    run_id = await federation.run(NEW)
    writing = federation.federation.writing
    assert writing is not None
    with watched(federation, run(run_id)) as told:
        await told.until(len)
        await calm(federation, NEW)
        await writing.changes.add_tags([federation.tenant.environment_id], run_id, ["seen"], 10)
        await told.until(lambda records: records[-1].tags == ["seen"])


@pytest.mark.usefixtures("only_when_woken")
@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_what_another_process_writes_is_looked_for_at_once(
    federation: FederationUnderTest, urls: dict[ShardKey, str], shard: ShardKey
) -> None:
    run_id = await federation.run(shard)
    async with open_federation(topology_of(urls, federation.shards)) as other, AsyncExitStack() as stack:
        for one in (other, federation.federation):
            await stack.enter_async_context(one.live.listening())
            await _hears(one)
        with watched(federation, run(run_id)) as told:
            await told.until(len)
            await calm(federation, shard)
            assert other.writing is not None
            await other.writing.changes.add_tags([federation.tenant.environment_id], run_id, ["seen"], 10)
            await told.until(lambda records: records[-1].tags == ["seen"])


async def _hears(federation: Federation) -> None:
    def deaf() -> bool:
        lines = federation.metrics.text().splitlines()
        return any(line.startswith(b"runatlas_live_listening{") and line.endswith(b" 0.0") for line in lines)

    await until(lambda: not deaf(), PATIENCE)


async def test_a_shard_that_was_killed_tells_of_what_was_missed(federation: FederationUnderTest, down: Cluster) -> None:
    there, other = await federation.run(NEW), await federation.run(LEGACY)
    with watched(federation, run(there), run(other)) as told:
        await told.until(lambda records: len(records) == 2)
        await set_status(federation, NEW, there, "COMPLETED_SUCCESSFULLY", later(1))
        await asyncio.to_thread(down.kill)
        await set_status(federation, LEGACY, other, "EXECUTING", later(1))
        await told.state(other, "EXECUTING")
        unknown = run(ids.mint_v1())
        with watched(federation, unknown) as late:
            (failure,) = await late.watch.settled(unknown)
            assert isinstance(failure, ShardError)
            assert failure.shard == NEW
        await asyncio.to_thread(down.start)
        await told.state(there, "COMPLETED_SUCCESSFULLY")


@pytest.mark.usefixtures("only_when_woken")
async def test_a_shard_that_hangs_makes_no_other_late(
    federation: FederationUnderTest, urls: dict[ShardKey, str]
) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy(urls[NEW]))
        topology = topology_of({**urls, NEW: proxy.url}, (LEGACY, NEW))
        opened = await stack.enter_async_context(open_federation(topology, deadline=3600.0))
        behind = replace(federation, federation=opened)
        there, here = await federation.run(NEW, runTags=["x"]), await federation.run(LEGACY, runTags=["x"])
        with watched(behind, tagged(federation, "x")) as told:
            await told.until(lambda records: len(records) == 2)
            proxy.pause()
            opened.live.watchers[NEW].wake()
            for status in ("DEQUEUED", "EXECUTING", "COMPLETED_SUCCESSFULLY"):
                await set_status(federation, LEGACY, here, status, later(1))
                opened.live.watchers[LEGACY].wake()
                await told.state(here, status)
            await set_status(federation, NEW, there, "COMPLETED_SUCCESSFULLY", later(1))
            proxy.resume()
            await told.state(there, "COMPLETED_SUCCESSFULLY")


async def test_nobody_looks_where_nobody_watches(federation: FederationUnderTest) -> None:
    live = federation.federation.live
    with watched(federation, tagged(federation), run(await federation.run(NEW))) as told:
        await told.until(len)
        assert {role for role, one in live.watchers.items() if one.is_at_work} == {LEGACY, NEW}
    await until(lambda: not any(one.is_at_work for one in live.watchers.values()), PATIENCE)


async def test_what_fails_is_looked_at_again(federation: FederationUnderTest) -> None:
    """A question that a database refuses is no end of watching it."""
    run_id, refused = await federation.run(LEGACY), tagged(federation, "\0")
    with watched(federation, run(run_id)) as told:
        await told.until(len)
        with watched(federation, refused) as bad:
            assert [type(error).__name__ for error in await bad.watch.settled(refused)] == ["DBAPIError"] * 2
            await set_status(federation, LEGACY, run_id, "EXECUTING", later(1))
        await told.state(run_id, "EXECUTING")
