"""The few shapes of query: rows by id, a window of a list, a window for each of many parents."""

from collections.abc import Callable, Collection
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Row,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
)

from store.pages import Window
from store.shard import ReadConnection


def text_array(values: Collection[str]) -> ColumnElement[Any]:
    """Return texts as one array parameter, so that a statement's text does not depend on how many there are."""
    return bindparam(None, list(values), type_=ARRAY(Text))


def is_one_of(references: Collection[str], table: Table) -> ColumnElement[bool]:
    """Return the condition that a row is named by one of the references: friendly ids (``run_...``) or primary keys.

    The two are told apart by their underscore, which no primary key has.
    """
    friendly = [reference for reference in references if "_" in reference]
    internal = [reference for reference in references if "_" not in reference]
    return or_(
        *(
            column == any_(text_array(values))
            for column, values in ((table.c.friendly_id, friendly), (table.c.id, internal))
            if values
        )
    )


class Identified(Protocol):
    """A record that has a primary key."""

    @property
    def id(self) -> str:
        """Primary key."""


class Friendly(Identified, Protocol):
    """A record that has a friendly id too."""

    @property
    def friendly_id(self) -> str:
        """Friendly id."""


F = TypeVar("F", bound=Friendly)
T = TypeVar("T")


async def by_reference(
    connection: ReadConnection,
    statement: Select[Any],
    table: Table,
    make: Callable[[Row[Any]], F],
    references: Collection[str],
) -> dict[str, F]:
    """Return the statement's rows that the references name, made into records, by friendly id and by primary key."""
    found: dict[str, F] = {}
    for row in await connection.execute(statement.where(is_one_of(references, table))):
        record = make(row)
        found[record.friendly_id] = found[record.id] = record
    return found


def bytewise(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return an id column in byte order, the one order that all shards agree on whatever their collation."""
    return column.collate("C")


def cut(
    statement: Select[Any], window: Window, created_at: ColumnElement[Any], row_id: ColumnElement[Any]
) -> Select[Any]:
    """Return the statement cut to a window of (created_at, id), newest first, with one row more than the window holds.

    The condition is a row comparison: written out with OR, Postgres would not walk the index.
    """
    key = (created_at, bytewise(row_id))
    if window.at is not None:
        here = tuple_(type_coerce(window.at.created_at, created_at.type), bindparam(None, window.at.id, type_=Text))
        statement = statement.where(tuple_(*key) > here if window.rising else tuple_(*key) < here)
    order = [column.asc() if window.rising else column.desc() for column in key]
    return statement.order_by(*order).limit(window.size + 1)


async def page_of(
    connection: ReadConnection, statement: Select[Any], table: Table, make: Callable[[Row[Any]], T], window: Window
) -> list[T]:
    """Return one window of a statement's rows, made into records, and one more."""
    rows = await connection.execute(cut(statement, window, table.c.created_at, table.c.id))
    return [make(row) for row in rows]


async def count_up_to(connection: ReadConnection, statement: Select[Any], most: int) -> int:
    """Return how many rows a statement has, counting no further than one past `most`."""
    bounded = statement.with_only_columns(literal(1)).limit(most + 1).subquery()
    return await connection.scalar(select(func.count()).select_from(bounded)) or 0


def each(parents: Collection[str], *more: Collection[str]) -> FromClause:
    """Return the parents as rows of a table ``parent(id, ...)``, to be joined with a lateral query of one page each."""
    names = ("id", *(f"more_{number}" for number in range(1, len(more) + 1)))
    return (
        func.unnest(*(text_array(values) for values in (parents, *more)))
        .table_valued(*names, name="parent")
        .render_derived()
    )


def page_of_each(parent: FromClause, page: Select[Any]) -> Select[Any]:
    """Return rows of (parent id, then the page's columns): the page query, run for every parent."""
    rows = page.correlate(parent).lateral("page")
    return select(parent.c.id.label("parent_id"), *rows.c).select_from(parent.join(rows, true()))
