"""Everything that a run's page shows, read from the shard that has it and from the control plane."""

import json
from typing import Any

import pytest

from store import ids
from store.control_plane import CONTROL_PLANE
from store.residency import LEGACY, NEW, ShardKey
from tests.federation import START, FederationUnderTest

LARGE = ("payload", "output", "metadata", "error")
DETAILS = """query ($id: ID!) { run(id: $id) {
  taskKind region machine isReplayable
  idempotencyKey { key scope expiresAt }
  queue { name displayName isCustom concurrencyKey concurrencyLimit paused }
  version { version sdkVersion cliVersion runtime runtimeVersion deployment { id shortCode version status git } }
  usage { durationMs costInCents baseCostInCents totalCostInCents }
  payload { contentType json text byteSize } output { contentType json text } metadata
  error { type name message code stackTrace }
  schedule { id externalId deduplicationKey cron description timezone }
  bulkActions { id name type status totalCount filter }
  snapshots(first: 2) { id executionStatus runStatus description attemptNumber }
  attempts { id number status usageDurationMs }
} }"""


async def plant_surroundings(federation: FederationUnderTest) -> dict[str, str]:
    """Plant a queue, a version, a schedule and a bulk action in the control plane, and return their keys."""
    tenant, times = federation.tenant, {"createdAt": START, "updatedAt": START}
    keys = {name: ids.mint_cuid() for name in ("queue", "worker", "deployment", "schedule", "bulk")}
    of_project = {"projectId": tenant.project_id, **times}
    of_environment = {"runtimeEnvironmentId": tenant.environment_id, **of_project}
    await federation.insert(
        CONTROL_PLANE,
        "TaskQueue",
        {
            "id": keys["queue"],
            "friendlyId": f"queue_{keys['queue']}",
            "name": "emails",
            "type": "NAMED",
            "concurrencyLimit": 7,
            "paused": True,
            **of_environment,
        },
    )
    await federation.insert(
        CONTROL_PLANE,
        "BackgroundWorker",
        {
            "id": keys["worker"],
            "friendlyId": f"worker_{keys['worker']}",
            "version": "20260821.1",
            "contentHash": "x",
            "metadata": "{}",
            "runtime": "node",
            "runtimeVersion": "22.1.0",
            **of_environment,
        },
    )
    await federation.insert(
        CONTROL_PLANE,
        "WorkerDeployment",
        {
            "id": keys["deployment"],
            "friendlyId": f"deployment_{keys['deployment']}",
            "shortCode": keys["deployment"][-8:],
            "version": "20260821.1",
            "status": "DEPLOYED",
            "contentHash": "x",
            "git": json.dumps({"commitSha": "abc"}),
            "environmentId": tenant.environment_id,
            "workerId": keys["worker"],
            **of_project,
        },
    )
    await federation.insert(
        CONTROL_PLANE,
        "TaskSchedule",
        {
            "id": keys["schedule"],
            "friendlyId": f"sched_{keys['schedule']}",
            "taskIdentifier": "hello",
            "deduplicationKey": "every-day",
            "userProvidedDeduplicationKey": True,
            "generatorExpression": "0 0 * * *",
            "generatorDescription": "At midnight",
            **of_project,
        },
    )
    await federation.insert(
        CONTROL_PLANE,
        "BulkActionGroup",
        {
            "id": keys["bulk"],
            "friendlyId": f"bulk_{keys['bulk']}",
            "type": "REPLAY",
            "name": "again",
            "totalCount": 3,
            "params": json.dumps({"statuses": ["FAILED"]}),
            "environmentId": tenant.environment_id,
            **of_project,
        },
    )
    return keys


@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_a_run_shows_what_its_row_and_the_control_plane_hold(
    federation: FederationUnderTest, shard: ShardKey
) -> None:
    keys = await plant_surroundings(federation)
    run = await federation.run(
        shard,
        status="COMPLETED_WITH_ERRORS",
        annotations=json.dumps({"taskKind": "SCHEDULED"}),
        idempotencyKey="0" * 64,
        idempotencyKeyOptions=json.dumps({"key": "order-1", "scope": "global"}),
        idempotencyKeyExpiresAt=START,
        queue="emails",
        concurrencyKey="tenant-1",
        masterQueue=f"{federation.tenant.project_id}-eu",
        machinePreset="small-1x",
        taskVersion="20260821.1",
        sdkVersion="4.0.0",
        cliVersion="4.0.1",
        lockedToVersionId=keys["worker"],
        usageDurationMs=1200,
        costInCents=0.5,
        baseCostInCents=0.25,
        payload='{"json":{"at":"2026-08-21T00:00:00.000Z"},"meta":{"values":{"at":["Date"]}}}',
        payloadType="application/super+json",
        output="plain",
        outputType="text/plain",
        metadata='{"progress":0.5}',
        error=json.dumps({"type": "BUILT_IN_ERROR", "name": "TypeError", "message": "no", "stackTrace": "at x"}),
        scheduleId=keys["schedule"],
        bulkActionGroupIds=[keys["bulk"], ids.mint_cuid()],
    )
    snapshots = [await plant_snapshot(federation, shard, run, number) for number in range(3)]
    attempt = await plant_attempt(federation, shard, run)

    data = (await federation.ask(DETAILS, id=f"run_{run}"))["run"]

    assert data == {
        "taskKind": "SCHEDULED",
        "region": "eu",
        "machine": "SMALL_1X",
        "isReplayable": True,
        "idempotencyKey": {"key": "order-1", "scope": "global", "expiresAt": "2026-08-21T00:00:00.000Z"},
        "queue": {
            "name": "emails",
            "displayName": "emails",
            "isCustom": True,
            "concurrencyKey": "tenant-1",
            "concurrencyLimit": 7,
            "paused": True,
        },
        "version": {
            "version": "20260821.1",
            "sdkVersion": "4.0.0",
            "cliVersion": "4.0.1",
            "runtime": "node",
            "runtimeVersion": "22.1.0",
            "deployment": {
                "id": f"deployment_{keys['deployment']}",
                "shortCode": keys["deployment"][-8:],
                "version": "20260821.1",
                "status": "DEPLOYED",
                "git": {"commitSha": "abc"},
            },
        },
        "usage": {"durationMs": 1200, "costInCents": 0.5, "baseCostInCents": 0.25, "totalCostInCents": 0.75},
        "payload": {
            "contentType": "application/super+json",
            "json": {"at": "2026-08-21T00:00:00.000Z"},
            "text": None,
            "byteSize": 76,
        },
        "output": {"contentType": "text/plain", "json": "plain", "text": "plain"},
        "metadata": {"progress": 0.5},
        "error": {
            "type": "BUILT_IN_ERROR",
            "name": "TypeError",
            "message": "no",
            "code": None,
            "stackTrace": "at x",
        },
        "schedule": {
            "id": f"sched_{keys['schedule']}",
            "externalId": None,
            "deduplicationKey": "every-day",
            "cron": "0 0 * * *",
            "description": "At midnight",
            "timezone": "UTC",
        },
        "bulkActions": [
            {
                "id": f"bulk_{keys['bulk']}",
                "name": "again",
                "type": "REPLAY",
                "status": "PENDING",
                "totalCount": 3,
                "filter": {"statuses": ["FAILED"]},
            }
        ],
        "snapshots": [
            {
                "id": f"snapshot_{snapshots[number]}",
                "executionStatus": "EXECUTING",
                "runStatus": "EXECUTING",
                "description": f"step {number}",
                "attemptNumber": number,
            }
            for number in (2, 1)
        ],
        "attempts": [{"id": f"attempt_{attempt}", "number": 1, "status": "FAILED", "usageDurationMs": 5}],
    }
    # the run; then its large columns, steps and attempts
    assert federation.queries[shard] == 1 + 3


async def plant_snapshot(federation: FederationUnderTest, shard: ShardKey, run: str, number: int) -> str:
    tenant, id_ = federation.tenant, ids.mint_cuid()
    await federation.insert(
        shard,
        "TaskRunExecutionSnapshot",
        {
            "id": id_,
            "executionStatus": "EXECUTING",
            "description": f"step {number}",
            "runId": run,
            "runStatus": "EXECUTING",
            "attemptNumber": number,
            "environmentId": tenant.environment_id,
            "environmentType": "PRODUCTION",
            "projectId": tenant.project_id,
            "organizationId": tenant.organization_id,
            **federation.times(),
        },
    )
    return id_


async def plant_attempt(federation: FederationUnderTest, shard: ShardKey, run: str) -> str:
    id_ = ids.mint_cuid()
    await federation.insert(
        shard,
        "TaskRunAttempt",
        {
            "id": id_,
            "number": 1,
            "friendlyId": f"attempt_{id_}",
            "taskRunId": run,
            "backgroundWorkerId": "x",
            "backgroundWorkerTaskId": "x",
            "runtimeEnvironmentId": federation.tenant.environment_id,
            "queueId": "x",
            "status": "FAILED",
            "usageDurationMs": 5,
            **federation.times(),
        },
    )
    return id_


async def test_a_run_that_has_little_shows_nulls(federation: FederationUnderTest) -> None:
    run = await federation.run(NEW, payload="{oops", payloadType="application/json")

    data = (await federation.ask(DETAILS, id=f"run_{run}"))["run"]

    absent = ("idempotencyKey", "version", "output", "metadata", "error", "schedule", "machine")
    assert {name: data[name] for name in absent} == dict.fromkeys(absent)
    assert data["payload"] == {"contentType": "application/json", "json": None, "text": "{oops", "byteSize": 5}
    assert data["queue"] == {
        "name": "task/hello",
        "displayName": "hello",
        "isCustom": False,
        "concurrencyKey": None,
        "concurrencyLimit": None,
        "paused": None,
    }
    assert (data["taskKind"], data["region"]) == ("STANDARD", "main")
    assert data["bulkActions"] == data["snapshots"] == data["attempts"] == []


async def test_large_columns_are_read_only_when_they_are_selected(federation: FederationUnderTest) -> None:
    run = f"run_{await federation.run(NEW)}"

    await federation.ask("query ($id: ID!) { run(id: $id) { id status usage { durationMs } } }", id=run)
    assert not any(f'"TaskRun".{name}' in statement for _, statement in federation.statements for name in LARGE)

    await federation.ask("query ($id: ID!) { run(id: $id) { payload { json } error { type } } }", id=run)
    touched = {name for _, statement in federation.statements for name in LARGE if f'"TaskRun".{name}' in statement}
    assert touched == {"payload", "error"}
    assert federation.queries[NEW] == 2


async def test_details_cost_one_statement_however_many_runs(federation: FederationUnderTest) -> None:
    keys = await plant_surroundings(federation)
    query = """query { environment { runs(first: 100) { nodes {
      queue { paused } version { runtime deployment { id } } payload { json } metadata bulkActions { id }
      snapshots { id } attempts { id } schedule { id } } } } }"""

    links: dict[str, Any] = {
        "lockedToVersionId": keys["worker"],
        "scheduleId": keys["schedule"],
        "bulkActionGroupIds": [keys["bulk"]],
    }

    async def counts(rows: int) -> Any:
        for _ in range(rows):
            for shard in (LEGACY, NEW):
                await federation.run(shard, **links)
        await federation.ask(query)
        return dict(federation.queries)

    await federation.ask("{ environment { id } }")
    few = await counts(1)
    assert few == {"control plane": 5, LEGACY: 4, NEW: 4}
    assert await counts(20) == few
