"""The proxy of the tests: each of its faults, by what a real database has afterwards."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from store.federation import create_engine
from store.residency import NEW
from store.urls import parse_url
from tests.conftest import MakeDatabase
from tests.proxy import Proxy

Insert = Callable[[int], Coroutine[Any, Any, None]]
Client = Callable[[str], AbstractAsyncContextManager[Insert]]

GONE = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)
REFUSED = (asyncpg.UniqueViolationError, DBAPIError)


@asynccontextmanager
async def connected(url: str) -> "AsyncIterator[asyncpg.Connection[Any]]":
    """Return a connection that is closed soon: nothing here may take long."""
    async with asyncio.timeout(20):
        connection = await asyncpg.connect(url)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)


@asynccontextmanager
async def driver(url: str) -> AsyncIterator[Insert]:
    """One connection, which is closed once it is lost."""
    async with connected(url) as connection:

        async def insert(number: int) -> None:
            async with connection.transaction():
                await connection.execute("INSERT INTO number VALUES ($1)", number)

        yield insert


@asynccontextmanager
async def engine(url: str) -> AsyncIterator[Insert]:
    """A pool, which connects anew."""
    pool = create_engine(parse_url("DATABASE_URL", url))

    async def insert(number: int) -> None:
        async with pool.begin() as connection:
            await connection.execute(text("INSERT INTO number VALUES (:it)"), {"it": number})

    try:
        async with asyncio.timeout(20):
            yield insert
    finally:
        await pool.dispose()


async def numbers(url: str) -> list[int]:
    async with connected(url) as connection:
        return [row["it"] for row in await connection.fetch("SELECT it FROM number ORDER BY it")]


async def fails(act: Awaitable[object]) -> None:
    """See to it that the connection of an act is lost."""
    with pytest.raises((*GONE, DBAPIError)) as failure:
        await act
    if isinstance(failure.value, DBAPIError):
        assert failure.value.connection_invalidated


@pytest.fixture
async def database(make_database: MakeDatabase) -> str:
    """A database with an empty table of numbers, of which a COMMIT refuses two that are alike."""
    url = await make_database(NEW, "proxied")
    async with connected(url) as connection:
        await connection.execute("DROP TABLE IF EXISTS number")
        await connection.execute("CREATE TABLE number (it int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    return url


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[Proxy]:
    async with Proxy(database) as proxy:
        yield proxy


clients = pytest.mark.parametrize("client", [driver, engine])


@clients
async def test_a_transaction_that_is_cut_before_its_commit_never_was(
    client: Client, proxy: Proxy, database: str
) -> None:
    async with client(proxy.url) as insert:
        await insert(1)
        fault = proxy.cut_before_commit()
        await fails(insert(2))

    assert fault.struck == 1
    assert await numbers(database) == [1]


@clients
async def test_a_transaction_whose_answer_is_cut_is_there_and_its_client_does_not_know(
    client: Client, proxy: Proxy, database: str
) -> None:
    async with client(proxy.url) as insert:
        await insert(1)
        fault = proxy.cut_after_commit_sent()
        await fails(insert(2))

        assert await numbers(database) == [1, 2]
    assert fault.struck == 1


@clients
async def test_a_connection_that_is_cut_after_the_answer_is_dead_for_the_next(
    client: Client, proxy: Proxy, database: str
) -> None:
    async with client(proxy.url) as insert:
        await insert(1)
        fault = proxy.cut_after_commit_reply()
        await insert(2)
        await fails(insert(3))

    assert fault.struck == 1
    assert await numbers(database) == [1, 2]


async def test_a_fault_strikes_as_often_as_it_is_told(proxy: Proxy, database: str) -> None:
    fault = proxy.cut_after_commit_sent(times=2)
    async with engine(proxy.url) as insert:
        await fails(insert(1))
        await fails(insert(2))
        await insert(3)

    assert fault.struck == 2
    assert await numbers(database) == [1, 2, 3]


@clients
async def test_a_fault_strikes_what_it_is_meant_for(client: Client, proxy: Proxy, database: str) -> None:
    missed = proxy.cut_before_commit(where=lambda statements: any("elsewhere" in sql for sql in statements))
    async with client(proxy.url) as insert:
        await insert(1)
        await insert(2)
        # By now its statement is prepared, and no longer sent.
        fault = proxy.cut_before_commit(where=lambda statements: any("INTO number" in sql for sql in statements))
        await fails(insert(3))

    assert (missed.struck, fault.struck) == (0, 1)
    assert await numbers(database) == [1, 2]


async def test_what_an_earlier_transaction_executed_is_not_this_ones(proxy: Proxy) -> None:
    seen: list[list[str]] = []

    def nothing(statements: list[str]) -> bool:
        seen.append(list(statements))
        return False

    async with connected(proxy.url) as connection:
        async with connection.transaction():
            await connection.execute("SELECT 1")
            await connection.fetchval("SELECT $1::int", 2)
        proxy.cut_before_commit(where=nothing)
        async with connection.transaction(isolation="serializable"):
            await connection.fetchval("SELECT $1::int", 2)
            await connection.execute("SELECT 3")

    assert seen == [["SELECT $1::int", "SELECT 3"]]


@clients
@pytest.mark.parametrize("cut", [Proxy.cut_after_commit_sent, Proxy.cut_after_commit_reply])
async def test_a_commit_that_the_server_refuses_is_not_struck(
    client: Client, cut: Callable[[Proxy], Any], proxy: Proxy, database: str
) -> None:
    async with client(proxy.url) as insert:
        await insert(1)
        fault = cut(proxy)
        with pytest.raises(REFUSED, match="duplicate key"):
            await insert(1)
        assert fault.struck == 0
        await asyncio.gather(insert(2), return_exceptions=True)

    assert fault.struck == 1
    assert await numbers(database) == [1, 2]


async def test_a_commit_of_what_has_failed_is_not_struck(proxy: Proxy) -> None:
    fault = proxy.cut_after_commit_sent()
    async with connected(proxy.url) as connection:
        await connection.execute("BEGIN")
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.execute("TABLE nowhere")
        assert await connection.execute("COMMIT") == "ROLLBACK"

    assert fault.struck == 0


@clients
async def test_a_pause_holds_everything_until_it_ends(client: Client, proxy: Proxy, database: str) -> None:
    async with client(proxy.url) as insert:
        await insert(1)
        proxy.pause()
        late = asyncio.create_task(insert(2))
        await proxy.held.wait()
        assert await numbers(database) == [1]

        proxy.resume()
        await late

    assert await numbers(database) == [1, 2]


async def test_a_server_that_refuses_has_no_clients_until_it_accepts(proxy: Proxy, database: str) -> None:
    async with engine(proxy.url) as insert:
        await insert(1)
        proxy.refuse()
        await fails(insert(2))
        with pytest.raises(GONE):
            await asyncpg.connect(proxy.url, timeout=5)
        assert proxy.cut == 1
        assert proxy.refused

        proxy.accept()
        await insert(3)

    assert await numbers(database) == [1, 3]


async def test_a_query_can_be_cancelled_through_it(proxy: Proxy) -> None:
    async with connected(proxy.url) as connection:
        with pytest.raises(TimeoutError):
            await connection.execute("SELECT pg_sleep(60)", timeout=0.1)
        assert await connection.fetchval("SELECT repeat('x', 300000)") == "x" * 300_000


async def test_a_mistake_of_a_test_is_told(database: str) -> None:
    async def mistaken() -> None:
        async with Proxy(database) as proxy, engine(proxy.url) as insert:
            proxy.cut_before_commit(where=lambda statements: bool(statements[99]))
            await fails(insert(1))

    with pytest.raises(ExceptionGroup) as told:
        await mistaken()

    assert told.group_contains(IndexError)


async def test_its_end_leaves_nothing_behind_whatever_its_clients_do(database: str) -> None:
    before = asyncio.all_tasks()
    async with asyncio.timeout(20), Proxy(database) as proxy:
        idle, held = await asyncpg.connect(proxy.url, timeout=5), await asyncpg.connect(proxy.url, timeout=5)
        proxy.pause()
        stuck = asyncio.create_task(held.execute("SELECT 1"))
        await proxy.held.wait()

    await fails(stuck)
    await fails(idle.execute("SELECT 1"))
    assert asyncio.all_tasks() == before
