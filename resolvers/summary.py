"""What a limited credential sees of a row that its scopes do not reach: that it is there, and a summary of it.

A run names its parent, its root and its children; a token that may read that run alone may not read theirs. The
platform embeds the same summaries (``ApiRetrieveRunPresenter``).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from resolvers.ability import Ability, Resource
from resolvers.errors import ForbiddenError
from store.pages import Page
from store.records import BatchRecord, BulkActionRecord, RunRecord, WaitpointRecord

_KEYS = frozenset({"id", "friendly_id", "environment_id", "created_at"})

SHOWN: dict[type, frozenset[str]] = {
    RunRecord: _KEYS
    | {
        "base_cost_in_cents",
        "cost_in_cents",
        "completed_at",
        "delay_until",
        "depth",
        "expired_at",
        "finished_at",
        "idempotency_key",
        "is_cancellable",
        "is_cancelled",
        "is_executing",
        "is_failed",
        "is_final",
        "is_queued",
        "is_success",
        "is_test",
        "is_waiting",
        "project_id",
        "raw_status",
        "region",
        "started_at",
        "status",
        "tags",
        "task_identifier",
        "total_cost_in_cents",
        "trigger_function",
        "ttl",
        "updated_at",
        "usage_duration_ms",
    },
    BatchRecord: _KEYS,
    WaitpointRecord: _KEYS,
    BulkActionRecord: _KEYS,
}
"""Record -> the attributes of its summary."""

FOLLOWED = frozenset({"environment", "metadata", "project"})
"""The relations that may be followed from a summary, by name."""


class Summary:
    """A record of which only the summary may be read. Anything else raises `ForbiddenError`."""

    __slots__ = ("_record",)

    def __init__(self, record: object) -> None:
        self._record = record

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the record has
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in SHOWN[type(self._record)]:
            raise ForbiddenError(f"more than a summary of {self.friendly_id}")
        return getattr(self._record, name)

    @property
    def itself(self) -> "Summary":
        """The summary itself, for what is made of its own attributes."""
        return self

    @property
    def of(self) -> type:
        """The type of the record."""
        return type(self._record)


def _of_run(run: RunRecord) -> list[Resource]:
    names = [Resource("runs", run.friendly_id), Resource("tasks", run.task_identifier)]
    names += [Resource("tags", tag) for tag in run.tags]
    return names if run.batch_id is None else [*names, Resource("batch", f"batch_{run.batch_id}")]


_NAMES: dict[type, Callable[[Any], list[Resource]]] = {
    RunRecord: _of_run,
    BatchRecord: lambda batch: [Resource("batch", batch.friendly_id), Resource("runs")],
    WaitpointRecord: lambda waitpoint: [Resource("waitpoints", waitpoint.friendly_id)],
    BulkActionRecord: lambda _: [Resource("runs")],
}
"""Record -> what a scope may call it, to read it."""


def shown(ability: Ability, value: Any) -> Any:  # noqa: ANN401  whatever was loaded
    """Return what is shown of a loaded value: records that may not be read, alone or in a page, as summaries."""
    if isinstance(value, Page):
        return replace(value, nodes=tuple(shown(ability, node) for node in value.nodes))
    names = _NAMES.get(type(value))
    if names is None or any(ability.allows(action, names(value)) for action in _actions(value)):
        return value
    return Summary(value)


def _actions(value: object) -> tuple[str, ...]:
    """Return the actions of which one suffices to read a record: who may complete a token may look at it."""
    return ("read", "write") if isinstance(value, WaitpointRecord) else ("read",)


def required(value: Any, name: str | None = None) -> Any:  # noqa: ANN401  a record, or None
    """Return a record that was asked for by its id, or by a name that does not give the id away.

    Raises `ForbiddenError` if there is but a summary of it.
    """
    if isinstance(value, Summary):
        raise ForbiddenError(name or str(value.friendly_id))
    return value
