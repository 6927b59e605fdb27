"""The web application: GraphQL and its page, the platform's routes of tokens, a probe, and counters."""

from typing import Any

import orjson
from cross_web import HTTPException
from fastapi import FastAPI, Request
from fastapi.responses import Response
from strawberry.fastapi import GraphQLRouter

from resolvers.auth import Authenticator, Presented
from resolvers.errors import UnauthenticatedError
from schema.api import schema
from schema.context import Context
from schema.errors import extensions_of, masked, short
from schema.http.graphiql import GraphiQLConfig, graphiql_routes, page_response, wants_page
from schema.http.tokens import TokenRoutes
from store.errors import ShardError
from store.federation import Federation
from store.metrics import CONTENT_TYPE
from store.shard import one_operation

STATUS: dict[type[Exception], int] = {UnauthenticatedError: 401}
"""Failures before an operation begins -> HTTP status; a database that did not answer is 503."""


LARGEST_BODY = 1024 * 1024
TOO_LARGE = 413


class MaskedError(Exception):
    """Something that is not ours went wrong before an operation began; the message is what clients see."""

    def __init__(self, message: str, extensions: dict[str, Any]) -> None:
        super().__init__(message)
        self.extensions = extensions


class Endpoint(GraphQLRouter[Context, None]):
    """Strawberry's endpoint, with the page that we ship."""

    def __init__(self, page: GraphiQLConfig, **options: Any) -> None:  # noqa: ANN401  passed on as they are
        super().__init__(schema, **options)
        self._page = page

    async def run(self, request: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """Answer an operation, or a person with the page; whatever goes wrong, in GraphQL's form."""
        if wants_page(request):
            return page_response(self._page)
        try:
            await _refuse_bad_body(request)
            with one_operation():
                return await super().run(request, *arguments, **options)
        except HTTPException as error:
            code = "PAYLOAD_TOO_LARGE" if error.status_code == TOO_LARGE else "BAD_USER_INPUT"
            return _failure(error.status_code, short(error.reason), {"code": code})
        except Exception as error:  # noqa: BLE001  a client gets an id of it, and the log the rest
            return _failure(500, *masked(error))

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


def create_app(
    federation: Federation,
    page: GraphiQLConfig | None = None,
    origin: str | None = None,
    session_secret: str | None = None,
) -> FastAPI:
    """Return the application over an open federation.

    `page` is what GraphiQL opens with. `origin` is where third parties reach it, where that differs from a caller's.
    With the secret that signs the dashboard's sessions, those are credentials.
    """
    page = page or GraphiQLConfig()
    authenticator = Authenticator(federation, session_secret)

    async def context(request: Request) -> Context:
        if wants_page(request):
            return Context()
        try:
            reached = origin or str(request.base_url).rstrip("/")
            return Context(await authenticator.viewer(_presented(request), reached))
        except (UnauthenticatedError, ShardError):
            raise
        except Exception as error:
            raise MaskedError(*masked(error)) from error

    app = FastAPI(title="runatlas", openapi_url=None)
    app.include_router(graphiql_routes(page))
    app.include_router(
        Endpoint(page, path="/graphql", graphql_ide=None, context_getter=context, subscription_protocols=())
    )

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


SESSION_COOKIE = "__session"
PREFLIGHT = "graphql-require-preflight"


def _presented(request: Request) -> Presented:
    """Return what a request presents. A session counts only in a request that a page of another site cannot send.

    That is one for which a browser asks first: with a body of JSON, or with a header of its own.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    asks_first = media_type == "application/json" or PREFLIGHT in request.headers
    return Presented(
        tuple(request.headers.getlist("authorization")),
        request.headers.get("x-trigger-branch"),
        request.cookies.get(SESSION_COOKIE) if asks_first else None,
    )


async def _refuse(_request: Request, error: Exception) -> Response:
    """Answer a request that failed before its operation began, in GraphQL's form."""
    if isinstance(error, MaskedError):
        return _failure(500, str(error), error.extensions)
    return _failure(STATUS.get(type(error), 503), str(error), extensions_of(error))


def _failure(status: int, message: str, extensions: dict[str, Any] | None) -> Response:
    body = orjson.dumps({"errors": [{"message": message, "extensions": extensions}]})
    return Response(body, status, media_type="application/json")
