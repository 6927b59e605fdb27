"""Waitpoints of one shard, written, and their tags. Who completes one first, wins: the database decides."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

import orjson
from sqlalchemy import ColumnElement, ScalarSelect, Text, and_, any_, case, cast, func, select, update

from store import ids
from store.errors import LimitError, MissingError
from store.filters import constant
from store.queries import bytewise, each, rows_of_each, text_array
from store.records import EnvironmentRecord
from store.shard import ReadConnection, WriteConnection
from store.tables import batch_task_run, columns, task_run, waitpoint, waitpoint_tag
from store.writes.rows import NOW, Row, insert_rows
from store.writes.runs import is_final

JSON_TYPE = "application/json"
SUCCESS = "COMPLETED_SUCCESSFULLY"
ABORTED = orjson.dumps({"code": "BATCH_ABORTED", "message": "Batch was aborted"}).decode()
"""What waits for a batch that was aborted completes with."""


class Outcome(NamedTuple):
    """What a waitpoint completes with: a text and its content type."""

    output: str | None = None
    output_type: str = JSON_TYPE
    is_error: bool = False


def timed_out(at: datetime) -> Outcome:
    """Return what a token completes with that nobody completed in time: the platform's sentence, with that time."""
    moment = at.isoformat(timespec="milliseconds")
    error = {"code": "TRIGGER_WAITPOINT_TIMEOUT", "message": f"Waitpoint timed out at {moment}Z"}
    return Outcome(orjson.dumps(error).decode(), is_error=True)


def waitpoint_row(type_: str, environment_id: str, project_id: str, now: datetime, **values: object) -> Row:
    """Return the row of a new waitpoint. Its id is a cuid, wherever it is, and a made-up key if none is given."""
    id_ = ids.mint_cuid()
    return {
        "id": id_,
        "friendly_id": f"waitpoint_{id_}",
        "type": type_,
        "raw_status": "PENDING",
        "active_idempotency_key": ids.mint_cuid(),
        "user_provided_idempotency_key": False,
        "idempotency_key_expires_at": None,
        "completed_by_run_id": None,
        "completed_by_batch_id": None,
        "timeout_at": None,
        "completed_at": None,
        "output": None,
        "output_type": JSON_TYPE,
        "output_is_error": False,
        "stored_tags": [],
        "project_id": project_id,
        "environment_id": environment_id,
        "created_at": now,
        "updated_at": now,
        **values,
    }


async def add_waitpoints(connection: WriteConnection, rows: Sequence[Row]) -> None:
    """Insert waitpoints."""
    await insert_rows(connection, waitpoint, rows)


async def add_tags(
    connection: WriteConnection, environment: EnvironmentRecord, tags: Sequence[str], now: datetime
) -> None:
    """Record which tags an environment's tokens have; those that are known stay as they are."""
    rows = [
        {
            "id": ids.mint_cuid(),
            "name": tag,
            "environment_id": environment.id,
            "project_id": environment.project_id,
            "created_at": now,
        }
        for tag in tags
    ]
    await insert_rows(connection, waitpoint_tag, rows, ignoring=True)


class KeyedToken(NamedTuple):
    """A waitpoint that holds an idempotency key."""

    id: str
    friendly_id: str
    type: str
    raw_status: str
    idempotency_key_expires_at: datetime | None

    def of_type(self, type_: str) -> "KeyedToken":
        """Return it, or raise `LimitError` if it is of another type: then the key is not free for this one."""
        if self.type != type_:
            raise LimitError("the idempotencyKey belongs to a waitpoint of another kind")
        return self

    def is_live(self, now: datetime) -> bool:
        """Tell whether the key still finds it."""
        return self.idempotency_key_expires_at is None or self.idempotency_key_expires_at > now


async def keyed_waitpoint(
    connection: ReadConnection | WriteConnection, environment_id: str, key: str
) -> KeyedToken | None:
    """Return the waitpoint of an environment that holds a key, or None."""
    c = waitpoint.c
    statement = select(*columns(waitpoint, KeyedToken._fields)).where(
        c.environment_id == environment_id, c.active_idempotency_key == key
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else KeyedToken._make(row)


async def rotate_key(connection: WriteConnection, waitpoint_id: str, key: str, now: datetime) -> None:
    """Take a key away from the waitpoint that holds it: it is remembered there as inactive."""
    c = waitpoint.c
    statement = update(waitpoint).where(c.id == waitpoint_id, c.active_idempotency_key == key)
    await connection.execute(
        statement.values(
            active_idempotency_key=ids.mint_cuid(),
            inactive_idempotency_key=key,
            idempotency_key_expires_at=None,
            updated_at=now,
        )
    )


async def complete(connection: WriteConnection, waitpoint_id: str, outcome: Outcome, now: datetime) -> bool:
    """Complete a waitpoint, and tell whether it was pending: a completion that came before stands.

    Raises `MissingError` for one that is gone.
    """
    c = waitpoint.c
    statement = update(waitpoint).where(c.id == waitpoint_id, constant(c.raw_status, "PENDING"))
    result = await connection.execute(statement.values(_completed(outcome, now)).returning(c.id))
    if result.one_or_none() is not None:
        return True
    if (await connection.execute(select(c.id).where(c.id == waitpoint_id))).one_or_none() is None:
        raise MissingError("Waitpoint")
    return False


def _completed(outcome: Outcome, now: datetime) -> dict[str, object]:
    return {
        "raw_status": "COMPLETED",
        "completed_at": now,
        "output": outcome.output,
        "output_type": outcome.output_type,
        "output_is_error": outcome.is_error,
        "updated_at": now,
    }


async def complete_of_runs(connection: WriteConnection, run_ids: Collection[str], now: datetime) -> list[str]:
    """Complete the waitpoints that wait for runs of this shard which have ended, and return their primary keys.

    With the run's output, or with its error. A run that has not ended completes nothing.
    """
    c, run = waitpoint.c, task_run.c
    succeeded = constant(run.raw_status, SUCCESS)
    statement = (
        update(waitpoint)
        .where(
            c.completed_by_run_id == any_(text_array(run_ids)),
            constant(c.raw_status, "PENDING"),
            run.id == c.completed_by_run_id,
            is_final(),
        )
        .values(
            raw_status="COMPLETED",
            completed_at=now,
            output=case((succeeded, run.output), else_=cast(run.error, Text)),
            output_type=case((succeeded, run.output_type), else_=JSON_TYPE),
            output_is_error=~succeeded,
            updated_at=now,
        )
        .returning(c.id)
    )
    return [str(id_) for id_ in (await connection.execute(statement)).scalars()]


async def complete_of_batches(connection: WriteConnection, batch_ids: Collection[str], now: datetime) -> list[str]:
    """Complete the waitpoints that wait for batches, and return their primary keys."""
    c = waitpoint.c
    statement = (
        update(waitpoint)
        .where(c.completed_by_batch_id == any_(text_array(batch_ids)), constant(c.raw_status, "PENDING"))
        .values(_completed(Outcome(), now))
        .returning(c.id)
    )
    return [str(id_) for id_ in (await connection.execute(statement)).scalars()]


async def complete_of_ended_batches(
    connection: WriteConnection, batch_ids: Collection[str], now: datetime
) -> list[str]:
    """Complete the waitpoints that wait for batches of this shard which have ended, and return their primary keys.

    A batch that was aborted completes them with an error.
    """
    c, aborted = waitpoint.c, constant(batch_task_run.c.status, "ABORTED")
    statement = (
        update(waitpoint)
        .where(
            c.completed_by_batch_id == any_(text_array(batch_ids)),
            constant(c.raw_status, "PENDING"),
            batch_task_run.c.id == c.completed_by_batch_id,
            _batch_has_ended(),
        )
        .values(_completed(Outcome(), now) | {"output": case((aborted, ABORTED)), "output_is_error": aborted})
        .returning(c.id)
    )
    return [str(id_) for id_ in (await connection.execute(statement)).scalars()]


def _batch_has_ended() -> ColumnElement[bool]:
    return constant(batch_task_run.c.status, "COMPLETED", "ABORTED")


class Due(NamedTuple):
    """A waitpoint whose time has come."""

    id: str
    type: str
    timeout_at: datetime


async def due_waitpoints(connection: ReadConnection, most: int) -> list[Due]:
    """Return pending waitpoints whose time has come by this database's clock, the oldest first, at most so many."""
    c = waitpoint.c
    statement = (
        select(*columns(waitpoint, Due._fields))
        .where(constant(c.raw_status, "PENDING"), c.timeout_at <= NOW)
        .order_by(c.timeout_at)
        .limit(most)
    )
    return [Due._make(row) for row in await connection.execute(statement)]


async def complete_due(connection: WriteConnection, due: Sequence[Due], now: datetime) -> list[str]:
    """Complete waitpoints whose time has come, as far as they still wait, and return the primary keys of those.

    A time that was waited for completes without an output, a token that nobody completed with an error.
    """
    c = waitpoint.c
    outputs = [timed_out(one.timeout_at).output or "" if one.type == "MANUAL" else "" for one in due]
    given = each([one.id for one in due], outputs)
    statement = (
        update(waitpoint)
        .where(c.id == given.c.id, constant(c.raw_status, "PENDING"))
        .values(
            raw_status="COMPLETED",
            completed_at=now,
            output=func.nullif(given.c.more_1, ""),
            output_type=JSON_TYPE,
            output_is_error=given.c.more_1 != "",
            updated_at=now,
        )
        .returning(c.id)
    )
    return [str(id_) for id_ in (await connection.execute(statement)).scalars()]


class WaitState(NamedTuple):
    """Whether a waitpoint still waits, and for what."""

    id: str
    type: str
    is_completed: bool
    ended_run_id: str | None
    """The run that it waits for, if that has ended."""
    ended_batch_id: str | None
    """The batch that it waits for, if that is complete or was aborted."""


async def wait_states(connection: ReadConnection, waitpoint_ids: Collection[str]) -> dict[str, WaitState]:
    """Return the states of this shard's waitpoints, by primary key.

    Each is looked up: for a join of many, Postgres would rather read whole tables.
    """
    c, one = waitpoint.c, each(waitpoint_ids)
    run, batch = _ended()
    ends = (run.label("ended_run_id"), batch.label("ended_batch_id"))
    statement = select(
        c.id, cast(c.type, Text), constant(c.raw_status, "COMPLETED").label("is_completed"), *ends
    ).where(c.id == one.c.id)
    found = await rows_of_each(connection, one, statement.limit(1), WaitState._make)
    return {id_: states[0] for id_, states in found.items()}


def still_waits() -> ColumnElement[bool]:
    """Return the condition that a waitpoint is pending, and not for a run or batch of this shard which has ended."""
    run, batch = _ended()
    return and_(constant(waitpoint.c.raw_status, "PENDING"), run.is_(None), batch.is_(None))


def _ended() -> tuple[ScalarSelect[str], ScalarSelect[str]]:
    """Return the run and the batch that a waitpoint waits for, each if it is here and has ended."""
    run, batch, c = task_run.c, batch_task_run.c, waitpoint.c
    return (
        select(run.id).where(run.id == c.completed_by_run_id, is_final()).scalar_subquery(),
        select(batch.id).where(batch.id == c.completed_by_batch_id, _batch_has_ended()).scalar_subquery(),
    )


async def waitpoints_of_runs(connection: ReadConnection | WriteConnection, run_ids: Collection[str]) -> dict[str, str]:
    """Return the primary keys of the waitpoints that wait for runs of this shard, by the run's."""
    return await _waitpoints_of(connection, waitpoint.c.completed_by_run_id, run_ids)


async def waitpoints_of_batches(
    connection: ReadConnection | WriteConnection, batch_ids: Collection[str]
) -> dict[str, str]:
    """Return the primary keys of the waitpoints that wait for batches of this shard, by the batch's."""
    return await _waitpoints_of(connection, waitpoint.c.completed_by_batch_id, batch_ids)


async def _waitpoints_of(
    connection: ReadConnection | WriteConnection, owner: ColumnElement[str], owner_ids: Collection[str]
) -> dict[str, str]:
    statement = select(owner, waitpoint.c.id).where(owner == any_(text_array(owner_ids)))
    return {str(owner_id): str(id_) for owner_id, id_ in await connection.execute(statement)}


class Holding(NamedTuple):
    """A waitpoint as the one who completes it needs it."""

    id: str
    friendly_id: str
    type: str
    raw_status: str
    environment_id: str
    project_id: str


async def holdings(connection: ReadConnection, references: Collection[str]) -> dict[str, Holding]:
    """Return this shard's waitpoints by friendly id and by primary key, whoever's they are."""
    c = waitpoint.c
    bare = [ids.body(reference) for reference in references]
    statement = (
        select(*columns(waitpoint, Holding._fields)).where(c.id == any_(text_array(bare))).order_by(bytewise(c.id))
    )
    found = [Holding._make(row) for row in await connection.execute(statement)]
    return {reference: one for one in found for reference in (one.id, one.friendly_id)}
