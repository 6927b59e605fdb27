"""Loads by key, batched: a kind of load is declared once, and each viewer has one loader of each kind that it uses.

`Keyed` is a kind: its name, and how many keys are asked for at once. Loads that are wanted in the same moment become
one call of `ask`, whichever fields want them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiodataloader import DataLoader

from resolvers.errors import BadInputError
from store.errors import ShardError
from store.memory import seen
from store.pages import Feed, Page, Position, Window

if TYPE_CHECKING:
    from resolvers.viewer import Viewer

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
T = TypeVar("T")

DEFAULT_PAGE = 25
LARGEST_PAGE = 100


@dataclass(frozen=True, slots=True)
class Keyed(Generic[K, V]):
    """One kind of load. `ask` answers many keys: with a value, with an error for that key only, or not at all.

    Values of other keys, if it has them at hand, are remembered. Kinds with one name and `about` are one kind, with
    one loader.
    """

    name: str
    ask: Callable[["Viewer", Sequence[K]], Awaitable[Mapping[K, V | ShardError]]] = field(compare=False)
    about: Hashable = None


@dataclass(frozen=True, slots=True)
class PageArguments:
    """The arguments of a list, as the caller gave them: a place in it is a cursor, or the position itself."""

    first: int | None = None
    after: str | Position | None = None
    last: int | None = None
    before: str | Position | None = None

    def size(self, default: int = DEFAULT_PAGE) -> int:
        """Return how many rows are asked for. Raises `BadInputError` for none, or for more than a page holds."""
        name, size = ("first", self.first) if self.last is None else ("last", self.last)
        size = default if size is None else size
        if not 1 <= size <= LARGEST_PAGE:
            raise BadInputError(f"{name} must be from 1 to {LARGEST_PAGE}, not {size}")
        return size

    def window(self, feed: Feed, default: int = DEFAULT_PAGE, *, oldest_first: bool = False) -> Window:
        """Return the window of a list that the arguments name. Raises `BadInputError` or `BadCursorError`."""
        if self.first is not None and self.last is not None:
            raise BadInputError("first and last exclude each other: give one of them")
        if self.after is not None and self.before is not None:
            raise BadInputError("after and before exclude each other: give one of them")
        backward = self.last is not None or (self.first is None and self.before is not None)
        if (self.after if backward else self.before) is not None:
            raise BadInputError("first goes with after, and last goes with before")
        size = self.size(default)
        cursor = self.before if backward else self.after
        return Window(size, feed.position(cursor) if isinstance(cursor, str) else cursor, backward, oldest_first)


@dataclass(frozen=True, slots=True)
class Listed(Generic[V]):
    """A list that each record of some type has: its name, and how the pages of many parents are asked for at once."""

    name: str
    ask: Callable[["Viewer", Mapping[str, Feed], Window], Awaitable[Mapping[str, Page[Any] | ShardError]]]
    default: int = DEFAULT_PAGE

    def load(  # noqa: PLR0913  what a list is read by
        self,
        viewer: "Viewer",
        parent: str,
        environment_id: str,
        arguments: PageArguments,
        about: tuple[str, ...] = (),
        *,
        oldest_first: bool = False,
    ) -> "asyncio.Future[Page[Any] | None]":
        """Return the page of one parent, whose rows are of one environment.

        `about` is what else decides what the list holds. Raises `BadInputError` or `BadCursorError` at once.
        """
        feed = Feed(self.name, (parent, *about), environment_id)
        window = arguments.window(feed, self.default, oldest_first=oldest_first)

        async def ask(asking: "Viewer", feeds: Sequence[Feed]) -> Mapping[Feed, Page[Any] | ShardError]:
            by_parent = {feed.about[0]: feed for feed in feeds}
            pages = await self.ask(asking, by_parent, window)
            for page in pages.values():
                if isinstance(page, Page):
                    asking.note(page)
            return {by_parent[parent]: page for parent, page in pages.items()}

        return viewer.load(Keyed(self.name, ask, (window, about)), feed)


class Loader(DataLoader[K, Any], Generic[K, V]):
    """One kind's loader for one viewer. Lives as long as a request, and belongs to the running loop.

    Mends what its base leaves to chance: a waiter that gives up takes nobody else's answer away, errors are not
    remembered, every key has an exception of its own, and a batch that is cancelled fails instead of hanging.
    """

    def __init__(self, viewer: "Viewer", kind: Keyed[K, V]) -> None:
        super().__init__()
        self._viewer, self._kind = viewer, kind

    def load(self, key: K) -> "asyncio.Future[V | None]":
        """Return the value of a key, or None if there is none. Raises that key's error."""
        answer = super().load(key)
        if answer.done():
            return answer
        answer.add_done_callback(seen)
        return asyncio.shield(answer)

    async def batch_load_fn(self, keys: list[K]) -> list[Any]:
        """Return the answers in the order of the keys: a value, None, or that key's error."""
        try:
            answers = await self._kind.ask(self._viewer, keys)
        except ShardError as error:
            answers = dict.fromkeys(keys, error)
        except asyncio.CancelledError as error:
            raise RuntimeError(f"loading {self._kind.name} was cancelled") from error
        for key in answers.keys() - set(keys):
            if not isinstance(answers[key], ShardError):
                self.prime(key, self._viewer.show(answers[key]))
        values: list[V | ShardError | None] = []
        for key in keys:
            answer = answers.get(key)
            if isinstance(answer, ShardError):
                self.clear(key)
                values.append(answer.again())
            else:
                values.append(self._viewer.show(answer))
        return values


def every(
    keys: Sequence[K], lists: Mapping[K, list[T]] | Mapping[K, list[T] | ShardError]
) -> dict[K, list[T] | ShardError]:
    """Return a list for every key: the one that has no rows is empty, not absent."""
    return {key: lists.get(key, []) for key in keys}
