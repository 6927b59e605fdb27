"""Runs, changed: canceled, rescheduled, tagged, their metadata written, their idempotency keys taken."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from store.authority import Authority
from store.engine import PostgresEngine
from store.errors import MissingError, ShardError, StateError
from store.moments import now
from store.queries import Scope
from store.seam import Seam
from store.shard import WriteConnection
from store.shards import Shards
from store.tables import task_run
from store.writes.blocks import execution_status, remove_all_edges
from store.writes.metadata import Document, lock_metadata, set_metadata
from store.writes.runs import (
    EXECUTING_STEPS,
    LockedRun,
    add_steps,
    add_tags,
    clear_keys,
    latest_steps,
    lock_runs,
    set_runs,
    step_of,
    step_row,
    with_bulk_action,
)
from store.writes.waitpoints import complete_of_runs

log = structlog.get_logger()
REASON = "Canceled by user"
BEGUN = EXECUTING_STEPS | {"PENDING_EXECUTING", "QUEUED_EXECUTING"}
RETIRED = "a run of the retired engine is read only"


class Changes:
    """Changes runs, each on its own shard."""

    def __init__(self, shards: Shards, postgres: PostgresEngine, authority: Authority, seam: Seam) -> None:
        self._shards, self._postgres, self._authority, self._seam = shards, postgres, authority, seam

    async def cancel(
        self, scope: Scope, run_id: str, environment_id: str, *, bulk_action_id: str | None = None
    ) -> bool:
        """Cancel a run, and tell whether it had not ended; then also complete what waits for it.

        Its row, its last steps, its own waitpoint and the edges that blocked it are one transaction. Raises
        `MissingError`, `StateError` or `ShardError`.
        """
        shard = self._seam.shard_of_run(run_id)
        homes = await self._postgres.homes([environment_id])

        async def work(connection: WriteConnection) -> tuple[LockedRun, bool, list[str]]:
            moment = now()
            run = await _locked(connection, run_id, scope, if_retired=True)
            touched = {} if bulk_action_id is None else {"bulk_action_group_ids": with_bulk_action(bulk_action_id)}
            if run.is_final:
                await set_runs(connection, [run_id] if touched else [], moment, **touched)
                return run, False, []
            _refuse_retired(run)
            last = (await latest_steps(connection, [run_id])).get(run_id)
            steps: list[Mapping[str, Any]] = []
            if execution_status(run, last) in BEGUN:
                steps.append(step_row(run, last, homes, moment, "PENDING_CANCEL", REASON, run_status="CANCELED"))
                last = step_of(steps[0])
            steps.append(step_row(run, last, homes, moment, "FINISHED", REASON, run_status="CANCELED"))
            await add_steps(connection, steps)
            error = {"type": "STRING_ERROR", "raw": REASON}
            await set_runs(
                connection, [run_id], moment, raw_status="CANCELED", completed_at=moment, error=error, **touched
            )
            completed = await complete_of_runs(connection, [run_id], moment)
            await remove_all_edges(connection, [run_id])
            return run, True, completed

        run, canceled, completed = await shard.write(work)
        if canceled:
            self._seam.engine.notify([run_id])
        await self._seam.follow(completed)
        if run.batch_id is not None:
            try:
                await self._seam.finish_batches(shard, [run.batch_id])
            except ShardError as error:
                log.warning("a batch may be complete", shard=error.shard)
        return canceled

    async def reschedule(self, scope: Scope, run_id: str, environment_id: str, at: datetime) -> None:
        """Move the time at which a delayed run begins. Raises `MissingError`, `StateError` or `ShardError`."""
        shard = self._seam.shard_of_run(run_id)
        homes = await self._postgres.homes([environment_id])

        async def work(connection: WriteConnection) -> None:
            moment = now()
            run = await _locked(connection, run_id, scope)
            if run.raw_status != "DELAYED":
                raise StateError("Cannot reschedule a run that is not delayed", run.raw_status)
            last = (await latest_steps(connection, [run_id])).get(run_id)
            await add_steps(connection, [step_row(run, last, homes, moment, "DELAYED", "Run was rescheduled")])
            await set_runs(connection, [run_id], moment, delay_until=at)

        await shard.write(work)
        self._seam.engine.schedule(at)
        self._seam.engine.notify([run_id])

    async def add_tags(self, scope: Scope, run_id: str, tags: Sequence[str], most: int) -> tuple[list[str], list[str]]:
        """Give a run the tags that it lacks, if it then has at most so many; return those it had, and those it lacked.

        Raises `MissingError` or `ShardError`.
        """
        found = await self._seam.shard_of_run(run_id).write(
            lambda connection: add_tags(connection, run_id, scope, tags, most, now())
        )
        if found is None:
            raise MissingError("Run")
        self._seam.engine.notify([run_id])
        return found

    async def update_metadata(self, scope: Scope, changes: Mapping[str, Callable[[Document], Document]]) -> None:
        """Change the metadata of runs, by primary key, each document as it is while its run is held.

        Runs of one shard change together or not at all. Raises `MissingError`, what a change raises, or `ShardError`.
        """
        by_shard: dict[str, list[str]] = {}
        for run_id in changes:
            by_shard.setdefault(self._seam.shard_of_run(run_id).key, []).append(run_id)
        for shard in self._shards.shards.values():
            run_ids = by_shard.get(shard.key, [])
            if not run_ids:
                continue

            async def work(connection: WriteConnection, run_ids: list[str] = run_ids) -> None:
                held = await lock_metadata(connection, run_ids, scope)
                if set(run_ids) - held.keys():
                    raise MissingError("Task Run")
                for run_id, (document, version) in held.items():
                    await set_metadata(connection, run_id, changes[run_id](document), version, now())

            await shard.write(work)
            self._seam.engine.notify(run_ids)

    async def reset_key(self, environment_id: str, task: str, keys: Collection[str]) -> tuple[int, list[ShardError]]:
        """Take a key, in any of the forms in which it may be stored, from the runs of a task on every shard.

        Returns how many runs had it, and who could not be asked. Under the key's authority: nobody makes a run under it
        meanwhile. Raises `ShardError` if that cannot be had.
        """
        c = task_run.c
        async with self._authority.over(environment_id, [("run", task, key) for key in keys]):
            count = 0
            failures: list[ShardError] = []
            conditions = (c.task_identifier == task, c.stored_idempotency_key.in_(list(keys)))
            for shard in self._shards.shards.values():
                try:
                    cleared = await shard.write(
                        lambda connection: clear_keys(connection, [environment_id], now(), *conditions)
                    )
                except ShardError as error:
                    failures.append(error)
                else:
                    count += len(cleared)
            return count, failures

    async def reset_key_of_run(self, scope: Scope, run_id: str, key: str) -> bool:
        """Take the key from the run that has it, and tell whether it still had. Raises `ShardError`."""
        c = task_run.c
        cleared = await self._seam.shard_of_run(run_id).write(
            lambda connection: clear_keys(connection, scope, now(), c.id == run_id, c.stored_idempotency_key == key)
        )
        return bool(cleared)


async def _locked(connection: WriteConnection, run_id: str, scope: Scope, *, if_retired: bool = False) -> LockedRun:
    run = (await lock_runs(connection, [run_id], scope)).get(run_id)
    if run is None:
        raise MissingError("Run")
    if not if_retired:
        _refuse_retired(run)
    return run


def _refuse_retired(run: LockedRun) -> None:
    if run.engine == "V1":
        raise StateError(RETIRED, run.raw_status)
