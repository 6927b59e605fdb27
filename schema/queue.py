"""Queue: where runs stand before they execute."""

import strawberry

from resolvers import details
from schema.declare import column, edge


@strawberry.type(description="Where runs stand before they execute.")
class Queue:
    """The type of that name; its record is `store.records.QueueRecord`."""

    name: str = column(description="Its name; a task's own queue is `task/<task>`.")
    display_name: str = column(description="Its name for people.")
    is_custom: bool = column(description="Whether it was declared, rather than being a task's own.")
    concurrency_key: str | None = column(description="The part of the queue in which the run stands.")
    concurrency_limit: int | None = edge(
        details.queue_limits, "address", attribute="concurrency_limit", description="How many may execute at once."
    )
    paused: bool | None = edge(
        details.queue_limits, "address", attribute="paused", description="Whether it holds its runs back."
    )
