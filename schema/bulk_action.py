"""Bulk action: one action on many runs."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry
from strawberry.scalars import JSON

from resolvers import environments, runs
from schema.declare import column, edge, forward_listing, type_of
from schema.node import Node, PageInfo
from schema.scalars import DateTime
from schema.viewer import Viewer
from store.records import BulkActionRecord

if TYPE_CHECKING:
    from schema.environment import Environment
    from schema.run import RunConnection


@strawberry.enum(description="What a bulk action does to its runs.")
class BulkActionType(Enum):
    """The enum of that name."""

    CANCEL = strawberry.enum_value("CANCEL", description="It cancels them.")
    REPLAY = strawberry.enum_value("REPLAY", description="It replays them.")
    UNKNOWN = strawberry.enum_value("UNKNOWN", description="One that the platform has and this release does not know.")


@strawberry.enum(description="State of a bulk action.")
class BulkActionStatus(Enum):
    """The enum of that name."""

    PENDING = strawberry.enum_value("PENDING", description="At work.")
    COMPLETED = strawberry.enum_value("COMPLETED", description="Done.")
    ABORTED = strawberry.enum_value("ABORTED", description="Stopped by somebody.")
    UNKNOWN = strawberry.enum_value("UNKNOWN", description="One that the platform has and this release does not know.")


@type_of(BulkActionRecord, description="One action on many runs.")
class BulkAction(Node):
    """The type of that name."""

    name: str | None = column(description="The name that its creator gave it.")
    type: BulkActionType = column(description="What it does.")
    status: BulkActionStatus = column(description="State of the action.")
    total_count: int = column(description="How many runs it concerns.")
    success_count: int = column(description="For how many it worked.")
    failure_count: int = column(description="For how many it did not.")
    created_at: DateTime = column(description="When it was created.")
    completed_at: DateTime | None = column(description="When it was done.")
    user: Viewer | None = edge(
        environments.user_by_id, "user_id", secret=True, description="Who created it, if a person did."
    )
    filter: JSON | None = column("params", description="Which runs it concerns, as the platform keeps it.")
    environment: Annotated["Environment", strawberry.lazy("schema.environment")] | None = edge(
        environments.by_id, "environment_id", description="Where its runs are."
    )
    runs: Annotated["RunConnection", strawberry.lazy("schema.run")] | None = forward_listing(
        runs.touched_by, description="The runs that it touched, newest first, from all shards."
    )


@strawberry.type(description="A bulk action in a list.")
class BulkActionEdge:
    """The type of that name; its record is `store.pages.Edge`."""

    cursor: str = column(description="Where this bulk action stands in the list.")
    node: BulkAction = column(description="The bulk action.")


@strawberry.type(description="A page of bulk actions.")
class BulkActionConnection:
    """The type of that name; its record is `store.pages.Page`."""

    edges: list[BulkActionEdge] = column(description="The bulk actions with their cursors.")
    nodes: list[BulkAction] = column(description="The bulk actions.")
    page_info: PageInfo = column(description="Where the page begins and ends.")
