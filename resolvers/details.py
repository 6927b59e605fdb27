"""What a run has beside its row: large columns, attempts, steps, and what the control plane knows around it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from resolvers.loaders import Keyed
from resolvers.payloads import ErrorRecord, decode, decode_error, decode_metadata
from resolvers.viewer import Viewer
from store.errors import ShardError
from store.records import (
    AttemptRecord,
    BulkActionRecord,
    DeploymentRecord,
    QueueLimits,
    ScheduleRecord,
    SnapshotRecord,
    WorkerRecord,
)
from store.router import Answers


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


async def _parts(viewer: Viewer, keys: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Any]:
    """Return parts of runs; what is asked for at once is read in one statement a shard, and nothing else is."""
    run_ids = list(dict.fromkeys(run_id for run_id, _ in keys))
    names = dict.fromkeys(column for _, part in keys for column in PARTS[part].columns)
    rows = await viewer.router.large_columns(viewer.environment_id, run_ids, list(names), viewer.source)
    values: dict[tuple[str, str], Any] = {}
    for run_id, part in keys:
        row = rows.get(run_id)
        if isinstance(row, ShardError):
            values[run_id, part] = row
        elif row is not None:
            values[run_id, part] = PARTS[part].read(*(row[column] for column in PARTS[part].columns))
    return values


async def _attempts(viewer: Viewer, run_ids: Sequence[str]) -> Answers[list[AttemptRecord]]:
    answers = await viewer.router.attempts(viewer.environment_id, run_ids, viewer.source)
    return {run_id: answers.get(run_id, []) for run_id in run_ids}


async def _queues(viewer: Viewer, addresses: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], QueueLimits]:
    own = viewer.environment_id
    limits = await viewer.control_plane.queue_limits(own, [name for place, name in addresses if place == own])
    return {(own, name): limit for name, limit in limits.items()}


async def _workers(viewer: Viewer, ids: Sequence[str]) -> Mapping[str, WorkerRecord]:
    return await viewer.control_plane.workers(viewer.environment_id, ids)


async def _deployments(viewer: Viewer, worker_ids: Sequence[str]) -> Mapping[str, DeploymentRecord]:
    return await viewer.control_plane.deployments_by_worker(viewer.environment_id, worker_ids)


async def _schedules(viewer: Viewer, ids: Sequence[str]) -> Mapping[str, ScheduleRecord]:
    return await viewer.control_plane.schedules(viewer.environment.project_id, ids)


async def _schedules_by_friendly_id(viewer: Viewer, friendly_ids: Sequence[str]) -> Mapping[str, ScheduleRecord]:
    return await viewer.control_plane.schedules_by_friendly_id(viewer.environment.project_id, friendly_ids)


async def _bulk_actions(viewer: Viewer, references: Sequence[str]) -> Mapping[str, BulkActionRecord]:
    return await viewer.control_plane.bulk_actions(viewer.environment_id, references)


def snapshots(size: int) -> Keyed[str, list[SnapshotRecord]]:
    """Return the kind of load that reads the last steps of a run, newest first, by its primary key."""

    async def ask(viewer: Viewer, run_ids: Sequence[str]) -> Answers[list[SnapshotRecord]]:
        answers = await viewer.router.snapshots(run_ids, size, viewer.source)
        return {run_id: answers.get(run_id, []) for run_id in run_ids}

    return Keyed("run.snapshots", ask, size)


parts: Keyed[tuple[str, str], Any] = Keyed("run.parts", _parts)
"""A large part of a run, decoded, by the run's primary key and the part's name."""

attempts: Keyed[str, list[AttemptRecord]] = Keyed("run.attempts", _attempts)
"""The attempts of a run, by its primary key."""

queue_limits: Keyed[tuple[str, str], QueueLimits] = Keyed("queue", _queues)
"""What the control plane says of a queue, by environment and name."""

workers: Keyed[str, WorkerRecord] = Keyed("worker", _workers)
"""What runs a version, by primary key."""

deployments: Keyed[str, DeploymentRecord] = Keyed("deployment", _deployments)
"""How a version was deployed, by its worker's primary key."""

schedules: Keyed[str, ScheduleRecord] = Keyed("schedule", _schedules)
"""A schedule, by primary key."""

schedules_by_friendly_id: Keyed[str, ScheduleRecord] = Keyed("schedule by friendly id", _schedules_by_friendly_id)
"""A schedule, by friendly id (``sched_...``): its primary key can't be told from that."""

bulk_actions: Keyed[str, BulkActionRecord] = Keyed("bulkAction", _bulk_actions)
"""A bulk action, by friendly id (``bulk_...``) or primary key."""
