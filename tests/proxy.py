"""A proxy between a driver and a Postgres server: it cuts a connection at an instant that a test names.

It knows the messages of the wire protocol, version 3, of which it reads what it needs: what a transaction executes, its
COMMIT, and the server's answer to that. It sees a COMMIT that is a simple query of its own, as asyncpg sends it, and so
SQLAlchemy; not one inside a longer text, nor a single statement outside of a transaction, which has none.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

Where = Callable[[list[str]], bool]
"""Says by what a transaction executed, from its BEGIN to its COMMIT, whether a fault is meant for it."""

SSL, GSSENC = 80877103, 80877104
"""What asks for encryption, in the place of the protocol's version."""

QUERY, PARSE, BIND = b"Q", b"P", b"B"
COMMAND_COMPLETE, READY_FOR_QUERY = b"C", b"Z"


def every(_: list[str]) -> bool:
    return True


@dataclass
class Fault:
    """A cut around a COMMIT: how often it is still to strike, which may be changed, and how often it did."""

    instant: Literal["before commit", "commit sent", "commit replied"]
    times: int
    where: Where
    struck: int = 0


@dataclass
class Session:
    """One connection of a client, and what was seen of it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    prepared: dict[bytes, str] = field(default_factory=dict)
    statements: list[str] = field(default_factory=list)
    """What was executed since the last BEGIN."""
    fault: Fault | None = None
    """What waits for the server's answer to a COMMIT."""


class Proxy:
    """Stands before the server of a URL, which names a socket's directory; `url` leads through it, over TCP.

    A client sees a cut around a COMMIT only when the server is done: what it had to roll back is rolled back by then.
    A mistake in here, or in a `Where`, is raised at the exit.
    """

    def __init__(self, url: str) -> None:
        self._upstream = urlsplit(url)
        self._query = dict(parse_qsl(self._upstream.query))
        self._socket = f"{self._query.pop('host')}/.s.PGSQL.{self._query.pop('port')}"
        self._faults: list[Fault] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._sessions: list[asyncio.Task[None]] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self.held = asyncio.Event()
        """Set once a message has met the last pause."""
        self.cut = 0
        """How many connections `refuse` found open."""
        self.refused = 0
        """How many were closed at once since."""

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        host, port = self._listener.sockets[0].getsockname()
        account = f"{quote(self._upstream.username or '', safe='')}@{host}:{port}"
        self.url = self._upstream._replace(netloc=account, query=urlencode(self._query)).geturl()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for session in self._sessions:
            session.cancel()
        ended = await asyncio.gather(*self._sessions, return_exceptions=True)
        await self._listener.wait_closed()
        if mistakes := [error for error in ended if isinstance(error, Exception)]:
            raise ExceptionGroup("sessions of the proxy", mistakes)

    def cut_before_commit(self, times: int = 1, where: Where = every) -> Fault:
        """Cut when a COMMIT comes: the server never hears of it, and rolls back."""
        return self._planned(Fault("before commit", times, where))

    def cut_after_commit_sent(self, times: int = 1, where: Where = every) -> Fault:
        """Cut when the server has committed: the client never hears of it."""
        return self._planned(Fault("commit sent", times, where))

    def cut_after_commit_reply(self, times: int = 1, where: Where = every) -> Fault:
        """Cut when the client was told of the commit: it finds the connection dead when it uses it next."""
        return self._planned(Fault("commit replied", times, where))

    def pause(self) -> None:
        """Hold back every message, of both sides, until `resume`; connections are accepted all the same."""
        self._flowing.clear()
        self.held.clear()

    def resume(self) -> None:
        """Let what was held back go on."""
        self._flowing.set()

    def refuse(self) -> None:
        """Cut every connection now, and close new ones at once, until `accept`."""
        self._refusing = True
        self.cut += sum(not session.done() for session in self._sessions)
        for writer in self._writers:
            writer.transport.abort()

    def accept(self) -> None:
        """Let new connections through again."""
        self._refusing = False

    def _planned(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sessions.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # of a server that is not there
            async with self._closing(client):
                if self._refusing:
                    self.refused += 1
                    return
                from_server, server = await asyncio.open_unix_connection(self._socket)
                async with self._closing(server), asyncio.TaskGroup() as directions:
                    session = Session(client, server)
                    up = directions.create_task(self._to_server(session, from_client))
                    await self._to_client(session, from_server)
                    up.cancel()

    @asynccontextmanager
    async def _closing(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        self._writers.add(writer)
        try:
            yield
            writer.close()
            await writer.wait_closed()
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _to_server(self, session: Session, reader: asyncio.StreamReader) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._start(session, reader)
            while message := await self._next(reader, session.server):
                if _commits(session, message) and (fault := self._due(session.statements)):
                    fault.times -= 1
                    if fault.instant == "before commit":
                        fault.struck += 1
                        break
                    session.fault = fault
                session.server.write(message)
                await session.server.drain()
        # Its end of the connection is the server's affair: it rolls back first.
        with suppress(OSError):
            session.server.write_eof()

    async def _start(self, session: Session, reader: asyncio.StreamReader) -> None:
        """Pass the first message on, which has no type; encryption is offered to nobody."""
        while True:
            head = await reader.readexactly(8)
            length, code = int.from_bytes(head[:4]), int.from_bytes(head[4:])
            rest = await reader.readexactly(length - len(head))
            await self._pass()
            if code not in (SSL, GSSENC):
                session.server.write(head + rest)
                return
            session.client.write(b"N")

    async def _to_client(self, session: Session, reader: asyncio.StreamReader) -> None:
        committed = False
        with suppress(OSError, asyncio.IncompleteReadError):
            while message := await self._next(reader, session.client):
                if (fault := session.fault) and message[:1] == COMMAND_COMPLETE:
                    # A transaction that had failed is answered ROLLBACK.
                    committed = message[5:] == b"COMMIT\0"
                    if committed and fault.instant == "commit sent":
                        fault.struck += 1
                        return
                session.client.write(message)
                await session.client.drain()
                if fault and message[:1] == READY_FOR_QUERY:
                    if committed:
                        fault.struck += 1
                        return
                    fault.times += 1
                    session.fault = None

    async def _next(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> bytes:
        """Return a side's next message once it may go to the other one; nothing if that is gone."""
        head = await reader.readexactly(5)
        message = head + await reader.readexactly(int.from_bytes(head[1:]) - 4)
        await self._pass()
        return b"" if to.is_closing() else message

    async def _pass(self) -> None:
        if not self._flowing.is_set():
            self.held.set()
            await self._flowing.wait()

    def _due(self, statements: list[str]) -> Fault | None:
        return next((fault for fault in self._faults if fault.times > 0 and fault.where(statements)), None)


def _commits(session: Session, message: bytes) -> bool:
    """Tell whether a client's message is a COMMIT; note what it prepares or executes if it is not."""
    kind, (first, second, *_) = message[:1], [*message[5:].split(b"\0", 2), b""]
    if kind == PARSE:
        session.prepared[first] = second.decode()
    elif kind == BIND:
        # A driver prepares once, and executes in many transactions.
        session.statements.append(session.prepared[second])
    elif kind == QUERY:
        sql = first.decode()
        if re.match(r"\s*(BEGIN|START)\b", sql, re.IGNORECASE):
            session.statements.clear()
        elif re.fullmatch(r"\s*COMMIT\s*;?\s*", sql, re.IGNORECASE):
            return True
        else:
            session.statements.append(sql)
    return False
