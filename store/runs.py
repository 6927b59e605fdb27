"""Runs of one shard: keys in, records out. Rows of other environments are absent, as if they did not exist."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Table, Text, any_, cast, func, or_, select
from sqlalchemy.dialects.postgresql import array

from store.pages import Window
from store.queries import by_reference, bytewise, count_up_to, cut, each, page_of, page_of_each, text_array
from store.records import AttemptRecord, RunRecord, SnapshotRecord
from store.shard import ReadConnection
from store.tables import attempt, columns, snapshot, task_run

MOST_ATTEMPTS = 250
Conditions = Sequence[ColumnElement[bool]]
_ATTEMPT_COLUMNS = columns(attempt, AttemptRecord._fields)
_SNAPSHOT_COLUMNS = columns(snapshot, SnapshotRecord._fields)

_COLUMNS = columns(
    task_run,
    RunRecord._fields,
    user_idempotency_key=task_run.c.idempotency_key_options["key"].astext,
    idempotency_key_scope=task_run.c.idempotency_key_options["scope"].astext,
    stored_task_kind=task_run.c.annotations["taskKind"].astext,
)

SEPARATOR = "\x1f"
"""Between ids in one text; no id holds it."""


async def runs_by_reference(
    connection: ReadConnection, environment_id: str, references: Collection[str]
) -> dict[str, RunRecord]:
    """Return this shard's runs, keyed by friendly id (``run_...``) and by primary key."""
    return await by_reference(connection, _of(environment_id), task_run, RunRecord._make, references)


async def large_columns(
    connection: ReadConnection, environment_id: str, ids: Collection[str], names: Collection[str]
) -> dict[str, Mapping[Any, Any]]:
    """Return the named columns of runs, by primary key: what is too large to be read with every run."""
    statement = select(task_run.c.id, *columns(task_run, names)).where(
        task_run.c.environment_id == environment_id, task_run.c.id == any_(text_array(ids))
    )
    return {row["id"]: row for row in (await connection.execute(statement)).mappings()}


async def attempts_by_run(
    connection: ReadConnection, environment_id: str, run_ids: Collection[str]
) -> dict[str, list[AttemptRecord]]:
    """Return the attempts of runs of the retired engine, by the run's primary key, in their order."""
    run = each(run_ids)
    statement = (
        select(*_ATTEMPT_COLUMNS)
        .where(attempt.c.run_id == run.c.id, attempt.c.environment_id == environment_id)
        .order_by(attempt.c.number)
        .limit(MOST_ATTEMPTS)
    )
    found: dict[str, list[AttemptRecord]] = {}
    for run_id, *row in await connection.execute(page_of_each(run, statement)):
        found.setdefault(run_id, []).append(AttemptRecord._make(row))
    return found


async def snapshots_by_run(
    connection: ReadConnection, run_ids: Collection[str], size: int
) -> dict[str, list[SnapshotRecord]]:
    """Return the last steps of runs that are valid, by the run's primary key, newest first."""
    run = each(run_ids)
    statement = (
        select(*_SNAPSHOT_COLUMNS)
        .where(snapshot.c.run_id == run.c.id, snapshot.c.is_valid)
        .order_by(snapshot.c.created_at.desc(), bytewise(snapshot.c.id).desc())
        .limit(size)
    )
    found: dict[str, list[SnapshotRecord]] = {}
    for run_id, *row in await connection.execute(page_of_each(run, statement)):
        found.setdefault(run_id, []).append(SnapshotRecord._make(row))
    return found


async def run_page(
    connection: ReadConnection, environment_id: str, conditions: Conditions, window: Window
) -> list[RunRecord]:
    """Return one window of an environment's runs on this shard, and one more."""
    statement = _of(environment_id).where(*conditions)
    return await page_of(connection, statement, task_run, RunRecord._make, window)


async def count_runs(connection: ReadConnection, environment_id: str, conditions: Conditions, most: int) -> int:
    """Return how many runs an environment has on this shard, counting no further than one past `most`."""
    return await count_up_to(connection, _of(environment_id).where(*conditions), most)


async def runs_by_trace(
    connection: ReadConnection, environment_id: str, trace_ids: Collection[str]
) -> dict[str, RunRecord]:
    """Return the first run of each trace on this shard, by trace id."""
    parent = each(trace_ids)
    statement = _of(environment_id).where(task_run.c.trace_id == parent.c.id)
    found = await _by_parent(connection, parent, statement, Window(1, oldest_first=True))
    return {trace_id: runs[0] for trace_id, runs in found.items()}


async def statuses_by_batch(
    connection: ReadConnection, environment_id: str, batch_ids: Collection[str]
) -> dict[str, dict[str, int]]:
    """Return how many runs of each batch are in each stored status on this shard, by the batch's primary key."""
    c = task_run.c
    status = cast(c.raw_status, Text).label("raw_status")
    statement = (
        select(c.batch_id, status, func.count().label("runs"))
        .where(c.environment_id == environment_id, c.batch_id == any_(text_array(batch_ids)))
        .group_by(c.batch_id, c.raw_status)
    )
    found: dict[str, dict[str, int]] = {}
    for row in await connection.execute(statement):
        found.setdefault(row.batch_id, {})[row.raw_status] = row.runs
    return found


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


async def runs_by_bulk_action(
    connection: ReadConnection, environment_id: str, bulk_action_ids: Collection[str], window: Window
) -> dict[str, list[RunRecord]]:
    """Return the runs of this shard that each bulk action touched, by its primary key; newest first, and one more."""
    parent = each(bulk_action_ids)
    touched = task_run.c.bulk_action_group_ids.bool_op("@>")(array([parent.c.id]))
    return await _by_parent(connection, parent, _of(environment_id).where(touched), window)


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
