"""The rows as everything above the store sees them: small immutable tuples, one attribute a column.

Field order is the order of the SELECT, so a record is made from a row by position. Times are naive UTC, cut to
milliseconds as the columns are. Large columns (payloads, outputs, metadata, a batch's members) are in no record here.
"""

from datetime import datetime
from typing import NamedTuple

RUN_STATUS = {
    "DELAYED": "DELAYED",
    "PENDING": "QUEUED",
    "PENDING_VERSION": "PENDING_VERSION",
    "WAITING_FOR_DEPLOY": "PENDING_VERSION",
    "DEQUEUED": "DEQUEUED",
    "EXECUTING": "EXECUTING",
    "RETRYING_AFTER_FAILURE": "EXECUTING",
    "WAITING_TO_RESUME": "WAITING",
    "PAUSED": "WAITING",
    "COMPLETED_SUCCESSFULLY": "COMPLETED",
    "COMPLETED_WITH_ERRORS": "FAILED",
    "INTERRUPTED": "FAILED",
    "CANCELED": "CANCELED",
    "CRASHED": "CRASHED",
    "SYSTEM_FAILURE": "SYSTEM_FAILURE",
    "EXPIRED": "EXPIRED",
    "TIMED_OUT": "TIMED_OUT",
}
"""Stored status -> public status: the platform's API version 2025-07-16 (``ApiRetrieveRunPresenter``)."""

UNKNOWN = "UNKNOWN"
"""What a state is called that the platform has and this release does not know."""

QUEUED = frozenset({"QUEUED", "DELAYED", "PENDING_VERSION"})
EXECUTING = frozenset({"EXECUTING", "DEQUEUED"})
FAILED = frozenset({"FAILED", "CRASHED", "SYSTEM_FAILURE", "EXPIRED", "TIMED_OUT"})
FINAL = FAILED | {"COMPLETED", "CANCELED"}


class RunRecord(NamedTuple):
    """One run, without its large columns."""

    id: str
    friendly_id: str
    raw_status: str
    status_reason: str | None
    engine: str
    task_identifier: str
    environment_id: str
    project_id: str
    is_test: bool
    depth: int
    created_at: datetime
    updated_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    executed_at: datetime | None
    completed_at: datetime | None
    delay_until: datetime | None
    expired_at: datetime | None
    ttl: str | None
    run_tags: list[str] | None
    max_attempts: int | None
    max_duration_in_seconds: int | None
    priority_ms: int
    attempt_number: int | None
    trace_id: str
    span_id: str
    parent_span_id: str | None
    batch_id: str | None
    parent_task_run_id: str | None
    root_task_run_id: str | None
    resume_parent_on_completion: bool
    replayed_from_friendly_id: str | None

    @property
    def status(self) -> str:
        """The public status."""
        return RUN_STATUS.get(self.raw_status, UNKNOWN)

    @property
    def tags(self) -> list[str]:
        """The tags, sorted; a row without any has none."""
        return sorted(self.run_tags or ())

    @property
    def finished_at(self) -> datetime | None:
        """When it reached its final state: the platform's name for `completed_at`."""
        return self.completed_at

    @property
    def is_queued(self) -> bool:
        """It has not begun, for whatever reason."""
        return self.status in QUEUED

    @property
    def is_executing(self) -> bool:
        """A machine has it."""
        return self.status in EXECUTING

    @property
    def is_waiting(self) -> bool:
        """It waits for something and holds no machine."""
        return self.status == "WAITING"

    @property
    def is_final(self) -> bool:
        """Its status will not change again."""
        return self.status in FINAL

    @property
    def is_success(self) -> bool:
        """It completed."""
        return self.status == "COMPLETED"

    @property
    def is_failed(self) -> bool:
        """It ended without success, and nobody canceled it."""
        return self.status in FAILED

    @property
    def is_cancelled(self) -> bool:
        """Somebody canceled it."""
        return self.status == "CANCELED"

    @property
    def is_cancellable(self) -> bool:
        """It can still be canceled."""
        return not self.is_final

    @property
    def attempt_count(self) -> int:
        """How often it was tried."""
        return self.attempt_number or 0

    @property
    def trigger_function(self) -> str:
        """How it was triggered: alone or in a batch, waited for or not."""
        return ("BATCH_TRIGGER" if self.batch_id else "TRIGGER") + (
            "_AND_WAIT" if self.resume_parent_on_completion else ""
        )


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
    def has_finished(self) -> bool:
        """It is neither pending nor processing."""
        return self.status not in ("PENDING", "PROCESSING")

    @property
    def finished_at(self) -> datetime | None:
        """When it completed, or when it last changed, if it has finished without saying when."""
        return self.completed_at or (self.updated_at if self.has_finished else None)


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
    def idempotency_key(self) -> str | None:
        """The key that the caller gave, also after it was rotated away; None if the platform made one up."""
        if not self.user_provided_idempotency_key:
            return None
        return self.inactive_idempotency_key or self.active_idempotency_key

    @property
    def tags(self) -> list[str]:
        """The tags, sorted; a row without any has none."""
        return sorted(self.stored_tags or ())


class BlockRecord(NamedTuple):
    """One edge: this run does not go on before that waitpoint is complete."""

    run_id: str
    waitpoint_id: str
    batch_index: int | None
    created_at: datetime


class EnvironmentRecord(NamedTuple):
    """One environment, and what its project and organization say about its use. No secret."""

    id: str
    slug: str
    type: str
    shortcode: str
    branch_name: str | None
    paused: bool
    pause_source: str | None
    archived_at: datetime | None
    maximum_concurrency_limit: int
    concurrency_limit_burst_factor: float
    parent_environment_id: str | None
    project_id: str
    organization_id: str
    member_id: str | None
    member_name: str | None

    @property
    def friendly_id(self) -> str:
        """The id under which clients know it."""
        return f"env_{self.id}"

    @property
    def user_name(self) -> str | None:
        """Whose development environment it is; ``Deleted`` when that member is gone. None for every other type."""
        if self.type != "DEVELOPMENT":
            return None
        return "Deleted" if self.member_id is None else self.member_name


class ProjectRecord(NamedTuple):
    """One project that is not deleted."""

    id: str
    slug: str
    name: str
    external_ref: str
    engine: str
    organization_id: str

    @property
    def friendly_id(self) -> str:
        """The id under which clients know it."""
        return f"project_{self.id}"


class OrganizationRecord(NamedTuple):
    """One organization that is not deleted."""

    id: str
    slug: str
    title: str

    @property
    def friendly_id(self) -> str:
        """The id under which clients know it."""
        return f"org_{self.id}"
