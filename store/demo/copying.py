"""Rows on their way into tables: lines of COPY text, collected by table, and written through the driver.

Text and not tuples: most of a row is a constant, so a line is a few strings put together.
"""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

NULL = r"\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A table, and which of its columns a line holds, in that order; the others have their defaults."""

    table: str
    columns: tuple[str, ...]


Lines: TypeAlias = Mapping[Sheet, list[str]]
"""What to write. Tables are written in this order, so a row comes after those that it refers to."""


def line(*values: object) -> str:
    """Return a row as a line of COPY text."""
    return "\t".join(map(literal, values))


def literal(value: object) -> str:
    """Return a value as COPY writes it; a mapping is JSON."""
    match value:
        case None:
            return NULL
        case bool():
            return "t" if value else "f"
        case dict():
            return json.dumps(value, separators=(",", ":")).translate(_ESCAPES)
        case _:
            return str(value).translate(_ESCAPES)


def array(items: Iterable[str]) -> str:
    """Return an array of texts that hold no character of its syntax."""
    return f"{{{','.join(items)}}}"


def text_of(rows: Iterable[str]) -> bytes:
    """Return lines as they go over the wire; there is at least one."""
    return ("\n".join(rows) + "\n").encode()


async def write(connection: asyncpg.Connection, lines: Lines) -> None:
    """Write what there is, with one COPY a table."""
    for sheet, rows in lines.items():
        if rows:
            source = io.BytesIO(text_of(rows))
            await connection.copy_to_table(sheet.table, source=source, columns=sheet.columns)


async def driver_of(connection: AsyncConnection) -> asyncpg.Connection:
    """Return the driver's own connection, in the transaction that the other one has begun."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, asyncpg.Connection)  # noqa: S101  create_engine connects through asyncpg
    return driver
