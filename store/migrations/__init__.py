"""The databases that runatlas makes for itself: the platform's own tables, and the indexes that its lists need.

Two chains of revisions, one a variant. A revision is frozen SQL in ``full/``, ``dedicated/`` or ``shared/``, beside a
Python file whose `upgrade` takes the connection as an argument: alembic's ``op`` and ``context`` are one per process,
and two databases are migrated at a time. There is no way back: it would drop rows.
"""

from functools import cache
from pathlib import Path
from typing import Literal, get_args

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from store.errors import ConfigurationError

Variant = Literal["full", "dedicated"]

VERSION_TABLE = "runatlas_migrations"
"""Where a database says how far it has come. That it is there also says that the database is ours."""

PLATFORM_TABLES = ('"TaskRun"', '"RuntimeEnvironment"', "_prisma_migrations")
"""Tables that a live deployment has, in one database or another; the last one is its own record of migrations."""

LOCK = int.from_bytes(b"runatlas")
"""Advisory lock that a process holds while it migrates; Postgres keeps one of that name in each database."""


class ForeignDatabaseError(ConfigurationError):
    """The database holds the platform's tables, and runatlas did not make them. Nothing was altered."""

    def __init__(self, database: str) -> None:
        super().__init__(
            f"the database {database!r} holds the platform's tables, and runatlas did not make them",
            "it belongs to a live deployment: runatlas reads it as it is, and migrates only databases of its own",
        )


class UnknownRevisionError(ConfigurationError):
    """The database is at a revision that is not in the chain. Nothing was altered."""

    def __init__(self, database: str, revision: str, variant: Variant) -> None:
        other = next((name for name in get_args(Variant) if name != variant and revision.startswith(name)), None)
        super().__init__(
            f"the database {database!r} is at revision {revision!r}, which "
            + (f"is of the {other} schema, not of the {variant} one" if other else "this runatlas does not know"),
            "look for a database that two settings name, or for two URLs that are swapped"
            if other
            else "a newer runatlas migrated it: start that one, or name another database",
        )


async def migrate(engine: AsyncEngine, variant: Variant) -> list[str]:
    """Bring a database to the newest revision, and return the revisions applied, oldest first; none if it was there.

    All or nothing, in one transaction. Of two processes at once, the second waits, and then finds nothing to do. Raises
    `ForeignDatabaseError` or `UnknownRevisionError`.
    """
    async with engine.begin() as connection:
        return await connection.run_sync(_migrate, variant)


async def current(engine: AsyncEngine, variant: Variant) -> str | None:
    """Return the revision that a database is at, or None: it is empty, or not ours. Raises `UnknownRevisionError`."""
    async with engine.connect() as connection:
        return await connection.run_sync(_current, variant)


def head(variant: Variant) -> str:
    """Return the newest revision of a variant."""
    return next(_chain(variant).walk_revisions()).revision


async def made_by_us(connection: AsyncConnection) -> bool:
    """Tell whether runatlas made this database's tables, and so may write to them."""
    return await connection.scalar(select(func.to_regclass(VERSION_TABLE).is_not(None))) is True


def _migrate(connection: Connection, variant: Variant) -> list[str]:
    connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
    before = _current(connection, variant)
    if before is None and _is_foreign(connection):
        raise ForeignDatabaseError(_name(connection))
    steps = [*_chain(variant).iterate_revisions("head", before or "base")][::-1]
    for step in steps:
        step.module.upgrade(connection)
    if steps:
        _context(connection).stamp(_chain(variant), steps[-1].revision)
    return [step.revision for step in steps]


def _current(connection: Connection, variant: Variant) -> str | None:
    revision = _context(connection).get_current_revision()
    if revision is not None and revision not in {step.revision for step in _chain(variant).walk_revisions()}:
        raise UnknownRevisionError(_name(connection), revision, variant)
    return revision


def _is_foreign(connection: Connection) -> bool:
    found = connection.execute(select(*(func.to_regclass(name).is_not(None) for name in PLATFORM_TABLES))).one()
    return any(found)


def _name(connection: Connection) -> str:
    return str(connection.scalar(select(func.current_database())))


def _context(connection: Connection) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})


@cache
def _chain(variant: Variant) -> ScriptDirectory:
    here = Path(__file__).parent
    return ScriptDirectory(here, version_locations=[here / variant])
