"""The indexes that the lists of runatlas need; the platform answers those elsewhere."""  # noqa: N999 - revisions are numbered

from sqlalchemy import Connection

from store.migrations.sql import execute

revision = "dedicated_0002"
down_revision = "dedicated_0001"


def upgrade(connection: Connection) -> None:
    """Create them."""
    execute(connection, "shared/0002_run_store_indexes.sql")
