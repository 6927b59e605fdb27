"""Batches of one shard, written. A batch is sealed when all its items are runs, and complete when those have ended."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Text, any_, bindparam, func, select, update

from store.filters import constant
from store.queries import each, text_array
from store.runs import SEPARATOR
from store.shard import ReadConnection, WriteConnection
from store.tables import batch_task_run, columns, task_run
from store.writes.rows import Row, insert_rows
from store.writes.runs import is_final

OPEN = ("PENDING", "PROCESSING", "PARTIAL_FAILED")
"""The statuses of batches that are not complete; an aborted one never is."""


class SealedBatch(NamedTuple):
    """A batch whose items are all there, with what it needs to look for their runs."""

    id: str
    environment_id: str
    run_ids: list[str] | None


async def add_batch(connection: WriteConnection, row: Row) -> None:
    """Insert a batch."""
    await insert_rows(connection, batch_task_run, [row])


async def sealed_batches(connection: ReadConnection, batch_ids: Collection[str]) -> dict[str, SealedBatch]:
    """Return those of the batches that are sealed and not complete, by primary key."""
    c = batch_task_run.c
    statement = select(*columns(batch_task_run, SealedBatch._fields)).where(
        c.id == any_(text_array(batch_ids)), c.sealed, constant(c.status, *OPEN)
    )
    return {row.id: SealedBatch._make(row) for row in await connection.execute(statement)}


async def walk_batches(connection: ReadConnection, after: str, most: int) -> list[str]:
    """Return the sealed batches of this shard that are not complete, behind an id, in its order, at most so many."""
    c = batch_task_run.c
    statement = (
        select(c.id)
        .where(c.sealed, constant(c.status, *OPEN), c.id > bindparam(None, after, type_=Text))
        .order_by(c.id)
        .limit(most)
    )
    return [str(id_) for id_ in (await connection.execute(statement)).scalars()]


async def unfinished_batches(connection: ReadConnection, batches: Mapping[str, SealedBatch]) -> set[str]:
    """Return the batches that have a run on this shard which has not ended: their own, or one that they list.

    Each is looked up: as a join of all, Postgres would rather compare every batch with every run.
    """
    listed = [SEPARATOR.join(batch.run_ids or ()) for batch in batches.values()]
    batch = each(batches, [one.environment_id for one in batches.values()], listed)
    c = task_run.c
    members = func.string_to_array(batch.c.more_2, SEPARATOR, type_=text_array(()).type)
    open_ = select(c.id).where(c.environment_id == batch.c.more_1, ~is_final()).limit(1)
    own, of_others = (
        open_.where(tie).correlate(batch).scalar_subquery()
        for tie in (c.batch_id == batch.c.id, c.friendly_id == any_(members))
    )
    statement = select(batch.c.id).where(func.coalesce(own, of_others).is_not(None))
    return set((await connection.execute(statement)).scalars())


async def finish_batches(connection: WriteConnection, batch_ids: Collection[str], now: datetime) -> list[str]:
    """Complete sealed batches whose runs have ended, and return the primary keys of those that were not complete."""
    c = batch_task_run.c
    statement = (
        update(batch_task_run)
        .where(c.id == any_(text_array(batch_ids)), c.sealed, constant(c.status, *OPEN))
        .values(status="COMPLETED", completed_at=now, completed_count=c.run_count, updated_at=now)
        .returning(c.id)
    )
    return [str(id_) for id_ in (await connection.execute(statement)).scalars()]


class KeyedBatch(NamedTuple):
    """A batch that holds an idempotency key."""

    id: str
    friendly_id: str
    environment_id: str
    idempotency_key_expires_at: datetime | None

    def is_live(self, now: datetime) -> bool:
        """Tell whether the key still finds it."""
        return self.idempotency_key_expires_at is None or self.idempotency_key_expires_at > now


async def keyed_batches(connection: ReadConnection, environment_id: str, key: str) -> Sequence[KeyedBatch]:
    """Return the batch of an environment that holds a key, if there is one."""
    c = batch_task_run.c
    statement = select(*columns(batch_task_run, KeyedBatch._fields)).where(
        c.environment_id == environment_id, c.idempotency_key == key
    )
    return [KeyedBatch._make(row) for row in await connection.execute(statement)]


async def clear_batch_key(connection: WriteConnection, batch_id: str, key: str, now: datetime) -> None:
    """Take a key from the batch that holds it."""
    c = batch_task_run.c
    statement = update(batch_task_run).where(c.id == batch_id, c.idempotency_key == key)
    await connection.execute(statement.values(idempotency_key=None, idempotency_key_expires_at=None, updated_at=now))
