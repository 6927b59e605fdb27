"""The platform's own tables, with their types, keys and indexes."""  # noqa: N999 - revisions are numbered

from sqlalchemy import Connection

from store.migrations.sql import execute

revision = "full_0001"
down_revision = None


def upgrade(connection: Connection) -> None:
    """Create them in an empty database."""
    execute(connection, "full/0001_platform_tables.sql")
