"""Scalars of the contract."""

from datetime import UTC, datetime
from typing import NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

DateTime = NewType("DateTime", datetime)


def serialize_datetime(value: datetime) -> str:
    """Return a naive UTC time as RFC 3339 with milliseconds: ``2026-08-21T00:00:00.000Z``."""
    return f"{value.isoformat(timespec='milliseconds')}Z"


def parse_datetime(value: object) -> datetime:
    """Return an RFC 3339 time as naive UTC, or raise ValueError."""
    time = datetime.fromisoformat(value) if isinstance(value, str) else None
    if time is None or time.tzinfo is None:
        raise ValueError("a time is written 2026-08-21T00:00:00.000Z")
    return time.astimezone(UTC).replace(tzinfo=None)


SCALARS: dict[object, ScalarDefinition] = {
    DateTime: strawberry.scalar(
        name="DateTime",
        description="RFC 3339, UTC, milliseconds.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time.html",
        serialize=serialize_datetime,
        parse_value=parse_datetime,
    )
}
