"""A real server for what lasts longer than a request, clients of it, and a schema whose subscriptions do as told."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import strawberry
from fastapi import FastAPI, Request
from fastapi.requests import HTTPConnection
from strawberry.types.execution import PreExecutionError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from resolvers.auth import Asker, Authenticator, Presented
from schema.api import Schema
from schema.api import schema as real_schema
from schema.context import Context
from schema.http.credentials import of_request
from schema.http.endpoint import Endpoint
from schema.http.graphiql import GraphiQLConfig
from schema.http.streams import StreamLimits, Streams
from schema.http.wire import HttpProtocol, SocketProtocol, server_config
from schema.serve import Server
from tests.federation import FederationUnderTest

PATIENCE = 10.0
"""How long a test waits for a fact, in seconds."""

HUGE = 64 * 1024 * 1024
"""More than any kernel holds for a client, in bytes."""


@dataclass
class Told:
    """What subscriptions of the test's schema wait for, and what became of them."""

    running: int = 0
    sent: int = 0


told = Told()


@strawberry.type
class Query:
    @strawberry.field
    def echo(self, text: str) -> str:
        return text


@strawberry.type
class Subscription:
    """Subscriptions as bad as they may be."""

    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number

    @strawberry.subscription
    async def broken(self) -> AsyncGenerator[int, None]:
        yield 0
        raise LookupError("a secret of ours")

    @strawberry.subscription
    async def huge(self) -> AsyncGenerator[str, None]:
        yield "x" * HUGE

    @strawberry.subscription
    async def silent(self) -> AsyncGenerator[int, None]:
        async for number in _running(asyncio.Event().wait):
            yield number

    @strawberry.subscription
    async def endless(self) -> AsyncGenerator[int, None]:
        async for number in _running(None):
            yield number

    @strawberry.subscription
    async def large(self) -> AsyncGenerator[str, None]:
        async for number in _running(None):
            yield f"{number} " + "x" * 100_000


async def _running(wait: Callable[[], Any] | None) -> AsyncGenerator[int, None]:
    told.running += 1
    try:
        number = 0
        while True:
            if wait is not None:
                await wait()
            yield number
            number += 1
            told.sent += 1
    finally:
        told.running -= 1


def app_of(federation: FederationUnderTest, limits: StreamLimits | None = None) -> FastAPI:
    """Return an application like the real one over the schema above."""
    authenticator, streams = Authenticator(federation.federation), Streams(limits)

    def asker(_connection: HTTPConnection, presented: Presented) -> Asker:
        return Asker(authenticator, presented)

    async def context(connection: HTTPConnection) -> Context:
        if not isinstance(connection, Request):
            return Context()
        who = asker(connection, of_request(connection))
        return Context(await who.viewer(), who)

    app = FastAPI()
    schema = Schema(query=Query, subscription=Subscription)
    endpoint = Endpoint(GraphiQLConfig(), asker, streams, schema, path="/graphql", context_getter=context)
    app.include_router(endpoint)
    app.state.streams = streams
    return app


@dataclass
class Served:
    """A server that runs in the test's loop."""

    server: Server
    streams: Streams
    port: int
    task: "asyncio.Task[None]"
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def connections(self) -> list[Any]:
        return list(self.server.server_state.connections)

    def client(self, key: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=PATIENCE)

    async def socket(self, *protocols: str, headers: dict[str, str] | None = None, origin: str | None = None) -> "Talk":
        """Open a socket, which is closed when the test ends."""
        connection = await self.stack.enter_async_context(
            connect(
                f"ws://127.0.0.1:{self.port}/graphql",
                subprotocols=[Subprotocol(one) for one in protocols or ("graphql-transport-ws",)],
                additional_headers=headers,
                origin=None if origin is None else Origin(origin),
                compression=None,
                ping_interval=None,
                close_timeout=1,
                max_size=None,
                proxy=None,
            )
        )
        return Talk(connection)

    async def greeted(self, key: str) -> "Talk":
        """Open a socket of somebody who was admitted."""
        talk = await self.socket()
        await talk.send(type="connection_init", payload={"Authorization": f"Bearer {key}"})
        assert await talk.read() == {"type": "connection_ack"}
        return talk

    async def stop(self) -> None:
        """Stop the server, which takes no time."""
        self.server.should_exit = True
        await asyncio.wait_for(asyncio.shield(self.task), PATIENCE / 2)


@dataclass
class Talk:
    """A client's end of a socket."""

    connection: ClientConnection

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def subscribe(self, query: str, id_: str = "1", **variables: Any) -> None:
        await self.send(type="subscribe", id=id_, payload={"query": query, "variables": variables})

    async def read(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            text = await self.connection.recv()
        assert isinstance(text, str)
        return json.loads(text)

    async def closed(self) -> tuple[int, str]:
        """Return how the server closed the socket."""
        with suppress(ConnectionClosed):
            async with asyncio.timeout(PATIENCE):
                while True:
                    await self.connection.recv()
        code, reason = self.connection.close_code, self.connection.close_reason
        assert code is not None
        return code, reason or ""


@asynccontextmanager
async def served(app: FastAPI, unread_seconds: float = 10.0, **options: Any) -> AsyncIterator[Served]:
    """Serve an application as `runatlas serve` does."""

    class Http(HttpProtocol):
        pass

    class Sockets(SocketProtocol):
        pass

    Http.unread_seconds = Sockets.unread_seconds = unread_seconds
    server = Server(server_config(app, http=Http, ws=Sockets, log_config=None, **options))
    server.streams = app.state.streams
    listener = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started)
    serves = Served(server, app.state.streams, listener.getsockname()[1], task)
    try:
        async with serves.stack:
            yield serves
    finally:
        await serves.stop()


def assert_nothing_was_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a client does, neither uvicorn nor asyncio logs a word of it."""
    records = [record for when in ("setup", "call") for record in caplog.get_records(when)]
    assert [record.getMessage() for record in records if record.levelno >= logging.WARNING] == []


async def until(fact: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for a fact, so long at most."""
    async with asyncio.timeout(seconds):
        while not fact():  # noqa: ASYNC110  facts have no events
            await asyncio.sleep(0.005)


class Stream:
    """A subscription, and what it has told so far."""

    def __init__(self, results: Any) -> None:
        self._results = results
        self.events: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.extensions: Any = None

    async def next(self) -> dict[str, Any]:
        """Return the object of the next event."""
        async with asyncio.timeout(PATIENCE):
            result = await anext(self._results)
        assert not isinstance(result, PreExecutionError), result.errors
        assert not result.errors, result.errors
        ((_, found),) = result.data.items()
        self.events.append(found)
        self.times.append(asyncio.get_running_loop().time())
        self.extensions = result.extensions
        return dict(found)

    async def until(self, **fields: Any) -> dict[str, Any]:
        """Return the first event from here on that has such fields."""
        while not fields.items() <= (found := await self.next()).items():
            pass
        return found

    async def end(self) -> list[dict[str, Any]]:
        """Read to the end, which is a good one, and return all events."""
        try:
            while True:
                await self.next()
        except StopAsyncIteration:
            return self.events

    async def broken(self) -> dict[str, Any]:
        """Read on until the stream breaks, and return why: the sentence is under `message`."""
        async with asyncio.timeout(PATIENCE):
            async for result in self._results:
                if isinstance(result, PreExecutionError):
                    assert result.errors
                    (error,) = result.errors
                    assert [one async for one in self._results] == []
                    return {"message": error.message, **(error.extensions or {})}
        raise AssertionError("the stream ended well")


@asynccontextmanager
async def subscribed(
    federation: FederationUnderTest,
    document: str,
    credential: str | None = None,
    authenticator: Authenticator | None = None,
    **variables: Any,
) -> AsyncIterator[Stream]:
    authenticator = authenticator or Authenticator(federation.federation)
    asker = Asker(authenticator, Presented((f"Bearer {credential or federation.tenant.api_key}",)))
    results = await real_schema.stream(document, variables, Context(await asker.viewer(), asker))
    try:
        yield Stream(results)
    finally:
        await results.aclose()
