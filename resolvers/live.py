"""Streams: of each object the current state first, then its changes, and its end in any case.

Every event is looked at by a viewer of its own moment. Who no longer may see what they subscribed to, or who they are,
is told so within half a minute.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from resolvers import batches, environments
from resolvers.ability import Resource
from resolvers.auth import Asker
from resolvers.errors import AbsentError
from resolvers.filters import period, values
from resolvers.summary import required
from resolvers.viewer import Viewer
from store.errors import ShardError
from store.ids import can_exist
from store.live.records import Watched
from store.live.topics import Kind, OfBatch, One, Tagged
from store.live.watch import Watch
from store.records import BatchRecord, RunRecord

PACE = 0.25
"""Seconds between two events of one object, at least; of the states between them the last is told."""

RECHECK = 10.0
"""Seconds after which it is asked again who subscribes, at the latest."""

MOST_AT_ONCE = 100
"""Events that are loaded together."""

LONGEST_LOOKBACK = timedelta(days=1)
"""Of a list of tagged runs, as the platform has it (its ``realtimeClient.server.ts``)."""


class Update(NamedTuple):
    """Some events, each an object's record, and the viewer to look at them with."""

    viewer: Viewer
    records: Sequence[Any]


Updates = AsyncIterator[Update]
Admit = Callable[[Viewer], None]
"""Raises if a viewer may not see a stream, or not any longer."""


class _Stream:
    """A subscription: its watch, and who subscribes."""

    def __init__(self, asker: Asker, watch: Watch) -> None:
        self._asker, self._watch = asker, watch
        self.patience = RECHECK
        """Seconds without a change after which there is an update all the same, without records."""

    async def updates(self, admit: Admit) -> AsyncIterator[tuple[Viewer, list[Watched]]]:
        """Yield what has changed, at its pace, whenever something has."""
        while True:
            changed = self._watch.drain()
            for start in range(0, max(1, len(changed)), MOST_AT_ONCE):
                viewer = await self._asker.viewer()
                admit(viewer)
                self._watch.scope = viewer.seen
                yield viewer, changed[start : start + MOST_AT_ONCE]
            if changed:
                await asyncio.sleep(PACE)
            await self._watch.stirred(self._seconds(viewer))

    def _seconds(self, viewer: Viewer) -> float:
        """Return how long to wait for a change: a credential is asked for again as soon as it ends."""
        ends = viewer.scope.expires_at
        return self.patience if ends is None else min(self.patience, max(0.0, ends - time.time()))


def run(asker: Asker, id_: str, *, close_on_complete: bool) -> Updates:
    """Tell of a run, until it has ended if `close_on_complete`."""
    return _one(asker, Kind.RUN, "run", id_, closes=close_on_complete)


def waitpoint(asker: Asker, id_: str) -> Updates:
    """Tell of a waitpoint, until it is complete."""
    return _one(asker, Kind.WAITPOINT, "waitpoint", id_, closes=True)


def bulk_action(asker: Asker, id_: str) -> Updates:
    """Tell of a bulk action, until it is done or stopped."""
    return _one(asker, Kind.BULK_ACTION, "bulk", id_, closes=True)


async def _one(asker: Asker, kind: Kind, prefix: str, id_: str, *, closes: bool) -> Updates:
    """Tell of one object. Raises `AbsentError`, `ForbiddenError`, or a shard's error if it may exist."""
    viewer = await asker.viewer()
    topic = One(kind, id_)
    with viewer.live.watch(viewer.seen) as watch:
        await _found(watch, topic, prefix)
        last: Watched | None = None

        def admit(viewer: Viewer) -> None:
            if watch.is_gone(topic) or (last is not None and last.environment_id not in viewer.seen):
                raise AbsentError(kind.value)
            required(viewer.show(last))

        async for viewer, changed in _Stream(asker, watch).updates(admit):
            for record in changed:
                last = record
                admit(viewer)
                yield Update(viewer, [record])
                if closes and record.is_final:
                    return


async def _found(watch: Watch, topic: One, prefix: str) -> None:
    """Wait for the state of an object. Raises `AbsentError`, or a shard's error if it may exist."""
    failures = []
    if topic.reference.startswith(f"{prefix}_") and can_exist(topic.reference):
        watch.add(topic)
        failures = await watch.settled(topic)
    if watch.is_empty:
        for failure in failures:
            raise failure.again() if isinstance(failure, ShardError) else failure
        raise AbsentError(topic.kind.value)


async def tagged_runs(
    asker: Asker, environment_id: str | None, tags: Sequence[str] | None, lookback: str | None
) -> Updates:
    """Tell of an environment's runs that have all of the tags, for ever: of those created since then, and new ones.

    Of runs that were there, those that are not among the newest thousand are left out. Raises `AbsentError`,
    `BadInputError` or `ForbiddenError`.
    """
    viewer = await asker.viewer()
    wanted = tuple(sorted(set(values("tags", tags) or ())))
    since = viewer.now - min(LONGEST_LOOKBACK if lookback is None else period(lookback), LONGEST_LOOKBACK)
    environment = await environments.environment(viewer, environment_id, (None, None, None))
    if environment is None:
        raise AbsentError("environment")
    # Whole minutes: who subscribes to the same within one of them has the same list.
    topic = Tagged(environment.id, wanted, since.replace(second=0, microsecond=0))

    def admit(viewer: Viewer) -> None:
        if topic.environment_id not in viewer.seen:
            raise AbsentError("environment")
        viewer.need(Resource("runs"), Resource("tasks"), *(Resource("tags", tag) for tag in wanted))

    def lacks(run: RunRecord) -> bool:
        return not set(wanted) <= set(run.tags)

    admit(viewer)
    with viewer.live.watch(viewer.seen) as watch:
        watch.add(topic)
        async for viewer, changed in _Stream(asker, watch).updates(admit):
            # One that is followed since newer ones have pushed it out of the list may have lost a tag.
            runs = [viewer.show(run) for run in changed if isinstance(run, RunRecord) and not lacks(run)]
            if runs:
                _degrade(viewer, watch.failures(topic))
                yield Update(viewer, runs)


async def batch_runs(asker: Asker, id_: str) -> Updates:
    """Tell of the runs of a batch, until the batch has finished and all of them have ended.

    Raises `AbsentError`, `ForbiddenError`, or a shard's error if the batch may exist.
    """
    viewer = await asker.viewer()
    one = One(Kind.BATCH, id_)
    with viewer.live.watch(viewer.seen) as watch:
        await _found(watch, one, "batch")
        batch = next(record for record in watch.drain() if isinstance(record, BatchRecord))

        def admit(viewer: Viewer) -> None:
            if watch.is_gone(one) or batch.environment_id not in viewer.seen:
                raise AbsentError("batch")
            required(viewer.show(batch))

        admit(viewer)
        runs = await _members(viewer, watch, batch, None)
        unfinished: set[str] = set()
        stream, clock, finished_at = _Stream(asker, watch), asyncio.get_running_loop().time, None
        async for viewer, changed in stream.updates(admit):
            members = []
            for record in changed:
                if isinstance(record, BatchRecord):
                    batch = record
                    runs = await _members(viewer, watch, batch, runs)
                else:
                    members.append(viewer.show(record))
                    (unfinished.discard if record.is_final else unfinished.add)(record.id)
            if members:
                _degrade(viewer, watch.failures(runs))
                yield Update(viewer, members)
            if batch.has_finished:
                # What its runs wrote at the same time may have been read before that: all are looked at once more.
                finished_at, stream.patience = finished_at or clock(), PACE
                open_ = unfinished & watch.open(runs)  # without those that were deleted
                if not open_ and watch.is_empty and watch.asked_at(runs) > finished_at:
                    return


async def _members(viewer: Viewer, watch: Watch, batch: BatchRecord, known: OfBatch | None) -> OfBatch:
    """Watch the runs of a batch, and those that it lists by now."""
    listed = await viewer.load(batches.listed_runs, batch.id)
    runs = OfBatch(batch.id, batch.environment_id, tuple(sorted(listed or ())))
    if runs != known:
        watch.add(runs)
        if known is not None:
            watch.remove(known)
    return runs


def _degrade(viewer: Viewer, failures: Iterable[ShardError]) -> None:
    """Say of an event which shards' rows may be missing from its stream."""
    viewer.degraded.update((failure.shard, failure) for failure in failures)
