"""The few shapes of query: rows by id, a window of a list, a window for each of many parents."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

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
    cast,
    func,
    literal,
    literal_column,
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


class Owned(Friendly, Protocol):
    """A record that belongs to an environment."""

    @property
    def environment_id(self) -> str | None:
        """Where it belongs; None if nowhere any more."""


Scope: TypeAlias = Collection[str]
"""The environments whose rows may be seen, by primary key."""


F = TypeVar("F", bound=Owned)
T = TypeVar("T")


async def by_reference(  # noqa: PLR0913, PLR0917  what differs from table to table
    connection: ReadConnection,
    statement: Select[Any],
    table: Table,
    make: Callable[[Row[Any]], F],
    references: Collection[str],
    scope: Scope,
) -> dict[str, F]:
    """Return the statement's rows that the references name, made into records, by friendly id and by primary key.

    A row outside the scope is left out, as if it did not exist.
    """
    found: dict[str, F] = {}
    for row in await connection.execute(statement.where(is_one_of(references, table))):
        record = make(row)
        if record.environment_id in scope:
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


def each(parents: Collection[str], *more: Collection[str]) -> FromClause:
    """Return the parents as rows of a table ``parent(id, more_1, ...)``, to be joined with a lateral query of each.

    One parent alone is a row of constants: the planner then knows which it is, and how many rows are its.
    """
    values = (parents, *more)
    names = ("id", *(f"more_{number}" for number in range(1, len(values))))
    if len(parents) == 1:
        constants = (cast(bindparam(None, next(iter(one)), type_=Text), Text) for one in values)
        return select(*(value.label(name) for value, name in zip(constants, names, strict=True))).subquery("parent")
    return func.unnest(*(text_array(one) for one in values)).table_valued(*names, name="parent").render_derived()


def for_each(parent: FromClause, query: Select[Any]) -> Select[Any]:
    """Return rows of (parent id, then the query's columns): the query, run for every parent.

    The columns are not named one by one: to build that took longer than to run the statement.
    """
    rows = query.correlate(parent).lateral("page")
    return select(parent.c.id.label("parent_id"), literal_column("page.*")).select_from(parent.join(rows, true()))


async def rows_of_each(
    connection: ReadConnection, parent: FromClause, query: Select[Any], make: Callable[[Sequence[Any]], T]
) -> dict[str, list[T]]:
    """Return the query's rows for every parent, made into records, by the parent's id; without rows it is absent."""
    found: dict[str, list[T]] = {}
    for parent_id, *row in await connection.execute(for_each(parent, query)):
        found.setdefault(parent_id, []).append(make(row))
    return found


async def page_of_each(  # noqa: PLR0913, PLR0917  what differs from list to list
    connection: ReadConnection,
    parent: FromClause,
    statement: Select[Any],
    table: Table,
    make: Callable[[Sequence[Any]], T],
    window: Window,
) -> dict[str, list[T]]:
    """Return one window of a statement's rows, and one more, for every parent, made into records, by its id."""
    return await rows_of_each(connection, parent, cut(statement, window, table.c.created_at, table.c.id), make)


async def count_of_each(
    connection: ReadConnection, parent: FromClause, statement: Select[Any], most: int
) -> dict[str, int]:
    """Return how many rows a statement has for every parent, counting no further than one past `most`."""
    bounded = statement.with_only_columns(literal(1)).correlate(parent).limit(most + 1).subquery()
    counts = await rows_of_each(connection, parent, select(func.count()).select_from(bounded), lambda row: int(row[0]))
    return {parent_id: count for parent_id, (count,) in counts.items()}
