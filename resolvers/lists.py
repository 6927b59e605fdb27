"""The narrowed lists of an environment: one way from arguments to a page."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from resolvers.loaders import Listed, PageArguments
from resolvers.viewer import Viewer
from store.filters import Narrowing, digest
from store.pages import Feed, Page, Window
from store.runs import Conditions
from store.shard import ReadFrom

if TYPE_CHECKING:
    import asyncio

Read = Callable[[Mapping[str, Feed], Conditions, Window, ReadFrom], Awaitable[Mapping[str, Page[Any]]]]


def narrowed_page(  # noqa: PLR0913, PLR0917  what differs from list to list
    viewer: Viewer,
    environment_id: str,
    name: str,
    narrowing: Narrowing,
    arguments: PageArguments,
    read: Read,
    *,
    oldest_first: bool = False,
) -> "asyncio.Future[Page[Any] | None]":
    """Return a page of one of an environment's lists, over all shards; of several environments at once, in one read.

    Its cursors are good for the same narrowing and order only. Raises `BadInputError` or `BadCursorError`.
    """

    async def ask(asking: Viewer, feeds: Mapping[str, Feed], window: Window) -> Mapping[str, Page[Any]]:
        return await read(feeds, narrowing.conditions(asking.now), window, asking.source)

    about = (digest(narrowing), str(oldest_first))
    return Listed(name, ask).load(viewer, environment_id, environment_id, arguments, about, oldest_first=oldest_first)
