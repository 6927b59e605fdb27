"""Which version each watched row has: one statement, however many rows are watched.

A version is the transaction that wrote the row (Postgres's ``xmin``). Every committed update gives a row another one,
whoever made it and whatever times it wrote, and a row of a transaction that is open is not seen at all. So nothing is
missed that commits late under an early time, as it would be by whoever remembers how far in time they have read.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    literal_column,
    or_,
    select,
    true,
    union_all,
)

from store.live.topics import Kind, OfBatch, One, Tagged, Topic
from store.moments import now
from store.queries import bytewise, each, text_array
from store.shard import ReadConnection
from store.tables import batch_task_run, bulk_action, task_run, waitpoint

MOST_OF_BATCH, MOST_TAGGED = 5_000, 1_000
"""Most runs of a batch, and of a list of tagged ones: the newest."""

LOOKBACK = timedelta(days=1)
"""How far a list of tagged runs reaches back."""

MOST_LISTS = 50
"""Of one statement."""

TABLES: Mapping[Kind, Table] = {
    Kind.RUN: task_run,
    Kind.BATCH: batch_task_run,
    Kind.WAITPOINT: waitpoint,
    Kind.BULK_ACTION: bulk_action,
}

Versions = dict[str, str]
"""By primary key."""


async def versions(connection: ReadConnection, topics: Mapping[Topic, Collection[str]]) -> dict[Topic, Versions]:
    """Return the versions of the rows of topics that this database has; a topic without rows has none.

    Each topic comes with the primary keys of runs that were among its rows, and are still to be followed. Only for many
    lists it takes more than one statement.
    """
    names = {topic.reference if isinstance(topic, One) else str(number): topic for number, topic in enumerate(topics)}
    arms = [*_rows(topics), *_batches(names), *_followed(names, topics), *_tagged(names)]
    found: dict[Topic, Versions] = {topic: {} for topic in topics}
    for start in range(0, len(arms), MOST_LISTS):
        for name, row_id, version in await connection.execute(union_all(*arms[start : start + MOST_LISTS])):
            found[names[name]][row_id] = version
    return found


def _version(table: Table) -> ColumnElement[Any]:
    return cast(literal_column(f'"{table.name}".xmin'), Text)


def _rows(topics: Iterable[Topic]) -> list[Select[Any]]:
    references: dict[Kind, list[str]] = {}
    for topic in topics:
        if isinstance(topic, One):
            references.setdefault(topic.kind, []).append(topic.reference)
    return [
        select(table.c.friendly_id, table.c.id, _version(table)).where(table.c.friendly_id == any_(text_array(of)))
        for kind, of in references.items()
        for table in (TABLES[kind],)
    ]


def _batches(names: Mapping[str, Topic]) -> Iterator[Select[Any]]:
    """Yield the queries of batches: one for those that list runs of others, and one for those that do not."""
    batches: dict[bool, dict[str, OfBatch]] = {}
    for name, topic in names.items():
        if isinstance(topic, OfBatch):
            batches.setdefault(bool(topic.listed), {})[name] = topic
    c = task_run.c
    for lists, some in batches.items():
        parent = each(
            some,
            [of.environment_id for of in some.values()],
            [of.batch_id for of in some.values()],
            [_array(of.listed) for of in some.values()],
        )
        own = c.batch_id == parent.c.more_2
        if lists:
            own = or_(own, c.friendly_id == any_(_texts(parent.c.more_3)))
        yield _newest(parent, own, most=MOST_OF_BATCH)


def _tagged(names: Mapping[str, Topic]) -> Iterator[Select[Any]]:
    """Yield the queries of tagged runs, each of its own.

    One for several would be planned for tags that are not known: by the index over all tags of all environments.
    """
    since = now() - LOOKBACK
    c = task_run.c
    for name, topic in names.items():
        if isinstance(topic, Tagged):
            parent = each([name], [topic.environment_id], [_array(topic.tags)])
            conditions = [c.created_at >= bindparam(None, since, type_=c.created_at.type)]
            if topic.tags:
                conditions.append(c.run_tags.bool_op("@>")(_texts(parent.c.more_2)))
            yield _newest(parent, *conditions, most=MOST_TAGGED)


def _array(texts: Iterable[str]) -> str:
    """Return texts as Postgres writes an array of them."""
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"


def _texts(array: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(array, ARRAY(Text))


def _newest(parent: FromClause, *conditions: ColumnElement[bool], most: int) -> Select[Any]:
    c = task_run.c
    rows = (
        select(c.id, _version(task_run).label("version"))
        .where(c.environment_id == parent.c.more_1, *conditions)
        .order_by(c.created_at.desc(), bytewise(c.id).desc())
        .limit(most)
        .correlate(parent)
        .lateral()
    )
    return select(parent.c.id, rows.c.id, rows.c.version).select_from(parent.join(rows, true()))


def _followed(names: Mapping[str, Topic], topics: Mapping[Topic, Collection[str]]) -> list[Select[Any]]:
    pairs = [(name, id_) for name, topic in names.items() for id_ in topics[topic]]
    if not pairs:
        return []
    run = each(*zip(*pairs, strict=True))
    c = task_run.c
    return [select(run.c.id, c.id, _version(task_run)).join_from(run, task_run, c.id == run.c.more_1)]
