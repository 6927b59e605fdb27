"""What can go wrong in the store. Everything it raises on purpose is a `StoreError`.

::

    StoreError
    |- InvalidIdError            a text is no id of the kind that was asked for
    |- BadCursorError            a cursor that this list did not hand out
    |- DanglingReferenceError    a row names another that no shard has
    |- ShardError                a database could not answer; the row may exist
    |  |- ShardUnavailableError  it could not be reached
    |  |- ShardTimeoutError      it did not answer in time
    |  |- OutcomeUnknownError    it did not say whether it kept a write
    |- UniqueViolationError      another row has the key that a row was to be written under
    |- MissingError              the row to write to is not there
    |- StateError                the row is, in a state that forbids the write
    |- LimitError                there is no room for more
    |- ReadOnlyError             this deployment does not write
    |- ConfigurationError        runatlas cannot start like this; carries a hint
"""

from typing import ClassVar


class StoreError(Exception):
    """Root of the store's own errors; the message is one sentence."""


class InvalidIdError(StoreError, ValueError):
    """The text is not an id of the expected kind."""


class BadCursorError(StoreError, ValueError):
    """The cursor was altered, is another list's, or never was one."""

    def __init__(self) -> None:
        super().__init__("the cursor does not belong to this list: take it from this list's pageInfo or edges")


class DanglingReferenceError(StoreError):
    """A row names another one, all shards were asked, and none has it, or it is another tenant's.

    The message does not say which one: its id may be another tenant's too.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(f"a {kind} is referred to that no shard has")


class ShardError(StoreError):
    """A database that may hold the row did not answer. Never "not found": the row may exist."""

    code: ClassVar[str]
    retryable: ClassVar[bool] = True
    may_have_applied: ClassVar[bool] = False
    """Whether what was to be written may have been written."""

    def __init__(self, shard: str, sentence: str = "") -> None:
        super().__init__(sentence)
        self.shard = shard

    def again(self) -> "ShardError":
        """Return an error of its own that says the same: one exception raised in many places grows every traceback."""
        return type(self)(self.shard)


class ShardUnavailableError(ShardError):
    """The database could not be reached, or dropped the connection."""

    code = "UNAVAILABLE"

    def __init__(self, shard: str) -> None:
        super().__init__(shard, f"shard {shard!r} is unavailable")


class ShardTimeoutError(ShardError):
    """The database did not answer before the deadline."""

    code = "TIMEOUT"

    def __init__(self, shard: str) -> None:
        super().__init__(shard, f"shard {shard!r} did not answer in time")


class OutcomeUnknownError(ShardError):
    """The connection was lost while the database committed: the write may have been kept, or not.

    Every error from COMMIT is one. Repeating the write is safe only with its idempotency key.
    """

    code = "OUTCOME_UNKNOWN"
    may_have_applied = True

    def __init__(self, shard: str) -> None:
        super().__init__(shard, f"shard {shard!r} did not say whether it kept the write")


class UniqueViolationError(StoreError):
    """A row of that key is there already. Nothing was written."""

    def __init__(self, constraint: str) -> None:
        super().__init__(f"there is a row already under {constraint}")
        self.constraint = constraint


class MissingError(StoreError):
    """There is no row to write to, on any shard that could have it, or it is not the caller's."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"{kind} not found")
        self.kind = kind


class StateError(StoreError):
    """The row is in a state that forbids the write; `status` is a run's stored one, if it is a run."""

    def __init__(self, sentence: str, status: str | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class LimitError(StoreError):
    """There is no room for more of something."""


class ReadOnlyError(StoreError):
    """This deployment does not write: another engine is the master of its databases."""

    hint: ClassVar[str] = "set RUNATLAS_WRITES=postgres if no engine of the platform writes to these databases"

    def __init__(self) -> None:
        super().__init__("these databases are read only here")


class ConfigurationError(StoreError):
    """The settings, or the databases that they name, do not make a federation."""

    def __init__(self, sentence: str, hint: str) -> None:
        super().__init__(sentence)
        self.hint = hint
