"""The web application: GraphQL and its page, the platform's routes of tokens, a probe, and counters."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.requests import HTTPConnection
from fastapi.responses import Response

from resolvers.auth import Asker, Authenticator, Presented
from resolvers.errors import UnauthenticatedError
from schema.context import Context
from schema.errors import extensions_of, masked
from schema.http.credentials import of_request
from schema.http.endpoint import Endpoint, failure, wants_events
from schema.http.graphiql import GraphiQLConfig, graphiql_routes, wants_page
from schema.http.streams import StreamLimits, Streams
from schema.http.tokens import TokenRoutes
from store.errors import ShardError
from store.federation import Federation
from store.metrics import CONTENT_TYPE

STATUS: dict[type[Exception], int] = {UnauthenticatedError: 401}
"""Failures before an operation begins -> HTTP status; a database that did not answer is 503."""


REMEMBERED = 10.0
"""How long, in seconds, a credential is believed on sockets and streams, which ask again and again."""

HTTP = {"ws": "http", "wss": "https"}
"""How a socket's host is asked for anything else."""


class MaskedError(Exception):
    """Something that is not ours went wrong before an operation began; the message is what clients see."""

    def __init__(self, message: str, extensions: dict[str, Any]) -> None:
        super().__init__(message)
        self.extensions = extensions


def create_app(
    federation: Federation,
    page: GraphiQLConfig | None = None,
    origin: str | None = None,
    session_secret: str | None = None,
    limits: StreamLimits | None = None,
) -> FastAPI:
    """Return the application over an open federation; what serves it calls `state.streams.close()` before it stops.

    `page` is what GraphiQL opens with. `origin` is where third parties reach it, where that differs from a caller's.
    With the secret that signs the dashboard's sessions, those are credentials.
    """
    page = page or GraphiQLConfig()
    authenticator = Authenticator(federation, session_secret)
    of_streams = Authenticator(federation, session_secret, longest_memory=REMEMBERED)
    streams = Streams(limits)

    def asker(connection: HTTPConnection, presented: Presented) -> Asker:
        return Asker(of_streams, presented, origin or _reached(connection))

    async def context(connection: HTTPConnection) -> Context:
        if not isinstance(connection, Request) or wants_page(connection):
            return Context()
        try:
            presented = of_request(connection)
            if wants_events(connection):
                who = asker(connection, presented)
                return Context(await who.viewer(), who)
            return Context(await authenticator.viewer(presented, origin or _reached(connection)))
        except (UnauthenticatedError, ShardError):
            raise
        except Exception as error:
            raise MaskedError(*masked(error)) from error

    app = FastAPI(title="runatlas", openapi_url=None)
    app.include_router(graphiql_routes(page))
    app.include_router(Endpoint(page, asker, streams, path="/graphql", graphql_ide=None, context_getter=context))
    app.state.streams = streams

    app.router.routes.extend(TokenRoutes(federation, authenticator, origin).routes)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(federation.metrics.text(), media_type=CONTENT_TYPE)

    for kind in (UnauthenticatedError, ShardError, MaskedError):
        app.add_exception_handler(kind, _refuse)
    return app


def _reached(connection: HTTPConnection) -> str:
    """Return where somebody reached us; whoever opened a socket, where they would with a request."""
    url = connection.base_url
    return str(url.replace(scheme=HTTP.get(url.scheme, url.scheme))).rstrip("/")


async def _refuse(_request: Request, error: Exception) -> Response:
    """Answer a request that failed before its operation began, in GraphQL's form."""
    if isinstance(error, MaskedError):
        return failure(500, str(error), error.extensions)
    return failure(STATUS.get(type(error), 503), str(error), extensions_of(error))
