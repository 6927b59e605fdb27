"""The narrowed lists of an environment: one way from arguments to a page."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from resolvers.loaders import PageArguments
from resolvers.viewer import Viewer
from store.filters import Narrowing, digest
from store.pages import Feed, Page, Row, Window
from store.runs import Conditions
from store.shard import ReadFrom

R = TypeVar("R", bound=Row)
Read = Callable[[str, Conditions, Feed, Window, ReadFrom], Awaitable[Page[R]]]


async def narrowed_page(  # noqa: PLR0913, PLR0917  what differs from list to list
    viewer: Viewer,
    environment_id: str,
    name: str,
    narrowing: Narrowing,
    arguments: PageArguments,
    read: Read[R],
    *,
    oldest_first: bool = False,
) -> Page[R] | None:
    """Return a page of one of an environment's lists, over all shards; None if the viewer is not in the environment.

    Its cursors are good for the same narrowing and order only. Raises `BadInputError` or `BadCursorError`.
    """
    if environment_id != viewer.environment_id:
        return None
    feed = Feed(name, (environment_id, digest(narrowing), str(oldest_first)))
    window = arguments.window(feed, oldest_first=oldest_first)
    page = await read(environment_id, narrowing.conditions(viewer.now), feed, window, viewer.source)
    viewer.note(page)
    return page
