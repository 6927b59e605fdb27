"""What follows from a write: the one place where something else is told of it.

`Engine` is the port. `PostgresEngine` does it in the databases themselves; one that forwards to a platform's own API
would be another. All of it can be done again: what a crash leaves undone is found from the rows (`store.sweeper`).
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import structlog

from store.control_plane import ControlPlane
from store.errors import DanglingReferenceError, ShardError
from store.moments import now
from store.residency import ShardKey
from store.shard import ReadConnection, ReadFrom, Shard, WriteConnection
from store.shards import Shards
from store.writes.blocks import Edge, edges_of, environments_of, execution_status, remove_edges
from store.writes.runs import (
    Home,
    Homes,
    LockedRun,
    Step,
    add_steps,
    latest_steps,
    link_completions,
    lock_runs,
    set_runs,
    step_row,
)
from store.writes.waitpoints import wait_states

log = structlog.get_logger()
MOST_RUNS = 500
"""Of one transaction."""


class Engine(Protocol):
    """What is told of a write, when it has been committed."""

    async def continue_runs(self, run_ids: Collection[str]) -> list[str]:
        """Let the runs go on that nothing blocks any more, and return their primary keys.

        Never raises for a shard that cannot be asked: its runs are found again.
        """

    def schedule(self, at: datetime) -> None:
        """Say when something is due: a time that is waited for, a token's time-out, the end of a delay."""

    def notify(self, run_ids: Collection[str]) -> None:
        """Say that runs have changed."""


class PostgresEngine:
    """Continues runs in their databases. What is due is found by the sweeper, and changes by whoever looks."""

    def __init__(self, shards: Shards, control_plane: ControlPlane) -> None:
        self._shards, self._control_plane = shards, control_plane
        self.stuck: set[str] = set()
        """Runs that cannot go on, as nothing says where they are: each was logged once."""
        self.due = asyncio.Event()
        """Set when there may be something for the sweeper to do before its next round."""

    def schedule(self, at: datetime) -> None:
        """Wake the sweeper if the moment is here; it finds what is due later by itself."""
        if at <= now():
            self.due.set()

    def notify(self, run_ids: Collection[str]) -> None:
        """Tell nobody: a run's row is what there is to see."""

    async def continue_runs(self, run_ids: Collection[str]) -> list[str]:
        """Let the runs go on that nothing blocks any more, each on its own shard, and return their primary keys."""
        wanted = defaultdict[ShardKey, list[str]](list)
        for run_id in dict.fromkeys(run_ids):
            for key in self._shards.residency.run(run_id):
                wanted[key].append(run_id)
        parts = [
            (self._shards.shards[key], of[start : start + MOST_RUNS])
            for key, of in wanted.items()
            for start in range(0, len(of), MOST_RUNS)
        ]
        done = await asyncio.gather(*(self._continued(shard, part) for shard, part in parts))
        return [run_id for part in done for run_id in part]

    async def _continued(self, shard: Shard, run_ids: Sequence[str]) -> list[str]:
        try:
            return await self._continue(shard, run_ids)
        except ShardError as error:
            log.warning("runs are left blocked for now", shard=error.shard, runs=len(run_ids))
            return []

    async def _continue(self, shard: Shard, run_ids: Sequence[str]) -> list[str]:
        """Continue runs of one shard, in one transaction.

        That a waitpoint is complete stays true, so it is asked before the runs are locked: no connection is waited for
        while another is held. An edge that was added meanwhile is its adder's to look after.
        """

        async def look(connection: ReadConnection) -> tuple[dict[str, list[Edge]], dict[str, str]]:
            return await edges_of(connection, run_ids), await environments_of(connection, run_ids)

        edges, homeless = await shard.read(look, ReadFrom.PRIMARY)
        completed = await self.completed({edge.waitpoint_id for of in edges.values() for edge in of})
        ready = [run_id for run_id, of in edges.items() if all(edge.waitpoint_id in completed for edge in of)]
        if not ready:
            return []
        homes = await self.homes({homeless[run_id] for run_id in ready if run_id in homeless})
        moment = now()

        async def work(connection: WriteConnection) -> list[str]:
            runs = await lock_runs(connection, ready)
            edges = await edges_of(connection, list(runs))
            open_ = {run_id: of for run_id, of in edges.items() if all(edge.waitpoint_id in completed for edge in of)}
            steps = await latest_steps(connection, list(open_))
            plan = _Plan(homes, moment)
            open_ = {run_id: of for run_id, of in open_.items() if self._add(plan, runs[run_id], steps.get(run_id), of)}
            await add_steps(connection, plan.rows)
            await link_completions(connection, shard.catalog.completion, plan.links)
            await set_runs(connection, plan.requeued, moment, raw_status="PENDING", queue_timestamp=moment)
            await remove_edges(connection, open_)
            return plan.continued

        continued = await shard.write(work)
        self.notify(continued)
        return continued

    def _add(self, plan: "_Plan", run: LockedRun, last: Step | None, edges: Sequence[Edge]) -> bool:
        """Plan a run's next step, and tell whether that can be done: if not, it must not hold up the others."""
        try:
            plan.add(run, last, edges)
        except LookupError as error:
            if run.id not in self.stuck:
                self.stuck.add(run.id)
                log.error("a run cannot go on", run=run.friendly_id, reason=str(error))  # noqa: TRY400  no surprise
            return False
        self.stuck.discard(run.id)
        return True

    async def completed(self, waitpoint_ids: Collection[str]) -> set[str]:
        """Return which of the waitpoints are complete, wherever they are; from primaries.

        One that no shard has is an error and never complete. Raises `ShardError` if that cannot be told.
        """
        if not waitpoint_ids:
            return set()
        answers = await self._shards.looked_up(
            waitpoint_ids, lambda _, connection: wait_states(connection, waitpoint_ids), ReadFrom.PRIMARY
        )
        found: set[str] = set()
        for id_ in waitpoint_ids:
            answer = answers.get(id_)
            if isinstance(answer, ShardError):
                log.warning("a waitpoint may be on a shard that does not answer", shard=answer.shard)
            elif answer is None:
                log.error("a run waits for what no shard has", error=str(DanglingReferenceError("waitpoint")))
            elif answer.is_completed:
                found.add(id_)
        return found

    async def homes(self, environment_ids: Collection[str]) -> Homes:
        """Return what steps say of where runs are, by environment."""
        if not environment_ids:
            return {}
        found = await self._control_plane.environments(environment_ids)
        return {id_: Home(one.type, one.organization_id) for id_, one in found.items()}


class _Plan:
    """What it takes to continue runs of one shard. The cases are the platform's (``waitpointSystem.ts``)."""

    def __init__(self, homes: Homes, moment: datetime) -> None:
        self._homes, self._moment = homes, moment
        self.rows: list[Mapping[str, Any]] = []
        self.links: list[tuple[str, str]] = []
        self.requeued: list[str] = []
        self.continued: list[str] = []

    def add(self, run: LockedRun, last: Step | None, edges: Sequence[Edge]) -> None:
        """Plan the next step of a run that its edges block no more; one that is not blocked takes none.

        Raises `LookupError` for a run of which nothing says where it is.
        """
        match execution_status(run, last):
            case "EXECUTING_WITH_WAITPOINTS":
                self._step(run, last, edges, "EXECUTING", "Run goes on: what it waited for is complete")
            case "SUSPENDED":
                # The platform has no way on without a checkpoint. A run that never began needs none.
                description = "Run is queued again: what it waited for is complete"
                self._step(run, last, edges, "QUEUED", description, run_status="PENDING")
                self.requeued.append(run.id)

    def _step(  # noqa: PLR0913, PLR0917  what a step says
        self,
        run: LockedRun,
        last: Step | None,
        edges: Sequence[Edge],
        status: str,
        description: str,
        run_status: str | None = None,
    ) -> None:
        order = [edge.waitpoint_id for edge in edges if edge.batch_index is not None]
        row = step_row(run, last, self._homes, self._moment, status, description, run_status=run_status, order=order)
        self.rows.append(row)
        self.links += dict.fromkeys((row["id"], edge.waitpoint_id) for edge in edges)
        self.continued.append(run.id)
