"""What was asked a moment ago: answers by key, kept for a while and asked for once by all who want them.

That there is no answer is an answer too, and something else than not having asked. The platform's resolver has the same
rules (``controlPlaneResolver.server.ts``); unlike there, what is forgotten during a query is not remembered by it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from cachetools import TTLCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memory(Generic[K, V]):
    """Answers of one kind. `ttl` is in seconds; `keeps_absence` says whether "there is none" is kept."""

    def __init__(self, ttl: float, entries: int, *, keeps_absence: bool = True) -> None:
        self._known: TTLCache[K, V | None] = TTLCache(entries, ttl)
        self._asking: dict[K, asyncio.Task[Mapping[K, V]]] = {}
        self._keeps_absence = keeps_absence

    async def get(self, keys: Collection[K], ask: Callable[[Collection[K]], Awaitable[Mapping[K, V]]]) -> dict[K, V]:
        """Return the answers to keys; those that have none are absent. Raises what `ask` raises.

        Unknown keys are asked for all at once, except for those that somebody is asking for already.
        """
        answers: dict[K, V | None] = {}
        waiting: dict[K, asyncio.Task[Mapping[K, V]]] = {}
        misses = []
        for key in keys:
            try:
                answers[key] = self._known[key]
            except KeyError:
                if key in self._asking:
                    waiting[key] = self._asking[key]
                else:
                    misses.append(key)
        if misses:
            task = asyncio.ensure_future(self._ask(misses, ask))
            waiting.update(dict.fromkeys(misses, task))
            self._asking.update(dict.fromkeys(misses, task))
            task.add_done_callback(seen)
        for key, task in waiting.items():
            answers[key] = (await asyncio.shield(task)).get(key)
        return {key: answer for key, answer in answers.items() if answer is not None}

    async def one(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """Return the answer to one key. Raises what `ask` raises."""

        async def of_key(_: Collection[K]) -> Mapping[K, V]:
            return {key: await ask()}

        return (await self.get([key], of_key))[key]

    async def _ask(
        self, keys: Collection[K], ask: Callable[[Collection[K]], Awaitable[Mapping[K, V]]]
    ) -> Mapping[K, V]:
        me = asyncio.current_task()
        try:
            found = await ask(keys)
            for key in keys:
                # Whoever forgot the key meanwhile took this task out: its answer may be older than that.
                if self._asking.get(key) is me and (self._keeps_absence or key in found):
                    self._known[key] = found.get(key)
            return found
        finally:
            for key in keys:
                if self._asking.get(key) is me:
                    del self._asking[key]

    def forget(self, keys: Iterable[K]) -> None:
        """Forget the answers to keys, and what is being asked of them now."""
        for key in keys:
            self._known.pop(key, None)
            self._asking.pop(key, None)

    def forget_where(self, matches: Callable[[V], bool]) -> None:
        """Forget the answers that match, and whatever is being asked now: its answer may match."""
        self.forget([key for key, answer in self._known.items() if answer is not None and matches(answer)])
        self._asking.clear()


def seen(done: "asyncio.Future[Any]") -> None:
    """Mark the error of something as seen: whoever still waits for it has it from elsewhere."""
    if not done.cancelled():
        done.exception()
