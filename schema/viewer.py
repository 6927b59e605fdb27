"""Viewer: a person who uses the platform."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from resolvers import environments
from schema.declare import column, edge, type_of
from store.records import UserRecord

if TYPE_CHECKING:
    from schema.environment import Organization


@type_of(UserRecord, description="A person who uses the platform.")
class Viewer:
    """The type of that name."""

    id: strawberry.ID = column("friendly_id", description="Its id, `user_...`.")
    email: str = column(description="The address under which they log in.")
    name: str | None = column(description="The name that came with the account.")
    display_name: str | None = column(description="The name to show.")
    organizations: list[Annotated["Organization", strawberry.lazy("schema.environment")]] | None = edge(
        environments.of_user,
        "id",
        always=True,
        description="Their organizations, as far as they are yours too, by title; at most 500.",
    )
