"""What a run has beside its row: large columns, attempts, steps, and what the control plane knows around it."""

from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from resolvers.loaders import Keyed, every
from resolvers.payloads import ErrorRecord, decode, decode_error, decode_metadata
from resolvers.viewer import Viewer
from store.errors import ShardError
from store.records import (
    Address,
    AttemptRecord,
    BulkActionRecord,
    DeploymentRecord,
    QueueLimits,
    ScheduleRecord,
    SnapshotRecord,
    WorkerRecord,
)
from store.shards import Answer, Answers

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Part(NamedTuple):
    """A large part of a row: its columns, and what is made of their values."""

    columns: tuple[str, ...]
    read: Callable[..., Any]


def _failure(error: object, raw_status: str) -> ErrorRecord | None:
    """Return why a run has no result; of one that was canceled, that it was."""
    if raw_status == "CANCELED":
        return ErrorRecord("INTERNAL_ERROR", None, "the run was canceled", "TASK_RUN_CANCELLED", None)
    return decode_error(error)


PARTS: dict[str, _Part] = {
    "payload": _Part(("payload", "payload_type"), decode),
    "output": _Part(("output", "output_type"), decode),
    "metadata": _Part(("run_metadata", "metadata_type"), decode_metadata),
    "error": _Part(("error",), decode_error),
    "failure": _Part(("error", "raw_status"), _failure),
}


async def _parts(
    keys: Sequence[tuple[K, str]],
    read: Callable[[Collection[K], Collection[str]], Awaitable[Mapping[K, Answer[Mapping[Any, Any]]]]],
) -> Mapping[tuple[K, str], Any]:
    """Return parts of rows; what is asked for at once is read in one statement a shard, and nothing else is."""
    rows_of = list(dict.fromkeys(key for key, _ in keys))
    names = dict.fromkeys(column for _, part in keys for column in PARTS[part].columns)
    rows = await read(rows_of, list(names))
    values: dict[tuple[K, str], Any] = {}
    for key, part in keys:
        row = rows.get(key)
        if isinstance(row, ShardError):
            values[key, part] = row
        elif row is not None:
            values[key, part] = PARTS[part].read(*(row[column] for column in PARTS[part].columns))
    return values


async def _run_parts(viewer: Viewer, keys: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Any]:
    return await _parts(
        keys, lambda run_ids, names: viewer.router.large_columns(viewer.seen, run_ids, names, viewer.source)
    )


async def _attempt_parts(viewer: Viewer, keys: Sequence[tuple[Address, str]]) -> Mapping[tuple[Address, str], Any]:
    return await _parts(
        keys, lambda attempts, names: viewer.router.attempt_columns(viewer.seen, attempts, names, viewer.source)
    )


async def _attempts(viewer: Viewer, run_ids: Sequence[str]) -> Answers[list[AttemptRecord]]:
    return every(run_ids, await viewer.router.attempts(viewer.seen, run_ids, viewer.source))


async def _attempts_by_reference(viewer: Viewer, friendly_ids: Sequence[str]) -> Answers[AttemptRecord]:
    return await viewer.router.attempts_by_reference(viewer.seen, friendly_ids, viewer.source)


async def _queues(viewer: Viewer, addresses: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], QueueLimits]:
    return await viewer.control_plane.queue_limits(addresses)


async def _workers(viewer: Viewer, ids: Sequence[str]) -> Mapping[str, WorkerRecord]:
    return _within(await viewer.control_plane.workers(ids), "environment_id", viewer.seen)


async def _deployments(viewer: Viewer, worker_ids: Sequence[str]) -> Mapping[str, DeploymentRecord]:
    return _within(await viewer.control_plane.deployments_by_worker(worker_ids), "environment_id", viewer.seen)


async def _schedules(viewer: Viewer, references: Sequence[str]) -> Mapping[str, ScheduleRecord]:
    return _within(await viewer.control_plane.schedules(references), "project_id", viewer.scope.project_ids)


async def _bulk_actions(viewer: Viewer, references: Sequence[str]) -> Mapping[str, BulkActionRecord]:
    return await viewer.control_plane.bulk_actions(viewer.seen, references, viewer.source)


def _within(found: Mapping[str, V], place: str, seen: Collection[str]) -> dict[str, V]:
    """Return what is in a place that the viewer sees."""
    return {key: record for key, record in found.items() if getattr(record, place) in seen}


def snapshots(size: int) -> Keyed[str, list[SnapshotRecord]]:
    """Return the kind of load that reads the last steps of a run, newest first, by its primary key."""

    async def ask(viewer: Viewer, run_ids: Sequence[str]) -> Answers[list[SnapshotRecord]]:
        return every(run_ids, await viewer.router.snapshots(run_ids, size, viewer.source))

    return Keyed("run.snapshots", ask, size)


parts: Keyed[tuple[str, str], Any] = Keyed("run.parts", _run_parts)
"""A large part of a run, decoded, by the run's primary key and the part's name."""

attempt_parts: Keyed[tuple[Address, str], Any] = Keyed("attempt.parts", _attempt_parts)
"""A large part of an attempt, decoded, by the attempt's address and the part's name."""

attempt_by_id: Keyed[str, AttemptRecord] = Keyed("attempt", _attempts_by_reference)
"""An attempt, by friendly id (``attempt_...``)."""

attempts: Keyed[str, list[AttemptRecord]] = Keyed("run.attempts", _attempts)
"""The attempts of a run, by its primary key."""

queue_limits: Keyed[tuple[str, str], QueueLimits] = Keyed("queue", _queues)
"""What the control plane says of a queue, by environment and name."""

workers: Keyed[str, WorkerRecord] = Keyed("worker", _workers)
"""What runs a version, by primary key."""

deployments: Keyed[str, DeploymentRecord] = Keyed("deployment", _deployments)
"""How a version was deployed, by its worker's primary key."""

schedules: Keyed[str, ScheduleRecord] = Keyed("schedule", _schedules)
"""A schedule, by friendly id (``sched_...``) or primary key; neither can be told from the other."""

bulk_actions: Keyed[str, BulkActionRecord] = Keyed("bulkAction", _bulk_actions)
"""A bulk action, by friendly id (``bulk_...``) or primary key."""
