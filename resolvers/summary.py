"""What a limited credential sees of a row that its scopes do not reach: that it is there, and a summary of it.

A run names its parent, its root and its children; a token that may read that run alone may not read theirs. The
platform embeds the same summaries (``ApiRetrieveRunPresenter``).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from resolvers.ability import Ability, Resource
from resolvers.errors import ForbiddenError
from store.pages import Page
from store.records import BatchRecord, BulkActionRecord, RunRecord, WaitpointRecord

_KEYS = frozenset({"id", "friendly_id", "environment_id", "created_at"})

_OF_RUN = _KEYS | {
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
}


class _Shape(NamedTuple):
    """What a scope may call a record, which attributes its summary has, and which action suffices to read it all."""

    names: Callable[[Any], list[Resource]]
    summary: frozenset[str] = _KEYS
    actions: tuple[str, ...] = ("read",)


def _of_run(run: RunRecord) -> list[Resource]:
    names = [Resource("runs", run.friendly_id), Resource("tasks", run.task_identifier)]
    names += [Resource("tags", tag) for tag in run.tags]
    return names if run.batch_id is None else [*names, Resource("batch", f"batch_{run.batch_id}")]


_SHAPES: dict[type, _Shape] = {
    RunRecord: _Shape(_of_run, _OF_RUN),
    BatchRecord: _Shape(lambda batch: [Resource("batch", batch.friendly_id), Resource("runs")]),
    # Who may complete a token may look at it.
    WaitpointRecord: _Shape(lambda token: [Resource("waitpoints", token.friendly_id)], actions=("read", "write")),
    BulkActionRecord: _Shape(lambda _: [Resource("runs")]),
}
"""The records that a scope may not reach. All others are shown with what they belong to."""

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
        if name not in _SHAPES[type(self._record)].summary:
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


def shown(ability: Ability, value: Any) -> Any:  # noqa: ANN401  whatever was loaded
    """Return what is shown of a loaded value: records that may not be read, alone or in a page, as summaries."""
    if isinstance(value, Page):
        return replace(value, nodes=tuple(shown(ability, node) for node in value.nodes))
    shape = _SHAPES.get(type(value))
    if shape is None or any(ability.allows(action, shape.names(value)) for action in shape.actions):
        return value
    return Summary(value)


def required(value: Any, name: str | None = None) -> Any:  # noqa: ANN401  a record, or None
    """Return a record that was asked for by its id, or by a name that does not give the id away.

    Raises `ForbiddenError` if there is but a summary of it.
    """
    if isinstance(value, Summary):
        raise ForbiddenError(name or str(value.friendly_id))
    return value
