"""Fills the tables of an empty shard in one transaction: without most of its indexes, which are made at the end.

An index that is made of all rows at once takes a fraction of the time that it takes to grow row by row. The unique ones
stay, and so do foreign keys: what the demo gets wrong, the database refuses.
"""

from collections.abc import Callable, Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from store.demo.block import LINKS, Chunk, Links
from store.demo.copying import Lines, driver_of, write
from store.errors import ConfigurationError
from store.migrations import made_by_us


async def refuse_occupied(connection: AsyncConnection, table: str) -> None:
    """Raise `ConfigurationError` unless runatlas made this database, and the table is empty."""
    name = await connection.scalar(text("SELECT current_database()"))
    if not await made_by_us(connection):
        raise ConfigurationError(
            f"the database {name!r} was not made by runatlas", "make an empty one, and run `runatlas migrate` on it"
        )
    if await connection.scalar(text(f'SELECT EXISTS (SELECT FROM "{table}")')):  # noqa: S608  a name of ours
        raise ConfigurationError(
            f'the database {name!r} is not empty: there are rows in "{table}"',
            "plant the demo in new databases: set RUNATLAS_HOME to another directory, or name others",
        )


async def links_of(connection: AsyncConnection) -> Links:
    """Return the tables of pairs that this database has."""
    for links in LINKS.values():
        name = f'"{links.connections.table}"'
        if await connection.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name}):
            return links
    raise ConfigurationError("a shard has no table of connections", "run `runatlas migrate` on it")


async def fill_shard(
    connection: AsyncConnection, links: Links, chunks: Iterable[Chunk], progress: Callable[[int], None]
) -> None:
    """Write chunks as they are made, and then the statistics that a database makes for itself only later."""
    driver = await driver_of(connection)
    tables = list(Chunk(links).lines)
    await connection.execute(text("SET LOCAL maintenance_work_mem = '128MB'"))
    await connection.execute(text("SET LOCAL max_parallel_maintenance_workers = 0"))
    names = [f'"{sheet.table}"' for sheet in tables]
    indexes = (await connection.execute(_INDEXES, {"tables": names})).all()
    for index in indexes:
        await connection.exec_driver_sql(f"DROP INDEX {index.name}")
    for chunk in chunks:
        await write(driver, chunk.lines)
        progress(chunk.runs)
    for index in indexes:
        await connection.exec_driver_sql(index.definition)
    await connection.exec_driver_sql(f"ANALYZE {', '.join(names)}")


async def fill_control_plane(connection: AsyncConnection, lines: Lines) -> None:
    """Write the rows of the control plane, and its statistics."""
    await write(await driver_of(connection), lines)
    tables = ", ".join(f'"{sheet.table}"' for sheet in lines)
    await connection.exec_driver_sql(f"ANALYZE {tables}")


_INDEXES = text(
    "SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition FROM pg_index"
    " WHERE indrelid = ANY(CAST(:tables AS text[])::regclass[]) AND NOT indisunique ORDER BY indexrelid"
)
