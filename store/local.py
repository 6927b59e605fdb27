"""The databases that runatlas brings along: two clusters of different majors, with the platform's tables in them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from store.embedded import Cluster, two_installations
from store.federation import create_engine, settled
from store.home import HomeLock
from store.migrations import migrate
from store.residency import LEGACY, NEW, ShardKey
from store.tables import DEDICATED, FULL, Catalog
from store.topology import Access, ShardAccess, Topology
from store.urls import parse_url

DATABASE = "runatlas"
CATALOGS: dict[ShardKey, Catalog] = {LEGACY: FULL, NEW: DEDICATED}


@asynccontextmanager
async def local_topology(home: Path) -> AsyncIterator[Topology]:
    """Start the clusters of a home, with their tables made, and stop them at the end. One process a home.

    Raises `store.embedded.EmbeddedError`.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(HomeLock(home))
        clusters = {
            key: Cluster(installation, home / key)
            for key, installation in zip(CATALOGS, two_installations(), strict=True)
        }
        for cluster in clusters.values():
            stack.push_async_callback(asyncio.to_thread, cluster.stop)
        urls = await settled(*(_ready(key, cluster) for key, cluster in clusters.items()))
        shards = tuple(
            ShardAccess(key, catalog, Access(parse_url(f"the embedded {key} database", url)))
            for (key, catalog), url in zip(CATALOGS.items(), urls, strict=True)
        )
        yield Topology(shards[0].access, shards)


async def _ready(key: ShardKey, cluster: Cluster) -> str:
    """Start a cluster and return the URL of its database, made and migrated."""
    await asyncio.to_thread(cluster.start)
    await asyncio.to_thread(cluster.create_database, DATABASE)
    url = cluster.url(DATABASE)
    engine = create_engine(parse_url(key, url))
    try:
        await migrate(engine, CATALOGS[key].variant)
    finally:
        await engine.dispose()
    return url
