"""GraphQL over WebSocket: the protocol graphql-transport-ws, with a limit and a code for whatever a client may do.

An operation on a socket is like a request: it has a viewer and loaders of its own, and ends with an error or with
`complete`. Of the close codes, 1013 means that the same may work later; the others are the protocol's.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import ExitStack, aclosing, suppress
from typing import TYPE_CHECKING, Any, cast

import orjson
from graphql import GraphQLError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import NonJsonMessageReceived, NonTextMessageReceived, WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler, Operation
from strawberry.types.execution import ExecutionResult, PreExecutionError

from resolvers.errors import UnauthenticatedError
from schema.context import Context
from schema.errors import ended, extensions_of, masked
from schema.http.credentials import of_socket
from schema.http.streams import LONGEST_ID, OPERATIONS, TooManyError
from store.errors import ShardError
from store.shard import one_operation

if TYPE_CHECKING:
    from resolvers.auth import Asker
    from schema.http.endpoint import Endpoint

BAD_MESSAGE, UNAUTHORIZED, TOO_MANY, EXISTS, LATER, BROKEN = 4400, 4401, 4429, 4409, 1013, 1011
LONGEST_REASON = 123
"""Of a close, in bytes."""


class SocketAdapter(ASGIWebSocketAdapter):
    """Reads and writes texts of JSON. Writers wait for each other, so no more than one message waits for the client."""

    ws: WebSocket

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401  strawberry's own
        super().__init__(*arguments)
        self._turn = asyncio.Lock()

    async def iter_json(self, *, ignore_parsing_errors: bool = False) -> AsyncGenerator[object, None]:
        """Yield messages until the client leaves, or we do."""
        del ignore_parsing_errors
        while self.ws.application_state is WebSocketState.CONNECTED:
            message = await self.ws.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                raise NonTextMessageReceived
            try:
                read = orjson.loads(text)
            except ValueError:
                raise NonJsonMessageReceived from None
            yield read

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Send a message, once the client has read those before. Raises `WebSocketDisconnected`."""
        await self._alone(lambda: self.ws.send_text(orjson.dumps(message).decode()))

    async def all_sent(self) -> None:
        """Wait until the client has read what was to be sent."""
        async with self._turn:
            pass

    async def close(self, code: int, reason: str) -> None:
        """Close, unless the client has left already; the reason is cut to what fits."""
        short = reason.encode()[:LONGEST_REASON].decode(errors="ignore")
        with suppress(WebSocketDisconnected):
            await self._alone(lambda: self.ws.close(code, short))

    async def _alone(self, send: Callable[[], Awaitable[None]]) -> None:
        async with self._turn:
            if self.ws.application_state is not WebSocketState.CONNECTED:
                raise WebSocketDisconnected
            try:
                await send()
            except (WebSocketDisconnect, RuntimeError) as error:  # RuntimeError: the server closed meanwhile
                raise WebSocketDisconnected from error


class SocketHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """One socket: who opened it, and the operations that run on it."""

    view: "Endpoint"
    websocket: SocketAdapter

    async def handle(self) -> None:
        """Serve until either side leaves. However that comes about, what the socket held is free afterwards."""
        self._slots = ExitStack()
        self._asker: Asker
        self._admission: asyncio.Task[None] | None = None
        with self._slots:
            try:
                self._slots.enter_context(self.view.streams.socket())
                await super().handle()
            except TooManyError as error:
                await self.websocket.close(LATER, error.message)
            except Exception as error:  # noqa: BLE001  a client gets an id of it, and the log the rest
                await self._close_broken(error)

    async def shutdown(self) -> None:
        """End whatever runs on this socket, and wait for its end."""
        if self._admission is not None:
            self._admission.cancel()
            with suppress(asyncio.CancelledError):
                await self._admission
        await super().shutdown()

    async def handle_message(self, message: object) -> None:
        """Take a message that a client sent: any JSON."""
        wrong = _wrong(message)
        if wrong:
            await self.handle_invalid_message(wrong)
        else:
            await super().handle_message(cast("Any", message))

    async def handle_connection_init(self, message: Any) -> None:  # noqa: ANN401  a checked message
        """Begin to find out who this is; meanwhile the socket is read, so that one that leaves is not waited for."""
        if self.connection_timed_out:
            return
        if self.connection_init_received:
            await self.websocket.close(TOO_MANY, "Too many initialisation requests")
            return
        self.connection_init_received = True
        if self.connection_init_timeout_task is not None:
            self.connection_init_timeout_task.cancel()
        self._admission = asyncio.create_task(self._admit(message.get("payload") or {}))

    async def handle_subscribe(self, message: Any) -> None:  # noqa: ANN401  a checked message
        """Begin an operation, once the client has read what waits for it: whoever does not read asks nothing either."""
        await self.websocket.all_sent()
        id_, payload = message["id"], message["payload"]
        if not self.connection_acknowledged:
            await self.websocket.close(UNAUTHORIZED, "Unauthorized")
        elif id_ in self.operations:
            await self.websocket.close(EXISTS, f"Subscriber for {id_} already exists")
        elif len(self.operations) >= OPERATIONS:
            error = TooManyError(f"operations: a socket runs at most {OPERATIONS} at a time")
            await self.send_message({"id": id_, "type": "error", "payload": [error.formatted]})
        else:
            operation = Operation(self, id_, payload["query"], payload.get("variables"), payload.get("operationName"))
            operation.task = asyncio.create_task(self.run_operation(operation))
            self.operations[id_] = operation

    async def run_operation(self, operation: Operation[Context, None]) -> None:
        """Send an operation's results, and how it ended."""
        with suppress(WebSocketDisconnected):
            errors = await self._run(operation)
            if errors:
                await operation.send_initial_errors(errors)
            else:
                await operation.send_operation_message({"id": operation.id, "type": "complete"})

    async def _admit(self, payload: dict[str, Any]) -> None:
        try:
            asker = self.view.asker(self.websocket.ws, of_socket(self.websocket.ws, payload))
            await asker.viewer()
            self._slots.enter_context(self.view.streams.socket_of(asker.name))
        except UnauthenticatedError as error:
            await self.websocket.close(UNAUTHORIZED, str(error))
        except ShardError as error:
            await self.websocket.close(LATER, str(error))
        except TooManyError as error:
            await self.websocket.close(LATER, error.message)
        except Exception as error:  # noqa: BLE001  a client gets an id of it, and the log the rest
            await self._close_broken(error)
        else:
            self._asker = asker
            self.connection_acknowledged = True
            with suppress(WebSocketDisconnected):
                await self.send_message({"type": "connection_ack"})

    async def _run(self, operation: Operation[Context, None]) -> list[GraphQLError]:
        """Send results until there are no more, and return why it was not to the end, if so."""
        try:
            with self.view.streams.stream_of(self._asker.name), one_operation():
                try:
                    context = Context(await self._asker.viewer(), self._asker)
                except Exception as error:  # noqa: BLE001  a client gets an id of it, and the log the rest
                    return [_failure(error)]
                stream = await self.schema.stream(
                    operation.query,
                    variable_values=operation.variables,
                    context_value=context,
                    operation_name=operation.operation_name,
                )
                async with aclosing(stream) as results:
                    async for result in results:
                        if isinstance(result, PreExecutionError):
                            return result.errors or []
                        await operation.send_next(cast("ExecutionResult", result))
                        await asyncio.sleep(0)  # a result that is always ready would never let others run
        except WebSocketDisconnected:
            raise
        except TooManyError as error:
            return [error]
        except Exception as error:  # noqa: BLE001  likewise
            return [ended(error)]
        return []

    async def _close_broken(self, error: Exception) -> None:
        sentence, extensions = masked(error)
        await self.websocket.close(BROKEN, f"{sentence}: {extensions['errorId']}")


def _failure(error: Exception) -> GraphQLError:
    extensions = extensions_of(error)
    if extensions is not None:
        return GraphQLError(str(error), extensions=extensions)
    sentence, extensions = masked(error)
    return GraphQLError(sentence, extensions=extensions)


FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "connection_init": {"payload": (dict, type(None))},
    "ping": {"payload": (dict, type(None))},
    "pong": {"payload": (dict, type(None))},
    "subscribe": {"id": (str,), "payload": (dict,)},
    "complete": {"id": (str,)},
}
"""What a client may send, and of which types its fields are."""

OPERATION_FIELDS: dict[str, tuple[type, ...]] = {
    "query": (str,),
    "operationName": (str, type(None)),
    "variables": (dict, type(None)),
    "extensions": (dict, type(None)),
}


def _wrong(message: object) -> str | None:
    """Return what is wrong with a message, if anything is."""
    if not isinstance(message, dict):
        return "a message is an object"
    kind = message.get("type")
    fields = FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        return "the message has no type that clients may send"
    for name, types in fields.items():
        if not isinstance(message.get(name), types):
            return f"a message of the type {kind} has no such {name}"
    id_ = message.get("id")
    if isinstance(id_, str) and not 0 < len(id_) <= LONGEST_ID:
        return f"an id has 1 to {LONGEST_ID} characters"
    if kind == "subscribe":
        for name, types in OPERATION_FIELDS.items():
            if not isinstance(message["payload"].get(name), types):
                return f"an operation has no such {name}"
    return None
