"""Mutations: each writes where it belongs, answers with what it wrote, and says in one typed sentence why not."""

import asyncio
from typing import Any

import pytest

from store import ids
from store.residency import LEGACY, NEW, ShardKey
from tests.conftest import over_shards
from tests.federation import FederationUnderTest, public_token

ERRORS = "userErrors { __typename code message path ... on InvalidRunStateError { status } }"
TRIGGER = f"""mutation ($input: TriggerRunInput!) {{ triggerRun(input: $input) {{
  isCached run {{ id status tags payload {{ json contentType }} parentRun {{ id }} rootRun {{ id }} depth traceId }}
  {ERRORS} }} }}"""
CREATE = f"""mutation ($input: CreateWaitpointTokenInput!) {{ createWaitpointToken(input: $input) {{
  isCached publicAccessToken waitpoint {{ id callbackUrl status timeoutAt tags idempotencyKey }} {ERRORS} }} }}"""
COMPLETE = f"""mutation ($input: CompleteWaitpointTokenInput!) {{ completeWaitpointToken(input: $input) {{
  alreadyCompleted waitpoint {{ id status completedAt outputIsError output {{ json contentType text }}
    connectedRuns {{ nodes {{ id status blockedBy {{ waitpoint {{ id }} }} }} }} }} {ERRORS} }} }}"""
WAIT = f"""mutation ($input: WaitForWaitpointTokenInput!) {{ waitForWaitpointToken(input: $input) {{
  waitpoint {{ id status blockedRuns {{ nodes {{ id status }} }} }} {ERRORS} }} }}"""
CANCEL = (
    f"mutation ($input: CancelRunInput!) {{ cancelRun(input: $input) {{ run {{ id status completedAt }} {ERRORS} }} }}"
)


async def do(federation: FederationUnderTest, query: str, **given: Any) -> Any:
    """Return the payload of a mutation that is not refused."""
    (payload,) = (await federation.ask(query, input=given)).values()
    assert payload["userErrors"] == []
    return payload


async def refused(federation: FederationUnderTest, query: str, **given: Any) -> Any:
    """Return the one user error of a mutation."""
    (payload,) = (await federation.ask(query, input=given)).values()
    (error,) = payload["userErrors"]
    return error


async def trigger(federation: FederationUnderTest, **given: Any) -> Any:
    return (await do(federation, TRIGGER, task="hello", **given))["run"]


async def holders(federation: FederationUnderTest, table: str, id_: str) -> list[ShardKey]:
    """Return the shards that have a row."""
    query = f'SELECT count(*) FROM "{table}" WHERE "friendlyId" = $1'  # noqa: S608  a table's name
    return [key for key in federation.shards if await federation.connections[key].fetchval(query, id_)]


@over_shards(1, 2, 3)
async def test_a_root_is_made_where_roots_are_made_and_a_child_with_its_parent(federation: FederationUnderTest) -> None:
    root = await trigger(federation, payload={"a": [1, None]}, tags=["b", "a", "b", " "])

    assert root["status"] == "QUEUED"
    assert root["tags"] == ["a", "b"]
    assert root["payload"] == {"json": {"a": [1, None]}, "contentType": "application/super+json"}
    assert await holders(federation, "TaskRun", root["id"]) == [LEGACY]
    for shard in federation.shards:
        parent = await federation.run(shard, status="EXECUTING")
        child = await trigger(federation, parentRunId=f"run_{parent}")
        grandchild = await trigger(federation, parentRunId=child["id"])
        assert child["parentRun"] == child["rootRun"] == grandchild["rootRun"] == {"id": f"run_{parent}"}
        assert (child["depth"], grandchild["depth"]) == (1, 2)
        assert child["traceId"] == grandchild["traceId"]
        for run in (child, grandchild):
            assert await holders(federation, "TaskRun", run["id"]) == [shard]


@over_shards(2, 3)
async def test_a_token_completed_on_one_shard_wakes_its_runs_on_all(federation: FederationUnderTest) -> None:
    for shard in federation.shards:
        token = f"waitpoint_{await federation.waitpoint(shard)}"
        runs = [f"run_{await federation.run(key, status='EXECUTING')}" for key in federation.shards]
        for run in runs:
            waited = await do(federation, WAIT, runId=run, waitpointId=token)
            assert run in [node["id"] for node in waited["waitpoint"]["blockedRuns"]["nodes"]]

        completed = await do(federation, COMPLETE, id=token, data={"ok": True})

        assert completed["alreadyCompleted"] is False
        waitpoint = completed["waitpoint"]
        assert waitpoint["status"] == "COMPLETED"
        assert waitpoint["output"] == {"json": {"ok": True}, "contentType": "application/super+json", "text": None}
        nodes = waitpoint["connectedRuns"]["nodes"]
        assert {node["id"] for node in nodes} == set(runs)
        assert all(node["status"] == "EXECUTING" and node["blockedBy"] == [] for node in nodes)
        again = await do(federation, COMPLETE, id=token, data="late")
        assert again["alreadyCompleted"] is True
        assert again["waitpoint"]["output"]["json"] == {"ok": True}


async def test_a_run_that_has_not_begun_waits_and_is_queued_again(federation: FederationUnderTest) -> None:
    run = await trigger(federation)
    token = (await do(federation, CREATE))["waitpoint"]["id"]

    waited = await do(federation, WAIT, runId=run["id"], waitpointId=token)
    assert waited["waitpoint"]["blockedRuns"]["nodes"] == [{"id": run["id"], "status": "WAITING"}]

    completed = await do(federation, COMPLETE, id=token)
    assert completed["waitpoint"]["connectedRuns"]["nodes"] == [{"id": run["id"], "status": "QUEUED", "blockedBy": []}]


async def test_a_parent_waits_for_its_child_and_goes_on_when_that_ends(federation: FederationUnderTest) -> None:
    for shard in federation.shards:
        parent = f"run_{await federation.run(shard, status='EXECUTING')}"
        child = await trigger(federation, parentRunId=parent, resumeParentOnCompletion=True)
        query = """query ($id: ID!) { run(id: $id) { status snapshots { executionStatus completedWaitpoints {
          completedByRun { id } outputIsError } } blockedBy { waitpoint { type completedByRun { id } } } } }"""

        blocked = (await federation.ask(query, id=parent))["run"]
        assert blocked["blockedBy"] == [{"waitpoint": {"type": "RUN", "completedByRun": {"id": child["id"]}}}]
        assert blocked["snapshots"][0]["executionStatus"] == "EXECUTING_WITH_WAITPOINTS"

        canceled = (await do(federation, CANCEL, id=child["id"]))["run"]
        assert canceled["status"] == "CANCELED"
        assert canceled["completedAt"]
        after = (await federation.ask(query, id=parent))["run"]
        assert after["blockedBy"] == []
        assert after["snapshots"][0] == {
            "executionStatus": "EXECUTING",
            "completedWaitpoints": [{"completedByRun": {"id": child["id"]}, "outputIsError": True}],
        }


async def test_a_key_makes_one_run_wherever_its_parents_live(federation: FederationUnderTest) -> None:
    parents = [f"run_{await federation.run(shard, status='EXECUTING')}" for shard in federation.shards]
    key = ids.mint_cuid()

    made = [
        await do(federation, TRIGGER, task="once", idempotencyKey=key, idempotencyKeyScope="GLOBAL", parentRunId=parent)
        for parent in parents
    ]
    assert len({payload["run"]["id"] for payload in made}) == 1
    assert [payload["isCached"] for payload in made] == [False, True]
    own = [
        await do(federation, TRIGGER, task="once", idempotencyKey=key, idempotencyKeyScope="RUN", parentRunId=parent)
        for parent in parents
    ]
    assert len({payload["run"]["id"] for payload in own}) == 2, "each parent has its own"


async def test_a_token_is_created_once_under_its_key_and_says_how_it_is_completed(
    federation: FederationUnderTest,
) -> None:
    given = {"idempotencyKey": "order-1", "tags": ["b", "a"], "timeout": "1h", "idempotencyKeyTTL": "10m"}

    first = await do(federation, CREATE, **given)
    again = await do(federation, CREATE, **given)

    assert (first["isCached"], again["isCached"]) == (False, True)
    assert first["waitpoint"] == again["waitpoint"]
    assert first["waitpoint"]["tags"] == ["a", "b"]
    assert first["waitpoint"]["idempotencyKey"] == "order-1"
    headers = {"Authorization": f"Bearer {first['publicAccessToken']}"}
    body = await federation.answer(
        COMPLETE.replace("connectedRuns { nodes", "connectedRuns { nodes"),
        headers=headers,
        input={"id": first["waitpoint"]["id"], "data": 1},
    )
    assert body["data"]["completeWaitpointToken"]["waitpoint"]["output"]["json"] == 1
    other = (await do(federation, CREATE))["waitpoint"]["id"]
    body = await federation.answer(COMPLETE, headers=headers, input={"id": other})
    assert body["data"]["completeWaitpointToken"]["userErrors"][0]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_what_has_ended_is_left_as_it_is(federation: FederationUnderTest, shard: ShardKey) -> None:
    run = f"run_{await federation.run(shard, status='COMPLETED_SUCCESSFULLY')}"
    token = (await do(federation, CREATE))["waitpoint"]["id"]

    assert (await do(federation, CANCEL, id=run))["run"]["status"] == "COMPLETED"
    error = await refused(federation, WAIT, runId=run, waitpointId=token)
    assert error == {
        "__typename": "InvalidRunStateError",
        "code": "INVALID_STATE",
        "message": "a run that has ended cannot wait",
        "path": None,
        "status": "COMPLETED",
    }


BATCH = f"""mutation ($input: TriggerBatchInput!) {{ triggerBatch(input: $input) {{ isCached batch {{
  id status runCount sealed runs(first: 100) {{ nodes {{ id taskIdentifier batch {{ id }} parentRun {{ id }} }} }} }}
  {ERRORS} }} }}"""
REPLAY = f"""mutation ($input: ReplayRunInput!) {{ replayRun(input: $input) {{ run {{
  id status taskIdentifier tags isTest machine payload {{ json }} metadata idempotencyKey {{ key }}
  replayedFromRun {{ id }} queue {{ name concurrencyKey }} environment {{ slug }} usage {{ durationMs }} }}
  {ERRORS} }} }}"""
RESCHEDULE = f"""mutation ($input: RescheduleRunInput!) {{ rescheduleRun(input: $input) {{
  run {{ id status delayUntil snapshots {{ executionStatus description }} }} {ERRORS} }} }}"""
TAGS = f"mutation ($input: AddRunTagsInput!) {{ addRunTags(input: $input) {{ run {{ id tags }} {ERRORS} }} }}"
METADATA = f"""mutation ($input: UpdateRunMetadataInput!) {{ updateRunMetadata(input: $input) {{
  run {{ id metadata parentRun {{ metadata }} rootRun {{ metadata }} }} {ERRORS} }} }}"""
RESET = (
    f"mutation ($input: ResetIdempotencyKeyInput!) {{ resetIdempotencyKey(input: $input) {{ key count {ERRORS} }} }}"
)
SKIP = f"""mutation ($input: SkipDateTimeWaitpointInput!) {{ skipDateTimeWaitpoint(input: $input) {{
  waitpoint {{ id type status output {{ json }} connectedRuns {{ nodes {{ id status }} }} }} {ERRORS} }} }}"""
UNTIL = f"""mutation ($input: WaitForDurationInput!) {{ waitForDuration(input: $input) {{
  waitpoint {{ id type status timeoutAt blockedRuns {{ nodes {{ id }} }} }} {ERRORS} }} }}"""
BULK = f"""mutation ($input: CreateBulkActionInput!) {{ createBulkAction(input: $input) {{
  bulkAction {{ id name type status totalCount filter environment {{ bulkActions {{ nodes {{ id }} }} }} }}
  {ERRORS} }} }}"""
ABORT = f"""mutation ($input: AbortBulkActionInput!) {{ abortBulkAction(input: $input) {{
  bulkAction {{ id status completedAt }} {ERRORS} }} }}"""


AFTER = """query ($id: ID!, $b: ID!) { batch(id: $b) { status hasFinished } run(id: $id) { status
  blockedBy { batchIndex } snapshots(first: 1) { executionStatus completedWaitpoints { type } } } }"""


@over_shards(1, 2, 3)
async def test_a_batch_and_its_runs_live_together_and_with_their_parent(federation: FederationUnderTest) -> None:
    for shard in federation.shards:
        parent = f"run_{await federation.run(shard, status='EXECUTING')}"
        items = [{"task": "a"}, {"task": "b", "payload": [1]}, {"task": "a"}]

        batch = (await do(federation, BATCH, items=items, parentRunId=parent, resumeParentOnCompletion=True))["batch"]

        assert (batch["status"], batch["runCount"], batch["sealed"]) == ("PENDING", 3, True)
        nodes = batch["runs"]["nodes"]
        assert sorted(node["taskIdentifier"] for node in nodes) == ["a", "a", "b"]
        assert all(node["batch"] == {"id": batch["id"]} and node["parentRun"] == {"id": parent} for node in nodes)
        assert await holders(federation, "BatchTaskRun", batch["id"]) == [shard]
        for node in nodes:
            assert await holders(federation, "TaskRun", node["id"]) == [shard]

        blocked = "query ($id: ID!) { run(id: $id) { status blockedBy { batchIndex waitpoint { type } } } }"
        edges = (await federation.ask(blocked, id=parent))["run"]["blockedBy"]
        assert sorted(
            (edge["waitpoint"]["type"], edge["batchIndex"]) for edge in edges if edge["batchIndex"] is not None
        ) == [
            ("RUN", 0),
            ("RUN", 1),
            ("RUN", 2),
        ]
        assert [edge["waitpoint"]["type"] for edge in edges if edge["batchIndex"] is None] == ["BATCH"]
        for node in nodes:
            await do(federation, CANCEL, id=node["id"])
        after = await federation.ask(AFTER, id=parent, b=batch["id"])
        assert after["batch"] == {"status": "COMPLETED", "hasFinished": True}
        assert after["run"]["blockedBy"] == []
        (step,) = after["run"]["snapshots"]
        assert step["executionStatus"] == "EXECUTING"
        assert sorted(one["type"] for one in step["completedWaitpoints"]) == ["BATCH", "RUN", "RUN", "RUN"]


async def test_an_item_that_exists_on_another_shard_is_a_member_and_is_waited_for(
    federation: FederationUnderTest,
) -> None:
    key = ids.mint_cuid()
    far = await trigger(federation, idempotencyKey=key)
    parent = f"run_{await federation.run(NEW, status='EXECUTING')}"
    items = [{"task": "hello", "idempotencyKey": key}, {"task": "own"}, {"task": "hello", "idempotencyKey": key}]

    batch = (await do(federation, BATCH, items=items, parentRunId=parent, resumeParentOnCompletion=True))["batch"]

    nodes = {node["id"]: node for node in batch["runs"]["nodes"]}
    assert far["id"] in nodes
    (own,) = [id_ for id_ in nodes if id_ != far["id"]]
    assert await holders(federation, "TaskRun", own) == [NEW]
    assert await holders(federation, "TaskRun", far["id"]) == [LEGACY]
    await do(federation, CANCEL, id=own)
    status = "query ($id: ID!, $b: ID!) { run(id: $id) { blockedBy { batchIndex } } batch(id: $b) { status } }"
    waiting = await federation.ask(status, id=parent, b=batch["id"])
    assert waiting["batch"]["status"] == "PENDING"
    assert waiting["run"]["blockedBy"]
    await do(federation, CANCEL, id=far["id"])
    assert federation.federation.writing is not None
    await federation.federation.writing.seam.finish_batches(
        federation.federation.router.shards[NEW], [ids.body(batch["id"])]
    )
    assert (await federation.ask(status, id=parent, b=batch["id"])) == {
        "run": {"blockedBy": []},
        "batch": {"status": "COMPLETED"},
    }


async def test_a_batch_is_made_once_under_its_key(federation: FederationUnderTest) -> None:
    key = ids.mint_cuid()
    first = await do(federation, BATCH, items=[{"task": "a"}], idempotencyKey=key)
    again = await do(federation, BATCH, items=[{"task": "a"}, {"task": "b"}], idempotencyKey=key)
    assert (first["isCached"], again["isCached"]) == (False, True)
    assert first["batch"] == again["batch"]


@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_a_replay_is_a_new_root_with_what_the_run_was_given(
    federation: FederationUnderTest, shard: ShardKey
) -> None:
    source = await federation.run(
        shard,
        status="COMPLETED_WITH_ERRORS",
        payload='{"json":{"n":1}}',
        payloadType="application/super+json",
        seedMetadata='{"a":1}',
        metadata='{"a":2}',
        runTags=["b", "a"],
        isTest=True,
        machinePreset="large-1x",
        concurrencyKey="c",
        queue="gone",
        idempotencyKey="k",
        usageDurationMs=5,
    )
    run = (await do(federation, REPLAY, id=f"run_{source}"))["run"]
    assert run.pop("id") != f"run_{source}"
    assert run == {
        "status": "QUEUED",
        "taskIdentifier": "hello",
        "tags": ["a", "b"],
        "isTest": True,
        "machine": "LARGE_1X",
        "payload": {"json": {"n": 1}},
        "metadata": {"a": 1},
        "idempotencyKey": None,
        "replayedFromRun": {"id": f"run_{source}"},
        "queue": {"name": "task/hello", "concurrencyKey": "c"},
        "environment": {"slug": "prod"},
        "usage": {"durationMs": 0},
    }
    other = (await do(federation, REPLAY, id=f"run_{source}", payload=None, tags=[], machine="MICRO", delaySeconds=60))[
        "run"
    ]
    assert (other["payload"]["json"], other["tags"], other["machine"]) == (None, [], "MICRO")
    assert other["status"] == "DELAYED"


async def test_a_delayed_run_is_rescheduled_and_no_other(federation: FederationUnderTest) -> None:
    run = await trigger(federation, delay="1h")
    assert run["status"] == "DELAYED"
    moved = (await do(federation, RESCHEDULE, id=run["id"], delay="2030-01-01T00:00:00Z"))["run"]
    assert moved["delayUntil"] == "2030-01-01T00:00:00.000Z"
    assert [step["executionStatus"] for step in moved["snapshots"]] == ["DELAYED", "DELAYED"]
    other = await trigger(federation)
    error = await refused(federation, RESCHEDULE, id=other["id"], delay="1h")
    assert (error["message"], error["status"]) == ("Cannot reschedule a run that is not delayed", "QUEUED")
    error = await refused(federation, RESCHEDULE, id=run["id"], delay="soon")
    assert (error["code"], error["message"], error["path"]) == (
        "INVALID_INPUT",
        "Invalid delay: soon",
        ["input", "delay"],
    )


@over_shards(2)
async def test_tags_are_added_up_to_ten_and_lost_by_nobody(federation: FederationUnderTest) -> None:

    for shard in federation.shards:
        run = f"run_{await federation.run(shard, runTags=None)}"
        await asyncio.gather(*(do(federation, TAGS, id=run, tags=[f"t{number}", "t0"]) for number in range(9)))
        tags = (await federation.ask("query ($id: ID!) { run(id: $id) { tags } }", id=run))["run"]["tags"]
        assert tags == [f"t{number}" for number in range(9)]
        error = await refused(federation, TAGS, id=run, tags=["a", "b"])
        assert error["message"] == (
            "Runs can only have 10 tags, you're trying to set 11. These tags have not been set: 'a', 'b'."
        )
        assert (await do(federation, TAGS, id=run, tags=["a", " ", "t1"]))["run"]["tags"] == sorted([*tags, "a"])


@over_shards(2)
async def test_metadata_is_written_in_a_tree_and_no_increment_is_lost(federation: FederationUnderTest) -> None:

    for shard in federation.shards:
        root = await federation.run(shard, metadata='{"n":0}')
        parent = await federation.run(shard, parentTaskRunId=root, rootTaskRunId=root)
        child = await federation.run(shard, parentTaskRunId=parent, rootTaskRunId=root)
        one = {"type": "increment", "key": "n", "value": 1}
        given = {"id": f"run_{child}", "operations": [one], "parentOperations": [one], "rootOperations": [one]}
        await asyncio.gather(*(do(federation, METADATA, **given) for _ in range(20)))
        appended = {"type": "append", "key": "$.log.steps", "value": {"at": 1}}
        run = (await do(federation, METADATA, id=f"run_{child}", metadata={"m": 1}, operations=[appended]))["run"]
        assert run["metadata"] == {"m": 1, "log": {"steps": [{"at": 1}]}}
        assert run["parentRun"]["metadata"] == run["rootRun"]["metadata"] == {"n": 20}
        version = await federation.connections[shard].fetchval(
            'SELECT "metadataVersion" FROM "TaskRun" WHERE id = $1', child
        )
        assert version == 22
        error = await refused(federation, METADATA, id=f"run_{child}", metadata={"m": "x" * 262_144})
        assert (error["code"], error["message"]) == (
            "PAYLOAD_TOO_LARGE",
            "Metadata exceeds maximum size of 262144 bytes",
        )


async def test_a_key_is_reset_on_every_shard(federation: FederationUnderTest) -> None:
    runs = [await federation.run(shard, idempotencyKey="k", taskIdentifier="t") for shard in federation.shards]
    assert await do(federation, RESET, taskIdentifier="t", key="k") == {"key": "k", "count": 2, "userErrors": []}
    error = await refused(federation, RESET, taskIdentifier="t", key="k")
    assert error["message"] == "No runs found with idempotency key: k and task: t"
    error = await refused(federation, RESET, runId=f"run_{runs[0]}")
    assert error["message"] == "This run does not have an idempotency key"
    made = await trigger(federation, idempotencyKey="mine", idempotencyKeyScope="GLOBAL")
    assert (await do(federation, RESET, taskIdentifier="hello", key="mine"))["count"] == 1
    again = await do(federation, TRIGGER, task="hello", idempotencyKey="mine", idempotencyKeyScope="GLOBAL")
    assert again["isCached"] is False
    assert again["run"]["id"] != made["id"]
    assert await do(federation, RESET, runId=again["run"]["id"]) == {"key": "mine", "count": 1, "userErrors": []}


@over_shards(2)
async def test_a_time_is_waited_for_where_the_run_is_and_can_be_skipped(federation: FederationUnderTest) -> None:
    for shard in federation.shards:
        run = f"run_{await federation.run(shard, status='EXECUTING')}"
        given = {"runId": run, "date": "2090-01-01T00:00:00Z", "idempotencyKey": ids.mint_cuid()}

        waiting = (await do(federation, UNTIL, **given))["waitpoint"]
        assert (await do(federation, UNTIL, **given))["waitpoint"] == waiting, "its key finds it"

        assert (waiting["type"], waiting["status"]) == ("DATETIME", "WAITING")
        assert waiting["timeoutAt"] == "2090-01-01T00:00:00.000Z"
        assert waiting["blockedRuns"]["nodes"] == [{"id": run}]
        assert await holders(federation, "Waitpoint", waiting["id"]) == [shard]
        error = await refused(federation, COMPLETE, id=waiting["id"])
        assert error["message"] == "a time completes this waitpoint: skip it instead"
        skipped = (await do(federation, SKIP, id=waiting["id"]))["waitpoint"]
        assert skipped["status"] == "COMPLETED"
        assert skipped["output"] is None
        assert skipped["connectedRuns"]["nodes"] == [{"id": run, "status": "EXECUTING"}]
        past = (await do(federation, UNTIL, runId=run, date="2020-01-01T00:00:00Z"))["waitpoint"]
        assert (past["status"], past["blockedRuns"]["nodes"]) == ("COMPLETED", [])


async def test_a_bulk_action_is_created_carried_on_and_stopped(federation: FederationUnderTest) -> None:
    runs = [f"run_{await federation.run(shard, taskIdentifier='bulky')}" for shard in federation.shards]

    created = (await do(federation, BULK, action="CANCEL", name="spring", filter={"taskIdentifier": ["bulky"]}))[
        "bulkAction"
    ]
    assert (created["name"], created["type"], created["status"]) == ("spring", "CANCEL", "PENDING")
    assert (created["totalCount"], created["filter"]) == (2, {"taskIdentifier": ["bulky"]})
    assert created["environment"]["bulkActions"]["nodes"] == [{"id": created["id"]}]
    aborted = (await do(federation, ABORT, id=created["id"]))["bulkAction"]
    assert aborted["status"] == "ABORTED"
    assert aborted["completedAt"]
    error = await refused(federation, ABORT, id=created["id"])
    assert error["code"] == "INVALID_STATE"
    named = (await do(federation, BULK, action="REPLAY", runIds=runs))["bulkAction"]
    assert (named["totalCount"], named["filter"]) == (2, {"runIds": runs})
    unclear: list[dict[str, Any]] = [{}, {"filter": {}}, {"filter": {"isTest": True}, "runIds": runs}, {"runIds": []}]
    for given in unclear:
        assert (await refused(federation, BULK, action="CANCEL", **given))["code"] == "INVALID_INPUT"
    await do(federation, ABORT, id=named["id"])


MANY = 100
BARELY = """mutation ($input: CompleteWaitpointTokenInput!) {
  completeWaitpointToken(input: $input) { userErrors { code } } }"""


async def test_completing_a_token_that_blocks_many_runs_costs_as_many_statements_as_for_one(
    federation: FederationUnderTest,
) -> None:
    """What it costs depends on the shards, not on the runs."""
    counts = []
    await trigger(federation)  # who asks is known from then on
    for many in (1, 1, MANY // 2):
        token = await federation.waitpoint(LEGACY)
        for shard in federation.shards:
            for _ in range(many):
                run = await federation.run(shard, status="EXECUTING")
                await federation.block(shard, run, token)
        await do(federation, BARELY, id=f"waitpoint_{token}", data=1)
        counts.append(dict(federation.queries))
        for shard in federation.shards:
            assert not await federation.connections[shard].fetchval(
                'SELECT count(*) FROM "TaskRunWaitpoint" WHERE "waitpointId" = $1', token
            )
    assert counts[1] == counts[2], "the first one learns of the environment"


async def test_a_key_of_one_kind_of_waitpoint_is_not_free_for_another(federation: FederationUnderTest) -> None:
    key = ids.mint_cuid()
    run = f"run_{await federation.run(LEGACY, status='EXECUTING')}"
    until = {"runId": run, "date": "2090-01-01T00:00:00Z", "idempotencyKey": key}
    await do(federation, UNTIL, **until)
    error = await refused(federation, CREATE, idempotencyKey=key)
    assert (error["code"], error["message"]) == (
        "CONFLICT",
        "the idempotencyKey belongs to a waitpoint of another kind",
    )
    await do(federation, CREATE, idempotencyKey=f"{key}-token")
    error = await refused(federation, UNTIL, **until | {"idempotencyKey": f"{key}-token"})
    assert error["code"] == "CONFLICT"


async def test_a_run_of_the_retired_engine_is_read_only(federation: FederationUnderTest) -> None:
    for status, refusals in (("EXECUTING", 1), ("COMPLETED_SUCCESSFULLY", 0)):
        run = f"run_{await federation.run(LEGACY, engine='V1', status=status)}"
        (payload,) = (await federation.ask(CANCEL, input={"id": run})).values()
        assert len(payload["userErrors"]) == refusals
        for query, given in ((TAGS, {"tags": ["a"]}), (METADATA, {"metadata": {}}), (REPLAY, {})):
            error = await refused(federation, query, id=run, **given)
            assert error["message"] == "a run of the retired engine is read only"


async def test_a_credential_that_triggers_once_does_nothing_else_and_is_spent_by_a_batch_of_runs_that_are_there(
    federation: FederationUnderTest,
) -> None:
    run = await trigger(federation, idempotencyKey="there")
    token = public_token(federation.tenant, "write:all", otu=True)
    for query, given in ((REPLAY, {"id": run["id"]}), (CANCEL, {"id": run["id"]}), (CREATE, {})):
        body = await federation.answer(query, key=token, input=given)
        (payload,) = body["data"].values()
        assert [error["code"] for error in payload["userErrors"]] == ["FORBIDDEN"]
    items = {"items": [{"task": "hello", "idempotencyKey": "there"}]}
    codes = []
    for _ in range(2):
        body = await federation.answer(BATCH.replace("runs(first: 100)", "runs"), key=token, input=items)
        codes.append([error["code"] for error in body["data"]["triggerBatch"]["userErrors"]])
    assert codes == [[], ["CONFLICT"]]


async def test_a_filter_that_narrows_nothing_is_none(federation: FederationUnderTest) -> None:
    wide: list[dict[str, Any]] = [{"rootOnly": False}, {"createdAt": {}}]
    for narrowing in wide:
        error = await refused(federation, BULK, action="CANCEL", filter=narrowing)
        assert error["message"] == "a filter must narrow: give at least one of its fields"
