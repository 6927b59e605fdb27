"""Runs: by id, and the lists in which they stand."""

from collections.abc import Mapping, Sequence

from resolvers import batches
from resolvers.loaders import Keyed, Listed
from resolvers.viewer import Viewer
from store.errors import ShardError
from store.pages import Feed, Page, Window
from store.records import RunRecord
from store.router import Answers


async def _runs(viewer: Viewer, references: Sequence[str]) -> Answers[RunRecord]:
    return await viewer.router.runs(viewer.environment_id, references, viewer.source)


async def _all(viewer: Viewer, feeds: Mapping[str, Feed], window: Window) -> Mapping[str, Page[RunRecord]]:
    own = viewer.environment_id
    return {own: await viewer.router.run_page(own, feeds[own], window, viewer.source)} if own in feeds else {}


async def _children(viewer: Viewer, feeds: Mapping[str, Feed], window: Window) -> Mapping[str, Page[RunRecord]]:
    return await viewer.router.child_runs(viewer.environment_id, feeds, window, viewer.source)


async def _members(
    viewer: Viewer, feeds: Mapping[str, Feed], window: Window
) -> Mapping[str, Page[RunRecord] | ShardError]:
    """Return the runs of batches; what a batch lists is on its shard, the runs may be on others."""
    answers = await viewer.load_many(batches.listed_runs, feeds)
    unknown: dict[str, ShardError] = {}
    listed: dict[str, list[str]] = {}
    for batch_id, answer in zip(feeds, answers, strict=True):
        if isinstance(answer, ShardError):
            unknown[batch_id] = answer
        else:
            listed[batch_id] = answer or []
    if not listed:
        return unknown
    known = {batch_id: feeds[batch_id] for batch_id in listed}
    pages = await viewer.router.runs_by_batch(viewer.environment_id, known, listed, window, viewer.source)
    return {**unknown, **pages}


async def _connected(viewer: Viewer, feeds: Mapping[str, Feed], window: Window) -> Mapping[str, Page[RunRecord]]:
    return await viewer.router.connected_runs(viewer.environment_id, feeds, window, viewer.source)


async def _blocked(viewer: Viewer, feeds: Mapping[str, Feed], window: Window) -> Mapping[str, Page[RunRecord]]:
    return await viewer.router.blocked_runs(viewer.environment_id, feeds, window, viewer.source)


by_reference: Keyed[str, RunRecord] = Keyed("run", _runs)
"""A run by friendly id (``run_...``) or primary key."""

of_environment: Listed[RunRecord] = Listed("environment.runs", _all)
"""All runs of an environment, over all shards."""

children: Listed[RunRecord] = Listed("run.childRuns", _children)
"""The runs that a run triggered."""

of_batch: Listed[RunRecord] = Listed("batch.runs", _members)
"""The runs of a batch: its own, and those of other batches that it lists."""

connected_to: Listed[RunRecord] = Listed("waitpoint.connectedRuns", _connected, default=5)
"""The runs that ever waited on a waitpoint. The platform shows 5."""

blocked_by: Listed[RunRecord] = Listed("waitpoint.blockedRuns", _blocked, default=5)
"""The runs that a waitpoint blocks now."""
