"""One key, one row: whoever asks, however often, from wherever, and wherever new rows are made meanwhile."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import orjson
import pytest

from store import ids
from store.errors import LimitError
from store.moments import now
from store.residency import LEGACY, NEW, ShardKey, shard_of
from tests.faults import Processes, Report, Urls, World, databases_of, met, sweep
from tests.federation import FederationUnderTest

TIMES = 100
"""How many clients of each process ask at once."""


@pytest.fixture(scope="module")
async def processes() -> AsyncIterator[Processes]:
    async with Processes() as processes:
        yield processes


@pytest.fixture
async def world(federation: FederationUnderTest, urls: Urls) -> World:
    """Rows of two shards, of an organization whose roots are on `new` to those processes that know it."""
    for database in databases_of(federation.federation).values():
        database.deadline = 20.0
    world = World(federation, urls)
    flags = """UPDATE "Organization" SET "featureFlags" = '{"runOpsMintKind": "runOpsId"}' WHERE id = $1"""
    await world.fetch(LEGACY, flags, federation.tenant.organization_id)
    return world


async def asked_by_two_processes(
    world: World, processes: Processes, operation: str, *arguments: dict[str, Any], times: int = TIMES
) -> Counter[tuple[str, bool]]:
    """Ask so often from each process, with these arguments in turn; one mints for legacy, the other for new.

    Returns how often each answer came: an id, and whether it was found.
    """
    asked = {"times": times, "operation": operation, "arguments": list(arguments)}
    reports = await asyncio.gather(
        *(
            processes.run(world.topology, "many", world.environment, asked, mints_new=mints_new)
            for mints_new in (False, True)
        )
    )
    answers: Counter[tuple[str, bool]] = Counter()
    for report in reports:
        for answer, count in report.answer.items():
            assert answer.startswith("["), answer
            answers[tuple(orjson.loads(answer))] += count
    assert answers.total() == 2 * times
    return answers


def the_one(answers: Counter[tuple[str, bool]]) -> str:
    """Return the id that all were answered, one of whom made it."""
    ((id_, _),) = [answer for answer, count in answers.items() if not answer[1] and count == 1]
    assert answers == {(id_, False): 1, (id_, True): answers.total() - 1}
    return ids.body(id_)


async def test_one_key_makes_one_run_though_two_processes_mint_for_different_shards(
    world: World, processes: Processes
) -> None:
    key = ids.mint_cuid()

    run = the_one(await asked_by_two_processes(world, processes, "trigger", {"key": key}))

    assert await world.keyed(key) == [(shard_of(run), run)]
    await world.holds(repaired=True)


async def test_a_global_key_makes_one_run_for_parents_of_different_shards(world: World, processes: Processes) -> None:
    key = ids.mint_cuid()
    parents = [{"key": key, "parent": f"run_{await world.run(shard)}"} for shard in (LEGACY, NEW)]

    run = the_one(await asked_by_two_processes(world, processes, "trigger", *parents))

    assert await world.keyed(key) == [(shard_of(run), run)]
    await world.holds(repaired=True)


async def test_all_parents_that_wait_for_a_key_wait_for_its_one_run_each_on_its_own_shard(
    world: World, processes: Processes
) -> None:
    key = ids.mint_cuid()
    parents = [await world.run(shard, status) for shard in (LEGACY, NEW) for status in ("EXECUTING", "PENDING") * 3]
    waiting = [{"key": key, "parent": f"run_{parent}", "waits": True} for parent in parents]

    run = the_one(await asked_by_two_processes(world, processes, "trigger", *waiting, times=len(parents)))

    await world.holds(repaired=True)
    ((waitpoint,),) = await world.fetch(
        shard_of(run), 'SELECT id FROM "Waitpoint" WHERE "completedByTaskRunId" = $1', run
    )
    for parent in parents:
        assert await world.edges(parent) == [waitpoint]
    await world.do("cancel", run=run)
    await world.holds(repaired=True)
    for parent in parents:
        assert (await world.story(parent))[1:] in (["EXECUTING_WITH_WAITPOINTS", "EXECUTING"], ["SUSPENDED", "QUEUED"])


@pytest.mark.parametrize("holder", [LEGACY, NEW])
@pytest.mark.parametrize("fate", ["has expired", "crashed"])
async def test_a_key_that_finds_nothing_any_more_makes_one_new_run(
    fate: str, holder: ShardKey, world: World, processes: Processes
) -> None:
    key, past = ids.mint_cuid(), now() - timedelta(minutes=1)
    columns = {"taskIdentifier": "task", "idempotencyKey": key}
    old = (
        await world.run(holder, "CRASHED", **columns)
        if fate == "crashed"
        else await world.run(holder, **columns, idempotencyKeyExpiresAt=past)
    )

    run = the_one(await asked_by_two_processes(world, processes, "trigger", {"key": key}, times=30))

    assert run != old
    assert await world.keyed(key) == [(shard_of(run), run)]
    await world.holds(repaired=True)


async def test_one_key_makes_one_batch_with_its_runs(world: World, processes: Processes) -> None:
    key, items = ids.mint_cuid(), [ids.mint_cuid(), ids.mint_cuid()]
    parents = [f"run_{await world.run(shard)}" for shard in (LEGACY, NEW)]
    asked = [{"key": key, "parent": parent, "items": [None, *items]} for parent in parents]

    batch = the_one(await asked_by_two_processes(world, processes, "batch", *asked, times=20))

    assert await world.keyed(key, "BatchTaskRun") == [(shard_of(batch), batch)]
    for item in items:
        ((place, _),) = await world.keyed(item)
        assert place == shard_of(batch)
    await world.holds(repaired=True)


async def test_the_items_of_batches_that_are_made_at_once_share_the_runs_of_their_keys(
    world: World, processes: Processes
) -> None:
    items = [ids.mint_cuid() for _ in range(3)]
    parents = [f"run_{await world.run(shard)}" for shard in (LEGACY, NEW)]
    asked = [
        {"key": ids.mint_cuid(), "parent": parents[number % 2], "items": items[:: 1 if number % 4 < 2 else -1]}
        for number in range(20)
    ]

    answers = await asked_by_two_processes(world, processes, "batch", *asked, times=len(asked))

    assert sum(count for (_, is_cached), count in answers.items() if not is_cached) == len(asked)
    runs = [await world.keyed(item) for item in items]
    assert [len(found) for found in runs] == [1, 1, 1]
    for ((_, run),) in runs:
        await world.do("cancel", run=run)
    await sweep(world.under.federation)
    await world.holds(repaired=True)


async def test_one_key_makes_one_token(world: World, processes: Processes) -> None:
    key = ids.mint_cuid()

    token = the_one(await asked_by_two_processes(world, processes, "create_token", {"key": key}))

    ((_, found),) = await world.keyed(key, "Waitpoint")
    assert found == token
    await world.holds(repaired=True)


async def test_a_tokens_key_that_has_expired_makes_one_new_token(world: World, processes: Processes) -> None:
    key, past = ids.mint_cuid(), now() - timedelta(minutes=1)
    old = await world.under.waitpoint(NEW, idempotencyKey=key, idempotencyKeyExpiresAt=past)

    token = the_one(await asked_by_two_processes(world, processes, "create_token", {"key": key}, times=30))

    assert token != old
    ((_, found),) = await world.keyed(key, "Waitpoint")
    assert found == token
    ((inactive,),) = await world.fetch(NEW, 'SELECT "inactiveIdempotencyKey" FROM "Waitpoint" WHERE id = $1', old)
    assert inactive == key


async def test_a_one_time_token_triggers_once(world: World, processes: Processes) -> None:
    token = ids.mint_cuid()
    asked = {"times": 50, "operation": "trigger", "arguments": [{"token": token}]}

    reports = await asyncio.gather(
        *(
            processes.run(world.topology, "many", world.environment, asked, mints_new=mints_new)
            for mints_new in (False, True)
        )
    )

    answers = sum((Counter(report.answer) for report in reports), Counter[str]())
    refused = {answer: count for answer, count in answers.items() if answer.startswith("LimitError")}
    assert (sum(refused.values()), answers.total(), len(answers)) == (99, 100, 2)
    used = [
        row
        for shard in world.under.shards
        for row in await world.fetch(shard, 'SELECT id FROM "TaskRun" WHERE "oneTimeUseToken" = $1', token)
    ]
    assert len(used) == 1


async def test_a_key_waits_for_who_holds_it_and_other_keys_do_not(world: World, processes: Processes) -> None:
    key, other = ids.mint_cuid(), ids.mint_cuid()
    parent = await world.run(NEW)
    connection = world.under.connections[NEW]

    def trigger(**arguments: Any) -> "asyncio.Task[Report]":
        return asyncio.create_task(processes.run(world.topology, "trigger", world.environment, arguments))

    async def wait_for(shard: ShardKey, waiters: str, *waiting: "asyncio.Task[Report]") -> None:
        while not await world.fetch(shard, waiters):
            assert not any(one.done() for one in waiting)

    async with connection.transaction():
        await connection.execute('SELECT 1 FROM "TaskRun" WHERE id = $1 FOR UPDATE', parent)
        holds = trigger(key=key, parent=f"run_{parent}", waits=True)
        await wait_for(NEW, WAITS_FOR_A_ROW, holds)
        waits = trigger(key=key)
        await wait_for(LEGACY, WAITS_FOR_A_LOCK, holds, waits)

        assert await trigger(key=other) != await trigger(key=key, task="another")
        assert {holds.done(), waits.done()} == {False}

    made, found = await holds, await waits
    assert (made.answer[1], found.answer) == (False, [made.answer[0], True])
    await world.holds(repaired=True)


WAITS_FOR_A_ROW = "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')"
WAITS_FOR_A_LOCK = "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"


async def test_a_key_that_finds_a_run_takes_no_lock(world: World) -> None:
    key = ids.mint_cuid()
    first = await world.do("trigger", key=key)
    instants: list[str] = []
    with met(world.under.federation, instants.append):
        assert await world.do("trigger", key=key) == (first.friendly_id, True)
    assert {instant.partition(":")[0] for instant in instants} == {LEGACY, NEW}


@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_one_key_makes_one_time_that_many_runs_of_a_shard_wait_for(shard: ShardKey, world: World) -> None:
    key, at = ids.mint_cuid(), (now() + timedelta(hours=1)).isoformat()
    runs = [await world.run(shard) for _ in range(8)]

    made = await asyncio.gather(*(world.do("wait_until", run=run, at=at, key=key) for run in runs))

    waitpoint = the_one(Counter(made))
    for run in runs:
        assert await world.edges(run) == [waitpoint]
    await world.holds(repaired=True)


async def test_who_waits_for_a_batch_that_is_over_goes_on(world: World) -> None:
    """The batch was nobody's to wait for when it was made."""
    done = await world.run(
        LEGACY, "COMPLETED_SUCCESSFULLY", taskIdentifier="task", idempotencyKey=(known := ids.mint_cuid())
    )
    parent, waits, key = await world.run(NEW), await world.run(LEGACY), ids.mint_cuid()
    batch = await world.do("batch", items=[known], key=key, parent=f"run_{parent}", waits=False)
    assert done

    assert await world.do("batch", items=[known], key=key, parent=f"run_{waits}") == (batch.friendly_id, True)

    assert await world.story(waits) == ["EXECUTING", "EXECUTING_WITH_WAITPOINTS", "EXECUTING"]
    await world.holds(repaired=True)


async def test_a_token_and_a_wait_under_one_key_are_one_waitpoint(world: World) -> None:
    key, at, run = ids.mint_cuid(), (now() + timedelta(hours=1)).isoformat(), await world.run(LEGACY)

    waits = [world.do("wait_until", run=run, at=at, key=key) for _ in range(5)]
    creates = [world.do("create_token", key=key) for _ in range(5)]
    made = await asyncio.gather(*waits, *creates, return_exceptions=True)

    ((_, waitpoint),) = await world.keyed(key, "Waitpoint")
    kinds = [
        {ids.body(one.friendly_id) for one in of if not isinstance(one, BaseException)} for of in (made[:5], made[5:])
    ]
    assert sorted(kinds, key=len) == [set(), {waitpoint}], "one kind has the key, and the other is refused"
    assert {type(one) for one in made if isinstance(one, BaseException)} == {LimitError}
    await world.holds(repaired=True)


async def test_an_id_that_is_given_makes_one_run(world: World) -> None:
    friendly_id = f"run_{ids.mint_v1()}"

    made = await asyncio.gather(*(world.do("trigger", friendly_id=friendly_id) for _ in range(20)))

    assert the_one(Counter(made)) == ids.body(friendly_id)
    await world.holds(repaired=True)
