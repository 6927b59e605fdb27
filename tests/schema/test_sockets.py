"""GraphQL over WebSocket: what a client may do, what it is told of what it may not, and that neither costs others."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from schema.app import create_app
from schema.http.sockets import LONGEST_REASON
from schema.http.streams import LONGEST_ID, StreamLimits
from store import ids
from store.control_plane import CONTROL_PLANE
from store.embedded import Cluster
from store.federation import open_federation
from store.residency import NEW, ShardKey
from tests.conftest import SHARDS, topology_of
from tests.federation import FederationUnderTest
from tests.schema.test_credentials import cookie
from tests.streaming import HUGE, PATIENCE, Served, Talk, app_of, assert_nothing_was_logged, served, told, until

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
    assert_nothing_is_held(serves)


@pytest.fixture
async def naughty(federation: FederationUnderTest) -> AsyncIterator[Served]:
    """The test's own schema, served by a server without patience."""
    async with served(app_of(federation, StreamLimits(streams_per_credential=101)), unread_seconds=0.3) as serves:
        yield serves
    assert_nothing_is_held(serves)
    assert told.running == 0


def assert_nothing_is_held(serves: Served) -> None:
    streams = serves.streams
    assert (streams.sockets, dict(streams.sockets_of), dict(streams.streams_of)) == (0, {}, {})


async def answer(talk: Talk, query: str = SLUG, id_: str = "1", **variables: Any) -> Any:
    """Return what an operation with one result answers."""
    await talk.subscribe(query, id_, **variables)
    first = await talk.read()
    assert first["id"] == id_
    if first["type"] == "next":
        assert await talk.read() == {"type": "complete", "id": id_}
    return first["payload"]


async def test_an_operation_on_a_socket_is_answered_as_a_request_is(
    federation: FederationUnderTest, serves: Served
) -> None:
    talk = await serves.greeted(federation.tenant.api_key)
    assert await answer(talk) == PROD
    assert await answer(talk, "query ($id: ID!) { run(id: $id) { id } }", "2", id="run_nothing") == {
        "data": {"run": None}
    }


async def test_an_operation_sees_what_was_written_since_the_one_before(
    federation: FederationUnderTest, serves: Served
) -> None:
    talk = await serves.greeted(federation.tenant.api_key)
    run = f"run_{ids.mint_v1()}"
    ask = "query ($id: ID!) { run(id: $id) { id } }"
    assert await answer(talk, ask, id=run) == {"data": {"run": None}}
    await federation.run(NEW, run.removeprefix("run_"))
    assert await answer(talk, ask, id=run) == {"data": {"run": {"id": run}}}


@pytest.mark.parametrize(
    "payload",
    [
        {"Authorization": "Bearer {}"},
        {"authorization": "Bearer {}"},
        {"AUTHORIZATION": "bearer {}"},
        {"headers": {"Authorization": "Bearer {}"}},
    ],
    ids=str,
)
async def test_a_credential_may_stand_in_the_first_message(
    federation: FederationUnderTest, serves: Served, payload: dict[str, Any]
) -> None:
    talk = await serves.socket()
    given = json.loads(json.dumps(payload).replace("{}", federation.tenant.api_key))
    await talk.send(type="connection_init", payload=given)
    assert await talk.read() == {"type": "connection_ack"}
    assert await answer(talk) == PROD


async def test_a_credential_may_stand_in_the_headers_of_the_upgrade_unless_the_first_message_has_one(
    federation: FederationUnderTest, serves: Served
) -> None:
    headers = {"Authorization": f"Bearer {federation.tenant.api_key}"}
    talk = await serves.socket(headers=headers, origin="https://elsewhere.test")
    await talk.send(type="connection_init")
    assert await talk.read() == {"type": "connection_ack"}
    other = await serves.socket(headers=headers)
    await other.send(type="connection_init", payload={"authorization": "Bearer tr_prod_unknown"})
    assert await other.closed() == (4401, "the secret key is not valid")


async def test_a_session_counts_only_for_a_page_of_the_same_origin(
    federation: FederationUnderTest, serves: Served
) -> None:
    user, _ = await federation.member()
    session = {"Cookie": cookie({"user": {"userId": user}})}
    ours = await serves.socket(headers=session, origin=f"http://127.0.0.1:{serves.port}")
    await ours.send(type="connection_init", payload={})
    assert await ours.read() == {"type": "connection_ack"}
    for origin in ("https://elsewhere.test", f"http://127.0.0.1:{serves.port + 1}", "null", None):
        theirs = await serves.socket(headers=session, origin=origin)
        await theirs.send(type="connection_init", payload={})
        assert (await theirs.closed())[0] == 4401


async def test_a_branch_may_be_named_in_the_first_message(federation: FederationUnderTest, serves: Served) -> None:
    parent, branch = await federation.environment(type="PREVIEW"), "fix/it"
    await federation.environment(type="PREVIEW", parentEnvironmentId=parent, branchName=branch, slug="of-a-branch")
    for name in ("x-trigger-branch", "X-Trigger-Branch"):
        talk = await serves.socket()
        await talk.send(type="connection_init", payload={"Authorization": f"Bearer tr_prod_{parent[1:]}", name: branch})
        assert await talk.read() == {"type": "connection_ack"}
        assert await answer(talk) == {"data": {"environment": {"slug": "of-a-branch"}}}


@pytest.mark.parametrize("protocols", [("graphql-ws",), ("mqtt", "soap")], ids=str)
async def test_another_protocol_is_closed_with_4406(serves: Served, protocols: tuple[str, ...]) -> None:
    talk = await serves.socket(*protocols)
    assert (await talk.closed())[0] == 4406


@pytest.mark.parametrize(
    "payload", [None, {}, {"Authorization": ""}, {"Authorization": 7}, {"Authorization": "Bearer tr_prod_unknown"}]
)
async def test_who_has_no_valid_credential_is_closed_with_4401(serves: Served, payload: Any) -> None:
    talk = await serves.socket()
    await talk.send(type="connection_init", payload=payload)
    code, reason = await talk.closed()
    assert code == 4401
    assert 0 < len(reason.encode()) <= LONGEST_REASON


async def test_a_credential_in_two_cases_of_letters_is_no_credential(
    federation: FederationUnderTest, serves: Served
) -> None:
    talk = await serves.socket()
    value = f"Bearer {federation.tenant.api_key}"
    await talk.send(type="connection_init", payload={"Authorization": value, "authorization": value})
    assert (await talk.closed())[0] == 4401


async def test_whose_credential_cannot_be_checked_is_told_to_come_later(
    federation: FederationUnderTest, urls: dict[ShardKey, str]
) -> None:
    connection = federation.connections[CONTROL_PLANE]
    async with (
        open_federation(topology_of(urls, SHARDS[:1]), deadline=0.2) as hasty,
        served(create_app(hasty)) as serves,
        connection.transaction(),
    ):
        await connection.execute('LOCK TABLE "RuntimeEnvironment" IN ACCESS EXCLUSIVE MODE')
        talk = await serves.socket()
        await talk.send(type="connection_init", payload={"Authorization": "Bearer tr_prod_another"})
        code, reason = await talk.closed()
    assert code == 1013
    assert "did not answer in time" in reason


async def test_an_error_of_ours_closes_the_socket_with_an_id_that_stands_in_the_log(
    federation: FederationUnderTest, serves: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> Any:
        raise LookupError("a secret of ours")

    monkeypatch.setattr(federation.federation.credentials, "environment_by_api_key", fail)
    with capture_logs() as logs:
        talk = await serves.socket()
        await talk.send(type="connection_init", payload={"Authorization": "Bearer tr_prod_another"})
        code, reason = await talk.closed()
    assert code == 1011
    assert reason == f"something went wrong on our side: {logs[0]['error_id']}"


async def test_an_error_of_ours_in_an_operation_is_masked_and_the_socket_stays(
    federation: FederationUnderTest, serves: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> Any:
        raise LookupError("a secret of ours")

    talk = await serves.greeted(federation.tenant.api_key)
    with capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(federation.federation.router, "runs", fail)
        payload = await answer(talk, '{ run(id: "run_x") { id } }')
    assert payload["errors"][0]["extensions"] == {"code": "INTERNAL", "errorId": logs[0]["error_id"]}
    assert "secret" not in json.dumps(payload)
    assert await answer(talk) == PROD


async def test_who_says_nothing_is_closed_with_4408(federation: FederationUnderTest) -> None:
    async with served(create_app(federation.federation, limits=StreamLimits(init_seconds=0.05))) as serves:
        talk = await serves.socket()
        assert (await talk.closed())[0] == 4408
        await until(lambda: serves.streams.sockets == 0)


async def test_a_second_first_message_is_closed_with_4429(federation: FederationUnderTest, serves: Served) -> None:
    talk = await serves.greeted(federation.tenant.api_key)
    await talk.send(type="connection_init", payload={})
    assert (await talk.closed())[0] == 4429


async def test_who_subscribes_before_they_are_admitted_is_closed_with_4401(serves: Served) -> None:
    talk = await serves.socket()
    await talk.subscribe(SLUG)
    assert await talk.closed() == (4401, "Unauthorized")


async def test_an_id_in_use_is_closed_with_4409_and_may_be_used_again_when_its_operation_ended(
    federation: FederationUnderTest, naughty: Served
) -> None:
    talk = await naughty.greeted(federation.tenant.api_key)
    for _ in range(2):
        assert await answer(talk, '{ echo(text: "x") }', "é" * LONGEST_ID) == {"data": {"echo": "x"}}
    await talk.subscribe("subscription { silent }", "é" * LONGEST_ID)
    await talk.subscribe("subscription { silent }", "é" * LONGEST_ID)
    code, reason = await talk.closed()
    assert code == 4409
    assert reason.startswith("Subscriber for ééé")
    await until(lambda: told.running == 0)


SUBSCRIBE: dict[str, Any] = {"type": "subscribe", "id": "1", "payload": {"query": SLUG}}


BAD_OBJECTS: list[Any] = [
    {},
    {"type": None},
    {"type": []},
    {"type": "x" * 1000},
    {"type": "start", "id": "1", "payload": {"query": SLUG}},
    {"type": "next", "id": "1", "payload": {}},
    {"type": "connection_ack"},
    {"type": "connection_init", "payload": []},
    {"type": "connection_init", "payload": "x"},
    {"type": "ping", "payload": 1},
    {"type": "pong", "payload": []},
    {"type": "complete"},
    {"type": "complete", "id": 1},
    {"type": "subscribe"},
    {"type": "subscribe", "id": "1"},
    {**SUBSCRIBE, "id": None},
    {**SUBSCRIBE, "id": 1},
    {**SUBSCRIBE, "id": ""},
    {**SUBSCRIBE, "id": "x" * (LONGEST_ID + 1)},
    {**SUBSCRIBE, "payload": None},
    {**SUBSCRIBE, "payload": []},
    {**SUBSCRIBE, "payload": SLUG},
    {**SUBSCRIBE, "payload": {}},
    {**SUBSCRIBE, "payload": {"query": None}},
    {**SUBSCRIBE, "payload": {"query": 7}},
    {**SUBSCRIBE, "payload": {"query": SLUG, "variables": []}},
    {**SUBSCRIBE, "payload": {"query": SLUG, "variables": "{}"}},
    {**SUBSCRIBE, "payload": {"query": SLUG, "operationName": 1}},
    {**SUBSCRIBE, "payload": {"query": SLUG, "extensions": []}},
]
BAD_MESSAGES: list[str | bytes] = [
    "",
    "{",
    "[]",
    "null",
    "7",
    '"ping"',
    "[" * 100_000,
    '{"type": "ping", "payload": "\\ud800"}',
    b"{}",
    b"\xff\xfe",
    json.dumps(SUBSCRIBE).encode(),
    *map(json.dumps, BAD_OBJECTS),
]


async def test_what_is_no_message_is_closed_with_4400(federation: FederationUnderTest, serves: Served) -> None:
    for message in BAD_MESSAGES:
        for talk in (await serves.socket(), await serves.greeted(federation.tenant.api_key)):
            await talk.connection.send(message)
            code, reason = await talk.closed()
            assert code == 4400, message
            assert 0 < len(reason.encode()) <= LONGEST_REASON


BAD_FRAMES = [
    b"\x81\x83\0\0\0\0\xff\xfe\xfd",  # a text that is not UTF-8
    b"\x01\x82\0\0\0\0\xff\xfe\x80\x81\0\0\0\0\xfd",  # the same in two fragments
    b"\x83\x80\0\0\0\0",  # an opcode that is reserved
    b"\xf1\x80\0\0\0\0",  # reserved bits
    b"\x81\x02{}",  # not masked
    b"\x80\x80\0\0\0\0",  # a continuation of nothing
    b"\x89\xfe\x01\x00\0\0\0\0" + b"x" * 256,  # a ping that is too long
    b"\x88\x81\0\0\0\0x",  # a close with half a code
    b"\x88\x82\0\0\0\0\x00\x01",  # a close with a code that is none
    b"\x88\x84\0\0\0\0\x03\xe8\xff\xfe",  # a close with a reason that is not UTF-8
    b"\x81\xff\x00\x00\x00\x00\x00\x10\x00\x01\0\0\0\0",  # a byte more than anything may have
    b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    b"\xff" * 64,
    b"\0" * 64,
    b"",  # nothing, and gone
]


async def test_bytes_that_are_no_frame_end_their_own_socket_and_no_other(
    federation: FederationUnderTest, serves: Served
) -> None:
    other = await serves.greeted(federation.tenant.api_key)
    for frame in BAD_FRAMES:
        reader, writer = await upgraded(serves.port)
        await until(lambda: serves.streams.sockets == 2)
        writer.write(frame)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            await reader.read()
        writer.close()
        await until(lambda: serves.streams.sockets == 1)
        assert await answer(other) == PROD, frame


@pytest.mark.parametrize(
    "more", ["Cookie: " + "x" * 9_000, "X: x\r\n" * 200 + "X: x", "Content-Length: 5", "Transfer-Encoding: chunked"]
)
async def test_an_upgrade_that_cannot_be_read_is_refused_and_not_left_open(serves: Served, more: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", serves.port)
    writer.write(UPGRADE.replace("\r\n\r\n", f"\r\n{more}\r\n\r\n").encode())
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_a_message_has_at_most_a_mebibyte(federation: FederationUnderTest, serves: Served) -> None:
    talk = await serves.greeted(federation.tenant.api_key)
    await talk.send(type="ping", payload={"x": "x" * (2**20 - 100)})
    assert await talk.read() == {"type": "pong"}
    await talk.send(type="ping", payload={"x": "x" * 2**20})
    assert (await talk.closed())[0] == 1009


UPGRADE = (
    "GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)


async def upgraded(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a socket by hand, for bytes that no client would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(UPGRADE.encode())
    async with asyncio.timeout(PATIENCE):
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        ({"query": "{"}, "Syntax Error"),
        ({"query": ""}, "query"),
        ({"query": "{ nothing }"}, "Cannot query field"),
        ({"query": "{ a" * 100 + " }" * 100}, "braces"),
        ({"query": "{ environment { runs(first: " + "9" * 5_000 + ") { nodes { id } } } }"}, "cannot be read"),
        ({"query": "{" + " a" * 2_001 + "}"}, "oken"),
        ({"query": SLUG, "operationName": "Missing"}, "Unknown operation"),
        ({"query": "query A { a: __typename } query B { b: __typename }"}, "several operations"),
        ({"query": "query ($x: Int!) { __typename }"}, "Variable '$x'"),
        ({"query": "type Query { a: Int }"}, "operation"),
    ],
)
async def test_what_is_no_operation_is_refused_in_one_sentence_and_the_socket_stays(
    federation: FederationUnderTest, serves: Served, payload: dict[str, Any], sentence: str
) -> None:
    talk = await serves.greeted(federation.tenant.api_key)
    await talk.send(type="subscribe", id="1", payload=payload)
    refused = await talk.read()
    assert refused["type"] == "error"
    assert {error["extensions"]["code"] for error in refused["payload"]} == {"BAD_USER_INPUT"}
    assert sentence in refused["payload"][0]["message"]
    assert await answer(talk) == PROD


async def test_a_ping_is_answered_and_a_pong_is_not(serves: Served) -> None:
    talk = await serves.socket()
    await talk.send(type="pong")
    await talk.send(type="ping", payload={"at": 1})
    assert await talk.read() == {"type": "pong"}


async def test_a_subscription_ends_with_complete(federation: FederationUnderTest, naughty: Served) -> None:
    talk = await naughty.greeted(federation.tenant.api_key)
    await talk.subscribe("subscription { count(to: 3) }")
    for number in range(3):
        assert await talk.read() == {"type": "next", "id": "1", "payload": {"data": {"count": number}}}
    assert await talk.read() == {"type": "complete", "id": "1"}


async def test_a_subscription_that_breaks_ends_with_an_error_and_not_with_complete(
    federation: FederationUnderTest, naughty: Served
) -> None:
    talk = await naughty.greeted(federation.tenant.api_key)
    with capture_logs() as logs:
        await talk.subscribe("subscription { broken }")
        assert await talk.read() == {"type": "next", "id": "1", "payload": {"data": {"broken": 0}}}
        error = await talk.read()
    assert (error["type"], error["id"]) == ("error", "1")
    assert error["payload"][0]["extensions"] == {"code": "INTERNAL", "errorId": logs[0]["error_id"]}
    assert await answer(talk, '{ echo(text: "x") }') == {"data": {"echo": "x"}}


async def test_a_subscription_that_is_always_ready_lets_others_run_and_ends_when_its_client_says_so(
    federation: FederationUnderTest, naughty: Served
) -> None:
    talk, other = [await naughty.greeted(federation.tenant.api_key) for _ in range(2)]
    await talk.subscribe("subscription { endless }")
    assert (await talk.read())["payload"] == {"data": {"endless": 0}}
    assert await answer(other, '{ echo(text: "x") }') == {"data": {"echo": "x"}}
    await talk.send(type="complete", id="1")
    await until(lambda: told.running == 0)
    await talk.subscribe("subscription { count(to: 1) }", "2")
    message: Any = await talk.read()
    while message["id"] == "1":
        assert message["type"] == "next"
        message = await talk.read()
    assert message == {"type": "next", "id": "2", "payload": {"data": {"count": 0}}}


async def test_a_client_that_does_not_read_is_dropped_and_nobody_waits_for_it(
    federation: FederationUnderTest, naughty: Served
) -> None:
    other = await naughty.greeted(federation.tenant.api_key)
    (reading,) = naughty.connections
    talk = await naughty.greeted(federation.tenant.api_key)
    (connection,) = set(naughty.connections) - {reading}
    largest = 0
    for number in range(40):
        await talk.subscribe("subscription { large }", str(number))
    for _ in range(300):
        await talk.read()
        largest = max(largest, connection.transport.get_write_buffer_size())
    talk.connection.transport.pause_reading()
    async with asyncio.timeout(PATIENCE):
        while connection in naughty.connections:
            largest = max(largest, connection.transport.get_write_buffer_size())
            assert await answer(other, '{ echo(text: "x") }') == {"data": {"echo": "x"}}
    assert 0 < largest < 110_000
    await until(lambda: told.running == 0)
    talk.connection.transport.abort()


async def test_whoever_does_not_read_asks_nothing_more(federation: FederationUnderTest) -> None:
    """Operations that are refused would wait to say so, each with its query."""
    async with served(app_of(federation)) as serves:
        talk = await serves.greeted(federation.tenant.api_key)
        (connection,) = serves.connections
        for number in range(10):
            await talk.subscribe("subscription { large }", str(number))
        talk.connection.transport.pause_reading()
        await until(lambda: connection.transport.get_write_buffer_size() > 0)

        async def ask() -> None:
            for number in range(200):
                await talk.subscribe("?" + "x" * 100_000, f"bad {number}")

        asking = asyncio.create_task(ask())
        most = 0
        for _ in range(500):
            await asyncio.sleep(0)
            most = max(most, sum("run_operation" in repr(task.get_coro()) for task in asyncio.all_tasks()))
        assert 10 <= most <= 12

        talk.connection.transport.resume_reading()
        refused = 0
        async with asyncio.timeout(PATIENCE):
            while refused < 200:
                refused += (await talk.read())["type"] == "error"
        await asking


async def test_a_socket_that_is_reset_is_written_to_no_longer(federation: FederationUnderTest) -> None:
    """The transport would log each message."""
    async with served(app_of(federation)) as serves:
        talk = await serves.greeted(federation.tenant.api_key)
        for number in range(50):
            await talk.subscribe("subscription { endless }", str(number))
        for _ in range(200):
            await talk.read()
        talk.connection.transport.abort()
        await until(lambda: told.running == 0)


async def test_a_client_that_reads_slowly_is_not_dropped(federation: FederationUnderTest, naughty: Served) -> None:
    talk = await naughty.greeted(federation.tenant.api_key)
    (connection,) = naughty.connections
    client, server = talk.connection.transport, connection.transport
    client.pause_reading()
    await talk.subscribe("subscription { huge }")
    await until(server.get_write_buffer_size)
    for _ in range(3):
        timer, waits = connection._timer, server.get_write_buffer_size()  # noqa: SLF001  the server's patience
        client.resume_reading()
        await until(partial(read_of, server, waits))
        client.pause_reading()
        assert server.get_write_buffer_size(), "the client read it all"
        await until(partial(renewed, connection, timer))
        assert connection in naughty.connections
    client.resume_reading()
    assert len((await talk.read())["payload"]["data"]["huge"]) == HUGE


def read_of(transport: asyncio.Transport, waited: int) -> bool:
    return transport.get_write_buffer_size() < waited


def renewed(connection: Any, timer: asyncio.TimerHandle) -> bool:
    return connection._timer is not timer  # noqa: SLF001  likewise


async def test_pings_of_a_client_that_does_not_read_are_not_kept(
    federation: FederationUnderTest, naughty: Served
) -> None:
    talk = await naughty.greeted(federation.tenant.api_key)
    (connection,) = naughty.connections
    talk.connection.transport.pause_reading()
    await talk.subscribe("subscription { large }")
    await until(connection.transport.get_write_buffer_size)
    waits = connection.transport.get_write_buffer_size()
    for _ in range(1_000):
        await talk.connection.ping()
    assert await most_until_dropped(naughty, connection) <= waits
    talk.connection.transport.abort()


async def most_until_dropped(serves: Served, connection: Any) -> int:
    """Return the most that waited for a client, in bytes."""
    most = 0
    async with asyncio.timeout(PATIENCE):
        while serves.connections:
            most = max(most, connection.transport.get_write_buffer_size())
            await asyncio.sleep(0)
    return most


async def test_a_socket_waits_for_the_client_to_read_what_was_answered_before_it(
    federation: FederationUnderTest, naughty: Served
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", naughty.port, limit=1024)
    body = json.dumps({"query": f'{{ echo(text: "{"x" * 500_000}") }}'})
    head = (
        "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {federation.tenant.api_key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    await until(lambda: naughty.connections)
    (connection,) = naughty.connections
    while not connection.transport.get_write_buffer_size():
        writer.write((head + body).encode())
        answered = naughty.server.server_state.total_requests
        await until(partial(later, naughty, answered))
    waits = connection.transport.get_write_buffer_size()
    writer.write(UPGRADE.encode())
    await until(lambda: connection not in naughty.connections)
    (upgraded,) = naughty.connections
    assert upgraded.transport is connection.transport
    assert await most_until_dropped(naughty, connection) <= waits
    del reader
    writer.transport.abort()


def later(serves: Served, answered: int) -> bool:
    return serves.server.server_state.total_requests > answered


async def test_a_client_that_does_not_answer_pings_is_dropped(federation: FederationUnderTest) -> None:
    async with served(app_of(federation), ws_ping_interval=0.1, ws_ping_timeout=0.1) as serves:
        talk = await serves.greeted(federation.tenant.api_key)
        talk.connection.transport.pause_reading()
        await talk.subscribe("subscription { large }")
        await until(lambda: told.running)
        await until(lambda: not serves.connections)
        await until(lambda: told.running == serves.streams.sockets == 0)
        talk.connection.transport.abort()


async def test_a_socket_runs_at_most_100_operations(federation: FederationUnderTest, naughty: Served) -> None:
    talk = await naughty.greeted(federation.tenant.api_key)
    for number in range(101):
        await talk.subscribe("subscription { silent }", str(number))
    refused = await talk.read()
    assert (refused["type"], refused["id"]) == ("error", "100")
    assert refused["payload"][0]["extensions"] == {"code": "RATE_LIMITED"}
    await talk.send(type="complete", id="7")
    assert await answer(talk, '{ echo(text: "x") }', "100") == {"data": {"echo": "x"}}


async def test_a_credential_runs_so_many_operations_over_all_its_sockets_and_no_slot_leaks(
    federation: FederationUnderTest,
) -> None:
    _, token = await federation.member()
    async with served(app_of(federation, StreamLimits(streams_per_credential=2))) as serves:
        first, second = [await serves.greeted(federation.tenant.api_key) for _ in range(2)]
        other = await serves.greeted(token)
        for _ in range(3):
            await first.subscribe("subscription { silent }", "a")
            await second.subscribe("subscription { silent }", "b")
            await until(lambda: told.running == 2)
            refused = await answer(first, '{ echo(text: "x") }', "c")
            assert refused[0]["extensions"] == {"code": "RATE_LIMITED"}
            assert await answer(other, '{ echo(text: "x") }') == {"data": {"echo": "x"}}
            await first.send(type="complete", id="a")
            await until(lambda: told.running == 1)
            assert await answer(first, '{ echo(text: "x") }', "c") == {"data": {"echo": "x"}}
            second.connection.transport.abort()
            await until(lambda: told.running == 0)
            second = await serves.greeted(federation.tenant.api_key)
            for number in range(5):
                assert (await answer(second, "{ nothing }", str(number)))[0]["extensions"]["code"] == "BAD_USER_INPUT"
        await until(lambda: not serves.streams.streams_of)


async def test_a_credential_has_so_many_sockets_and_a_place_is_free_when_one_left(
    federation: FederationUnderTest,
) -> None:
    async with served(app_of(federation, StreamLimits(sockets_per_credential=2))) as serves:
        for _ in range(3):
            talks = [await serves.greeted(federation.tenant.api_key) for _ in range(2)]
            for spelled in ("Bearer {}", "bearer {}", "BEARER   {}", " Bearer {} "):
                third = await serves.socket()
                given = {"authorization": spelled.format(federation.tenant.api_key).strip("\n")}
                await third.send(type="connection_init", payload=given)
                assert (await third.closed())[0] in (1013, 4401)
            assert serves.streams.sockets_of.total() == 2
            await talks[0].connection.close()
            talks[1].connection.transport.abort()
            await until(lambda: serves.streams.sockets == 0)


async def test_the_process_has_so_many_sockets_whoever_opened_them(federation: FederationUnderTest) -> None:
    async with served(app_of(federation, StreamLimits(sockets=2))) as serves:
        talks = [await serves.socket() for _ in range(2)]
        await until(lambda: serves.streams.sockets == 2)
        third = await serves.socket()
        assert await third.closed() == (1013, "Too many sockets")
        await talks[0].connection.close()
        await until(lambda: serves.streams.sockets == 1)
        await serves.greeted(federation.tenant.api_key)


async def test_who_leaves_while_they_are_admitted_holds_nothing(
    federation: FederationUnderTest, serves: Served
) -> None:
    connection = federation.connections[CONTROL_PLANE]
    async with connection.transaction():
        await connection.execute('LOCK TABLE "RuntimeEnvironment" IN ACCESS EXCLUSIVE MODE')
        talk = await serves.socket()
        await talk.send(type="connection_init", payload={"Authorization": "Bearer tr_prod_another"})
        await until(lambda: serves.streams.sockets == 1)
        await talk.connection.close()
        async with asyncio.timeout(PATIENCE / 3):  # much less than what the database is given to answer
            await until(lambda: serves.streams.sockets == 0)


async def test_sockets_are_told_that_the_server_goes_and_nothing_is_waited_for(
    federation: FederationUnderTest,
) -> None:
    async with served(app_of(federation)) as serves:
        idle, busy, silent, deaf = [await serves.greeted(federation.tenant.api_key) for _ in range(4)]
        unknown = await serves.socket()
        await busy.subscribe("subscription { endless }")
        await silent.subscribe("subscription { silent }")
        await deaf.subscribe("subscription { large }")
        deaf.connection.transport.pause_reading()
        await until(lambda: any(one.transport.get_write_buffer_size() for one in serves.connections))
        reading = [asyncio.create_task(one.closed()) for one in (idle, busy, silent, unknown)]
        await serves.stop()
        assert {code for code, _ in await asyncio.gather(*reading)} == {1001}
        deaf.connection.transport.abort()
    assert_nothing_is_held(serves)
    assert told.running == 0


async def test_a_database_that_is_down_fails_the_operation_and_not_the_socket(
    federation: FederationUnderTest, serves: Served, down: Cluster
) -> None:
    talk = await serves.greeted(federation.tenant.api_key)
    await asyncio.to_thread(down.kill)
    payload = await answer(talk, "query ($id: ID!) { run(id: $id) { id } }", id=f"run_{ids.mint_v1()}")
    assert payload["errors"][0]["extensions"]["code"] == "SHARD_UNAVAILABLE"
    assert await answer(talk) == PROD
