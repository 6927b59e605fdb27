"""Wake-ups: a process says to the others that a database may have moved, and nothing else.

They make others poll sooner, so one that is lost costs a little time only. Nothing here raises, blocks or waits for a
server without a bound; whether wake-ups come at all is found by trying, since a pooler swallows them without a word.
"""

import asyncio
import random
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import structlog
from sqlalchemy import func, select

from store.errors import ConfigurationError
from store.memory import seen
from store.shard import CONNECT_SECONDS, Database, ReadConnection
from store.urls import DatabaseUrl

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

log = structlog.get_logger()

CHANNEL = "runatlas_moved"
REDIS_CHANNEL = "runatlas:moved"

PAUSE = 0.25
"""Between two wake-ups of one database, in seconds: no more of them are sent."""

ECHO_SECONDS = 1.0
"""How long what we say may take to come back."""

ANSWER_SECONDS = 3.0
"""How long a server may take for a statement of ours."""

TEST_SECONDS = 30.0
"""Between two tests whether we are still heard, by which a connection is found that was lost without a word."""

SHORTEST, LONGEST = 0.5, 30.0
"""Before connecting again, in seconds: doubled from one to the other, less up to a half of it."""

TEST = "runatlas-test "
"""Begins the payload of a NOTIFY by which a process tests itself."""

PAYLOAD = re.compile(r"(?P<process>[0-9a-f]{16}) (?P<role>[^\n]*)")


class DeafError(Exception):
    """We are connected, and do not hear ourselves."""


class _Line(NamedTuple):
    """A connection, by what is done over it."""

    hear: Callable[[], Awaitable[None]]
    """Hears until the connection is lost."""
    say: Callable[[str], Awaitable[None]]
    """Says to others that the database of a role moved."""
    test: Callable[[], Awaitable[object]]
    """Says what we must hear ourselves."""


class _Wakeups(ABC):
    """What is kept up to say and to hear wake-ups, whatever carries them."""

    def __init__(self, name: str, test_every: float) -> None:
        self.works = False
        """Whether we heard ourselves when we last tried."""
        self._name, self._test_every = name, test_every
        self._is_known_to_fail = False
        self._moved_roles: set[str] = set()
        self._told, self._echo = asyncio.Event(), asyncio.Event()

    @abstractmethod
    def _connected(self) -> AbstractAsyncContextManager[_Line]:
        """Connect, lend the connection, and end it without waiting for the server."""

    async def run(self) -> None:
        """Keep listening until cancelled. Never raises: whatever fails is tried again."""
        pause = SHORTEST
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001  the next connection may do better
                pause = SHORTEST if self.works else pause
                self._fails(error)
            finally:
                self.works = False
            _end_if_cancelled()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  spreads processes over time
            pause = min(2 * pause, LONGEST)

    def _tell(self, role: str) -> None:
        self._moved_roles.add(role)
        self._told.set()

    async def _listen(self) -> None:
        """Connect, then hear, say and test until one of them fails, and raise what it raised."""
        async with self._connected() as line:
            _end_if_cancelled()
            self._moved_roles.clear()  # what was told without a connection is seen by the others' next poll
            work = [asyncio.ensure_future(part) for part in (line.hear(), self._say(line), self._test(line))]
            try:
                done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
                for part in done:
                    part.result()
            finally:
                await _ended(work)

    async def _say(self, line: _Line) -> None:
        """Say what was told, at once if that role was not said a short while ago, else when it was not."""
        loop = asyncio.get_running_loop()
        due: dict[str, float] = {}
        while True:
            await self._told.wait()
            self._told.clear()
            for role in [role for role in self._moved_roles if due.get(role, 0.0) <= loop.time()]:
                # What is told from here on may have been written too late for this one.
                self._moved_roles.discard(role)
                await line.say(role)
                due[role] = loop.time() + PAUSE
            if self._moved_roles:
                loop.call_at(min(due.get(role, 0.0) for role in self._moved_roles), self._told.set)

    async def _test(self, line: _Line) -> None:
        while True:
            self._echo.clear()
            await line.test()
            try:
                async with asyncio.timeout(ECHO_SECONDS):
                    await self._echo.wait()
            except TimeoutError as error:
                raise DeafError from error
            self._succeeds()
            await asyncio.sleep(self._test_every)

    def _succeeds(self) -> None:
        self.works = True
        if self._is_known_to_fail:
            self._is_known_to_fail = False
            log.info("wake-ups come again", role=self._name)

    def _fails(self, error: Exception) -> None:
        if not self._is_known_to_fail:
            self._is_known_to_fail = True
            log.warning("wake-ups do not come", role=self._name, error=type(error).__name__)


def _end_if_cancelled() -> None:
    """Raise the cancellation of this task if it had one: the client of Redis may swallow it."""
    if (task := asyncio.current_task()) and task.cancelling():
        raise asyncio.CancelledError


async def _ended(work: Collection["asyncio.Future[None]"]) -> None:
    """Cancel work until it ends, as one cancellation may be swallowed."""
    while pending := [part for part in work if not part.done()]:
        for part in pending:
            part.cancel()
        await asyncio.wait(pending, timeout=0.05)
    for part in work:
        seen(part)


class Listener(_Wakeups):
    """LISTEN and NOTIFY on one database, over a connection of its own."""

    def __init__(
        self,
        url: DatabaseUrl,
        notify_from: Database,
        role: str,
        moved: Callable[[], None],
        *,
        test_every: float = TEST_SECONDS,
    ) -> None:
        super().__init__(role, test_every)
        self._url, self._notify_from, self._role, self._moved = url, notify_from, role, moved
        self._payload = ""

    async def run(self) -> None:
        """Listen until cancelled; through a transaction pooler, which delivers nothing, not at all. Never raises."""
        if not self._url.through_pooler:
            await super().run()

    def tell(self) -> None:
        """Say to other processes, soon, that this database moved: after the write was committed. Never raises."""
        self._tell(self._role)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Line]:
        connection = await asyncpg.connect(
            self._url.dsn,
            timeout=CONNECT_SECONDS,
            statement_cache_size=0,
            server_settings={"application_name": "runatlas"},
        )
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())

        async def hear() -> None:
            await lost.wait()
            raise ConnectionError

        async def say(_: str) -> None:
            await _answered(connection.execute(f"NOTIFY {CHANNEL}"))

        try:
            heard = partial(self._heard, connection.get_server_pid())
            await _answered(connection.add_listener(CHANNEL, heard))
            yield _Line(hear, say, self._notify)
        finally:
            connection.terminate()

    async def _notify(self) -> None:
        """Send what we must hear, over another connection: a server does not tell whether it passes our own on."""
        self._payload = payload = TEST + secrets.token_hex(8)

        async def notify(connection: ReadConnection) -> None:
            await connection.execute(select(func.pg_notify(CHANNEL, payload)))

        await self._notify_from.read(notify, self._role)

    def _heard(self, own: int, _connection: object, sender: int, _channel: str, payload: str) -> None:
        if payload.startswith(TEST):
            if payload == self._payload:
                self._echo.set()
        elif sender != own:
            self._moved()


async def _answered(asked: Coroutine[Any, Any, object]) -> None:
    """Wait for a statement, and not for long. It is never cancelled, for which the driver would ask the server too."""
    work = asyncio.ensure_future(asked)
    work.add_done_callback(seen)
    done, _ = await asyncio.wait({work}, timeout=ANSWER_SECONDS)
    if not done:
        raise TimeoutError
    work.result()


class RedisWakeups(_Wakeups):
    """Wake-ups of every database, through a Redis that all processes share; `moved` is told the database's role."""

    def __init__(self, url: str, moved: Callable[[str], None], *, test_every: float = TEST_SECONDS) -> None:
        super().__init__("redis", test_every)
        self._client = _redis(url)
        self._moved = moved
        self._id = secrets.token_hex(8)

    def tell(self, role: str) -> None:
        """Say to other processes, soon, that a role's database moved: after the write was committed. Never raises."""
        self._tell(role)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Line]:
        client = self._client()
        pubsub = client.pubsub()

        async def hear() -> None:
            while True:
                self._heard(await pubsub.get_message(timeout=None))

        async def say(role: str) -> None:
            await client.publish(REDIS_CHANNEL, f"{self._id} {role}")

        try:
            await _subscribe(pubsub)
            # What names no role is for ourselves.
            yield _Line(hear, say, partial(say, ""))
        finally:
            with suppress(Exception):
                async with asyncio.timeout(ECHO_SECONDS):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
                    await client.aclose()

    def _heard(self, message: Any) -> None:  # noqa: ANN401  whatever anybody publishes
        match = PAYLOAD.fullmatch(str(message["data"])) if message and message["type"] == "message" else None
        if match is None:
            return
        if match["process"] == self._id:
            self._echo.set()
        elif match["role"]:
            self._moved(match["role"])


async def _subscribe(pubsub: "PubSub") -> None:
    """Return once the server has said that it passes messages on."""
    await pubsub.subscribe(REDIS_CHANNEL)
    if await pubsub.get_message(timeout=ANSWER_SECONDS) is None:
        raise TimeoutError


def _redis(url: str) -> Callable[[], "Redis"]:
    """Return what makes a client of a Redis, or raise `ConfigurationError`. Nothing is connected."""
    try:
        # Here, as most deployments have no Redis.
        from redis.asyncio import Redis  # noqa: PLC0415
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "RUNATLAS_REDIS_URL is set, but the client of Redis is not installed",
            "pip install 'runatlas[redis]', or unset RUNATLAS_REDIS_URL",
        ) from error
    make = partial(
        Redis.from_url,
        url,
        protocol=2,
        decode_responses=True,
        encoding_errors="replace",
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        make().connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            "RUNATLAS_REDIS_URL is not a URL of a Redis",
            "write redis://user:password@host:6379/0, or rediss:// for TLS",
        ) from error
    return make
