"""User errors: the expected refusals of mutations, typed. Each is a field of the payload, never a top-level error."""

from enum import Enum

import strawberry

from resolvers import refusals
from schema.declare import column, type_of
from schema.status import RunStatus


@strawberry.enum(description="Why a mutation refused.")
class UserErrorCode(Enum):
    """The enum of that name."""

    NOT_FOUND = strawberry.enum_value("NOT_FOUND", description="Nothing of that id, or not the viewer's.")
    FORBIDDEN = strawberry.enum_value("FORBIDDEN", description="The credential does not go so far.")
    INVALID_STATE = strawberry.enum_value("INVALID_STATE", description="Its state does not allow that.")
    INVALID_INPUT = strawberry.enum_value("INVALID_INPUT", description="The input makes no sense.")
    CONFLICT = strawberry.enum_value("CONFLICT", description="Something else has what this would need.")
    PAYLOAD_TOO_LARGE = strawberry.enum_value("PAYLOAD_TOO_LARGE", description="A value is too long to be kept.")
    SHARD_UNAVAILABLE = strawberry.enum_value("SHARD_UNAVAILABLE", description="A database did not answer.")


@strawberry.interface(description="An expected refusal. Concrete types add what a caller needs to act.")
class UserError:
    """The interface of that name; its records are the exceptions of `resolvers.refusals`."""

    code: UserErrorCode = column(description="Why, in a word.")
    message: str = column(description="Why, in a sentence.")
    path: list[str] | None = column(description="The part of the input that is refused, if it is one part.")


@type_of(refusals.NotFoundError, description="Nothing of that id is there, or it is not the viewer's.")
class NotFoundError(UserError):
    """The type of that name."""


@type_of(refusals.ForbiddenRefusalError, description="The credential's scopes do not go so far.")
class ForbiddenError(UserError):
    """The type of that name."""


@type_of(refusals.InvalidInputError, description="A part of the input makes no sense.")
class InvalidInputError(UserError):
    """The type of that name."""


@type_of(refusals.PayloadTooLargeError, description="A value is longer than what is kept of its kind.")
class PayloadTooLargeError(UserError):
    """The type of that name."""


@type_of(refusals.ConflictError, description="Something else has what this would need.")
class ConflictError(UserError):
    """The type of that name."""


@type_of(refusals.InvalidStateError, description="The state of what is written to does not allow that.")
class InvalidStateError(UserError):
    """The type of that name."""


@type_of(refusals.InvalidRunStateError, description="The state of the run does not allow that.")
class InvalidRunStateError(UserError):
    """The type of that name."""

    status: RunStatus = column(description="State of the run.")


@type_of(refusals.ShardRefusalError, description="A database that was needed did not answer.")
class ShardUnavailableError(UserError):
    """The type of that name."""

    shard: str = column(description="Which one.")
    may_have_applied: bool = column(
        description="The write may have been kept all the same: repeat it with the same idempotency key."
    )


CONCRETE = [
    NotFoundError,
    ForbiddenError,
    InvalidInputError,
    PayloadTooLargeError,
    ConflictError,
    InvalidStateError,
    InvalidRunStateError,
    ShardUnavailableError,
]
"""The types that nothing but the interface leads to."""
