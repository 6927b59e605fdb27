"""The demo data: the same for the same seed, each row where it belongs, and everything that can cross a shard does."""

# ruff: noqa: S608  what queries are put together from stands in this file

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from store import ids
from store.demo import Demo, find_demo, plant
from store.demo.mint import Mint, body_of, cuid, timestamp
from store.embedded import Cluster
from store.errors import ConfigurationError
from store.federation import create_engine
from store.migrations import VERSION_TABLE, Variant, migrate
from store.residency import LEGACY, NEW, ShardKey, shard_of
from store.urls import parse_url
from tests.federation import SHARD_A, plant_tenant

ANCHOR = datetime(2026, 8, 21, 12, tzinfo=UTC)
RUNS = 850
"""Four blocks for each of two shards, of which the last is under way, and fifty runs that fill none."""

Rows = list[asyncpg.Record]


@dataclass
class Databases:
    """One empty migrated database a shard; legacy's is the control plane too."""

    engines: dict[ShardKey, AsyncEngine]
    connections: dict[ShardKey, Any]

    @property
    def control_plane(self) -> AsyncEngine:
        return self.engines[LEGACY]

    async def plant(self, runs: int = RUNS, seed: int = 1, progress: Callable[[int], None] | None = None) -> Demo:
        return await plant(self.control_plane, self.engines, runs=runs, seed=seed, anchor=ANCHOR, progress=progress)

    async def ask(self, query: str) -> dict[ShardKey, Rows]:
        return {key: await connection.fetch(query) for key, connection in self.connections.items()}

    async def column(self, query: str) -> dict[ShardKey, list[Any]]:
        return {key: [row[0] for row in rows] for key, rows in (await self.ask(query)).items()}

    async def control(self, query: str) -> Rows:
        rows: Rows = await self.connections[LEGACY].fetch(query)
        return rows


MakeDatabases = Callable[..., Coroutine[Any, Any, Databases]]


@dataclass
class Planted:
    """Two shards, planted once for the tests that only look."""

    databases: Databases
    demo: Demo
    progress: list[int]
    checks: dict[ShardKey, list[str]]
    """What the databases refused before they were filled, and how they found rows."""

    async def ask(self, query: str) -> dict[ShardKey, Rows]:
        return await self.databases.ask(query)

    async def column(self, query: str) -> dict[ShardKey, list[Any]]:
        return await self.databases.column(query)

    async def links(self) -> dict[ShardKey, Rows]:
        """Each shard's connections, as (run, waitpoint)."""
        legacy, new = (self.databases.connections[key] for key in (LEGACY, NEW))
        return {
            LEGACY: await legacy.fetch('SELECT "A" AS run, "B" AS waitpoint FROM "_WaitpointRunConnections"'),
            NEW: await new.fetch('SELECT "taskRunId" AS run, "waitpointId" AS waitpoint FROM "WaitpointRunConnection"'),
        }

    async def homes(self, table: str, column: str = "id") -> dict[str, ShardKey]:
        """Where each row is."""
        found = await self.column(f'SELECT "{column}" FROM "{table}"')
        return {id_: key for key, found_ids in found.items() for id_ in found_ids}


@pytest.fixture(scope="module")
async def new_databases(clusters: dict[ShardKey, Cluster]) -> AsyncIterator[MakeDatabases]:
    async with AsyncExitStack() as stack:
        made: list[Databases] = []

        async def make(*keys: ShardKey) -> Databases:
            databases = Databases({}, {})
            for key in keys:
                name = f"demo_{len(made)}"
                await asyncio.to_thread(clusters[key].create_database, name)
                url = clusters[key].url(name)
                engine = databases.engines[key] = create_engine(parse_url("DATABASE_URL", url))
                stack.push_async_callback(engine.dispose)
                connection = databases.connections[key] = await asyncpg.connect(url)
                stack.push_async_callback(connection.close)
                variant: Variant = "full" if key == LEGACY else "dedicated"
                await migrate(engine, variant)
            made.append(databases)
            return databases

        yield make


@pytest.fixture(scope="module")
async def planted(new_databases: MakeDatabases) -> Planted:
    databases = await new_databases(LEGACY, NEW)
    progress: list[int] = []
    before = await checks(databases)
    demo = await databases.plant(progress=progress.append)
    return Planted(databases, demo, progress, before)


async def contents(databases: Databases) -> dict[tuple[ShardKey, str], str]:
    """Each table's rows, as a hash."""
    tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    return {
        (key, table): await databases.connections[key].fetchval(
            f"SELECT md5(string_agg(t::text, ';' ORDER BY t::text)) FROM \"{table}\" t"
        )
        for key, found in (await databases.column(tables)).items()
        for table in found
    }


async def checks(databases: Databases) -> dict[ShardKey, list[str]]:
    """What each database refuses, and how it finds rows."""
    return await databases.column(
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid"
        " WHERE relnamespace = 'public'::regnamespace"
        " UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1"
    )


async def test_the_same_seed_and_anchor_plant_the_same_rows(planted: Planted, new_databases: MakeDatabases) -> None:
    again = await new_databases(LEGACY, NEW)

    assert await again.plant() == planted.demo
    assert await contents(again) == await contents(planted.databases)


async def test_as_many_runs_as_were_asked_for_are_planted_half_of_them_on_each_shard(planted: Planted) -> None:
    counts = await planted.column('SELECT count(*) FROM "TaskRun"')

    assert counts == {LEGACY: [RUNS // 2], NEW: [RUNS // 2]}
    assert sum(planted.progress) == RUNS


async def test_every_state_is_on_every_shard(planted: Planted) -> None:
    states = await planted.column('SELECT DISTINCT status::text FROM "TaskRun"')

    assert {key: len(found) for key, found in states.items()} == {LEGACY: 17, NEW: 17}


async def test_every_environment_but_the_roots_of_branches_has_runs_and_one_has_most_of_them(planted: Planted) -> None:
    environments = await planted.databases.control(
        'SELECT id, type::text, "apiKey", "isBranchableEnvironment", "orgMemberId", "parentEnvironmentId", "branchName"'
        ' FROM "RuntimeEnvironment"'
    )
    found = [
        row[0] for rows in (await planted.ask('SELECT "runtimeEnvironmentId" FROM "TaskRun"')).values() for row in rows
    ]

    assert {row["id"] for row in environments} - set(found) == {
        row["id"] for row in environments if row["isBranchableEnvironment"]
    }
    assert {row["type"] for row in environments} == {"PRODUCTION", "STAGING", "DEVELOPMENT", "PREVIEW"}
    home = next(row["id"] for row in environments if row["apiKey"] == planted.demo.api_key)
    assert found.count(home) > len(found) / 2
    prefixes = {"PRODUCTION": "tr_prod_", "STAGING": "tr_stg_", "DEVELOPMENT": "tr_dev_", "PREVIEW": "tr_preview_"}
    for row in environments:
        assert row["apiKey"].startswith(prefixes[row["type"]])
        assert len(row["apiKey"]) == len(prefixes[row["type"]]) + 24
        assert (row["orgMemberId"] is not None) == (row["type"] == "DEVELOPMENT")
        assert (row["branchName"] is None) == (row["parentEnvironmentId"] is None)


async def test_the_control_plane_has_what_runs_refer_to(planted: Planted) -> None:
    columns = (
        '"projectId", "organizationId", "lockedById", "lockedToVersionId", "lockedQueueId", "scheduleId",'
        ' "scheduleInstanceId", "bulkActionGroupIds"[1] AS bulk'
    )
    found = await planted.ask(f'SELECT DISTINCT {columns} FROM "TaskRun"')
    runs = [row for rows in found.values() for row in rows]
    for column, table in {
        "projectId": "Project",
        "organizationId": "Organization",
        "lockedById": "BackgroundWorkerTask",
        "lockedToVersionId": "BackgroundWorker",
        "lockedQueueId": "TaskQueue",
        "scheduleId": "TaskSchedule",
        "scheduleInstanceId": "TaskScheduleInstance",
        "bulk": "BulkActionGroup",
    }.items():
        referred = {row[column] for row in runs} - {None}
        assert referred
        assert referred <= {row[0] for row in await planted.databases.control(f'SELECT id FROM "{table}"')}


async def test_bulk_actions_count_the_runs_that_they_touched(planted: Planted) -> None:
    touched = await planted.column('SELECT unnest("bulkActionGroupIds") FROM "TaskRun"')
    everything = [id_ for found in touched.values() for id_ in found]

    groups = await planted.databases.control('SELECT id, "successCount" FROM "BulkActionGroup"')

    assert {row["id"]: row["successCount"] for row in groups} == {
        row["id"]: everything.count(row["id"]) for row in groups
    }


@pytest.mark.parametrize(("table", "prefix"), [("TaskRun", "run"), ("BatchTaskRun", "batch")])
async def test_runs_and_batches_are_on_the_shard_that_their_ids_name(planted: Planted, table: str, prefix: str) -> None:
    for key, rows in (await planted.ask(f'SELECT id, "friendlyId" FROM "{table}"')).items():
        assert {shard_of(row["friendlyId"]) for row in rows} == {key}
        assert all(row["friendlyId"] == f"{prefix}_{row['id']}" for row in rows)


async def test_waitpoints_have_ids_that_do_not_say_where_they_are(planted: Planted) -> None:
    for rows in (await planted.ask('SELECT id, "friendlyId" FROM "Waitpoint"')).values():
        assert {shard_of(row["id"]) for row in rows} == {LEGACY}
        assert all(row["friendlyId"] == f"waitpoint_{row['id']}" for row in rows)


async def test_new_ids_say_when_their_runs_were_made(planted: Planted) -> None:
    for row in (await planted.ask('SELECT id, "createdAt" FROM "TaskRun"'))[NEW]:
        assert ids.parse_run_ops(row["id"]).created_at == row["createdAt"].replace(tzinfo=UTC)


async def test_trees_and_batches_are_on_one_shard_and_in_one_environment(planted: Planted) -> None:
    above = await planted.ask(
        """
        SELECT c.depth, p.depth AS parent_depth, r.depth AS root_depth, r."parentTaskRunId" AS above_root,
          c."runtimeEnvironmentId" = p."runtimeEnvironmentId" AND c."traceId" = r."traceId" AS together,
          c."parentSpanId" = p."spanId" AND c."createdAt" >= p."createdAt" AS in_order
        FROM "TaskRun" c LEFT JOIN "TaskRun" p ON p.id = c."parentTaskRunId"
        LEFT JOIN "TaskRun" r ON r.id = c."rootTaskRunId" WHERE c."parentTaskRunId" IS NOT NULL
        """
    )
    for rows in above.values():
        assert {row["depth"] for row in rows} == {1, 2}
        for row in rows:
            assert (row["parent_depth"], row["root_depth"], row["above_root"]) == (row["depth"] - 1, 0, None)
            assert row["together"]
            assert row["in_order"]
    strays = (
        'SELECT count(*) FROM "TaskRun" r JOIN "BatchTaskRun" b ON b.id = "batchId"'
        ' WHERE r."runtimeEnvironmentId" <> b."runtimeEnvironmentId"'
    )
    assert await planted.column(strays) == {LEGACY: [0], NEW: [0]}


async def test_edges_and_connections_are_on_the_shard_of_the_run_that_waits(planted: Planted) -> None:
    homes = await planted.homes("TaskRun")
    edges = await planted.ask('SELECT "taskRunId" AS run, "waitpointId" AS waitpoint FROM "TaskRunWaitpoint"')
    links = await planted.links()

    for found in (edges, links):
        for key, rows in found.items():
            assert {homes[row["run"]] for row in rows} == {key}
    for key in (LEGACY, NEW):
        assert {tuple(row) for row in edges[key]} <= {tuple(row) for row in links[key]}


async def test_every_waitpoint_that_a_run_waits_for_is_on_some_shard_and_pending_if_it_still_waits(
    planted: Planted,
) -> None:
    found = await planted.ask('SELECT id, status::text, "environmentId" FROM "Waitpoint"')
    waitpoints = {row["id"]: row for rows in found.values() for row in rows}
    runs = {
        row["id"]: row
        for rows in (await planted.ask('SELECT id, status::text, "runtimeEnvironmentId" FROM "TaskRun"')).values()
        for row in rows
    }
    for rows in (await planted.links()).values():
        for row in rows:
            assert waitpoints[row["waitpoint"]]["environmentId"] == runs[row["run"]]["runtimeEnvironmentId"]
    blocked: dict[str, set[str]] = {}
    for rows in (
        await planted.ask('SELECT "taskRunId" AS run, "waitpointId" AS waitpoint FROM "TaskRunWaitpoint"')
    ).values():
        for row in rows:
            blocked.setdefault(row["run"], set()).add(waitpoints[row["waitpoint"]]["status"])
    assert all("PENDING" in states for states in blocked.values())
    assert {id_ for id_, row in runs.items() if row["status"] == "WAITING_TO_RESUME"} == blocked.keys()


@pytest.mark.parametrize("home", [LEGACY, NEW])
async def test_runs_wait_for_tokens_of_the_other_shard_and_for_nothing_else(planted: Planted, home: ShardKey) -> None:
    tokens = await planted.column("SELECT id FROM \"Waitpoint\" WHERE type = 'MANUAL'")
    here = set(tokens[home])
    waiting: dict[str, list[str]] = {}
    for row in (await planted.links())[home]:
        waiting.setdefault(row["run"], []).append(row["waitpoint"])
    abroad = {run for run, waits in waiting.items() if len(waits) == 1 and waits[0] not in here}
    edges = await planted.column('SELECT "taskRunId" FROM "TaskRunWaitpoint"')

    assert abroad
    assert abroad & set(edges[home])


async def test_a_token_is_waited_for_by_runs_of_both_shards_at_once(planted: Planted) -> None:
    waited = await planted.column('SELECT "waitpointId" FROM "TaskRunWaitpoint"')

    assert set(waited[LEGACY]) & set(waited[NEW])


@pytest.mark.parametrize("home", [LEGACY, NEW])
async def test_a_run_waits_for_a_run_of_the_other_shard_that_an_idempotency_key_led_to(
    planted: Planted, home: ShardKey
) -> None:
    own = await planted.ask(
        'SELECT w.id, r."idempotencyKey" AS key FROM "Waitpoint" w JOIN "TaskRun" r ON r.id = w."completedByTaskRunId"'
    )
    other = NEW if home == LEGACY else LEGACY
    kept = {row["id"] for row in own[other] if row["key"]}
    edges = await planted.ask('SELECT "waitpointId" AS waitpoint, "batchId" AS batch FROM "TaskRunWaitpoint"')

    assert {bool(row["batch"]) for row in edges[home] if row["waitpoint"] in kept} == {True, False}


@pytest.mark.parametrize("home", [LEGACY, NEW])
async def test_batches_name_members_of_the_other_shard_and_of_other_batches(planted: Planted, home: ShardKey) -> None:
    members = await planted.ask('SELECT id, "batchVersion", unnest("runIds") AS member FROM "BatchTaskRun"')
    runs = {
        row["friendlyId"]: (key, row["batchId"])
        for key, rows in (await planted.ask('SELECT "friendlyId", "batchId" FROM "TaskRun"')).items()
        for row in rows
    }
    strangers = [row for row in members[home] if runs[row["member"]][1] != row["id"]]

    assert {runs[row["member"]][0] for row in strangers} == {LEGACY, NEW}
    assert any(runs[row["member"]][1] for row in strangers)


@pytest.mark.parametrize("home", [LEGACY, NEW])
async def test_runs_are_replays_of_runs_of_both_shards(planted: Planted, home: ShardKey) -> None:
    replays = await planted.column('SELECT "replayedFromTaskRunFriendlyId" FROM "TaskRun"')
    homes = await planted.homes("TaskRun", "friendlyId")

    assert {homes[original] for original in replays[home] if original} == {LEGACY, NEW}


async def test_batches_come_in_every_status_and_several_versions(planted: Planted) -> None:
    found = await planted.ask('SELECT status::text, "batchVersion" AS version FROM "BatchTaskRun"')
    errors = await planted.ask(
        'SELECT DISTINCT b.status::text FROM "BatchTaskRunError" e JOIN "BatchTaskRun" b ON b.id = "batchTaskRunId"'
    )

    for key, rows in found.items():
        assert {row["status"] for row in rows} == {"PENDING", "PROCESSING", "COMPLETED", "PARTIAL_FAILED", "ABORTED"}
        assert {row["version"] for row in rows} >= {"v3", "runengine:v1", "runengine:v2"}
        assert {row["status"] for row in errors[key]} == {"PARTIAL_FAILED", "ABORTED", "COMPLETED"}
    assert "v1" in {row["version"] for row in found[LEGACY]}


async def test_batches_count_their_members(planted: Planted) -> None:
    found = await planted.ask(
        """
        SELECT status::text, "runCount" AS count, "successfulRunCount" AS good, "failedRunCount" AS bad,
          coalesce(array_length("runIds", 1), 0) AS members,
          (SELECT count(*) FROM "BatchTaskRunError" WHERE "batchTaskRunId" = b.id) AS errors FROM "BatchTaskRun" b
        """
    )
    for rows in found.values():
        for row in rows:
            known = row["members"] + row["errors"]
            assert row["count"] > known if row["status"] == "PROCESSING" else row["count"] == known
            assert row["good"] is None or row["good"] + row["bad"] == row["count"]


async def test_waitpoints_of_every_type_are_pending_and_completed_and_some_ran_out(planted: Planted) -> None:
    found = await planted.ask('SELECT DISTINCT type::text, status::text, "outputIsError" AS error FROM "Waitpoint"')

    types = ("RUN", "DATETIME", "MANUAL", "BATCH")
    for rows in found.values():
        kinds = {tuple(row) for row in rows}
        assert kinds >= {(type_, status, False) for type_ in types for status in ("PENDING", "COMPLETED")}
        assert kinds >= {("MANUAL", "COMPLETED", True), ("RUN", "COMPLETED", True)}


async def test_contents_come_in_every_inline_type(planted: Planted) -> None:
    types = {"application/json", "application/super+json", "text/plain"}

    for query in (
        'SELECT DISTINCT "payloadType" FROM "TaskRun"',
        'SELECT DISTINCT "outputType" FROM "TaskRun" WHERE output IS NOT NULL',
    ):
        for found in (await planted.column(query)).values():
            assert set(found) == types


async def test_active_runs_have_a_snapshot_for_each_step_and_runs_that_waited_say_for_what(planted: Planted) -> None:
    lacking = (
        """SELECT count(*) FROM "TaskRun" r WHERE status IN ('PENDING', 'EXECUTING', 'WAITING_TO_RESUME', 'DELAYED')"""
        ' AND engine = \'V2\' AND NOT EXISTS (SELECT FROM "TaskRunExecutionSnapshot" WHERE "runId" = r.id)'
    )
    assert await planted.column(lacking) == {LEGACY: [0], NEW: [0]}
    by_variant = {
        LEGACY: 'SELECT count(*) FROM "_completedWaitpoints" c JOIN "TaskRunExecutionSnapshot" s ON s.id = c."A"',
        NEW: 'SELECT count(*) FROM "CompletedWaitpoint" c JOIN "TaskRunExecutionSnapshot" s ON s.id = c."snapshotId"',
    }
    for key, query in by_variant.items():
        assert await planted.databases.connections[key].fetchval(query) > 0


async def test_only_the_retired_engine_wrote_attempts_and_only_to_legacy(planted: Planted) -> None:
    engines = await planted.column(
        'SELECT DISTINCT engine::text FROM "TaskRun" r JOIN "TaskRunAttempt" a ON a."taskRunId" = r.id'
    )

    assert engines == {LEGACY: ["V1"], NEW: []}


async def test_times_are_in_order_and_none_is_after_the_anchor(planted: Planted) -> None:
    out_of_order = await planted.column(
        """
        SELECT "friendlyId" || ' ' || status::text FROM "TaskRun" WHERE NOT "createdAt" <= "updatedAt"
          OR NOT "createdAt" <= "startedAt" OR NOT "startedAt" <= "completedAt" OR NOT "completedAt" <= "updatedAt"
        UNION ALL SELECT "friendlyId" FROM "Waitpoint" WHERE NOT "createdAt" <= "completedAt"
        UNION ALL SELECT "friendlyId" FROM "BatchTaskRun" WHERE NOT "createdAt" <= "completedAt"
        """
    )
    assert out_of_order == {LEGACY: [], NEW: []}
    for table in ("TaskRun", "BatchTaskRun", "Waitpoint", "TaskRunWaitpoint", "TaskRunExecutionSnapshot"):
        for [latest] in (await planted.column(f'SELECT max("updatedAt") FROM "{table}"')).values():
            assert latest <= ANCHOR.replace(tzinfo=None)


async def test_final_states_have_an_end_and_others_do_not(planted: Planted) -> None:
    ends = await planted.ask(
        """
        SELECT status::text,
          bool_and("completedAt" IS NOT NULL) AS ended, bool_or("completedAt" IS NOT NULL) AS any_ended,
          bool_and(("expiredAt" IS NOT NULL) = (status = 'EXPIRED')) AS expiry,
          bool_and("delayUntil" IS NOT NULL) AS delayed, bool_and("lockedById" IS NOT NULL) AS locked
        FROM "TaskRun" GROUP BY 1
        """
    )
    waiting = {"DELAYED", "PENDING", "PENDING_VERSION", "WAITING_FOR_DEPLOY"}
    active = waiting | {"DEQUEUED", "EXECUTING", "WAITING_TO_RESUME", "RETRYING_AFTER_FAILURE", "PAUSED"}
    for rows in ends.values():
        for row in rows:
            assert row["ended"] == row["any_ended"] == (row["status"] not in active)
            assert row["expiry"]
            assert row["delayed"] or row["status"] != "DELAYED"
            assert row["locked"] == (row["status"] not in waiting | {"EXPIRED"})


async def test_the_demo_names_two_runs_of_two_shards_and_the_token_that_blocks_both(planted: Planted) -> None:
    demo = planted.demo
    token = demo.token.removeprefix("waitpoint_")
    key = await planted.databases.control(
        f'SELECT e.id, e.slug, e.type::text FROM "RuntimeEnvironment" e WHERE "apiKey" = \'{demo.api_key}\''
    )
    assert [(row["slug"], row["type"]) for row in key] == [(demo.environment_name, "PRODUCTION")]

    for home, friendly_id in ((LEGACY, demo.legacy_run), (NEW, demo.new_run)):
        run = await planted.databases.connections[home].fetchrow(
            'SELECT * FROM "TaskRun" WHERE "friendlyId" = $1', friendly_id
        )
        assert run["runtimeEnvironmentId"] == key[0]["id"]
        assert run["batchId"]
        assert run["parentTaskRunId"]
        assert (run["id"], token) in {tuple(row) for row in (await planted.links())[home]}
        edges = await planted.ask('SELECT "taskRunId", "waitpointId" FROM "TaskRunWaitpoint"')
        assert (run["id"], token) in {tuple(row) for row in edges[home]}
    assert list((await planted.homes("Waitpoint")).keys()).count(token) == 1


async def test_the_demo_is_found_again(planted: Planted) -> None:
    assert await find_demo(planted.databases.control_plane) == planted.demo


async def test_indexes_and_foreign_keys_are_there_afterwards_and_so_are_statistics(planted: Planted) -> None:
    assert await checks(planted.databases) == planted.checks
    estimates = await planted.column("SELECT reltuples FROM pg_class WHERE oid = '\"TaskRun\"'::regclass")
    assert estimates == {LEGACY: [RUNS // 2], NEW: [RUNS // 2]}


@pytest.fixture(scope="module")
async def single(new_databases: MakeDatabases) -> tuple[Databases, Demo]:
    databases = await new_databases(LEGACY)
    return databases, await databases.plant(runs=130, seed=2)


async def test_one_shard_holds_everything(single: tuple[Databases, Demo]) -> None:
    databases, demo = single

    blocked = await databases.column(
        'SELECT r."friendlyId" FROM "TaskRunWaitpoint" e JOIN "TaskRun" r ON r.id = "taskRunId"'
        f" WHERE \"waitpointId\" = '{demo.token.removeprefix('waitpoint_')}'"
    )
    assert demo.legacy_run != demo.new_run
    assert set(blocked[LEGACY]) == {demo.legacy_run, demo.new_run}
    assert await databases.column('SELECT count(*) FROM "TaskRun"') == {LEGACY: [130]}


async def test_another_seed_plants_other_ids_and_another_credential(
    planted: Planted, single: tuple[Databases, Demo]
) -> None:
    databases, demo = single

    assert demo.api_key != planted.demo.api_key
    homes = await planted.homes("TaskRun")
    assert homes.keys().isdisjoint((await databases.column('SELECT id FROM "TaskRun"'))[LEGACY])


async def test_older_blocks_of_a_big_demo_are_plain_runs_with_small_trees_and_a_batch(
    new_databases: MakeDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.demo.world.WHOLE", 1)
    databases = await new_databases(LEGACY)
    await databases.plant(runs=300)

    plain = 'FROM "TaskRun" WHERE "createdAt" < (SELECT min("createdAt") FROM "Waitpoint")'
    [[count, states, depth, members]] = await databases.control(
        f'SELECT count(*), count(DISTINCT status), max(depth), count("batchId") {plain}'
    )
    assert (count, states, depth, members) == (200, 2, 1, 20)


async def test_three_shards_hold_a_third_each_and_their_tokens_go_round(new_databases: MakeDatabases) -> None:
    databases = await new_databases(LEGACY, NEW, SHARD_A)
    demo = await databases.plant(runs=301)

    found = await databases.column('SELECT id FROM "TaskRun"')
    assert [len(runs) for runs in found.values()] == [101, 100, 100]
    assert {key: {shard_of(run) for run in runs} for key, runs in found.items()} == {key: {key} for key in found}
    tokens = await databases.column("SELECT id FROM \"Waitpoint\" WHERE type = 'MANUAL'")
    waited = await databases.column('SELECT "waitpointId" FROM "TaskRunWaitpoint"')
    for key, neighbour in ((LEGACY, NEW), (NEW, SHARD_A), (SHARD_A, LEGACY)):
        assert set(waited[key]) & set(tokens[neighbour])
        assert demo.token.removeprefix("waitpoint_") in waited[key]


async def test_a_demo_is_not_planted_twice(planted: Planted) -> None:
    before = await contents(planted.databases)

    with pytest.raises(ConfigurationError, match="the demo is in these databases already") as refusal:
        await planted.databases.plant()

    assert "RUNATLAS_HOME" in refusal.value.hint
    assert await contents(planted.databases) == before


async def test_a_control_plane_with_an_organization_of_its_own_is_refused(new_databases: MakeDatabases) -> None:
    databases = await new_databases(LEGACY)
    await plant_tenant(databases.connections[LEGACY])

    with pytest.raises(ConfigurationError, match='there are rows in "Organization"'):
        await databases.plant(runs=100)

    assert await databases.column('SELECT count(*) FROM "TaskRun"') == {LEGACY: [0]}


async def test_a_database_that_runatlas_did_not_make_is_refused(new_databases: MakeDatabases) -> None:
    databases = await new_databases(LEGACY)
    async with databases.control_plane.begin() as connection:
        await connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))

    with pytest.raises(ConfigurationError, match="was not made by runatlas") as refusal:
        await databases.plant(runs=100)

    assert "runatlas migrate" in refusal.value.hint


async def test_a_shard_that_holds_runs_is_refused(planted: Planted, new_databases: MakeDatabases) -> None:
    databases = await new_databases(LEGACY)
    shards = databases.engines | {NEW: planted.databases.engines[NEW]}

    with pytest.raises(ConfigurationError, match='there are rows in "TaskRun"'):
        await plant(databases.control_plane, shards, runs=200)

    assert await find_demo(databases.control_plane) is None
    assert await databases.column('SELECT count(*) FROM "TaskRun"') == {LEGACY: [0]}


async def test_planting_that_is_interrupted_leaves_nothing_and_can_be_begun_again(new_databases: MakeDatabases) -> None:
    databases = await new_databases(LEGACY, NEW)
    empty, complete = await contents(databases), await checks(databases)
    task: asyncio.Task[Demo]

    def interrupt(_: int) -> None:
        task.cancel()

    task = asyncio.create_task(databases.plant(progress=interrupt))
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await contents(databases) == empty
    assert await checks(databases) == complete
    assert await find_demo(databases.control_plane) is None
    demo = await databases.plant(runs=200)
    assert await find_demo(databases.control_plane) == demo


async def test_ids_and_times_are_written_as_everywhere_else() -> None:
    mint = Mint(7, "run")
    for serial in (0, 1, 99_999_999):
        bits, at = mint.bits(serial), ANCHOR + timedelta(milliseconds=serial)
        random, moment = bits.to_bytes(9), (at - ids.EPOCH) // timedelta(milliseconds=1)

        assert cuid(moment, bits) == ids.mint_cuid(at, random)
        assert body_of(LEGACY)(moment, bits) == ids.mint_cuid(at, random)
        assert body_of(NEW)(moment, bits) == ids.mint_v1("us-east-1", at, random)
        assert body_of(SHARD_A)(moment, bits) == ids.mint_v2("a", at, random)
        assert timestamp(moment) == at.replace(tzinfo=None).isoformat(" ", "milliseconds")
    assert len({mint.bits(serial) for serial in range(-1000, 1000)}) == 2000
