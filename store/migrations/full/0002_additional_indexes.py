"""The indexes that the lists of runatlas need; the platform answers those elsewhere."""  # noqa: N999 - revisions are numbered

from sqlalchemy import Connection

from store.migrations.sql import execute

revision = "full_0002"
down_revision = "full_0001"


def upgrade(connection: Connection) -> None:
    """Create those of a run store, which are every run store's, and those of the control plane."""
    execute(connection, "shared/0002_run_store_indexes.sql")
    execute(connection, "full/0002_control_plane_indexes.sql")
