"""Batches: by id, and what they list."""

from collections import Counter
from collections.abc import Mapping, Sequence

from resolvers.lists import narrowed_page
from resolvers.loaders import Keyed, PageArguments, every
from resolvers.viewer import Viewer
from store.filters import BatchFilter
from store.pages import Page
from store.records import RUN_STATUS, UNKNOWN, BatchErrorRecord, BatchRecord, StatusCount
from store.shards import Answers


async def _batches(viewer: Viewer, references: Sequence[str]) -> Answers[BatchRecord]:
    return await viewer.router.batches(viewer.seen, references, viewer.source)


async def page(
    viewer: Viewer, environment_id: str, narrowing: BatchFilter, arguments: PageArguments
) -> Page[BatchRecord] | None:
    """Return a page of an environment's batches over all shards. Raises `BadInputError` or `BadCursorError`."""
    read = viewer.router.batches_by_environment
    return await narrowed_page(viewer, environment_id, "environment.batches", narrowing, arguments, read)


async def _errors(viewer: Viewer, batch_ids: Sequence[str]) -> Answers[list[BatchErrorRecord]]:
    return every(batch_ids, await viewer.router.errors_by_batch(batch_ids, viewer.source))


async def _statuses(viewer: Viewer, batches: Sequence[BatchRecord]) -> Mapping[BatchRecord, list[StatusCount]]:
    """Return how many runs of batches are in each public status; several stored statuses are one."""
    environments = {batch.id: batch.environment_id for batch in batches}
    stored = await viewer.router.statuses_by_batch(environments, viewer.source)
    found: dict[str, list[StatusCount]] = {}
    for batch_id, counts in stored.items():
        sums = Counter[str]()
        for raw, count in counts.items():
            sums[RUN_STATUS.get(raw, UNKNOWN)] += count
        found[batch_id] = [StatusCount(status, count) for status, count in sorted(sums.items())]
    return {batch: found[batch.id] for batch in batches}


async def _listed_runs(viewer: Viewer, references: Sequence[str]) -> Answers[list[str]]:
    return await viewer.router.listed_runs(viewer.seen, references, viewer.source)


by_reference: Keyed[str, BatchRecord] = Keyed("batch", _batches)
"""A batch by friendly id (``batch_...``) or primary key."""

errors: Keyed[str, list[BatchErrorRecord]] = Keyed("batch.errors", _errors)
"""Why items of a batch became no runs, by the batch's primary key, in the order of the items."""

status_counts: Keyed[BatchRecord, list[StatusCount]] = Keyed("batch.statusCounts", _statuses)
"""How many runs of a batch are in each status, over all shards."""

listed_runs: Keyed[str, list[str]] = Keyed("batch.runIds", _listed_runs)
"""The friendly ids of the runs that a batch lists, in its order."""
