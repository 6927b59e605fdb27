"""Where and when everything of a demo is, as pure functions: any shard can name a row of any other.

Runs come in blocks of a hundred. Block ``n`` of every shard covers the same stretch of time, and each has the same
scenes at the same positions, so a row is named by its shard, its block and its position.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate

from store.demo.mint import Body, Mint, body_of
from store.demo.places import DAY, HOUR, Place
from store.demo.tenants import Tenants
from store.residency import ShardKey

BLOCK = 100
"""Runs in a block."""

SLOTS = 2000
"""Serial numbers that a block has for each kind of row."""

LONGEST = 30 * DAY
PER_RUN = 3 * 60_000
"""A small demo covers less than thirty days: so many milliseconds for each of its runs."""

MARGIN = 4 * 60_000
"""Nothing begins so close to the anchor; what begins at all is under way by then."""

LIVE = 2 * HOUR
"""Blocks younger than this have work under way; in older ones everything has ended."""

WHOLE = 100
"""How many of the latest blocks of a shard have all scenes."""

SCENES: Mapping[str, int] = {
    "order": 5,
    "import": 9,
    "refund": 5,
    "keeper": 1,
    "borrower": 1,
    "timer": 2,
    "stream": 1,
    "queued_batch": 10,
    "uneven_batch": 7,
    "small_batch": 6,
    "old_batch": 4,
    "scheduled": 3,
    "replays": 3,
    "active": 17,
    "ended": 9,
    "elsewhere": 17,
}
"""The scenes of a block, and how many runs each has; together a hundred."""

FIRST: Mapping[str, int] = dict(zip(SCENES, accumulate(SCENES.values(), initial=0), strict=False))
"""Each scene's first position."""

DOOR = BLOCK + FIRST["refund"]
"""The token of a block that runs of other shards wait for, among the waitpoints."""

OTHER, SPARE = BLOCK, 2 * BLOCK
"""What is added to a run's position to name a waitpoint that was made with it, besides the run's own."""


@dataclass(frozen=True)
class World:
    """A demo before it is written."""

    seed: int
    anchor: int
    keys: tuple[ShardKey, ...]
    blocks: int
    """Blocks of each shard."""
    tenants: Tenants

    @cached_property
    def span(self) -> int:
        """How much time it covers, in milliseconds."""
        return min(LONGEST, PER_RUN * BLOCK * self.blocks * len(self.keys))

    @cached_property
    def bodies(self) -> list[Body]:
        """How each shard's runs and batches are named."""
        return [body_of(key) for key in self.keys]

    @cached_property
    def mints(self) -> list[dict[str, Mint]]:
        """Each shard's random bits, by kind of row."""
        kinds = ("run", "batch", "waitpoint", "row")
        return [{kind: Mint(self.seed, f"{key} {kind}") for kind in kinds} for key in self.keys]

    def begins(self, block: int) -> int:
        """Return when a block begins. Younger ones are shorter: yesterday had more runs than a day of last week."""
        left = self.blocks - block
        return self.anchor - MARGIN - self.span * left * left // (self.blocks * self.blocks)

    def is_live(self, block: int) -> bool:
        """Tell whether a block has work under way. The last one always has."""
        return block == self.blocks - 1 or self.begins(block) > self.anchor - LIVE

    def is_whole(self, block: int) -> bool:
        """Tell whether a block has all scenes. The latest have; of older ones one in eight, and the rest plain runs.

        Half of those eighths are in the first environment: see `place`.
        """
        return block >= self.blocks - WHOLE or block % 16 in (3, 7)

    def place(self, block: int) -> Place:
        """Return the environment of a block: seven in eight are in the first one, and so is the last."""
        if block % 8 != 3 or block == self.blocks - 1:  # noqa: PLR2004
            return self.tenants.places[0]
        return self.tenants.places[1 + block // 8 % (len(self.tenants.places) - 1)]

    def created(self, shard: int, block: int, position: int) -> int:
        """Return when a row of a block was made; those of a scene follow one another by less than a second."""
        return self.moments(shard, block)[position % BLOCK]

    def moments(self, shard: int, block: int) -> list[int]:
        """Return when each run of a block was made."""
        begin = self.begins(block)
        return _moments(begin + shard * 2371 + block * 7 % 101, self.begins(block + 1) - begin)

    def run_id(self, shard: int, block: int, position: int) -> str:
        """Return the body of a run's id."""
        serial = block * SLOTS + position
        return self.bodies[shard](self.created(shard, block, position), self.mints[shard]["run"].bits(serial))

    def waitpoint_id(self, shard: int, block: int, position: int) -> str:
        """Return the body of a waitpoint's id: a run's own is at the run's position, or see `OTHER` and `SPARE`."""
        serial = block * SLOTS + position
        return self.mints[shard]["waitpoint"].cuid(self.created(shard, block, position), serial)

    def next(self, shard: int) -> int:
        """Return the shard after this one: itself if there is one."""
        return (shard + 1) % len(self.keys)

    def shared_door(self, block: int) -> int:
        """Return the shard that holds the token for which runs of every shard wait."""
        return block % len(self.keys)

    def opened(self, shard: int, block: int) -> int:
        """Return when the token of a block that is not live was completed."""
        return self.created(shard, block, DOOR) + 20 * 60_000


@lru_cache(maxsize=64)
def _moments(begin: int, length: int) -> list[int]:
    return [
        begin + length * number // len(SCENES) + index * 700
        for number, size in enumerate(SCENES.values())
        for index in range(size)
    ]
