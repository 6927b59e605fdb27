"""Which version each watched row has: one statement, however much is watched.

A version is the transaction that wrote the row (Postgres's ``xmin``). Every committed update gives a row another one,
whoever made it and whatever times it wrote, and a row of a transaction that is open is not seen at all. So nothing is
missed that commits late under an early time, as it would be by whoever remembers how far in time they have read.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    FromClause,
    Select,
    Table,
    Text,
    any_,
    cast,
    literal_column,
    or_,
    select,
    true,
    union_all,
)

from store.live.topics import Kind, OfBatch, One, Tagged, Topic
from store.queries import bytewise, each, text_array
from store.shard import ReadConnection
from store.tables import batch_task_run, bulk_action, task_run, waitpoint

MOST_OF_BATCH, MOST_TAGGED = 5_000, 1_000
"""Most runs of a batch, and of a list of tagged ones: the newest."""

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

    Each topic comes with the primary keys of runs that were among its rows, and are still to be followed.
    """
    names = {topic.reference if isinstance(topic, One) else str(number): topic for number, topic in enumerate(topics)}
    arms = [*_rows(topics), *_lists(names), *_followed(names, topics)]
    found: dict[Topic, Versions] = {topic: {} for topic in topics}
    for name, row_id, version in await connection.execute(union_all(*arms)):
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


def _lists(names: Mapping[str, Topic]) -> list[Select[Any]]:
    """Return a query for each shape of list: of batches that list runs or don't, narrowed by tags or not."""
    batches: dict[bool, dict[str, OfBatch]] = {}
    tagged: dict[bool, dict[str, Tagged]] = {}
    for name, topic in names.items():
        if isinstance(topic, OfBatch):
            batches.setdefault(bool(topic.listed), {})[name] = topic
        elif isinstance(topic, Tagged):
            tagged.setdefault(bool(topic.tags), {})[name] = topic
    return [
        *(_of_batches(some, lists=lists) for lists, some in batches.items()),
        *(_tagged(some, has_tags=has_tags) for has_tags, some in tagged.items()),
    ]


def _of_batches(some: Mapping[str, OfBatch], *, lists: bool) -> Select[Any]:
    c = task_run.c
    parent = each(
        some,
        [of.environment_id for of in some.values()],
        [of.batch_id for of in some.values()],
        [_array(of.listed) for of in some.values()],
    )
    own = c.batch_id == parent.c.more_2
    if lists:
        own = or_(own, c.friendly_id == any_(_texts(parent.c.more_3)))
    return _newest(parent, own, most=MOST_OF_BATCH)


def _tagged(some: Mapping[str, Tagged], *, has_tags: bool) -> Select[Any]:
    c = task_run.c
    parent = each(
        some,
        [of.environment_id for of in some.values()],
        [of.since.isoformat() for of in some.values()],
        [_array(of.tags) for of in some.values()],
    )
    conditions = [c.created_at >= cast(parent.c.more_2, DateTime)]
    if has_tags:
        conditions.append(c.run_tags.bool_op("@>")(_texts(parent.c.more_3)))
    return _newest(parent, *conditions, most=MOST_TAGGED)


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
