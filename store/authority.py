"""One authority for each key, whichever shards are asked: a lock on the control plane, held while a row is made.

A unique index knows its own shard only. Who would make a row under a key takes the key's lock, looks for the row on
every shard, and makes it before the lock is let go. It is an advisory lock of a transaction: it needs no table, goes
through a pooler, and ends with the connection.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeAlias
from weakref import WeakValueDictionary

from sqlalchemy import BigInteger, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from store.control_plane import CONTROL_PLANE
from store.errors import ShardTimeoutError
from store.shard import Database, ReadConnection

Key: TypeAlias = tuple[str, ...]
"""The kind of row, and what is unique about it in its environment."""

MOST_LOCKS = 20
"""Of one holder."""

Confirm: TypeAlias = Callable[[], Awaitable[None]]
"""Raises `ShardUnavailableError` if the locks were lost: to be called before what they protect is committed."""


class Authority:
    """Locks of keys. Its connections are its own: who holds a lock waits for other connections."""

    def __init__(self, database: Database, connections: int) -> None:
        self.database, self._most_of_one = database, max(1, connections // 2)
        self._here: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def over(self, environment_id: str, keys: Collection[Key]) -> AsyncIterator[Confirm]:
        """Hold the locks of an environment's keys, in this process and in all others.

        Raises `ShardError`; nothing was done then.
        """
        async with self.here(environment_id, keys), self.everywhere(environment_id, keys) as confirm:
            yield confirm

    @asynccontextmanager
    async def here(self, environment_id: str, keys: Collection[Key]) -> AsyncIterator[None]:
        """Hold the locks of keys in this process: those who wait here need no connection for it."""
        numbers = _numbers(environment_id, keys) or [_number(environment_id)]
        async with AsyncExitStack() as stack:
            await self._queued(stack, [self._here.setdefault(number, asyncio.Lock()) for number in numbers])
            yield

    @asynccontextmanager
    async def everywhere(self, environment_id: str, keys: Collection[Key]) -> AsyncIterator[Confirm]:
        """Hold the locks of keys against other processes, while they are held in this one.

        Few keys are locked one by one, and share the environment; many are locked by locking all of it: a server has
        room for few locks. No environment takes all connections: it would keep others from theirs.
        """
        numbers = _numbers(environment_id, keys)
        async with AsyncExitStack() as stack:
            await self._queued(stack, [self._turns.setdefault(environment_id, asyncio.Semaphore(self._most_of_one))])
            lock = _lock(_number(environment_id), numbers)
            yield await stack.enter_async_context(self.database.held(lock, CONTROL_PLANE))

    async def _queued(self, stack: AsyncExitStack, turns: Sequence[asyncio.Lock | asyncio.Semaphore]) -> None:
        try:
            async with asyncio.timeout(self.database.deadline):
                for turn in turns:
                    await stack.enter_async_context(turn)
        except TimeoutError as error:
            raise ShardTimeoutError(CONTROL_PLANE) from error

    @asynccontextmanager
    async def tried(self, key: Key) -> AsyncIterator[bool]:
        """Hold the lock of a key unless somebody else does, and yield whether it is held. Raises `ShardError`."""
        statement = select(func.pg_try_advisory_xact_lock(_number(*key)))
        is_held = False

        async def lock(connection: ReadConnection) -> None:
            nonlocal is_held
            is_held = (await connection.execute(statement)).scalar_one()

        async with self.database.held(lock, CONTROL_PLANE):
            yield is_held


def _numbers(environment_id: str, keys: Collection[Key]) -> list[int]:
    """Return the locks of keys, in the order in which everybody takes them; none if there are too many of them."""
    return sorted({_number(environment_id, *key) for key in keys}) if len(keys) <= MOST_LOCKS else []


def _lock(group: int, numbers: Collection[int]) -> Callable[[ReadConnection], Awaitable[None]]:
    array = bindparam(None, list(numbers), type_=ARRAY(BigInteger))
    given = func.unnest(array).table_valued("number", name="given").render_derived()
    lock_group = func.pg_advisory_xact_lock_shared if numbers else func.pg_advisory_xact_lock
    of_group = select(lock_group(bindparam(None, group, type_=BigInteger)))
    of_keys = select(func.pg_advisory_xact_lock(given.c.number)).select_from(given)

    async def lock(connection: ReadConnection) -> None:
        await connection.execute(of_group)
        if numbers:
            await connection.execute(of_keys)

    return lock


def _number(*name: str) -> int:
    """Return the lock of a name, out of 2^64: two names that share one only wait for each other."""
    digest = hashlib.blake2b("\x1f".join(("runatlas", *name)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
