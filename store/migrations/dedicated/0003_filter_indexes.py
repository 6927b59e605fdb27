"""The indexes of filters that had none."""  # noqa: N999 - revisions are numbered

from sqlalchemy import Connection

from store.migrations.sql import execute

revision = "dedicated_0003"
down_revision = "dedicated_0002"


def upgrade(connection: Connection) -> None:
    """Create them."""
    execute(connection, "shared/0003_filter_indexes.sql")
