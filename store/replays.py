"""Replays: a new run that does again what another did."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from store.changes import RETIRED
from store.control_plane import ControlPlane
from store.errors import MissingError, ShardError, StateError
from store.plans import NewRun
from store.records import EnvironmentRecord, RunRecord
from store.router import Router
from store.shard import ReadFrom

LARGE = ("payload", "payload_type", "run_metadata", "seed_metadata")


async def replayed(
    router: Router,
    control_plane: ControlPlane,
    environment: EnvironmentRecord,
    source: RunRecord,
    overrides: Mapping[str, Any],
) -> NewRun:
    """Return the run that does again, in an environment, what another did; `overrides` are fields of it.

    It has neither the source's idempotency key nor its region in a development environment; its queue only if that is
    still there. Raises `MissingError`, `ShardError`, or `StateError` for a run of the retired engine.
    """
    if not source.is_replayable:
        raise StateError(RETIRED, source.raw_status)
    answers = await router.large_columns([source.environment_id], [source.id], LARGE, ReadFrom.PRIMARY)
    large = answers.get(source.id)
    if isinstance(large, ShardError):
        raise large
    if large is None:
        raise MissingError("Run")
    own_queue = f"task/{source.task_identifier}"
    queue = (environment.id, source.queue_name)
    has_queue = source.queue_name != own_queue and queue in await control_plane.queue_limits([queue])
    has_region = environment.type != "DEVELOPMENT" and source.region != "main"
    seed = large["seed_metadata"]
    new = NewRun(
        task=source.task_identifier,
        payload=large["payload"],
        payload_type=large["payload_type"],
        metadata=large["run_metadata"] if seed is None else seed,
        tags=tuple(source.run_tags or ()),
        queue=source.queue_name if has_queue else None,
        concurrency_key=source.concurrency_key,
        machine=source.machine_preset,
        region=source.region if has_region else None,
        max_attempts=source.max_attempts,
        max_duration_seconds=source.max_duration_in_seconds,
        ttl=source.ttl,
        priority_ms=source.priority_ms,
        is_test=source.is_test,
        replayed_from=source.friendly_id,
    )
    return replace(new, **overrides)
