"""Operations as server-sent events: what is sent, how it ends, and that nothing of it is left over."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from schema.http.streams import StreamLimits
from store import ids
from store.residency import NEW
from tests.federation import FederationUnderTest
from tests.streaming import PATIENCE, Served, app_of, assert_nothing_was_logged, served, told, until

SLUG = "{ environment { slug } }"
PROD = {"data": {"environment": {"slug": "prod"}}}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert_nothing_was_logged(caplog)


@pytest.fixture
async def serves(federation: FederationUnderTest) -> AsyncIterator[Served]:
    """The real application, served."""
    async with served(federation.app) as serves:
        yield serves
    assert not serves.streams.streams_of


@pytest.fixture
async def naughty(federation: FederationUnderTest) -> AsyncIterator[Served]:
    """The test's own schema, served by a server without patience."""
    limits = StreamLimits(streams_per_credential=2, ping_seconds=0.05)
    async with served(app_of(federation, limits), unread_seconds=0.3) as serves:
        yield serves
    assert not serves.streams.streams_of
    assert told.running == 0


class Events:
    """The events of a response, read one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.pings = 0

    async def read(self) -> tuple[str, Any]:
        """Return the next event's name and data."""
        name, data = "", ""
        async with asyncio.timeout(PATIENCE):
            async for line in self._lines:
                if line.startswith(":"):
                    self.pings += 1
                elif line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data:"):
                    data = line.removeprefix("data:").strip()
                elif not line and name:
                    return name, json.loads(data) if data else None
        return "end", None


@asynccontextmanager
async def opened(
    serves: Served, federation: FederationUnderTest, query: str, **variables: Any
) -> AsyncIterator[Events]:
    """Open a stream."""
    async with serves.client(federation.tenant.api_key) as client:
        body = {"query": query, "variables": variables}
        async with client.stream("POST", "/graphql", json=body) as response:
            assert response.status_code == 200
            assert response.headers["content-type"] == "text/event-stream"
            yield Events(response)


async def test_a_query_is_one_event_and_complete(federation: FederationUnderTest, serves: Served) -> None:
    async with opened(serves, federation, SLUG) as events:
        assert [await events.read() for _ in range(3)] == [("next", PROD), ("complete", None), ("end", None)]


async def test_a_subscription_is_events_and_complete(federation: FederationUnderTest, naughty: Served) -> None:
    async with opened(naughty, federation, "subscription { count(to: 2) }") as events:
        told = [await events.read() for _ in range(4)]
    assert told == [
        ("next", {"data": {"count": 0}}),
        ("next", {"data": {"count": 1}}),
        ("complete", None),
        ("end", None),
    ]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("{", "Syntax Error"),
        ("{ nothing }", "Cannot query field"),
        ("", "query"),
        ("{ environment { runs(first: " + "9" * 5_000 + ") { nodes { id } } } }", "cannot be read"),
        ("query ($x: Int!) { __typename }", "Variable '$x'"),
    ],
    ids=lambda text: text[:20],
)
async def test_what_is_no_operation_is_refused_in_an_event(
    federation: FederationUnderTest, serves: Served, query: str, sentence: str
) -> None:
    async with opened(serves, federation, query) as events:
        name, result = await events.read()
        assert [await events.read() for _ in range(2)] == [("complete", None), ("end", None)]
    assert name == "next"
    assert result["data"] is None
    assert sentence in result["errors"][0]["message"]
    assert result["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_an_error_of_ours_is_masked(
    federation: FederationUnderTest, serves: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> Any:
        raise LookupError("a secret of ours")

    monkeypatch.setattr(federation.federation.router, "runs", fail)
    with capture_logs() as logs:
        async with opened(serves, federation, '{ run(id: "run_x") { id } }') as events:
            _, result = await events.read()
            assert await events.read() == ("complete", None)
    assert result["errors"][0]["extensions"] == {"code": "INTERNAL", "errorId": logs[0]["error_id"]}
    assert "secret" not in json.dumps(result)


async def test_a_subscription_that_breaks_says_so_before_it_completes(
    federation: FederationUnderTest, naughty: Served
) -> None:
    with capture_logs() as logs:
        async with opened(naughty, federation, "subscription { broken }") as events:
            assert await events.read() == ("next", {"data": {"broken": 0}})
            _, result = await events.read()
            assert [await events.read() for _ in range(2)] == [("complete", None), ("end", None)]
    assert result["errors"][0]["extensions"] == {"code": "INTERNAL", "errorId": logs[0]["error_id"]}


async def test_a_stream_without_events_says_that_it_lives(federation: FederationUnderTest, naughty: Served) -> None:
    async with opened(naughty, federation, "subscription { silent }") as events:
        reading = asyncio.create_task(events.read())
        await until(lambda: events.pings > 2)
        reading.cancel()
    await until(lambda: told.running == 0)


async def test_what_a_client_that_left_subscribed_to_ends_at_once(
    federation: FederationUnderTest, naughty: Served
) -> None:
    for query in ("subscription { silent }", "subscription { endless }", "subscription { large }"):
        async with opened(naughty, federation, query):
            await until(lambda: told.running == 1)
        await until(lambda: told.running == 0)
        await until(lambda: not naughty.streams.streams_of)


async def test_a_stream_that_is_always_ready_lets_others_run(federation: FederationUnderTest, naughty: Served) -> None:
    async with opened(naughty, federation, "subscription { endless }") as endless:
        assert await endless.read() == ("next", {"data": {"endless": 0}})
        async with opened(naughty, federation, '{ echo(text: "x") }') as events:
            assert await events.read() == ("next", {"data": {"echo": "x"}})


async def test_a_client_that_does_not_read_is_dropped_with_what_waits_for_it(
    federation: FederationUnderTest, naughty: Served
) -> None:
    body = json.dumps({"query": "subscription { large }"})
    reader, writer = await asyncio.open_connection("127.0.0.1", naughty.port, limit=1024)
    writer.write(
        f"POST /graphql HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {federation.tenant.api_key}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    await until(lambda: told.running == 1)
    (connection,) = naughty.connections
    largest = 0
    async with asyncio.timeout(PATIENCE):
        while naughty.connections:
            largest = max(largest, connection.transport.get_write_buffer_size())
            await asyncio.sleep(0)
    assert 0 < largest < 110_000
    await until(lambda: told.running == 0)
    del reader
    writer.transport.abort()


async def test_a_credential_has_so_many_streams_and_a_place_is_free_when_one_ended(
    federation: FederationUnderTest, naughty: Served
) -> None:
    for _ in range(3):
        async with (
            opened(naughty, federation, "subscription { silent }"),
            opened(naughty, federation, "subscription { silent }"),
            naughty.client(federation.tenant.api_key) as client,
        ):
            await until(lambda: told.running == 2)
            refused = await client.post("/graphql", json={"query": "{ __typename }"})
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
            assert refused.json()["errors"] == [{"message": "Too many streams", "extensions": {"code": "RATE_LIMITED"}}]
            talk = await naughty.greeted(federation.tenant.api_key)
            await talk.subscribe("{ __typename }")
            assert (await talk.read())["payload"][0]["extensions"] == {"code": "RATE_LIMITED"}
        await until(lambda: told.running == 0)


async def test_streams_end_without_complete_when_the_server_goes_and_nothing_is_waited_for(
    federation: FederationUnderTest,
) -> None:
    async with served(app_of(federation)) as serves, opened(serves, federation, "subscription { silent }") as silent:
        async with opened(serves, federation, "subscription { endless }") as endless:
            async with opened(serves, federation, "subscription { large }"):
                await until(lambda: told.running == 3)
                await until(lambda: any(one.transport.get_write_buffer_size() for one in serves.connections))
                ends = asyncio.create_task(last_of(endless))
                assert serves.streams.streams_of.total() == 3
                await serves.stop()
            assert await ends == "next"
        assert await silent.read() == ("end", None)
    assert told.running == 0


async def last_of(events: Events) -> str:
    """Return the name of the last event before the end."""
    last = ""
    while (name := (await events.read())[0]) != "end":
        last = name
    return last


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
async def test_who_subscribes_without_a_stream_is_told_how(
    federation: FederationUnderTest, serves: Served, accept: str
) -> None:
    query = 'subscription { runUpdated(id: "run_x") { id } }'
    async with serves.client(federation.tenant.api_key) as client:
        response = await client.post("/graphql", json={"query": query}, headers={"Accept": accept})
        got = await client.get("/graphql", params={"query": query}, headers={"Accept": accept})
    for answer in (response, got):
        assert answer.status_code == 400
        assert "Accept: text/event-stream" in answer.json()["errors"][0]["message"]
        assert answer.json()["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}


async def test_get_does_not_subscribe_and_does_not_write(federation: FederationUnderTest, serves: Served) -> None:
    async with serves.client(federation.tenant.api_key) as client:
        for query, kind in (
            ('subscription { runUpdated(id: "run_x") { id } }', "subscriptions"),
            ('mutation { cancelRun(input: {id: "run_x"}) { run { id } } }', "mutations"),
        ):
            response = await client.get("/graphql", params={"query": query})
            assert f'"{kind} are not allowed"' in response.text
            assert '"BAD_USER_INPUT"' in response.text


async def test_a_body_that_is_too_large_or_no_operation_is_refused_as_for_any_request(
    federation: FederationUnderTest, serves: Served
) -> None:
    async with serves.client(federation.tenant.api_key) as client:
        for content, status in ((b" " * (2**20 + 1), 413), (b"{", 400), (b"[]", 400), (b'{"query": 7}', 400)):
            response = await client.post("/graphql", content=content, headers={"Content-Type": "application/json"})
            assert response.status_code == status
        wrong = await client.post("/graphql", json={"query": SLUG}, headers={"Authorization": "Bearer tr_prod_x"})
    assert wrong.status_code == 401
    assert wrong.json()["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}


async def test_a_run_is_told_of_as_it_is(federation: FederationUnderTest, serves: Served) -> None:
    run = f"run_{await federation.run(NEW, ids.mint_v1(), status='COMPLETED_SUCCESSFULLY')}"
    async with opened(serves, federation, "subscription ($id: ID!) { runUpdated(id: $id) { id } }", id=run) as events:
        assert await events.read() == ("next", {"data": {"runUpdated": {"id": run}}})
        assert await events.read() == ("complete", None)
