"""Tokens, and times that runs wait for: where they are made, and that a key makes one once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple

from store.authority import Authority, Confirm
from store.errors import MissingError, ShardError, UniqueViolationError
from store.minting import Minting
from store.moments import now
from store.plans import IdempotencyKey
from store.records import EnvironmentRecord
from store.residency import ShardKey
from store.seam import Seam
from store.shard import ReadConnection, ReadFrom, Shard, WriteConnection
from store.shards import Shards
from store.writes.blocks import Tie, block_run
from store.writes.runs import Home, lock_runs
from store.writes.waitpoints import (
    Due,
    KeyedToken,
    add_tags,
    add_waitpoints,
    keyed_waitpoint,
    rotate_key,
    waitpoint_row,
)


class Made(NamedTuple):
    """The friendly id of a waitpoint, and whether a key found it, so that nothing was made."""

    friendly_id: str
    is_cached: bool


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be made."""

    key: IdempotencyKey | None = None
    timeout_at: datetime | None = None
    tags: tuple[str, ...] = ()


class Tokens:
    """Makes waitpoints that are not a run's or a batch's."""

    def __init__(self, shards: Shards, minting: Minting, authority: Authority, seam: Seam) -> None:
        self._shards, self._minting, self._authority, self._seam = shards, minting, authority, seam

    async def create(self, environment: EnvironmentRecord, new: NewToken) -> Made:
        """Make a token where the environment's roots are made, or find the one that its key names, on any shard.

        A key that has expired is taken from the token that has it: it stays there as inactive. Raises `ShardError`.
        """
        home = self._shards.shards[await self._minting.home(environment)]
        if new.key is None:
            return await self._add(home, environment, new)
        async with self._authority.over(environment.id, [("waitpoint", new.key.stored)]) as confirm:
            key = new.key.stored
            found = await self._probe(environment.id, key)
            live = [one for _, one in found if one.is_live(now())]
            if live:
                return _cached(live)
            for shard_key, stale in found:
                rotate = partial(rotate_key, waitpoint_id=stale.id, key=key, now=now())
                await self._shards.shards[shard_key].write(rotate)
            try:
                return await self._add(home, environment, new, confirm)
            except UniqueViolationError:  # a run waits under the key since just now: that asks no authority
                found = await self._probe(environment.id, key)
                if not found:
                    raise
                return _cached([one for _, one in found])

    async def _add(
        self, shard: Shard, environment: EnvironmentRecord, new: NewToken, confirm: Confirm | None = None
    ) -> Made:
        row = waitpoint_row(
            "MANUAL",
            environment.id,
            environment.project_id,
            now(),
            timeout_at=new.timeout_at,
            stored_tags=list(new.tags),
            **_keyed(new.key),
        )

        async def work(connection: WriteConnection) -> None:
            await add_waitpoints(connection, [row])
            await add_tags(connection, environment, new.tags, row["created_at"])
            if confirm is not None:
                await confirm()

        await shard.write(work)
        if new.timeout_at is not None:
            self._seam.engine.schedule(new.timeout_at)
        return Made(row["friendly_id"], is_cached=False)

    async def _probe(self, environment_id: str, key: str) -> Sequence[tuple[ShardKey, KeyedToken]]:
        """Return who holds a key, on each shard: one token at most, and times that runs wait for under it.

        Raises `ShardError` for a key that may be a token's.
        """

        async def query(shard: Shard, connection: ReadConnection) -> Sequence[tuple[ShardKey, KeyedToken]]:
            found = await keyed_waitpoint(connection, environment_id, key)
            return [] if found is None else [(shard.key, found)]

        legs, failures = await self._shards.everywhere(query, ReadFrom.PRIMARY)
        found = [one for leg in legs for one in leg]
        if failures and all(one.type != "MANUAL" for _, one in found):
            raise failures[0]
        return found

    async def wait_until(
        self, environment: EnvironmentRecord, run_id: str, at: datetime, key: IdempotencyKey | None = None
    ) -> Made:
        """Make a run wait for a time, with a waitpoint on the run's shard; a key finds the one that it made before.

        One transaction. A time that has passed lets the run go on at once. Raises `MissingError`, `StateError` or
        `ShardError`.
        """
        shard = self._seam.shard_of_run(run_id)
        homes = {environment.id: Home(environment.type, environment.organization_id)}

        async def work(connection: WriteConnection) -> tuple[str, Made]:
            moment = now()
            runs = await lock_runs(connection, [run_id], [environment.id])
            if run_id not in runs:
                raise MissingError("Run")
            found = None if key is None else await keyed_waitpoint(connection, environment.id, key.stored)
            if found is not None and key is not None and not found.is_live(moment):
                await rotate_key(connection, found.id, key.stored, moment)
                found = None
            if found is None:
                row = waitpoint_row(
                    "DATETIME", environment.id, environment.project_id, moment, timeout_at=at, **_keyed(key)
                )
                await add_waitpoints(connection, [row])
                id_, made = str(row["id"]), Made(row["friendly_id"], is_cached=False)
            else:
                id_, made = found.id, Made(found.of_type("DATETIME").friendly_id, is_cached=True)
            await block_run(connection, shard.catalog.connection, runs[run_id], [Tie(id_)], homes, moment)
            return id_, made

        try:
            waitpoint_id, made = await shard.write(work)
        except UniqueViolationError:  # somebody made it meanwhile: now it is found
            waitpoint_id, made = await shard.write(work)
        self._seam.engine.notify([run_id])
        if made.is_cached:  # it keeps the time that it was made for
            await self._seam.settle(run_id, [waitpoint_id])
        elif at <= now():
            await self._end(shard, waitpoint_id, at)
        else:
            self._seam.engine.schedule(at)
        return made

    async def _end(self, shard: Shard, waitpoint_id: str, at: datetime) -> None:
        """Complete a waitpoint whose time had come when it was made. Left undone, it is due, and found again."""
        try:
            await self._seam.end(shard, [Due(waitpoint_id, "DATETIME", at)])
        except ShardError:
            self._seam.engine.schedule(at)


def _cached(found: Sequence[KeyedToken]) -> Made:
    """Return the token that a key finds, on whichever shard. Raises `LimitError` if all are of another type."""
    tokens = [one for one in found if one.type == "MANUAL"]
    return Made((tokens or found)[-1].of_type("MANUAL").friendly_id, is_cached=True)


def _keyed(key: IdempotencyKey | None) -> dict[str, object]:
    if key is None:
        return {}
    return {
        "active_idempotency_key": key.stored,
        "user_provided_idempotency_key": True,
        "idempotency_key_expires_at": now() + key.lifetime,
    }
