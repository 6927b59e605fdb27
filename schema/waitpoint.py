"""Waitpoint: the type, its kinds and statuses, its connection."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from resolvers import batches, callbacks, environments, runs, waitpoints
from schema.declare import column, edge, top_listing, type_of
from schema.node import Node, PageInfo
from schema.payload import Payload
from schema.scalars import DateTime
from schema.shard import ShardDegradation
from store.records import WaitpointRecord

if TYPE_CHECKING:
    from schema.batch import Batch
    from schema.environment import Environment
    from schema.run import Run, RunConnection


@strawberry.enum(description="What completes a waitpoint.")
class WaitpointType(Enum):
    """The enum of that name."""

    RUN = strawberry.enum_value("RUN", description="A run that ends.")
    DATETIME = strawberry.enum_value("DATETIME", description="A time that comes.")
    MANUAL = strawberry.enum_value("MANUAL", description="Somebody who has its token.")
    BATCH = strawberry.enum_value("BATCH", description="A batch that ends.")
    UNKNOWN = strawberry.enum_value("UNKNOWN", description="One that the platform has and this release does not know.")


@strawberry.enum(description="State of a waitpoint.")
class WaitpointStatus(Enum):
    """The enum of that name."""

    WAITING = strawberry.enum_value("WAITING", description="Not complete.")
    COMPLETED = strawberry.enum_value("COMPLETED", description="Complete.")
    TIMED_OUT = strawberry.enum_value("TIMED_OUT", description="Complete with an error: nobody came in time.")
    UNKNOWN = strawberry.enum_value("UNKNOWN", description="One that the platform has and this release does not know.")


@type_of(WaitpointRecord, description="Something that runs wait for.")
class Waitpoint(Node):
    """The type of that name."""

    friendly_id: str = column(description="The same as `id`, under the platform's name.")
    type: WaitpointType = column(description="What completes it.")
    status: WaitpointStatus = column(description="State of the waitpoint.")
    callback_url: str | None = edge(
        callbacks.urls,
        "token",
        secret=True,
        writes="waitpoints",
        description="Where a POST completes it, with no other credential; null if it is no token.",
    )
    idempotency_key: str | None = column(description="The key under which the caller created it.")
    idempotency_key_expires_at: DateTime | None = column(description="Until when that key finds it.")
    user_provided_idempotency_key: bool = column(description="Whether the caller gave a key.")
    timeout_at: DateTime | None = column(description="When it completes by itself: a due date, or a time-out.")
    completed_at: DateTime | None = column(description="When it completed.")
    created_at: DateTime = column(description="When it was created.")
    tags: list[str] = column(description="Its tags, sorted.")
    output: Payload | None = edge(waitpoints.outputs, "id", description="What it completed with.")
    output_is_error: bool = column(description="Whether it completed with an error.")
    environment: Annotated["Environment", strawberry.lazy("schema.environment")] | None = edge(
        environments.by_id, "environment_id", always=True, description="Where it belongs."
    )
    completed_by_run: Annotated["Run", strawberry.lazy("schema.run")] | None = edge(
        runs.by_reference, "completed_by_run_id", description="The run whose end completes it."
    )
    completed_by_batch: Annotated["Batch", strawberry.lazy("schema.batch")] | None = edge(
        batches.by_reference, "completed_by_batch_id", description="The batch whose end completes it."
    )
    connected_runs: Annotated["RunConnection", strawberry.lazy("schema.run")] | None = top_listing(
        runs.connected_to, description="Runs that ever waited for it, newest first, from all shards; 5 unless told."
    )
    blocked_runs: Annotated["RunConnection", strawberry.lazy("schema.run")] | None = top_listing(
        runs.blocked_by, description="Runs that wait for it now, newest first, from all shards; 5 unless told."
    )


@strawberry.type(description="A waitpoint in a list.")
class WaitpointEdge:
    """The type of that name; its record is `store.pages.Edge`."""

    cursor: str = column(description="Where this waitpoint stands in the list.")
    node: Waitpoint = column(description="The waitpoint.")


@strawberry.type(description="A page of waitpoints, over all shards.")
class WaitpointConnection:
    """The type of that name; its record is `store.pages.Page`."""

    edges: list[WaitpointEdge] = column(description="The waitpoints with their cursors.")
    nodes: list[Waitpoint] = column(description="The waitpoints.")
    page_info: PageInfo = column(description="Where the page begins and ends.")
    degraded_shards: list[ShardDegradation] = column(
        description="Shards whose rows are missing, because they did not answer."
    )
