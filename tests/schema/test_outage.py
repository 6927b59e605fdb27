"""A database that is down: what needs it says so by name, what does not is as before, and it comes back by itself."""

import asyncio
import time

from store.embedded import Cluster
from store.residency import LEGACY, NEW, ShardKey
from store.shard import Breaker
from tests.federation import FederationUnderTest

UNAVAILABLE = {"code": "SHARD_UNAVAILABLE", "shard": NEW, "retryable": True}


async def test_a_shard_that_is_down_fails_only_its_own_runs(federation: FederationUnderTest, down: Cluster) -> None:
    old, new = await federation.run(LEGACY), await federation.run(NEW)
    query = "query ($a: ID!, $b: ID!) { a: run(id: $a) { id } b: run(id: $b) { id } }"
    await federation.ask(query, a=f"run_{old}", b=f"run_{new}")

    await asyncio.to_thread(down.kill)
    answer = await federation.answer(query, a=f"run_{old}", b=f"run_{new}")

    assert answer["data"] == {"a": {"id": f"run_{old}"}, "b": None}
    (error,) = answer["errors"]
    assert (error["path"], error["extensions"]) == (["b"], UNAVAILABLE)
    assert error["message"] == "shard 'new' is unavailable"


async def test_what_needs_only_the_other_shard_is_as_before(federation: FederationUnderTest, down: Cluster) -> None:
    parent = await federation.run(LEGACY)
    batch, token = await federation.batch(LEGACY), await federation.waitpoint(LEGACY)
    run = await federation.run(LEGACY, parentTaskRunId=parent, batchId=batch)
    await federation.connect(LEGACY, run, token)
    await federation.block(LEGACY, run, token)
    query = """query ($id: ID!) { run(id: $id) { id batch { id runIds } parentRun { id } environment { slug }
        waitpoints { nodes { id } degradedShards { shard } } blockedBy { waitpoint { id } } } }"""
    before = await federation.ask(query, id=f"run_{run}")

    await asyncio.to_thread(down.kill)

    assert await federation.answer(query, id=f"run_{run}") == {"data": before}


async def test_a_page_holds_the_other_shards_rows_and_says_whose_are_missing(
    federation: FederationUnderTest, down: Cluster
) -> None:
    old = await federation.run(LEGACY)
    child = await federation.run(LEGACY, parentTaskRunId=old)
    near, far = await federation.waitpoint(LEGACY), await federation.waitpoint(NEW)
    for token in (near, far):
        await federation.connect(LEGACY, old, token)

    await asyncio.to_thread(down.kill)
    answer = await federation.answer(
        """query ($id: ID!) {
             environment { runs { nodes { id } pageInfo { hasNextPage } degradedShards { shard code retryable } } }
             run(id: $id) {
               childRuns { nodes { id } pageInfo { hasNextPage } degradedShards { shard } }
               waitpoints { nodes { id } pageInfo { hasNextPage } degradedShards { shard } } } }""",
        id=f"run_{old}",
    )

    assert "errors" not in answer
    degraded = [{"shard": NEW, "code": "UNAVAILABLE", "retryable": True}]
    assert answer["data"]["environment"]["runs"] == {
        "nodes": [{"id": f"run_{child}"}, {"id": f"run_{old}"}],
        "pageInfo": {"hasNextPage": True},
        "degradedShards": degraded,
    }
    more = {"pageInfo": {"hasNextPage": True}, "degradedShards": [{"shard": NEW}]}
    assert answer["data"]["run"] == {
        "childRuns": {"nodes": [{"id": f"run_{child}"}], **more},
        "waitpoints": {"nodes": [{"id": f"waitpoint_{near}"}], **more},
    }
    assert answer["extensions"] == {"degradedShards": [NEW]}


async def test_unknown_is_not_absent(federation: FederationUnderTest, down: Cluster) -> None:
    """A waitpoint that legacy lacks may be on the shard that is down; one that legacy has is an answer."""
    near, far = await federation.waitpoint(LEGACY), await federation.waitpoint(NEW)
    run = await federation.run(LEGACY)
    await federation.block(LEGACY, run, far)
    query = """query ($near: ID!, $far: ID!, $run: ID!) {
      near: waitpoint(id: $near) { id } far: waitpoint(id: $far) { id }
      run(id: $run) { blockedBy { waitpoint { id } } } }"""

    await asyncio.to_thread(down.kill)
    answer = await federation.answer(query, near=f"waitpoint_{near}", far=f"waitpoint_{far}", run=f"run_{run}")

    assert answer["data"] == {
        "near": {"id": f"waitpoint_{near}"},
        "far": None,
        "run": {"blockedBy": [{"waitpoint": None}]},
    }
    assert [(error["path"], error["extensions"]) for error in answer["errors"]] == [
        (["far"], UNAVAILABLE),
        (["run", "blockedBy", 0, "waitpoint"], UNAVAILABLE),
    ]


async def test_a_batch_that_its_home_lacks_may_be_on_the_shard_that_is_down(
    federation: FederationUnderTest, down: Cluster
) -> None:
    there = await federation.batch(LEGACY)
    query = "query ($id: ID!) { batch(id: $id) { id } }"

    await asyncio.to_thread(down.kill)

    assert await federation.ask(query, id=f"batch_{there}") == {"batch": {"id": f"batch_{there}"}}
    answer = await federation.answer(query, id="batch_cmcn4q2x80001l5087k3v9d1f")
    assert answer["errors"][0]["extensions"] == UNAVAILABLE


async def test_a_shard_that_comes_back_is_found_by_itself(federation: FederationUnderTest, down: Cluster) -> None:
    run = f"run_{await federation.run(NEW)}"
    query = "query ($id: ID!) { run(id: $id) { id } shards { key healthy } }"
    await asyncio.to_thread(down.kill)
    for _ in range(5):
        answer = await federation.answer(query, id=run)
        assert answer["errors"][0]["extensions"] == UNAVAILABLE
    assert {"key": NEW, "healthy": False} in answer["data"]["shards"]

    await asyncio.to_thread(down.start)

    deadline = time.monotonic() + 10
    while (answer := await federation.answer(query, id=run))["data"]["run"] is None:
        assert time.monotonic() < deadline
        assert answer["errors"][0]["extensions"] == UNAVAILABLE
    assert "errors" not in answer


async def test_a_restart_between_two_queries_is_not_noticed(federation: FederationUnderTest, down: Cluster) -> None:
    run = f"run_{await federation.run(NEW)}"
    query = "query ($id: ID!) { run(id: $id) { id } }"
    await federation.ask(query, id=run)

    await asyncio.to_thread(down.stop)
    await asyncio.to_thread(down.start)

    assert await federation.ask(query, id=run) == {"run": {"id": run}}


async def test_a_shard_that_hangs_costs_a_deadline_and_no_more(federation: FederationUnderTest, down: Cluster) -> None:
    old, new = f"run_{await federation.run(LEGACY)}", f"run_{await federation.run(NEW)}"
    query = "query ($a: ID!, $b: ID!) { a: run(id: $a) { id } b: run(id: $b) { id } }"
    await federation.ask(query, a=old, b=new)
    federation.federation.router.shards[NEW].primary.deadline = 0.5
    await asyncio.to_thread(down.suspend)
    try:
        began = time.monotonic()
        answer = await federation.answer(query, a=old, b=new)
        took = time.monotonic() - began
    finally:
        await asyncio.to_thread(down.resume)

    assert answer["data"] == {"a": {"id": old}, "b": None}
    assert answer["errors"][0]["extensions"] == {"code": "SHARD_TIMEOUT", "shard": NEW, "retryable": True}
    assert 0.5 <= took < 2.0, "the driver's own two seconds are not added"


async def test_a_table_that_is_locked_delays_its_own_queries_only(federation: FederationUnderTest) -> None:
    run, token = f"run_{await federation.run(NEW)}", f"waitpoint_{await federation.waitpoint(NEW)}"
    database = federation.federation.router.shards[NEW].primary
    database.deadline = 0.2
    async with federation.connections[NEW].transaction():
        await federation.connections[NEW].execute('LOCK TABLE "Waitpoint"')
        for _ in range(4):
            late = await federation.answer("query ($id: ID!) { waitpoint(id: $id) { id } }", id=token)
            assert late["errors"][0]["extensions"]["code"] == "SHARD_TIMEOUT"
        database.deadline = 5.0
        assert await federation.ask("query ($id: ID!) { run(id: $id) { id } }", id=run) == {"run": {"id": run}}
    while database.abandoned:
        await asyncio.wait(set(database.abandoned))


async def test_a_table_that_was_altered_is_read_all_the_same(federation: FederationUnderTest) -> None:
    """The platform migrates its tables while we serve; our prepared statements are older than that."""
    run = f"run_{await federation.run(NEW, ttl='10m')}"
    query = "query ($id: ID!) { run(id: $id) { ttl } }"
    await federation.ask(query, id=run)
    await federation.connections[NEW].execute('ALTER TABLE "TaskRun" ALTER COLUMN "ttl" TYPE varchar')
    try:
        assert await federation.ask(query, id=run) == {"run": {"ttl": "10m"}}
    finally:
        await federation.connections[NEW].execute('ALTER TABLE "TaskRun" ALTER COLUMN "ttl" TYPE text')


async def test_a_control_plane_that_is_down_is_named(
    federation: FederationUnderTest, clusters: dict[ShardKey, Cluster]
) -> None:
    """A credential that was seen a moment ago still works for what is on other shards; an unseen one does not."""
    run = f"run_{await federation.run(NEW)}"
    query = "query ($id: ID!) { run(id: $id) { id } }"
    await federation.ask(query, id=run)
    await asyncio.to_thread(clusters[LEGACY].kill)
    try:
        assert await federation.ask(query, id=run) == {"run": {"id": run}}
        answer = await federation.answer(query, key="tr_prod_unseen", id=run)
    finally:
        await asyncio.to_thread(clusters[LEGACY].start)

    assert answer["errors"][0]["extensions"] == {
        "code": "SHARD_UNAVAILABLE",
        "shard": "control plane",
        "retryable": True,
    }


def test_a_breaker_lets_one_caller_a_pause_try() -> None:
    now = 0.0
    breaker = Breaker(threshold=2, pause=1.0, clock=lambda: now)
    breaker.failed()
    assert breaker.admits()
    breaker.failed()
    assert not breaker.admits()
    now = 1.0
    assert (breaker.admits(), breaker.admits()) == (True, False)
    breaker.answered()
    assert (breaker.admits(), breaker.admits()) == (True, True)
