"""What the doctor finds in databases, by what their indexes are and not by what they are called; it alters none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from store.doctor import Report, examine, meaning, named_databases
from store.embedded import Cluster
from store.errors import ConfigurationError
from store.migrations.sql import additional_indexes
from store.residency import LEGACY, NEW, ShardKey
from store.tables import DEDICATED, FULL
from store.topology import Access, ShardAccess, Topology
from store.urls import parse_url
from tests.conftest import MakeDatabase


@asynccontextmanager
async def connected(url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def two_shards(legacy: str, new: str) -> Topology:
    control_plane = Access(parse_url("DATABASE_URL", legacy))
    shard = ShardAccess(NEW, DEDICATED, Access(parse_url("RUN_OPS_DATABASE_URL", new)))
    return Topology(control_plane, (ShardAccess(LEGACY, FULL, control_plane), shard))


async def reports(topology: Topology) -> list[Report]:
    found = await examine(topology)
    assert all(isinstance(report, Report) for report in found), found
    return [report for report in found if isinstance(report, Report)]


async def additional(connection: "asyncpg.Connection[Any]") -> list[str]:
    rows = await connection.fetch(r"SELECT indexname FROM pg_indexes WHERE indexname ~ '^runatlas_(?!migrations)'")
    return [row["indexname"] for row in rows]


@pytest.fixture
async def topology(make_database: MakeDatabase, request: pytest.FixtureRequest) -> Topology:
    """Two migrated databases, of this test alone."""
    name = request.node.originalname
    return two_shards(await make_database(LEGACY, name[:60]), await make_database(NEW, name[:60]))


async def test_a_migrated_database_has_every_index_that_the_files_say_and_lacks_none(topology: Topology) -> None:
    legacy, new = await reports(topology)

    assert (legacy.statements, new.statements) == ((), ())
    assert (legacy.database.roles, new.database.roles) == (("control plane", "shard legacy"), ("shard new",))
    assert int(legacy.version.split(".")[0]) < int(new.version.split(".")[0])
    for report in (legacy, new):
        async with connected(report.database.url.dsn) as connection:
            assert sorted(index.name for index in report.database.indexes) == sorted(await additional(connection))


async def test_an_index_under_another_name_is_there_and_one_of_other_columns_under_its_name_is_not(
    topology: Topology,
) -> None:
    for database in named_databases(topology):
        async with connected(database.url.dsn) as connection:
            for number, name in enumerate(await additional(connection)):
                await connection.execute(f"ALTER INDEX {name} RENAME TO somebodys_{number}")
            assert await additional(connection) == []
            await connection.execute('CREATE INDEX runatlas_run_trace ON "TaskRun" ("spanId")')

    assert [report.statements for report in await reports(topology)] == [(), ()]


async def test_what_is_said_to_be_missing_is_made_by_the_statements_that_are_said(topology: Topology) -> None:
    database = named_databases(topology)[1]
    async with connected(database.url.dsn) as connection:
        await connection.execute("DROP INDEX runatlas_run_machine, runatlas_waitpoint_waiting, runatlas_run_trace")
        await connection.execute('CREATE INDEX runatlas_run_trace ON "TaskRun" ("spanId")')
        await connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'runatlas_run_region'::regclass"
        )
        _, report = await reports(topology)
        statements = "\n".join(report.statements).split(";\n")[:-1]
        for statement in statements:
            await connection.execute(statement)

        assert [statement.split(" ON ")[0].splitlines()[-1] for statement in statements] == [
            'DROP INDEX CONCURRENTLY "public".runatlas_run_trace',
            "CREATE INDEX CONCURRENTLY runatlas_run_trace",
            'DROP INDEX CONCURRENTLY "public".runatlas_run_region',
            "CREATE INDEX CONCURRENTLY runatlas_run_region",
            "CREATE INDEX CONCURRENTLY runatlas_run_machine",
            "CREATE INDEX CONCURRENTLY runatlas_waitpoint_waiting",
        ]
        assert sorted(await additional(connection)) == sorted(index.name for index in database.indexes)
    _, report = await reports(topology)
    assert report.statements == ()
    assert not report.is_behind


async def test_a_database_of_ours_that_was_left_behind_is_told_from_one_that_lost_an_index(topology: Topology) -> None:
    async with connected(named_databases(topology)[1].url.dsn) as connection:
        await connection.execute("DROP INDEX runatlas_run_machine")
        lost = (await reports(topology))[1]
        await connection.execute("UPDATE runatlas_migrations SET version_num = 'dedicated_0002'")
        behind = (await reports(topology))[1]
        await connection.execute("UPDATE runatlas_migrations SET version_num = 'dedicated_9999'")
        ahead = (await reports(topology))[1]

    assert (lost.is_behind, behind.is_behind, ahead.is_behind) == (False, True, False)
    assert len(lost.statements) == len(behind.statements) == len(ahead.statements) == 1


async def test_a_schema_that_is_not_the_public_one_is_named_in_the_statements(topology: Topology) -> None:
    url = named_databases(topology)[1].url.dsn
    async with connected(url) as connection:
        await connection.execute("ALTER SCHEMA public RENAME TO platform; DROP INDEX platform.runatlas_run_test")
    legacy = topology.control_plane.primary.dsn

    there = (await reports(two_shards(legacy, f"{url}&schema=platform")))[1]
    elsewhere = (await reports(two_shards(legacy, url)))[1]

    assert [*there.statements] == [text for text in there.statements if 'ON "platform"."TaskRun"' in text] != []
    assert elsewhere.statements == ()
    assert elsewhere.absent_tables == ("TaskRun", "BatchTaskRun", "Waitpoint", "WaitpointTag")


async def test_a_database_is_asked_once_for_all_of_its_roles_and_a_replica_apart_from_its_primary() -> None:
    control_plane = Access(parse_url("DATABASE_URL", "postgresql://h/d"))
    legacy = Access(parse_url("RUN_OPS_LEGACY_DATABASE_URL", "postgresql://h/l"))
    replica = parse_url("RUN_OPS_LEGACY_DATABASE_READ_REPLICA_URL", "postgresql://r/l")
    alone = Topology(control_plane, (ShardAccess(LEGACY, FULL, control_plane),))
    apart = Topology(control_plane, (ShardAccess(LEGACY, FULL, Access(legacy.primary, replica)),))

    assert [(of.roles, of.url.place) for of in named_databases(alone)] == [(("control plane", "shard legacy"), "h/d")]
    assert [(of.roles, of.url.place, of.indexes) for of in named_databases(apart)] == [
        (("control plane",), "h/d", additional_indexes("full")),
        (("shard legacy",), "h/l", additional_indexes("shared")),
        (("replica of shard legacy",), "r/l", additional_indexes("shared")),
    ]


async def test_a_standby_says_that_it_is_one(
    topology: Topology, clusters: dict[ShardKey, Cluster], tmp_path: Path
) -> None:
    new = topology.shards[1].access.primary
    standby = await asyncio.to_thread(clusters[NEW].base_backup, tmp_path / "standby")
    await asyncio.to_thread(standby.start)
    try:
        replica = parse_url("RUN_OPS_DATABASE_READ_REPLICA_URL", standby.url(new.dsn.partition("?")[0].split("/")[-1]))
        copied = ShardAccess(NEW, DEDICATED, Access(new, replica))
        found = await reports(Topology(topology.control_plane, (topology.shards[0], copied)))
    finally:
        await asyncio.to_thread(standby.stop)

    assert [(report.database.roles[-1], report.is_standby) for report in found] == [
        ("shard legacy", False),
        ("shard new", False),
        ("replica of shard new", True),
    ]
    assert all(report.statements == () for report in found)


async def test_a_database_that_cannot_be_reached_is_told_and_the_others_are_examined_all_the_same(
    topology: Topology,
) -> None:
    lost, found = await examine(
        two_shards("postgresql://u:s3cret@127.0.0.1:1/d", topology.shards[1].access.primary.dsn)
    )

    assert isinstance(lost, ConfigurationError)
    assert "DATABASE_URL: cannot use the database at 127.0.0.1:1/d" in str(lost)
    assert isinstance(found, Report)
    assert found.statements == ()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ('("a", id DESC)', 'CREATE INDEX x ON public."T" USING btree (a, id DESC)'),
        ("(lower(name) text_pattern_ops)", "CREATE UNIQUE INDEX x ON t USING btree (lower(name) text_pattern_ops)"),
        (
            "(id)\n  WHERE type = 'M' AND NOT b",
            """CREATE INDEX x ON s.t USING btree (id) WHERE ((type = 'M'::s."Type") AND (NOT b))""",
        ),
        ("USING gin (tags)", "CREATE INDEX x ON t USING gin (tags) WITH (fastupdate=off)"),
        ("(coalesce(a, b), c)", "CREATE INDEX x ON t USING btree (COALESCE(a, b), c) INCLUDE (d, e)"),
    ],
)
def test_a_definition_means_the_same_as_what_postgres_makes_of_it(ours: str, theirs: str) -> None:
    assert meaning(ours.replace('"a"', "a")) == meaning(theirs)


@pytest.mark.parametrize(
    "theirs",
    [
        'CREATE INDEX x ON t USING btree ("a", "b")',
        'CREATE INDEX x ON t USING btree ("a" DESC)',
        'CREATE INDEX x ON t USING hash ("a")',
        'CREATE INDEX x ON t USING btree ("a") WHERE ("a" IS NOT NULL)',
        'CREATE INDEX x ON t USING btree ("a" COLLATE "C")',
    ],
)
def test_a_definition_that_serves_something_else_means_something_else(theirs: str) -> None:
    assert meaning('("a")') != meaning(theirs)
