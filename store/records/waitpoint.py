"""A waitpoint, and the edges by which it blocks runs, as everything above the store sees them."""

from datetime import datetime
from typing import NamedTuple

from store.records.run import UNKNOWN


class WaitpointRecord(NamedTuple):
    """One waitpoint, without its output."""

    id: str
    friendly_id: str
    type: str
    raw_status: str
    environment_id: str
    active_idempotency_key: str
    inactive_idempotency_key: str | None
    user_provided_idempotency_key: bool
    idempotency_key_expires_at: datetime | None
    completed_by_run_id: str | None
    completed_by_batch_id: str | None
    timeout_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    stored_tags: list[str] | None
    output_is_error: bool

    @property
    def status(self) -> str:
        """The public status: a completion that is an error is a time-out."""
        if self.raw_status == "PENDING":
            return "WAITING"
        if self.raw_status != "COMPLETED":
            return UNKNOWN
        return "TIMED_OUT" if self.output_is_error else "COMPLETED"

    @property
    def is_final(self) -> bool:
        """It is complete."""
        return self.raw_status == "COMPLETED"

    @property
    def idempotency_key(self) -> str | None:
        """The key that the caller gave, also after it was rotated away; None if the platform made one up."""
        if not self.user_provided_idempotency_key:
            return None
        return self.inactive_idempotency_key or self.active_idempotency_key

    @property
    def token(self) -> "TokenAddress | None":
        """What signs its callback, if it is a token: somebody completes it, and not the platform."""
        return TokenAddress(self.environment_id, self.id) if self.type == "MANUAL" else None

    @property
    def tags(self) -> list[str]:
        """The tags, sorted; a row without any has none."""
        return sorted(self.stored_tags or ())


class TokenAddress(NamedTuple):
    """A token and the environment whose key signs for it, by primary keys."""

    environment_id: str
    id: str


class TagRecord(NamedTuple):
    """A tag that tokens of an environment have."""

    name: str
    created_at: datetime

    @property
    def id(self) -> str:
        """Its name, which is all that it has."""
        return self.name


class BlockRecord(NamedTuple):
    """One edge: this run does not go on before that waitpoint is complete."""

    run_id: str
    waitpoint_id: str
    batch_index: int | None
    created_at: datetime
