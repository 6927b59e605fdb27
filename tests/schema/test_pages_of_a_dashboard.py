"""The pages of a dashboard, each one operation: right rows from all shards, in statements that only depth decides."""

import asyncio
from typing import Any

import pytest

from store import ids
from store.embedded import Cluster
from store.residency import LEGACY, NEW, ShardKey
from tests.federation import FederationUnderTest, friendly
from tests.schema.test_inspector import plant_surroundings

LIST = """query RunListPage($org: String!, $project: String!, $env: String!, $filter: RunFilter, $first: Int = 100) {
  environment(organizationSlug: $org, projectSlug: $project, slug: $env) {
    id slug type paused hasAnyRuns taskIdentifiers
    bulkActions(first: 20) { nodes { id name type createdAt } }
    runs(filter: $filter, first: $first) {
      nodes {
        id rawStatus status statusReason isCancellable isReplayable taskIdentifier taskKind isTest depth
        createdAt startedAt finishedAt delayUntil expiredAt ttl tags region machine
        queue { name isCustom } version { version } usage { durationMs totalCostInCents }
        environment { id slug type userName }
        rootRun { id } batch { id }
      }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}"""

BATCHES = """query BatchListPage($org: String!, $project: String!, $env: String!, $filter: BatchFilter) {
  environment(organizationSlug: $org, projectSlug: $project, slug: $env) {
    id slug type
    batches(filter: $filter, first: 100) {
      nodes { id status batchVersion runCount successfulRunCount failedRunCount createdAt finishedAt hasFinished
        environment { id slug type userName } }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}"""

BATCH = """query BatchDetail($id: ID!, $first: Int = 100) {
  batch(id: $id) {
    id status batchVersion runCount sealed expectedCount completedCount successfulRunCount failedRunCount idempotencyKey
    createdAt processingStartedAt processingCompletedAt finishedAt
    environment { id slug type project { slug organization { slug } } }
    errors { index taskIdentifier error errorCode createdAt }
    statusCounts { status count }
    runs(first: $first) {
      nodes {
        id status taskIdentifier tags createdAt finishedAt attemptCount usage { durationMs totalCostInCents }
        version { version } parentRun { id taskIdentifier } rootRun { id }
        attempts { number status }
        waitpoints(first: 5) { nodes { id type status } }
        childRuns(first: 5) { nodes { id status } }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
}"""

WAITPOINT = """query WaitpointDetail($id: ID!) {
  waitpoint(id: $id) {
    id type status userProvidedIdempotencyKey idempotencyKey idempotencyKeyExpiresAt
    timeoutAt completedAt createdAt tags
    output { contentType json presignedUrl } outputIsError
    environment { id slug type project { slug organization { slug } } }
    completedByRun { id status } completedByBatch { id status }
    connectedRuns(first: 100) { nodes {
      id status taskIdentifier createdAt tags version { version } environment { slug } batch { id } } }
    blockedRuns(first: 100) { nodes { id status } }
  }
}"""

FAN_OUT = """query FanOut($env: ID!, $tags: [String!], $first: Int = 100) {
  environment(id: $env) {
    id
    runs(filter: { tags: $tags, createdAt: { period: "5000d" } }, first: $first) {
      nodes {
        id status
        environment { id slug project { id slug organization { id slug } } }
        batch { id status environment { id slug } }
        parentRun { id status batch { id } }
        rootRun { id status }
        waitpoints(first: 10) { nodes {
          id status connectedRuns(first: 5) { nodes { id status environment { slug } } } } }
        childRuns(first: 10) { nodes { id status attempts { number status } } }
      }
    }
  }
}"""

LIVE = """query LiveRows($env: ID!, $runIds: [ID!]!) {
  environment(id: $env) {
    runs(filter: { runIds: $runIds }, first: 100) {
      nodes { id rawStatus status updatedAt startedAt finishedAt isCancellable tags
        usage { durationMs totalCostInCents } }
    }
  }
}"""

BULK = """query BulkActionPage($org: String!, $project: String!, $env: String!, $id: ID!) {
  environment(organizationSlug: $org, projectSlug: $project, slug: $env) {
    bulkAction(id: $id) {
      id name type status totalCount successCount failureCount createdAt completedAt filter
      runs(first: 100) { nodes { id status taskIdentifier createdAt replayedFromRun { id } } pageInfo { hasNextPage } }
    }
    bulkActions(first: 25) {
      nodes { id name type status totalCount successCount failureCount createdAt } pageInfo { hasNextPage endCursor } }
  }
}"""


async def plant(federation: FederationUnderTest, keys: dict[str, str], rows: int) -> dict[str, Any]:
    """Plant so many runs on each of two shards, in a batch each, tied to a token of the other; return them all."""
    batches = {shard: await federation.batch(shard) for shard in (LEGACY, NEW)}
    tokens = {shard: await federation.waitpoint(shard) for shard in (LEGACY, NEW)}
    roots = {shard: await federation.run(shard) for shard in (LEGACY, NEW)}
    runs = []
    for _ in range(rows):
        for shard, other in ((LEGACY, NEW), (NEW, LEGACY)):
            run = await federation.run(
                shard,
                batchId=batches[shard],
                parentTaskRunId=roots[shard],
                rootTaskRunId=roots[shard],
                runTags=["page"],
                bulkActionGroupIds=[keys["bulk"]],
                replayedFromTaskRunFriendlyId=f"run_{roots[other]}",
            )
            await federation.connect(shard, run, tokens[other])
            await federation.block(shard, run, tokens[other])
            runs.append(run)
    return {"runs": runs, "batches": batches, "tokens": tokens, "roots": roots, "keys": keys}


@pytest.mark.parametrize(
    ("page", "statements"),
    [
        # list, hasAnyRuns; then roots and batches
        ("list", {LEGACY: 4, NEW: 4, "control plane": 2}),
        ("batches", {LEGACY: 1, NEW: 1}),
        # batch; listed ids, errors, counts; members; parents, attempts, ties, children; waitpoints
        ("batch", {LEGACY: 5, NEW: 10}),
        # waitpoint; output, connected and blocked runs; batches
        ("waitpoint", {LEGACY: 4, NEW: 5}),
        # list; batches, parents, ties, children; parents' batches, waitpoints, attempts; connected runs
        ("fan-out", {LEGACY: 7, NEW: 7}),
        ("live", {LEGACY: 1, NEW: 1}),
        ("bulk", {LEGACY: 2, NEW: 2, "control plane": 2}),
    ],
)
async def test_a_page_costs_the_same_statements_however_many_rows_it_has(
    federation: FederationUnderTest, page: str, statements: dict[str, int]
) -> None:
    await federation.ask("{ environment { project { organization { id } } } }")
    keys = await plant_surroundings(federation)
    for rows in (1, 5, 20):
        planted = await plant(federation, keys, rows)
        query, variables, shown = operation(federation, page, planted)
        data = await federation.ask(query, **variables)
        assert shown(data) >= 2 * rows if page not in ("batch", "batches") else shown(data) >= 1, rows
        assert federation.queries == statements, (rows, federation.statements)


def operation(federation: FederationUnderTest, page: str, planted: dict[str, Any]) -> tuple[str, dict[str, Any], Any]:
    """Return a page's document, its variables, and how many rows its answer shows."""
    organization, project, slug = federation.tenant.slugs
    slugs = {"org": organization, "project": project, "env": slug}
    environment = {"env": f"env_{federation.tenant.environment_id}"}
    bulk = f"bulk_{planted['keys']['bulk']}"
    pages: dict[str, tuple[str, dict[str, Any], Any]] = {
        "list": (LIST, slugs, lambda data: len(data["environment"]["runs"]["nodes"])),
        "batches": (BATCHES, slugs, lambda data: len(data["environment"]["batches"]["nodes"])),
        "batch": (
            BATCH,
            {"id": f"batch_{planted['batches'][NEW]}"},
            lambda data: len(data["batch"]["runs"]["nodes"]),
        ),
        "waitpoint": (
            WAITPOINT,
            {"id": f"waitpoint_{planted['tokens'][LEGACY]}"},
            lambda data: 2 * len(data["waitpoint"]["connectedRuns"]["nodes"]),
        ),
        "fan-out": (
            FAN_OUT,
            {**environment, "tags": ["page"]},
            lambda data: len(data["environment"]["runs"]["nodes"]),
        ),
        "live": (
            LIVE,
            {**environment, "runIds": friendly("run", planted["runs"])},
            lambda data: len(data["environment"]["runs"]["nodes"]),
        ),
        "bulk": (
            BULK,
            {**slugs, "id": bulk},
            lambda data: len(data["environment"]["bulkAction"]["runs"]["nodes"]),
        ),
    }
    return pages[page]


async def test_results_are_told_of_what_has_ended(federation: FederationUnderTest) -> None:
    done = {"output": '{"ok":1}', "status": "COMPLETED_SUCCESSFULLY"}
    batch = await federation.batch(NEW)
    succeeded = await federation.run(NEW, batchId=batch, **done)
    canceled = await federation.run(NEW, batchId=batch, status="CANCELED")
    expired = await federation.run(NEW, batchId=batch, status="EXPIRED")
    await federation.run(NEW, batchId=batch)
    elsewhere = await federation.run(LEGACY, **done)
    listing = await federation.batch(LEGACY, runIds=friendly("run", [succeeded, elsewhere, ids.mint_v1(), succeeded]))
    query = """query ($run: ID!, $batch: ID!) {
      runResult(id: $run) { ok run { id } output { json } error { type code } }
      batchResults(id: $batch) { ok run { id } error { code } } }"""

    data = await federation.ask(query, run=f"run_{succeeded}", batch=f"batch_{batch}")
    assert data["runResult"] == {
        "ok": True,
        "run": {"id": f"run_{succeeded}"},
        "output": {"json": {"ok": 1}},
        "error": None,
    }
    assert [result["run"]["id"] for result in data["batchResults"]] == friendly("run", [succeeded, canceled, expired])
    assert [result["ok"] for result in data["batchResults"]] == [True, False, False]
    assert data["batchResults"][1]["error"] == {"code": "TASK_RUN_CANCELLED"}

    data = await federation.ask(query, run=f"run_{expired}", batch=f"batch_{listing}")
    assert data["runResult"]["ok"] is False
    assert [result["run"]["id"] for result in data["batchResults"]] == friendly(
        "run", [succeeded, elsewhere, succeeded]
    )

    running = await federation.run(NEW)
    assert await federation.ask(query, run=f"run_{running}", batch="batch_nope") == {
        "runResult": None,
        "batchResults": None,
    }


async def test_a_run_is_found_by_its_trace_on_whichever_shard(federation: FederationUnderTest) -> None:
    query = "query ($trace: String!) { runByTraceId(traceId: $trace) { id } }"
    for shard in (LEGACY, NEW):
        trace = ids.mint_cuid()
        root = await federation.run(shard, traceId=trace)
        await federation.run(shard, traceId=trace, parentTaskRunId=root)
        assert await federation.ask(query, trace=trace) == {"runByTraceId": {"id": f"run_{root}"}}
    for nothing in ("nope", "", "\0", "x" * 10_000):
        assert await federation.ask(query, trace=nothing) == {"runByTraceId": None}


@pytest.mark.parametrize("page", ["list", "batches", "batch", "waitpoint", "fan-out", "live", "bulk"])
async def test_a_page_shows_what_the_other_shard_has_and_names_what_is_missing(
    federation: FederationUnderTest, clusters: dict[ShardKey, Cluster], page: str
) -> None:
    planted = await plant(federation, await plant_surroundings(federation), 3)
    query, variables, shown = operation(federation, page, planted)
    await federation.ask(query, **variables)

    await asyncio.to_thread(clusters[NEW].kill)
    try:
        answer = await federation.answer(query, **variables)
    finally:
        await asyncio.to_thread(clusters[NEW].start)

    missing = {"code": "SHARD_UNAVAILABLE", "shard": NEW, "retryable": True}
    assert all(error["extensions"] == missing for error in answer.get("errors", ()))
    if page == "batch":
        assert answer["data"] == {"batch": None}, "this batch is on the shard that is down"
        assert [error["path"] for error in answer["errors"]] == [["batch"]]
    else:
        assert answer["extensions"] == {"degradedShards": [NEW]}
        if page == "waitpoint":
            assert answer["data"]["waitpoint"]["id"] == variables["id"], "its runs are on the shard that is down"
        else:
            assert shown(answer["data"]) >= 1


async def test_a_control_plane_that_is_down_still_serves_the_fields_of_runs(
    federation: FederationUnderTest, clusters: dict[ShardKey, Cluster]
) -> None:
    """Only what the control plane alone knows is missing, and what legacy holds, which is the same database here."""
    keys = await plant_surroundings(federation)
    run = await federation.run(NEW, lockedToVersionId=keys["worker"], taskVersion="v1", scheduleId=keys["schedule"])
    query = """query ($id: ID!) { run(id: $id) { status payload { json } version { version runtime }
      schedule { cron } queue { name paused } environment { slug project { slug } } } }"""
    before = await federation.ask(query, id=f"run_{run}")

    await asyncio.to_thread(clusters[LEGACY].kill)
    try:
        answer = await federation.answer(query, id=f"run_{run}")
    finally:
        await asyncio.to_thread(clusters[LEGACY].start)

    assert answer["data"]["run"] == {
        **before["run"],
        "version": {"version": "v1", "runtime": None},
        "schedule": None,
        "queue": {"name": "task/hello", "paused": None},
    }
    assert {error["extensions"]["shard"] for error in answer["errors"]} == {"control plane"}
    assert sorted(error["path"][-1] for error in answer["errors"]) == ["paused", "runtime", "schedule"]
