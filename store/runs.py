"""Runs of one shard: keys in, records out. Rows of other environments are absent, as if they did not exist."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import FromClause, Select, Table, any_, func, or_, select

from store.pages import Window
from store.queries import by_reference, cut, each, page_of_each, text_array
from store.records import RunRecord
from store.shard import ReadConnection
from store.tables import columns, task_run

_COLUMNS = columns(task_run, RunRecord._fields)

SEPARATOR = "\x1f"
"""Between ids in one text; no id holds it."""


async def runs_by_reference(
    connection: ReadConnection, environment_id: str, references: Collection[str]
) -> dict[str, RunRecord]:
    """Return this shard's runs, keyed by friendly id (``run_...``) and by primary key."""
    return await by_reference(connection, _of(environment_id), task_run, RunRecord._make, references)


async def run_page(connection: ReadConnection, environment_id: str, window: Window) -> list[RunRecord]:
    """Return one window of an environment's runs on this shard, newest first, and one more."""
    rows = await connection.execute(cut(_of(environment_id), window, task_run.c.created_at, task_run.c.id))
    return [RunRecord._make(row) for row in rows]


async def child_runs(
    connection: ReadConnection, environment_id: str, parent_ids: Collection[str], window: Window
) -> dict[str, list[RunRecord]]:
    """Return the runs of this shard that each run triggered, by its primary key; newest first, and one more."""
    parent = each(parent_ids)
    statement = _of(environment_id).where(task_run.c.parent_task_run_id == parent.c.id)
    return await _by_parent(connection, parent, statement, window)


async def runs_by_batch(
    connection: ReadConnection, environment_id: str, members: Mapping[str, Sequence[str]], window: Window
) -> dict[str, list[RunRecord]]:
    """Return the runs of each batch on this shard, keyed by its primary key; newest first, and one more.

    `members` maps a batch to the friendly ids that it lists: a run that an idempotency key brought in is another's.
    """
    parent = each(members, [SEPARATOR.join(ids) for ids in members.values()])
    listed = any_(func.string_to_array(parent.c.more_1, SEPARATOR, type_=text_array(()).type))
    statement = _of(environment_id).where(
        or_(task_run.c.batch_id == parent.c.id, task_run.c.friendly_id == listed)
        if any(members.values())
        else task_run.c.batch_id == parent.c.id
    )
    return await _by_parent(connection, parent, statement, window)


async def runs_by_waitpoint(
    connection: ReadConnection, link: Table, environment_id: str, waitpoint_ids: Collection[str], window: Window
) -> dict[str, list[RunRecord]]:
    """Return the runs of this shard that `link` ties to each waitpoint, keyed by the waitpoint's primary key.

    `link` is the table of connections (runs that once waited) or of edges (runs that are blocked now). Newest first,
    and one more.
    """
    parent = each(waitpoint_ids)
    tied = select(link.c.run_id).where(link.c.waitpoint_id == parent.c.id).correlate(parent)
    statement = _of(environment_id).where(task_run.c.id.in_(tied))
    return await _by_parent(connection, parent, statement, window)


def _of(environment_id: str) -> Select[Any]:
    return select(*_COLUMNS).where(task_run.c.environment_id == environment_id)


async def _by_parent(
    connection: ReadConnection, parent: FromClause, statement: Select[Any], window: Window
) -> dict[str, list[RunRecord]]:
    page = cut(statement, window, task_run.c.created_at, task_run.c.id)
    found: dict[str, list[RunRecord]] = {}
    for parent_id, *row in await connection.execute(page_of_each(parent, page)):
        found.setdefault(parent_id, []).append(RunRecord._make(row))
    return found
