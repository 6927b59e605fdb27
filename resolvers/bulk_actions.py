"""Bulk actions: by id, and listed."""

from resolvers.loaders import PageArguments
from resolvers.viewer import Viewer
from store.pages import Feed, Page
from store.records import BulkActionRecord


async def page(viewer: Viewer, environment_id: str, arguments: PageArguments) -> Page[BulkActionRecord] | None:
    """Return a page of an environment's bulk actions, newest first. Raises `BadInputError` or `BadCursorError`."""
    if environment_id != viewer.environment_id:
        return None
    feed = Feed("environment.bulkActions", (environment_id,))
    return await viewer.control_plane.bulk_action_page(environment_id, feed, arguments.window(feed))
