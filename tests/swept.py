"""Federations of which a test knows every row: a sweeper sees all tenants, so its tests have databases of their own."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg

from store.control_plane import CONTROL_PLANE
from store.embedded import Cluster
from store.federation import create_engine, open_federation
from store.migrations import migrate
from store.residency import LEGACY, ShardKey
from store.urls import parse_url
from store.writing import Writing
from tests.conftest import SHARDS, topology_of
from tests.federation import FederationUnderTest, plant_tenant

Urls = dict[ShardKey, str]
TABLES = 'TRUNCATE "TaskRun", "Waitpoint", "BatchTaskRun", "TaskRunWaitpoint", "TaskRunExecutionSnapshot" CASCADE'


async def databases(clusters: Mapping[ShardKey, Cluster], name: str) -> Urls:
    """Make a database a shard, migrated."""
    urls = {}
    for key in SHARDS:
        await asyncio.to_thread(clusters[key].create_database, name)
        urls[key] = clusters[key].url(name)
        engine = create_engine(parse_url("DATABASE_URL", urls[key]))
        await migrate(engine, "full" if key == LEGACY else "dedicated")
        await engine.dispose()
    return urls


@asynccontextmanager
async def opened(
    urls: Urls, shards: Sequence[ShardKey], through: Mapping[ShardKey, str] | None = None, **options: Any
) -> AsyncIterator[FederationUnderTest]:
    """Open a federation of databases that hold no run and no bulk action, some of them `through` other URLs."""
    async with AsyncExitStack() as stack:
        connections: dict[str, asyncpg.Connection[Any]] = {}
        for key in shards:
            connections[key] = await asyncpg.connect(urls[key])
            stack.push_async_callback(connections[key].close)
            await connections[key].execute(TABLES)
        connections[CONTROL_PLANE] = connections[LEGACY]
        await connections[CONTROL_PLANE].execute('TRUNCATE "BulkActionGroup" CASCADE')
        topology = topology_of({**urls, **(through or {})}, tuple(shards))
        federation = await stack.enter_async_context(open_federation(topology, **{"deadline": 10.0, **options}))
        tenant = await plant_tenant(connections[CONTROL_PLANE])
        yield FederationUnderTest(federation, connections, tenant, tuple(shards))


def writing_of(federation: FederationUnderTest) -> Writing:
    assert federation.federation.writing is not None
    return federation.federation.writing
