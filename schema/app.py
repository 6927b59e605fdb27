"""The web application: one endpoint for GraphQL and its page, and a probe for load balancers."""

from typing import Any

from cross_web import HTTPException
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from strawberry.fastapi import GraphQLRouter

from resolvers.auth import authenticate
from resolvers.errors import UnauthenticatedError
from schema.api import schema
from schema.context import Context
from schema.errors import extensions_of
from schema.http.graphiql import GraphiQLConfig, graphiql_routes, page_response, wants_page
from store.errors import ShardError
from store.federation import Federation

STATUS: dict[type[Exception], int] = {UnauthenticatedError: 401}
"""Failures before an operation begins -> HTTP status; a database that did not answer is 503."""


class Endpoint(GraphQLRouter[Context, None]):
    """Strawberry's endpoint, with the page that we ship."""

    def __init__(self, page: GraphiQLConfig, **options: Any) -> None:  # noqa: ANN401  passed on as they are
        super().__init__(schema, **options)
        self._page = page

    async def run(self, request: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """Answer an operation, or a person with the page."""
        if wants_page(request):
            return page_response(self._page)
        try:
            return await super().run(request, *arguments, **options)
        except HTTPException as error:
            return _failure(error.status_code, error.reason, {"code": "BAD_USER_INPUT"})


def create_app(federation: Federation, page: GraphiQLConfig | None = None) -> FastAPI:
    """Return the application over an open federation. `page` is what GraphiQL opens with."""
    page = page or GraphiQLConfig()

    async def context(request: Request) -> Context:
        if wants_page(request):
            return Context()
        return Context(await authenticate(federation, request.headers.get("authorization")))

    app = FastAPI(title="runatlas", openapi_url=None)
    app.include_router(graphiql_routes(page))
    app.include_router(Endpoint(page, path="/graphql", context_getter=context, subscription_protocols=()))

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    for kind in (UnauthenticatedError, ShardError):
        app.add_exception_handler(kind, _refuse)
    return app


async def _refuse(_request: Request, error: Exception) -> Response:
    """Answer a request that failed before its operation began, in GraphQL's form."""
    return _failure(STATUS.get(type(error), 503), str(error), extensions_of(error))


def _failure(status: int, message: str, extensions: dict[str, Any] | None) -> Response:
    return JSONResponse({"errors": [{"message": message, "extensions": extensions}]}, status)
