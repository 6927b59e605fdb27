"""Runs the SQL of a revision."""

from pathlib import Path

from sqlalchemy import Connection


def execute(connection: Connection, file: str) -> None:
    """Execute the statements of a file of this package, one by one: an error names the statement that failed.

    A statement ends with a semicolon at the end of a line, and nothing else of the file has one there.
    """
    for statement in (Path(__file__).parent / file).read_text(encoding="utf-8").split(";\n"):
        if statement.strip():
            connection.exec_driver_sql(statement)
