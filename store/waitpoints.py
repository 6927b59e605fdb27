"""Waitpoints of one shard, their tags, and the rows that tie runs to them: keys in, records out."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, Table, Text, any_, bindparam, func, select

from store.pages import Window
from store.queries import Scope, by_reference, bytewise, cut, each, page_of_each, rows_of_each, text_array
from store.records import BlockRecord, TagRecord, WaitpointRecord
from store.shard import ReadConnection
from store.tables import block, columns, waitpoint, waitpoint_tag

_WAITPOINTS = select(*columns(waitpoint, WaitpointRecord._fields))
_BLOCK_COLUMNS = columns(block, BlockRecord._fields)

MOST_BLOCKS = 1_000
MOST_LINKS = 1_000


async def waitpoints_by_reference(
    connection: ReadConnection, scope: Scope, references: Collection[str]
) -> dict[str, WaitpointRecord]:
    """Return this shard's waitpoints, keyed by friendly id (``waitpoint_...``) and by primary key."""
    return await by_reference(connection, _WAITPOINTS, waitpoint, WaitpointRecord._make, references, scope)


async def waitpoints_by_environment(
    connection: ReadConnection,
    environment_ids: Collection[str],
    conditions: Sequence[ColumnElement[bool]],
    window: Window,
) -> dict[str, list[WaitpointRecord]]:
    """Return one window of each environment's waitpoints on this shard, and one more."""
    parent = each(environment_ids)
    statement = _WAITPOINTS.where(waitpoint.c.environment_id == parent.c.id, *conditions)
    return await page_of_each(connection, parent, statement, waitpoint, WaitpointRecord._make, window)


async def outputs_by_waitpoint(
    connection: ReadConnection, scope: Scope, ids: Collection[str]
) -> dict[str, tuple[str | None, str]]:
    """Return the outputs of waitpoints and their content types, by primary key: too large to be read with each."""
    c = waitpoint.c
    statement = select(c.id, c.environment_id, c.output, c.output_type).where(c.id == any_(text_array(ids)))
    rows = await connection.execute(statement)
    return {row.id: (row.output, row.output_type) for row in rows if row.environment_id in scope}


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
    return await rows_of_each(connection, run, statement, lambda row: str(row[0]))


async def waitpoint_ids_by_snapshot(
    connection: ReadConnection, link: Table, snapshot_ids: Collection[str]
) -> dict[str, list[str]]:
    """Return the ids of the waitpoints that completed each step of a run of this shard, at most `MOST_LINKS` a step."""
    snapshot = each(snapshot_ids)
    statement = (
        select(link.c.waitpoint_id)
        .where(link.c.snapshot_id == snapshot.c.id)
        .order_by(bytewise(link.c.waitpoint_id))
        .limit(MOST_LINKS)
    )
    return await rows_of_each(connection, snapshot, statement, lambda row: str(row[0]))


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
    return await rows_of_each(connection, run, statement, BlockRecord._make)


async def tags_by_prefix(
    connection: ReadConnection, environment_id: str, prefix: str, window: Window
) -> list[TagRecord]:
    """Return one window of an environment's tags on this shard that begin with `prefix`, whatever the case; one more.

    Newest first; in the window's position a name stands for an id.
    """
    c = waitpoint_tag.c
    statement = select(c.name, c.created_at).where(c.environment_id == environment_id)
    if prefix:
        statement = statement.where(
            func.starts_with(func.lower(c.name), func.lower(bindparam(None, prefix, type_=Text)))
        )
    rows = await connection.execute(cut(statement, window, c.created_at, c.name))
    return [TagRecord._make(row) for row in rows]


async def tags_by_name(
    connection: ReadConnection, environment_id: str, names: Collection[str]
) -> Mapping[str, TagRecord]:
    """Return an environment's tags on this shard, by name."""
    c = waitpoint_tag.c
    statement = select(c.name, c.created_at).where(
        c.environment_id == environment_id, c.name == any_(text_array(names))
    )
    return {row.name: TagRecord._make(row) for row in await connection.execute(statement)}
