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
    stored_idempotency_key: str | None
    user_idempotency_key: str | None
    idempotency_key_scope: str | None
    idempotency_key_expires_at: datetime | None
    queue_name: str
    concurrency_key: str | None
    stored_region: str | None
    worker_queue: str
    machine_preset: str | None
    usage_duration_ms: int
    cost_in_cents: float
    base_cost_in_cents: float
    task_version: str | None
    sdk_version: str | None
    cli_version: str | None
    locked_to_version_id: str | None
    schedule_id: str | None
    bulk_action_group_ids: list[str] | None
    stored_task_kind: str | None

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
    def is_replayable(self) -> bool:
        """It can be replayed: any run of the current engine can."""
        return self.engine != "V1"

    @property
    def task_kind(self) -> str:
        """What kind of task it executes; rows that do not say are of the standard kind."""
        return self.stored_task_kind or "STANDARD"

    @property
    def idempotency_key(self) -> "IdempotencyKeyRecord | None":
        """The key under which it was triggered: what the caller wrote, where the stored one is a hash of it."""
        if self.stored_idempotency_key is None:
            return None
        key = self.user_idempotency_key or self.stored_idempotency_key
        return IdempotencyKeyRecord(key, self.idempotency_key_scope, self.idempotency_key_expires_at)

    @property
    def queue(self) -> "QueueRecord":
        """The queue that it stands in, as far as the run knows."""
        return QueueRecord(self.environment_id, self.queue_name, self.concurrency_key)

    @property
    def region(self) -> str:
        """Where its machine is: its region, else its worker queue without the project in front."""
        return self.stored_region or self.worker_queue.removeprefix(f"{self.project_id}-")

    @property
    def machine(self) -> str | None:
        """The preset of its machine, as the API names it; None for one that is not of the list."""
        return MACHINES.get(self.machine_preset or "")

    @property
    def version(self) -> "VersionRecord | None":
        """The deployed version that it is locked to; None before it is."""
        if self.task_version is None and self.locked_to_version_id is None:
            return None
        return VersionRecord(self.task_version or "", self.sdk_version, self.cli_version, self.locked_to_version_id)

    @property
    def itself(self) -> "RunRecord":
        """The run itself, for what is made of its own columns."""
        return self

    @property
    def total_cost_in_cents(self) -> float:
        """What it cost, computing and fee."""
        return self.cost_in_cents + self.base_cost_in_cents

    @property
    def trigger_function(self) -> str:
        """How it was triggered: alone or in a batch, waited for or not."""
        return ("BATCH_TRIGGER" if self.batch_id else "TRIGGER") + (
            "_AND_WAIT" if self.resume_parent_on_completion else ""
        )


MACHINES = {
    "micro": "MICRO",
    "small-1x": "SMALL_1X",
    "small-2x": "SMALL_2X",
    "medium-1x": "MEDIUM_1X",
    "medium-2x": "MEDIUM_2X",
    "large-1x": "LARGE_1X",
    "large-2x": "LARGE_2X",
}
"""Stored preset -> public name."""


class IdempotencyKeyRecord(NamedTuple):
    """A key, the scope that the caller gave it, and until when it finds its run."""

    key: str
    scope: str | None
    expires_at: datetime | None


class QueueRecord(NamedTuple):
    """A queue as a run names it. Its limits are the control plane's, by environment and name."""

    environment_id: str
    name: str
    concurrency_key: str | None

    @property
    def is_custom(self) -> bool:
        """It was declared, rather than being a task's own."""
        return not self.name.startswith("task/")

    @property
    def display_name(self) -> str:
        """Its name without the mark of a task's own queue."""
        return self.name.removeprefix("task/")

    @property
    def address(self) -> tuple[str, str]:
        """What the control plane knows it by."""
        return (self.environment_id, self.name)


class QueueLimits(NamedTuple):
    """What the control plane says of a queue."""

    concurrency_limit: int | None
    paused: bool


class VersionRecord(NamedTuple):
    """A deployed version as a run names it. The rest is the control plane's, by the worker's primary key."""

    version: str
    sdk_version: str | None
    cli_version: str | None
    worker_id: str | None


class WorkerRecord(NamedTuple):
    """What runs a version: its runtime."""

    id: str
    runtime: str | None
    runtime_version: str | None


class DeploymentRecord(NamedTuple):
    """How a version was deployed."""

    id: str
    friendly_id: str
    short_code: str
    version: str
    status: str
    git: object
    worker_id: str | None


class ScheduleRecord(NamedTuple):
    """What triggers runs at times."""

    id: str
    friendly_id: str
    external_id: str | None
    deduplication_key: str
    user_provided_deduplication_key: bool
    cron: str
    description: str
    timezone: str

    @property
    def own_deduplication_key(self) -> str | None:
        """The key that its creator gave it; the platform makes one up for the others."""
        return self.deduplication_key if self.user_provided_deduplication_key else None


class BulkActionRecord(NamedTuple):
    """One action on many runs."""

    id: str
    friendly_id: str
    environment_id: str | None
    name: str | None
    type: str
    status: str
    total_count: int
    success_count: int
    failure_count: int
    created_at: datetime
    completed_at: datetime | None
    params: object
    user_id: str | None


class AttemptRecord(NamedTuple):
    """One attempt of a run of the retired engine, without its output."""

    id: str
    friendly_id: str
    run_id: str
    number: int
    status: str
    started_at: datetime | None
    completed_at: datetime | None
    usage_duration_ms: int


class SnapshotRecord(NamedTuple):
    """One step of a run's execution."""

    id: str
    run_id: str
    execution_status: str
    run_status: str
    description: str
    is_valid: bool
    error: str | None
    attempt_number: int | None
    created_at: datetime
    last_heartbeat_at: datetime | None
    completed_waitpoint_order: list[str] | None

    @property
    def friendly_id(self) -> str:
        """The id under which clients know it."""
        return f"snapshot_{self.id}"


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


class BatchErrorRecord(NamedTuple):
    """Why an item of a batch became no run."""

    batch_id: str
    item_index: int
    task_identifier: str
    error: str
    error_code: str | None
    created_at: datetime


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


class StatusCount(NamedTuple):
    """How many runs are in a public status."""

    status: str
    runs: int


class CountRecord(NamedTuple):
    """How many there are; not exact past a limit, or when a shard did not answer."""

    value: int
    exact: bool


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
