"""Waitpoints of one shard, and the rows that tie runs to them: keys in, records out."""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Table, Text, any_, bindparam, select

from store.pages import Window
from store.queries import by_reference, bytewise, each, page_of, page_of_each, text_array
from store.records import BlockRecord, WaitpointRecord
from store.shard import ReadConnection
from store.tables import block, columns, waitpoint

_COLUMNS = columns(waitpoint, WaitpointRecord._fields)
_BLOCK_COLUMNS = columns(block, BlockRecord._fields)

MOST_BLOCKS = 1_000


async def waitpoints_by_reference(
    connection: ReadConnection, environment_id: str, references: Collection[str]
) -> dict[str, WaitpointRecord]:
    """Return this shard's waitpoints of an environment, keyed by friendly id and by primary key."""
    statement = select(*_COLUMNS).where(waitpoint.c.environment_id == environment_id)
    return await by_reference(connection, statement, waitpoint, WaitpointRecord._make, references)


async def token_page(
    connection: ReadConnection, environment_id: str, conditions: Sequence[ColumnElement[bool]], window: Window
) -> list[WaitpointRecord]:
    """Return one window of an environment's waitpoints on this shard, and one more."""
    statement = select(*_COLUMNS).where(waitpoint.c.environment_id == environment_id, *conditions)
    return await page_of(connection, statement, waitpoint, WaitpointRecord._make, window)


async def outputs_by_waitpoint(
    connection: ReadConnection, environment_id: str, ids: Collection[str]
) -> dict[str, tuple[str | None, str]]:
    """Return the outputs of waitpoints and their content types, by primary key: too large to be read with each."""
    c = waitpoint.c
    statement = select(c.id, c.output, c.output_type).where(
        c.environment_id == environment_id, c.id == any_(text_array(ids))
    )
    return {row.id: (row.output, row.output_type) for row in await connection.execute(statement)}


async def waitpoint_ids_by_run(
    connection: ReadConnection, link: Table, run_ids: Collection[str], window: Window
) -> dict[str, list[str]]:
    """Return the ids of the waitpoints that each run of this shard ever waited on, keyed by the run's primary key.

    In the order of the ids, in which they were minted; one more than the window holds. The waitpoints themselves may be
    on any shard.
    """
    run = each(run_ids)
    statement = select(link.c.waitpoint_id).where(link.c.run_id == run.c.id)
    if window.at is not None:
        statement = statement.where(bytewise(link.c.waitpoint_id) > bindparam(None, window.at.id, type_=Text))
    statement = statement.order_by(bytewise(link.c.waitpoint_id)).limit(window.size + 1)
    found: dict[str, list[str]] = {}
    for run_id, waitpoint_id in await connection.execute(page_of_each(run, statement)):
        found.setdefault(run_id, []).append(waitpoint_id)
    return found


async def blocks_by_run(connection: ReadConnection, run_ids: Collection[str]) -> dict[str, list[BlockRecord]]:
    """Return the edges that block each run of this shard, keyed by the run's primary key, in the order of creation.

    At most `MOST_BLOCKS` a run: a batch, the widest thing to wait for, has no more members.
    """
    run = each(run_ids)
    statement = (
        select(*_BLOCK_COLUMNS)
        .where(block.c.run_id == run.c.id)
        .order_by(block.c.created_at, bytewise(block.c.id))
        .limit(MOST_BLOCKS)
    )
    found: dict[str, list[BlockRecord]] = {}
    for run_id, *row in await connection.execute(page_of_each(run, statement)):
        found.setdefault(run_id, []).append(BlockRecord._make(row))
    return found
