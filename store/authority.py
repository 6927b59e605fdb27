"""One authority for each key, whichever shards are asked: a lock on the control plane, held while a row is made.

A unique index knows its own shard only. Who would make a row under a key takes the key's lock, looks for the row on
every shard, and makes it before the lock is let go. It is an advisory lock of a transaction: it needs no table, goes
through a pooler, and ends with the connection.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeAlias
from weakref import WeakValueDictionary

from sqlalchemy import BigInteger, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from store.control_plane import CONTROL_PLANE
from store.errors import ShardTimeoutError
from store.shard import Database, ReadConnection

Key: TypeAlias = tuple[str, ...]
"""The kind of row, and what is unique about it."""

Confirm: TypeAlias = Callable[[], Awaitable[None]]
"""Raises `ShardUnavailableError` if the locks were lost: to be called before what they protect is committed."""


class Authority:
    """Locks of keys. Its connections are its own: who holds a lock waits for other connections."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._here: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def over(self, keys: Collection[Key]) -> AsyncIterator[Confirm]:
        """Hold the locks of keys, in this process and in all others. Raises `ShardError`; nothing was done then."""
        numbers = sorted({_number(key) for key in keys})
        async with AsyncExitStack() as stack:
            # Those of this process queue here: they would only fill the pool while they wait.
            here = [self._here.setdefault(number, asyncio.Lock()) for number in numbers]
            try:
                async with asyncio.timeout(self.database.deadline):
                    for lock in here:
                        await stack.enter_async_context(lock)
            except TimeoutError as error:
                raise ShardTimeoutError(CONTROL_PLANE) from error
            confirm = await stack.enter_async_context(self.database.held(_lock(numbers), CONTROL_PLANE))
            yield confirm


    @asynccontextmanager
    async def tried(self, key: Key) -> AsyncIterator[bool]:
        """Hold the lock of a key unless somebody else does, and yield whether it is held. Raises `ShardError`."""
        statement = select(func.pg_try_advisory_xact_lock(_number(key)))
        is_held = False

        async def lock(connection: ReadConnection) -> None:
            nonlocal is_held
            is_held = (await connection.execute(statement)).scalar_one()

        async with self.database.held(lock, CONTROL_PLANE):
            yield is_held


def _lock(numbers: Collection[int]) -> Callable[[ReadConnection], Awaitable[None]]:
    array = bindparam(None, list(numbers), type_=ARRAY(BigInteger))
    given = func.unnest(array).table_valued("number", name="given").render_derived()
    statement = select(func.pg_advisory_xact_lock(given.c.number)).select_from(given)

    async def lock(connection: ReadConnection) -> None:
        await connection.execute(statement)

    return lock


def _number(key: Key) -> int:
    """Return the lock of a key, out of 2^64: two keys that share one only wait for each other."""
    digest = hashlib.blake2b("\x1f".join(("runatlas", *key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
