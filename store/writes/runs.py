"""Runs of one shard, written: their rows, and the steps of their execution.

Whoever changes what a run does holds its row, `lock_runs`: that is the run's lock. Several are locked in the order of
their ids, so that no two writers wait for each other.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Table, any_, func, literal, select, update

from store import ids
from store.filters import constant
from store.moments import TICK
from store.queries import Scope, bytewise, each, rows_of_each, text_array
from store.records import FINAL, RUN_STATUS
from store.shard import ReadConnection, WriteConnection
from store.tables import batch_task_run, columns, snapshot, task_run
from store.writes.rows import NOW, Row, insert_rows, links

FINAL_STORED = tuple(raw for raw, status in RUN_STATUS.items() if status in FINAL)
"""The stored statuses that do not change again."""

EXECUTING_STEPS = frozenset({"EXECUTING", "EXECUTING_WITH_WAITPOINTS"})
SUSPENDED = "WAITING_TO_RESUME"


class LockedRun(NamedTuple):
    """What a writer needs to know of the run that it holds."""

    id: str
    friendly_id: str
    raw_status: str
    engine: str
    environment_id: str
    environment_type: str | None
    organization_id: str | None
    project_id: str
    batch_id: str | None
    attempt_number: int | None
    parent_task_run_id: str | None
    root_task_run_id: str | None
    depth: int
    trace_id: str
    span_id: str

    @property
    def is_final(self) -> bool:
        """Its status will not change again."""
        return self.raw_status in FINAL_STORED


class Step(NamedTuple):
    """The latest valid step of a run's execution."""

    id: str
    execution_status: str
    environment_type: str
    organization_id: str
    checkpoint_id: str | None
    worker_id: str | None
    runner_id: str | None
    created_at: datetime


class Home(NamedTuple):
    """What a step says of where its run is; old runs do not say it themselves."""

    environment_type: str
    organization_id: str


class KeyedRun(NamedTuple):
    """A run that holds an idempotency key."""

    id: str
    friendly_id: str
    raw_status: str
    idempotency_key_expires_at: datetime | None
    environment_id: str
    project_id: str

    def is_live(self, now: datetime) -> bool:
        """Tell whether the key still finds it: neither has the key expired, nor did the run fail or expire."""
        expires = self.idempotency_key_expires_at
        return (expires is None or expires > now) and self.raw_status not in CLEARED_BY


CLEARED_BY = frozenset({"COMPLETED_WITH_ERRORS", "INTERRUPTED", "SYSTEM_FAILURE", "CRASHED", "TIMED_OUT", "EXPIRED"})
"""The stored statuses that free a run's idempotency key."""


Homes = Mapping[str, Home]
"""By the environment's primary key."""

_LOCKED = columns(task_run, LockedRun._fields)
_STEP = columns(snapshot, Step._fields)


async def lock_runs(
    connection: WriteConnection, run_ids: Collection[str], scope: Scope | None = None
) -> dict[str, LockedRun]:
    """Lock runs until the transaction ends, and return them by primary key; of a scope, if one is given."""
    statement = (
        select(*_LOCKED)
        .where(task_run.c.id == any_(text_array(run_ids)))
        .order_by(bytewise(task_run.c.id))
        .with_for_update(key_share=True)
    )
    rows = [LockedRun._make(row) for row in await connection.execute(statement)]
    return {run.id: run for run in rows if scope is None or run.environment_id in scope}


async def latest_steps(connection: ReadConnection | WriteConnection, run_ids: Collection[str]) -> dict[str, Step]:
    """Return the latest valid step of runs, by the run's primary key. After `lock_runs` nothing can follow it."""
    run = each(run_ids)
    statement = (
        select(*_STEP)
        .where(snapshot.c.run_id == run.c.id, snapshot.c.is_valid)
        .order_by(snapshot.c.created_at.desc(), bytewise(snapshot.c.id).desc())
        .limit(1)
    )
    found = await rows_of_each(ReadConnection(connection), run, statement, Step._make)
    return {run_id: steps[0] for run_id, steps in found.items()}


def step_row(  # noqa: PLR0913, PLR0917  a step says all of this
    run: LockedRun,
    last: Step | None,
    homes: Homes,
    now: datetime,
    execution_status: str,
    description: str,
    *,
    run_status: str | None = None,
    order: Sequence[str] = (),
) -> Row:
    """Return the row of a run's next step. It is younger than the last one, whatever the clocks say."""
    home = homes.get(run.environment_id) or last
    type_ = run.environment_type or (home and home.environment_type)
    organization_id = run.organization_id or (home and home.organization_id)
    if type_ is None or organization_id is None:
        raise LookupError(f"nothing says where {run.friendly_id} is")
    created_at = now if last is None or last.created_at < now else last.created_at + TICK
    return {
        "id": ids.mint_cuid(),
        "execution_status": execution_status,
        "description": description,
        "run_id": run.id,
        "run_status": run_status or run.raw_status,
        "previous_snapshot_id": last and last.id,
        "batch_id": run.batch_id,
        "attempt_number": run.attempt_number,
        "environment_id": run.environment_id,
        "environment_type": type_,
        "project_id": run.project_id,
        "organization_id": organization_id,
        "completed_waitpoint_order": list(order),
        "checkpoint_id": last and last.checkpoint_id,
        "worker_id": last and last.worker_id,
        "runner_id": last and last.runner_id,
        "created_at": created_at,
        "updated_at": created_at,
    }


def step_of(row: Row) -> Step:
    """Return a step from its row, for the one that follows it in the same transaction."""
    return Step._make(row[name] for name in Step._fields)


async def add_runs(connection: WriteConnection, rows: Sequence[Row], steps: Sequence[Row]) -> None:
    """Insert runs with their first steps: a run without one could never be dequeued."""
    await insert_rows(connection, task_run, rows)
    await add_steps(connection, steps)


async def add_steps(connection: WriteConnection, rows: Sequence[Row]) -> None:
    """Insert steps."""
    await insert_rows(connection, snapshot, rows)


async def link_completions(connection: WriteConnection, completion: Table, pairs: Collection[tuple[str, str]]) -> None:
    """Say which waitpoints' ends brought runs to steps: pairs of a step and a waitpoint, which may be on any shard."""
    rows = links(completion, pairs, "snapshot_id", "waitpoint_id")
    await insert_rows(connection, completion, rows, ignoring=True)


async def set_runs(connection: WriteConnection, run_ids: Collection[str], now: datetime, **values: object) -> None:
    """Set columns of runs that the caller has locked."""
    if run_ids:
        statement = update(task_run).where(task_run.c.id == any_(text_array(run_ids)))
        await connection.execute(statement.values(values | {"updated_at": now}))


def with_bulk_action(bulk_action_id: str) -> ColumnElement[list[str]]:
    """Return the bulk actions of a run with one more, once."""
    ids_ = func.coalesce(task_run.c.bulk_action_group_ids, text_array(()))
    return func.array_append(func.array_remove(ids_, bulk_action_id), bulk_action_id)


def is_final() -> ColumnElement[bool]:
    """Return the condition that a run's status does not change again."""
    return constant(task_run.c.raw_status, *FINAL_STORED)


async def due_runs(connection: ReadConnection, most: int) -> dict[str, str]:
    """Return delayed runs whose time has come by this database's clock, the oldest first, and their environments."""
    c = task_run.c
    statement = select(c.id, c.environment_id).where(*_is_due()).order_by(c.delay_until).limit(most)
    return {str(run_id): str(environment_id) for run_id, environment_id in await connection.execute(statement)}


async def queue_due_runs(
    connection: WriteConnection, run_ids: Collection[str], homes: Homes, now: datetime
) -> list[str]:
    """Queue delayed runs whose time has come, as far as that is so now, and return their primary keys.

    A run of which nothing says where it is stays as it is, and holds up no other.
    """
    runs = await lock_runs(connection, run_ids)
    steps = await latest_steps(connection, list(runs))
    placed = [run.id for run in runs.values() if run.environment_id in homes or run.id in steps]
    statement = (
        update(task_run)
        .where(task_run.c.id == any_(text_array(placed)), *_is_due())
        .values(raw_status="PENDING", queued_at=now, updated_at=now)
        .returning(task_run.c.id)
    )
    queued = [str(id_) for id_ in (await connection.execute(statement)).scalars()]
    description = "Run was queued: its time has come"
    await add_steps(
        connection,
        [
            step_row(runs[run_id], steps.get(run_id), homes, now, "QUEUED", description, run_status="PENDING")
            for run_id in queued
        ],
    )
    return queued


def _is_due() -> tuple[ColumnElement[bool], ...]:
    c = task_run.c
    return (constant(c.raw_status, "DELAYED"), constant(c.engine, "V2"), c.delay_until <= NOW)


async def idempotent_runs(
    connection: ReadConnection, environment_id: str, keys: Collection[tuple[str, str]]
) -> dict[tuple[str, str], KeyedRun]:
    """Return the runs of an environment that hold keys, by task and stored key: one probe of the index for each."""
    key = each([task for task, _ in keys], [stored for _, stored in keys])
    c = task_run.c
    statement = select(
        key.c.id.label("task"), key.c.more_1.label("key"), *columns(task_run, KeyedRun._fields)
    ).select_from(
        key.join(
            task_run,
            (c.environment_id == literal(environment_id))
            & (c.task_identifier == key.c.id)
            & (c.stored_idempotency_key == key.c.more_1),
        )
    )
    rows = await connection.execute(statement)
    return {(task, stored): KeyedRun._make(run) for task, stored, *run in rows}


async def used_tokens(connection: ReadConnection, token_hashes: Collection[str]) -> list[str]:
    """Return which one-time tokens have been used on this shard, by their hashes."""
    by_runs, by_batches = (
        select(table.c.one_time_use_token).where(table.c.one_time_use_token == any_(text_array(token_hashes)))
        for table in (task_run, batch_task_run)
    )
    return [str(token) for token in (await connection.execute(by_runs.union_all(by_batches))).scalars()]


async def clear_keys(
    connection: WriteConnection, scope: Scope, now: datetime, *where: ColumnElement[bool]
) -> list[str]:
    """Take the idempotency keys from the runs that meet the conditions, and return those runs' primary keys."""
    c = task_run.c
    statement = update(task_run).where(c.environment_id == any_(text_array(scope)), *where).returning(c.id)
    cleared = statement.values(stored_idempotency_key=None, idempotency_key_expires_at=None, updated_at=now)
    return [str(id_) for id_ in (await connection.execute(cleared)).scalars()]


async def add_tags(  # noqa: PLR0913, PLR0917  what the guard is made of
    connection: WriteConnection, run_id: str, scope: Scope, tags: Sequence[str], most: int, now: datetime
) -> tuple[list[str], list[str]] | None:
    """Append the tags that a run lacks, if it then has at most so many.

    Returns the tags that it had and those that it lacked; None if there is no such run. Two who append at once lose
    nothing: the row is held between reading and writing.
    """
    run = task_run.c
    statement = select(run.run_tags, run.environment_id).where(run.id == run_id).with_for_update(key_share=True)
    row = (await connection.execute(statement)).one_or_none()
    if row is None or row.environment_id not in scope:
        return None
    had = list(row.run_tags or ())
    lacked = [tag for tag in tags if tag not in had]
    if lacked and len(had) + len(lacked) <= most:
        await set_runs(connection, [run_id], now, run_tags=[*had, *lacked])
    return had, lacked
