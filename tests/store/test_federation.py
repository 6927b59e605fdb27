"""What is checked before anything is served, and what a federation makes of the databases that it is given."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from store.embedded import Cluster
from store.errors import ConfigurationError
from store.federation import Federation, Writes, create_engine, explained, open_federation
from store.migrations import VERSION_TABLE
from store.residency import LEGACY, NEW, ShardKey
from store.router import Router
from store.shard import Shard
from store.tables import DEDICATED, FULL
from store.topology import Access, ShardAccess, Topology
from store.urls import parse_url
from tests.conftest import SHARDS, MakeDatabase, topology_of

Urls = dict[ShardKey, str]


def access(setting: str, url: str, replica: str | None = None) -> Access:
    return Access(parse_url(setting, url), parse_url(f"{setting}_REPLICA", replica) if replica else None)


async def refused(topology: Topology, *, expect_split: bool = False) -> ConfigurationError:
    """Return the refusal to open a topology."""
    with pytest.raises(ConfigurationError) as refusal:
        async with open_federation(topology, expect_split=expect_split):
            pass
    assert "\n" not in f"{refusal.value}{refusal.value.hint}"
    return refusal.value


def pools(federation: Federation) -> int:
    databases = [federation.control_plane.primary, federation.control_plane.replica]
    for shard in federation.router.shards.values():
        databases += [shard.primary, shard.replica]
    return len({id(database.engine) for database in databases})


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_roles_that_are_one_database_share_a_pool(urls: Urls, count: int) -> None:
    async with open_federation(topology_of(urls, SHARDS[:count])) as federation:
        assert list(federation.router.shards) == list(SHARDS[:count])
        assert pools(federation) == count


async def test_two_names_for_one_database_are_refused_by_asking_it(urls: Urls) -> None:
    """The URLs differ; what they lead to does not."""
    cp = access("DATABASE_URL", urls[LEGACY])
    same = access("RUN_OPS_DATABASE_URL", urls[LEGACY].replace("runatlas@", "runatlas:x@"))
    refusal = await refused(Topology(cp, (ShardAccess(LEGACY, FULL, cp), ShardAccess(NEW, FULL, same))))
    assert str(refusal) == "DATABASE_URL and RUN_OPS_DATABASE_URL are one database, 'runatlas'"


async def test_a_shard_in_the_control_planes_database_is_refused(urls: Urls) -> None:
    cp, legacy = access("DATABASE_URL", urls[LEGACY]), access("RUN_OPS_LEGACY_DATABASE_URL", urls[NEW])
    again = access("RUN_OPS_DATABASE_URL", urls[LEGACY])
    refusal = await refused(Topology(cp, (ShardAccess(LEGACY, DEDICATED, legacy), ShardAccess(NEW, FULL, again))))
    assert "DATABASE_URL and RUN_OPS_DATABASE_URL are one database" in str(refusal)


async def test_two_databases_of_one_cluster_are_two(urls: Urls, make_database: MakeDatabase) -> None:
    cp = access("DATABASE_URL", urls[LEGACY])
    shards = (
        ShardAccess(LEGACY, FULL, cp),
        ShardAccess(NEW, DEDICATED, access("RUN_OPS_DATABASE_URL", urls[NEW])),
        ShardAccess(ShardKey("b"), DEDICATED, access("RUN_OPS_SHARD_B_DATABASE_URL", await make_database(NEW, "twin"))),
    )
    async with open_federation(Topology(cp, shards)) as federation:
        assert pools(federation) == 3


async def test_a_split_that_is_expected_is_checked(urls: Urls) -> None:
    refusal = await refused(topology_of(urls, SHARDS[:2]), expect_split=True)
    assert "RUN_OPS_EXPECT_CONTROL_PLANE_SPLIT" in str(refusal)


async def test_a_replica_of_something_else_is_refused(urls: Urls) -> None:
    cp = access("DATABASE_URL", urls[LEGACY], replica=urls[NEW])
    refusal = await refused(Topology(cp, (ShardAccess(LEGACY, FULL, cp),)))
    assert "lacks" in str(refusal) or "is not a replica of DATABASE_URL" in str(refusal) or "no table" in str(refusal)


async def test_a_replica_that_is_the_primary_shares_its_pool(urls: Urls) -> None:
    cp = access("DATABASE_URL", urls[LEGACY], replica=urls[LEGACY])
    async with open_federation(Topology(cp, (ShardAccess(LEGACY, FULL, cp),))) as federation:
        assert pools(federation) == 1


async def test_a_standby_is_a_replica(urls: Urls, clusters: dict[ShardKey, Cluster], tmp_path: Path) -> None:
    standby = await asyncio.to_thread(clusters[LEGACY].base_backup, tmp_path / "standby")
    await asyncio.to_thread(standby.start)
    try:
        cp = access("DATABASE_URL", urls[LEGACY], replica=standby.url("runatlas"))
        async with open_federation(Topology(cp, (ShardAccess(LEGACY, FULL, cp),))) as federation:
            assert pools(federation) == 2
            shard = federation.router.shards[LEGACY]
            assert shard.primary is not shard.replica
    finally:
        await asyncio.to_thread(standby.stop)


async def test_two_standbys_of_one_primary_are_two_pools(
    urls: Urls, clusters: dict[ShardKey, Cluster], tmp_path: Path
) -> None:
    standbys: list[Cluster] = []
    try:
        for name in ("first", "second"):
            standbys.append(await asyncio.to_thread(clusters[LEGACY].base_backup, tmp_path / name))
            await asyncio.to_thread(standbys[-1].start)
        first, second = (standby.url("runatlas") for standby in standbys)
        cp = access("DATABASE_URL", urls[LEGACY], replica=first)
        legacy = access("RUN_OPS_LEGACY_DATABASE_URL", urls[LEGACY], replica=second)
        async with open_federation(Topology(cp, (ShardAccess(LEGACY, FULL, legacy),))) as federation:
            assert pools(federation) == 3
            assert federation.router.shards[LEGACY].primary is federation.control_plane.primary
    finally:
        for standby in standbys:
            await asyncio.to_thread(standby.stop)


async def test_one_server_that_is_reached_in_two_ways_is_one_pool(
    urls: Urls, clusters: dict[ShardKey, Cluster], tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(clusters[LEGACY].socket_directory)
    cp = access("DATABASE_URL", urls[LEGACY])
    legacy = access("RUN_OPS_LEGACY_DATABASE_URL", f"postgresql://runatlas@/runatlas?host={link}")
    async with open_federation(Topology(cp, (ShardAccess(LEGACY, FULL, legacy),))) as federation:
        assert pools(federation) == 1


async def with_a_second_schema(url: str) -> str:
    """Give a database the same tables in a schema `Tenant` too, and return the URL of those."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute('CREATE SCHEMA "Tenant"')
        for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            name = row["tablename"]
            await connection.execute(f'CREATE TABLE "Tenant"."{name}" (LIKE public."{name}")')
    finally:
        await connection.close()
    return f"{url}&schema=Tenant"


async def test_two_schemas_of_one_database_are_two_pools(make_database: MakeDatabase) -> None:
    url = await make_database(LEGACY, "schemas")
    cp, legacy = access("DATABASE_URL", url), access("RUN_OPS_LEGACY_DATABASE_URL", await with_a_second_schema(url))
    async with open_federation(Topology(cp, (ShardAccess(LEGACY, FULL, legacy),))) as federation:
        assert pools(federation) == 2
        async with federation.router.shards[LEGACY].primary.engine.connect() as connection:
            assert await connection.scalar(text("SELECT current_schema()")) == "Tenant"


async def test_two_shards_in_two_schemas_of_one_database_are_refused(urls: Urls, make_database: MakeDatabase) -> None:
    url = await make_database(NEW, "schemas")
    cp, new = access("DATABASE_URL", urls[LEGACY]), access("RUN_OPS_DATABASE_URL", url)
    again = access("RUN_OPS_SHARD_A_DATABASE_URL", await with_a_second_schema(url))
    shards = (
        ShardAccess(LEGACY, FULL, cp),
        ShardAccess(NEW, DEDICATED, new),
        ShardAccess(ShardKey("a"), DEDICATED, again),
    )
    refusal = await refused(Topology(cp, shards))
    assert str(refusal) == "RUN_OPS_DATABASE_URL and RUN_OPS_SHARD_A_DATABASE_URL are one database, 'schemas'"


@pytest.mark.parametrize("query", ["&schema=public", "&schema=public&pgbouncer=true"])
async def test_the_schema_public_is_not_sent(urls: Urls, query: str) -> None:
    """A pooler refuses a connection that begins with a search path."""
    engine = create_engine(parse_url("DATABASE_URL", urls[LEGACY] + query))
    try:
        async with engine.connect() as connection:
            source = await connection.scalar(text("SELECT source FROM pg_settings WHERE name = 'search_path'"))
    finally:
        await engine.dispose()
    assert source != "client"


async def test_an_error_of_a_statement_holds_none_of_its_parameters(urls: Urls) -> None:
    engine = create_engine(parse_url("DATABASE_URL", urls[LEGACY]))
    try:
        async with engine.connect() as connection:
            with pytest.raises(DBAPIError) as failure:
                await connection.execute(text("SELECT FROM nowhere WHERE key = :key"), {"key": "tr_prod_s3cret"})
    finally:
        await engine.dispose()
    assert "nowhere" in str(failure.value)
    assert "s3cret" not in str(failure.value)


async def test_a_table_that_the_user_may_not_read_is_named(make_database: MakeDatabase) -> None:
    url = await make_database(LEGACY, "unreadable")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE ROLE reader LOGIN")
        await connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        cp = access("DATABASE_URL", url.replace("runatlas@", "reader@"))
        topology = Topology(cp, (ShardAccess(LEGACY, FULL, cp),))
        async with open_federation(topology):
            pass
        await connection.execute('REVOKE SELECT ON "Waitpoint" FROM reader')
        refusal = await refused(topology)
    finally:
        await connection.execute("DROP OWNED BY reader; DROP ROLE reader")
        await connection.close()
    assert str(refusal).startswith('DATABASE_URL: the user may not read table "Waitpoint" of the database at ')
    assert "SELECT" in refusal.hint


def test_failures_in_a_group_are_one_sentence() -> None:
    with pytest.raises(ConfigurationError) as refusal, explained("cannot plant"):
        raise ExceptionGroup("", [ExceptionGroup("", [asyncpg.AdminShutdownError("going\ndown")]), OSError()])
    assert str(refusal.value) == "cannot plant: going down"


def test_a_refusal_in_a_group_is_itself() -> None:
    with pytest.raises(ConfigurationError, match="no such thing") as refusal, explained("cannot plant"):
        raise ExceptionGroup("", [ConfigurationError("no such thing", "make one")])
    assert refusal.value.hint == "make one"


@pytest.mark.parametrize("bug", [KeyError("x"), ExceptionGroup("", [OSError(), KeyError("x")])])
def test_a_mistake_of_ours_is_not_explained_away(bug: Exception) -> None:
    with pytest.raises(type(bug)) as raised, explained("cannot plant"):
        raise bug
    assert raised.value is bug


def test_a_value_that_the_driver_quotes_is_not_told() -> None:
    quoting = type("DataError", (asyncpg.InterfaceError, ValueError), {})("invalid input: 's3cret'")
    with pytest.raises(ConfigurationError) as refusal, explained("cannot plant"):
        raise quoting
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://u:s3cret@127.0.0.1:1/d", "connect call failed"),
        ("postgresql://u:s3cret@/d?host=/nowhere", "no such file"),
        ("postgresql://u:s3cret@127.0.0.1:1/d?sslmode=verify-full&sslrootcert=/nowhere", "no such file"),
    ],
)
async def test_a_database_that_is_not_there_is_named_without_its_password(urls: Urls, url: str, why: str) -> None:
    cp, new = access("DATABASE_URL", urls[LEGACY]), access("RUN_OPS_DATABASE_URL", url)
    refusal = await refused(Topology(cp, (ShardAccess(LEGACY, FULL, cp), ShardAccess(NEW, DEDICATED, new))))
    assert str(refusal).startswith("RUN_OPS_DATABASE_URL: cannot use the database at ")
    assert why in str(refusal).lower() or "refused" in str(refusal).lower()
    assert "s3cret" not in f"{refusal}{refusal.hint}"


async def test_a_database_that_does_not_exist_is_named(clusters: dict[ShardKey, Cluster]) -> None:
    cp = access("DATABASE_URL", clusters[LEGACY].url("nope"))
    refusal = await refused(Topology(cp, (ShardAccess(LEGACY, FULL, cp),)))
    assert 'database "nope" does not exist' in str(refusal)


async def test_a_schema_that_lacks_something_is_named(urls: Urls, make_database: MakeDatabase) -> None:
    cp = access("DATABASE_URL", urls[LEGACY])
    url = await make_database(NEW, "lacking")
    new = access("RUN_OPS_DATABASE_URL", url)
    topology = Topology(cp, (ShardAccess(LEGACY, FULL, cp), ShardAccess(NEW, DEDICATED, new)))
    connection = await asyncpg.connect(url)
    try:
        await connection.execute('ALTER TABLE "TaskRun" DROP COLUMN "ttl"')
        assert 'has no column "ttl" of table "TaskRun"' in str(await refused(topology))
        await connection.execute('DROP TABLE "WaitpointRunConnection"')
        await connection.execute('ALTER TABLE "TaskRun" ADD COLUMN "ttl" text')
        refusal = await refused(topology)
    finally:
        await connection.close()
    assert 'has no table "WaitpointRunConnection"' in str(refusal)
    assert "runatlas migrate" in refusal.hint


async def test_tables_and_columns_that_we_do_not_know_are_left_alone(make_database: MakeDatabase) -> None:
    url = await make_database(LEGACY, "larger")
    connection = await asyncpg.connect(url)
    try:
        for number in range(85):
            await connection.execute(f'CREATE TABLE "Unknown{number}" (id text)')
        await connection.execute('ALTER TABLE "TaskRun" ADD COLUMN "unknown" jsonb')
        await connection.execute("ALTER TYPE \"TaskRunStatus\" ADD VALUE 'UNHEARD_OF'")
        before = await connection.fetch("SELECT * FROM pg_class ORDER BY oid")
        cp = access("DATABASE_URL", url)
        async with open_federation(Topology(cp, (ShardAccess(LEGACY, FULL, cp),))) as federation:
            assert await federation.credentials.environment_by_api_key("tr_prod_x") is None
        after = await connection.fetch("SELECT * FROM pg_class ORDER BY oid")
    finally:
        await connection.close()
    assert [row["relname"] for row in before] == [row["relname"] for row in after]


async def test_a_router_refuses_one_database_twice(urls: Urls) -> None:
    async with open_federation(topology_of(urls, SHARDS[:1])) as federation:
        shard = federation.router.shards[LEGACY]
        with pytest.raises(ValueError, match="distinct"):
            Router([shard, Shard(NEW, DEDICATED, shard.primary, shard.replica)])


@pytest.mark.parametrize("foreign", [(), (LEGACY,), (NEW,), (LEGACY, NEW)])
async def test_only_databases_that_are_all_our_own_are_written_to_without_a_word(
    make_database: MakeDatabase, foreign: tuple[ShardKey, ...]
) -> None:
    name = f"master_{len(foreign)}_{''.join(foreign)}"
    urls = {key: await make_database(key, name) for key in (LEGACY, NEW)}
    for key in foreign:
        connection = await asyncpg.connect(urls[key])
        await connection.execute(f"DROP TABLE {VERSION_TABLE}")
        await connection.close()
    topology = topology_of(urls, (LEGACY, NEW))
    cases: dict[Writes | None, bool] = {None: not foreign, "off": False, "postgres": True}
    for writes, expected in cases.items():
        async with open_federation(topology, writes=writes) as federation:
            assert (federation.writing is not None) is expected, (foreign, writes)
