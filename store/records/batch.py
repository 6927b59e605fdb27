"""A batch, and what became of its items, as everything above the store sees them."""

from datetime import datetime
from typing import NamedTuple


class BatchRecord(NamedTuple):
    """One batch, without the ids of its members."""

    id: str
    friendly_id: str
    status: str
    batch_version: str
    environment_id: str
    run_count: int
    successful_run_count: int | None
    failed_run_count: int | None
    idempotency_key: str | None
    sealed: bool
    expected_count: int
    completed_count: int
    created_at: datetime
    updated_at: datetime
    processing_started_at: datetime | None
    processing_completed_at: datetime | None
    completed_at: datetime | None

    @property
    def itself(self) -> "BatchRecord":
        """The batch itself, for what is told of the whole of it."""
        return self

    @property
    def has_finished(self) -> bool:
        """It is neither pending nor processing."""
        return self.status not in ("PENDING", "PROCESSING")

    @property
    def is_final(self) -> bool:
        """Its status will not change again."""
        return self.has_finished

    @property
    def finished_at(self) -> datetime | None:
        """When it completed, or when it last changed, if it has finished without saying when."""
        return self.completed_at or (self.updated_at if self.has_finished else None)


class BatchErrorRecord(NamedTuple):
    """Why an item of a batch became no run."""

    batch_id: str
    item_index: int
    task_identifier: str
    error: str
    error_code: str | None
    created_at: datetime


class StatusCount(NamedTuple):
    """How many runs are in a public status."""

    status: str
    runs: int


class CountRecord(NamedTuple):
    """How many there are; not exact past a limit, or when a shard did not answer."""

    value: int
    exact: bool
