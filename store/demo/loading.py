"""Fills the tables of an empty shard in one transaction: without indexes and foreign keys, which come back at the end.

Made of all rows at once, they take a fraction of the time that they take row by row. They are the same ones as before,
and checked as they are made: what the demo gets wrong, the database refuses.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from store.demo.copying import Lines, driver_of, text_of, write
from store.demo.sheets import LINKS, RUNS, Chunk, Links
from store.errors import ConfigurationError
from store.migrations import made_by_us

BLOCKS_AT_ONCE = 100
"""Blocks of which the rows other than runs are in memory at a time."""


async def refuse_foreign(connection: AsyncConnection) -> None:
    """Raise `ConfigurationError` unless runatlas made this database."""
    if not await made_by_us(connection):
        raise ConfigurationError(
            f"the database {await _name(connection)!r} was not made by runatlas",
            "make an empty one, and run `runatlas migrate` on it",
        )


async def refuse_occupied(connection: AsyncConnection, table: str) -> None:
    """Raise `ConfigurationError` unless a table is empty."""
    if await connection.scalar(text(f'SELECT EXISTS (SELECT FROM "{table}")')):  # noqa: S608  a name of ours
        raise ConfigurationError(
            f'the database {await _name(connection)!r} is not empty: there are rows in "{table}"',
            "plant the demo in new databases: set RUNATLAS_HOME to another directory, or name others",
        )


async def _name(connection: AsyncConnection) -> str:
    return str(await connection.scalar(text("SELECT current_database()")))


async def links_of(connection: AsyncConnection) -> Links:
    """Return the tables of pairs that this database has."""
    for links in LINKS.values():
        name = f'"{links.connections.table}"'
        if await connection.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name}):
            return links
    raise ConfigurationError("a shard has no table of connections", "run `runatlas migrate` on it")


async def fill_shard(
    connection: AsyncConnection, chunk: Chunk, blocks: Iterator[None], progress: Callable[[int], None]
) -> None:
    """Write what each of the blocks adds to a chunk, and at the end the statistics."""
    driver = await driver_of(connection)
    names = [f'"{sheet.table}"' for sheet in chunk.lines]
    await connection.execute(text("SET LOCAL maintenance_work_mem = '128MB'"))
    await connection.execute(text("SET LOCAL max_parallel_maintenance_workers = 0"))
    checks = (await connection.execute(_CHECKS, {"tables": names})).all()
    for check in checks:
        await connection.exec_driver_sql(check.drop)

    async def runs() -> AsyncIterator[bytes]:
        rows = chunk.lines[RUNS]
        for _ in islice(blocks, BLOCKS_AT_ONCE):
            if rows:
                yield text_of(rows)
                progress(len(rows))
                rows.clear()

    while True:
        await driver.copy_to_table(RUNS.table, source=runs(), columns=RUNS.columns)
        if not any(chunk.lines.values()):
            break
        await write(driver, chunk.lines)
        for rows in chunk.lines.values():
            rows.clear()
    for check in checks:
        await connection.exec_driver_sql(check.make)
    await _analyze(connection, names)


async def fill_control_plane(connection: AsyncConnection, lines: Lines) -> None:
    """Write the rows of the control plane, and its statistics."""
    await write(await driver_of(connection), lines)
    await _analyze(connection, [f'"{sheet.table}"' for sheet in lines])


async def _analyze(connection: AsyncConnection, tables: Sequence[str]) -> None:
    """Make the statistics of the columns that indexes have; those of payloads take longest, and are never used."""
    indexed = (await connection.execute(_INDEXED, {"tables": tables})).all()
    parts = ", ".join(f"{table} ({columns})" for table, columns in indexed)
    await connection.exec_driver_sql(f"ANALYZE {parts}")


_CHECKS = text(
    """
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS drop,
      format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) AS make,
      1 AS turn
    FROM pg_constraint WHERE contype = 'f' AND conrelid = ANY(CAST(:tables AS text[])::regclass[])
    UNION ALL
    SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid), 0
    FROM pg_index WHERE indrelid = ANY(CAST(:tables AS text[])::regclass[])
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
    ORDER BY turn, drop
    """
)
"""How to be rid of each index and foreign key, and how to have it back."""

_INDEXED = text(
    """
    SELECT attrelid::regclass::text, string_agg(DISTINCT format('%I', attname), ', ')
    FROM pg_attribute JOIN pg_index ON indrelid = attrelid AND attnum = ANY(indkey)
    WHERE attrelid = ANY(CAST(:tables AS text[])::regclass[]) GROUP BY attrelid ORDER BY 1
    """
)
