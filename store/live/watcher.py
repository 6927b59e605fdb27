"""Looks at one database again and again, for everybody who watches rows of it.

One statement reads the versions of all watched rows, and one more for each kind reads the records of those that have
changed. Databases are looked at independently: one that hangs makes no other late.
"""

import asyncio
import secrets
from collections.abc import Collection, Iterable, Mapping
from contextvars import Context
from dataclasses import dataclass, field

import structlog

from store.errors import ShardError
from store.live.records import READS, Watched
from store.live.topics import Kind, One, Topic
from store.live.versions import Versions, versions
from store.live.watch import Watch
from store.metrics import Metrics
from store.shard import Database, ReadConnection

log = structlog.get_logger()

TICK, IDLE, CALM = 0.25, 0.75, 1.25
"""Seconds between two looks while rows change, the most of them while none does, and the growth from one to the other.
"""

MOST_ROWS = 1_000
"""Of records that are read in one look: topics for which there is no room wait for the next one."""

MOST_NEW_LISTS = 10
"""Of lists that are looked at out of turn, since somebody new watches them."""

MOST_AT_ONCE = 100
"""Of rows that are told before others have their turn."""

MOST_FOLLOWED = 5_000
"""Of runs that are no longer among the newest of their list, and have not ended."""


@dataclass(slots=True)
class _State:
    """What is known of a topic in this database, and who watches it."""

    watches: set[Watch] = field(default_factory=set)
    fresh: set[Watch] = field(default_factory=set)
    """Those that were told nothing so far."""
    versions: Versions | None = None
    open: set[str] = field(default_factory=set)
    """Rows that had not ended when they were last told."""
    followed: dict[str, None] = field(default_factory=dict)
    """Those of them that newer rows have pushed out of their list, in that order."""
    asked_at: float = float("-inf")

    def take(self, topic: Topic, versions: Versions, records: Iterable[Watched]) -> None:
        """Take what a look has found. No row is lost to newer ones before it ends."""
        known = self.versions or {}
        for id_ in self.open - versions.keys():
            if isinstance(topic, One) or id_ in self.followed:  # it was asked for by its key: it is deleted
                self.open.discard(id_)
                self.followed.pop(id_, None)
            else:
                self.followed[id_] = None
                versions[id_] = known.get(id_, "")
        for record in records:
            if record.is_final:
                self.open.discard(record.id)
                self.followed.pop(record.id, None)
            else:
                self.open.add(record.id)
        for id_ in list(self.followed)[:-MOST_FOLLOWED]:
            self.open.discard(id_)
            del self.followed[id_]
        self.versions = versions


class Watcher:
    """Watches one database, as long as anybody watches a topic of it. `rank` says whose copy of a row counts."""

    def __init__(self, role: str, rank: int, database: Database, metrics: Metrics) -> None:
        self.role, self.rank, self.database = role, rank, database
        self.failure: ShardError | None = None
        """Why it could not be asked when it was looked at last."""
        self._metrics = metrics
        self._topics: dict[Topic, _State] = {}
        self._new = asyncio.Event()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def join(self, topic: Topic, watch: Watch) -> None:
        """Tell a watch of a topic from now on: its rows at once, then their changes."""
        state = self._topics.setdefault(topic, _State())
        state.watches.add(watch)
        state.fresh.add(watch)
        self._new.set()
        if not self.is_at_work:
            # In a context of its own: it outlives the request that happened to be the first.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    def leave(self, topic: Topic, watch: Watch) -> None:
        """Tell a watch of a topic no longer."""
        state = self._topics.get(topic)
        if state is not None:
            state.watches.discard(watch)
            state.fresh.discard(watch)
            if not state.watches:
                del self._topics[topic]
            if not self._topics:
                self._new.set()  # there is nothing to wait for

    def wake(self) -> None:
        """Look soon: rows may have changed."""
        self._woken.set()

    def asked_at(self, topic: Topic) -> float:
        """Return when the last question about a topic was begun that was answered, on the loop's clock."""
        return self._topics[topic].asked_at

    def open(self, topic: Topic) -> Collection[str]:
        """Return the primary keys of a topic's rows that have not ended."""
        return self._topics[topic].open

    @property
    def is_at_work(self) -> bool:
        """Whether it looks, now and then."""
        return self._task is not None and not self._task.done()

    async def close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        calm, last, due = TICK, clock() - TICK, clock()
        while self._topics:
            await self._until(due, last + TICK)
            everything = clock() >= min(due, last + TICK if self._woken.is_set() else due)
            self._new.clear()
            if everything:
                self._woken.clear()
            began = clock()
            moved = await self._look(everything=everything)
            if everything:
                calm = TICK if moved else min(calm * CALM, IDLE)
                last = began
                # After a long look as long a pause, for a database has other things to do; one that failed is no load.
                ended = clock()
                due = ended + IDLE if self.failure else max(began + calm, 2 * ended - began)

    async def _until(self, due: float, soonest: float) -> None:
        """Wait until a moment; only until `soonest` if woken, and not at all for somebody new."""
        loop = asyncio.get_running_loop()
        while not self._new.is_set():
            woken = self._woken.is_set()
            left = (min(due, soonest) if woken else due) - loop.time()
            if left <= 0:
                return
            events = [self._new] if woken else [self._new, self._woken]
            waits = [loop.create_task(event.wait()) for event in events]
            try:
                await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def _look(self, *, everything: bool) -> bool:
        """Look at all topics, or at those that somebody new watches; tell whether any row had changed."""
        topics = self._wanted(everything=everything)
        if not topics:
            return False
        fresh = {topic: set(state.fresh) for topic, state in topics.items()}
        began = asyncio.get_running_loop().time()
        try:
            with self._metrics.looks.labels(self.role).time():
                look = await self.database.read(lambda connection: _Look.at(connection, topics, fresh), self.role)
            for topic, changed in look.changed.items():
                topics[topic].asked_at = began
                await self._tell(topic, topics[topic], look, changed, fresh[topic])
        except Exception as error:  # whatever it is, the next look may do better
            if not isinstance(error, ShardError):
                log.exception("watching failed", role=self.role, error_id=secrets.token_hex(8))
            self.failure = error if isinstance(error, ShardError) else None
            self._metrics.blind.labels(self.role).set(1)
            for topic, state in topics.items():
                for watch in list(state.watches):
                    watch.failed(topic, self, error)
            return False
        self.failure = None
        self._metrics.blind.labels(self.role).set(0)
        if len(look.changed) < len(topics) or any(state.fresh for state in self._topics.values()):
            self._new.set()
        if len(look.changed) < len(topics):
            self._woken.set()
        return any(look.changed.values())

    def _wanted(self, *, everything: bool) -> dict[Topic, _State]:
        """Return what to look at: single rows first, then the lists that were left out for longest."""
        wanted = [(topic, state) for topic, state in self._topics.items() if everything or state.fresh]
        wanted.sort(key=lambda pair: (not isinstance(pair[0], One), pair[1].asked_at))
        lists = sum(not isinstance(topic, One) for topic, _ in wanted)
        return dict(wanted if everything else wanted[: len(wanted) - max(0, lists - MOST_NEW_LISTS)])

    async def _tell(
        self, topic: Topic, state: _State, look: "_Look", changed: Collection[str], fresh: Collection[Watch]
    ) -> None:
        kind = look.kind(topic)
        if isinstance(topic, One) and state.versions and not look.versions[topic]:
            for watch in state.watches:
                watch.lost(topic, self, state.versions)
        versions = look.versions[topic]
        rows = [(look.records[kind, id_], versions[id_]) for id_ in changed if (kind, id_) in look.records]
        all_ids = versions if fresh else ()
        whole = [(look.records[kind, id_], versions[id_]) for id_ in all_ids if (kind, id_) in look.records]
        state.take(topic, versions, [record for record, _ in rows])
        for watch in list(state.watches):
            told = whole if watch in fresh else rows
            if watch not in state.watches or (watch not in fresh and (not rows or watch in state.fresh)):
                continue
            state.fresh.discard(watch)
            watch.told(topic, self, told)
            if len(told) > MOST_AT_ONCE:
                await asyncio.sleep(0)


@dataclass(slots=True)
class _Look:
    """What one look has found: versions, the rows of each topic that have changed, and the records to tell."""

    versions: dict[Topic, Versions]
    changed: dict[Topic, Collection[str]]
    """Of the topics for which there was room."""
    records: dict[tuple[Kind, str], Watched]

    @classmethod
    async def at(
        cls, connection: ReadConnection, topics: Mapping[Topic, _State], fresh: Mapping[Topic, Collection[Watch]]
    ) -> "_Look":
        """Look. At least one list finds room in it."""
        found = await versions(connection, {topic: state.followed for topic, state in topics.items()})
        changed: dict[Topic, Collection[str]] = {}
        wanted: dict[Kind, set[str]] = {}
        scopes: dict[Kind, set[str]] = {}
        rows, lists = 0, 0
        for topic, state in topics.items():
            known, versions_ = state.versions or {}, found[topic]
            of_topic = [id_ for id_, version in versions_.items() if known.get(id_) != version]
            ids = wanted.setdefault(cls.kind(topic), set())
            more = (versions_.keys() if fresh[topic] else set(of_topic)) - ids
            if more and rows + len(more) > MOST_ROWS and (rows if isinstance(topic, One) else lists):
                continue
            rows += len(more)
            lists += bool(more) and not isinstance(topic, One)
            changed[topic] = of_topic
            ids |= more
            scopes.setdefault(cls.kind(topic), set()).update(*(watch.scope for watch in state.watches))
        records = {
            (kind, record.id): record
            for kind, ids in wanted.items()
            if ids
            for record in (await READS[kind](connection, scopes[kind], ids)).values()
        }
        return cls(found, changed, records)

    @staticmethod
    def kind(topic: Topic) -> Kind:
        return topic.kind if isinstance(topic, One) else Kind.RUN
