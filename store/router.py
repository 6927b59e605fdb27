"""Keys to shards: every read of runs, batches and waitpoints. How shards are asked is `store.shards`."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any

from store import ids
from store.batches import batches_by_environment, batches_by_reference, errors_by_batch, listed_runs_by_batch
from store.errors import BadCursorError, ShardError
from store.pages import Page, Position, Window
from store.queries import Scope
from store.records import (
    Address,
    AttemptRecord,
    BatchErrorRecord,
    BatchRecord,
    BlockRecord,
    RunRecord,
    SnapshotRecord,
    TagRecord,
    WaitpointRecord,
)
from store.runs import (
    Conditions,
    Parents,
    attempts_by_reference,
    attempts_by_run,
    child_runs,
    count_runs,
    large_columns,
    runs_by_batch,
    runs_by_bulk_action,
    runs_by_environment,
    runs_by_reference,
    runs_by_trace,
    runs_by_waitpoint,
    snapshots_by_run,
    statuses_by_batch,
)
from store.shard import ReadFrom
from store.shards import Answer, Answers, Feeds, Shards
from store.tables import attempt, block, task_run
from store.waitpoints import (
    blocks_by_run,
    outputs_by_waitpoint,
    tags_by_name,
    tags_by_prefix,
    waitpoint_ids_by_run,
    waitpoint_ids_by_snapshot,
    waitpoints_by_environment,
    waitpoints_by_reference,
)


class Router(Shards):
    """The federated store: every read of runs, batches and waitpoints, whichever shards they are on.

    A `scope`, or the environment of a feed, limits every answer; a foreign row and a missing one are the same answer.
    """

    async def runs(self, scope: Scope, references: Collection[str], source: ReadFrom) -> Answers[RunRecord]:
        """Return runs by friendly id or primary key: from the one shard that each id names."""
        return await self.of_runs(
            references, lambda _, connection, keys: runs_by_reference(connection, scope, keys), source
        )

    async def batches(self, scope: Scope, references: Collection[str], source: ReadFrom) -> Answers[BatchRecord]:
        """Return batches by friendly id or primary key: from the shard that each id names, else from another."""
        return await self.surely(
            references,
            source,
            lambda keys, freshness: self.of_batches(
                keys, lambda _, connection, asked: batches_by_reference(connection, scope, asked), freshness
            ),
        )

    async def listed_runs(
        self, scope: Scope, batch_references: Collection[str], source: ReadFrom
    ) -> Answers[list[str]]:
        """Return the friendly ids that each batch lists as its runs, in its order."""
        return await self.of_batches(
            batch_references, lambda _, connection, keys: listed_runs_by_batch(connection, scope, keys), source
        )

    async def waitpoints(self, scope: Scope, references: Collection[str], source: ReadFrom) -> Answers[WaitpointRecord]:
        """Return waitpoints by friendly id or primary key: all shards are asked at once, new's copy wins."""

        async def read(keys: Collection[str], freshness: ReadFrom) -> Answers[WaitpointRecord]:
            return await self.looked_up(
                keys, lambda _, connection: waitpoints_by_reference(connection, scope, keys), freshness
            )

        keys = [reference for reference in references if ids.can_exist(reference)]
        return await self.surely(keys, source, read) if keys else {}

    async def waitpoint_ids(self, run_ids: Collection[str], window: Window, source: ReadFrom) -> Answers[list[str]]:
        """Return the ids of the waitpoints that each run ever waited on, and one more; from the run's shard."""
        return await self.of_runs(
            run_ids,
            lambda shard, connection, keys: waitpoint_ids_by_run(connection, shard.catalog.connection, keys, window),
            source,
        )

    async def completions(self, snapshots: Collection[Address], source: ReadFrom) -> dict[Address, Answer[list[str]]]:
        """Return the ids of the waitpoints whose end brought runs to a step; from the run's shard."""
        return await self.beside_runs(
            snapshots,
            lambda shard, connection, keys: waitpoint_ids_by_snapshot(connection, shard.catalog.completion, keys),
            source,
        )

    async def large_columns(
        self, scope: Scope, run_ids: Collection[str], names: Collection[str], source: ReadFrom
    ) -> Answers[Mapping[Any, Any]]:
        """Return the named large columns of runs; from the run's shard."""
        return await self.of_runs(
            run_ids, lambda _, connection, keys: large_columns(connection, scope, task_run, keys, names), source
        )

    async def attempt_columns(
        self, scope: Scope, attempts: Collection[Address], names: Collection[str], source: ReadFrom
    ) -> dict[Address, Answer[Mapping[Any, Any]]]:
        """Return the named large columns of attempts; from the run's shard."""
        return await self.beside_runs(
            attempts, lambda _, connection, keys: large_columns(connection, scope, attempt, keys, names), source
        )

    async def attempts_by_reference(
        self, scope: Scope, friendly_ids: Collection[str], source: ReadFrom
    ) -> Answers[AttemptRecord]:
        """Return attempts by friendly id, which names no shard: all are asked at once."""
        keys = [reference for reference in friendly_ids if ids.can_exist(reference)]
        if not keys:
            return {}
        return await self.looked_up(keys, lambda _, connection: attempts_by_reference(connection, scope, keys), source)

    async def attempts(self, scope: Scope, run_ids: Collection[str], source: ReadFrom) -> Answers[list[AttemptRecord]]:
        """Return the attempts of runs; from the run's shard."""
        return await self.of_runs(run_ids, lambda _, connection, keys: attempts_by_run(connection, scope, keys), source)

    async def snapshots(self, run_ids: Collection[str], size: int, source: ReadFrom) -> Answers[list[SnapshotRecord]]:
        """Return the last steps of runs, newest first; from the run's shard."""
        return await self.of_runs(run_ids, lambda _, connection, keys: snapshots_by_run(connection, keys, size), source)

    async def blocks(self, run_ids: Collection[str], source: ReadFrom) -> Answers[list[BlockRecord]]:
        """Return the edges that block each run, in the order of creation; from the run's shard."""
        return await self.of_runs(run_ids, lambda _, connection, keys: blocks_by_run(connection, keys), source)

    async def errors_by_batch(self, batch_ids: Collection[str], source: ReadFrom) -> Answers[list[BatchErrorRecord]]:
        """Return why items of batches became no runs; from the shard that has them."""
        return await self.of_batches(batch_ids, lambda _, connection, keys: errors_by_batch(connection, keys), source)

    async def outputs(
        self, scope: Scope, waitpoint_ids: Collection[str], source: ReadFrom
    ) -> Answers[tuple[str | None, str]]:
        """Return the outputs of waitpoints and their content types; all shards are asked at once."""
        return await self.looked_up(
            waitpoint_ids, lambda _, connection: outputs_by_waitpoint(connection, scope, waitpoint_ids), source
        )

    async def runs_by_trace(self, scope: Scope, trace_ids: Collection[str], source: ReadFrom) -> Answers[RunRecord]:
        """Return the first run of each trace; all shards are asked at once, and the oldest of their answers is it."""
        return await self.looked_up(
            trace_ids,
            lambda _, connection: runs_by_trace(connection, scope, trace_ids),
            source,
            choose=lambda one, other: min(one, other, key=Position.of),
        )

    async def runs_by_environment(
        self, feeds: Feeds, conditions: Conditions, window: Window, source: ReadFrom
    ) -> dict[str, Page[RunRecord]]:
        """Return a page of each environment's runs over all shards, by the environment's primary key."""
        return await self.pages(
            lambda _, connection: runs_by_environment(connection, feeds, conditions, window), feeds, window, source
        )

    async def batches_by_environment(
        self, feeds: Feeds, conditions: Conditions, window: Window, source: ReadFrom
    ) -> dict[str, Page[BatchRecord]]:
        """Return a page of each environment's batches over all shards, by the environment's primary key."""
        return await self.pages(
            lambda _, connection: batches_by_environment(connection, feeds, conditions, window), feeds, window, source
        )

    async def waitpoints_by_environment(
        self, feeds: Feeds, conditions: Conditions, window: Window, source: ReadFrom
    ) -> dict[str, Page[WaitpointRecord]]:
        """Return a page of each environment's waitpoints over all shards, by the environment's primary key."""
        return await self.pages(
            lambda _, connection: waitpoints_by_environment(connection, feeds, conditions, window),
            feeds,
            window,
            source,
        )

    async def count_runs(
        self, environment_ids: Collection[str], conditions: Conditions, most: int, source: ReadFrom
    ) -> tuple[dict[str, int], list[ShardError]]:
        """Return how many runs environments have over all shards, and who failed.

        No shard counts further than one past `most`.
        """
        legs, failures = await self.everywhere(
            lambda _, connection: count_runs(connection, environment_ids, conditions, most), source
        )
        return {id_: sum(leg.get(id_, 0) for leg in legs) for id_ in environment_ids}, failures

    async def statuses_by_batch(self, batches: Parents, source: ReadFrom) -> dict[str, dict[str, int]]:
        """Return how many runs of each batch are in each stored status, over all shards, by the batch's primary key.

        Raises a shard's error if one did not answer: a part of a count is none.
        """
        legs = await self.everyone(lambda _, connection: statuses_by_batch(connection, batches), source)
        sums: dict[str, Counter[str]] = {batch_id: Counter() for batch_id in batches}
        for leg in legs:
            for batch_id, counts in leg.items():
                sums[batch_id].update(counts)
        return {batch_id: dict(counts) for batch_id, counts in sums.items()}

    async def child_runs(self, feeds: Feeds, window: Window, source: ReadFrom) -> dict[str, Page[RunRecord]]:
        """Return a page of the runs that each run triggered, by its primary key; a child may be on any shard."""
        parents = _environments(feeds)
        return await self.pages(lambda _, connection: child_runs(connection, parents, window), feeds, window, source)

    async def runs_by_batch(
        self, feeds: Feeds, listed: Mapping[str, Sequence[str]], window: Window, source: ReadFrom
    ) -> dict[str, Page[RunRecord]]:
        """Return a page of each batch's runs, by its primary key: its own, and others that it lists."""
        parents = _environments(feeds)
        return await self.pages(
            lambda _, connection: runs_by_batch(connection, parents, listed, window), feeds, window, source
        )

    async def runs_by_bulk_action(self, feeds: Feeds, window: Window, source: ReadFrom) -> dict[str, Page[RunRecord]]:
        """Return a page of the runs that each bulk action touched, by its primary key, from any shard."""
        parents = _environments(feeds)
        return await self.pages(
            lambda _, connection: runs_by_bulk_action(connection, parents, window), feeds, window, source
        )

    async def connected_runs(self, feeds: Feeds, window: Window, source: ReadFrom) -> dict[str, Page[RunRecord]]:
        """Return a page of the runs that ever waited on each waitpoint, by its primary key, from any shard."""
        parents = _environments(feeds)
        return await self.pages(
            lambda shard, connection: runs_by_waitpoint(connection, shard.catalog.connection, parents, window),
            feeds,
            window,
            source,
        )

    async def blocked_runs(self, feeds: Feeds, window: Window, source: ReadFrom) -> dict[str, Page[RunRecord]]:
        """Return a page of the runs that each waitpoint blocks now, by its primary key; they may be on any shard."""
        parents = _environments(feeds)
        return await self.pages(
            lambda _, connection: runs_by_waitpoint(connection, block, parents, window), feeds, window, source
        )

    async def waitpoint_tags(
        self, environment_id: str, prefix: str, size: int, after: str | None, source: ReadFrom
    ) -> list[str]:
        """Return the names of an environment's tags that begin with `prefix`, newest first, at most `size`.

        Begins after the tag of that name, or raises `BadCursorError` if there is none. A name that several shards have
        stands where its newest copy does. Raises a shard's error if one did not answer.
        """

        async def newest(names: Collection[str]) -> dict[str, Position]:
            legs = await self.everyone(lambda _, connection: tags_by_name(connection, environment_id, names), source)
            places = [(name, Position.of(tag)) for leg in legs for name, tag in leg.items()]
            return dict(sorted(places, key=itemgetter(1)))

        async def window(at: Position | None) -> list[list[TagRecord]]:
            part = Window(size, at)
            return await self.everyone(
                lambda _, connection: tags_by_prefix(connection, environment_id, prefix, part), source
            )

        begin = at = None if after is None else (await newest([after])).get(after)
        if after is not None and at is None:
            raise BadCursorError
        found: dict[str, Position] = {}
        while legs := [leg for leg in await window(at) if leg]:
            places = await newest({tag.name for leg in legs for tag in leg})
            found |= {name: place for name, place in places.items() if begin is None or place < begin}
            at = max((Position.of(leg[-1]) for leg in legs if len(leg) > size), default=None)
            if at is None or sum(place >= at for place in found.values()) >= size:
                break
        return sorted(found, key=lambda name: found[name], reverse=True)[:size]


def _environments(feeds: Feeds) -> Parents:
    """Return the environment of each parent."""
    return {parent: feed.environment_id for parent, feed in feeds.items()}
