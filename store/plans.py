"""What is to be written for new runs and a new batch: rows, before there is a transaction. Pure."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from store.records import EnvironmentRecord, RunRecord, WorkerRecord
from store.writes.blocks import Tie
from store.writes.rows import Row
from store.writes.runs import Home, LockedRun, step_row
from store.writes.waitpoints import JSON_TYPE, waitpoint_row

KEY_LIFETIME = timedelta(days=30)
"""How long an idempotency key finds its row, unless told."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The key of a row that is made once: as it is stored, and what the caller wrote where that is a hash of it."""

    stored: str
    lifetime: timedelta = KEY_LIFETIME
    written: str | None = None
    scope: str | None = None

    @property
    def options(self) -> dict[str, str] | None:
        """What is stored beside the key."""
        return {"key": self.written, "scope": self.scope} if self.written and self.scope else None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be made. Texts are as they are stored; times are naive UTC."""

    task: str
    payload: str = ""
    payload_type: str = JSON_TYPE
    metadata: str | None = None
    tags: tuple[str, ...] = ()
    queue: str | None = None
    concurrency_key: str | None = None
    machine: str | None = None
    region: str | None = None
    worker: WorkerRecord | None = None
    """The version that it is locked to."""
    max_attempts: int | None = None
    max_duration_seconds: int | None = None
    delay_until: datetime | None = None
    ttl: str | None = None
    priority_ms: int = 0
    is_test: bool = False
    key: IdempotencyKey | None = None
    one_time_token: str | None = None
    """The hash of the credential, if that triggers once."""
    friendly_id: str | None = None
    """Taken as it is: a retry, a schedule and a bulk action know the id beforehand."""
    replayed_from: str | None = None
    bulk_action_id: str | None = None
    trigger_source: str = "api"

    @property
    def stored_key(self) -> tuple[str, str] | None:
        """The task, and the key as it is stored: together they name one run of an environment."""
        return None if self.key is None else (self.task, self.key.stored)


@dataclass(slots=True)
class Plan:
    """New runs on one shard, in a batch if `batch_id` is given; `waiting` is the parent, if it waits for them."""

    environment: EnvironmentRecord
    parent: RunRecord | None
    waits: bool
    moment: datetime
    batch_id: str | None = None
    batch_key: IdempotencyKey | None = None
    batch_token: str | None = None
    """The hash of the credential, if that triggers once."""
    runs: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)
    waitpoints: list[Row] = field(default_factory=list)
    ties: list[Tie] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    """The friendly ids of the batch's items, in their order; one may stand there twice."""
    _keyed: dict[tuple[str, str], tuple[str, str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make a parent that waits for a batch wait for the batch itself too."""
        if self.batch_id is not None and self.waits:
            row = self._waitpoint("BATCH", completed_by_batch_id=self.batch_id)
            self.ties.append(Tie(str(row["id"]), self.batch_id))

    @property
    def homes(self) -> dict[str, Home]:
        """What steps say of where the runs are."""
        return {self.environment.id: Home(self.environment.type, self.environment.organization_id)}

    @property
    def batch(self) -> Row | None:
        """The row of the batch: sealed, as all its items are made with it."""
        if self.batch_id is None:
            return None
        moment, key, count = self.moment, self.batch_key, len(self.members)
        return {
            "id": self.batch_id,
            "friendly_id": f"batch_{self.batch_id}",
            "status": "PENDING",
            "batch_version": "runengine:v2",
            "environment_id": self.environment.id,
            "run_ids": self.members,
            "run_count": count,
            "successful_run_count": count,
            "failed_run_count": 0,
            "idempotency_key": key and key.stored,
            "idempotency_key_expires_at": key and moment + key.lifetime,
            "one_time_use_token": self.batch_token,
            "sealed": True,
            "sealed_at": moment,
            "expected_count": count,
            "processing_started_at": moment,
            "processing_completed_at": moment,
            "created_at": moment,
            "updated_at": moment,
        }

    def add(self, body: str, new: NewRun) -> str:
        """Plan a run under an id, and return its friendly id; a key that an item before it has, is that item's run."""
        if new.stored_key is not None and new.stored_key in self._keyed:
            friendly_id, waitpoint_id = self._keyed[new.stored_key]
            self.join(friendly_id, waitpoint_id)
            return friendly_id
        friendly_id = f"run_{body}"
        self.runs.append(
            _run_row(body, new, self.environment, self.parent, self.batch_id, self.moment, waits=self.waits)
        )
        self.steps.append(_first_step(self.runs[-1], self.homes))
        waitpoint_id = str(self._waitpoint("RUN", completed_by_run_id=body)["id"]) if self.waits else None
        if new.stored_key is not None:
            self._keyed[new.stored_key] = friendly_id, waitpoint_id
        self.join(friendly_id, waitpoint_id)
        return friendly_id

    def join(self, friendly_id: str, waitpoint_id: str | None) -> None:
        """Plan a run that is there already as the next item; with the waitpoint that its end completes."""
        if waitpoint_id is not None:
            self.ties.append(Tie(waitpoint_id, self.batch_id, None if self.batch_id is None else len(self.members)))
        self.members.append(friendly_id)

    def _waitpoint(self, type_: str, **values: object) -> Row:
        row = waitpoint_row(type_, self.environment.id, self.environment.project_id, self.moment, **values)
        self.waitpoints.append(row)
        return row


def _run_row(  # noqa: PLR0913, PLR0917  what a run is made of
    body: str,
    new: NewRun,
    environment: EnvironmentRecord,
    parent: RunRecord | None,
    batch_id: str | None,
    moment: datetime,
    *,
    waits: bool,
) -> Row:
    delayed = new.delay_until is not None and new.delay_until > moment
    version = new.worker
    action = "trigger" if new.replayed_from is None else "replay"
    annotations = {"triggerSource": new.trigger_source, "triggerAction": action, "taskKind": "STANDARD"}
    return {
        "id": body,
        "friendly_id": f"run_{body}",
        "engine": "V2",
        "raw_status": "DELAYED" if delayed else "PENDING",
        "task_identifier": new.task,
        "environment_id": environment.id,
        "environment_type": environment.type,
        "project_id": environment.project_id,
        "organization_id": environment.organization_id,
        "is_test": new.is_test,
        "depth": 0 if parent is None else parent.depth + 1,
        "created_at": moment,
        "updated_at": moment,
        "queued_at": None if delayed else moment,
        "queue_timestamp": moment - timedelta(milliseconds=new.priority_ms),
        "delay_until": new.delay_until if delayed else None,
        "ttl": new.ttl,
        "run_tags": list(new.tags),
        "max_attempts": new.max_attempts,
        "max_duration_in_seconds": new.max_duration_seconds,
        "priority_ms": new.priority_ms,
        "trace_id": secrets.token_hex(16) if parent is None else parent.trace_id,
        "span_id": secrets.token_hex(8),
        "parent_span_id": parent and parent.span_id,
        "batch_id": batch_id,
        "parent_task_run_id": parent and parent.id,
        "root_task_run_id": parent and (parent.root_task_run_id or parent.id),
        "resume_parent_on_completion": waits,
        "replayed_from_friendly_id": new.replayed_from,
        "stored_idempotency_key": new.key and new.key.stored,
        "idempotency_key_expires_at": new.key and moment + new.key.lifetime,
        "idempotency_key_options": new.key and new.key.options,
        "one_time_use_token": new.one_time_token,
        "queue_name": new.queue or f"task/{new.task}",
        "concurrency_key": new.concurrency_key,
        "stored_region": new.region,
        "worker_queue": new.region or "main",
        "machine_preset": new.machine,
        "task_version": version and version.version,
        "sdk_version": version and version.sdk_version,
        "cli_version": version and version.cli_version,
        "locked_to_version_id": version and version.id,
        "bulk_action_group_ids": [] if new.bulk_action_id is None else [new.bulk_action_id],
        "annotations": annotations,
        "payload": new.payload,
        "payload_type": new.payload_type,
        "run_metadata": new.metadata,
        "seed_metadata": new.metadata,
    }


def _first_step(run: Row, homes: dict[str, Home]) -> Row:
    """Return the first step of a run: that it waits for its turn, or for its time."""
    delayed = run["raw_status"] == "DELAYED"
    locked = LockedRun._make(run.get(name) for name in LockedRun._fields)
    description = "Run was made, and waits for its time" if delayed else "Run was made and queued"
    return step_row(locked, None, homes, run["created_at"], "DELAYED" if delayed else "QUEUED", description)
