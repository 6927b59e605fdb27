"""Refusals: the expected no of a mutation, with what a client needs to act. Not one of them is a failure.

The store says what it found in its own errors; `refusal_of` says which refusal that is.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from resolvers.errors import BadInputError, ForbiddenError, ResolverError
from store.errors import LimitError, MissingError, ShardError, StateError, UniqueViolationError
from store.records import RUN_STATUS, UNKNOWN


class RefusalError(ResolverError):
    """Root of the refusals. `path` names the part of the input that is refused, if it is one part."""

    code: ClassVar[str]
    path: list[str] | None = None

    def __init__(self, message: str, path: Sequence[str] | None = None) -> None:
        super().__init__(message)
        self.path = None if path is None else list(path)

    @property
    def message(self) -> str:
        """Why, in a sentence."""
        return str(self)


class NotFoundError(RefusalError):
    """No row of that id is in the viewer's reach. A shard that could not be asked is not this."""

    code = "NOT_FOUND"


class InvalidInputError(RefusalError):
    """A part of the input makes no sense."""

    code = "INVALID_INPUT"


class PayloadTooLargeError(RefusalError):
    """A value is longer than what is stored of its kind."""

    code = "PAYLOAD_TOO_LARGE"


class ConflictError(RefusalError):
    """Another write has taken what this one needs."""

    code = "CONFLICT"


class InvalidStateError(RefusalError):
    """The row is there, and its state does not allow the write."""

    code = "INVALID_STATE"


class InvalidRunStateError(InvalidStateError):
    """A run's status, as the contract names it, does not allow the write."""

    status = UNKNOWN

    def __init__(self, message: str, status: str, path: Sequence[str] | None = None) -> None:
        super().__init__(message, path)
        self.status = status


class ForbiddenRefusalError(RefusalError):
    """The credential's scopes do not go so far."""

    code = "FORBIDDEN"


class ShardRefusalError(RefusalError):
    """A database that the write needed did not answer; the write may have been kept all the same."""

    code = "SHARD_UNAVAILABLE"
    shard = ""
    may_have_applied = False

    def __init__(self, error: ShardError) -> None:
        super().__init__(str(error))
        self.shard, self.may_have_applied = error.shard, error.may_have_applied


class Refused:
    """A refusal as a record: an exception among the values of a payload would be taken for a failure."""

    __slots__ = ("_error",)

    def __init__(self, error: RefusalError) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the refusal has
        return getattr(self._error, name)

    @property
    def of(self) -> type:
        """The type of the refusal."""
        return type(self._error)


def refusal_of(error: Exception) -> RefusalError | None:  # noqa: PLR0911  one for each kind
    """Return the refusal that an error is, or None: then something broke."""
    match error:
        case RefusalError():
            return error
        case MissingError():
            return NotFoundError(str(error))
        case StateError(status=None):
            return InvalidStateError(str(error))
        case StateError(status=status):
            return InvalidRunStateError(str(error), RUN_STATUS.get(status or "", UNKNOWN))
        case LimitError() | UniqueViolationError():
            return ConflictError(str(error))
        case ForbiddenError():
            return ForbiddenRefusalError(str(error))
        case BadInputError():
            return InvalidInputError(str(error))
        case ShardError():
            return ShardRefusalError(error)
    return None
