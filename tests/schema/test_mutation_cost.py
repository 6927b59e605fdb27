"""What mutations cost: statements by database, whatever they carry; transactions are begun and ended besides."""

from typing import Any

from store import ids
from store.residency import LEGACY, NEW
from tests.federation import FederationUnderTest

CONTROL_PLANE = "control plane"


async def cost(federation: FederationUnderTest, name: str, **given: Any) -> dict[str, int]:
    """Return how many statements a mutation takes on each database."""
    given_type = f"{name[0].upper()}{name[1:]}Input"
    query = f"mutation ($input: {given_type}!) {{ {name}(input: $input) {{ userErrors {{ message }} }} }}"
    assert (await federation.ask(query, input=given))[name] == {"userErrors": []}
    return dict(federation.queries)


COSTS = {
    "a root": {LEGACY: 2},
    "a child": {NEW: 3},
    "a child that is waited for": {NEW: 9},
    "a root with a key": {CONTROL_PLANE: 3, LEGACY: 4, NEW: 2},
    "a root that its key finds": {LEGACY: 1, NEW: 1},
    "a batch of 1": {LEGACY: 3},
    "a batch of 200": {LEGACY: 3},
    "a batch of 200 that is waited for": {NEW: 9},
    "a token": {LEGACY: 2},
    "a token with a key": {CONTROL_PLANE: 3, LEGACY: 2, NEW: 1},
    "to wait for a token of the same shard": {CONTROL_PLANE: 1, LEGACY: 2, NEW: 7},
    "to wait for a token of another": {LEGACY: 2, NEW: 7},
    "to complete a token that blocks nothing else": {LEGACY: 3, NEW: 6},
    "to complete it again": {LEGACY: 3, NEW: 5},
    "to skip a time": {LEGACY: 2, NEW: 3},
    "to wait for a time": {NEW: 7},
    "tags": {NEW: 3},
    "metadata": {NEW: 3},
    "metadata of a tree": {NEW: 4},
    "to reschedule": {LEGACY: 5},
    "to reset a run's key": {NEW: 2},
    "to reset a task's key": {CONTROL_PLANE: 2, LEGACY: 1, NEW: 1},
    "to cancel": {NEW: 7},
    "to replay": {LEGACY: 2, NEW: 2},
    "a bulk action": {CONTROL_PLANE: 1},
}
"""Statements of each, with who asks and where it is being known."""


async def test_a_mutation_takes_so_many_statements_and_no_more(federation: FederationUnderTest) -> None:
    parent = f"run_{await federation.run(NEW, status='EXECUTING')}"
    await cost(federation, "addRunTags", id=parent, tags=["known"])  # who asks is known from then on
    token, far = await federation.waitpoint(NEW), await federation.waitpoint(LEGACY)
    time = await federation.waitpoint(NEW, type="DATETIME")
    delayed = await federation.run(LEGACY, status="DELAYED")
    child = await federation.run(NEW, parentTaskRunId=parent[4:], rootTaskRunId=parent[4:], idempotencyKey="mine")
    key = ids.mint_cuid()

    costs = {
        "a root": await cost(federation, "triggerRun", task="t"),
        "a child": await cost(federation, "triggerRun", task="t", parentRunId=parent),
        "a child that is waited for": await cost(
            federation, "triggerRun", task="t", parentRunId=parent, resumeParentOnCompletion=True
        ),
        "a root with a key": await cost(federation, "triggerRun", task="t", idempotencyKey=key),
        "a root that its key finds": await cost(federation, "triggerRun", task="t", idempotencyKey=key),
        "a batch of 1": await cost(federation, "triggerBatch", items=[{"task": "t"}]),
        "a batch of 200": await cost(federation, "triggerBatch", items=[{"task": "t"}] * 200),
        "a batch of 200 that is waited for": await cost(
            federation,
            "triggerBatch",
            items=[{"task": "t"}] * 200,
            parentRunId=parent,
            resumeParentOnCompletion=True,
        ),
        "a token": await cost(federation, "createWaitpointToken", tags=["a", "b"]),
        "a token with a key": await cost(federation, "createWaitpointToken", idempotencyKey=key),
        "to wait for a token of the same shard": await cost(
            federation, "waitForWaitpointToken", runId=parent, waitpointId=f"waitpoint_{token}"
        ),
        "to wait for a token of another": await cost(
            federation, "waitForWaitpointToken", runId=parent, waitpointId=f"waitpoint_{far}"
        ),
        "to complete a token that blocks nothing else": await cost(
            federation, "completeWaitpointToken", id=f"waitpoint_{token}", data=1
        ),
        "to complete it again": await cost(federation, "completeWaitpointToken", id=f"waitpoint_{token}", data=2),
        "to skip a time": await cost(federation, "skipDateTimeWaitpoint", id=f"waitpoint_{time}"),
        "to wait for a time": await cost(
            federation, "waitForDuration", runId=parent, date="2090-01-01T00:00:00Z", idempotencyKey=key
        ),
        "tags": await cost(federation, "addRunTags", id=parent, tags=["a", "b"]),
        "metadata": await cost(federation, "updateRunMetadata", id=parent, metadata={"a": 1}),
        "metadata of a tree": await cost(
            federation,
            "updateRunMetadata",
            id=f"run_{child}",
            metadata={"a": 1},
            parentOperations=[{"type": "set", "key": "a", "value": 1}],
        ),
        "to reschedule": await cost(federation, "rescheduleRun", id=f"run_{delayed}", delay="1h"),
        "to reset a run's key": await cost(federation, "resetIdempotencyKey", runId=f"run_{child}"),
        "to reset a task's key": await cost(federation, "resetIdempotencyKey", taskIdentifier="t", key=key),
        "to cancel": await cost(federation, "cancelRun", id=f"run_{child}"),
        "to replay": await cost(federation, "replayRun", id=f"run_{child}"),
        "a bulk action": await cost(federation, "createBulkAction", action="CANCEL", runIds=[parent]),
    }

    assert costs == COSTS
