"""Scalars of the contract."""

import re
from datetime import UTC, datetime
from typing import NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

DateTime = NewType("DateTime", datetime)
RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def serialize_datetime(value: datetime) -> str:
    """Return a naive UTC time as RFC 3339 with milliseconds: ``2026-08-21T00:00:00.000Z``."""
    return f"{value.isoformat(timespec='milliseconds')}Z"


def parse_datetime(value: object) -> datetime:
    """Return an RFC 3339 time as naive UTC, or raise GraphQLError."""
    try:
        if isinstance(value, str) and RFC_3339.fullmatch(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        pass  # a day that no calendar has, or a time before the year 1
    raise GraphQLError("a time is written 2026-08-21T00:00:00.000Z")


SCALARS: dict[object, ScalarDefinition] = {
    DateTime: strawberry.scalar(
        name="DateTime",
        description="RFC 3339, UTC, milliseconds.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time.html",
        serialize=serialize_datetime,
        parse_value=parse_datetime,
    )
}
