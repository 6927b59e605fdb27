"""New runs and batches: where they are made, that it is done once, and who waits for them.

Everything that belongs together is one transaction on one shard: a batch, its runs, their first steps, the waitpoints
of those that are waited for, and the edges that block the parent. A child is made where its parent is and an item where
its batch is, so nothing of that crosses the seam; what an idempotency key finds may.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple, TypeVar

from store import ids
from store.authority import Authority, Confirm
from store.errors import LimitError, MissingError, ShardError, UniqueViolationError
from store.minting import Minting
from store.moments import now
from store.plans import IdempotencyKey, NewRun, Plan
from store.records import EnvironmentRecord, RunRecord
from store.residency import ShardKey
from store.seam import Seam
from store.shard import ReadConnection, ReadFrom, Shard, WriteConnection
from store.shards import Shards
from store.tables import task_run
from store.writes.batches import KeyedBatch, add_batch, clear_batch_key, keyed_batches
from store.writes.blocks import Tie, block_run
from store.writes.runs import KeyedRun, add_runs, clear_keys, idempotent_runs, lock_runs, used_tokens
from store.writes.waitpoints import (
    add_waitpoints,
    complete_of_ended_batches,
    complete_of_runs,
    waitpoint_row,
    waitpoints_of_batches,
    waitpoints_of_runs,
)

T = TypeVar("T")

ROUNDS = 5
"""How often a key is looked for anew that somebody took who does not ask the authority."""


class Triggered(NamedTuple):
    """The friendly id of a run or batch, and whether a key found it, so that nothing was made."""

    friendly_id: str
    is_cached: bool


class Found(NamedTuple):
    """A run that a key found, and its shard."""

    shard: ShardKey
    run: KeyedRun


class FoundBatch(NamedTuple):
    """A batch that a key found, and its shard."""

    shard: ShardKey
    batch: KeyedBatch


Hits = Mapping[tuple[str, str], Found]
"""Runs that are found by task and stored key."""


class Triggers:
    """Makes runs and batches."""

    def __init__(self, shards: Shards, minting: Minting, authority: Authority, seam: Seam) -> None:
        self._shards, self._minting, self._authority, self._seam = shards, minting, authority, seam

    async def run(
        self, environment: EnvironmentRecord, new: NewRun, parent: RunRecord | None = None, *, waits: bool = False
    ) -> Triggered:
        """Make a run, of which the parent waits if told, or find the one that its idempotency key names.

        Raises `MissingError` or `StateError` for a parent, `LimitError` for a one-time token that was used, and
        `ShardError`.
        """

        async def once() -> Triggered:
            async with self._once(environment, [new]) as (hits, _, confirm):
                if (hit := _hit(hits, new)) is not None:
                    if parent is not None and waits:
                        await self._wait_for(parent, await self._waitpoint_of(hit))
                    return Triggered(hit.run.friendly_id, is_cached=True)
                body = await self._body(environment, parent, new.friendly_id)
                plan = Plan(environment, parent, parent is not None and waits, now())
                friendly_id = plan.add(body, new)
                await self._make(plan, self._seam.shard_of_run(body), confirm)
                return Triggered(friendly_id, is_cached=False)

        try:
            return await _in_rounds(once)
        except UniqueViolationError:
            if new.friendly_id is None:
                raise
            return Triggered(new.friendly_id, is_cached=True)

    async def batch(  # noqa: PLR0913  what a batch is made of
        self,
        environment: EnvironmentRecord,
        items: Sequence[NewRun],
        key: IdempotencyKey | None = None,
        parent: RunRecord | None = None,
        *,
        waits: bool = False,
        one_time_token: str | None = None,
    ) -> Triggered:
        """Make a batch with all its runs, or find the one that its idempotency key names.

        An item's key may find a run of another batch, on any shard: it is a member of both. Raises as `run` does.
        """

        async def once() -> Triggered:
            async with self._once(environment, items, key, one_time_token) as (hits, existing, confirm):
                if existing is None:
                    plan = Plan(
                        environment,
                        parent,
                        parent is not None and waits,
                        now(),
                        await self._body(environment, parent),
                        key,
                        one_time_token,
                    )
                    return await self._batch(plan, items, hits, confirm)
                if parent is not None and waits:
                    await self._wait_for(parent, await self._waitpoint_of_batch(existing, environment))
                return Triggered(existing.batch.friendly_id, is_cached=True)

        return await _in_rounds(once)

    async def _batch(self, plan: Plan, items: Sequence[NewRun], hits: Hits, confirm: Confirm) -> Triggered:
        body = str(plan.batch_id)
        shard = self._seam.shard_of_run(body)
        waitpoints = {
            hit: await self._waitpoint_of(hit) if plan.waits else None for hit in dict.fromkeys(hits.values())
        }
        for item in items:
            hit = _hit(hits, item)
            if hit is None:
                plan.add(self._minting.with_anchor(body), item)
            else:
                plan.join(hit.run.friendly_id, waitpoints[hit])
        await self._make(plan, shard, confirm)
        if hits:
            with suppress(ShardError):  # every sealed batch is found again
                await self._seam.finish_batches(shard, [body])
            if plan.parent is not None and plan.waits:
                await self._seam.settle(plan.parent.id, {tie.waitpoint_id for tie in plan.ties})
        return Triggered(f"batch_{body}", is_cached=False)

    async def _body(
        self, environment: EnvironmentRecord, parent: RunRecord | None, friendly_id: str | None = None
    ) -> str:
        """Return the id of what is new: the one that is given, else one that lives with the parent, else a root's."""
        if friendly_id is not None:
            return ids.internal(friendly_id, "run")
        if parent is not None:
            return self._minting.with_anchor(parent.id)
        return self._minting.on(await self._minting.home(environment))

    async def _make(self, plan: Plan, shard: Shard, confirm: Confirm) -> None:
        """Write everything that is planned, in one transaction."""

        async def work(connection: WriteConnection) -> None:
            waiting = None
            if plan.parent is not None and plan.waits:
                runs = await lock_runs(connection, [plan.parent.id], [plan.environment.id])
                if plan.parent.id not in runs:
                    raise MissingError("Parent run")
                waiting = runs[plan.parent.id]
            if plan.batch is not None:
                await add_batch(connection, plan.batch)
            await add_runs(connection, plan.runs, plan.steps)
            await add_waitpoints(connection, plan.waitpoints)
            if waiting is not None:
                await block_run(connection, shard.catalog.connection, waiting, plan.ties, plan.homes, plan.moment)
            await confirm()

        await shard.write(work)
        for run in plan.runs:
            if run["delay_until"] is not None:
                self._seam.engine.schedule(run["delay_until"])
        self._seam.engine.notify([run["id"] for run in plan.runs])

    async def _wait_for(self, parent: RunRecord, waitpoint_id: str) -> None:
        await self._seam.block([parent.environment_id], parent.id, parent.environment_id, [Tie(waitpoint_id)])

    async def _waitpoint_of(self, found: Found) -> str:
        """Return the waitpoint that a run's end completes, made on the run's shard if there was none."""
        run = found.run

        async def work(connection: WriteConnection) -> str:
            await lock_runs(connection, [run.id])
            existing = await waitpoints_of_runs(connection, [run.id])
            if run.id in existing:
                return existing[run.id]
            moment = now()
            row = waitpoint_row("RUN", run.environment_id, run.project_id, moment, completed_by_run_id=run.id)
            await add_waitpoints(connection, [row])
            await complete_of_runs(connection, [run.id], moment)
            return str(row["id"])

        return await self._shards.shards[found.shard].write(work)

    async def _waitpoint_of_batch(self, found: FoundBatch, environment: EnvironmentRecord) -> str:
        """Return the waitpoint that a batch's end completes, made on the batch's shard if there was none."""
        shard, batch_id = self._shards.shards[found.shard], found.batch.id

        async def work(connection: WriteConnection) -> str:
            existing = await waitpoints_of_batches(connection, [batch_id])
            if batch_id in existing:
                return existing[batch_id]
            moment = now()
            row = waitpoint_row("BATCH", environment.id, environment.project_id, moment, completed_by_batch_id=batch_id)
            await add_waitpoints(connection, [row])
            await complete_of_ended_batches(connection, [batch_id], moment)
            return str(row["id"])

        return await shard.write(work)

    @asynccontextmanager
    async def _once(
        self,
        environment: EnvironmentRecord,
        items: Sequence[NewRun],
        batch_key: IdempotencyKey | None = None,
        batch_token: str | None = None,
    ) -> AsyncIterator[tuple[Hits, FoundBatch | None, Confirm]]:
        """Hold what makes keys and one-time tokens unique, and yield the runs, and the batch, that the keys find.

        Keys that all find something need no lock of the control plane. From what has expired, and from runs that
        failed, they are taken. All locks are taken at once: who holds some and waits for others would wait for somebody
        who does the same.
        """
        keys = {item.stored_key for item in items if item.stored_key is not None}
        tokens = {token for token in (batch_token, *(item.one_time_token for item in items)) if token is not None}
        locks = [("run", *key) for key in keys] + [("token", token) for token in tokens]
        if batch_key is not None:
            locks.append(("batch", batch_key.stored))
        if not locks:
            yield {}, None, _nothing
            return
        async with self._authority.here(environment.id, locks):
            hits, batch = await self._probe(environment, keys), await self._probe_batch(environment, batch_key)
            if batch is not None and batch.batch.is_live(now()):
                yield {}, batch, _nothing
                return
            if not tokens and batch_key is None and all(key in hits and hits[key].run.is_live(now()) for key in keys):
                yield hits, None, _nothing
                return
            async with self._authority.everywhere(environment.id, locks) as confirm:
                batch = await self._probe_batch(environment, batch_key)
                if batch is not None and batch.batch.is_live(now()):
                    yield {}, batch, confirm
                    return
                await self._refuse_used(tokens)
                if batch is not None and batch_key is not None:
                    await self._clear_batch(batch, batch_key.stored)
                moment = now()
                hits = await self._probe(environment, keys)
                live = {key: found for key, found in hits.items() if found.run.is_live(moment)}
                for key in hits.keys() - live.keys():
                    await self._clear(hits[key], key[1])
                yield live, None, confirm

    async def _probe(self, environment: EnvironmentRecord, keys: set[tuple[str, str]]) -> dict[tuple[str, str], Found]:
        """Return the runs that keys find, on any shard. Raises `ShardError` for a key that may find one."""
        if not keys:
            return {}

        async def query(shard: Shard, connection: ReadConnection) -> dict[tuple[str, str], Found]:
            found = await idempotent_runs(connection, environment.id, keys)
            return {key: Found(shard.key, run) for key, run in found.items()}

        legs, failures = await self._shards.everywhere(query, ReadFrom.PRIMARY)
        found = {key: one for leg in legs for key, one in leg.items()}
        if failures and keys - found.keys():
            raise failures[0]
        return found

    async def _refuse_used(self, tokens: set[str]) -> None:
        if not tokens:
            return
        legs = await self._shards.everyone(lambda _, connection: used_tokens(connection, tokens), ReadFrom.PRIMARY)
        if any(legs):
            raise LimitError("Cannot trigger with a one-time use token as it has already been used.")

    async def _clear(self, found: Found, key: str) -> None:
        conditions = (task_run.c.id == found.run.id, task_run.c.stored_idempotency_key == key)
        await self._shards.shards[found.shard].write(
            lambda connection: clear_keys(connection, [found.run.environment_id], now(), *conditions)
        )

    async def _clear_batch(self, found: FoundBatch, key: str) -> None:
        await self._shards.shards[found.shard].write(
            lambda connection: clear_batch_key(connection, found.batch.id, key, now())
        )

    async def _probe_batch(self, environment: EnvironmentRecord, key: IdempotencyKey | None) -> FoundBatch | None:
        if key is None:
            return None
        stored = key.stored

        async def query(shard: Shard, connection: ReadConnection) -> list[FoundBatch]:
            return [FoundBatch(shard.key, one) for one in await keyed_batches(connection, environment.id, stored)]

        legs, failures = await self._shards.everywhere(query, ReadFrom.PRIMARY)
        found = [one for leg in legs for one in leg]
        if failures and not found:
            raise failures[0]
        return found[-1] if found else None


def _hit(hits: Hits, new: NewRun) -> Found | None:
    return None if new.stored_key is None else hits.get(new.stored_key)


async def _in_rounds(once: Callable[[], Awaitable[T]]) -> T:
    """Try again while somebody else makes the row under the key meanwhile: then it is found."""
    for _ in range(ROUNDS - 1):
        try:
            return await once()
        except UniqueViolationError as error:
            if not error.constraint.endswith("idempotencyKey_key"):
                raise
    return await once()


async def _nothing() -> None:
    """Confirm nothing: no lock is held."""
