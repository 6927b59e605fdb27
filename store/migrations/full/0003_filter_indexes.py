"""The indexes of filters that had none."""  # noqa: N999 - revisions are numbered

from sqlalchemy import Connection

from store.migrations.sql import execute

revision = "full_0003"
down_revision = "full_0002"


def upgrade(connection: Connection) -> None:
    """Create them."""
    execute(connection, "shared/0003_filter_indexes.sql")
