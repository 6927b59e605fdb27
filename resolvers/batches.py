"""Batches: by id, and what they list."""

from collections.abc import Sequence

from resolvers.loaders import Keyed
from resolvers.viewer import Viewer
from store.records import BatchRecord
from store.router import Answers


async def _batches(viewer: Viewer, references: Sequence[str]) -> Answers[BatchRecord]:
    return await viewer.router.batches(viewer.environment_id, references, viewer.source)


async def _listed_runs(viewer: Viewer, references: Sequence[str]) -> Answers[list[str]]:
    return await viewer.router.listed_runs(viewer.environment_id, references, viewer.source)


by_reference: Keyed[str, BatchRecord] = Keyed("batch", _batches)
"""A batch by friendly id (``batch_...``) or primary key."""

listed_runs: Keyed[str, list[str]] = Keyed("batch.runIds", _listed_runs)
"""The friendly ids of the runs that a batch lists, in its order."""
