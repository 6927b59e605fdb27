"""Our own databases: made, brought up to date, and never confused with a live deployment's."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from store.embedded import Cluster
from store.federation import create_engine
from store.migrations import (
    PLATFORM_TABLES,
    ForeignDatabaseError,
    UnknownRevisionError,
    Variant,
    current,
    head,
    made_by_us,
    migrate,
)
from store.migrations import __file__ as package
from store.residency import LEGACY, ShardKey
from store.urls import parse_url

NewDatabase = Callable[[], Awaitable[AsyncEngine]]

VARIANTS: tuple[Variant, ...] = get_args(Variant)
REVISIONS = ("0001", "0002", "0003", "0004")


@pytest.fixture(scope="module")
async def new_database(clusters: dict[ShardKey, Cluster]) -> AsyncIterator[NewDatabase]:
    async with AsyncExitStack() as stack:
        numbers = count()

        async def make() -> AsyncEngine:
            name = f"migrations_{next(numbers)}"
            await asyncio.to_thread(clusters[LEGACY].create_database, name)
            engine = create_engine(parse_url("DATABASE_URL", clusters[LEGACY].url(name)))
            stack.push_async_callback(engine.dispose)
            return engine

        yield make


@pytest.fixture(scope="module")
async def migrated(new_database: NewDatabase) -> dict[Variant, AsyncEngine]:
    engines = {variant: await new_database() for variant in VARIANTS}
    for variant, engine in engines.items():
        await migrate(engine, variant)
    return engines


async def run(engine: AsyncEngine, *statements: str) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def ask(engine: AsyncEngine, query: str) -> list[str]:
    async with engine.connect() as connection:
        return list(await connection.scalars(text(query)))


async def everything_in(engine: AsyncEngine) -> list[str]:
    return await ask(
        engine,
        "SELECT format('%s %s', relkind, relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace ORDER BY 1",
    )


async def additional_indexes(engine: AsyncEngine) -> dict[str, str]:
    rows = await ask(
        engine,
        "SELECT format('%s %s', indexname, indexdef) FROM pg_indexes "
        r"WHERE schemaname = 'public' AND indexname LIKE 'runatlas\_%' AND tablename <> 'runatlas_migrations'",
    )
    return dict(row.split(" ", 1) for row in rows)


@pytest.mark.parametrize("variant", VARIANTS)
async def test_an_empty_database_is_brought_to_the_head_and_then_left_alone(
    new_database: NewDatabase, variant: Variant
) -> None:
    engine = await new_database()
    assert await current(engine, variant) is None

    assert await migrate(engine, variant) == [f"{variant}_{number}" for number in REVISIONS]
    before = await everything_in(engine)

    assert await migrate(engine, variant) == []
    assert await current(engine, variant) == head(variant) == f"{variant}_{REVISIONS[-1]}"
    assert await everything_in(engine) == before


async def test_of_two_migrations_at_once_one_applies_and_the_other_finds_nothing_to_do(
    new_database: NewDatabase,
) -> None:
    engine = await new_database()

    applied = await asyncio.gather(migrate(engine, "dedicated"), migrate(engine, "dedicated"))

    assert sorted(applied, key=len) == [[], [f"dedicated_{number}" for number in REVISIONS]]


async def test_two_databases_are_migrated_at_once_and_each_remembers_its_own_revision(
    new_database: NewDatabase,
) -> None:
    one, other = await new_database(), await new_database()

    await asyncio.gather(migrate(one, "full"), migrate(other, "dedicated"))

    for engine, variant in ((one, "full"), (other, "dedicated")):
        assert await ask(engine, "SELECT version_num FROM runatlas_migrations") == [f"{variant}_{REVISIONS[-1]}"]


async def test_a_database_that_was_left_behind_gets_only_what_it_lacks(new_database: NewDatabase) -> None:
    engine = await new_database()
    await migrate(engine, "dedicated")
    complete = await everything_in(engine)
    names = [*await additional_indexes(engine)]
    await run(
        engine,
        *(f"DROP INDEX {name}" for name in names),
        "UPDATE runatlas_migrations SET version_num = 'dedicated_0001'",
    )

    assert await migrate(engine, "dedicated") == [f"dedicated_{number}" for number in REVISIONS[1:]]
    assert await everything_in(engine) == complete


async def test_a_migration_that_fails_leaves_nothing_behind(new_database: NewDatabase) -> None:
    engine = await new_database()
    await run(engine, """CREATE TYPE "WaitpointType" AS ENUM ('SOMETHING_ELSE')""")
    before = await everything_in(engine)

    with pytest.raises(ProgrammingError, match="WaitpointType"):
        await migrate(engine, "dedicated")

    assert await everything_in(engine) == before


@pytest.mark.parametrize(
    ("variant", "table"), [("dedicated", '"TaskRun"'), *(("full", name) for name in PLATFORM_TABLES)]
)
async def test_the_database_of_a_live_deployment_is_refused_and_not_altered(
    new_database: NewDatabase, variant: Variant, table: str
) -> None:
    engine = await new_database()
    await run(engine, f"CREATE TABLE {table} AS SELECT 'a' AS id")
    before = await everything_in(engine)

    with pytest.raises(ForeignDatabaseError, match="runatlas did not make them") as refusal:
        await migrate(engine, variant)

    assert "live deployment" in refusal.value.hint
    assert await everything_in(engine) == before
    assert await ask(engine, f"TABLE {table}") == ["a"]
    assert await current(engine, variant) is None


async def test_a_revision_of_a_newer_runatlas_is_refused(new_database: NewDatabase) -> None:
    engine = await new_database()
    await migrate(engine, "dedicated")
    await run(engine, "UPDATE runatlas_migrations SET version_num = 'dedicated_9999'")

    for refused in (migrate(engine, "dedicated"), current(engine, "dedicated")):
        with pytest.raises(UnknownRevisionError, match="'dedicated_9999', which this runatlas does not know") as error:
            await refused
        assert "a newer runatlas" in error.value.hint


async def test_a_database_of_the_other_variant_is_refused(migrated: dict[Variant, AsyncEngine]) -> None:
    with pytest.raises(UnknownRevisionError, match="is of the full schema, not of the dedicated one"):
        await migrate(migrated["full"], "dedicated")
    with pytest.raises(UnknownRevisionError, match="is of the dedicated schema, not of the full one"):
        await current(migrated["dedicated"], "full")


async def test_only_a_database_that_was_migrated_is_ours(
    new_database: NewDatabase, migrated: dict[Variant, AsyncEngine]
) -> None:
    empty, foreign = await new_database(), await new_database()
    await run(foreign, 'CREATE TABLE "TaskRun" (id text)')

    answers = []
    for engine in (empty, foreign, *migrated.values()):
        async with engine.connect() as connection:
            answers.append(await made_by_us(connection))

    assert answers == [False, False, True, True]


async def test_a_run_store_has_the_same_additional_indexes_in_both_variants(
    migrated: dict[Variant, AsyncEngine],
) -> None:
    full, dedicated = [await additional_indexes(migrated[variant]) for variant in VARIANTS]

    assert dedicated
    assert full.items() >= dedicated.items()
    assert full.keys() - dedicated.keys() == {
        "runatlas_org_member_user",
        "runatlas_project_organization",
        "runatlas_bulk_action_pending",
    }


def test_every_additional_index_names_its_reader_and_may_exist_already() -> None:
    statements = [
        statement
        for file in Path(package).parent.glob("*/*_indexes.sql")
        for statement in re.split(r"\n\n+", file.read_text())
        if "INDEX" in statement
    ]

    assert statements
    for statement in statements:
        assert re.match(r"(-- .+\n)+CREATE INDEX IF NOT EXISTS runatlas_\w+ ON ", statement), statement


RUNS = 'SELECT id FROM "TaskRun" WHERE'
HERE = f"{RUNS} \"runtimeEnvironmentId\" = 'e'"
BATCHES = 'SELECT id FROM "BatchTaskRun" WHERE "runtimeEnvironmentId" = \'e\''
TOKENS = "SELECT id FROM \"Waitpoint\" WHERE \"environmentId\" = 'e' AND type = 'MANUAL'"
TAGS = (
    'SELECT id FROM (SELECT name AS id, "createdAt", "environmentId" FROM "WaitpointTag") WHERE "environmentId" = \'e\''
)
NEWEST_FIRST = 'ORDER BY "createdAt" DESC, id COLLATE "C" DESC LIMIT 26'
PAGES = {
    "environment": ("runatlas_run_environment", HERE),
    "status": ("runatlas_run_status", f"{HERE} AND status = 'PENDING'"),
    "task": ("runatlas_run_task", f"{HERE} AND \"taskIdentifier\" = 't'"),
    "queue": ("runatlas_run_queue", f"{HERE} AND queue = 'q'"),
    "version": ("runatlas_run_version", f"{HERE} AND \"taskVersion\" = 'v'"),
    "region": ("runatlas_run_region", f"{HERE} AND coalesce(region, \"masterQueue\") = 'r'"),
    "machine": ("runatlas_run_machine", f"{HERE} AND \"machinePreset\" = 'm'"),
    "tests": ("runatlas_run_test", f'{HERE} AND "isTest" = true'),
    "top": ("runatlas_run_root_only", f'{HERE} AND "rootTaskRunId" IS NULL'),
    "schedule": ("runatlas_run_schedule", f"{RUNS} \"scheduleId\" = 's'"),
    "parent": ("runatlas_run_parent", f"{RUNS} \"parentTaskRunId\" = 'p'"),
    "batch": ("runatlas_run_batch", f"{RUNS} \"batchId\" = 'b'"),
    "batches": ("runatlas_batch_environment", BATCHES),
    "batches by status": ("runatlas_batch_status", f"{BATCHES} AND status = 'PENDING'"),
    "tokens": ("runatlas_waitpoint_type", TOKENS),
    "waiting tokens": ("runatlas_waitpoint_waiting", f"{TOKENS} AND status = 'PENDING'"),
    "completed tokens": (
        "runatlas_waitpoint_completed",
        f"{TOKENS} AND status = 'COMPLETED' AND \"outputIsError\" = false",
    ),
    "failed tokens": (
        "runatlas_waitpoint_completed",
        f"{TOKENS} AND status = 'COMPLETED' AND \"outputIsError\" = true",
    ),
    "tags": ("runatlas_tag_environment", TAGS),
}


@pytest.mark.parametrize(("index", "page"), PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("variant", VARIANTS)
async def test_a_page_is_walked_from_its_index_without_a_sort(
    migrated: dict[Variant, AsyncEngine], variant: Variant, index: str, page: str
) -> None:
    after = "AND (\"createdAt\", id COLLATE \"C\") < ('2026-08-01', 'x')"
    async with migrated[variant].connect() as connection:
        for off in ("seqscan", "bitmapscan", "sort"):  # the tables are empty
            await connection.execute(text(f"SET LOCAL enable_{off} = off"))
        plan = "\n".join(await connection.scalars(text(f"EXPLAIN {page} {after} {NEWEST_FIRST}")))

    assert index in plan
    assert "Sort" not in plan
    assert re.search(r'Index Cond: .*ROW\("createdAt", \(?(id|name)\)?.*\) < ROW', plan), plan


@pytest.mark.parametrize("variant", VARIANTS)
async def test_tags_that_begin_with_a_text_are_found_by_it(
    migrated: dict[Variant, AsyncEngine], variant: Variant
) -> None:
    query = "SELECT name FROM \"WaitpointTag\" WHERE \"environmentId\" = 'e' AND starts_with(lower(name), lower('P'))"
    async with migrated[variant].connect() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))  # the table is empty
        plan = "\n".join(await connection.scalars(text(f"EXPLAIN {query}")))

    assert "runatlas_tag_name" in plan
    assert "~>=~ 'p'" in plan
