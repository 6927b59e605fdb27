"""A run, its steps and its attempts, as everything above the store sees them. Large columns are in none of them."""

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
    def everywhere(self) -> tuple[str, None]:
        """The address of all queues of its environment."""
        return (self.environment_id, None)

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


class VersionRecord(NamedTuple):
    """A deployed version as a run names it. The rest is the control plane's, by the worker's primary key."""

    version: str
    sdk_version: str | None
    cli_version: str | None
    worker_id: str | None


class Address(NamedTuple):
    """A row that is on the shard of its run, by both primary keys."""

    id: str
    run_id: str


class AttemptRecord(NamedTuple):
    """One attempt of a run of the retired engine, without its output."""

    id: str
    friendly_id: str
    environment_id: str
    run_id: str
    number: int
    status: str
    started_at: datetime | None
    completed_at: datetime | None
    usage_duration_ms: int

    @property
    def address(self) -> "Address":
        """Where it is found."""
        return Address(self.id, self.run_id)


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

    @property
    def completion(self) -> "Completion":
        """What is asked for the waitpoints whose end brought the run to this step."""
        return Completion(Address(self.id, self.run_id), tuple(self.completed_waitpoint_order or ()))


class Completion(NamedTuple):
    """Where a step is found, and the waitpoints that it lists, in the order in which their outputs are told."""

    address: Address
    order: tuple[str, ...]
