"""Run: the type, its statuses, its connection."""

from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from strawberry.scalars import JSON

from resolvers import batches, details, environments, runs
from resolvers import waitpoints as waits
from resolvers.loaders import PageArguments
from schema.attempt import Attempt, ExecutionSnapshot
from schema.bulk_action import BulkAction
from schema.declare import First, column, edge, edges, forward_listing, root, type_of
from schema.node import BoundedCount, Node, PageInfo
from schema.payload import Payload, RunError
from schema.queue import Queue
from schema.scalars import DateTime
from schema.schedule import Schedule
from schema.shard import ShardDegradation
from schema.status import MachinePreset, RawRunStatus, RunStatus, TriggerFunction
from schema.version import Version
from store.errors import DanglingReferenceError
from store.records import BlockRecord, IdempotencyKeyRecord, RunRecord

if TYPE_CHECKING:
    from schema.batch import Batch
    from schema.environment import Environment, Project
    from schema.waitpoint import Waitpoint, WaitpointConnection


@type_of(BlockRecord, description="A waitpoint that a run waits for now.")
class BlockedBy:
    """The type of that name."""

    waitpoint: Annotated["Waitpoint", strawberry.lazy("schema.waitpoint")] | None = edge(
        waits.by_reference,
        "waitpoint_id",
        always=True,
        missing=lambda: DanglingReferenceError("waitpoint"),
        description="What it waits for, from whichever shard has it; an error if none has, for then it waits for ever.",
    )
    batch_index: int | None = column(description="Which item of a batch it waits for, if it waits for a batch.")
    created_at: DateTime = column(description="When it began to wait.")


@type_of(IdempotencyKeyRecord, description="A key that finds a run instead of triggering another.")
class IdempotencyKey:
    """The type of that name."""

    key: str = column(description="The key, as its creator wrote it where that is known.")
    scope: str | None = column(description="Within what it is unique: `run`, `attempt` or `global`.")
    expires_at: DateTime | None = column(description="Until when it finds the run.")


@strawberry.type(description="What a run used and cost.")
class Usage:
    """The type of that name; its record is the run's."""

    duration_ms: int = column("usage_duration_ms", description="How long it computed, in milliseconds.")
    cost_in_cents: float = column(description="What computing cost, in cents.")
    base_cost_in_cents: float = column(description="The fee for the run, in cents.")
    total_cost_in_cents: float = column(description="Both, in cents.")


def _snapshots(parent: strawberry.Parent[Any], info: strawberry.Info, first: First = None) -> Any:  # noqa: ANN401
    size = PageArguments(first).size(default=20)
    return info.context.viewer.load(details.snapshots(size), parent.id)


@type_of(RunRecord, description="One execution of a task.")
class Run(Node):
    """The type of that name."""

    friendly_id: str = column(description="The same as `id`, under the platform's name.")
    status: RunStatus = column(description="State of the run.")
    raw_status: RawRunStatus = column(description="State of the run as it is stored.")
    status_reason: str | None = column(description="Why it is in this state, if anything said so.")
    is_queued: bool = column(description="Whether it has not begun.")
    is_executing: bool = column(description="Whether a machine has it.")
    is_waiting: bool = column(description="Whether it waits and holds no machine.")
    is_completed: bool = column("is_final", description="Whether it ended, in whatever way.")
    is_success: bool = column(description="Whether it ended with success.")
    is_failed: bool = column(description="Whether it ended without success, and nobody canceled it.")
    is_cancelled: bool = column(description="Whether somebody canceled it.")
    is_final: bool = column(description="Whether its status will not change again.")
    is_replayable: bool = column(description="Whether it can be replayed.")
    is_cancellable: bool = column(description="Whether it can still be canceled.")
    task_kind: str = column(description="What kind of task it executes: `STANDARD`, `SCHEDULED`, `AGENT`, `WEBHOOK`.")
    task_identifier: str = column(description="Which task it executes.")
    is_test: bool = column(description="Whether it was triggered as a test.")
    depth: int = column(description="How many runs stand above it; 0 for a root.")
    engine: str = column(description="Generation of the engine that runs it: `V1` (retired) or `V2`.")
    created_at: DateTime = column(description="When it was triggered.")
    updated_at: DateTime = column(description="When its row last changed.")
    queued_at: DateTime | None = column(description="When it was queued.")
    started_at: DateTime | None = column(description="When its first attempt was taken up.")
    executed_at: DateTime | None = column(description="When its code began.")
    completed_at: DateTime | None = column(description="When it ended.")
    finished_at: DateTime | None = column(description="The same as `completedAt`.")
    delay_until: DateTime | None = column(description="When it will be queued, if it was delayed.")
    expired_at: DateTime | None = column(description="When it expired.")
    ttl: str | None = column(description="How long it may wait unstarted, such as `10m`.")
    tags: list[str] = column(description="Its tags, sorted.")
    max_attempts: int | None = column(description="How often it may be tried.")
    max_duration_in_seconds: int | None = column(description="How many seconds it may compute.")
    priority_ms: int = column(description="By how many milliseconds it goes before others in its queue.")
    idempotency_key: IdempotencyKey | None = column(description="The key under which it was triggered.")
    queue: Queue = column(description="Where it stands, or stood, before it executes.")
    region: str | None = column(description="Where its machine is.")
    machine: MachinePreset | None = column(description="The size of its machine.")
    version: Version | None = column(description="The code that it executes; null before it is decided.")
    usage: Usage = column("itself", description="What it used and cost.")
    payload: Payload | None = edge(details.parts, "id", part="payload", always=True, description="What it was given.")
    output: Payload | None = edge(details.parts, "id", part="output", description="What it returned.")
    metadata: JSON | None = edge(details.parts, "id", part="metadata", description="What it says of itself.")
    error: RunError | None = edge(details.parts, "id", part="error", description="Why it failed.")
    attempts: list[Attempt] | None = edge(
        details.attempts, "id", always=True, description="Its attempts; the current engine keeps none, see `snapshots`."
    )
    schedule: Schedule | None = edge(details.schedules, "schedule_id", description="The schedule that triggered it.")
    bulk_actions: list[BulkAction] | None = edges(
        details.bulk_actions, "bulk_action_group_ids", description="The bulk actions that touched it."
    )
    snapshots: list[ExecutionSnapshot] | None = root(
        _snapshots, always=True, description="The last steps of its execution, newest first; 20 unless told."
    )
    attempt_count: int = column(description="How often it was tried.")
    trigger_function: TriggerFunction = column(description="How it was triggered.")
    trace_id: str = column(description="Its trace.")
    span_id: str = column(description="Its span.")
    parent_span_id: str | None = column(description="The span from which it was triggered.")
    environment: Annotated["Environment", strawberry.lazy("schema.environment")] | None = edge(
        environments.by_id, "environment_id", always=True, description="Where it runs."
    )
    project: Annotated["Project", strawberry.lazy("schema.environment")] | None = edge(
        environments.project_by_id, "project_id", always=True, description="The project of its task."
    )
    batch: Annotated["Batch", strawberry.lazy("schema.batch")] | None = edge(
        batches.by_reference, "batch_id", description="The batch that triggered it, if one did."
    )
    parent_run: Annotated["Run", strawberry.lazy("schema.run")] | None = edge(
        runs.by_reference, "parent_task_run_id", description="The run that triggered it, if one did."
    )
    root_run: Annotated["Run", strawberry.lazy("schema.run")] | None = edge(
        runs.by_reference, "root_task_run_id", description="The run at the top of its tree; null for a root."
    )
    child_runs: Annotated["RunConnection", strawberry.lazy("schema.run")] | None = forward_listing(
        runs.children, description="The runs that it triggered, newest first."
    )
    replayed_from_run: Annotated["Run", strawberry.lazy("schema.run")] | None = edge(
        runs.by_reference, "replayed_from_friendly_id", description="The run of which it is a replay."
    )
    waitpoints: Annotated["WaitpointConnection", strawberry.lazy("schema.waitpoint")] | None = forward_listing(
        waits.of_run, description="The waitpoints that it ever waited for, in the order in which they were made."
    )
    blocked_by: list[BlockedBy] | None = edge(
        waits.blocking, "id", always=True, description="What it waits for now, at most 1,000."
    )


@strawberry.type(description="How a run ended.")
class RunResult:
    """The type of that name; its record is the run's."""

    ok: bool = column("is_success", description="Whether it ended with success.")
    run: Run = column("itself", description="The run.")
    output: Payload | None = edge(details.parts, "id", part="output", description="What it returned.")
    error: RunError | None = edge(details.parts, "id", part="failure", description="Why it did not end with success.")


@strawberry.type(description="How full a run's queue and environment are.")
class DebugInfo:
    """The type of that name; its record is the run's."""

    engine: str = column(description="Generation of the engine that runs it: `V1` (retired) or `V2`.")
    queue_concurrency_limit: int | None = edge(
        details.queue_limits,
        "queue.address",
        attribute="concurrency_limit",
        description="How many runs of its queue may execute at once; null if nothing but the environment limits it.",
    )
    env_concurrency_limit: int | None = edge(
        environments.by_id,
        "environment_id",
        attribute="maximum_concurrency_limit",
        description="How many runs of its environment may execute at once.",
    )
    queue_current_concurrency: int | None = edge(
        runs.executing,
        "queue.address",
        needs=("runs", "tasks"),
        description="How many of its queue execute now, on all shards, up to 10,000.",
    )
    env_current_concurrency: int | None = edge(
        runs.executing,
        "everywhere",
        needs=("runs", "tasks"),
        description="How many of its environment execute now, on all shards, up to 10,000.",
    )


@strawberry.type(description="A run in a list.")
class RunEdge:
    """The type of that name; its record is `store.pages.Edge`."""

    cursor: str = column(description="Where this run stands in the list.")
    node: Run = column(description="The run.")


@strawberry.type(description="A page of runs, over all shards.")
class RunConnection:
    """The type of that name; its record is `store.pages.Page`."""

    edges: list[RunEdge] = column(description="The runs with their cursors.")
    nodes: list[Run] = column(description="The runs.")
    page_info: PageInfo = column(description="Where the page begins and ends.")
    total_count: BoundedCount | None = edge(
        runs.counts, "counted", description="How many runs the whole list has, up to 10,000; null if it can't be told."
    )
    degraded_shards: list[ShardDegradation] = column(
        description="Shards whose rows are missing, because they did not answer."
    )
