"""The SQL of revisions: run as it is written, and read back as the list of the indexes that runatlas adds."""

import re
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from sqlalchemy import Connection

HERE = Path(__file__).parent

Part = Literal["shared", "full"]
"""Whose indexes: those of every run store, or those of the control plane."""

ADDITIONAL = re.compile(
    r'(?P<reader>(?:-- .+\n)+)CREATE INDEX IF NOT EXISTS (?P<name>\w+) ON "(?P<table>\w+)"\s+(?P<definition>.+)',
    re.DOTALL,
)


class AdditionalIndex(NamedTuple):
    """An index that runatlas adds to the platform's: who reads it, and what it is."""

    name: str
    table: str
    reader: str
    """The comment above it."""
    definition: str
    """What follows the table."""


def execute(connection: Connection, file: str) -> None:
    """Execute the statements of a file of this package, one by one: an error names the statement that failed."""
    for statement in _statements(HERE / file):
        connection.exec_driver_sql(statement)


@cache
def additional_indexes(part: Part) -> tuple[AdditionalIndex, ...]:
    """Return the indexes that all revisions together add, in their order.

    They are what the files named ``..._indexes.sql`` hold, and such a file holds nothing else.
    """
    return tuple(
        _index(statement) for file in sorted((HERE / part).glob("*_indexes.sql")) for statement in _statements(file)
    )


def _statements(file: Path) -> list[str]:
    """Return the statements of a file. One ends with a semicolon at the end of a line, where nothing else has one."""
    return [statement for statement in file.read_text(encoding="utf-8").split(";\n") if statement.strip()]


def _index(statement: str) -> AdditionalIndex:
    """Return what a statement creates; what the file says of all of them is parted from it by an empty line."""
    match = ADDITIONAL.fullmatch(statement.strip().rpartition("\n\n")[2])
    if match is None:
        raise ValueError(f"not an additional index: {statement}")
    return AdditionalIndex(match["name"], match["table"], match["reader"], match["definition"])
