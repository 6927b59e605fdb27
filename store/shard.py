"""One database, how it is asked, and what it says when it cannot answer.

A query is a function of a connection. `Database` lends it one, under a deadline, and turns whatever the driver raises
into the two answers that the rest of the program knows: unavailable, or too late.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NewType, TypeVar

import stamina
import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, NotSupportedError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from store.errors import OutcomeUnknownError, ShardError, ShardTimeoutError, ShardUnavailableError, UniqueViolationError
from store.memory import seen
from store.residency import ShardKey
from store.tables import Catalog

T = TypeVar("T")
log = structlog.get_logger()
ReadConnection = NewType("ReadConnection", AsyncConnection)
WriteConnection = NewType("WriteConnection", AsyncConnection)

ROLE = "runatlas_role"
"""Execution option that says on whose behalf a statement runs: a shard's key, or the control plane."""

CONNECT_SECONDS = 3.0
"""How long a new connection may take; a host that does not answer is told from one that refuses."""


IMPATIENCE = 20
"""How many times shorter an operation waits for a database that was late in it before."""

_late: ContextVar[set[int] | None] = ContextVar("late", default=None)


@contextmanager
def one_operation() -> Iterator[None]:
    """Make everything that is read inside share what it learns: which databases were late.

    A page asks a shard several times, one wave after the other. If it hangs, the page costs one deadline and not one
    for each wave; if only a table is locked, the others still have time to answer.
    """
    token = _late.set(set())
    try:
        yield
    finally:
        _late.reset(token)


class ReadFrom(Enum):
    """Which copy of a database a read may use."""

    REPLICA = "replica"
    PRIMARY = "primary"


class Breaker:
    """Remembers that a database could not be reached, so that the next callers need not wait to learn the same.

    Opens after `threshold` failures in a row. While open, one caller a `pause` (seconds) tries; others fail at once.
    """

    def __init__(self, threshold: int = 3, pause: float = 0.5, clock: Callable[[], float] = time.monotonic) -> None:
        self._threshold, self._pause, self._clock = threshold, pause, clock
        self._failures, self._next_try = 0, 0.0

    def admits(self) -> bool:
        """Tell whether a caller may try now; says yes to one caller per pause while open."""
        if self._failures < self._threshold:
            return True
        if (now := self._clock()) < self._next_try:
            return False
        self._next_try = now + self._pause
        return True

    def answered(self) -> None:
        """Close: the database answered."""
        self._failures = 0

    def failed(self) -> None:
        """Count one failure; the next try is a pause away."""
        self._failures += 1
        self._next_try = self._clock() + self._pause


@dataclass(slots=True)
class Database:
    """One pool of connections to one database server. It may have several roles; a caller says in which it asks."""

    engine: AsyncEngine
    deadline: float = 5.0
    breaker: Breaker = field(default_factory=Breaker)
    through_pooler: bool = False
    """Whether each transaction may go to another server: then a query must be one, for it is prepared and run."""
    healthy: bool = True
    """Whether the last query was answered, or none was asked yet."""
    checked_at: datetime | None = None
    written: list[Callable[[], None]] = field(default_factory=list)
    """Who is told of every write that was committed."""
    abandoned: set["asyncio.Future[Any]"] = field(default_factory=set)
    """Queries that nobody waits for any more, and that have not ended."""

    async def read(self, query: Callable[[ReadConnection], Awaitable[T]], role: str) -> T:
        """Run a query on a connection of this database, and return what it returns.

        Raises `ShardUnavailableError` or `ShardTimeoutError`, which name the role. A late answer says nothing of the
        database, which may be busy with others: only a database that cannot be reached is left alone for a while.
        """
        return await self._bounded(self._twice(query, role), role, (ShardTimeoutError,))

    async def write(self, work: Callable[[WriteConnection], Awaitable[T]], role: str) -> T:
        """Run work in one transaction of this database, commit, and return what it returned.

        Raises `ShardUnavailableError` or `ShardTimeoutError`: nothing was written. Raises `OutcomeUnknownError` for
        every error from COMMIT, and if the deadline ends during it: it may have been. Raises `UniqueViolationError`.
        Before COMMIT nothing is kept, so work may be run again where that is the cure, and must bear it.
        """
        late: list[type[ShardError]] = [ShardTimeoutError]

        async def transactions() -> T:
            async for attempt in stamina.retry_context(
                on=_is_conflict, attempts=TRIES, timeout=None, wait_initial=0.02, wait_max=0.25, wait_jitter=0.05
            ):
                with attempt:
                    try:
                        return await self._transaction(work, role, late)
                    except DBAPIError as error:
                        if not _is_conflict(error):
                            raise _verdict(error, role) from error
                        raise
            raise AssertionError  # stamina raises the last error

        try:
            return await self._bounded(transactions(), role, late)
        except DBAPIError as error:
            raise _verdict(error, role) from error

    @asynccontextmanager
    async def held(
        self, query: Callable[[ReadConnection], Awaitable[None]], role: str
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Run a query in a transaction that lasts as long as the block, and keeps nothing.

        Yields what raises `ShardUnavailableError` once the transaction is lost.
        """
        if not self.breaker.admits():
            raise ShardUnavailableError(role)
        async with AsyncExitStack() as stack:
            connection = await self._lent(stack, role)
            try:
                await self._asked(connection, query, role)
            except ShardUnavailableError:
                # It may have been dropped while it lay in the pool; nothing is held so far.
                await stack.aclose()
                connection = await self._lent(stack, role)
                await self._asked(connection, query, role)

            async def confirm() -> None:
                await self._asked(connection, _nothing, role)

            yield confirm

    async def _lent(self, stack: AsyncExitStack, role: str) -> AsyncConnection:
        try:
            async with asyncio.timeout(self.deadline):
                return await stack.enter_async_context(self._connected(role, autocommit=False))
        except TimeoutError as error:
            raise ShardTimeoutError(role) from error

    async def _asked(
        self, connection: AsyncConnection, query: Callable[[ReadConnection], Awaitable[None]], role: str
    ) -> None:
        try:
            async with asyncio.timeout(self.deadline):
                await query(ReadConnection(connection))
        except TimeoutError as error:
            raise ShardTimeoutError(role) from error
        except DBAPIError as error:
            raise _verdict(error, role) from error

    async def _bounded(self, asked: Coroutine[Any, Any, T], role: str, late_error: Sequence[type[ShardError]]) -> T:
        """Return what a coroutine returns, unless this database is left alone for a while, or late."""
        if not self.breaker.admits():
            asked.close()
            raise ShardUnavailableError(role)
        work = asyncio.ensure_future(asked)
        late = _late.get()
        impatient = late is not None and id(self) in late
        try:
            done, _ = await asyncio.wait({work}, timeout=self.deadline / IMPATIENCE if impatient else self.deadline)
        finally:
            if not work.done():
                self._abandon(work)
        self.checked_at = datetime.now(UTC).replace(tzinfo=None)
        self.healthy = False
        if not done:
            if late is not None:
                late.add(id(self))
            raise late_error[0](role)
        try:
            answer = work.result()
        except ShardError as error:
            if error.shard != role:  # work may ask another database too
                self._answered()
            elif isinstance(error, ShardUnavailableError):
                self.breaker.failed()
            raise
        except Exception:  # whatever else it is, the database answered
            self._answered()
            raise
        self._answered()
        return answer

    def _answered(self) -> None:
        self.breaker.answered()
        self.healthy = True

    def _abandon(self, work: "asyncio.Future[Any]") -> None:
        """Cancel work without waiting for its end: the driver takes two seconds to part from a server that hangs."""
        self.abandoned.add(work)
        work.add_done_callback(self.abandoned.discard)
        work.add_done_callback(seen)
        work.cancel()

    async def _twice(self, query: Callable[[ReadConnection], Awaitable[T]], role: str) -> T:
        """Run a query, and once more where that is the cure: reading twice is harmless.

        A connection may have been dropped while it lay in the pool; a statement may have been prepared before a table
        was altered, which SQLAlchemy calls not supported, and forgets what it had prepared.
        """
        try:
            return await self._once(query, role)
        except DBAPIError as error:
            if not error.connection_invalidated and not isinstance(error, NotSupportedError):
                raise _verdict(error, role) from error
        try:
            return await self._once(query, role)
        except DBAPIError as error:
            raise _verdict(error, role) from error

    async def _once(self, query: Callable[[ReadConnection], Awaitable[T]], role: str) -> T:
        async with self._connected(role, autocommit=not self.through_pooler) as connection:
            return await query(ReadConnection(connection))

    async def _transaction(
        self, work: Callable[[WriteConnection], Awaitable[T]], role: str, late: list[type[ShardError]]
    ) -> T:
        """Run work and commit. From COMMIT on, `late` is what it means if the answer does not come in time."""
        async with self._connected(role, autocommit=False) as connection:
            answer = await work(WriteConnection(connection))
            late[0] = OutcomeUnknownError
            try:
                await connection.commit()
            except Exception as error:
                log.warning("a commit failed", role=role, error=type(error).__name__)
                raise OutcomeUnknownError(role) from error
        for tell in self.written:
            tell()
        return answer

    @asynccontextmanager
    async def _connected(self, role: str, *, autocommit: bool) -> AsyncIterator[AsyncConnection]:
        """Lend a connection; at the end what was not committed is rolled back."""
        connection = self.engine.connect()
        try:
            await connection.start()
        except PoolTimeoutError as error:
            raise ShardTimeoutError(role) from error
        except Exception as error:  # whatever keeps us from a connection keeps us from the database
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise
            log.warning("cannot connect", role=role, error=type(error).__name__)
            raise ShardUnavailableError(role) from error
        try:
            options: dict[str, Any] = {ROLE: role}
            if autocommit:
                options["isolation_level"] = "AUTOCOMMIT"
            await connection.execution_options(**options)
            yield connection
        finally:
            # Its server rolls back by itself if the connection is lost; one that hangs is not waited for.
            with suppress(DBAPIError, TimeoutError):
                async with asyncio.timeout(self.deadline):
                    await connection.close()


async def _nothing(connection: ReadConnection) -> None:
    await connection.execute(select(1))


TRIES = 3
QUERY_CANCELED, UNIQUE_VIOLATION = "57014", "23505"
CONFLICTS = ("40001", "40P01")
"""SQLSTATEs of a transaction that lost to another one and may be run again."""

AWAY = ("08", "53", "57P", "40001", "XX")
"""SQLSTATE classes of a server that cannot answer now: connection, resources, shutdown, recovery conflict, crash."""


def _verdict(error: DBAPIError, role: str) -> Exception:
    """Return what a failed statement says of its database, or the error itself if it is the statement's fault."""
    state = _state(error)
    if state == QUERY_CANCELED:
        return ShardTimeoutError(role)
    if state == UNIQUE_VIOLATION:
        cause = error.orig and error.orig.__cause__
        return UniqueViolationError(str(getattr(cause, "constraint_name", "a unique key")))
    if error.connection_invalidated or state.startswith(AWAY):
        return ShardUnavailableError(role)
    return error


def _is_conflict(error: Exception) -> bool:
    """Tell whether a transaction failed before COMMIT, and another try may not: see `_twice`."""
    return isinstance(error, DBAPIError) and (
        error.connection_invalidated or isinstance(error, NotSupportedError) or _state(error) in CONFLICTS
    )


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


@dataclass(frozen=True, slots=True)
class Shard:
    """One database that holds runs, with its replica if it has one, else the same database twice."""

    key: ShardKey
    catalog: Catalog
    primary: Database
    replica: Database

    @property
    def lags(self) -> bool:
        """Whether what a replica says may be older than what was written."""
        return self.replica is not self.primary

    async def read(self, query: Callable[[ReadConnection], Awaitable[T]], source: ReadFrom) -> T:
        """Run a query on the copy that `source` names. Raises `ShardUnavailableError` or `ShardTimeoutError`."""
        database = self.primary if source is ReadFrom.PRIMARY else self.replica
        return await database.read(query, self.key)

    async def write(self, work: Callable[[WriteConnection], Awaitable[T]]) -> T:
        """Run work in one transaction of the primary; see `Database.write`."""
        return await self.primary.write(work, self.key)
