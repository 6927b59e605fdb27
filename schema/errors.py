"""What clients see of an error: a sentence and a code if it is one of ours, else an id that stands in the log too."""

import secrets
from typing import Any

import structlog
from graphql import GraphQLError
from strawberry.extensions import SchemaExtension

from resolvers.errors import BadInputError, UnauthenticatedError
from store.errors import BadCursorError, DanglingReferenceError, ShardTimeoutError, ShardUnavailableError

log = structlog.get_logger()

CODES: dict[type[Exception], str] = {
    UnauthenticatedError: "UNAUTHENTICATED",
    BadInputError: "BAD_USER_INPUT",
    BadCursorError: "BAD_CURSOR",
    DanglingReferenceError: "NOT_FOUND",
    ShardUnavailableError: "SHARD_UNAVAILABLE",
    ShardTimeoutError: "SHARD_TIMEOUT",
}
"""Exception -> public code. Any other exception is masked."""


def extensions_of(error: Exception) -> dict[str, Any] | None:
    """Return the `extensions` of an error of ours, or None for any other."""
    code = CODES.get(type(error))
    if code is None:
        return None
    extensions: dict[str, Any] = {"code": code}
    if isinstance(error, ShardUnavailableError | ShardTimeoutError):
        extensions |= {"shard": error.shard, "retryable": error.retryable}
    return extensions


def public(error: GraphQLError) -> GraphQLError:
    """Return an error as clients may see it."""
    cause = error.original_error
    if cause is None and "code" in (error.extensions or {}):
        return error
    if cause is None or isinstance(cause, GraphQLError):
        error.extensions = {"code": "BAD_USER_INPUT"} | (error.extensions or {})
        return error
    extensions = extensions_of(cause)
    if extensions is None:
        error_id = secrets.token_hex(8)
        log.error("masked an error", error_id=error_id, path=error.path, exc_info=cause)
        return _like(error, "something went wrong on our side", {"code": "INTERNAL", "errorId": error_id})
    return _like(error, str(cause), extensions)


def _like(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    return GraphQLError(message, nodes=error.nodes, path=error.path, extensions=extensions)


class DegradedShards(SchemaExtension):
    """Says once per response which shards' rows are missing from its pages."""

    def get_results(self) -> dict[str, Any]:
        """Return what the response's `extensions` gain."""
        degraded = self.execution_context.context.viewer.degraded
        return {"degradedShards": sorted(degraded)} if degraded else {}
