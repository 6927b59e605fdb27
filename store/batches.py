"""Batches of one shard: keys in, records out. Rows outside the scope are absent, as if they did not exist."""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, select

from store.pages import Window
from store.queries import Scope, by_reference, each, is_one_of, page_of_each, rows_of_each
from store.records import BatchErrorRecord, BatchRecord
from store.shard import ReadConnection
from store.tables import batch_error, batch_task_run, columns

_BATCHES = select(*columns(batch_task_run, BatchRecord._fields))
_ERROR_COLUMNS = columns(batch_error, BatchErrorRecord._fields)
MOST_ERRORS = 1_000


async def batches_by_reference(
    connection: ReadConnection, scope: Scope, references: Collection[str]
) -> dict[str, BatchRecord]:
    """Return this shard's batches, keyed by friendly id (``batch_...``) and by primary key."""
    return await by_reference(connection, _BATCHES, batch_task_run, BatchRecord._make, references, scope)


async def batches_by_environment(
    connection: ReadConnection,
    environment_ids: Collection[str],
    conditions: Sequence[ColumnElement[bool]],
    window: Window,
) -> dict[str, list[BatchRecord]]:
    """Return one window of each environment's batches on this shard, and one more."""
    parent = each(environment_ids)
    statement = _BATCHES.where(batch_task_run.c.environment_id == parent.c.id, *conditions)
    return await page_of_each(connection, parent, statement, batch_task_run, BatchRecord._make, window)


async def errors_by_batch(connection: ReadConnection, batch_ids: Collection[str]) -> dict[str, list[BatchErrorRecord]]:
    """Return why items became no runs, by the batch's primary key, in the order of the items; at most `MOST_ERRORS`."""
    batch = each(batch_ids)
    statement = (
        select(*_ERROR_COLUMNS)
        .where(batch_error.c.batch_id == batch.c.id)
        .order_by(batch_error.c.item_index)
        .limit(MOST_ERRORS)
    )
    return await rows_of_each(connection, batch, statement, BatchErrorRecord._make)


async def listed_runs_by_batch(
    connection: ReadConnection, scope: Scope, references: Collection[str]
) -> dict[str, list[str]]:
    """Return the friendly ids of the runs that each batch lists, in its order, keyed as `batches_by_reference` is.

    A column of its own query because it is large: up to a thousand ids a batch.
    """
    c = batch_task_run.c
    statement = select(c.id, c.friendly_id, c.environment_id, c.run_ids).where(is_one_of(references, batch_task_run))
    found: dict[str, list[str]] = {}
    for row in await connection.execute(statement):
        if row.environment_id in scope:
            found[row.id] = found[row.friendly_id] = row.run_ids or []
    return found
