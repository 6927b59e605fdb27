"""Run: the type, its statuses, its connection."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from resolvers import batches, environments, runs
from resolvers import waitpoints as waits
from schema.declare import column, edge, forward_listing, type_of
from schema.node import Node, PageInfo
from schema.scalars import DateTime
from schema.shard import ShardDegradation
from store.errors import DanglingReferenceError
from store.records import BlockRecord, RunRecord

if TYPE_CHECKING:
    from schema.batch import Batch
    from schema.environment import Environment, Project
    from schema.waitpoint import Waitpoint, WaitpointConnection


@strawberry.enum(description="State of a run, as clients see it.")
class RunStatus(Enum):
    """The enum of that name."""

    PENDING_VERSION = strawberry.enum_value("PENDING_VERSION", description="Waits for a version that can run it.")
    QUEUED = strawberry.enum_value("QUEUED", description="Waits for its turn.")
    DEQUEUED = strawberry.enum_value("DEQUEUED", description="Taken from the queue; its machine is starting.")
    EXECUTING = strawberry.enum_value("EXECUTING", description="Runs, or is about to run again after a failure.")
    WAITING = strawberry.enum_value("WAITING", description="Waits for a waitpoint and holds no machine.")
    COMPLETED = strawberry.enum_value("COMPLETED", description="Ended with success.")
    CANCELED = strawberry.enum_value("CANCELED", description="Ended by somebody's wish.")
    FAILED = strawberry.enum_value("FAILED", description="Ended with an error.")
    CRASHED = strawberry.enum_value("CRASHED", description="Ended because its process died.")
    SYSTEM_FAILURE = strawberry.enum_value("SYSTEM_FAILURE", description="Ended by a fault of the platform.")
    DELAYED = strawberry.enum_value("DELAYED", description="Will be queued at a later time.")
    EXPIRED = strawberry.enum_value("EXPIRED", description="Ended unstarted: it was not taken in its time to live.")
    TIMED_OUT = strawberry.enum_value("TIMED_OUT", description="Ended because it took longer than it may.")
    UNKNOWN = strawberry.enum_value("UNKNOWN", description="One that the platform has and this release does not know.")


@strawberry.enum(description="State of a run, as it is stored.")
class RawRunStatus(Enum):
    """The enum of that name."""

    DELAYED = strawberry.enum_value("DELAYED", description="Will be queued at a later time.")
    PENDING = strawberry.enum_value("PENDING", description="Waits for its turn.")
    PENDING_VERSION = strawberry.enum_value("PENDING_VERSION", description="Waits for a version that can run it.")
    WAITING_FOR_DEPLOY = strawberry.enum_value(
        "WAITING_FOR_DEPLOY", description="Waits for a deployment; no longer written."
    )
    DEQUEUED = strawberry.enum_value("DEQUEUED", description="Taken from the queue; its machine is starting.")
    EXECUTING = strawberry.enum_value("EXECUTING", description="Runs.")
    WAITING_TO_RESUME = strawberry.enum_value("WAITING_TO_RESUME", description="Waits and holds no machine.")
    RETRYING_AFTER_FAILURE = strawberry.enum_value("RETRYING_AFTER_FAILURE", description="Will run again.")
    PAUSED = strawberry.enum_value("PAUSED", description="Stopped for the time being.")
    CANCELED = strawberry.enum_value("CANCELED", description="Ended by somebody's wish.")
    INTERRUPTED = strawberry.enum_value("INTERRUPTED", description="Ended because its machine went away.")
    COMPLETED_SUCCESSFULLY = strawberry.enum_value("COMPLETED_SUCCESSFULLY", description="Ended with success.")
    COMPLETED_WITH_ERRORS = strawberry.enum_value("COMPLETED_WITH_ERRORS", description="Ended with an error.")
    SYSTEM_FAILURE = strawberry.enum_value("SYSTEM_FAILURE", description="Ended by a fault of the platform.")
    CRASHED = strawberry.enum_value("CRASHED", description="Ended because its process died.")
    EXPIRED = strawberry.enum_value("EXPIRED", description="Ended unstarted, past its time to live.")
    TIMED_OUT = strawberry.enum_value("TIMED_OUT", description="Ended because it took longer than it may.")
    UNKNOWN = strawberry.enum_value("UNKNOWN", description="One that the platform has and this release does not know.")


@strawberry.enum(description="How a run was triggered.")
class TriggerFunction(Enum):
    """The enum of that name."""

    TRIGGER = strawberry.enum_value("TRIGGER", description="Alone.")
    TRIGGER_AND_WAIT = strawberry.enum_value("TRIGGER_AND_WAIT", description="Alone, and its parent waits for it.")
    BATCH_TRIGGER = strawberry.enum_value("BATCH_TRIGGER", description="In a batch.")
    BATCH_TRIGGER_AND_WAIT = strawberry.enum_value(
        "BATCH_TRIGGER_AND_WAIT", description="In a batch, and its parent waits for it."
    )


@type_of(BlockRecord, description="A waitpoint that a run waits for now.")
class BlockedBy:
    """The type of that name."""

    waitpoint: Annotated["Waitpoint", strawberry.lazy("schema.waitpoint")] | None = edge(
        waits.by_reference,
        "waitpoint_id",
        always=True,
        missing=lambda id_: DanglingReferenceError(f"waitpoint_{id_}"),
        description="What it waits for, from whichever shard has it; an error if none has, for then it waits for ever.",
    )
    batch_index: int | None = column(description="Which item of a batch it waits for, if it waits for a batch.")
    created_at: DateTime = column(description="When it began to wait.")


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
    is_cancellable: bool = column(description="Whether it can still be canceled.")
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
    degraded_shards: list[ShardDegradation] = column(
        description="Shards whose rows are missing, because they did not answer."
    )
