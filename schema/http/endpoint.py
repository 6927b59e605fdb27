"""The endpoint of GraphQL: requests, streams of events, sockets, and the page for people."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
from cross_web import AsyncHTTPRequestAdapter, HTTPException
from fastapi import Request
from fastapi.requests import HTTPConnection
from fastapi.responses import Response
from fastapi.websockets import WebSocket
from strawberry.exceptions import MissingQueryError
from strawberry.fastapi import GraphQLRouter
from strawberry.http.streaming import SSETransport
from strawberry.schema import BaseSchema
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_SSE_PROTOCOL, GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.graphql import OperationType

from resolvers.auth import Asker, Presented
from schema.api import schema
from schema.context import Context
from schema.errors import masked, short
from schema.http.events import EventStream
from schema.http.graphiql import GraphiQLConfig, page_response, wants_page
from schema.http.sockets import SocketAdapter, SocketHandler
from schema.http.streams import Streams
from store.shard import one_operation

LARGEST_BODY = 1024 * 1024
TOO_LARGE = 413
SUBSCRIBE = "subscribe over a WebSocket, or with POST and the header Accept: text/event-stream"


def wants_events(request: Request) -> bool:
    """Say whether a request asks for a stream."""
    return SSETransport().accepts(request.headers.get("accept", ""))


class Endpoint(GraphQLRouter[Context, None]):
    """Strawberry's endpoint, with the page that we ship, and with sockets and streams that are counted."""

    graphql_transport_ws_handler_class = SocketHandler
    websocket_adapter_class = SocketAdapter  # type: ignore[assignment]

    def __init__(
        self,
        page: GraphiQLConfig,
        asker: Callable[[HTTPConnection, Presented], Asker],
        streams: Streams,
        schema: BaseSchema = schema,
        **options: Any,  # noqa: ANN401  passed on as they are
    ) -> None:
        """`asker` returns who presents a credential with a connection."""
        super().__init__(
            schema,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL, GRAPHQL_SSE_PROTOCOL),
            connection_init_wait_timeout=timedelta(seconds=streams.limits.init_seconds),
            **options,
        )
        self._page, self.asker, self.streams = page, asker, streams

    async def run(self, request: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """Answer an operation, or a person with the page; whatever goes wrong, in GraphQL's form. Serve a socket."""
        if self.is_websocket_request(request):
            return await super().run(request, *arguments, **options)
        if wants_page(request):
            return page_response(self._page)
        try:
            await _refuse_bad_body(request)
            with one_operation():
                return await super().run(request, *arguments, **options)
        except HTTPException as error:
            code = "PAYLOAD_TOO_LARGE" if error.status_code == TOO_LARGE else "BAD_USER_INPUT"
            return failure(error.status_code, short(error.reason), {"code": code})
        except Exception as error:  # noqa: BLE001  a client gets an id of it, and the log the rest
            return failure(500, *masked(error))

    async def execute_operation(  # noqa: PLR0913, PLR0917  strawberry's own
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        request_data: Any,  # noqa: ANN401  strawberry's; it holds one operation, as lists are refused before
        context: Context,
        root_value: None,
        sub_response: Response,
    ) -> Any:  # noqa: ANN401  one result, or a stream of them
        """Execute an operation: only reads with GET, and subscriptions only as a stream."""
        del root_value, sub_response
        allowed = {OperationType.QUERY}
        if request_adapter.method != "GET":
            allowed.add(OperationType.MUTATION)
        given = {
            "variable_values": request_data.variables,
            "context_value": context,
            "operation_name": request_data.operation_name,
            "operation_extensions": request_data.extensions,
        }
        if request_data.protocol == "sse":
            if request_adapter.method != "GET":
                allowed.add(OperationType.SUBSCRIPTION)
            request.state.subscriber = context.asker.name
            return await self.schema.stream(request_data.query, allowed_operation_types=allowed, **given)
        try:
            return await self.schema.execute(request_data.query, allowed_operation_types=allowed, **given)
        except CannotGetOperationTypeError as error:
            raise HTTPException(400, error.as_http_error_reason()) from error
        except InvalidOperationTypeError as error:
            if error.operation_type is OperationType.SUBSCRIPTION:
                raise HTTPException(400, SUBSCRIBE) from error
            raise HTTPException(400, error.as_http_error_reason(request_adapter.method)) from error
        except MissingQueryError as error:
            raise HTTPException(400, "No GraphQL query found in the request") from error

    async def _create_streaming_response(
        self,
        request: Request,
        result: Any,  # noqa: ANN401  a stream of results
        protocol: str,
        sub_response: Response,
    ) -> Response:
        del protocol, sub_response
        return EventStream(self.streams, request.state.subscriber, result, self.encode_json)

    def is_websocket_origin_allowed(self, request: WebSocket, origin: str) -> bool:
        """Let pages of any origin open sockets. A browser's session does not count on those, so nothing is gained."""
        del request, origin
        return True

    def decode_json(self, data: str | bytes) -> object:
        """Read JSON as strictly as orjson does."""
        return orjson.loads(data)

    def encode_json(self, data: object) -> bytes:
        """Write JSON."""
        return orjson.dumps(data)


async def _refuse_bad_body(request: Request) -> None:
    """Raise `HTTPException` for a body that is too large or holds no operation, before anything reads it."""
    if request.method != "POST":
        return
    size = 0
    chunks = []
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST_BODY:
            raise HTTPException(TOO_LARGE, f"a request takes at most {LARGEST_BODY} bytes")
        chunks.append(chunk)
    request._body = b"".join(chunks)  # noqa: SLF001  where starlette keeps a body that was read
    if "json" not in request.headers.get("content-type", ""):
        return
    try:
        given = orjson.loads(request._body)  # noqa: SLF001
    except ValueError:
        raise HTTPException(400, "the body is not JSON") from None
    if not isinstance(given, dict):
        raise HTTPException(400, "the body is not one operation: send an object with a query")


def failure(status: int, message: str, extensions: dict[str, Any] | None) -> Response:
    """Return an error in GraphQL's form."""
    body = orjson.dumps({"errors": [{"message": message, "extensions": extensions}]})
    return Response(body, status, media_type="application/json")
