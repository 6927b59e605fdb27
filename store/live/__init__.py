"""What has changed, for as long as somebody watches: the rows of all databases, each told to whoever watches it."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from store.control_plane import CONTROL_PLANE
from store.live.topics import Kind, One, Topic
from store.live.wakeups import Listener, RedisWakeups
from store.live.watch import Watch
from store.live.watcher import Watcher
from store.metrics import Metrics
from store.queries import Scope
from store.residency import Residency


class Live:
    """Watches all databases, each with a watcher and a listener of its own, by the database's role.

    A role is a shard's key, or the control plane.
    """

    def __init__(
        self, watchers: Mapping[str, Watcher], listeners: Mapping[str, Listener], residency: Residency, metrics: Metrics
    ) -> None:
        self.watchers, self._listeners, self._residency, self.metrics = watchers, listeners, residency, metrics
        self._redis: RedisWakeups | None = None
        self.turns = asyncio.Lock()
        """Held by whoever begins much work at once, for all who were told something at the same time."""
        for role, listener in listeners.items():
            metrics.listening.labels(role).set_function(partial(_works, listener))

    @contextmanager
    def watch(self, scope: Scope) -> Iterator[Watch]:
        """Lend a watch that tells of rows in the scope, as long as the block lasts."""
        watch = Watch(scope, self._homes)
        self.metrics.watches.inc()
        try:
            yield watch
        finally:
            self.metrics.watches.dec()
            watch.close()

    @asynccontextmanager
    async def listening(self, redis_url: str | None = None) -> AsyncIterator[None]:
        """Hear of other processes' writes, and tell them of this one's, as long as the block lasts.

        Through the databases themselves, and through a Redis if one is named. Without it, and wherever nothing is
        heard, a change is told a little later. Raises `ConfigurationError` for a Redis that cannot be one.
        """
        if redis_url is not None:
            self._redis = RedisWakeups(redis_url, self._moved)
        work = [asyncio.create_task(one.run()) for one in (*self._listeners.values(), self._redis) if one is not None]
        try:
            yield
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            self._redis = None

    def wrote(self, role: str) -> None:
        """Look soon, and let other processes, for this one has written to a database."""
        self._moved(role)
        self._listeners[role].tell()
        if self._redis is not None:
            self._redis.tell(role)

    async def close(self) -> None:
        """Watch nothing any longer."""
        for watcher in self.watchers.values():
            await watcher.close()

    def _moved(self, role: str) -> None:
        if role in self.watchers:
            self.watchers[role].wake()

    def _homes(self, topic: Topic) -> tuple[Watcher, ...]:
        """Return the watchers of the databases where rows of a topic may be."""
        if isinstance(topic, One) and topic.kind is Kind.BULK_ACTION:
            return (self.watchers[CONTROL_PLANE],)
        if isinstance(topic, One) and topic.kind is Kind.RUN:
            return tuple(self.watchers[key] for key in self._residency.run(topic.reference))
        return tuple(self.watchers[key] for key in self._residency.precedence)


def _works(listener: Listener) -> float:
    return float(listener.works)
