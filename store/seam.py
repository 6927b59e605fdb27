"""The border between shards that a completion may have to cross: a run on one, what it waits for on another.

No transaction crosses it. The durable fact comes first, on its own shard; what follows from it is done on the others,
can be done again, and is found from the rows if it was not.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import structlog

from store import ids
from store.engine import Engine, PostgresEngine
from store.errors import MissingError, ShardError, StateError
from store.moments import now
from store.queries import Scope
from store.residency import ShardKey, shard_of
from store.shard import ReadConnection, ReadFrom, Shard, WriteConnection
from store.shards import Shards
from store.writes.batches import finish_batches, sealed_batches, unfinished_batches
from store.writes.blocks import Tie, block_run, runs_blocked_by
from store.writes.runs import lock_runs
from store.writes.waitpoints import Due, Holding, Outcome, complete, complete_due, complete_of_batches, holdings

log = structlog.get_logger()


class Held(NamedTuple):
    """A waitpoint, and the shard that holds it."""

    shard: ShardKey
    waitpoint: Holding


class Seam:
    """Blocks runs and completes waitpoints, whichever shards they are on."""

    def __init__(self, shards: Shards, postgres: PostgresEngine, engine: Engine | None = None) -> None:
        self._shards, self._postgres = shards, postgres
        self.engine = engine or postgres
        """Who is told of what follows."""

    async def held(self, scope: Scope | None, reference: str) -> Held:
        """Return a waitpoint and where it is, from primaries; without a scope, whoever's it is.

        Raises `MissingError`, or `ShardError` if it may exist.

        An id says nothing of the shard: all are asked. Should several have it, the one that the id's shape prefers is
        taken, as everyone who completes it takes it.
        """
        if not ids.can_exist(reference):
            raise MissingError("Waitpoint")
        preferred = shard_of(reference)

        async def query(shard: Shard, connection: ReadConnection) -> dict[str, Held]:
            found = await holdings(connection, [reference])
            mine = {key: one for key, one in found.items() if scope is None or one.environment_id in scope}
            return {key: Held(shard.key, one) for key, one in mine.items()}

        answers = await self._shards.looked_up(
            [reference],
            query,
            ReadFrom.PRIMARY,
            choose=lambda one, other: one if one.shard == preferred else other,
        )
        answer = answers.get(reference)
        if isinstance(answer, ShardError):
            raise answer
        if answer is None:
            raise MissingError("Waitpoint")
        return answer

    async def block(self, scope: Scope, run_id: str, environment_id: str, ties: Sequence[Tie]) -> None:
        """Make a run wait for waitpoints, wherever they are, and let it go on if none of them is pending any more.

        Everything is written on the run's shard. Whether something is pending is asked after that is committed: who
        completes it from then on finds the edge. Raises `MissingError`, `StateError` or `ShardError`.
        """
        shard = self.shard_of_run(run_id)
        homes = await self._postgres.homes([environment_id])

        async def work(connection: WriteConnection) -> None:
            runs = await lock_runs(connection, [run_id], scope)
            if run_id not in runs:
                raise MissingError("Run")
            await block_run(connection, shard.catalog.connection, runs[run_id], ties, homes, now())

        await shard.write(work)
        self.engine.notify([run_id])
        await self.settle(run_id, [tie.waitpoint_id for tie in ties])

    def shard_of_run(self, reference: str) -> Shard:
        """Return the shard that a run's id names. Raises `MissingError` if it is not configured: no row can exist."""
        route = self._shards.residency.run(reference)
        if not route:
            raise MissingError("Run")
        return self._shards.shards[route[0]]

    async def settle(self, run_id: str, waitpoint_ids: Collection[str]) -> None:
        """Let a run go on if none of the waitpoints that it was just made to wait for is pending."""
        try:
            if await self._postgres.completed(waitpoint_ids) == set(waitpoint_ids):
                await self.engine.continue_runs([run_id])
        except ShardError as error:
            log.warning("a run may wait for what is complete", shard=error.shard)

    async def complete(self, held: Held, outcome: Outcome, types: Collection[str]) -> bool:
        """Complete a waitpoint of one of the types where it is, and continue what it blocks, wherever that is.

        Tells whether it was pending: who completes it first, wins. Raises `ShardError`, or `StateError` for a waitpoint
        of another type, which something else completes; then it stays as it is.
        """
        shard_key, waitpoint = held
        if waitpoint.type not in types:
            raise StateError(_COMPLETED_BY.get(waitpoint.type, "something else completes this waitpoint"))
        won = waitpoint.raw_status == "PENDING" and await self._shards.shards[shard_key].write(
            lambda connection: complete(connection, waitpoint.id, outcome, now())
        )
        await self.follow([waitpoint.id])
        return won

    async def follow(self, waitpoint_ids: Collection[str]) -> None:
        """Continue what completed waitpoints blocked, on any shard. Also after a completion that came before.

        Never raises for a shard: the completion stands, and its runs are found again.
        """
        if not waitpoint_ids:
            return
        try:
            legs, failures = await self._shards.everywhere(
                lambda _, connection: runs_blocked_by(connection, waitpoint_ids), ReadFrom.PRIMARY
            )
        except ShardError as error:
            legs, failures = [], [error]
        for failure in failures:
            log.warning("runs may be left blocked for now", shard=failure.shard)
        await self.engine.continue_runs([run_id for leg in legs for run_id in leg])

    async def end(self, shard: Shard, due: Sequence[Due]) -> list[str]:
        """Complete waitpoints of a shard whose time has come, as far as they wait, and continue what they blocked.

        Returns the primary keys of those. Raises `ShardError`.
        """
        ended = await shard.write(lambda connection: complete_due(connection, due, now()))
        await self.follow(ended)
        return ended

    async def finish_batches(self, shard: Shard, batch_ids: Collection[str]) -> list[str]:
        """Complete the sealed batches of a shard whose members have all ended, and what waits for them.

        Returns the primary keys of those. Raises `ShardError`.
        """
        done = await self.ended_batches(shard, batch_ids)
        if not done:
            return []

        async def work(connection: WriteConnection) -> tuple[list[str], list[str]]:
            moment = now()
            finished = await finish_batches(connection, done, moment)
            return finished, await complete_of_batches(connection, finished, moment)

        finished, waitpoint_ids = await shard.write(work)
        await self.follow(waitpoint_ids)
        return finished

    async def ended_batches(self, shard: Shard, batch_ids: Collection[str]) -> list[str]:
        """Return the sealed batches of a shard that are not complete, though their members have all ended.

        A member may be on any shard. Raises `ShardError`.
        """
        open_ = await shard.read(lambda connection: sealed_batches(connection, batch_ids), ReadFrom.PRIMARY)
        if not open_:
            return []
        legs = await self._shards.everyone(
            lambda _, connection: unfinished_batches(connection, open_), ReadFrom.PRIMARY
        )
        return [batch_id for batch_id in open_ if not any(batch_id in leg for leg in legs)]


_COMPLETED_BY = {
    "RUN": "the end of a run completes this waitpoint",
    "BATCH": "the end of a batch completes this waitpoint",
    "DATETIME": "a time completes this waitpoint: skip it instead",
    "MANUAL": "a token is completed, not skipped",
}
