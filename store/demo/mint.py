"""Ids and times as text, each a function of the seed. The formats are those of `store.ids`, written by the hundred.

A serial number names a row within its shard, so that any shard can name a row of any other without asking it.
"""

from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from itertools import product
from time import gmtime, strftime
from typing import TypeAlias

from store import ids
from store.residency import LEGACY, NEW, ShardKey

Body: TypeAlias = Callable[[int, int], str]
"""Writes the body of an id from a moment (milliseconds since 1970) and 72 random bits."""

REGION = "us-east-1"

_BITS = (1 << 72) - 1
_STRIDE = 0x9E3779B97F4A7C15F3
_SPREAD = 0xD6E8FEB86659FD93A5
_TRIPLETS = ["".join(three) for three in product(ids.BASE32HEX, repeat=3)]
_BASE36 = ["".join(three) for three in product(ids.BASE36, repeat=3)]
_SECONDS = [f"{number // 1000:02}.{number % 1000:03}" for number in range(60_000)]


class Mint:
    """Random bits for one kind of row on one shard: the same for the same seed, different for every serial number."""

    def __init__(self, seed: int, kind: str) -> None:
        self._salt = int.from_bytes(blake2b(f"{seed} {kind}".encode(), digest_size=9).digest())

    def bits(self, serial: int) -> int:
        """Return 72 bits. One-to-one: no two serial numbers share them."""
        mixed = (serial * _STRIDE + self._salt) & _BITS
        mixed = (mixed ^ mixed >> 37) * _SPREAD & _BITS
        return mixed ^ mixed >> 35

    def cuid(self, moment: int, serial: int) -> str:
        """Return the body of an id that says nothing about where it lives."""
        return cuid(moment, self.bits(serial))


def body_of(shard: ShardKey) -> Body:
    """Return how a shard's runs and batches are named. `store.errors.InvalidIdError` for a key that no id can name."""
    if shard == LEGACY:
        return cuid
    ending = ids.mint_v1(REGION)[24:] if shard == NEW else ids.mint_v2(shard)[24:]

    def run_ops(moment: int, bits: int) -> str:
        number = moment << 72 | bits
        return (
            f"{_TRIPLETS[number >> 105]}{_TRIPLETS[number >> 90 & 32767]}{_TRIPLETS[number >> 75 & 32767]}"
            f"{_TRIPLETS[number >> 60 & 32767]}{_TRIPLETS[number >> 45 & 32767]}{_TRIPLETS[number >> 30 & 32767]}"
            f"{_TRIPLETS[number >> 15 & 32767]}{_TRIPLETS[number & 32767]}{ending}"
        )

    return run_ops


def cuid(moment: int, bits: int) -> str:
    """Return a cuid: 8 digits of time and 16 of randomness in base 36."""
    moment, low = divmod(moment, 46656)
    high, middle = divmod(moment, 46656)
    bits, last = divmod(bits, 46656)
    bits, fourth = divmod(bits, 46656)
    bits, third = divmod(bits, 46656)
    first, second = divmod(bits, 46656)
    return (
        f"c{_BASE36[high][1:]}{_BASE36[middle]}{_BASE36[low]}0{_BASE36[first]}"
        f"{_BASE36[second]}{_BASE36[third]}{_BASE36[fourth]}{_BASE36[last]}"
    )


def timestamp(moment: int) -> str:
    """Return a moment as a column holds it: UTC, to the millisecond."""
    minute, rest = divmod(moment, 60_000)
    return _minute(minute) + _SECONDS[rest]


@cache
def _minute(minute: int) -> str:
    return strftime("%Y-%m-%d %H:%M:", gmtime(minute * 60))
