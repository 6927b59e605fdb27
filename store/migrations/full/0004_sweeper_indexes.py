"""The indexes that self-repair reads by."""  # noqa: N999 - revisions are numbered

from sqlalchemy import Connection

from store.migrations.sql import execute

revision = "full_0004"
down_revision = "full_0003"


def upgrade(connection: Connection) -> None:
    """Create them."""
    execute(connection, "shared/0004_sweeper_indexes.sql")
    execute(connection, "full/0004_bulk_action_indexes.sql")
