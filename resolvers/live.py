"""Streams: of each object the current state first, then its changes, and its end in any case.

Every event is looked at by a viewer of its own moment. Who no longer may see what they subscribed to, or who they are,
is told so within half a minute.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from resolvers import batches, environments
from resolvers.ability import Resource
from resolvers.auth import Asker
from resolvers.errors import AbsentError, BehindError
from resolvers.filters import period, values
from resolvers.summary import required
from resolvers.viewer import Viewer
from store.errors import ShardError
from store.ids import can_exist
from store.live.records import Watched
from store.live.topics import Kind, OfBatch, One, Tagged
from store.live.versions import LOOKBACK
from store.live.watch import Watch
from store.records import BatchRecord, RunRecord
from store.shard import one_operation

PACE = 0.25
"""Seconds between two events of one object, at least; of the states between them the last is told."""

RECHECK = 10.0
"""Seconds after which it is asked again who subscribes, at the latest."""

MOST_AT_ONCE = 50
"""Events that are loaded together."""


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
        self.is_last = True
        """Whether an update has the last of the changes that came together."""

    async def updates(self, admit: Admit) -> AsyncIterator[tuple[Viewer, list[Watched]]]:
        """Yield what has changed, at its pace, whenever something has."""
        while True:
            if self._watch.is_behind:
                raise BehindError
            changed = self._watch.drain()
            for start in range(0, max(1, len(changed)), MOST_AT_ONCE):
                with one_operation():  # a database that was late for one update need not be late for the next
                    viewer = await self._asker.viewer()
                admit(viewer)
                self._watch.scope = viewer.seen
                self.is_last = start + MOST_AT_ONCE >= len(changed)
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
            if last is not None and last.environment_id not in viewer.seen:
                raise AbsentError(kind.value)
            required(viewer.show(last))

        async for viewer, changed in _Stream(asker, watch).updates(admit):
            for record in changed:
                last = record
                admit(viewer)
                yield Update(viewer, [record])
                if closes and record.is_final:
                    return
            if watch.is_gone(topic) and watch.is_empty:
                raise AbsentError(kind.value)


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

    Of those that are there at a time, the newest thousand, and whatever has been told and has not ended. Raises
    `AbsentError`, `BadInputError` or `ForbiddenError`.
    """
    viewer = await asker.viewer()
    wanted = tuple(sorted(set(values("tags", tags) or ())))
    since = viewer.now - min(LOOKBACK if lookback is None else period(lookback), LOOKBACK)
    environment = await environments.environment(viewer, environment_id, (None, None, None))
    if environment is None:
        raise AbsentError("environment")
    topic = Tagged(environment.id, wanted)

    def admit(viewer: Viewer) -> None:
        if topic.environment_id not in viewer.seen:
            raise AbsentError("environment")
        viewer.need(Resource("runs"), Resource("tasks"), *(Resource("tags", tag) for tag in wanted))

    def belongs(run: Watched) -> bool:
        """Tell whether a run is in the list: one that is followed may have lost a tag, or have moved."""
        if not isinstance(run, RunRecord) or run.environment_id != topic.environment_id or run.created_at < since:
            return False
        return set(wanted) <= set(run.tags)

    admit(viewer)
    with viewer.live.watch(viewer.seen) as watch:
        watch.add(topic)
        async for viewer, changed in _Stream(asker, watch).updates(admit):
            runs = [viewer.show(run) for run in changed if belongs(run)]
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
        known = _Batch(watch, next(record for record in watch.drain() if isinstance(record, BatchRecord)))

        def admit(viewer: Viewer) -> None:
            if known.batch.environment_id not in viewer.seen:
                raise AbsentError("batch")
            required(viewer.show(known.batch))

        admit(viewer)
        await known.look_at_list(viewer)
        stream = _Stream(asker, watch)
        async for viewer, changed in stream.updates(admit):
            members = known.members(changed)
            if known.is_stale:
                with suppress(ShardError):  # it is looked at again
                    await known.look_at_list(viewer)
            if members:
                _degrade(viewer, watch.failures(known.runs))
                yield Update(viewer, [viewer.show(member) for member in members])
            if watch.is_gone(one) and watch.is_empty:
                raise AbsentError("batch")
            if stream.is_last and known.has_ended():
                return
            stream.patience = PACE if known.is_stale or known.batch.has_finished else RECHECK


class _Batch:
    """A batch that is watched, and what has been told of its runs."""

    def __init__(self, watch: Watch, batch: BatchRecord) -> None:
        self.batch = batch
        self.runs = OfBatch(batch.id, batch.environment_id)
        self.is_stale = True
        """Whether the runs that the batch lists may be others than those that are watched."""
        self._watch = watch
        self._unfinished: set[str] = set()
        self._finished_at: float | None = None
        watch.add(self.runs)

    def members(self, changed: Iterable[Watched]) -> list[Watched]:
        """Return the runs among what has changed, and remember which have not ended."""
        members = []
        for record in changed:
            if isinstance(record, BatchRecord):
                self.batch, self.is_stale = record, True
            elif record.environment_id == self.batch.environment_id:
                members.append(record)
                (self._unfinished.discard if record.is_final else self._unfinished.add)(record.id)
        return members

    async def look_at_list(self, viewer: Viewer) -> None:
        """Watch the runs that the batch lists by now. Raises a shard's error."""
        with one_operation():
            listed = await viewer.load(batches.listed_runs, self.batch.id)
        runs = OfBatch(self.batch.id, self.batch.environment_id, tuple(sorted(listed or ())))
        if runs != self.runs:
            self._watch.add(runs)
            self._watch.remove(self.runs)
            self.runs = runs
        self.is_stale = False

    def has_ended(self) -> bool:
        """Tell whether the batch has finished, all its runs have ended, and all that was told."""
        if not self.batch.has_finished or self.is_stale:
            return False
        if self._finished_at is None:
            # What its runs wrote at the same time may have been read before that: all are looked at once more.
            self._finished_at = asyncio.get_running_loop().time()
        open_ = self._unfinished & self._watch.open(self.runs)  # without those that were deleted
        return not open_ and self._watch.is_empty and self._watch.asked_at(self.runs) > self._finished_at


def _degrade(viewer: Viewer, failures: Iterable[ShardError]) -> None:
    """Say of an event which shards' rows may be missing from its stream."""
    viewer.degraded.update((failure.shard, failure) for failure in failures)
