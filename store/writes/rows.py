"""Rows, inserted: any number of them in one statement whose text does not depend on how many."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import orjson
from sqlalchemy import Table, Text, bindparam, cast, column, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSON, insert

from store import ids
from store.shard import WriteConnection

NOW = func.timezone("utc", func.statement_timestamp())
"""This moment by the database's clock. It stands still within a statement, so that an index finds what is before it."""

Row = Mapping[str, Any]
"""Values by our names of the columns; what is left out is the column's default."""


async def insert_rows(
    connection: WriteConnection, table: Table, rows: Collection[Row], *, ignoring: bool = False
) -> None:
    """Insert rows, which all have the same columns. `ignoring`: those that are there already stay as they are."""
    if not rows:
        return
    keys = tuple(next(iter(rows)))
    names = [str(table.c[key].name) for key in keys]
    given = orjson.dumps([dict(zip(names, (row[key] for key in keys), strict=True)) for row in rows]).decode()
    records = func.json_populate_recordset(
        literal_column(f'NULL::"{table.name}"'), cast(bindparam(None, given, type_=Text), JSON)
    ).table_valued(*(column(name) for name in names), name="given")
    statement = insert(table).from_select([table.c[key] for key in keys], select(*records.c))
    await connection.execute(statement.on_conflict_do_nothing() if ignoring else statement)


def links(table: Table, pairs: Iterable[tuple[str, str]], one: str, other: str) -> list[Row]:
    """Return the rows of a table of ties; those of one variant have a primary key of their own, which says nothing."""
    own = "id" in table.c
    return [{**({"id": ids.mint_cuid()} if own else {}), one: a, other: b} for a, b in pairs]
