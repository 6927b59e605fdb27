"""Bulk actions: listed, created and stopped."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from resolvers import values
from resolvers.ability import Resource
from resolvers.loaders import Listed
from resolvers.refusals import InvalidInputError, NotFoundError, Refused
from resolvers.viewer import Viewer
from resolvers.writes import ID, environment_of, named_by
from store.bulk import BulkType
from store.filters import RunFilter
from store.ids import can_exist
from store.pages import Feed, Page, Window
from store.records import BulkActionRecord

MOST_RUNS = 500
LONGEST_NAME = 255
TYPES: dict[str, BulkType] = {"CANCEL": "CANCEL", "REPLAY": "REPLAY"}


class ChangedBulkAction(NamedTuple):
    """What became of a mutation that answers with a bulk action."""

    bulk_action_id: str | None = None
    user_errors: Sequence[Refused] = ()


async def create(  # noqa: PLR0913  one for each field of the contract
    viewer: Viewer,
    *,
    action: str,
    environment_id: str | None = None,
    name: str | None = None,
    narrowing: RunFilter | None = None,
    shown: Mapping[str, Any] | None = None,
    run_ids: Sequence[str] | None = None,
    target_region: str | None = None,
) -> ChangedBulkAction:
    """Create a bulk action on runs that a filter lets through, or on those that are named.

    `shown` is what the filter says, as the caller said it. Raises refusals, and `ShardError`.
    """
    writing = viewer.writing
    viewer.need(Resource("runs"), action="write")
    if action not in TYPES:
        raise InvalidInputError("a bulk action cancels or replays", ("input", "action"))
    if (shown is None) == (run_ids is None):
        raise InvalidInputError("give a filter or runIds, and not both", ("input",))
    if target_region is not None and action != "REPLAY":
        raise InvalidInputError("only replays have a region", ("input", "targetRegion"))
    if run_ids is not None:
        shown = {"runIds": _run_ids(run_ids)}
    elif narrowing == RunFilter():
        raise InvalidInputError("a filter must narrow: give at least one of its fields", ("input", "filter"))
    path = ("input", "targetRegion")
    friendly_id = await writing.bulk.create(
        await environment_of(viewer, environment_id),
        TYPES[action],
        None if name is None else values.plain(name, ("input", "name"), longest=LONGEST_NAME),
        run_ids=None if run_ids is None else _run_ids(run_ids),
        narrowing=narrowing,
        shown=shown,
        region=None if target_region is None else values.plain(target_region, path),
        user_id=viewer.scope.user and viewer.scope.user.id,
    )
    return ChangedBulkAction(friendly_id)


def _run_ids(run_ids: Sequence[str]) -> list[str]:
    path = ("input", "runIds")
    if len(run_ids) > MOST_RUNS:
        raise InvalidInputError(f"Too many runIds ({len(run_ids)}). Maximum is {MOST_RUNS}.", path)
    if not run_ids:
        raise InvalidInputError("runIds names no run", path)
    for index, run_id in enumerate(run_ids):
        if not run_id.startswith("run_") or not can_exist(run_id):
            raise InvalidInputError("this is no id of a run", (*path, str(index)))
    return list(dict.fromkeys(run_ids))


async def abort(viewer: Viewer, *, id_: str) -> ChangedBulkAction:
    """Stop a bulk action that is at work. Raises refusals, and `ShardError`."""
    writing = viewer.writing
    viewer.need(Resource("runs"), action="write")
    if not id_.startswith("bulk_") or not can_exist(id_):
        raise NotFoundError("Bulk action not found", ID)
    with named_by(ID):
        await writing.bulk.abort(viewer.seen, id_)
    return ChangedBulkAction(id_)


async def _listed(viewer: Viewer, feeds: Mapping[str, Feed], window: Window) -> Mapping[str, Page[BulkActionRecord]]:
    return await viewer.control_plane.bulk_actions_by_environment(feeds, window, viewer.source)


of_environment: Listed[BulkActionRecord] = Listed("environment.bulkActions", _listed)
"""The bulk actions of an environment, newest first."""
