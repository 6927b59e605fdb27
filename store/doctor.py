"""What databases lack for runatlas to be quick: looked up as a guest would, and never altered.

A deployment's databases are its platform's. runatlas reads them as they are, and says which indexes its lists would
walk; whether to make them is up to whoever runs the database.
"""

import asyncio
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from store.errors import ConfigurationError
from store.federation import explained, usable
from store.migrations import UnknownRevisionError, Variant, current, head
from store.migrations.sql import AdditionalIndex, additional_indexes
from store.shard import CONNECT_SECONDS
from store.topology import Access, Topology
from store.urls import DatabaseUrl


@dataclass(frozen=True, slots=True)
class NamedDatabase:
    """A database that settings name, once for all of its roles."""

    url: DatabaseUrl
    variant: Variant
    roles: tuple[str, ...]
    indexes: tuple[AdditionalIndex, ...]
    """Those that its roles ask for."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a database says of itself."""

    database: NamedDatabase
    version: str
    is_standby: bool
    is_behind: bool
    """Whether runatlas made it, and would add what is missing if it were told to migrate."""
    absent_tables: tuple[str, ...]
    statements: tuple[str, ...]
    """For each index that is missing the SQL that adds it, and leaves the table writable meanwhile."""


def named_databases(topology: Topology) -> list[NamedDatabase]:
    """Return the databases of a topology, replicas too, in the order in which the settings name them."""
    found: dict[str, NamedDatabase] = {}
    for access, role, variant, indexes in _roles(topology):
        for url, name in ((access.primary, role), (access.replica, f"replica of {role}")):
            if url is not None:
                known = found.get(url.dsn, NamedDatabase(url, variant, (), ()))
                roles, wanted = (*known.roles, name), dict.fromkeys((*known.indexes, *indexes))
                found[url.dsn] = NamedDatabase(known.url, known.variant, roles, tuple(wanted))
    return list(found.values())


def _roles(topology: Topology) -> Iterator[tuple[Access, str, Variant, tuple[AdditionalIndex, ...]]]:
    yield topology.control_plane, "control plane", "full", additional_indexes("full")
    for shard in topology.shards:
        yield shard.access, f"shard {shard.key}", shard.catalog.variant, additional_indexes("shared")


async def examine(topology: Topology) -> list[Report | ConfigurationError]:
    """Return what each database of a topology says of itself, or why it cannot be used."""
    return list(await asyncio.gather(*(_examined(database) for database in named_databases(topology))))


async def _examined(database: NamedDatabase) -> Report | ConfigurationError:
    url = database.url
    try:
        async with usable(url) as engine:
            with explained(f"{url.setting}: cannot examine the database at {url.place}"):
                async with asyncio.timeout(CONNECT_SECONDS):
                    behind = await _is_behind(engine, database.variant)
                    async with engine.connect() as connection:
                        await connection.execution_options(postgresql_readonly=True)
                        return await _report(database, connection, behind=behind)
    except ConfigurationError as error:
        return error


async def _is_behind(engine: AsyncEngine, variant: Variant) -> bool:
    try:
        return await current(engine, variant) not in (None, head(variant))
    except UnknownRevisionError:  # of a newer runatlas, or of the other schema: nothing that migrating would mend
        return False


async def _report(database: NamedDatabase, connection: AsyncConnection, *, behind: bool) -> Report:
    tables = {"tables": [index.table for index in database.indexes]}
    server = (await connection.execute(_SERVER)).one()
    schemas = {row.table: row.schema for row in await connection.execute(_TABLES, tables)}
    there = [_Index(*row) for row in await connection.execute(_INDEXES, tables)]
    sound = {(index.table, meaning(index.definition)) for index in there if index.is_valid}
    taken = {index.name for index in there}
    statements = tuple(
        _statement(index, schemas[index.table], taken)
        for index in database.indexes
        if index.table in schemas and (index.table, meaning(index.definition)) not in sound
    )
    absent = tuple(dict.fromkeys(index.table for index in database.indexes if index.table not in schemas))
    return Report(database, server.version, server.standby, behind, absent, statements)


class _Index(NamedTuple):
    """An index that a database has, and its definition as Postgres writes it."""

    name: str
    table: str
    is_valid: bool
    definition: str


def meaning(definition: str) -> str:
    """Return the definition of an index, ours or as Postgres writes it, as a text that says nothing but what it serves.

    Postgres adds the method, parentheses, and the types of constants, and writes functions large. Columns that are only
    carried along, and how full pages are, are nothing to a reader.
    """
    stated = re.search(r"(?:^|\s)USING (.+)", definition, re.DOTALL)
    plain = stated[1] if stated else f"btree {definition}"
    plain = re.sub(r" (INCLUDE|WITH) \([^)]*\)", "", plain)
    plain = re.sub(r'::(?:"\w+"|\w+|\.)+(?:\[\])*', "", plain)
    return re.sub(r"[()\s]+", " ", plain).replace(" ,", ",").strip().casefold()


def _statement(index: AdditionalIndex, schema: str, taken: Collection[str]) -> str:
    """Return the SQL that adds an index, below its reader; a name that something else has is freed first."""
    drop = (
        "-- The name is taken: by an index of something else, or by one whose build failed, unless it still goes on.\n"
        f'DROP INDEX CONCURRENTLY "{schema}".{index.name};\n'
    )
    return (
        f"{index.reader}{drop if index.name in taken else ''}"
        f'CREATE INDEX CONCURRENTLY {index.name} ON "{schema}"."{index.table}"\n  {index.definition};\n'
    )


_SERVER = text("SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby")

_TABLES = text(
    'SELECT c.relname AS "table", n.nspname AS schema FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace'
    " WHERE c.relname = ANY(:tables) AND c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)"
)

_INDEXES = text(
    "SELECT i.relname, t.relname, x.indisvalid, pg_get_indexdef(x.indexrelid)"
    " FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid"
    " WHERE t.relname = ANY(:tables) AND pg_table_is_visible(t.oid)"
)
