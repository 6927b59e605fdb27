"""Batch: the type and its statuses."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from resolvers import batches, environments, runs
from schema.declare import column, edge, forward_listing, type_of
from schema.node import Node, PageInfo
from schema.scalars import DateTime
from schema.shard import ShardDegradation
from schema.status import RunStatus
from store.records import BatchRecord

if TYPE_CHECKING:
    from schema.environment import Environment
    from schema.run import RunConnection


@strawberry.enum(description="State of a batch.")
class BatchStatus(Enum):
    """The enum of that name."""

    PENDING = strawberry.enum_value("PENDING", description="Its runs exist and are not all final.")
    PROCESSING = strawberry.enum_value("PROCESSING", description="Its items are becoming runs.")
    COMPLETED = strawberry.enum_value("COMPLETED", description="All its runs are final.")
    PARTIAL_FAILED = strawberry.enum_value("PARTIAL_FAILED", description="Some of its items became no runs.")
    ABORTED = strawberry.enum_value("ABORTED", description="None of its items became a run.")
    UNKNOWN = strawberry.enum_value("UNKNOWN", description="One that the platform has and this release does not know.")


@strawberry.type(description="Why an item of a batch became no run.")
class BatchError:
    """The type of that name; its record is `store.records.BatchErrorRecord`."""

    index: int = column("item_index", description="Which item of the batch, from 0.")
    task_identifier: str = column(description="Which task it was for.")
    error: str = column(description="Why.")
    error_code: str | None = column(description="The platform's code for that.")
    created_at: DateTime = column(description="When.")


@strawberry.type(description="How many runs are in a state.")
class StatusCount:
    """The type of that name; its record is `store.records.StatusCount`."""

    status: RunStatus = column(description="The state.")
    count: int = column("runs", description="How many.")


@type_of(BatchRecord, description="Runs that were triggered together.")
class Batch(Node):
    """The type of that name."""

    friendly_id: str = column(description="The same as `id`, under the platform's name.")
    status: BatchStatus = column(description="State of the batch.")
    batch_version: str = column(description="How it was created: `v1`, `v2`, `v3`, `runengine:v1` or `runengine:v2`.")
    run_count: int = column(description="How many runs it has, or will have.")
    run_ids: list[strawberry.ID] | None = edge(
        batches.listed_runs, "id", always=True, description="The runs that it lists, in its order."
    )
    successful_run_count: int | None = column(description="How many items became runs; null before it is known.")
    failed_run_count: int | None = column(description="How many items did not; null before it is known.")
    created_at: DateTime = column(description="When it was created.")
    updated_at: DateTime = column(description="When its row last changed.")
    processing_started_at: DateTime | None = column(description="When its items began to become runs.")
    processing_completed_at: DateTime | None = column(description="When the last item was dealt with.")
    completed_at: DateTime | None = column(description="When it completed, if it says so.")
    finished_at: DateTime | None = column(description="When it completed, or else last changed; null before.")
    has_finished: bool = column(description="Whether it is neither pending nor processing.")
    idempotency_key: str | None = column(description="The key under which it was created.")
    sealed: bool = column(description="Whether it takes no more items.")
    expected_count: int = column(description="How many items it expects.")
    completed_count: int = column(description="How many of its items are complete.")
    environment: Annotated["Environment", strawberry.lazy("schema.environment")] | None = edge(
        environments.by_id, "environment_id", always=True, description="Where its runs run."
    )
    runs: Annotated["RunConnection", strawberry.lazy("schema.run")] | None = forward_listing(
        runs.of_batch, description="Its runs, newest first: its own, and those of other batches that it lists."
    )
    errors: list[BatchError] | None = edge(
        batches.errors, "id", always=True, description="Why items became no runs, in the order of the items."
    )
    status_counts: list[StatusCount] | None = edge(
        batches.status_counts, "itself", always=True, description="How many of its own runs are in each state."
    )


@strawberry.type(description="A batch in a list.")
class BatchEdge:
    """The type of that name; its record is `store.pages.Edge`."""

    cursor: str = column(description="Where this batch stands in the list.")
    node: Batch = column(description="The batch.")


@strawberry.type(description="A page of batches, over all shards.")
class BatchConnection:
    """The type of that name; its record is `store.pages.Page`."""

    edges: list[BatchEdge] = column(description="The batches with their cursors.")
    nodes: list[Batch] = column(description="The batches.")
    page_info: PageInfo = column(description="Where the page begins and ends.")
    degraded_shards: list[ShardDegradation] = column(
        description="Shards whose rows are missing, because they did not answer."
    )
