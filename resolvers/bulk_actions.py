"""Bulk actions, listed."""

from collections.abc import Mapping

from resolvers.loaders import Listed
from resolvers.viewer import Viewer
from store.pages import Feed, Page, Window
from store.records import BulkActionRecord


async def _listed(viewer: Viewer, feeds: Mapping[str, Feed], window: Window) -> Mapping[str, Page[BulkActionRecord]]:
    return await viewer.control_plane.bulk_actions_by_environment(feeds, window, viewer.source)


of_environment: Listed[BulkActionRecord] = Listed("environment.bulkActions", _listed)
"""The bulk actions of an environment, newest first."""
