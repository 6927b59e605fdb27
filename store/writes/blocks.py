"""What blocks runs of one shard, written: edges and connections are with the run, wherever the waitpoint is."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Table, Text, any_, bindparam, delete, func, select

from store import ids
from store.errors import StateError
from store.queries import bytewise, text_array
from store.shard import ReadConnection, WriteConnection
from store.tables import block, columns, task_run, waitpoint
from store.writes.rows import insert_rows, links
from store.writes.runs import (
    EXECUTING_STEPS,
    SUSPENDED,
    Homes,
    LockedRun,
    Step,
    add_steps,
    latest_steps,
    set_runs,
    step_row,
)
from store.writes.waitpoints import still_waits

NOT_BEGUN = frozenset({"DELAYED", "PENDING_VERSION", "WAITING_FOR_DEPLOY"})


class Tie(NamedTuple):
    """A waitpoint that a run is to wait for; of a batch that it waits for, which item it stands for."""

    waitpoint_id: str
    batch_id: str | None = None
    batch_index: int | None = None


class Edge(NamedTuple):
    """An edge that is there."""

    id: str
    run_id: str
    waitpoint_id: str
    batch_index: int | None
    created_at: datetime


def execution_status(run: LockedRun, last: Step | None) -> str:
    """Return what a run is doing: what its latest step says, or what its status does where it has no steps.

    One that has ended does nothing, even if the writer who ended it added no step.
    """
    if run.is_final:
        return "FINISHED"
    if last is not None:
        return last.execution_status
    if run.raw_status in {"WAITING_TO_RESUME", "PAUSED"}:
        return "SUSPENDED"
    return "EXECUTING" if run.raw_status in {"EXECUTING", "RETRYING_AFTER_FAILURE"} else "QUEUED"


async def block_run(  # noqa: PLR0913, PLR0917  what a block is made of
    connection: WriteConnection,
    connections: Table,
    run: LockedRun,
    ties: Sequence[Tie],
    homes: Homes,
    now: datetime,
) -> None:
    """Make a run that the caller has locked wait for waitpoints; those that it waits for already change nothing.

    Raises `StateError` for a run that has ended, or that cannot have begun.
    """
    if run.is_final:
        raise StateError("a run that has ended cannot wait", run.raw_status)
    if run.raw_status in NOT_BEGUN:
        raise StateError("a run that has not begun cannot wait", run.raw_status)
    last = (await latest_steps(connection, [run.id])).get(run.id)
    rows = [
        {
            "id": ids.mint_cuid(),
            "run_id": run.id,
            "waitpoint_id": tie.waitpoint_id,
            "batch_id": tie.batch_id,
            "batch_index": tie.batch_index,
            "project_id": run.project_id,
            "created_at": now,
            "updated_at": now,
        }
        for tie in ties
    ]
    await insert_rows(connection, block, rows, ignoring=True)
    pairs = dict.fromkeys((run.id, tie.waitpoint_id) for tie in ties)
    await insert_rows(connection, connections, links(connections, pairs, "run_id", "waitpoint_id"), ignoring=True)
    status = execution_status(run, last)
    if status in EXECUTING_STEPS:
        if status != "EXECUTING_WITH_WAITPOINTS":
            row = step_row(run, last, homes, now, "EXECUTING_WITH_WAITPOINTS", "Run waits for something to complete")
            await add_steps(connection, [row])
    elif status != "SUSPENDED":
        description = "Run was suspended before it began: it waits for something to complete"
        row = step_row(run, last, homes, now, "SUSPENDED", description, run_status=SUSPENDED)
        await add_steps(connection, [row])
        await set_runs(connection, [run.id], now, raw_status=SUSPENDED)


async def edges_of(connection: ReadConnection | WriteConnection, run_ids: Collection[str]) -> dict[str, list[Edge]]:
    """Return all edges of runs of this shard, by the run's primary key, in the order of items and of creation."""
    statement = (
        select(*columns(block, Edge._fields))
        .where(block.c.run_id == any_(text_array(run_ids)))
        .order_by(block.c.batch_index.asc().nulls_last(), block.c.created_at, bytewise(block.c.id))
    )
    found: defaultdict[str, list[Edge]] = defaultdict(list)
    for row in await connection.execute(statement):
        edge = Edge._make(row)
        found[edge.run_id].append(edge)
    return dict(found)


async def environments_of(connection: ReadConnection, run_ids: Collection[str]) -> dict[str, str]:
    """Return the environments of runs of this shard that do not say which type it has, by the run's primary key."""
    c = task_run.c
    statement = select(c.id, c.environment_id).where(
        c.id == any_(text_array(run_ids)), c.environment_type.is_(None) | c.organization_id.is_(None)
    )
    return {str(run_id): str(environment_id) for run_id, environment_id in await connection.execute(statement)}


async def runs_blocked_by(connection: ReadConnection, waitpoint_ids: Collection[str]) -> list[str]:
    """Return the runs of this shard that waitpoints block, wherever those are, by primary key."""
    statement = select(block.c.run_id).where(block.c.waitpoint_id == any_(text_array(waitpoint_ids))).distinct()
    return [str(id_) for id_ in (await connection.execute(statement)).scalars()]


class Walked(NamedTuple):
    """A part of a walk over edges: the runs that nothing of their shard blocks for certain, and where it goes on."""

    run_ids: list[str]
    behind: str | None
    """None at the end."""


async def walk_blocked_runs(connection: ReadConnection, after: str, most: int) -> Walked:
    """Return the runs that so many edges behind an id block, in the shard's order of ids, unless one surely does.

    That is one whose waitpoint is of this shard and still waits: it says so whatever other shards would say.
    """
    page = (
        select(block.c.id, block.c.run_id)
        .where(block.c.id > bindparam(None, after, type_=Text))
        .order_by(block.c.id)
        .limit(most)
        .cte("page")
    )
    run = select(page.c.run_id).distinct().subquery("run")
    # A subquery that is a value is asked run by run; of an EXISTS, Postgres would make a join of whole tables.
    blocking = (
        select(block.c.id)
        .join(waitpoint, waitpoint.c.id == block.c.waitpoint_id)
        .where(block.c.run_id == run.c.run_id, still_waits())
        .limit(1)
        .scalar_subquery()
    )
    last = select(page.c.id).order_by(page.c.id.desc()).limit(1).scalar_subquery()
    size = select(func.count()).select_from(page).scalar_subquery()
    found = func.array(select(run.c.run_id).where(blocking.is_(None)).scalar_subquery(), type_=text_array(()).type)
    row = (await connection.execute(select(found, last, size))).one()
    return Walked(list(row[0]), row[1] if row[2] == most else None)


async def remove_edges(connection: WriteConnection, edges: Mapping[str, Sequence[Edge]]) -> None:
    """Delete exactly these edges, which are by their run: whoever comes again deletes none."""
    ids_of = [edge.id for of in edges.values() for edge in of]
    if ids_of:
        statement = delete(block).where(
            block.c.id == any_(text_array(ids_of)), block.c.run_id == any_(text_array(edges))
        )
        await connection.execute(statement)


async def remove_all_edges(connection: WriteConnection, run_ids: Collection[str]) -> None:
    """Delete whatever blocks runs that have ended."""
    await connection.execute(delete(block).where(block.c.run_id == any_(text_array(run_ids))))
