"""What is left of a write that was broken off, wherever: nothing that was said is lost, and nothing is done twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, Literal, NamedTuple

import asyncpg
import pytest

from store import ids
from store.control_plane import CONTROL_PLANE
from store.embedded import Cluster
from store.errors import OutcomeUnknownError, ShardError, ShardUnavailableError
from store.federation import create_engine, open_federation
from store.migrations import migrate
from store.moments import now
from store.residency import LEGACY, NEW, ShardKey
from store.shard import Breaker
from store.urls import parse_url
from tests.faults import (
    MINT_NEW,
    Processes,
    Report,
    Urls,
    World,
    databases_of,
    once_met,
    sweep,
    topology_over,
)
from tests.federation import SHARD_A, FederationUnderTest, mint, plant_tenant
from tests.proxy import Proxy

Clusters = dict[ShardKey, Cluster]

EXECUTED = ["EXECUTING", "EXECUTING_WITH_WAITPOINTS", "EXECUTING"]
"""The steps of a run that waited once while it executed."""

QUEUED = ["QUEUED", "SUSPENDED", "QUEUED"]
"""The steps of a run that waited once before it began."""

WAVE = 5
"""How many processes die at once."""

OTHER = {LEGACY: NEW, NEW: LEGACY}


@pytest.fixture(scope="module")
async def processes() -> AsyncIterator[Processes]:
    async with Processes() as processes:
        yield processes


@pytest.fixture
async def world(federation: FederationUnderTest, urls: Urls) -> World:
    """Rows of two shards, whose databases are given time: here many ask them at once."""
    for database in databases_of(federation.federation).values():
        database.deadline = 20.0
    return World(federation, urls)


# A process that dies


class Case(NamedTuple):
    """An operation on rows that were planted, and what has to come of it in the end."""

    operation: str
    arguments: dict[str, Any]
    ends: Callable[[], Awaitable[None]]


Plant = Callable[[World], Awaitable[Case]]


async def a_child_that_is_waited_for(world: World, shard: ShardKey) -> Case:
    parent, key = await world.run(shard), ids.mint_cuid()

    async def ends() -> None:
        ((place, child),) = await world.keyed(key)
        assert place == shard
        assert len(await world.edges(parent)) == 1
        await world.do("cancel", run=child)
        assert await world.story(parent) == EXECUTED

    return Case("trigger", {"parent": f"run_{parent}", "key": key, "waits": True}, ends)


async def a_block_across_the_seam(world: World, shard: ShardKey) -> Case:
    run, token = await world.run(shard), await world.under.waitpoint(OTHER[shard])

    async def ends() -> None:
        assert await world.edges(run) == [token]
        assert await world.do("complete", waitpoint=token)
        assert await world.story(run) == EXECUTED

    return Case("block", {"run": run, "waitpoints": [token]}, ends)


async def a_block_by_what_is_complete(world: World, shard: ShardKey) -> Case:
    run = await world.run(shard, "PENDING")
    token = await world.under.waitpoint(OTHER[shard], status="COMPLETED", output="0")

    async def ends() -> None:
        # A client that was not told of the first wait waits once more.
        assert await world.story(run) in (QUEUED, QUEUED + QUEUED[1:])

    return Case("block", {"run": run, "waitpoints": [token]}, ends)


async def a_token_that_blocks_runs_of_both_shards(world: World, shard: ShardKey) -> Case:
    token = await world.under.waitpoint(shard)
    here, there = await world.run(shard, "PENDING"), await world.run(OTHER[shard])
    for run in (here, there):
        await world.do("block", run=run, waitpoints=[token])

    async def ends() -> None:
        assert [await world.story(here), await world.story(there)] == [QUEUED, EXECUTED]

    return Case("complete", {"waitpoint": token, "output": '"of the dead"'}, ends)


async def a_batch_that_is_waited_for(world: World, *, over: bool) -> Case:
    """One of its items is a run of the other shard that is over; or all of them are."""
    parent, known, key = await world.run(NEW), ids.mint_cuid(), ids.mint_cuid()
    done = await world.run(LEGACY, "COMPLETED_SUCCESSFULLY", taskIdentifier="task", idempotencyKey=known, output="1")

    async def ends() -> None:
        ((place, batch),) = await world.keyed(key, "BatchTaskRun")
        assert place == NEW
        own = [row[0] for row in await world.fetch(NEW, 'SELECT id FROM "TaskRun" WHERE "batchId" = $1', batch)]
        assert len(own) == (0 if over else 2)
        for run in own:
            await world.do("cancel", run=run)
        ((status, members),) = await world.fetch(
            NEW, 'SELECT status, "runIds" FROM "BatchTaskRun" WHERE id = $1', batch
        )
        assert (status, f"run_{done}" in members, len(members)) == ("COMPLETED", True, 2 if over else 3)
        assert await world.edges(parent) == []
        assert await world.story(parent) in (EXECUTED, *([EXECUTED + EXECUTED[1:]] if over else []))

    items = [known, known] if over else [None, known, None]
    return Case("batch", {"parent": f"run_{parent}", "items": items, "key": key}, ends)


async def the_end_of_a_child_that_is_waited_for(world: World, shard: ShardKey) -> Case:
    parent = await world.run(shard, "PENDING")
    friendly_id, _ = await world.do("trigger", parent=f"run_{parent}", waits=True)

    async def ends() -> None:
        assert await world.story(parent) == QUEUED
        assert await world.story(ids.body(friendly_id)) == ["QUEUED", "FINISHED"]

    return Case("cancel", {"run": ids.body(friendly_id)}, ends)


async def a_run_under_a_key_that_a_failed_one_has(world: World) -> Case:
    key = ids.mint_cuid()
    failed = await world.run(NEW, "CRASHED", taskIdentifier="task", idempotencyKey=key)

    async def ends() -> None:
        ((place, run),) = await world.keyed(key)
        assert (place, run == failed) == (LEGACY, False)
        assert await world.do("trigger", key=key) == (f"run_{run}", True)

    return Case("trigger", {"key": key}, ends)


async def a_token_under_a_key(world: World) -> Case:
    key = ids.mint_cuid()

    async def ends() -> None:
        ((_, token),) = await world.keyed(key, "Waitpoint")
        assert await world.do("create_token", key=key) == (f"waitpoint_{token}", True)

    return Case("create_token", {"key": key}, ends)


Cure = Literal["the client alone", "the sweeper first"]
ALONE: Cure = "the client alone"
SWEPT: Cure = "the sweeper first"


@pytest.mark.parametrize(
    ("plant", "cure"),
    [
        pytest.param(plant, cure, id=name)
        for name, plant, cure in [
            ("child-legacy", partial(a_child_that_is_waited_for, shard=LEGACY), ALONE),
            ("child-new", partial(a_child_that_is_waited_for, shard=NEW), ALONE),
            ("block", partial(a_block_across_the_seam, shard=LEGACY), ALONE),
            ("block by what is complete", partial(a_block_by_what_is_complete, shard=NEW), SWEPT),
            ("completion-legacy", partial(a_token_that_blocks_runs_of_both_shards, shard=LEGACY), ALONE),
            ("completion-new", partial(a_token_that_blocks_runs_of_both_shards, shard=NEW), SWEPT),
            ("batch", partial(a_batch_that_is_waited_for, over=False), ALONE),
            ("batch that is over", partial(a_batch_that_is_waited_for, over=True), SWEPT),
            ("cancellation", partial(the_end_of_a_child_that_is_waited_for, shard=NEW), SWEPT),
            ("key", a_run_under_a_key_that_a_failed_one_has, ALONE),
            ("token", a_token_under_a_key, ALONE),
        ]
    ],
)
async def test_whenever_a_process_dies_its_client_and_the_sweeper_bring_its_work_to_the_same_end(
    plant: Plant, cure: Cure, world: World, processes: Processes
) -> None:
    for first in count(1, WAVE):
        cases = [await plant(world) for _ in range(WAVE)]
        reports = await asyncio.gather(
            *(
                processes.run(world.topology, case.operation, world.environment, case.arguments, instant)
                for instant, case in enumerate(cases, first)
            )
        )
        with told("one of these died", *(str(report.died) for report in reports)):
            await world.holds()
            if cure == SWEPT:
                await sweep(world.under.federation)
                await world.holds(repaired=True)
        for instant, (case, report) in enumerate(zip(cases, reports, strict=True), first):
            with told(f"it died at instant {instant}, before or at", str(report.died)):
                await again(world, case, report)
                await case.ends()
        with told("one of these died", *(str(report.died) for report in reports)):
            await world.holds(repaired=True)
        if not all(report.died for report in reports):
            return


async def again(world: World, case: Case, report: Report) -> None:
    """Repeat what a client was not told of. A completion has another output then: the first one stands."""
    completes = case.operation == "complete"
    if report.died is not None:
        output = {"output": '"of the client"'} if completes else {}
        answer = await world.do(case.operation, **case.arguments | output)
    else:
        output, answer = {}, report.answer
    if completes and answer:
        world.acknowledged[case.arguments["waitpoint"]] = (case.arguments | output)["output"]


@contextmanager
def told(*sentences: str) -> Iterator[None]:
    """Say what a failure inside was about."""
    try:
        yield
    except Exception as error:
        error.add_note("\n  ".join(sentences))
        raise


# A connection that is cut


class Write(NamedTuple):
    """A write to `new`: by which statement its transaction is known, and how many rows there are of it."""

    operation: str
    arguments: dict[str, Any]
    statement: str
    rows: Callable[[], Awaitable[int]]


async def a_run(world: World) -> Write:
    key = ids.mint_cuid()

    async def rows() -> int:
        return len(await world.keyed(key))

    return Write("trigger", {"key": key}, 'INSERT INTO "TaskRun" ', rows)


async def a_token(world: World) -> Write:
    key = ids.mint_cuid()

    async def rows() -> int:
        return len(await world.keyed(key, "Waitpoint"))

    return Write("create_token", {"key": key}, 'INSERT INTO "Waitpoint" ', rows)


async def a_completion(world: World) -> Write:
    token, run = await world.under.waitpoint(NEW), await world.run(LEGACY)
    await world.do("block", run=run, waitpoints=[token])

    async def rows() -> int:
        sql = """SELECT 1 FROM "Waitpoint" WHERE id = $1 AND status = 'COMPLETED'"""
        return len(await world.fetch(NEW, sql, token))

    return Write("complete", {"waitpoint": token}, 'UPDATE "Waitpoint" ', rows)


async def a_block(world: World) -> Write:
    run, token = await world.run(NEW), await world.under.waitpoint(LEGACY)

    async def rows() -> int:
        return len(await world.edges(run))

    return Write("block", {"run": run, "waitpoints": [token]}, 'INSERT INTO "TaskRunWaitpoint" ', rows)


Cut = Callable[[World], Awaitable[Write]]
writes = pytest.mark.parametrize("cut", [a_run, a_token, a_completion, a_block])


class Cuttable(NamedTuple):
    """Rows whose shard `new`, where roots are made, is reached through a proxy."""

    world: World
    proxy: Proxy


@pytest.fixture
async def cuttable(world: World) -> AsyncIterator[Cuttable]:
    flags = """UPDATE "Organization" SET "featureFlags" = '{"runOpsMintKind": "runOpsId"}' WHERE id = $1"""
    await world.fetch(LEGACY, flags, world.under.tenant.organization_id)
    async with Proxy(world.urls[NEW]) as proxy:
        urls = {**world.urls, NEW: proxy.url}
        topology = topology_over(urls, world.under.shards)
        async with open_federation(topology, deadline=20.0, mint=MINT_NEW) as federation:
            yield Cuttable(World(replace(world.under, federation=federation), urls), proxy)


def of(write: Write) -> Callable[[list[str]], bool]:
    return lambda statements: any(statement.startswith(write.statement) for statement in statements)


async def repeated(world: World, write: Write) -> None:
    """Do again what may have been done: then it is there, once."""
    answer = await world.do(write.operation, **write.arguments)
    assert await write.rows() == 1
    if write.operation == "complete":
        world.acknowledged[write.arguments["waitpoint"]] = "1"
    elif write.operation != "block":
        assert await world.do(write.operation, **write.arguments) == (answer.friendly_id, True)
    assert await write.rows() == 1
    await world.holds(repaired=True)


@writes
async def test_of_a_write_that_is_cut_before_its_commit_nothing_is_kept_and_its_client_may_not_rely_on_it(
    cut: Cut, cuttable: Cuttable
) -> None:
    world, proxy = cuttable
    write = await cut(world)
    fault = proxy.cut_before_commit(where=of(write))
    with pytest.raises(OutcomeUnknownError):
        await world.do(write.operation, **write.arguments)

    assert (fault.struck, await write.rows()) == (1, 0)
    await world.holds()
    await repeated(world, write)


@writes
async def test_a_write_whose_commit_is_not_answered_may_have_been_kept_and_is_found_by_who_repeats_it(
    cut: Cut, cuttable: Cuttable
) -> None:
    world, proxy = cuttable
    write = await cut(world)
    fault = proxy.cut_after_commit_sent(where=of(write))
    with pytest.raises(OutcomeUnknownError) as failure:
        await world.do(write.operation, **write.arguments)

    assert failure.value.may_have_applied
    assert failure.value.shard == NEW
    assert (fault.struck, await write.rows()) == (1, 1)
    await world.holds()
    await repeated(world, write)


@writes
async def test_a_connection_that_is_cut_after_a_commit_was_answered_is_nobodys_concern(
    cut: Cut, cuttable: Cuttable
) -> None:
    world, proxy = cuttable
    write = await cut(world)
    fault = proxy.cut_after_commit_reply(where=of(write))
    await world.do(write.operation, **write.arguments)

    assert (fault.struck, await write.rows()) == (1, 1)
    await repeated(world, write)


@writes
async def test_a_connection_that_is_cut_within_a_transaction_is_replaced(cut: Cut, cuttable: Cuttable) -> None:
    """Nothing was committed, so the work is done anew."""
    world, proxy = cuttable
    write = await cut(world)

    def blink() -> None:
        proxy.refuse()
        proxy.accept()

    with once_met(
        world.under.federation, lambda instant: instant.startswith(f"{NEW}: {write.statement}"), blink
    ) as struck:
        await world.do(write.operation, **write.arguments)

    assert (len(struck), await write.rows()) == (1, 1)
    await repeated(world, write)


@writes
async def test_a_shard_that_is_lost_within_a_transaction_is_unavailable_and_has_kept_nothing(
    cut: Cut, cuttable: Cuttable
) -> None:
    world, proxy = cuttable
    write = await cut(world)
    where = f"{NEW}: {write.statement}"
    with (
        once_met(world.under.federation, lambda instant: instant.startswith(where), proxy.refuse),
        pytest.raises(ShardUnavailableError) as failure,
    ):
        await world.do(write.operation, **write.arguments)

    proxy.accept()
    assert not failure.value.may_have_applied
    assert failure.value.shard == NEW
    assert await write.rows() == 0
    await repeated(world, write)


# A server that stops

Stop = Literal["hangs", "is killed"]
stops = pytest.mark.parametrize("how", ["hangs", "is killed"])


class Outages:
    """Stops clusters, and brings them back."""

    def __init__(self, clusters: Clusters, stack: AsyncExitStack) -> None:
        self._clusters, self._stack = clusters, stack
        self._stopped: set[ShardKey] = set()

    def begin(self, key: ShardKey, how: Stop) -> None:
        self._stopped.add(key)
        cluster = self._clusters[key]
        (cluster.suspend if how == "hangs" else cluster.kill)()

    async def end(self, world: World) -> None:
        """Bring them back, connect anew to where rows are planted, and wait for no breaker."""
        for key in self._stopped:
            cluster = self._clusters[key]
            if cluster.running:
                await asyncio.to_thread(cluster.resume)
                continue
            await asyncio.to_thread(cluster.start)
            for name, connection in list(world.under.connections.items()):
                if connection.is_closed():
                    url = world.urls.get(ShardKey(name), world.urls[LEGACY])
                    world.under.connections[name] = await asyncpg.connect(url)
                    self._stack.push_async_callback(world.under.connections[name].close)
        self._stopped.clear()
        for database in databases_of(world.under.federation).values():
            while database.abandoned:
                await asyncio.wait(set(database.abandoned))
            database.breaker = Breaker()


@pytest.fixture
async def outages(clusters: Clusters) -> AsyncIterator[Outages]:
    async with AsyncExitStack() as stack:
        yield Outages(clusters, stack)
        for cluster in clusters.values():
            await asyncio.to_thread(cluster.resume if cluster.running else cluster.start)


@stops
@pytest.mark.parametrize("down", [LEGACY, NEW])
async def test_a_completion_stands_though_the_other_shard_stops_and_its_runs_go_on_when_it_is_back(
    down: ShardKey, how: Stop, world: World, outages: Outages
) -> None:
    healthy = OTHER[down]
    token = await world.under.waitpoint(healthy)
    near, far = await world.run(healthy), await world.run(down, "PENDING")
    for run in (near, far):
        await world.do("block", run=run, waitpoints=[token])
    world.under.federation.router.shards[down].primary.deadline = 2.0

    committed = f"{healthy}: committed"
    with once_met(world.under.federation, committed.__eq__, lambda: outages.begin(down, how)) as struck:
        assert await world.do("complete", waitpoint=token)
    world.acknowledged[token] = "1"
    assert struck
    assert await world.story(near) == EXECUTED
    assert not await world.do("complete", waitpoint=token, output="2")

    await outages.end(world)
    assert await world.story(far) == QUEUED[:2]
    await sweep(world.under.federation)
    await world.holds(repaired=True)
    await sweep(world.under.federation)
    assert [await world.story(near), await world.story(far)] == [EXECUTED, QUEUED]


@stops
async def test_a_completion_whose_own_shard_stops_is_not_acknowledged(
    how: Stop, world: World, outages: Outages
) -> None:
    token, run = await world.under.waitpoint(NEW), await world.run(LEGACY)
    await world.do("block", run=run, waitpoints=[token])
    world.under.federation.router.shards[NEW].primary.deadline = 2.0

    with (
        once_met(world.under.federation, f"{NEW}: COMMIT".__eq__, lambda: outages.begin(NEW, how)),
        pytest.raises(OutcomeUnknownError),
    ):
        await world.do("complete", waitpoint=token)
    assert await world.story(run) == EXECUTED[:2]

    await outages.end(world)
    await world.holds()
    await world.do("complete", waitpoint=token, output="2")
    await world.holds(repaired=True)
    assert await world.story(run) == EXECUTED


# The control plane has a cluster of its own here, so that it alone stops.


@pytest.fixture
async def planed(world: World, clusters: Clusters) -> AsyncIterator[World]:
    """Rows of two shards that run, whatever becomes of their control plane."""
    cluster = clusters[SHARD_A]
    await asyncio.to_thread(cluster.create_database, "plane")
    engine = create_engine(parse_url("DATABASE_URL", cluster.url("plane")))
    await migrate(engine, "full")
    await engine.dispose()
    connection = await asyncpg.connect(cluster.url("plane"))
    tenant = await plant_tenant(connection)
    await connection.close()
    topology = topology_over(world.urls, world.under.shards, cluster.url("plane"))
    async with open_federation(topology, deadline=20.0, mint=MINT_NEW) as federation:
        databases = databases_of(federation)
        databases["locks"].deadline = databases[CONTROL_PLANE].deadline = 1.5
        yield World(replace(world.under, federation=federation, tenant=tenant), world.urls)


@stops
@pytest.mark.parametrize("instant", ["read SELECT parent.id AS task", 'INSERT INTO "TaskRun" '])
async def test_nothing_is_made_under_a_key_whose_lock_was_lost(
    instant: str, how: Stop, planed: World, outages: Outages
) -> None:
    world, key = planed, ids.mint_cuid()
    friendly_id = f"run_{mint(NEW)}"
    with (
        once_met(
            world.under.federation, lambda met: met.startswith(f"{NEW}: {instant}"), lambda: outages.begin(SHARD_A, how)
        ) as struck,
        pytest.raises(ShardError) as failure,
    ):
        await world.do("trigger", key=key, friendly_id=friendly_id)

    assert struck
    assert failure.value.shard == CONTROL_PLANE
    assert await world.keyed(key) == []
    await outages.end(world)
    assert await world.do("trigger", key=key, friendly_id=friendly_id) == (friendly_id, False)
    assert len(await world.keyed(key)) == 1
    await world.holds(repaired=True)


async def test_a_lock_that_cannot_be_let_go_keeps_nobody_from_the_run_that_was_made(
    planed: World, outages: Outages
) -> None:
    world, key = planed, ids.mint_cuid()
    friendly_id = f"run_{mint(NEW)}"
    with once_met(world.under.federation, f"{NEW}: COMMIT".__eq__, lambda: outages.begin(SHARD_A, "hangs")) as struck:
        assert await world.do("trigger", key=key, friendly_id=friendly_id) == (friendly_id, False)

    assert struck
    await outages.end(world)
    assert await world.do("trigger", key=key) == (friendly_id, True)
    await world.holds(repaired=True)


# Many at once


@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_of_completions_that_come_at_once_the_first_one_stands(shard: ShardKey, world: World) -> None:
    """Eight clients deliver each completion three times."""
    tokens = [await world.under.waitpoint(shard) for _ in range(5)]
    runs = {token: [await world.run(LEGACY), await world.run(NEW, "PENDING")] for token in tokens}
    for token, of in runs.items():
        for run in of:
            await world.do("block", run=run, waitpoints=[token])

    async def client(number: int) -> list[tuple[str, str]]:
        given = [(token, str(100 * number + delivery)) for delivery in range(3) for token in tokens]
        won = await asyncio.gather(*(world.do("complete", waitpoint=token, output=output) for token, output in given))
        return [one for one, is_first in zip(given, won, strict=True) if is_first]

    winners = [one for of in await asyncio.gather(*map(client, range(8))) for one in of]

    assert sorted(token for token, _ in winners) == sorted(tokens)
    world.acknowledged.update(winners)
    await world.holds(repaired=True)
    for old, new in runs.values():
        assert [await world.story(old), await world.story(new)] == [EXECUTED, QUEUED]


async def test_completions_of_two_processes_at_once_have_one_winner(world: World, processes: Processes) -> None:
    token, run = await world.under.waitpoint(NEW), await world.run(LEGACY)
    await world.do("block", run=run, waitpoints=[token])
    deliveries = {"times": 12, "operation": "complete", "arguments": [{"waitpoint": token}]}

    one, other = await asyncio.gather(
        *(processes.run(world.topology, "many", world.environment, deliveries) for _ in range(2))
    )

    assert Counter(one.answer) + Counter(other.answer) == {"true": 1, "false": 23}
    assert await world.story(run) == EXECUTED


async def test_a_token_is_completed_or_its_time_is_over_and_never_both(world: World) -> None:
    past = now() - timedelta(minutes=1)
    rounds = []
    for number in range(50):
        token = await world.under.waitpoint((LEGACY, NEW)[number % 2], completedAfter=past)
        run = await world.run(NEW)
        await world.do("block", run=run, waitpoints=[token])
        rounds.append((token, run))

    async def race(number: int) -> tuple[bool, bool]:
        token, _ = rounds[number]
        acts = [world.do("complete", waitpoint=token), world.do("end", waitpoint=token, at=past.isoformat())]
        order = 1 if number % 4 < 2 else -1
        completed, ended = (await asyncio.gather(*acts[::order]))[::order]
        return completed, ended

    results = await asyncio.gather(*map(race, range(len(rounds))))

    for (token, run), (completed, ended) in zip(rounds, results, strict=True):
        assert completed != ended
        if completed:
            world.acknowledged[token] = "1"
        assert await world.story(run) == EXECUTED
    await world.holds(repaired=True)
    timed_out = [output for _, output in world.outputs.values() if "TRIGGER_WAITPOINT_TIMEOUT" in output]
    assert len(timed_out) == sum(ended for _, ended in results)


async def test_a_run_goes_on_once_whether_it_is_blocked_before_or_after_the_completion(world: World) -> None:
    rounds = []
    for number in range(100):
        token = await world.under.waitpoint((LEGACY, NEW)[number % 2])
        run = await world.run((LEGACY, NEW)[number // 2 % 2], ("EXECUTING", "PENDING")[number // 4 % 2])
        rounds.append((token, run))

    async def race(number: int) -> None:
        token, run = rounds[number]
        acts = [world.do("block", run=run, waitpoints=[token]), world.do("complete", waitpoint=token)]
        await asyncio.gather(*acts[:: 1 if number // 8 % 2 else -1])

    for wave in range(0, len(rounds), 20):
        await asyncio.gather(*map(race, range(wave, wave + 20)))

    for number, (_, run) in enumerate(rounds):
        assert await world.story(run) == (EXECUTED, QUEUED)[number // 4 % 2]
    await world.holds(repaired=True)


async def test_a_run_that_is_continued_by_many_goes_on_once(world: World) -> None:
    tokens = [await world.under.waitpoint(shard) for shard in (LEGACY, NEW)]
    run = await world.run(NEW)
    await world.do("block", run=run, waitpoints=tokens)

    await asyncio.gather(
        *(world.do("complete", waitpoint=token) for token in tokens),
        *(world.do("go_on", runs=[run]) for _ in range(20)),
    )

    assert await world.story(run) == EXECUTED
    await world.holds(repaired=True)
