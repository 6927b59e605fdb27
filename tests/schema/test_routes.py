"""Every route of the platform that reads runs, batches or tokens is one operation: the README says which."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from store import ids
from store.residency import LEGACY, NEW, ShardKey
from tests.federation import FederationUnderTest
from tests.schema.test_inspector import plant_attempt, plant_snapshot, plant_surroundings
from tests.streaming import subscribed

README = Path(__file__).parents[2] / "README.md"
ROW = re.compile(r"^\| `(?P<route>[^`]+)` \| (?P<operation>.+) \|$", re.MULTILINE)


@dataclass
class World:
    """One of everything, tied to each other, on one shard; the token's runs and the batch's are on the other too."""

    run: str
    child: str
    batch: str
    token: str
    far: str
    trace: str
    attempt: str


async def plant(federation: FederationUnderTest, shard: ShardKey, other: ShardKey) -> World:
    keys = await plant_surroundings(federation)
    far = await federation.run(other, output='{"far":1}', status="COMPLETED_SUCCESSFULLY", runTags=["vip"])
    batch = await federation.batch(shard, runIds=[f"run_{far}"])
    trace = ids.mint_cuid()
    run = await federation.run(
        shard,
        traceId=trace,
        batchId=batch,
        runTags=["vip"],
        status="EXECUTING",
        idempotencyKey="order-1",
        metadata='{"step":1}',
        createdAt=datetime.now(UTC).replace(tzinfo=None),
        queue="emails",
        lockedToVersionId=keys["worker"],
        taskVersion="20260821.1",
        scheduleId=keys["schedule"],
    )
    child = await federation.run(shard, parentTaskRunId=run, rootTaskRunId=run, runTags=["x"])
    token = await federation.waitpoint(shard, tags=["vip"], idempotencyKey="order-1", userProvidedIdempotencyKey=True)
    for place, waiting in ((shard, run), (other, far)):
        await federation.connect(place, waiting, token)
    await federation.block(shard, run, token)
    attempt = await plant_attempt(federation, shard, run)
    tenant = federation.tenant
    await federation.insert(
        shard,
        "WaitpointTag",
        {"id": ids.mint_cuid(), "name": "vip", "environmentId": tenant.environment_id, "projectId": tenant.project_id},
    )
    return World(
        run=f"run_{run}",
        child=f"run_{child}",
        batch=f"batch_{batch}",
        token=f"waitpoint_{token}",
        far=f"run_{far}",
        trace=trace,
        attempt=f"attempt_{attempt}",
    )


PLACE = "environment { slug project { slug organization { slug } } }"


def routes(world: World, federation: FederationUnderTest) -> dict[str, tuple[str, dict[str, Any], Any]]:
    """Return what each old route asks now: operation, variables, and the answer."""
    organization, project, slug = federation.tenant.slugs
    place = {"slug": slug, "project": {"slug": project, "organization": {"slug": organization}}}
    run, batch, token = {"id": world.run}, {"id": world.batch}, {"id": world.token}
    where_run_is = f"query ($id: ID!) {{ run(id: $id) {{ id {PLACE} }} }}"
    at = {"run": {**run, "environment": place}}
    shown_batch = {
        **batch,
        "status": "PENDING",
        "runCount": 0,
        "runIds": [world.far],
        "errors": [],
        "processingCompletedAt": None,
    }
    retrieved = """query ($id: ID!) {
      batch(id: $id) { id status runCount runIds errors { index } processingCompletedAt } }"""
    listed = "query { environment { waitpointTokens { nodes { id status tags } } } }"
    tokens = {"environment": {"waitpointTokens": {"nodes": [{**token, "status": "WAITING", "tags": ["vip"]}]}}}
    return {
        "GET /@/runs/:run": (where_run_is, run, at),
        "GET /runs/:run": (where_run_is, run, at),
        "GET /orgs/:org/projects/:project/runs/:run": (where_run_is, run, at),
        "GET /projects/v3/:ref/runs/:run": (
            "query ($id: ID!) { run(id: $id) { id project { ref } } }",
            run,
            {"run": {**run, "project": {"ref": f"proj_{federation.tenant.project_id}"}}},
        ),
        "GET .../env/:env/batches": (
            """query ($org: String!, $project: String!, $env: String!) {
              environment(organizationSlug: $org, projectSlug: $project, slug: $env) { batches { nodes { id } } } }""",
            {"org": organization, "project": project, "env": slug},
            {"environment": {"batches": {"nodes": [batch]}}},
        ),
        "GET .../env/:env/waitpoints/tokens": (listed, {}, tokens),
        "GET .../waitpoints/tokens/:token": (
            "query ($id: ID!) { waitpoint(id: $id) { id status connectedRuns(first: 5) { nodes { id } } } }",
            token,
            {
                "waitpoint": {
                    **token,
                    "status": "WAITING",
                    "connectedRuns": {"nodes": [{"id": world.run}, {"id": world.far}]},
                }
            },
        ),
        "GET /api/v1/batches/:batch": (retrieved, batch, {"batch": shown_batch}),
        "GET /api/v2/batches/:batch": (retrieved, batch, {"batch": shown_batch}),
        "GET /api/v1/batches/:batch/results": (
            "query ($id: ID!) { batchResults(id: $id) { ok run { id } output { json } } }",
            batch,
            {"batchResults": [{"ok": True, "run": {"id": world.far}, "output": {"json": {"far": 1}}}]},
        ),
        "GET /api/v1/waitpoints/tokens": (listed, {}, tokens),
        "GET /api/v1/waitpoints/tokens/:token": (
            "query ($id: ID!) { waitpoint(id: $id) { id idempotencyKey output { text } outputIsError } }",
            token,
            {"waitpoint": {**token, "idempotencyKey": "order-1", "output": None, "outputIsError": False}},
        ),
        "GET /realtime/v1/runs/:run": (
            "subscription ($id: ID!) { runUpdated(id: $id) { id rawStatus metadata tags } }",
            run,
            [{**run, "rawStatus": "EXECUTING", "metadata": {"step": 1}, "tags": ["vip"]}],
        ),
        "GET /realtime/v1/runs": (
            'subscription { runsUpdated(tags: ["vip"]) { id } }',
            {},
            [{"id": world.run}],
        ),
        "GET /realtime/v1/batches/:batch": (
            "subscription ($id: ID!) { batchRunsUpdated(id: $id) { id status } }",
            batch,
            [{"id": world.far, "status": "COMPLETED"}, {"id": world.run, "status": "EXECUTING"}],
        ),
        "GET .../waitpoints/tags": (
            'query { environment { waitpointTags(name: "V", first: 25) } }',
            {},
            {"environment": {"waitpointTags": ["vip"]}},
        ),
        "GET .../resources/runs/:run": (
            """query ($id: ID!) { run(id: $id) { id statusReason version { version runtime deployment { shortCode } }
              attempts { id } schedule { cron } queue { name concurrencyLimit } blockedBy { waitpoint { id } }
              childRuns { nodes { id } } } }""",
            run,
            {
                "run": {
                    **run,
                    "statusReason": None,
                    "version": {"version": "20260821.1", "runtime": "node", "deployment": {"shortCode": ...}},
                    "attempts": [{"id": world.attempt}],
                    "schedule": {"cron": "0 0 * * *"},
                    "queue": {"name": "emails", "concurrencyLimit": 7},
                    "blockedBy": [{"waitpoint": token}],
                    "childRuns": {"nodes": [{"id": world.child}]},
                }
            },
        ),
        "GET .../taskruns/:run/debug": (
            """query ($id: ID!) { runDebug(id: $id) { engine queueConcurrencyLimit envConcurrencyLimit
              queueCurrentConcurrency envCurrentConcurrency } }""",
            run,
            {
                "runDebug": {
                    "engine": "V2",
                    "queueConcurrencyLimit": 7,
                    "envConcurrencyLimit": 5,
                    "queueCurrentConcurrency": 1,
                    "envCurrentConcurrency": 1,
                }
            },
        ),
        "GET .../taskruns/:run/replay": (
            """query ($id: ID!) { run(id: $id) { id payload { json } metadata machine region ttl tags queue { name }
              environment { project { environments { slug } } taskIdentifiers } } }""",
            run,
            {
                "run": {
                    **run,
                    "payload": {"json": {}},
                    "metadata": {"step": 1},
                    "machine": None,
                    "region": "main",
                    "ttl": None,
                    "tags": ["vip"],
                    "queue": {"name": "emails"},
                    "environment": {"project": {"environments": [{"slug": slug}]}, "taskIdentifiers": []},
                }
            },
        ),
        "GET /sync/traces/runs/:trace": (
            "query ($trace: String!) { runByTraceId(traceId: $trace) { id } }",
            {"trace": world.trace},
            {"runByTraceId": run},
        ),
    }


def mutation(name: str, shown: str) -> str:
    """Return the operation of one mutation."""
    given = f"{name[0].upper()}{name[1:]}Input"
    return f"mutation ($input: {given}!) {{ {name}(input: $input) {{ {shown} userErrors {{ message }} }} }}"


def writes(world: World) -> dict[str, list[tuple[str, str, dict[str, Any], Any]]]:
    """Return what each old route that writes asks now: mutations, what they show, their inputs, and the answers."""
    create = ("createWaitpointToken", "isCached waitpoint { status }", {"timeout": "1h"})
    created = {"isCached": False, "waitpoint": {"status": "WAITING"}}
    wait = ("waitForWaitpointToken", "waitpoint { id }", {"runId": world.run, "waitpointId": world.token})
    batch = ("triggerBatch", "isCached batch { runCount }", {"items": [{"task": "a"}, {"task": "b"}]})
    of_batch = {"isCached": False, "batch": {"runCount": 2}}
    run, token = {"id": world.run}, {"id": world.token}
    return {
        "POST /api/v2/tasks/batch": [(*batch, of_batch)],
        "POST /api/v3/batches": [(*batch, of_batch)],
        "POST /api/v1/waitpoints/tokens": [(*create, created)],
        "POST /engine/v1/runs/:run/waitpoints/tokens/:token/wait": [(*wait, {"waitpoint": token})],
        "POST /engine/v1/runs/:run/wait/duration": [
            (
                "waitForDuration",
                "waitpoint { type }",
                {"runId": world.run, "date": "2090-01-01T00:00:00Z"},
                {"waitpoint": {"type": "DATETIME"}},
            )
        ],
        "POST /api/v1/runs/:run/input-streams/wait": [(*create, created), (*wait, {"waitpoint": token})],
        "POST /api/v1/runs/:run/session-streams/wait": [(*create, created), (*wait, {"waitpoint": token})],
        "POST .../runs/:run/idempotencyKey/reset": [
            ("resetIdempotencyKey", "key count", {"runId": world.run}, {"key": "order-1", "count": 1})
        ],
        "POST /api/v1/waitpoints/tokens/:token/complete": [
            (
                "completeWaitpointToken",
                "alreadyCompleted waitpoint { status output { json } }",
                {**token, "data": {"ok": True}},
                {"alreadyCompleted": False, "waitpoint": {"status": "COMPLETED", "output": {"json": {"ok": True}}}},
            )
        ],
        "POST .../waitpoints/:token/complete": [
            (
                "completeWaitpointToken",
                "alreadyCompleted waitpoint { status }",
                {**token, "timedOut": True},
                {"alreadyCompleted": True, "waitpoint": {"status": "COMPLETED"}},
            )
        ],
        "POST .../taskruns/:run/replay": [
            (
                "replayRun",
                "run { replayedFromRun { id } status }",
                run,
                {"run": {"replayedFromRun": run, "status": ...}},
            )
        ],
        "POST .../taskruns/:run/cancel": [
            ("cancelRun", "run { id status }", run, {"run": {**run, "status": "CANCELED"}}),
        ],
    }


def matches(expected: Any, found: Any) -> bool:
    """Tell whether an answer is as expected; `...` is whatever is there."""
    if expected is ...:
        return found is not None
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(matches(expected[key], found[key]) for key in expected)
    return bool(expected == found)


@pytest.mark.parametrize(("shard", "other"), [(LEGACY, NEW), (NEW, LEGACY)])
async def test_every_old_route_is_answered_by_one_operation(
    federation: FederationUnderTest, shard: ShardKey, other: ShardKey
) -> None:
    world = await plant(federation, shard, other)
    for route, (query, variables, expected) in routes(world, federation).items():
        if query.startswith("subscription"):
            async with subscribed(federation, query, **variables) as stream:
                found = [await stream.next() for _ in expected]
            found.sort(key=lambda told: expected.index(told) if told in expected else -1)  # shards tell when they can
        else:
            found = await federation.ask(query, **variables)
        assert matches(expected, found), (route, json.dumps(found), expected)


@pytest.mark.parametrize(("shard", "other"), [(LEGACY, NEW), (NEW, LEGACY)])
async def test_every_old_route_that_writes_is_a_mutation(
    federation: FederationUnderTest, shard: ShardKey, other: ShardKey
) -> None:
    world = await plant(federation, shard, other)
    table = {match["route"]: match["operation"] for match in ROW.finditer(README.read_text("utf-8"))}
    for route, steps in writes(world).items():
        assert {name for name, *_ in steps} <= set(re.findall(r"`(\w+)", table[route])), route
        for name, shown, given, expected in steps:
            found = (await federation.ask(mutation(name, shown), input=given))[name]
            assert found.pop("userErrors") == [], route
            assert matches(expected, found), (route, json.dumps(found), expected)


async def test_the_readme_names_an_operation_for_every_old_route(federation: FederationUnderTest) -> None:
    world = World(*["x"] * 7)
    table = {match["route"]: match["operation"] for match in ROW.finditer(README.read_text("utf-8"))}
    asked = routes(world, federation)
    assert asked.keys() <= table.keys()
    for route, (query, _, _) in asked.items():
        fields = re.findall(r"`(\w+)", table[route])
        assert fields, route
        assert all(field in query for field in fields), (route, fields)


async def test_an_attempt_is_an_object_of_its_own(federation: FederationUnderTest) -> None:
    """Its id names no shard, and what it returned is read only when it is selected."""
    query = """query ($id: ID!) { node(id: $id) { id
      ... on Attempt { number status error { type message } output { json } } } }"""
    for shard in (LEGACY, NEW):
        run = await federation.run(shard)
        attempt = await plant_attempt(federation, shard, run)
        await federation.connections[shard].execute(
            'UPDATE "TaskRunAttempt" SET error = $2, output = $3 WHERE id = $1',
            attempt,
            json.dumps({"type": "STRING_ERROR", "raw": "no"}),
            "[1]",
        )
        assert await federation.ask(query, id=f"attempt_{attempt}") == {
            "node": {
                "id": f"attempt_{attempt}",
                "number": 1,
                "status": "FAILED",
                "error": {"type": "STRING_ERROR", "message": "no"},
                "output": {"json": [1]},
            }
        }
        through_run = "query ($id: ID!) { run(id: $id) { attempts { number status } } }"
        await federation.ask(through_run, id=f"run_{run}")
        assert not any('"TaskRunAttempt".output' in statement for _, statement in federation.statements)
    assert await federation.ask(query, id=f"attempt_{ids.mint_cuid()}") == {"node": None}


async def test_a_step_shows_the_waitpoints_whose_end_led_to_it_from_all_shards(federation: FederationUnderTest) -> None:
    """In the order that the step keeps; a link to one that no shard has any more is history."""
    query = "query ($id: ID!) { run(id: $id) { snapshots { completedWaitpoints { id } } } }"
    for shard, table, columns in (
        (LEGACY, "_completedWaitpoints", ("A", "B")),
        (NEW, "CompletedWaitpoint", ("snapshotId", "waitpointId")),
    ):
        run = await federation.run(shard)
        step = await plant_snapshot(federation, shard, run, 1)
        await plant_snapshot(federation, shard, run, 2)
        near, far = await federation.waitpoint(shard), await federation.waitpoint(NEW if shard == LEGACY else LEGACY)
        for waitpoint in (near, far, ids.mint_cuid()):
            link = dict(zip(columns, (step, waitpoint), strict=True))
            await federation.insert(shard, table, link if shard == LEGACY else {"id": ids.mint_cuid(), **link})
        await federation.connections[shard].execute(
            'UPDATE "TaskRunExecutionSnapshot" SET "completedWaitpointOrder" = $2 WHERE id = $1', step, [far, near]
        )
        data = await federation.ask(query, id=f"run_{run}")
        assert data["run"]["snapshots"] == [
            {"completedWaitpoints": []},
            {"completedWaitpoints": [{"id": f"waitpoint_{far}"}, {"id": f"waitpoint_{near}"}]},
        ]
