"""How uvicorn speaks with clients here: none may let us hold what it does not read, and all are told when we go.

A transport of asyncio keeps what a client does not read, and waits for it without end, even where it is to be closed.
"""

import asyncio
from typing import Any, ClassVar

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.protocol import State

from schema.http.streams import LARGEST_MESSAGE

UNREAD_SECONDS = 10.0
"""How long a client may read nothing of what waits for it."""

LAST_UNREAD_SECONDS = 0.5
"""The same, once the server is to stop."""


class Impatient(asyncio.Protocol):
    """Drops a client that reads nothing for a while. One that is slow may be as slow as it likes."""

    unread_seconds: ClassVar[float] = UNREAD_SECONDS
    transport: asyncio.Transport
    _timer: asyncio.TimerHandle | None = None
    _leaves = False
    _unread = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have `pause_writing` called for whatever does not go out at once: then nothing waits without a timer."""
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(0)
        if self.transport.get_write_buffer_size():  # left by the protocol before us, which was told, unlike us
            self.pause_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the client."""
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        """Everything was read."""
        self._stop()
        super().resume_writing()

    def shutdown(self) -> None:
        """Close, and have less patience from now on."""
        self._leaves = True
        if self._timer is not None:
            self._wait()
        super().shutdown()  # type: ignore[misc]

    def _wait(self) -> None:
        self._stop()
        self._unread = self.transport.get_write_buffer_size()
        seconds = min(self.unread_seconds, LAST_UNREAD_SECONDS) if self._leaves else self.unread_seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Drop the client if what waits for it has not become less."""
        self._timer = None
        size = self.transport.get_write_buffer_size()
        if size >= self._unread > 0:
            self.transport.abort()
        elif size:
            self._wait()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class HttpProtocol(Impatient, AutoHTTPProtocol):  # type: ignore[misc,valid-type]
    """Uvicorn's HTTP, whichever it takes here."""


class SocketProtocol(Impatient, WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket."""

    def data_received(self, data: bytes) -> None:
        """Read, and refuse a request to open a socket that cannot be read: uvicorn would leave it open."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.transport.close()

    async def send(self, message: Any) -> None:  # noqa: ANN401  uvicorn's own
        """Send, unless the client has left: the transport would complain of each message."""
        await self.writable.wait()
        if self.transport.is_closing():
            raise ClientDisconnected
        await super().send(message)

    def shutdown(self) -> None:
        """Say that we go away: uvicorn would say that we restart."""
        if self.handshake_complete and not self.close_sent:
            if self.conn.state is State.OPEN:
                self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.GOING_AWAY})
                self.conn.send_close(CloseCode.GOING_AWAY)
                self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        super().shutdown()

    def keepalive_timeout(self) -> None:
        """Drop a client that does not answer: it will not take the rest either."""
        super().keepalive_timeout()
        self.transport.abort()

    def handle_ping(self) -> None:
        """Answer, unless answers that were not read wait already."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def send_receive_event_to_app(self) -> None:
        """Pass a text that is not UTF-8 on as bytes, to be refused as those are: uvicorn would log a stack trace."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.curr_msg_data_type = "bytes"
        super().send_receive_event_to_app()


def server_config(app: FastAPI, **options: Any) -> uvicorn.Config:  # noqa: ANN401  uvicorn's own
    """Return how uvicorn serves the application."""
    given: dict[str, Any] = {
        "http": HttpProtocol,
        "ws": SocketProtocol,
        "ws_max_size": LARGEST_MESSAGE,
        "ws_per_message_deflate": False,  # it keeps memory for each socket
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": 10,
    }
    return uvicorn.Config(app, **(given | options))
