"""A world of tenants whose every row is marked: what an answer holds tells whose rows it came from."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from store import ids
from store.control_plane import CONTROL_PLANE
from store.residency import LEGACY, NEW, ShardKey
from tests.federation import START, FederationUnderTest, Tenant


@dataclass
class Place:
    """An environment whose rows are marked, and one row of each kind on each of two shards, by GraphQL type."""

    tenant: Tenant
    mark: str
    far: str
    """The mark of what is on the shard `new`; the control plane's rows have that of `legacy`."""
    rows: dict[str, list[str]] = field(default_factory=dict)
    relatives: list[str] = field(default_factory=list)
    """The parent and the child of each of its runs."""
    marks: set[str] = field(default_factory=set)
    """Everything that stands in its rows and in no other place's: ids and texts."""
    keys: dict[str, str] = field(default_factory=dict)
    """Primary keys of what the control plane has."""


@dataclass(frozen=True)
class Linked:
    """Rows of another place that rows of this one name, though no platform writes such a thing."""

    run: str
    batch: str
    waitpoint: str
    keys: dict[str, str]


async def plant_place(federation: FederationUnderTest, mark: str, tenant: Tenant, strangers: Place | None) -> Place:
    """Plant a place: on each shard a family of runs; if there are strangers, one of them is tied to theirs."""
    place = Place(tenant, mark, f"far-{mark}"[::-1])
    here = replace(federation, tenant=tenant)
    place.keys = await _plant_control_plane(here, mark)
    place.marks |= {mark, place.far, tenant.environment_id, tenant.api_key, *place.keys.values()}
    await _plant_family(here, place, LEGACY, None)
    links = None
    if strangers is not None:
        bodies = {kind: strangers.rows[kind][0].partition("_")[2] for kind in ("Run", "Batch", "Waitpoint")}
        links = Linked(bodies["Run"], bodies["Batch"], bodies["Waitpoint"], strangers.keys)
    await _plant_family(here, place, NEW, links)
    place.rows["BulkAction"] = [f"bulk_{place.keys['bulk']}"]
    place.rows["Environment"] = [f"env_{tenant.environment_id}"]
    return place


async def _plant_family(federation: FederationUnderTest, place: Place, shard: ShardKey, links: Linked | None) -> None:
    mark, keys = place.mark if shard == LEGACY else place.far, place.keys if links is None else links.keys
    batch = await federation.batch(shard, idempotencyKey=f"{mark}-{ids.mint_cuid()}", runIds=[])
    parent = await federation.run(shard, taskIdentifier=mark, queue=mark, runTags=[mark])
    text = f'"{mark}"'
    run = await federation.run(
        shard,
        taskIdentifier=mark,
        statusReason=mark,
        queue=mark,
        concurrencyKey=mark,
        region=mark,
        ttl=mark,
        taskVersion=mark,
        sdkVersion=mark,
        cliVersion=mark,
        runTags=[mark],
        payload=text,
        output=text,
        metadata=json.dumps({"mark": mark}),
        error=json.dumps({"type": "BUILT_IN_ERROR", "name": mark, "message": mark, "stackTrace": mark}),
        status="COMPLETED_SUCCESSFULLY",
        traceId=f"{mark}-{ids.mint_cuid()}",
        spanId=mark,
        parentSpanId=mark,
        idempotencyKey=f"{mark}-{ids.mint_cuid()}",
        batchId=None if links else batch,
        parentTaskRunId=None if links else parent,
        rootTaskRunId=None if links else parent,
        replayedFromTaskRunFriendlyId=f"run_{links.run if links else parent}",
        lockedToVersionId=keys["worker"],
        scheduleId=keys["schedule"],
        bulkActionGroupIds=[keys["bulk"]],
    )
    child = await federation.run(shard, taskIdentifier=mark, parentTaskRunId=run, rootTaskRunId=run, runTags=[mark])
    token = await federation.waitpoint(
        shard,
        tags=[mark],
        idempotencyKey=f"{mark}-{ids.mint_cuid()}",
        userProvidedIdempotencyKey=True,
        output=text,
        completedByTaskRunId=None if links else run,
        completedByBatchId=None if links else batch,
    )
    for waitpoint in (token, *([links.waitpoint] if links else ())):
        await federation.connect(shard, run, waitpoint)
        await federation.block(shard, run, waitpoint)
    tenant, times = federation.tenant, federation.times()
    snapshot, attempt = ids.mint_cuid(), ids.mint_cuid()
    await federation.insert(
        shard,
        "TaskRunExecutionSnapshot",
        {
            "id": snapshot,
            "executionStatus": "EXECUTING",
            "description": mark,
            "error": mark,
            "runId": run,
            "runStatus": "EXECUTING",
            "environmentId": tenant.environment_id,
            "environmentType": "PRODUCTION",
            "projectId": tenant.project_id,
            "organizationId": tenant.organization_id,
            **times,
        },
    )
    columns = ("A", "B") if shard == LEGACY else ("snapshotId", "waitpointId")
    table = "_completedWaitpoints" if shard == LEGACY else "CompletedWaitpoint"
    link = dict(zip(columns, (snapshot, links.waitpoint if links else token), strict=True))
    await federation.insert(shard, table, link if shard == LEGACY else {"id": ids.mint_cuid(), **link})
    await federation.insert(
        shard,
        "TaskRunAttempt",
        {
            "id": attempt,
            "friendlyId": f"attempt_{attempt}",
            "taskRunId": run,
            "backgroundWorkerId": "x",
            "backgroundWorkerTaskId": "x",
            "runtimeEnvironmentId": tenant.environment_id,
            "queueId": "x",
            "output": text,
            "error": json.dumps({"type": "STRING_ERROR", "raw": mark}),
            **times,
        },
    )
    failed = {"id": ids.mint_cuid(), "batchTaskRunId": batch, "index": 0, "taskIdentifier": mark, "error": mark}
    await federation.insert(shard, "BatchTaskRunError", {**failed, "createdAt": START})
    tag = {"id": ids.mint_cuid(), "name": f"{mark}-{ids.mint_cuid()}", "createdAt": START}
    of = {"environmentId": tenant.environment_id, "projectId": tenant.project_id}
    await federation.insert(shard, "WaitpointTag", {**tag, **of})
    for kind, body in (("Run", run), ("Batch", batch), ("Waitpoint", token), ("Attempt", attempt)):
        place.rows.setdefault(kind, []).append(f"{kind.lower()}_{body}")
    place.relatives += [f"run_{parent}", f"run_{child}"]
    place.marks |= {run, batch, token, attempt, parent, child, snapshot}


async def _plant_control_plane(federation: FederationUnderTest, mark: str) -> dict[str, str]:
    tenant, times = federation.tenant, {"createdAt": START, "updatedAt": START}
    keys = {name: ids.mint_cuid() for name in ("queue", "worker", "deployment", "schedule", "bulk", "task")}
    of_project = {"projectId": tenant.project_id, **times}
    of_environment = {"runtimeEnvironmentId": tenant.environment_id, **of_project}
    rows: dict[str, dict[str, Any]] = {
        "TaskQueue": {"id": keys["queue"], "friendlyId": f"queue_{keys['queue']}", "name": mark, **of_environment},
        "BackgroundWorker": {
            "id": keys["worker"],
            "friendlyId": f"worker_{keys['worker']}",
            "version": mark,
            "contentHash": "x",
            "metadata": "{}",
            "runtime": mark,
            "runtimeVersion": mark,
            **of_environment,
        },
        "WorkerDeployment": {
            "id": keys["deployment"],
            "friendlyId": f"deployment_{keys['deployment']}",
            "shortCode": mark,
            "version": mark,
            "contentHash": "x",
            "git": json.dumps({"branch": mark}),
            "environmentId": tenant.environment_id,
            "workerId": keys["worker"],
            **of_project,
        },
        "TaskSchedule": {
            "id": keys["schedule"],
            "friendlyId": f"sched_{keys['schedule']}",
            "taskIdentifier": mark,
            "externalId": mark,
            "deduplicationKey": mark,
            "userProvidedDeduplicationKey": True,
            "generatorExpression": mark,
            "generatorDescription": mark,
            **of_project,
        },
        "BulkActionGroup": {
            "id": keys["bulk"],
            "friendlyId": f"bulk_{keys['bulk']}",
            "type": "REPLAY",
            "name": mark,
            "params": json.dumps({"tags": [mark]}),
            "environmentId": tenant.environment_id,
            **of_project,
        },
        "TaskIdentifier": {
            "id": keys["task"],
            "slug": mark,
            "projectId": tenant.project_id,
            "runtimeEnvironmentId": tenant.environment_id,
        },
    }
    for table, row in rows.items():
        await federation.insert(CONTROL_PLANE, table, row)
    return keys
