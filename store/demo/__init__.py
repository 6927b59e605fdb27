"""Demo data: two organizations and their runs, spread over however many shards there are.

Everything is a function of a seed and of the moment that it leads up to, the anchor. Runs come in blocks of a hundred.
A whole one has trees, batches, tokens, every state, every environment, and every kind of row that names one of another
shard; the latest hundred of each shard are whole, and one in eight of those before, where the others are plain runs.
Only whole blocks of the last two hours have work under way, and a snapshot for each step of it.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from store import ids
from store.demo.bulk import Bulk
from store.demo.loading import fill_control_plane, fill_shard, links_of, refuse_foreign, refuse_occupied
from store.demo.script import blocks_of
from store.demo.sheets import Chunk
from store.demo.tenants import Tenants
from store.demo.world import BLOCK, FIRST, OTHER, World
from store.errors import ConfigurationError
from store.migrations import made_by_us
from store.residency import LEGACY, NEW, ShardKey

FLAG = "runatlas.demo"
"""The row of the platform's "FeatureFlag" that says what was planted."""

LOCK = int.from_bytes(b"demodata")
"""Advisory lock that a process holds in the control plane while it plants."""

MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Demo:
    """What to show first: credentials, two runs on different shards, and the token that both wait for.

    With one shard, they are two runs of it.
    """

    api_key: str
    environment_name: str
    legacy_run: str
    new_run: str
    token: str
    access_token: str = ""
    """A member's; a demo of an earlier release has none."""


async def plant(  # noqa: PLR0913  most have a default
    control_plane: AsyncEngine,
    shards: Mapping[ShardKey, AsyncEngine],
    *,
    runs: int = 20_000,
    seed: int = 1,
    anchor: datetime | None = None,
    progress: Callable[[int], None] | None = None,
) -> Demo:
    """Fill empty databases that runatlas made, and return what to show first; all of it, or nothing.

    At least a hundred runs a shard; they lead up to `anchor` (UTC, if it does not say), or to the last full hour.
    `progress` is told how many were just written. Raises `ConfigurationError` when a database holds something already.
    """
    world = _world(tuple(shards), runs, seed, anchor)
    bulk = Bulk(world)
    demo = _demo(world)
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(control_plane.begin())
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        await refuse_foreign(connection)
        await _refuse_second(connection)
        await refuse_occupied(connection, "Organization")
        transactions = [await stack.enter_async_context(engine.begin()) for engine in shards.values()]
        for transaction in transactions:
            await refuse_foreign(transaction)
            await refuse_occupied(transaction, "TaskRun")
        async with asyncio.TaskGroup() as group:
            for shard, transaction in enumerate(transactions):
                chunk = Chunk(await links_of(transaction))
                blocks = blocks_of(world, bulk, shard, runs, chunk)
                group.create_task(fill_shard(transaction, chunk, blocks, progress or (lambda _: None)))
        world.tenants.rows.add("FeatureFlag", world.anchor, key=FLAG, value=asdict(demo))
        await fill_control_plane(connection, world.tenants.rows.lines())
    return demo


async def find_demo(control_plane: AsyncEngine) -> Demo | None:
    """Return what `plant` returned when it filled these databases, or None if they hold no demo."""
    async with control_plane.connect() as connection:
        return await _find(connection) if await made_by_us(connection) else None


async def _find(connection: AsyncConnection) -> Demo | None:
    statement = text('SELECT CAST(value AS text) FROM "FeatureFlag" WHERE key = :key')
    stored = await connection.scalar(statement, {"key": FLAG})
    return Demo(**json.loads(stored)) if stored else None


async def _refuse_second(connection: AsyncConnection) -> None:
    if await _find(connection):
        raise ConfigurationError(
            "the demo is in these databases already",
            "start runatlas without planting, or plant in new databases: set RUNATLAS_HOME to another directory",
        )


def _world(keys: tuple[ShardKey, ...], runs: int, seed: int, anchor: datetime | None) -> World:
    moment = anchor or datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    milliseconds = (moment - ids.EPOCH) // MILLISECOND
    return World(seed, milliseconds, keys, max(1, runs // (BLOCK * len(keys))), Tenants(seed, milliseconds))


def _demo(world: World) -> Demo:
    """Return what the newest block of refunds has to show."""
    block, first = world.blocks - 1, FIRST["refund"]
    waiting = [(shard, first + 1) for shard in range(len(world.keys))] + [(0, first + 2)]
    legacy, new = waiting[0], waiting[1]
    if LEGACY in world.keys and NEW in world.keys:
        legacy, new = waiting[world.keys.index(LEGACY)], waiting[world.keys.index(NEW)]
    token = world.waitpoint_id(world.shared_door(block), block, first + OTHER)
    return Demo(
        api_key=world.tenants.api_key,
        environment_name="prod",
        legacy_run=f"run_{world.run_id(legacy[0], block, legacy[1])}",
        new_run=f"run_{world.run_id(new[0], block, new[1])}",
        token=f"waitpoint_{token}",
        access_token=world.tenants.access_token,
    )
