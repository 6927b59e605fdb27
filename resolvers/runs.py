"""Runs: by id, and the lists in which they stand."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from resolvers import batches
from resolvers.ability import Resource
from resolvers.lists import narrowed_page
from resolvers.loaders import Keyed, Listed, PageArguments
from resolvers.summary import required
from resolvers.viewer import Viewer
from store.errors import ShardError
from store.filters import RunFilter, raw_statuses
from store.ids import can_exist
from store.pages import Feed, Page, Window
from store.records import EXECUTING, CountRecord, RunRecord
from store.shards import Answers

MOST_COUNTED = 10_000
MOST_RESULTS = 1_000

Counted = tuple[str, RunFilter]
"""An environment, and the filter that lets its runs through."""

Queued = tuple[str, str | None]
"""An environment, and one of its queues by name, or None for all of them."""


async def _runs(viewer: Viewer, references: Sequence[str]) -> Answers[RunRecord]:
    return await viewer.router.runs(viewer.seen, references, viewer.source)


async def page(
    viewer: Viewer, environment_id: str, narrowing: RunFilter, arguments: PageArguments, *, oldest_first: bool = False
) -> Page[RunRecord] | None:
    """Return a page of an environment's runs over all shards.

    Raises `BadInputError`, `BadCursorError`, or `ForbiddenError` if scopes reach neither all runs nor those asked for.
    """
    _refuse_unreadable(viewer, narrowing)
    read = viewer.router.runs_by_environment
    found = await narrowed_page(
        viewer, environment_id, "environment.runs", narrowing, arguments, read, oldest_first=oldest_first
    )
    return None if found is None else replace(found, counted=(environment_id, narrowing))


def _refuse_unreadable(viewer: Viewer, narrowing: RunFilter) -> None:
    """Raise `ForbiddenError` unless everything that a list is narrowed to by name may be read, or all runs may."""
    ability = viewer.scope.ability
    for type_, names in (
        ("tasks", narrowing.task_identifier),
        ("tags", narrowing.tags),
        ("runs", narrowing.run_ids),
        ("batch", None if narrowing.batch_id is None else (f"batch_{narrowing.batch_id}",)),
    ):
        if names and all(ability.allows("read", [Resource(type_, name)]) for name in names):
            return
    viewer.need(Resource("runs"), Resource("tasks"))


async def _counted(viewer: Viewer, keys: Sequence[Counted]) -> dict[Counted, tuple[int, list[ShardError]]]:
    """Return how many runs environments have that filters let through, and who failed; one statement for each filter.

    No shard counts further than one past `MOST_COUNTED`.
    """
    wanted: dict[RunFilter, list[str]] = {}
    for environment_id, narrowing in keys:
        wanted.setdefault(narrowing, []).append(environment_id)

    async def count(narrowing: RunFilter, of: list[str]) -> dict[Counted, tuple[int, list[ShardError]]]:
        conditions = narrowing.conditions(viewer.now)
        totals, failures = await viewer.router.count_runs(of, conditions, MOST_COUNTED, viewer.source)
        return {(id_, narrowing): (total, failures) for id_, total in totals.items()}

    counted = await asyncio.gather(*(count(narrowing, of) for narrowing, of in wanted.items()))
    return {key: value for part in counted for key, value in part.items()}


async def _counts(viewer: Viewer, keys: Sequence[Counted]) -> Mapping[Counted, CountRecord]:
    counted = await _counted(viewer, keys)
    return {
        key: CountRecord(min(total, MOST_COUNTED), not failures and total <= MOST_COUNTED)
        for key, (total, failures) in counted.items()
    }


async def _executing(viewer: Viewer, addresses: Sequence[Queued]) -> Mapping[Queued, int | ShardError]:
    """Return how many runs execute in queues, or in all queues of an environment. A part of a count is none."""
    statuses = raw_statuses(EXECUTING)
    narrowed = {
        address: RunFilter(statuses, queue=None if address[1] is None else (address[1],)) for address in addresses
    }
    counted = await _counted(viewer, [(address[0], narrowing) for address, narrowing in narrowed.items()])
    found: dict[Queued, int | ShardError] = {}
    for address, narrowing in narrowed.items():
        total, failures = counted[address[0], narrowing]
        found[address] = failures[0] if failures else min(total, MOST_COUNTED)
    return found


async def _any(viewer: Viewer, environment_ids: Sequence[str]) -> Mapping[str, bool | ShardError]:
    totals, failures = await viewer.router.count_runs(environment_ids, (), 1, viewer.source)
    return {id_: failures[0] if failures and not total else total > 0 for id_, total in totals.items()}


async def _children(viewer: Viewer, feeds: Mapping[str, Feed], window: Window) -> Mapping[str, Page[RunRecord]]:
    return await viewer.router.child_runs(feeds, window, viewer.source)


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
    pages = await viewer.router.runs_by_batch(known, listed, window, viewer.source)
    return {**unknown, **pages}


async def _connected(viewer: Viewer, feeds: Mapping[str, Feed], window: Window) -> Mapping[str, Page[RunRecord]]:
    return await viewer.router.connected_runs(feeds, window, viewer.source)


async def _blocked(viewer: Viewer, feeds: Mapping[str, Feed], window: Window) -> Mapping[str, Page[RunRecord]]:
    return await viewer.router.blocked_runs(feeds, window, viewer.source)


async def _touched(viewer: Viewer, feeds: Mapping[str, Feed], window: Window) -> Mapping[str, Page[RunRecord]]:
    return await viewer.router.runs_by_bulk_action(feeds, window, viewer.source)


async def _by_trace(viewer: Viewer, trace_ids: Sequence[str]) -> Answers[RunRecord]:
    known = [trace_id for trace_id in trace_ids if can_exist(trace_id)]
    return await viewer.router.runs_by_trace(viewer.seen, known, viewer.source) if known else {}


async def result(viewer: Viewer, friendly_id: str) -> RunRecord | None:
    """Return a run that has ended, or None: no such run, or it has not."""
    found = required(await viewer.load(by_reference, friendly_id))
    return found if found is not None and found.is_final else None


async def results_of_batch(viewer: Viewer, friendly_id: str) -> list[RunRecord] | None:
    """Return the runs of a batch that have ended, in the order of its items; None if there is no such batch.

    A batch that lists its runs has the order from there, else from their creation.
    """
    batch = required(await viewer.load(batches.by_reference, friendly_id))
    if batch is None:
        return None
    listed = await viewer.load(batches.listed_runs, batch.id)
    if listed:
        members = await viewer.load_many(by_reference, listed[:MOST_RESULTS])
        for member in members:
            if isinstance(member, ShardError):
                raise member
        return [run for run in members if run is not None and not isinstance(run, ShardError) and run.is_final]
    feed, window = Feed("batchResults", (batch.id,), batch.environment_id), Window(MOST_RESULTS, oldest_first=True)
    found = (await viewer.router.runs_by_batch({batch.id: feed}, {}, window, viewer.source))[batch.id]
    if found.failures:
        raise found.failures[0]
    return [viewer.show(run) for run in found.nodes if run.is_final]


by_reference: Keyed[str, RunRecord] = Keyed("run", _runs)
"""A run by friendly id (``run_...``) or primary key."""

counts: Keyed[Counted, CountRecord] = Keyed("environment.runs.totalCount", _counts)
"""How many runs an environment has that a filter lets through, counted up to a limit."""

executing: Keyed[Queued, int] = Keyed("executing", _executing)
"""How many runs execute now, by environment and queue, or by environment alone."""

has_any: Keyed[str, bool] = Keyed("environment.hasAnyRuns", _any)
"""Whether an environment has any run on any shard, by primary key."""

by_trace: Keyed[str, RunRecord] = Keyed("run by trace", _by_trace)
"""The first run of a trace, by trace id."""

touched_by: Listed[RunRecord] = Listed("bulkAction.runs", _touched)
"""The runs that a bulk action touched."""

children: Listed[RunRecord] = Listed("run.childRuns", _children)
"""The runs that a run triggered."""

of_batch: Listed[RunRecord] = Listed("batch.runs", _members)
"""The runs of a batch: its own, and those of other batches that it lists."""

connected_to: Listed[RunRecord] = Listed("waitpoint.connectedRuns", _connected, default=5)
"""The runs that ever waited on a waitpoint. The platform shows 5."""

blocked_by: Listed[RunRecord] = Listed("waitpoint.blockedRuns", _blocked, default=5)
"""The runs that a waitpoint blocks now."""
