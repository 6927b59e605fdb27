"""Replays: a run done again, as it was or with what a caller changes of it."""

from dataclasses import dataclass, fields
from typing import Any

from resolvers import values
from resolvers.changes import ChangedRun
from resolvers.refusals import InvalidInputError
from resolvers.triggers import LARGEST_INT, Described, RunInput, new_run, workers_named
from resolvers.viewer import Viewer
from resolvers.writes import environment_of, run_to_write
from store.replays import replayed

ELSEWHERE = "Cannot replay a run into an environment outside its project"
ARCHIVED = "Can't replay a run on an archived environment"
LONGEST, LONGEST_KEY = int(values.CENTURY.total_seconds()), int(values.DECADE.total_seconds())
"""Seconds that a delay and a key's life may last."""

FIELDS = {
    "payload": ("payload", "payload_type"),
    "metadata": ("metadata",),
    "tags": ("tags",),
    "queue": ("queue",),
    "concurrency_key": ("concurrency_key",),
    "machine": ("machine",),
    "region": ("region",),
    "version": ("worker",),
    "max_attempts": ("max_attempts",),
    "max_duration_seconds": ("max_duration_seconds",),
    "delay_seconds": ("delay_until",),
    "ttl_seconds": ("ttl",),
    "idempotency_key": ("key",),
    "priority_seconds": ("priority_ms",),
}
"""What a caller may change of a run -> the fields of the new run that then are not the old one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayInput(Described):
    """What a caller says of a replay; what is not said is as it was."""

    id: str
    delay_seconds: int | None = None
    ttl_seconds: int | None = None
    idempotency_key_ttl_seconds: int | None = None
    priority_seconds: int | None = None


async def replay(viewer: Viewer, given: ReplayInput) -> ChangedRun:
    """Make a run that does again what another did, in the same project. Raises refusals, and `ShardError`."""
    writing = viewer.writing
    source = await run_to_write(viewer, given.id)
    own = f"env_{source.environment_id}"
    environment = await environment_of(
        viewer, own if given.environment_id is None else given.environment_id, archived=ARCHIVED
    )
    if environment.project_id != source.project_id:
        raise InvalidInputError(ELSEWHERE, ("input", "environmentId"))
    path = ("input",)
    said = RunInput(task=source.task_identifier, **_said(given))
    described = new_run(said, None, await workers_named(viewer, environment, [said], [path]), path)
    changed = {
        field: getattr(described, field)
        for name, fields in FIELDS.items()
        if _is_given(given, name)
        for field in fields
    }
    new = await replayed(viewer.router, viewer.control_plane, environment, source, changed)
    made = await writing.triggers.run(environment, new)
    return ChangedRun(made.friendly_id)


def _is_given(given: ReplayInput, name: str) -> bool:
    return given.has_payload if name == "payload" else getattr(given, name) is not None


def _said(given: ReplayInput) -> dict[str, Any]:
    """Return what is said of the new run, in the words of a trigger. Raises `InvalidInputError`."""

    def seconds(name: str, number: int | None, least: int, most: int) -> int | None:
        return None if number is None else values.whole(number, ("input", name), least, most)

    delay = seconds("delaySeconds", given.delay_seconds, 0, LONGEST)
    ttl = seconds("ttlSeconds", given.ttl_seconds, 1, LONGEST)
    lifetime = seconds("idempotencyKeyTTLSeconds", given.idempotency_key_ttl_seconds, 1, LONGEST_KEY)
    priority = seconds("prioritySeconds", given.priority_seconds, -LARGEST_INT // 1000, LARGEST_INT // 1000)
    return {
        **{field.name: getattr(given, field.name) for field in fields(Described)},
        "delay": None if delay is None else f"{delay}s",
        "ttl": None if ttl is None else f"{ttl}s",
        "priority_ms": None if priority is None else priority * 1000,
        "idempotency_key_ttl": None if lifetime is None else f"{lifetime}s",
    }
