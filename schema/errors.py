"""What clients see of an error: a sentence and a code if it is one of ours, else an id that stands in the log too."""

import secrets
from collections.abc import Collection
from typing import Any

import structlog
from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import SchemaExtension
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from resolvers.errors import AbsentError, BadInputError, BehindError, ForbiddenError, UnauthenticatedError
from store.errors import (
    BadCursorError,
    DanglingReferenceError,
    OutcomeUnknownError,
    ReadOnlyError,
    ShardError,
    ShardTimeoutError,
    ShardUnavailableError,
)

log = structlog.get_logger()
LONGEST_SENTENCE = 280

CODES: dict[type[Exception], str] = {
    UnauthenticatedError: "UNAUTHENTICATED",
    ForbiddenError: "FORBIDDEN",
    AbsentError: "NOT_FOUND",
    BehindError: "RATE_LIMITED",
    BadInputError: "BAD_USER_INPUT",
    BadCursorError: "BAD_CURSOR",
    DanglingReferenceError: "NOT_FOUND",
    ShardUnavailableError: "SHARD_UNAVAILABLE",
    ShardTimeoutError: "SHARD_TIMEOUT",
    OutcomeUnknownError: "SHARD_UNAVAILABLE",
    ReadOnlyError: "READ_ONLY",
}
"""Exception -> public code. Any other exception is masked."""


UNEXECUTED = (
    GraphQLError,
    ValueError,
    MissingQueryError,
    CannotGetOperationTypeError,
    InvalidOperationTypeError,
    type(None),
)
"""What may have caused an error without a path if the caller made it."""


def extensions_of(error: Exception) -> dict[str, Any] | None:
    """Return the `extensions` of an error of ours, or None for any other."""
    code = CODES.get(type(error))
    if code is None:
        return None
    extensions: dict[str, Any] = {"code": code}
    if isinstance(error, ShardError):
        extensions |= {"shard": error.shard, "retryable": error.retryable}
    if isinstance(error, ReadOnlyError):
        extensions["hint"] = error.hint
    return extensions


def public(error: GraphQLError) -> GraphQLError:
    """Return an error as clients may see it."""
    cause = error.original_error
    if cause is None and "code" in (error.extensions or {}):
        return error
    if error.path is None and isinstance(cause, UNEXECUTED):
        # Without a path nothing was executed: the document or its variables are wrong. Python's own sentences of values
        # that it can't read (a number of 5,000 digits) are not for clients.
        sentence = "the document holds a value that cannot be read" if isinstance(cause, ValueError) else error.message
        return _like(error, short(sentence), {"code": "BAD_USER_INPUT"} | (error.extensions or {}))
    extensions = None if cause is None else extensions_of(cause)
    if extensions is None:
        return _like(error, *masked(cause or error, error.path))
    return _like(error, str(cause), extensions)


def ended(error: Exception) -> GraphQLError:
    """Return, as clients may see it, what an operation ended with that strawberry did not make a result of."""
    return public(error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error))


def short(sentence: str) -> str:
    """Return a sentence on one line, cut: graphql-core's quote what the caller wrote, however long it is."""
    line = " ".join(sentence.split())
    return line if len(line) <= LONGEST_SENTENCE else f"{line[: LONGEST_SENTENCE - 3]}..."


def masked(error: BaseException, path: Collection[str | int] | None = None) -> tuple[str, dict[str, Any]]:
    """Log an error that is not ours, and return what clients see: a sentence, and the id under which it is logged."""
    error_id = secrets.token_hex(8)
    log.error("masked an error", error_id=error_id, path=path, exc_info=error)
    return "something went wrong on our side", {"code": "INTERNAL", "errorId": error_id}


def _like(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    return GraphQLError(message, nodes=error.nodes, path=error.path, extensions=extensions)


class DegradedShards(SchemaExtension):
    """Says once per response which shards' rows are missing from its pages."""

    def get_results(self) -> dict[str, Any]:
        """Return what the response's `extensions` gain."""
        degraded = self.execution_context.context.viewer.degraded
        return {"degradedShards": sorted(degraded)} if degraded else {}
