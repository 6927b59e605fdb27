"""Friendly and internal ids: how they are written, minted and taken apart.

A friendly id is ``<prefix>_<body>``, and for runs, batches and waitpoints the body is the primary key. Formats and
alphabets are the platform's own: ``packages/core/src/v3/isomorphic/friendlyId.ts`` and ``runOpsId.ts``.
"""

import os
import re
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from store.errors import InvalidIdError

BASE32HEX = "0123456789abcdefghijklmnopqrstuv"
BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

CORE_LENGTH = 24
BODY_LENGTH = CORE_LENGTH + 2
KSUID_LENGTH = 27
MAX_LENGTH = 256
KSUID_EPOCH = datetime.fromtimestamp(1_400_000_000, UTC)
EPOCH = datetime.fromtimestamp(0, UTC)

REGIONS = {"us-east-1": "e", "us-west-2": "w", "eu-central-1": "c"}
UNKNOWN_REGION = "0"

_DECODE = {character: value for value, character in enumerate(BASE32HEX)}
_RUN_OPS = re.compile(r"[0-9a-v]{24}[0-9a-z][12]")
_KSUID = re.compile(r"[0-9A-Za-z]{27}")


@dataclass(frozen=True, slots=True)
class RunOpsId:
    """A 26-character body taken apart; `slot` is a region in generation 1, a shard in generation 2."""

    created_at: datetime
    slot: str
    generation: int


def friendly(prefix: str, body: str) -> str:
    """Return ``prefix_body``, or a body that has the prefix already as it is. `InvalidIdError` if one is empty."""
    if not prefix or not body:
        raise InvalidIdError("an id has a prefix and a body")
    return body if body.startswith(f"{prefix}_") else f"{prefix}_{body}"


def internal(friendly_id: str, expected: str | None = None) -> str:
    """Return the body of a friendly id of two parts, with the expected prefix if one is given, or `InvalidIdError`."""
    parts = friendly_id.split("_")
    if len(parts) != 2 or not all(parts):  # noqa: PLR2004  a prefix and a body
        raise InvalidIdError("an id is written <kind>_<id>")
    if expected is not None and parts[0] != expected:
        raise InvalidIdError(f"this is not the id of a {expected}")
    return parts[1]


def body(reference: str) -> str:
    """Return what follows the first underscore, or the whole text if there is none. Total."""
    _, separator, rest = reference.partition("_")
    return rest if separator else reference


def encode(data: bytes) -> str:
    """Return bytes, a multiple of five of them, as lowercase base32hex without padding."""
    if len(data) % 5:
        raise ValueError("base32hex without padding takes a multiple of 5 bytes")
    length = len(data) * 8 // 5
    number = int.from_bytes(data)
    return "".join(BASE32HEX[number >> shift & 31] for shift in range(5 * (length - 1), -1, -5))


def decode(text: str) -> bytes:
    """Return the bytes that `encode` was given; `InvalidIdError` for any other alphabet or length."""
    if len(text) % 8:
        raise InvalidIdError("base32hex without padding comes in groups of 8 characters")
    number = 0
    for character in text:
        if character not in _DECODE:
            raise InvalidIdError(f"{character!r} is not a base32hex digit")
        number = number << 5 | _DECODE[character]
    return number.to_bytes(len(text) * 5 // 8)


def is_run_ops(body: str) -> bool:
    """Tell whether a body has one of the two 26-character formats."""
    return len(body) == BODY_LENGTH and _RUN_OPS.fullmatch(body) is not None


def is_ksuid(body: str) -> bool:
    """Tell whether a body has the retired 27-character format."""
    return len(body) == KSUID_LENGTH and _KSUID.fullmatch(body) is not None


def parse_run_ops(body: str) -> RunOpsId:
    """Take a 26-character body apart; `InvalidIdError` for any other text."""
    if not is_run_ops(body):
        raise InvalidIdError("not a 26-character run-ops id")
    milliseconds = int.from_bytes(decode(body[:CORE_LENGTH])[:6])
    return RunOpsId(EPOCH + timedelta(milliseconds=milliseconds), body[24], int(body[25]))


def ksuid_created_at(body: str) -> datetime:
    """Return the second in which a 27-character body was minted; `InvalidIdError` for any other text."""
    if not is_ksuid(body):
        raise InvalidIdError("not a 27-character id")
    number = 0
    for character in body:
        number = number * 62 + BASE62.index(character)
    return KSUID_EPOCH + timedelta(seconds=number >> 128)


def mint_v1(region: str | None = None, at: datetime | None = None, random: bytes | None = None) -> str:
    """Return a new body of the first generation: it lives on the new shard. An unknown region is written ``0``."""
    return _mint(REGIONS.get(region or "", UNKNOWN_REGION), "1", at, random)


def mint_v2(shard: str, at: datetime | None = None, random: bytes | None = None) -> str:
    """Return a new body of the second generation: it lives on the named shard. An unroutable id must never exist.

    Raises `InvalidIdError` unless `shard` is exactly one of ``a-z 0-9``.
    """
    if len(shard) != 1 or shard not in BASE36:
        raise InvalidIdError(f"a shard is named by one character of a-z or 0-9, not {shard!r}")
    return _mint(shard, "2", at, random)


def _mint(slot: str, generation: str, at: datetime | None, random: bytes | None) -> str:
    milliseconds = _milliseconds(at)
    return encode(milliseconds.to_bytes(6) + (random or secrets.token_bytes(9))) + slot + generation


class _Counter:
    """A process-wide counter below 36^4, so that two cuids of one millisecond differ."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value = secrets.randbelow(36**4)

    def next(self) -> int:
        with self._lock:
            self._value = (self._value + 1) % 36**4
            return self._value


_counter = _Counter()


def mint_cuid(at: datetime | None = None, random: bytes | None = None) -> str:
    """Return a new cuid: ``c``, then milliseconds, counter, process and randomness in base 36; 25 characters.

    With `random` (9 bytes) given, counter and process come from it too, so the id is a function of the arguments.
    """
    if random is None:
        tail = _base36(_counter.next(), 4) + _base36(os.getpid(), 4) + _base36(secrets.randbelow(36**8), 8)
    else:
        tail = _base36(int.from_bytes(random), 16)
    return "c" + _base36(_milliseconds(at), 8) + tail


def _milliseconds(at: datetime | None) -> int:
    return time.time_ns() // 1_000_000 if at is None else (at - EPOCH) // timedelta(milliseconds=1)


def _base36(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits = BASE36[digit] + digits
    return digits


def can_exist(reference: str) -> bool:
    """Tell whether a text could be an id in a database at all: short, and free of what Postgres text cannot hold."""
    return 0 < len(reference) <= MAX_LENGTH and reference.isascii() and reference.isprintable()
