"""Batches of one shard: keys in, records out. Rows of other environments are absent, as if they did not exist."""

from collections.abc import Collection

from sqlalchemy import select

from store.queries import by_reference, is_one_of
from store.records import BatchRecord
from store.shard import ReadConnection
from store.tables import batch_task_run, columns

_COLUMNS = columns(batch_task_run, BatchRecord._fields)


async def batches_by_reference(
    connection: ReadConnection, environment_id: str, references: Collection[str]
) -> dict[str, BatchRecord]:
    """Return this shard's batches, keyed by friendly id (``batch_...``) and by primary key."""
    statement = select(*_COLUMNS).where(batch_task_run.c.environment_id == environment_id)
    return await by_reference(connection, statement, batch_task_run, BatchRecord._make, references)


async def listed_runs_by_batch(
    connection: ReadConnection, environment_id: str, references: Collection[str]
) -> dict[str, list[str]]:
    """Return the friendly ids of the runs that each batch lists, in its order, keyed as `batches_by_reference` is.

    A column of its own query because it is large: up to a thousand ids a batch.
    """
    c = batch_task_run.c
    statement = select(c.id, c.friendly_id, c.run_ids).where(
        c.environment_id == environment_id, is_one_of(references, batch_task_run)
    )
    found: dict[str, list[str]] = {}
    for row in await connection.execute(statement):
        found[row.id] = found[row.friendly_id] = row.run_ids or []
    return found
