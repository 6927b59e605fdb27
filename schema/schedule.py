"""Schedule: what triggers runs at times."""

import strawberry

from schema.declare import column, type_of
from store.records import ScheduleRecord


@type_of(ScheduleRecord, description="What triggers runs at times.")
class Schedule:
    """The type of that name."""

    id: strawberry.ID = column("friendly_id", description="Its id, `sched_...`.")
    external_id: str | None = column(description="The id that its creator gave it.")
    deduplication_key: str | None = column("own_deduplication_key", description="The key that its creator gave it.")
    cron: str = column(description="When, as a cron expression.")
    description: str = column(description="When, in words.")
    timezone: str = column(description="The time zone of that.")
