"""Runs of one shard: keys in, records out. Rows outside the scope are absent, as if they did not exist.

Lists of a parent take the parent's environment with it: what hangs on a row of another tenant is not its own.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Table, Text, any_, cast, func, or_, select
from sqlalchemy.dialects.postgresql import array

from store.pages import Window
from store.queries import (
    Scope,
    by_reference,
    bytewise,
    count_of_each,
    each,
    page_of_each,
    rows_of_each,
    text_array,
)
from store.records import AttemptRecord, RunRecord, SnapshotRecord
from store.shard import ReadConnection
from store.tables import attempt, columns, snapshot, task_run

MOST_ATTEMPTS = 250
Conditions = Sequence[ColumnElement[bool]]
_ATTEMPTS = select(*columns(attempt, AttemptRecord._fields))
_SNAPSHOT_COLUMNS = columns(snapshot, SnapshotRecord._fields)

_RUNS = select(
    *columns(
        task_run,
        RunRecord._fields,
        user_idempotency_key=task_run.c.idempotency_key_options["key"].astext,
        idempotency_key_scope=task_run.c.idempotency_key_options["scope"].astext,
        stored_task_kind=task_run.c.annotations["taskKind"].astext,
    )
)

SEPARATOR = "\x1f"
"""Between ids in one text; no id holds it."""

Parents = Mapping[str, str]
"""Rows that have lists, by primary key, and the environment of each."""


async def runs_by_reference(
    connection: ReadConnection, scope: Scope, references: Collection[str]
) -> dict[str, RunRecord]:
    """Return this shard's runs, keyed by friendly id (``run_...``) and by primary key."""
    return await by_reference(connection, _RUNS, task_run, RunRecord._make, references, scope)


async def large_columns(
    connection: ReadConnection, scope: Scope, table: Table, ids: Collection[str], names: Collection[str]
) -> dict[str, Mapping[Any, Any]]:
    """Return the named columns of runs, or of attempts, by primary key: what is too large to be read with every row."""
    c = table.c
    statement = select(c.id, c.environment_id, *columns(table, names)).where(c.id == any_(text_array(ids)))
    rows = (await connection.execute(statement)).mappings()
    return {row["id"]: row for row in rows if row["environment_id"] in scope}


async def attempts_by_reference(
    connection: ReadConnection, scope: Scope, friendly_ids: Collection[str]
) -> dict[str, AttemptRecord]:
    """Return this shard's attempts, keyed by friendly id (``attempt_...``) and by primary key."""
    return await by_reference(connection, _ATTEMPTS, attempt, AttemptRecord._make, friendly_ids, scope)


async def attempts_by_run(
    connection: ReadConnection, scope: Scope, run_ids: Collection[str]
) -> dict[str, list[AttemptRecord]]:
    """Return the attempts of runs of the retired engine, by the run's primary key, in their order."""
    run = each(run_ids)
    statement = _ATTEMPTS.where(attempt.c.run_id == run.c.id).order_by(attempt.c.number).limit(MOST_ATTEMPTS)
    found = await rows_of_each(connection, run, statement, AttemptRecord._make)
    return {run_id: [one for one in attempts if one.environment_id in scope] for run_id, attempts in found.items()}


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
    return await rows_of_each(connection, run, statement, SnapshotRecord._make)


async def runs_by_environment(
    connection: ReadConnection, environment_ids: Collection[str], conditions: Conditions, window: Window
) -> dict[str, list[RunRecord]]:
    """Return one window of each environment's runs on this shard, and one more."""
    parent = each(environment_ids)
    statement = _RUNS.where(task_run.c.environment_id == parent.c.id, *conditions)
    return await page_of_each(connection, parent, statement, task_run, RunRecord._make, window)


async def count_runs(
    connection: ReadConnection, environment_ids: Collection[str], conditions: Conditions, most: int
) -> dict[str, int]:
    """Return how many runs each environment has on this shard, counting no further than one past `most`."""
    parent = each(environment_ids)
    statement = _RUNS.where(task_run.c.environment_id == parent.c.id, *conditions)
    return await count_of_each(connection, parent, statement, most)


async def runs_by_trace(connection: ReadConnection, scope: Scope, trace_ids: Collection[str]) -> dict[str, RunRecord]:
    """Return the first run of each trace on this shard, by trace id."""
    parent = each(trace_ids)
    seen = task_run.c.environment_id == any_(text_array(scope))
    statement = _RUNS.where(task_run.c.trace_id == parent.c.id, seen)
    found = await page_of_each(connection, parent, statement, task_run, RunRecord._make, Window(1, oldest_first=True))
    return {trace_id: runs[0] for trace_id, runs in found.items()}


async def statuses_by_batch(connection: ReadConnection, batches: Parents) -> dict[str, dict[str, int]]:
    """Return how many runs of each batch are in each stored status on this shard, by the batch's primary key."""
    c = task_run.c
    status: ColumnElement[Any] = cast(c.raw_status, Text).label("raw_status")
    parent = _with_environments(batches)
    statement: Select[Any] = (
        select(*(status, func.count().label("runs")))
        .where(*_within(parent), c.batch_id == parent.c.id)
        .group_by(status)
    )
    counts = await rows_of_each(connection, parent, statement, tuple)
    return {batch_id: dict(of) for batch_id, of in counts.items()}


async def child_runs(connection: ReadConnection, parents: Parents, window: Window) -> dict[str, list[RunRecord]]:
    """Return the runs of this shard that each run triggered, by its primary key; newest first, and one more."""
    parent = _with_environments(parents)
    return await _page_of_each(connection, parent, task_run.c.parent_task_run_id == parent.c.id, window)


async def runs_by_batch(
    connection: ReadConnection, batches: Parents, listed: Mapping[str, Sequence[str]], window: Window
) -> dict[str, list[RunRecord]]:
    """Return the runs of each batch on this shard, keyed by its primary key; newest first, and one more.

    `listed` maps a batch to the friendly ids that it lists: a run that an idempotency key brought in is another's.
    """
    texts = [SEPARATOR.join(listed.get(batch_id, ())) for batch_id in batches]
    parent = each(batches, list(batches.values()), texts)
    own = task_run.c.batch_id == parent.c.id
    if any(texts):
        members = func.string_to_array(parent.c.more_2, SEPARATOR, type_=text_array(()).type)
        own = or_(own, task_run.c.friendly_id == any_(members))
    return await _page_of_each(connection, parent, own, window)


async def runs_by_bulk_action(
    connection: ReadConnection, bulk_actions: Parents, window: Window
) -> dict[str, list[RunRecord]]:
    """Return the runs of this shard that each bulk action touched, by its primary key; newest first, and one more."""
    parent = _with_environments(bulk_actions)
    touched = task_run.c.bulk_action_group_ids.bool_op("@>")(array([parent.c.id]))
    return await _page_of_each(connection, parent, touched, window)


async def runs_by_waitpoint(
    connection: ReadConnection, link: Table, waitpoints: Parents, window: Window
) -> dict[str, list[RunRecord]]:
    """Return the runs of this shard that `link` ties to each waitpoint, keyed by the waitpoint's primary key.

    `link` is the table of connections (runs that once waited) or of edges (runs that are blocked now). Newest first,
    and one more.
    """
    parent = _with_environments(waitpoints)
    tied = select(link.c.run_id).where(link.c.waitpoint_id == parent.c.id).correlate(parent)
    return await _page_of_each(connection, parent, task_run.c.id.in_(tied), window)


def _with_environments(parents: Parents) -> FromClause:
    return each(parents, list(parents.values()))


def _within(parent: FromClause) -> Conditions:
    return (task_run.c.environment_id == parent.c.more_1,)


async def _page_of_each(
    connection: ReadConnection, parent: FromClause, tie: ColumnElement[bool], window: Window
) -> dict[str, list[RunRecord]]:
    statement = _RUNS.where(*_within(parent), tie)
    return await page_of_each(connection, parent, statement, task_run, RunRecord._make, window)
