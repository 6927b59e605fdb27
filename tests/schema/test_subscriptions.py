"""Subscriptions: the state at once, then its changes, and its end in any case; as long as somebody may see it."""

import asyncio
import gc
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from strawberry.types.execution import PreExecutionError
from structlog.testing import capture_logs

from resolvers import auth, live
from resolvers.auth import Authenticator
from schema import streams
from store import ids
from store.control_plane import CONTROL_PLANE
from store.embedded import Cluster
from store.residency import LEGACY, NEW, ShardKey
from tests.conftest import over_shards
from tests.federation import FederationUnderTest, Tenant, plant_tenant, public_token
from tests.schema.test_bad_input import HOSTILE, PERIODS, look_alikes, torn
from tests.streaming import PATIENCE, subscribed, until

RUN = "subscription($id: ID!) { runUpdated(id: $id) { id status updatedAt tags } }"
RUNS = "subscription($tags: [String!]) { runsUpdated(tags: $tags) { id status updatedAt batch { id } metadata } }"
BATCH = "subscription($id: ID!) { batchRunsUpdated(id: $id) { id status batch { status } } }"
TOKEN = "subscription($id: ID!) { waitpointUpdated(id: $id) { id status output { json } } }"
BULK = "subscription($id: ID!) { bulkActionUpdated(id: $id) { id status successCount } }"


async def set_status(federation: FederationUnderTest, shard: str, run_id: str, status: str) -> None:
    await federation.connections[shard].execute(
        'UPDATE "TaskRun" SET status = $2::text::"TaskRunStatus", "updatedAt" = clock_timestamp() AT TIME ZONE \'UTC\''
        " WHERE id = $1",
        run_id,
        status,
    )


def today(**columns: Any) -> dict[str, Any]:
    moment = datetime.now(UTC).replace(tzinfo=None)
    return {"createdAt": moment, "updatedAt": moment, **columns}


@over_shards(1, 2, 3)
async def test_a_run_is_told_of_from_its_state_to_its_end(federation: FederationUnderTest) -> None:
    for shard in federation.shards:
        run = await federation.run(shard)
        async with subscribed(federation, RUN, id=f"run_{run}") as stream:
            assert (await stream.next())["status"] == "QUEUED"
            await set_status(federation, shard, run, "EXECUTING")
            assert (await stream.next())["status"] == "EXECUTING"
            await set_status(federation, shard, run, "COMPLETED_SUCCESSFULLY")
            events = await stream.end()
        assert [one["status"] for one in events] == ["QUEUED", "EXECUTING", "COMPLETED"]
        assert events[0].keys() == {"id", "status", "updatedAt", "tags"}


CLIENT = Path(__file__).parents[1] / "clients" / "realtime" / "1"


@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_the_first_version_of_a_realtime_client_is_answered(
    federation: FederationUnderTest, shard: ShardKey
) -> None:
    batch = await federation.batch(shard, status="COMPLETED", completedCount=1)
    run = await federation.run(
        shard,
        **today(runTags=["live"], metadata='{"step": 1}', status="COMPLETED_SUCCESSFULLY", attemptNumber=2),
        batchId=batch,
        usageDurationMs=7,
    )
    answers = {}
    for name, variables in (
        ("run_live", {"id": f"run_{run}"}),
        ("tag_live", {"env": f"env_{federation.tenant.environment_id}", "tags": ["live"]}),
        ("batch_live", {"id": f"batch_{batch}"}),
    ):
        document = (CLIENT / f"{name}.graphql").read_text("utf-8")
        async with subscribed(federation, document, **variables) as stream:
            answers[name] = await stream.next()

    same = {"id": f"run_{run}", "status": "COMPLETED", "updatedAt": answers["run_live"]["updatedAt"]}
    assert answers["run_live"] == {
        **same,
        "rawStatus": "COMPLETED_SUCCESSFULLY",
        "finishedAt": None,
        "metadata": {"step": 1},
        "usage": {"durationMs": 7},
        "attemptCount": 2,
    }
    assert answers["tag_live"] == {**same, "taskIdentifier": "hello", "tags": ["live"]}
    of = {"id": f"batch_{batch}", "status": "COMPLETED", "completedCount": 1}
    assert answers["batch_live"] == {**same, "batch": of}


async def test_a_run_that_has_ended_is_told_of_once(federation: FederationUnderTest) -> None:
    run = await federation.run(NEW, status="CANCELED")
    async with subscribed(federation, RUN, id=f"run_{run}") as stream:
        assert [one["status"] for one in await stream.end()] == ["CANCELED"]

    keep = RUN.replace("(id: $id)", "(id: $id, closeOnComplete: false)")
    async with subscribed(federation, keep, id=f"run_{run}") as stream:
        await stream.next()
        await federation.connections[NEW].execute('UPDATE "TaskRun" SET "runTags" = $2 WHERE id = $1', run, ["late"])
        assert (await stream.next())["tags"] == ["late"]


async def test_an_object_changes_at_most_four_times_a_second_and_the_last_state_counts(
    federation: FederationUnderTest,
) -> None:
    run = await federation.run(NEW)
    async with subscribed(federation, RUN, id=f"run_{run}") as stream:
        await stream.next()
        writing = asyncio.create_task(_write_quickly(federation, run))
        joining = asyncio.create_task(_join_often(federation, run))
        events = await stream.end()
        joining.cancel()
        await writing

    assert events[-1]["status"] == "COMPLETED"
    assert len(events) > 3, "it was told of while it changed"
    assert [one["updatedAt"] for one in events] == sorted(one["updatedAt"] for one in events)
    spans = [five - one for one, five in zip(stream.times, stream.times[4:], strict=False)]
    assert all(span >= 0.99 for span in spans), spans


async def _join_often(federation: FederationUnderTest, run: str) -> None:
    """Subscribe again and again, for which the run is looked at out of turn."""
    while True:
        async with subscribed(federation, RUN, id=f"run_{run}") as stream:
            await stream.next()


async def _write_quickly(federation: FederationUnderTest, run: str) -> None:
    """Write a run a hundred times, over a second and a half, and end it."""
    for number in range(100):
        await set_status(federation, NEW, run, ("EXECUTING", "DEQUEUED")[number % 2])
        await federation.connections[NEW].execute("SELECT pg_sleep(0.015)")
    await set_status(federation, NEW, run, "COMPLETED_SUCCESSFULLY")


@over_shards(1, 2, 3)
async def test_tagged_runs_of_all_shards_are_told_of_old_and_new(federation: FederationUnderTest) -> None:
    there = {shard: await federation.run(shard, **today(runTags=["a", "b", "c"])) for shard in federation.shards}
    await federation.run(LEGACY, **today(runTags=["a"]))
    await federation.run(LEGACY, runTags=["a", "b"])  # months ago
    async with subscribed(federation, RUNS, tags=["b", "a"]) as stream:
        seen = [(await stream.next())["id"] for _ in there]
        assert sorted(seen) == sorted(f"run_{run}" for run in there.values())
        for shard, run in there.items():
            await set_status(federation, shard, run, "EXECUTING")
            await stream.until(id=f"run_{run}", status="EXECUTING")
            new = await federation.run(shard, **today(runTags=["b", "a"]))
            await stream.until(id=f"run_{new}", status="QUEUED")
            await set_status(federation, shard, new, "CRASHED")
            await stream.until(id=f"run_{new}", status="CRASHED")
    assert {one["id"] for one in stream.events} >= set(seen)


async def test_a_run_that_loses_a_tag_is_told_of_no_longer(federation: FederationUnderTest) -> None:
    change = 'UPDATE "TaskRun" SET "runTags" = $2, "updatedAt" = now() WHERE id = $1'
    one, other = [await federation.run(NEW, **today(runTags=["a", "b"])) for _ in range(2)]
    async with subscribed(federation, RUNS, tags=["a", "b"]) as stream:
        assert {(await stream.next())["id"] for _ in range(2)} == {f"run_{one}", f"run_{other}"}
        await federation.connections[NEW].execute(change, one, ["a"])
        for status in ("DEQUEUED", "EXECUTING"):
            await set_status(federation, NEW, one, status)
            await set_status(federation, NEW, other, status)
            await stream.until(id=f"run_{other}", status=status)
        assert [told["status"] for told in stream.events if told["id"] == f"run_{one}"] == ["QUEUED"]
        await federation.connections[NEW].execute(change, one, ["b", "a"])
        await stream.until(id=f"run_{one}", status="EXECUTING")


async def test_how_far_tagged_runs_reach_back_is_bounded(federation: FederationUnderTest) -> None:
    hours = {}
    for age in (0, 2, 23, 25, 24 * 8):
        moment = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=age)
        run = await federation.run(NEW, runTags=["old"], createdAt=moment, updatedAt=moment)
        hours[f"run_{run}"] = age
    for period, expected in ((None, [23, 2, 0]), ("3h", [2, 0]), ("2w", [23, 2, 0]), ("99999w", [23, 2, 0])):
        document = 'subscription($p: String) { runsUpdated(tags: ["old"], createdAtPeriod: $p) { id } }'
        async with subscribed(federation, document, p=period) as stream:
            assert [hours[(await stream.next())["id"]] for _ in expected] == expected


async def test_tags_are_compared_as_they_are(federation: FederationUnderTest) -> None:
    odd = ['"', "\\", "a,b", "{}", "NULL", "a\x1fb", "", " é"]
    for tag in odd:
        await federation.run(NEW, **today(runTags=[tag], taskIdentifier=f"of {tag!r}"))
    for tag in odd:
        document = "subscription($tags: [String!]) { runsUpdated(tags: $tags) { taskIdentifier tags } }"
        async with subscribed(federation, document, tags=[tag]) as stream:
            assert await stream.next() == {"taskIdentifier": f"of {tag!r}", "tags": [tag]}


@over_shards(1, 2, 3)
async def test_a_batch_is_told_of_until_it_has_finished_and_all_its_runs_have_ended(
    federation: FederationUnderTest,
) -> None:
    home, *others = federation.shards[::-1]
    elsewhere = await federation.run(others[-1] if others else home)
    batch = await federation.batch(home, runIds=[f"run_{elsewhere}"])
    own = [await federation.run(home, batchId=batch) for _ in range(3)]
    async with subscribed(federation, BATCH, id=f"batch_{batch}") as stream:
        first = {(await stream.next())["id"] for _ in range(4)}
        assert first == {f"run_{run}" for run in [*own, elsewhere]}
        late = await federation.run(home, batchId=batch)
        await stream.until(id=f"run_{late}", status="QUEUED")
        for run in [*own, late]:
            await set_status(federation, home, run, "COMPLETED_SUCCESSFULLY")
        await federation.connections[home].execute(
            """UPDATE "BatchTaskRun" SET status = 'COMPLETED', "updatedAt" = now() WHERE id = $1""", batch
        )
        for _ in [*own, late]:
            assert (await stream.until(status="COMPLETED"))["id"] != f"run_{elsewhere}"
        await set_status(federation, others[-1] if others else home, elsewhere, "CANCELED")
        await stream.end()

    last = {one["id"]: one["status"] for one in stream.events}
    assert sorted(last.values()) == ["CANCELED", *["COMPLETED"] * 4]
    assert stream.events[-1] == {"id": f"run_{elsewhere}", "status": "CANCELED", "batch": None}


async def test_all_runs_of_a_large_batch_that_has_finished_are_told_of(federation: FederationUnderTest) -> None:
    batch = await federation.batch(NEW, status="COMPLETED")
    one = await federation.run(NEW, batchId=batch, status="COMPLETED_SUCCESSFULLY")
    await _copies(federation, one, 250)
    async with subscribed(
        federation, "subscription($id: ID!) { batchRunsUpdated(id: $id) { id } }", id=f"batch_{batch}"
    ) as s:
        assert len({told["id"] for told in await s.end()}) == 251


async def _copies(federation: FederationUnderTest, run: str, count: int) -> None:
    """Plant a run so many times more."""
    columns = await federation.connections[NEW].fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'TaskRun' AND is_generated = 'NEVER'"
    )
    names = [row["column_name"] for row in columns if row["column_name"] not in ("id", "friendlyId")]
    of = ", ".join(f'"{name}"' for name in names)
    await federation.connections[NEW].execute(
        f"""INSERT INTO "TaskRun" (id, "friendlyId", {of})
            SELECT id || copy, 'run_' || id || copy, {of} FROM "TaskRun", generate_series(1, $2) copy
            WHERE id = $1""",  # noqa: S608
        run,
        count,
    )


async def test_a_batch_whose_shard_is_away_for_a_moment_is_told_of_on(
    federation: FederationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await federation.batch(NEW)
    run = await federation.run(NEW, batchId=batch)
    database = federation.federation.router.shards[NEW].primary
    async with subscribed(
        federation, "subscription($id: ID!) { batchRunsUpdated(id: $id) { id status } }", id=f"batch_{batch}"
    ) as s:
        await s.next()
        refusals = count()
        with monkeypatch.context() as patch:
            patch.setattr(database.breaker, "admits", lambda: next(refusals) < 0)
            await federation.connections[NEW].execute(
                """UPDATE "BatchTaskRun" SET "completedCount" = 1, "updatedAt" = now() WHERE id = $1""", batch
            )
            reading = asyncio.create_task(s.next())
            await until(lambda: "count(0)" not in repr(refusals))
        await set_status(federation, NEW, run, "COMPLETED_SUCCESSFULLY")
        assert (await reading)["status"] == "COMPLETED"
        await federation.connections[NEW].execute(
            """UPDATE "BatchTaskRun" SET status = 'COMPLETED', "updatedAt" = now() WHERE id = $1""", batch
        )
        await s.end()


async def test_an_end_is_told_though_the_row_is_deleted_by_then(federation: FederationUnderTest) -> None:
    run = await federation.run(NEW)
    watcher = federation.federation.live.watchers[NEW]
    async with subscribed(federation, RUN, id=f"run_{run}") as stream:
        await stream.next()
        (state,) = watcher._topics.values()  # noqa: SLF001
        await set_status(federation, NEW, run, "COMPLETED_SUCCESSFULLY")
        await until(lambda: not state.open)
        await federation.connections[NEW].execute('DELETE FROM "TaskRun" WHERE id = $1', run)
        await until(lambda: not state.versions)
        assert (await stream.end())[-1]["status"] == "COMPLETED"

    run = await federation.run(NEW)
    async with subscribed(federation, RUN, id=f"run_{run}") as stream:
        await stream.next()
        await federation.connections[NEW].execute('DELETE FROM "TaskRun" WHERE id = $1', run)
        assert await stream.broken() == {"message": "run not found", "code": "NOT_FOUND"}


async def test_who_reads_too_slowly_is_told_so(
    federation: FederationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.live.watch.MOST_PENDING", 3)
    for _ in range(5):
        await federation.run(NEW, **today(runTags=["much"]))
    async with subscribed(federation, RUNS, tags=["much"]) as stream:
        assert (await stream.broken())["code"] == "RATE_LIMITED"


async def test_a_run_that_moves_to_another_environment_leaves_its_list(federation: FederationUnderTest) -> None:
    _, token = await federation.member()
    elsewhere = await federation.environment(slug="other")
    runs = [await federation.run(NEW, **today(runTags=["x"])) for _ in range(2)]
    document = "subscription($e: ID!) { runsUpdated(environmentId: $e) { id status } }"
    async with subscribed(federation, document, token, e=f"env_{federation.tenant.environment_id}") as stream:
        assert {(await stream.next())["id"] for _ in runs} == {f"run_{run}" for run in runs}
        await federation.connections[NEW].execute(
            """UPDATE "TaskRun" SET "runtimeEnvironmentId" = $2, status = 'EXECUTING' WHERE id = $1""",
            runs[0],
            elsewhere,
        )
        for status in ("DEQUEUED", "EXECUTING"):
            await set_status(federation, NEW, runs[0], status)
            await set_status(federation, NEW, runs[1], status)
            assert (await stream.next())["id"] == f"run_{runs[1]}"


async def test_a_batch_that_has_finished_is_told_of_once(federation: FederationUnderTest) -> None:
    batch = await federation.batch(NEW, status="COMPLETED")
    async with subscribed(federation, BATCH, id=f"batch_{batch}") as stream:
        assert await stream.end() == []
    await federation.run(NEW, batchId=batch, status="COMPLETED_SUCCESSFULLY")
    async with subscribed(federation, BATCH, id=f"batch_{batch}") as stream:
        assert [one["status"] for one in await stream.end()] == ["COMPLETED"]


async def test_a_run_of_a_batch_that_is_deleted_keeps_no_stream_open(federation: FederationUnderTest) -> None:
    batch = await federation.batch(NEW)
    run = await federation.run(NEW, batchId=batch)
    async with subscribed(federation, BATCH, id=f"batch_{batch}") as stream:
        await stream.next()
        await federation.connections[NEW].execute('DELETE FROM "TaskRun" WHERE id = $1', run)
        await federation.connections[NEW].execute(
            """UPDATE "BatchTaskRun" SET status = 'ABORTED' WHERE id = $1""", batch
        )
        assert len(await stream.end()) == 1


@over_shards(1, 2, 3)
async def test_a_token_is_told_of_from_any_shard_until_it_is_complete(federation: FederationUnderTest) -> None:
    for shard in federation.shards:
        token = await federation.waitpoint(shard)
        async with subscribed(federation, TOKEN, id=f"waitpoint_{token}") as stream:
            assert (await stream.next())["status"] == "WAITING"
            await federation.ask(
                """mutation($id: ID!) { completeWaitpointToken(input: { id: $id, data: { yes: true } }) {
                   userErrors { message } } }""",
                id=f"waitpoint_{token}",
            )
            events = await stream.end()
        assert events[-1] == {"id": f"waitpoint_{token}", "status": "COMPLETED", "output": {"json": {"yes": True}}}


async def test_a_run_that_waits_for_a_token_of_another_shard_is_told_to_go_on(federation: FederationUnderTest) -> None:
    run, token = await federation.run(NEW, status="WAITING_TO_RESUME"), await federation.waitpoint(LEGACY)
    await federation.block(NEW, run, token)
    document = "subscription($id: ID!) { runUpdated(id: $id) { status blockedBy { waitpoint { id status } } } }"
    async with subscribed(federation, document, id=f"run_{run}") as stream:
        first = await stream.next()
        assert first["blockedBy"] == [{"waitpoint": {"id": f"waitpoint_{token}", "status": "WAITING"}}]
        await federation.ask(
            "mutation($id: ID!) { completeWaitpointToken(input: { id: $id, data: 1 }) { userErrors { message } } }",
            id=f"waitpoint_{token}",
        )
        assert await stream.next() == {"status": "QUEUED", "blockedBy": []}


async def test_a_bulk_action_is_told_of_until_it_is_done(federation: FederationUnderTest) -> None:
    row: dict[str, Any] = {
        "id": ids.mint_cuid(),
        "projectId": federation.tenant.project_id,
        "type": "CANCEL",
        "queryName": "x",
    }
    row |= {"environmentId": federation.tenant.environment_id, "friendlyId": f"bulk_{row['id']}", **federation.times()}
    await federation.insert(CONTROL_PLANE, "BulkActionGroup", row)
    async with subscribed(federation, BULK, id=str(row["friendlyId"])) as stream:
        assert await stream.next() == {"id": row["friendlyId"], "status": "PENDING", "successCount": 0}
        change = 'UPDATE "BulkActionGroup" SET "successCount" = 7, status = $2 WHERE id = $1'
        await federation.connections[CONTROL_PLANE].execute(change, row["id"], "PENDING")
        assert (await stream.next())["successCount"] == 7
        await federation.connections[CONTROL_PLANE].execute(change, row["id"], "ABORTED")
        assert (await stream.end())[-1]["status"] == "ABORTED"


ONES = {RUN: "run", BATCH: "batch", TOKEN: "waitpoint", BULK: "bulk"}


@pytest.mark.parametrize(("document", "prefix"), ONES.items(), ids=ONES.values())
async def test_what_is_not_there_and_what_is_anothers_are_the_same(
    federation: FederationUnderTest, document: str, prefix: str
) -> None:
    own, foreign = [
        f"{prefix}_{await _made(federation, prefix, tenant)}"
        for tenant in (federation.tenant, await plant_tenant(federation.connections[CONTROL_PLANE]))
    ]
    others = [foreign, f"{prefix}_{ids.mint_v1()}", f"{prefix}_{ids.mint_cuid()}", prefix, f"{prefix}_" + "x" * 5000]
    given = [*others, *HOSTILE, *torn(own), *look_alikes(own)]
    what = {"bulk": "bulk action"}.get(prefix, prefix)
    whys = await asyncio.gather(*(_broken(subscribed(federation, document, id=id_)) for id_ in given))
    assert whys == [{"message": f"{what} not found", "code": "NOT_FOUND"}] * len(given)
    async with subscribed(federation, document, id=own) as stream:
        assert (await stream.next())["id"]


async def _made(federation: FederationUnderTest, prefix: str, of: Tenant) -> str:
    if prefix == "bulk":
        return await _bulk(federation, of)
    if prefix == "waitpoint":
        return await federation.waitpoint(NEW, environmentId=of.environment_id)
    batch = await federation.batch(NEW, runtimeEnvironmentId=of.environment_id)
    run = await federation.run(NEW, runtimeEnvironmentId=of.environment_id, batchId=batch)
    return run if prefix == "run" else batch


async def test_a_list_is_not_told_of_for_what_makes_no_sense(federation: FederationUnderTest) -> None:
    own = f"env_{federation.tenant.environment_id}"
    document = "subscription($e: ID, $p: String, $t: [String!]) { runsUpdated(%s) { id } }"
    document %= "environmentId: $e, createdAtPeriod: $p, tags: $t"
    places = [*HOSTILE, *torn(own), *look_alikes(own)]
    periods = [one for one in PERIODS if isinstance(one, str)]
    tags = [["\0"], ["a\0b"], ["\ud800"], ["x"] * 101]
    for given, expected in (
        ([{"e": one} for one in places], "NOT_FOUND"),
        ([{"p": one} for one in periods], "BAD_USER_INPUT"),
        ([{"t": one} for one in tags], "BAD_USER_INPUT"),
    ):
        whys = await asyncio.gather(*(_broken(subscribed(federation, document, **one)) for one in given))
        assert {why["code"] for why in whys} == {expected}
        assert all("\n" not in why["message"] for why in whys)


async def _bulk(federation: FederationUnderTest, of: Any) -> str:
    id_ = ids.mint_cuid()
    row = {"id": id_, "friendlyId": f"bulk_{id_}", "projectId": of.project_id, "environmentId": of.environment_id}
    await federation.insert(CONTROL_PLANE, "BulkActionGroup", {**row, "type": "CANCEL", **federation.times()})
    return id_


async def test_scopes_reach_as_far_in_streams_as_in_queries(federation: FederationUnderTest) -> None:
    batch, token, bulk = (
        await federation.batch(NEW),
        await federation.waitpoint(NEW),
        await _bulk(federation, federation.tenant),
    )
    mine = await federation.run(NEW, **today(runTags=["mine"], batchId=batch))
    other = await federation.run(NEW, **today(runTags=["other"]))
    runs, tags = (
        "subscription { runsUpdated { id } }",
        'subscription { runsUpdated(tags: ["mine"]) { id metadata payload { json } } }',
    )
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "mine": (RUN, {"id": f"run_{mine}"}),
        "other": (RUN, {"id": f"run_{other}"}),
        "batch": (BATCH.replace("batch { status }", "metadata payload { json }"), {"id": f"batch_{batch}"}),
        "token": (TOKEN, {"id": f"waitpoint_{token}"}),
        "bulk": (BULK, {"id": f"bulk_{bulk}"}),
        "runs": (runs, {}),
        "tags": (tags, {}),
    }
    reach = {
        f"read:runs:run_{mine}": {"mine"},
        "read:runs": {"mine", "other", "batch", "bulk", "runs", "tags"},
        "read:tags:mine": {"mine", "tags"},
        "read:tags:nothing": set(),
        f"read:batch:batch_{batch}": {"mine", "batch"},
        f"read:waitpoints:waitpoint_{token}": {"token"},
        f"write:waitpoints:waitpoint_{token}": {"token"},
        "write:runs": set(),
        "read:all": set(wanted),
    }
    for scope, reached in reach.items():
        credential = public_token(federation.tenant, scope)
        found = set()
        for name, (document, variables) in wanted.items():
            async with subscribed(federation, document, credential, **variables) as stream:
                try:
                    await stream.next()
                except AssertionError:
                    async with subscribed(federation, document, credential, **variables) as again:
                        assert (await again.broken())["code"] == "FORBIDDEN"
                else:
                    found.add(name)
        assert found == reached, scope


@pytest.fixture
def quick_checks(monkeypatch: pytest.MonkeyPatch, federation: FederationUnderTest) -> Authenticator:
    """An authenticator that remembers nothing, and streams that ask it all the time."""
    monkeypatch.setattr(live, "RECHECK", 0.05)
    return Authenticator(federation.federation, longest_memory=0.0)


async def test_a_stream_ends_with_its_token(federation: FederationUnderTest) -> None:
    run = await federation.run(NEW)
    credential = public_token(federation.tenant, "read:runs", exp=int(time.time()) + 2)
    async with subscribed(federation, RUN, credential, id=f"run_{run}") as stream:
        await stream.next()
        error = await stream.broken()
    assert error == {"message": "the public access token has expired", "code": "UNAUTHENTICATED"}
    assert live.RECHECK == 10.0, "nobody had to wait for the next time that it is asked"


async def test_a_stream_ends_when_its_key_does(federation: FederationUnderTest, quick_checks: Authenticator) -> None:
    run = await federation.run(NEW)
    for document, variables in (
        (RUN, {"id": f"run_{run}"}),
        (RUNS, {}),
        (BATCH, {"id": f"batch_{await federation.batch(NEW)}"}),
    ):
        async with subscribed(federation, document, authenticator=quick_checks, **variables) as stream:
            ending = asyncio.create_task(stream.broken())
            await until(lambda: any(one.is_at_work for one in federation.federation.live.watchers.values()))
            key = f"tr_prod_{ids.mint_cuid()}"
            await federation.connections[CONTROL_PLANE].execute(
                'UPDATE "RuntimeEnvironment" SET "apiKey" = $2 WHERE id = $1', federation.tenant.environment_id, key
            )
            federation.tenant.api_key = key
            assert (await ending)["code"] == "UNAUTHENTICATED"


async def test_a_stream_ends_when_its_member_has_left(
    federation: FederationUnderTest, quick_checks: Authenticator
) -> None:
    user, token = await federation.member()
    run, batch, waitpoint = await federation.run(NEW), await federation.batch(NEW), await federation.waitpoint(NEW)
    env = f"env_{federation.tenant.environment_id}"
    of_environment = "subscription($id: ID!) { runsUpdated(environmentId: $id) { id } }"
    streams = {
        RUN: (f"run_{run}", "run"),
        BATCH: (f"batch_{batch}", "batch"),
        TOKEN: (f"waitpoint_{waitpoint}", "waitpoint"),
        BULK: (f"bulk_{await _bulk(federation, federation.tenant)}", "bulk action"),
        of_environment: (env, "environment"),
    }
    tasks = {}
    for document, (id_, what) in streams.items():
        context = subscribed(federation, document, token, quick_checks, id=id_)
        tasks[what] = asyncio.create_task(_broken(context))
    await until(lambda: sum(len(one._topics) for one in federation.federation.live.watchers.values()) >= 8)  # noqa: SLF001
    await federation.connections[CONTROL_PLANE].execute('DELETE FROM "OrgMember" WHERE "userId" = $1', user)
    for what, task in tasks.items():
        assert await task == {"message": f"{what} not found", "code": "NOT_FOUND"}


async def _broken(context: Any) -> dict[str, Any]:
    async with context as stream:
        return dict(await stream.broken())


async def test_a_control_plane_that_is_away_for_a_moment_ends_no_stream(
    federation: FederationUnderTest, quick_checks: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await federation.run(NEW)
    async with subscribed(federation, RUN, authenticator=quick_checks, id=f"run_{run}") as stream:
        await stream.next()
        breaker = federation.federation.control_plane.primary.breaker
        monkeypatch.setattr(breaker, "admits", lambda: False)
        for status in ("DEQUEUED", "EXECUTING"):
            await set_status(federation, NEW, run, status)
            await stream.until(status={"DEQUEUED": "DEQUEUED", "EXECUTING": "EXECUTING"}[status])
        monkeypatch.setattr(auth, "TRUSTED", 0.0)
        assert (await stream.broken())["code"] == "SHARD_UNAVAILABLE"


async def test_a_shard_that_is_down_is_named_and_its_absence_is_no_answer(
    federation: FederationUnderTest, down: Cluster
) -> None:
    there, here = await federation.run(NEW, **today()), await federation.run(LEGACY, **today())
    token = await federation.waitpoint(LEGACY)
    await asyncio.to_thread(down.kill)
    for document, id_ in (
        (RUN, f"run_{there}"),
        (BATCH, f"batch_{ids.mint_v1()}"),
        (TOKEN, f"waitpoint_{ids.mint_cuid()}"),
    ):
        async with subscribed(federation, document, id=id_) as stream:
            error = await stream.broken()
        assert error == {
            "message": "shard 'new' is unavailable",
            "code": "SHARD_UNAVAILABLE",
            "shard": "new",
            "retryable": True,
        }
    async with subscribed(federation, TOKEN, id=f"waitpoint_{token}") as stream:
        assert (await stream.next())["status"] == "WAITING"
    async with subscribed(federation, RUNS) as stream:
        assert (await stream.next())["id"] == f"run_{here}"
        assert stream.extensions == {"degradedShards": ["new"]}
        await asyncio.to_thread(down.start)
        await stream.until(id=f"run_{there}")
        assert stream.extensions == {}


@pytest.mark.parametrize("number", [1, 10, 60])
async def test_events_of_one_moment_cost_as_many_statements_as_one_event(
    federation: FederationUnderTest, number: int
) -> None:
    for shard in (LEGACY, NEW):
        batches = [await federation.batch(shard) for _ in range(number)]
        for batch in batches:
            await federation.run(shard, **today(runTags=["n"], batchId=batch, metadata='{"a": 1}'))
    with federation.listening():
        async with subscribed(federation, RUNS, tags=["n"]) as stream:
            seen = [await stream.next() for _ in range(2 * number)]
    assert all(one["metadata"] == {"a": 1} and one["batch"] for one in seen)
    # Both shards' rows may come together or apart, and hundred events at a time are loaded as one.
    assert max(federation.queries[LEGACY], federation.queries[NEW]) <= 3 * 2


async def test_a_field_that_fails_is_null_and_the_stream_goes_on(
    federation: FederationUnderTest, down: Cluster
) -> None:
    batch = await federation.batch(NEW)
    run = await federation.run(LEGACY, batchId=batch)
    document = "subscription($id: ID!) { runUpdated(id: $id) { status batch { id } } }"
    async with subscribed(federation, document, id=f"run_{run}") as stream:
        await asyncio.to_thread(down.kill)
        await set_status(federation, LEGACY, run, "EXECUTING")
        async with asyncio.timeout(PATIENCE):
            async for result in stream._results:  # noqa: SLF001
                if result.data["runUpdated"]["status"] == "EXECUTING":
                    break
        assert result.data == {"runUpdated": {"status": "EXECUTING", "batch": None}}
        (error,) = result.errors
        assert (error.path, error.extensions["shard"]) == (["runUpdated", "batch"], "new")
        await asyncio.to_thread(down.start)
        await set_status(federation, LEGACY, run, "COMPLETED_SUCCESSFULLY")
        assert (await stream.end())[-1] == {"status": "COMPLETED", "batch": {"id": f"batch_{batch}"}}


async def test_a_stream_that_is_left_is_watched_no_longer(federation: FederationUnderTest) -> None:
    watchers = federation.federation.live.watchers.values()
    run = await federation.run(NEW)
    async with subscribed(federation, RUN, id=f"run_{run}") as stream:
        await stream.next()
        assert any(one.is_at_work for one in watchers)
    await until(lambda: not any(one.is_at_work for one in watchers))


async def test_a_stream_keeps_nothing_of_the_events_that_it_told(federation: FederationUnderTest) -> None:
    run = await federation.run(NEW, status="CANCELED")
    keep = RUN.replace("(id: $id)", "(id: $id, closeOnComplete: false)")
    kept = []
    async with subscribed(federation, keep, id=f"run_{run}") as stream:
        for tag in ("1", "2", "3", "4", "5"):
            await stream.next()
            await federation.connections[NEW].execute('UPDATE "TaskRun" SET "runTags" = $2 WHERE id = $1', run, [tag])
            await stream.until(tags=[tag])
            gc.collect()
            kept.append(Counter(type(one).__name__ for one in gc.get_objects())["FieldDetails"])
            await federation.connections[NEW].execute('UPDATE "TaskRun" SET metadata = $2 WHERE id = $1', run, tag)

    assert len(set(kept[1:])) == 1, kept


async def test_much_to_tell_leaves_others_their_turn(federation: FederationUnderTest) -> None:
    for _ in range(150):
        await federation.run(NEW, **today(runTags=["much"]))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with subscribed(federation, 'subscription { runsUpdated(tags: ["much"]) { id } }') as stream:
        await stream.next()
        task = asyncio.create_task(other())
        for _ in range(149):
            await stream.next()
        task.cancel()
    assert turns >= 140


async def test_many_streams_that_are_told_much_have_their_turns(
    federation: FederationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What begins in one turn of the loop is what one stream was told at once, however many were told."""
    first = await federation.run(NEW, **today(runTags=["many"]))
    await _copies(federation, first, 59)
    begun = 0
    in_a_turn: list[int] = []
    real = streams._begun  # noqa: SLF001

    def counted(result: Any) -> Any:
        nonlocal begun
        begun += 1
        return real(result)

    async def other() -> None:
        nonlocal begun
        while True:
            in_a_turn.append(begun)
            begun = 0
            await asyncio.sleep(0)

    async def read(_: int) -> None:
        async with subscribed(federation, RUNS, tags=["many"]) as stream:
            for _ in range(60):
                await stream.next()

    monkeypatch.setattr(streams, "_begun", counted)
    counting = asyncio.create_task(other())
    await asyncio.gather(*map(read, range(20)))
    counting.cancel()

    assert sum(in_a_turn) >= 20 * 60
    assert max(in_a_turn) <= live.MOST_AT_ONCE


async def test_what_breaks_a_stream_is_masked_and_logged(
    federation: FederationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await federation.run(NEW)
    async with subscribed(federation, RUN, id=f"run_{run}") as stream:
        await stream.next()

        def bad(*_: object) -> Any:
            raise RuntimeError("a secret")

        monkeypatch.setattr("resolvers.live.required", bad)
        await set_status(federation, NEW, run, "EXECUTING")
        with capture_logs() as logs:
            error = await stream.broken()
    assert error["code"] == "INTERNAL"
    assert error["errorId"] in {entry.get("error_id") for entry in logs}
    assert "secret" not in error["message"]


async def test_what_is_wrong_with_a_document_is_told_before_anything_is_watched(
    federation: FederationUnderTest,
) -> None:
    for document in (
        "subscription { runUpdated }",
        "subscription { nothing }",
        'subscription { a: runUpdated(id: "x") { id } b: runUpdated(id: "x") { id } }',
        "subscription { " + "a" * 5000 + "}",
        "subscription {",
    ):
        async with subscribed(federation, document) as stream:
            result = await anext(stream._results)  # noqa: SLF001
            assert isinstance(result, PreExecutionError)
            assert result.errors
            assert {error.extensions["code"] for error in result.errors if error.extensions} == {"BAD_USER_INPUT"}
