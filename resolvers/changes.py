"""Runs, changed: canceled, rescheduled, tagged, their metadata written, their idempotency keys taken."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from resolvers import metadata, values
from resolvers.ability import Resource
from resolvers.refusals import (
    InvalidInputError,
    NotFoundError,
    Refused,
    ShardRefusalError,
)
from resolvers.triggers import hashed
from resolvers.viewer import Viewer
from resolvers.writes import Path, environment_of, run_to_write
from store.moments import now
from store.writes.metadata import Document

OPERATIONS: Path = ("input", "operations")
OF_PARENT: Path = ("input", "parentOperations")
OF_ROOT: Path = ("input", "rootOperations")


class ChangedRun(NamedTuple):
    """What became of a mutation that answers with a run."""

    run_id: str | None = None
    user_errors: Sequence[Refused] = ()


class ResetKey(NamedTuple):
    """What became of `resetIdempotencyKey`."""

    key: str | None = None
    cleared: int | None = None
    user_errors: Sequence[Refused] = ()


async def cancel(viewer: Viewer, *, id_: str) -> ChangedRun:
    """Cancel a run; one that has ended stays as it is. Raises refusals, and `ShardError`."""
    writing = viewer.writing
    run = await run_to_write(viewer, id_, if_retired=True)
    if not run.is_final:
        await writing.changes.cancel(viewer.seen, run.id, run.environment_id)
    return ChangedRun(run.friendly_id)


async def reschedule(viewer: Viewer, *, id_: str, delay: str) -> ChangedRun:
    """Move the time at which a delayed run begins. Raises as `cancel` does."""
    writing = viewer.writing
    run = await run_to_write(viewer, id_)
    moment = now()
    at = values.delay(delay, moment, ("input", "delay")) or moment
    await writing.changes.reschedule(viewer.seen, run.id, run.environment_id, at)
    return ChangedRun(run.friendly_id)


async def add_tags(viewer: Viewer, *, id_: str, tags: Sequence[str]) -> ChangedRun:
    """Give a run the tags that it lacks, all or none of them. Raises as `cancel` does."""
    writing = viewer.writing
    path = ("input", "tags")
    run = await run_to_write(viewer, id_)
    wanted = values.run_tags(tags, path)
    had, lacked = await writing.changes.add_tags(viewer.seen, run.id, wanted, values.MOST_TAGS)
    count = len(had) + len(lacked)
    if lacked and count > values.MOST_TAGS:
        left_out = ", ".join(f"'{tag}'" for tag in lacked)
        raise InvalidInputError(
            f"Runs can only have {values.MOST_TAGS} tags, you're trying to set {count}."
            f" These tags have not been set: {left_out}.",
            path,
        )
    return ChangedRun(run.friendly_id)


async def update_metadata(  # noqa: PLR0913  one for each field of the contract
    viewer: Viewer,
    *,
    id_: str,
    document: object = None,
    operations: Sequence[object] | None = None,
    parent_operations: Sequence[object] | None = None,
    root_operations: Sequence[object] | None = None,
) -> ChangedRun:
    """Write a run's metadata: replace it, then apply operations to it, to its parent's and to its root's.

    A run without a parent is its own parent, and its own root. Raises as `cancel` does.
    """
    writing = viewer.writing
    run = await run_to_write(viewer, id_, name="Task Run")
    own: list[metadata.Operation] = []
    if document is not None:
        if not isinstance(document, dict):
            raise InvalidInputError("metadata must be an object", ("input", "metadata"))
        values.json_text(document, ("input", "metadata"))
        own += metadata.parse_operations([{"type": "update", "value": document}], ("input", "metadata"))
    own += metadata.parse_operations(operations or (), OPERATIONS)
    changes: dict[str, list[metadata.Operation]] = {}
    paths: dict[str, Path] = {}
    for run_id, path, applied in (
        (run.id, OPERATIONS, own),
        (run.parent_task_run_id or run.id, OF_PARENT, metadata.parse_operations(parent_operations or (), OF_PARENT)),
        (run.root_task_run_id or run.id, OF_ROOT, metadata.parse_operations(root_operations or (), OF_ROOT)),
    ):
        if applied:
            changes.setdefault(run_id, []).extend(applied)
            paths.setdefault(run_id, path)

    if viewer.scope.ability.is_limited:
        for run_id in changes.keys() - {run.id}:
            await run_to_write(viewer, f"run_{run_id}", name="Task Run")
    await writing.changes.update_metadata(
        [run.environment_id], {run_id: _change(applied, paths[run_id]) for run_id, applied in changes.items()}
    )
    return ChangedRun(run.friendly_id)


def _change(applied: Sequence[metadata.Operation], path: Path) -> Callable[[Document], Document]:
    """Return what makes new metadata of what is held then. It raises `PayloadTooLargeError`."""

    def change(held: Document) -> Document:
        changed = metadata.apply(held, applied)
        values.json_text(changed, path)
        return changed

    return change


async def reset_key(
    viewer: Viewer,
    *,
    environment_id: str | None = None,
    task_identifier: str | None = None,
    key: str | None = None,
    run_id: str | None = None,
) -> ResetKey:
    """Take a key from the run that has it, or from a task's runs on every shard. Raises as `cancel` does."""
    if run_id is not None:
        if task_identifier is not None or key is not None:
            raise InvalidInputError("give a runId, or a taskIdentifier and a key", ("input", "runId"))
        return await _reset_of_run(viewer, run_id)
    if task_identifier is None or key is None:
        raise InvalidInputError("give a runId, or a taskIdentifier and a key", ("input",))
    writing = viewer.writing
    task = values.plain(task_identifier, ("input", "taskIdentifier"))
    text = values.idempotency_key(key, ("input", "key"))
    viewer.need(Resource("runs"), Resource("tasks", task), action="write")
    environment = await environment_of(viewer, environment_id)
    count, failures = await writing.changes.reset_key(environment.id, task, [text, hashed(text)])
    if not count and failures:
        raise failures[0]
    if not count:
        raise NotFoundError(
            f"No runs found with idempotency key: {values.quoted(text)} and task: {task}", ("input", "key")
        )
    return ResetKey(text, count, [Refused(ShardRefusalError(failure)) for failure in failures])


async def _reset_of_run(viewer: Viewer, run_id: str) -> ResetKey:
    writing = viewer.writing
    path = ("input", "runId")
    run = await run_to_write(viewer, run_id, path)
    had = run.idempotency_key
    if had is None or run.stored_idempotency_key is None:
        raise NotFoundError("This run does not have an idempotency key", path)
    cleared = await writing.changes.reset_key_of_run(viewer.seen, run.id, run.stored_idempotency_key)
    return ResetKey(had.key, int(cleared))
