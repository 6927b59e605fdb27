"""Mutations: each writes where it belongs, answers with what it wrote, and says in one typed sentence why not."""

from typing import Any

import pytest

from store import ids
from store.residency import LEGACY, NEW, ShardKey
from tests.conftest import over_shards
from tests.federation import FederationUnderTest

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
