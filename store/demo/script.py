"""What a shard gets, in order: plain runs that do not fill a block, then its blocks."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from store.demo import scenes
from store.demo.block import Block
from store.demo.bulk import Bulk
from store.demo.copying import NULL
from store.demo.palette import EMAIL, EVERYDAY
from store.demo.runs import COMPLETED, FAILED
from store.demo.sheets import Chunk
from store.demo.world import BLOCK, FIRST, World

Scene: TypeAlias = Callable[[Block, int, Bulk], None]
"""Writes the runs of a block from a position on."""

BY_NAME: Mapping[str, Scene] = {
    "order": scenes.order,
    "import": scenes.import_,
    "refund": scenes.refund,
    "keeper": scenes.keeper,
    "borrower": scenes.borrower,
    "timer": scenes.timer,
    "stream": scenes.stream,
    "queued_batch": scenes.queued_batch,
    "uneven_batch": scenes.uneven_batch,
    "small_batch": scenes.small_batch,
    "old_batch": scenes.old_batch,
    "scheduled": scenes.scheduled,
    "replays": scenes.replays,
    "active": scenes.active,
    "ended": scenes.ended,
    "elsewhere": scenes.elsewhere,
}

PLAIN_BATCH = 10
"""How many runs the batch of a plain block has."""


def blocks_of(world: World, bulk: Bulk, shard: int, runs: int, chunk: Chunk) -> Iterator[None]:
    """Write what one shard gets into a chunk, block by block, the oldest first."""
    rest = max(0, runs - world.blocks * BLOCK * len(world.keys))
    before = Block(world, shard, -1, chunk)
    before.write_tags(world.tenants.places)
    fill(before, rest // len(world.keys) + (shard < rest % len(world.keys)))
    yield
    for number in range(world.blocks):
        play(Block(world, shard, number, chunk), bulk)
        yield


def play(block: Block, bulk: Bulk) -> None:
    """Write a block: all scenes, or plain runs."""
    if block.world.is_whole(block.number):
        for name, first in FIRST.items():
            BY_NAME[name](block, first, bulk)
    else:
        fill(block, BLOCK)


def fill(block: Block, runs: int) -> None:
    """Write as many plain runs, at most a block of them: small trees, a batch, and runs on their own."""
    batch = block.batch(0, "runengine:v2")
    members = [block.run(position, EMAIL, batch=batch) for position in range(min(runs, PLAIN_BATCH))]
    if members:
        block.finish(batch, "COMPLETED", members)
    for run in members:
        block.write(run)
    root = None
    for position in range(len(members), runs):
        kind = EVERYDAY[position % len(EVERYDAY)]
        state = FAILED if (position + block.number) % 17 == 0 else COMPLETED
        how = NULL if kind.source == "STANDARD" else kind.how
        run = block.run(position, kind, state, parent=root if position % 8 in (1, 2) else None, how=how)
        root = run if position % 8 == 0 else root
        block.write(run)
