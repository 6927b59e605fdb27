"""Shards, as far as clients see them: which databases there are, and whose rows a page lacks."""

from enum import Enum

import strawberry

from schema.declare import column
from schema.scalars import DateTime


@strawberry.enum(description="Why a shard's rows are missing.")
class ShardDegradationCode(Enum):
    """The enum of that name."""

    UNAVAILABLE = strawberry.enum_value("UNAVAILABLE", description="It could not be reached.")
    TIMEOUT = strawberry.enum_value("TIMEOUT", description="It did not answer in time.")


@strawberry.type(description="A shard whose rows are missing from this page.")
class ShardDegradation:
    """The type of that name; its record is `store.pages.Degradation`."""

    shard: str = column(description="The shard's key.")
    code: ShardDegradationCode = column(description="Why.")
    retryable: bool = column(description="Whether asking again may help.")


@strawberry.type(description="One database behind this API, as this process sees it.")
class Shard:
    """The type of that name; its record is `resolvers.shards.ShardHealth`."""

    key: str = column(description="`legacy`, `new`, or the one character that second-generation ids carry.")
    healthy: bool = column(description="Whether it answered the last time it was asked.")
    checked_at: DateTime | None = column(description="When that was; null if it was not asked yet.")
