"""Clusters for the whole suite, started by it; databases for 1, 2 and 3 shards; a federation for each test."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog

from store import ids
from store.control_plane import CONTROL_PLANE
from store.embedded import Cluster, two_installations
from store.federation import create_engine, open_federation
from store.migrations import migrate
from store.residency import LEGACY, NEW, ShardKey
from store.tables import DEDICATED, FULL
from store.topology import Access, ShardAccess, Topology
from store.urls import parse_url
from tests.federation import SHARD_A, FederationUnderTest, plant_tenant

structlog.configure(processors=[structlog.processors.KeyValueRenderer()])

SHARDS: tuple[ShardKey, ...] = (LEGACY, NEW, SHARD_A)

LONGEST = (
    "test_faults",
    "test_cli",
    "test_matrix",
    "test_subscriptions",
    "test_pages_of_a_dashboard",
    "test_life",
    "test_sockets",
    "test_sweeper",
    "test_model",
    "test_token_routes",
    "test_outage",
    "test_bad_writes",
)
"""Files that begin first, where several run at a time: else one of them would be waited for in the end."""

MakeDatabase = Callable[[ShardKey, str], Awaitable[str]]


def pytest_xdist_auto_num_workers() -> int:
    """Return how many files run at a time: one more than there are cores, for a third of the time tests wait."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files first that take longest."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[ShardKey, Cluster]]:
    """One cluster a shard, of two majors."""
    older, newer = two_installations()
    home = tmp_path_factory.mktemp("clusters")
    made = {
        key: Cluster(installation, home / key) for key, installation in zip(SHARDS, (older, newer, newer), strict=True)
    }
    try:
        for cluster in made.values():
            cluster.start()
        yield made
    finally:
        for cluster in made.values():
            cluster.stop()


@pytest.fixture(scope="session")
async def urls(clusters: dict[ShardKey, Cluster]) -> dict[ShardKey, str]:
    """One migrated database a shard; legacy's holds the control plane too."""
    made: dict[ShardKey, str] = {}
    for key, cluster in clusters.items():
        await asyncio.to_thread(cluster.create_database, "runatlas")
        made[key] = cluster.url("runatlas")
        await _migrated(made[key], key)
    return made


@pytest.fixture
async def make_database(clusters: dict[ShardKey, Cluster]) -> MakeDatabase:
    """A maker of databases: of a shard's cluster and variant, migrated, under a name of its own."""

    async def make(key: ShardKey, name: str) -> str:
        await asyncio.to_thread(clusters[key].create_database, name)
        await _migrated(clusters[key].url(name), key)
        return clusters[key].url(name)

    return make


async def _migrated(url: str, key: ShardKey) -> None:
    engine = create_engine(parse_url("DATABASE_URL", url))
    await migrate(engine, "full" if key == LEGACY else "dedicated")
    await engine.dispose()


def topology_of(urls: dict[ShardKey, str], shards: tuple[ShardKey, ...]) -> Topology:
    """Return the topology of some of the suite's databases."""
    access = {key: Access(parse_url(f"{key}_URL", url)) for key, url in urls.items()}
    return Topology(
        access[LEGACY],
        tuple(ShardAccess(key, FULL if key == LEGACY else DEDICATED, access[key]) for key in shards),
    )


@pytest.fixture(params=[2], ids=lambda count: f"{count}-shards")
async def federation(request: pytest.FixtureRequest, urls: dict[ShardKey, str]) -> AsyncIterator[FederationUnderTest]:
    """A federation of two shards, or of as many as a test is parametrized with, and a tenant of its own."""
    shards = SHARDS[: request.param]
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(open_federation(topology_of(urls, shards), deadline=10.0))
        connections: dict[str, asyncpg.Connection[Any]] = {}
        for key in shards:
            connections[key] = await asyncpg.connect(urls[key])
            stack.push_async_callback(connections[key].close)
        connections[CONTROL_PLANE] = connections[LEGACY]
        tenant = await plant_tenant(connections[CONTROL_PLANE])
        yield FederationUnderTest(opened, connections, tenant, shards)


@pytest.fixture
async def with_additional_keys(make_database: MakeDatabase) -> AsyncIterator[FederationUnderTest]:
    """A federation over a platform of a later release, which has additional keys."""
    url = await make_database(LEGACY, f"later_{ids.mint_cuid()}")
    async with AsyncExitStack() as stack:
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        await connection.execute(
            """CREATE TABLE "ApiKey" (id text PRIMARY KEY, "keyHash" text UNIQUE NOT NULL, scopes text[],
               "revokedAt" timestamp(3), "expiresAt" timestamp(3), "runtimeEnvironmentId" text NOT NULL)"""
        )
        opened = await stack.enter_async_context(open_federation(topology_of({LEGACY: url}, (LEGACY,))))
        tenant = await plant_tenant(connection)
        yield FederationUnderTest(opened, {LEGACY: connection, CONTROL_PLANE: connection}, tenant, (LEGACY,))


@pytest.fixture
async def down(federation: FederationUnderTest, clusters: dict[ShardKey, Cluster]) -> AsyncIterator[Cluster]:
    """The cluster of `new`, to be killed by the test; it runs again afterwards."""
    for connection in federation.connections.values():
        await connection.fetchval("SELECT 1")
    cluster = clusters[NEW]
    yield cluster
    if not cluster.running:
        await asyncio.to_thread(cluster.start)


def over_shards(*counts: int) -> pytest.MarkDecorator:
    """Run a test over federations of so many shards."""
    return pytest.mark.parametrize("federation", counts, indirect=True, ids=lambda count: f"{count}-shards")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home for what embedded databases keep."""
    return tmp_path / "home"
