"""New runs and batches: what a caller may say of them, and where they belong."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from resolvers import values
from resolvers.ability import Resource
from resolvers.refusals import InvalidInputError, InvalidRunStateError, NotFoundError, Refused
from resolvers.viewer import Viewer
from resolvers.writes import Path, environment_of, key_of, run_of, run_to_write
from store.moments import now
from store.plans import IdempotencyKey, NewRun
from store.records import MACHINES, EnvironmentRecord, RunRecord, WorkerRecord

MOST_ITEMS = 500
"""Of a batch, as the platform's ``/api/v2/tasks/batch`` has it."""

LARGEST_INT = 2**31 - 1
STORED_MACHINE = {name: preset for preset, name in MACHINES.items()}


class TriggeredRun(NamedTuple):
    """What became of `triggerRun`."""

    run_id: str | None = None
    is_cached: bool = False
    user_errors: Sequence[Refused] = ()


class TriggeredBatch(NamedTuple):
    """What became of `triggerBatch`."""

    batch_id: str | None = None
    is_cached: bool = False
    user_errors: Sequence[Refused] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a caller says of any new run, as it is said; payload and metadata are their JSON, and whether there is any.

    What is None is not said.
    """

    environment_id: str | None = None
    payload: object = None
    has_payload: bool = False
    metadata: object = None
    tags: Sequence[str] | None = None
    queue: str | None = None
    concurrency_key: str | None = None
    machine: str | None = None
    region: str | None = None
    version: str | None = None
    max_attempts: int | None = None
    max_duration_seconds: int | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInput(Described):
    """What a caller says of a run of a task."""

    task: str
    delay: str | None = None
    ttl: str | None = None
    priority_ms: int | None = None
    is_test: bool | None = None
    idempotency_key_ttl: str | None = None
    idempotency_key_scope: str | None = None
    parent_run_id: str | None = None
    resume_parent_on_completion: bool | None = None


async def trigger_run(viewer: Viewer, given: RunInput) -> TriggeredRun:
    """Make a run, or find the one that its key names. Raises refusals, and `ShardError`."""
    writing = viewer.triggering
    task = values.plain(given.task, ("input", "task"))
    viewer.need(Resource("tasks", task), action="trigger", instead="write")
    waits = bool(given.resume_parent_on_completion)
    environment, parent = await _place(viewer, given.environment_id, given.parent_run_id, waits=waits)
    workers = await workers_named(viewer, environment, [given], [("input",)])
    new = replace(new_run(given, parent, workers, ("input",)), one_time_token=viewer.scope.one_time_token)
    made = await writing.triggers.run(environment, new, parent, waits=waits)
    return TriggeredRun(made.friendly_id, made.is_cached)


async def trigger_batch(  # noqa: PLR0913  one for each field of the contract
    viewer: Viewer,
    *,
    items: Sequence[RunInput],
    environment_id: str | None = None,
    idempotency_key: str | None = None,
    idempotency_key_ttl: str | None = None,
    parent_run_id: str | None = None,
    resume_parent_on_completion: bool | None = None,
) -> TriggeredBatch:
    """Make a batch with all its runs, or find the one that its key names: all of it, or nothing. Raises as above."""
    writing = viewer.triggering
    if not items:
        raise InvalidInputError("Batch cannot be triggered with no items", ("input", "items"))
    if len(items) > MOST_ITEMS:
        sentence = f"Batch size of {len(items)} is too large. Maximum allowed batch size is {MOST_ITEMS}."
        raise InvalidInputError(sentence, ("input", "items"))
    paths: list[Path] = [("input", "items", str(index)) for index in range(len(items))]
    for item, path in zip(items, paths, strict=True):
        task = values.plain(item.task, (*path, "task"))
        viewer.need(Resource("tasks", task), action="batchTrigger", instead="write")
        _refuse_places(item, path)
    waits = bool(resume_parent_on_completion)
    environment, parent = await _place(viewer, environment_id, parent_run_id, waits=waits)
    workers = await workers_named(viewer, environment, items, paths)
    new = [new_run(item, parent, workers, path) for item, path in zip(items, paths, strict=True)]
    key = key_of(idempotency_key, idempotency_key_ttl)
    once = viewer.scope.one_time_token
    made = await writing.triggers.batch(environment, new, key, parent, waits=waits, one_time_token=once)
    return TriggeredBatch(made.friendly_id, made.is_cached)


def _refuse_places(item: RunInput, path: Path) -> None:
    """Raise `InvalidInputError` for an item that says what the batch says for all of them."""
    for name, value in (
        ("environmentId", item.environment_id),
        ("parentRunId", item.parent_run_id),
        ("resumeParentOnCompletion", item.resume_parent_on_completion),
    ):
        if value is not None:
            raise InvalidInputError(f"{name} is said once, for the whole batch", (*path, name))


async def _place(
    viewer: Viewer, environment_id: str | None, parent_id: str | None, *, waits: bool
) -> tuple[EnvironmentRecord, RunRecord | None]:
    """Return the environment of what is new, and its parent, which is of the same one.

    Who makes a run wait, writes to it. Raises refusals.
    """
    path = ("input", "parentRunId")
    if parent_id is None:
        if waits:
            raise InvalidInputError("resumeParentOnCompletion needs a parentRunId: say who waits", path)
        return await environment_of(viewer, environment_id), None
    if waits:
        parent = await run_to_write(viewer, parent_id, path, "Parent run")
    else:
        parent = await run_of(viewer, parent_id, path, "Parent run")
        names = Resource("runs", parent.friendly_id), Resource("tasks", parent.task_identifier)
        viewer.need(*names, instead="write")
    theirs = f"env_{parent.environment_id}"
    environment = await environment_of(viewer, theirs if environment_id is None else environment_id)
    if environment.id != parent.environment_id:
        raise NotFoundError("Parent run not found", path)
    if waits and parent.is_final:
        raise InvalidRunStateError("a run that has ended cannot wait", parent.status, path)
    return environment, parent


async def workers_named(
    viewer: Viewer, environment: EnvironmentRecord, items: Sequence[RunInput], paths: Sequence[Path]
) -> dict[str, WorkerRecord]:
    """Return the versions that runs are locked to, by name. Raises `InvalidInputError` for one that there is not."""
    found: dict[str, WorkerRecord] = {}
    for item, path in zip(items, paths, strict=True):
        if item.version is None or item.version in found:
            continue
        name = values.plain(item.version, (*path, "version"))
        worker = await viewer.control_plane.worker_named(environment.id, name)
        if worker is None:
            raise InvalidInputError(f"there is no version {name!r} in this environment", (*path, "version"))
        found[item.version] = worker
    return found


def new_run(given: RunInput, parent: RunRecord | None, workers: dict[str, WorkerRecord], path: Path) -> NewRun:
    """Return the run that a caller describes. Raises `InvalidInputError` or `PayloadTooLargeError`."""

    def plain(name: str, value: str | None) -> str | None:
        return None if value is None else values.plain(value, (*path, name))

    def whole(name: str, value: int | None, least: int = 1) -> int | None:
        return None if value is None else values.whole(value, (*path, name), least, LARGEST_INT)

    payload, payload_type = values.encode(given.payload, (*path, "payload"), given=given.has_payload)
    return NewRun(
        task=given.task,
        payload=payload or "",
        payload_type=payload_type,
        metadata=metadata_text(given.metadata, (*path, "metadata")),
        tags=tuple(values.run_tags(given.tags or (), (*path, "tags"))),
        queue=plain("queue", given.queue),
        concurrency_key=plain("concurrencyKey", given.concurrency_key),
        machine=machine(given.machine, (*path, "machine")),
        region=plain("region", given.region),
        worker=None if given.version is None else workers[given.version],
        max_attempts=whole("maxAttempts", given.max_attempts),
        max_duration_seconds=whole("maxDurationSeconds", given.max_duration_seconds),
        delay_until=None if given.delay is None else values.delay(given.delay, now(), (*path, "delay")),
        ttl=None if given.ttl is None else values.ttl(given.ttl, (*path, "ttl")),
        priority_ms=whole("priorityMs", given.priority_ms, -LARGEST_INT) or 0,
        is_test=bool(given.is_test),
        key=_scoped(given, parent, path),
    )


def metadata_text(metadata: object, path: Path) -> str | None:
    """Return metadata as it is stored. Raises `InvalidInputError` or `PayloadTooLargeError`."""
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise InvalidInputError("metadata must be an object", path)
    return values.json_text(metadata, path)


def machine(name: str | None, path: Path) -> str | None:
    """Return a machine's preset as it is stored. Raises `InvalidInputError`."""
    if name is None:
        return None
    if name not in STORED_MACHINE:
        raise InvalidInputError("there is no such machine", path)
    return STORED_MACHINE[name]


def _scoped(given: RunInput, parent: RunRecord | None, path: Path) -> IdempotencyKey | None:
    """Return a key as it is stored: with a scope, a hash of it and of what the scope adds, as the platform's SDK does.

    That is ``packages/core/src/v3/idempotencyKeys.ts``. Raises `InvalidInputError`.
    """
    key = key_of(given.idempotency_key, given.idempotency_key_ttl, path)
    scope = given.idempotency_key_scope
    if scope is None:
        return key
    if key is None:
        raise InvalidInputError("a scope needs an idempotencyKey", (*path, "idempotencyKeyScope"))
    if scope != "GLOBAL" and parent is None:
        raise InvalidInputError(
            f"the scope {scope} needs a parentRunId: it is the key's own in each parent", (*path, "idempotencyKeyScope")
        )
    material = [key.stored]
    if parent is not None and scope != "GLOBAL":
        material.append(parent.friendly_id)
        if scope == "ATTEMPT":
            material.append(str(parent.attempt_count))
    return replace(key, stored=hashed(*material), written=key.stored, scope=scope.lower())


def hashed(*material: str) -> str:
    """Return what is stored of a key that has a scope."""
    return hashlib.sha256("-".join(material).encode()).hexdigest()
