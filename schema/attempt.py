"""Attempt and snapshot: how a run was executed."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from resolvers import details, waitpoints
from schema.declare import column, edge, type_of
from schema.node import Node
from schema.payload import Payload, RunError
from schema.scalars import DateTime
from schema.status import RawRunStatus
from store.records import AttemptRecord, SnapshotRecord

if TYPE_CHECKING:
    from schema.waitpoint import Waitpoint


@strawberry.enum(description="State of an attempt.")
class AttemptStatus(Enum):
    """The enum of that name."""

    PENDING = strawberry.enum_value("PENDING", description="Not begun.")
    EXECUTING = strawberry.enum_value("EXECUTING", description="Runs.")
    PAUSED = strawberry.enum_value("PAUSED", description="Stopped for the time being.")
    FAILED = strawberry.enum_value("FAILED", description="Ended with an error.")
    CANCELED = strawberry.enum_value("CANCELED", description="Ended by somebody's wish.")
    COMPLETED = strawberry.enum_value("COMPLETED", description="Ended with success.")
    UNKNOWN = strawberry.enum_value("UNKNOWN", description="One that the platform has and this release does not know.")


@strawberry.enum(description="State of a run's execution.")
class ExecutionStatus(Enum):
    """The enum of that name."""

    RUN_CREATED = strawberry.enum_value("RUN_CREATED", description="The run was created.")
    DELAYED = strawberry.enum_value("DELAYED", description="It will be queued later.")
    QUEUED = strawberry.enum_value("QUEUED", description="It waits for its turn.")
    QUEUED_EXECUTING = strawberry.enum_value("QUEUED_EXECUTING", description="It waits for a place to go on in.")
    PENDING_EXECUTING = strawberry.enum_value("PENDING_EXECUTING", description="A machine is about to begin.")
    EXECUTING = strawberry.enum_value("EXECUTING", description="A machine executes it.")
    EXECUTING_WITH_WAITPOINTS = strawberry.enum_value(
        "EXECUTING_WITH_WAITPOINTS", description="A machine executes it while it waits."
    )
    SUSPENDED = strawberry.enum_value("SUSPENDED", description="It waits and holds no machine.")
    PENDING_CANCEL = strawberry.enum_value("PENDING_CANCEL", description="It is about to be canceled.")
    FINISHED = strawberry.enum_value("FINISHED", description="It ended.")
    UNKNOWN = strawberry.enum_value("UNKNOWN", description="One that the platform has and this release does not know.")


@type_of(AttemptRecord, description="One attempt to execute a run of the retired engine.")
class Attempt(Node):
    """The type of that name."""

    number: int = column(description="Which attempt it is, from 1.")
    status: AttemptStatus = column(description="State of the attempt.")
    started_at: DateTime | None = column(description="When it began.")
    completed_at: DateTime | None = column(description="When it ended.")
    usage_duration_ms: int = column(description="How long it computed, in milliseconds.")
    error: RunError | None = edge(details.attempt_parts, "address", part="error", description="Why it failed.")
    output: Payload | None = edge(details.attempt_parts, "address", part="output", description="What it returned.")


@type_of(SnapshotRecord, description="One step of a run's execution.")
class ExecutionSnapshot:
    """The type of that name."""

    id: strawberry.ID = column("friendly_id", description="Its id, `snapshot_...`.")
    execution_status: ExecutionStatus = column(description="State of the execution after this step.")
    run_status: RawRunStatus = column(description="State of the run after this step, as it is stored.")
    description: str = column(description="What happened.")
    is_valid: bool = column(description="Whether the step counts.")
    error: str | None = column(description="Why it does not count.")
    attempt_number: int | None = column(description="Which attempt it belongs to.")
    created_at: DateTime = column(description="When it happened.")
    last_heartbeat_at: DateTime | None = column(description="When the machine last gave a sign.")
    completed_waitpoints: list[Annotated["Waitpoint", strawberry.lazy("schema.waitpoint")]] | None = edge(
        waitpoints.completing,
        "completion",
        always=True,
        description="The waitpoints whose end brought the run to this step, from all shards.",
    )
