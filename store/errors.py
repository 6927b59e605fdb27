"""What can go wrong in the store. Everything it raises on purpose is a `StoreError`.

::

    StoreError
    |- InvalidIdError            a text is no id of the kind that was asked for
    |- BadCursorError            a cursor that this list did not hand out
    |- DanglingReferenceError    a row names another that no shard has
    |- ShardError                a database could not answer; the row may exist
    |  |- ShardUnavailableError  it could not be reached
    |  |- ShardTimeoutError      it did not answer in time
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


class ConfigurationError(StoreError):
    """The settings, or the databases that they name, do not make a federation."""

    def __init__(self, sentence: str, hint: str) -> None:
        super().__init__(sentence)
        self.hint = hint
