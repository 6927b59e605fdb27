"""What all objects share: an id, and how pages of them look."""

import strawberry

from schema.declare import column


@strawberry.interface(description="Anything that `node(id:)` finds.")
class Node:
    """The interface of that name."""

    id: strawberry.ID = column(
        "friendly_id",
        description="The friendly id where there is one (`run_...`, `batch_...`, `waitpoint_...`), "
        "else a prefix and the key (`env_...`, `project_...`, `org_...`).",
    )


@strawberry.type(description="Where a page begins and ends, and what lies beyond it.")
class PageInfo:
    """The type of that name; its record is the page."""

    has_next_page: bool = column(description="Whether rows follow, or a shard that did not answer may have some.")
    has_previous_page: bool = column(description="Whether rows precede.")
    start_cursor: str | None = column(description="Where the page before this one ends; null if it can't be told.")
    end_cursor: str | None = column(description="Where the next page begins; null if nothing is known of it.")


@strawberry.type(description="A count that stops at a limit of the server.")
class BoundedCount:
    """The type of that name; its record is `store.records.CountRecord`."""

    value: int = column(description="How many there are, or the limit.")
    exact: bool = column(description="False past the limit, or when a shard did not answer.")
