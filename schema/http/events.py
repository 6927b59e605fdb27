"""A GraphQL operation as a stream of server-sent events: graphql-sse's mode of distinct connections."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from strawberry.http import process_result

from schema.errors import ended
from schema.http.streams import RETRY_SECONDS, Streams, TooManyError
from store.shard import one_operation

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx would keep events until it has enough of them
}
COMPLETE = b"event: complete\ndata:\n\n"
PING = b": ping\n\n"


class EventStream(Response):
    """The results of an operation, one event each. Ends at once when the client leaves, or the server."""

    def __init__(
        self, streams: Streams, name: str, results: AsyncGenerator[Any, None], encode: Callable[[object], bytes]
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._streams, self._name, self._results, self._encode = streams, name, results, encode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything, or why there is no room for it."""
        try:
            with self._streams.stream_of(self._name):
                await self._run(receive, send)
        except TooManyError as error:
            body = self._encode({"errors": [error.formatted]})
            headers = {"Retry-After": str(RETRY_SECONDS)}
            await Response(body, 429, headers, media_type="application/json")(scope, receive, send)

    async def _run(self, receive: Receive, send: Send) -> None:
        """Write until all is written, or somebody leaves. What was written without its end, the client asks again."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        writing = asyncio.create_task(self._write(send))
        others = [_left(receive), self._pings(send), self._streams.closed.wait()]
        tasks = [writing, *map(asyncio.ensure_future, others)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send) -> None:
        try:
            with one_operation():
                async with aclosing(self._results) as results:
                    async for result in results:
                        await self._send(send, self._next(process_result(result)))
                        await asyncio.sleep(0)  # a result that is always ready would never let others run
        except Exception as error:  # noqa: BLE001  a client gets an id of it, and the log the rest
            await self._send(send, self._next({"data": None, "errors": [ended(error).formatted]}))
        await self._send(send, COMPLETE)

    async def _pings(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._streams.limits.ping_seconds)
            await self._send(send, PING)

    def _next(self, result: object) -> bytes:
        return b"event: next\ndata: " + self._encode(result) + b"\n\n"

    @staticmethod
    async def _send(send: Send, event: bytes) -> None:
        await send({"type": "http.response.body", "body": event, "more_body": True})


async def _left(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
