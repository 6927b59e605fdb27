"""What one subscriber has still to be told: the latest state of each row that changed, and each row once.

However slow a subscriber is, no more than so many rows are kept for it: it is told that it is behind.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple, Protocol

from cachetools import LRUCache

from store.errors import ShardError
from store.live.records import Watched
from store.live.topics import Topic

MOST_KNOWN = 2_000
"""Of how many rows it is remembered what was told last."""

MOST_PENDING = 10_000
"""Of rows that are still to be told."""


class Home(Protocol):
    """A database where the rows of a topic may be."""

    role: str
    rank: int
    """Of two rows with one id the one of the higher rank counts."""
    failure: ShardError | None
    """Why it could not be asked when it was looked at last."""

    def join(self, topic: Topic, watch: "Watch") -> None:
        """Tell a watch of a topic from now on."""

    def leave(self, topic: Topic, watch: "Watch") -> None:
        """Tell a watch of a topic no longer."""

    def asked_at(self, topic: Topic) -> float:
        """Return when the last question was begun that was answered, on the loop's clock."""

    def open(self, topic: Topic) -> Collection[str]:
        """Return the primary keys of a topic's rows that have not ended."""


class _Known(NamedTuple):
    rank: int
    version: str
    updated_at: datetime
    is_final: bool


class Watch:
    """Gathers what watchers say, until it is drained. Tells nothing of rows outside the scope."""

    def __init__(self, scope: Collection[str], homes_of: Callable[[Topic], tuple[Home, ...]]) -> None:
        self.scope, self._homes_of = scope, homes_of
        self._homes: dict[Topic, tuple[Home, ...]] = {}
        self._answers: dict[Topic, dict[str, Exception | None]] = {}
        self._holders: dict[Topic, set[str]] = {}
        """The databases that have a row of a topic, and had one when they were last looked at."""
        self._lost: set[Topic] = set()
        self._pending: dict[str, Watched] = {}
        self._known: LRUCache[str, _Known] = LRUCache(MOST_KNOWN)
        self.is_behind = False
        """Whether there was more to tell than is kept."""
        self._stirred = asyncio.Event()

    def add(self, topic: Topic) -> None:
        """Be told of a topic: of its rows as soon as can be, then of their changes."""
        self._homes[topic] = self._homes_of(topic)
        self._answers[topic], self._holders[topic] = {}, set()
        for home in self._homes[topic]:
            home.join(topic, self)

    def remove(self, topic: Topic) -> None:
        """Be told of a topic no longer."""
        for home in self._homes.pop(topic):
            home.leave(topic, self)
        del self._answers[topic], self._holders[topic]
        self._lost.discard(topic)

    def close(self) -> None:
        """Be told nothing any longer."""
        for topic in list(self._homes):
            self.remove(topic)

    def told(self, topic: Topic, home: Home, rows: Collection[tuple[Watched, str]]) -> None:
        """Take what a database says of a topic's rows, with their versions, which is its answer as well.

        A state that is older than the one told last is dropped, unless it is the row's end: clocks differ.
        """
        self._answers[topic][home.role] = None
        if rows:
            self._holders[topic].add(home.role)
        for record, version in rows:
            if record.environment_id not in self.scope:
                continue
            now = _Known(home.rank, version, record.updated_at, record.is_final)
            known = self._known.get(record.id)
            if known is None or _follows(now, known):
                self._known[record.id] = now
                self._pending[record.id] = record
        if len(self._pending) > MOST_PENDING:
            self.is_behind = True
            self._pending.clear()
        self._stirred.set()

    def failed(self, topic: Topic, home: Home, error: Exception) -> None:
        """Take that a database cannot be asked; it will tell as soon as it can."""
        if self._answers[topic].get(home.role) is None:
            self._answers[topic][home.role] = error
            self._stirred.set()

    def lost(self, topic: Topic, home: Home, row_ids: Iterable[str]) -> None:
        """Take that a database had the row of a topic, and has it no more."""
        self._holders[topic].discard(home.role)
        self._lost.add(topic)
        for row_id in row_ids:  # another database's copy may be all that there is
            known = self._known.get(row_id)
            if known is not None and known.rank == home.rank:
                del self._known[row_id]
        self._stirred.set()

    def is_gone(self, topic: Topic) -> bool:
        """Tell whether the row of a topic was deleted: it was there, and no database has it."""
        is_known = len(self._answers[topic]) == len(self._homes[topic]) and not self.failures(topic)
        return topic in self._lost and not self._holders[topic] and is_known

    async def settled(self, topic: Topic) -> list[Exception]:
        """Wait until there is something to tell, or every database has answered or cannot; return why some can't."""
        while True:
            answers = self._answers[topic]
            if self._pending or len(answers) == len(self._homes[topic]):
                return [answer for answer in answers.values() if answer is not None]
            self._stirred.clear()
            await self._stirred.wait()

    def failures(self, topic: Topic) -> list[ShardError]:
        """Return why databases could not be asked when they were looked at last."""
        return [home.failure for home in self._homes[topic] if home.failure is not None]

    def asked_at(self, topic: Topic) -> float:
        """Return since when every database has answered anew, on the loop's clock."""
        return min((home.asked_at(topic) for home in self._homes[topic]), default=float("inf"))

    def open(self, topic: Topic) -> set[str]:
        """Return the primary keys of a topic's rows that have not ended, in any database."""
        return set().union(*(home.open(topic) for home in self._homes[topic]))

    async def stirred(self, seconds: float) -> None:
        """Wait until there may be something to tell, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stirred.wait()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not self._pending

    def drain(self) -> list[Watched]:
        """Return what has changed, in the order in which it did, and expect more."""
        changed = sorted(self._pending.values(), key=lambda record: (record.updated_at, record.id))
        self._pending.clear()
        self._stirred.clear()
        return changed


def _follows(now: _Known, known: _Known) -> bool:
    if now.rank != known.rank:
        return now.rank > known.rank
    if now.updated_at < known.updated_at:
        return now.is_final and not known.is_final
    return now.version != known.version
