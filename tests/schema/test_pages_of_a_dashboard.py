"""The pages of a dashboard, each one operation: right rows from all shards, in statements that only depth decides."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from store import ids
from store.control_plane import CONTROL_PLANE
from store.embedded import Cluster
from store.federation import create_engine, open_federation
from store.migrations import migrate
from store.residency import LEGACY, NEW, ShardKey
from store.tables import DEDICATED, FULL
from store.topology import Access, ShardAccess, Topology
from store.urls import parse_url
from tests.federation import SHARD_A, FederationUnderTest, friendly, plant_tenant
from tests.schema.test_inspector import plant_snapshot, plant_surroundings

DOCUMENTS = {
    path.stem: path.read_text()
    for path in (Path(__file__).parents[1] / "clients" / "dashboard" / "1").glob("*.graphql")
}
"""What the pages of the dashboard's first version send, by the name of the page."""


@dataclass
class Planted:
    """Rows on two shards: so many runs on each, in a batch of that shard, that waited for a token of the other."""

    runs: list[str]
    batches: dict[ShardKey, str]
    tokens: dict[ShardKey, str]
    roots: dict[ShardKey, str]
    bulk: str
    access_token: str


async def plant(federation: FederationUnderTest, rows: int) -> Planted:
    """Plant so many runs on each of two shards, all that pages show of them, and a member to show it to."""
    keys = await plant_surroundings(federation)
    recent = datetime.now(UTC).replace(tzinfo=None, microsecond=0) - timedelta(days=1)

    def times() -> dict[str, Any]:
        federation.planted += 1
        return dict.fromkeys(("createdAt", "updatedAt"), recent + timedelta(seconds=federation.planted))

    shards = ((LEGACY, NEW), (NEW, LEGACY))
    batches = {shard: await federation.batch(shard, **times()) for shard, _ in shards}
    tokens = {shard: await federation.waitpoint(shard, output="1", **times()) for shard, _ in shards}
    roots = {shard: await federation.run(shard, **times()) for shard, _ in shards}
    runs = []
    for number in range(rows):
        for shard, other in shards:
            run = await federation.run(
                shard,
                batchId=batches[shard],
                parentTaskRunId=roots[shard],
                rootTaskRunId=roots[shard],
                runTags=["page"],
                bulkActionGroupIds=[keys["bulk"]],
                replayedFromTaskRunFriendlyId=f"run_{roots[other]}",
                lockedToVersionId=keys["worker"],
                taskVersion="20260821.1",
                scheduleId=keys["schedule"],
                queue="emails",
                **times(),
            )
            await federation.connect(shard, run, tokens[other])
            await federation.block(shard, run, tokens[other])
            await federation.waitpoint(shard, tags=["page"], **times())
            if number < 10:
                await plant_snapshot(federation, shard, roots[shard], number)
                await plant_tag(federation, shard, f"tag-{number}", **times())
            runs.append(run)
    _, access_token = await federation.member()
    return Planted(runs, batches, tokens, roots, keys["bulk"], access_token)


async def plant_tag(federation: FederationUnderTest, shard: ShardKey, name: str, createdAt: datetime, **_: Any) -> None:  # noqa: N803  the column's name
    tenant = federation.tenant
    place = {"environmentId": tenant.environment_id, "projectId": tenant.project_id}
    await federation.insert(
        shard, "WaitpointTag", {"id": ids.mint_cuid(), "name": name, "createdAt": createdAt, **place}
    )


@dataclass
class Page:
    """A page: its variables, how many rows its answer shows, and what a row costs nothing of: its statements."""

    variables: dict[str, Any]
    shown: Callable[[Any], int]
    statements: dict[str, int]
    key: str | None = None


def pages(federation: FederationUnderTest, planted: Planted) -> dict[str, Page]:
    """Return every page, over planted rows. The statements are those with the viewer's places in memory."""
    organization, project, slug = federation.tenant.slugs
    slugs = {"org": organization, "project": project, "env": slug, "first": 100}
    environment = {"env": f"env_{federation.tenant.environment_id}"}
    return {
        # list, hasAnyRuns; then roots and batches. Tasks and bulk actions.
        "run_list_page": Page(
            slugs,
            lambda data: len(data["environment"]["runs"]["nodes"]),
            {LEGACY: 4, NEW: 4, CONTROL_PLANE: 2},
        ),
        # run; payload, attempts, ties, edges, steps, children, batch, parent and root at once; then waitpoints, and
        # who completed them. Queue, version, deployment, schedule, bulk actions.
        "run_inspector": Page(
            {"id": f"run_{planted.runs[-1]}"},
            lambda data: int(data["run"]["id"] is not None),
            {LEGACY: 3, NEW: 10, CONTROL_PLANE: 5},
        ),
        "batch_list_page": Page(slugs, lambda data: len(data["environment"]["batches"]["nodes"]), {LEGACY: 1, NEW: 1}),
        # batch; listed ids, errors, counts; members; parents, attempts, ties, children; waitpoints
        "batch_detail": Page(
            {"id": f"batch_{planted.batches[NEW]}"},
            lambda data: len(data["batch"]["runs"]["nodes"]),
            {LEGACY: 5, NEW: 10},
        ),
        # tokens, and twice tags: which, and where else. The keys that sign callbacks.
        "waitpoint_tokens_page": Page(
            slugs,
            lambda data: len(data["environment"]["waitpointTokens"]["nodes"]),
            {LEGACY: 3, NEW: 3, CONTROL_PLANE: 1},
        ),
        # waitpoint; output, connected and blocked runs; batches. The key that signs its callback.
        "waitpoint_detail": Page(
            {"id": f"waitpoint_{planted.tokens[LEGACY]}"},
            lambda data: int(data["waitpoint"]["id"] is not None),
            {LEGACY: 4, NEW: 5, CONTROL_PLANE: 1},
        ),
        # runs; what they replay. One bulk action, all of them.
        "bulk_action_page": Page(
            {**slugs, "id": f"bulk_{planted.bulk}"},
            lambda data: len(data["environment"]["bulkAction"]["runs"]["nodes"]),
            {LEGACY: 2, NEW: 2, CONTROL_PLANE: 2},
        ),
        # list; batches, parents, ties, children; parents' batches, waitpoints, attempts; connected runs
        "fan_out": Page(
            {**environment, "tags": ["page"]},
            lambda data: len(data["environment"]["runs"]["nodes"]),
            {LEGACY: 7, NEW: 7},
        ),
        # organizations, projects, environments, branches
        "navigation": Page(
            {},
            lambda data: len(data["viewer"]["organizations"][0]["projects"][0]["environments"]),
            {CONTROL_PLANE: 4},
            planted.access_token,
        ),
        "live_rows": Page(
            {**environment, "runIds": friendly("run", planted.runs[:100])},
            lambda data: len(data["environment"]["runs"]["nodes"]),
            {LEGACY: 1, NEW: 1},
        ),
    }


ONE_OBJECT = {"run_inspector", "batch_list_page", "waitpoint_detail", "navigation"}
"""Pages that show no more rows when there are more runs."""


async def test_a_page_costs_the_same_statements_however_many_rows_it_has(federation: FederationUnderTest) -> None:
    shown: dict[str, list[int]] = {}
    for rows in (1, 10, 100):
        federation.tenant = await plant_tenant(federation.connections[CONTROL_PLANE])
        planted = await plant(federation, rows)
        for name, page in pages(federation, planted).items():
            await federation.answer(DOCUMENTS[name], key=page.key, **page.variables)
            answer = await federation.answer(DOCUMENTS[name], key=page.key, **page.variables)
            assert "errors" not in answer, (name, answer["errors"])
            assert federation.queries == page.statements, (name, rows, federation.statements)
            shown.setdefault(name, []).append(page.shown(answer["data"]))
    assert shown.keys() == DOCUMENTS.keys()
    for name, (few, some, many) in shown.items():
        assert few >= 1
        assert few == some == many if name in ONE_OBJECT else few < some < many, (name, few, some, many)


async def test_the_same_id_twice_in_a_request_is_loaded_once(federation: FederationUnderTest) -> None:
    run = f"run_{await federation.run(NEW)}"
    query = "query ($id: ID!) { a: run(id: $id) { id } b: run(id: $id) { status } c: node(id: $id) { id } }"
    await federation.ask("{ shards { key } }")
    await federation.ask(query, id=run)
    assert federation.queries == {NEW: 1}


@pytest.fixture(scope="module")
async def apart(
    clusters: dict[ShardKey, Cluster], urls: dict[ShardKey, str]
) -> AsyncIterator[tuple[FederationUnderTest, Planted, dict[str, Cluster]]]:
    """A federation whose control plane, legacy and new are in three clusters, with rows planted in all."""
    homes: dict[str, Cluster] = {CONTROL_PLANE: clusters[SHARD_A], LEGACY: clusters[LEGACY], NEW: clusters[NEW]}
    await asyncio.to_thread(clusters[SHARD_A].create_database, "control_plane")
    places = {CONTROL_PLANE: clusters[SHARD_A].url("control_plane"), LEGACY: urls[LEGACY], NEW: urls[NEW]}
    engine = create_engine(parse_url("DATABASE_URL", places[CONTROL_PLANE]))
    await migrate(engine, "full")
    await engine.dispose()
    access = {name: Access(parse_url("URL", url)) for name, url in places.items()}
    shards = (ShardAccess(LEGACY, FULL, access[LEGACY]), ShardAccess(NEW, DEDICATED, access[NEW]))
    async with AsyncExitStack() as stack:
        topology = Topology(access[CONTROL_PLANE], shards)
        opened = await stack.enter_async_context(open_federation(topology, deadline=10.0, cache_ttl=600))
        connections: dict[str, asyncpg.Connection[Any]] = {}
        for name, url in places.items():
            connections[name] = await asyncpg.connect(url)
        tenant = await plant_tenant(connections[CONTROL_PLANE])
        federation = FederationUnderTest(opened, connections, tenant, (LEGACY, NEW))
        planted = await plant(federation, 3)
        for connection in connections.values():
            await connection.close()
        yield federation, planted, homes


HUNG_DEADLINE = 0.5


class Wait(NamedTuple):
    """How long something was waited for, and whether it answered."""

    began: float
    ended: float
    timeout: float | None
    answered: bool


def spied_waits(monkeypatch: pytest.MonkeyPatch) -> list[Wait]:
    """Return what grows by every wait for a database."""
    waits: list[Wait] = []
    really = asyncio.wait

    async def spy(work: Any, *, timeout: float | None = None, **options: Any) -> Any:  # noqa: ASYNC109  asyncio's own
        began = time.monotonic()
        done, pending = await really(work, timeout=timeout, **options)
        waits.append(Wait(began, time.monotonic(), timeout, bool(done)))
        return done, pending

    monkeypatch.setattr("store.shard.asyncio.wait", spy)
    return waits


EMPTY_WITHOUT = {
    LEGACY: {"waitpoint_detail"},
    NEW: {"run_inspector", "batch_detail"},
    CONTROL_PLANE: {"navigation", "bulk_action_page"},
}
"""Pages of one object, by the database that has it: there is nothing else to show."""


@pytest.mark.parametrize("fault", ["killed", "hung"])
@pytest.mark.parametrize("lost", [LEGACY, NEW, CONTROL_PLANE])
async def test_a_page_shows_what_the_others_have_and_names_the_database_that_does_not_answer(
    apart: tuple[FederationUnderTest, Planted, dict[str, Cluster]],
    lost: str,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page costs one deadline, and not one for each wave: who was late is not waited for so long again."""
    federation, planted, homes = apart
    waits = spied_waits(monkeypatch)
    for name, page in pages(federation, planted).items():
        await whole(federation, DOCUMENTS[name], page)
    database = federation.federation.control_plane.primary
    if lost != CONTROL_PLANE:
        database = federation.federation.router.shards[ShardKey(lost)].primary
    patience, database.deadline = database.deadline, HUNG_DEADLINE
    codes = {"killed": "SHARD_UNAVAILABLE", "hung": "SHARD_TIMEOUT"}
    await asyncio.to_thread(homes[lost].kill if fault == "killed" else homes[lost].suspend)
    try:
        for name, page in pages(federation, planted).items():
            waits.clear()
            answer = await federation.answer(DOCUMENTS[name], key=page.key, **page.variables)
            late = min((wait.ended for wait in waits if not wait.answered), default=None)
            patient = [wait for wait in waits if wait.timeout == HUNG_DEADLINE]
            assert late is None or all(wait.began < late for wait in patient), f"{name} waited twice"
            errors = answer.get("errors", [])
            assert {(error["extensions"]["code"], error["extensions"]["shard"]) for error in errors} <= {
                (codes[fault], lost)
            }, (name, errors)
            named = {error["extensions"]["shard"] for error in errors} | set(
                answer.get("extensions", {}).get("degradedShards", [])
            )
            assert named == ({lost} if page.statements.get(lost) else set()), (name, answer)
            assert bool(shown(page, answer["data"])) is (name not in EMPTY_WITHOUT[lost]), (name, answer)
    finally:
        database.deadline = patience
        await asyncio.to_thread(homes[lost].start if fault == "killed" else homes[lost].resume)


async def whole(federation: FederationUnderTest, document: str, page: Page) -> None:
    """Return when a page lacks nothing: a database that was away before is left alone for half a second more."""
    deadline = time.monotonic() + 10
    while {"errors", "extensions"} & (await federation.answer(document, key=page.key, **page.variables)).keys():
        assert time.monotonic() < deadline


def shown(page: Page, data: Any) -> int:
    """Return how many rows a page shows; none where what holds them is null."""
    try:
        return page.shown(data)
    except TypeError:
        return 0


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
