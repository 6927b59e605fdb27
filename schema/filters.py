"""The inputs by which lists are narrowed and ordered."""

from datetime import datetime
from enum import Enum
from typing import Any

import strawberry
from strawberry.utils.str_converters import to_camel_case

from resolvers import filters
from resolvers.viewer import Viewer
from schema.batch import BatchStatus
from schema.scalars import DateTime, serialize_datetime
from schema.status import MachinePreset, RawRunStatus, RunStatus
from schema.waitpoint import WaitpointStatus
from store.filters import BatchFilter as BatchNarrowing
from store.filters import RunFilter as RunNarrowing
from store.filters import TokenFilter as TokenNarrowing


def _given(description: str, name: str | None = None) -> Any:  # noqa: ANN401  a field of an input
    return strawberry.field(default=None, description=description, name=name)


@strawberry.input(description="A range of times: the last `period`, or from and to, each of which may be open.")
class TimeRange:
    """The input of that name."""

    period: str | None = _given("How far back, such as `30m`, `12h`, `7d` or `4w`; ends at the moment of the request.")
    since: DateTime | None = _given("From when on, inclusive.", name="from")
    until: DateTime | None = _given("Up to when, inclusive.", name="to")


@strawberry.input(description="Which runs a list holds: those that every given field lets through.")
class RunFilter:
    """The input of that name."""

    status: list[RunStatus] | None = _given("In one of these states.")
    raw_status: list[RawRunStatus] | None = _given("In one of these stored states.")
    task_identifier: list[str] | None = _given("Of one of these tasks.")
    version: list[str] | None = _given("Of one of these versions.")
    tags: list[str] | None = _given("With one of these tags.")
    created_at: TimeRange | None = _given("Triggered in this range; without it, whenever.")
    batch: strawberry.ID | None = _given("Triggered by this batch.")
    schedule: strawberry.ID | None = _given("Triggered by this schedule.")
    is_test: bool | None = _given("Tests only, or no tests.")
    root_only: bool | None = _given("Only runs at the top of their tree, if true.")
    run_ids: list[strawberry.ID] | None = _given("One of these runs, at most 100.")
    queue: list[str] | None = _given("In one of these queues, by name; a task's own is `task/<task>`.")
    region: list[str] | None = _given("In one of these regions.")
    machine: list[MachinePreset] | None = _given("On one of these sizes of machine.")
    bulk_action: strawberry.ID | None = _given("Touched by this bulk action.")


@strawberry.input(description="Which batches a list holds: those that every given field lets through.")
class BatchFilter:
    """The input of that name."""

    id: strawberry.ID | None = _given("This batch.")
    status: list[BatchStatus] | None = _given("In one of these states.")
    created_at: TimeRange | None = _given("Created in this range; without it, whenever.")


@strawberry.input(description="Which tokens a list holds: those that every given field lets through.")
class WaitpointFilter:
    """The input of that name."""

    id: strawberry.ID | None = _given("This token.")
    status: list[WaitpointStatus] | None = _given("In one of these states.")
    idempotency_key: str | None = _given("Created under this key, also if it was rotated away.")
    tags: list[str] | None = _given("With one of these tags.")
    created_at: TimeRange | None = _given("Created in this range; without it, whenever.")


@strawberry.enum(description="Which way a list goes.")
class OrderDirection(Enum):
    """The enum of that name."""

    ASC = strawberry.enum_value("ASC", description="Oldest first.")
    DESC = strawberry.enum_value("DESC", description="Newest first.")


@strawberry.enum(description="By what runs are ordered.")
class RunOrderField(Enum):
    """The enum of that name."""

    CREATED_AT = strawberry.enum_value("CREATED_AT", description="By creation.")


@strawberry.input(description="How runs are ordered.")
class RunOrder:
    """The input of that name."""

    field: RunOrderField = strawberry.field(default=RunOrderField.CREATED_AT, description="By what.")
    direction: OrderDirection = strawberry.field(default=OrderDirection.DESC, description="Which way.")

    @property
    def goes_up(self) -> bool:
        """Whether the oldest run comes first. A default arrives as a text, a given value as a member."""
        return self.direction in (OrderDirection.ASC, OrderDirection.ASC.value)


async def runs_let_through(viewer: Viewer, given: RunFilter | None) -> RunNarrowing:
    """Return what the store narrows runs by."""
    return RunNarrowing() if given is None else await filters.run_filter(viewer, **plain(given))


def batches_let_through(given: BatchFilter | None) -> BatchNarrowing:
    """Return what the store narrows batches by."""
    return BatchNarrowing() if given is None else filters.batch_filter(**plain(given))


def tokens_let_through(given: WaitpointFilter | None) -> TokenNarrowing:
    """Return what the store narrows tokens by."""
    return TokenNarrowing() if given is None else filters.token_filter(**plain(given))


def plain(given: object) -> dict[str, Any]:
    """Return the fields of an input without anything of GraphQL: enums as texts, ranges as the store has them."""
    fields = {name: _value(value) for name, value in vars(given).items()}
    return {{"id": "id_"}.get(name, name): value for name, value in fields.items()}


def shown(given: RunFilter) -> dict[str, Any]:
    """Return what a filter says, as JSON: the fields that are given, under the names of the contract."""
    return {to_camel_case(name): _shown(value) for name, value in vars(given).items() if value is not None}


def _shown(value: object) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return [_shown(item) for item in value]
    if isinstance(value, TimeRange):
        times = {"period": value.period, "from": value.since, "to": value.until}
        return {
            name: serialize_datetime(given) if isinstance(given, datetime) else given
            for name, given in times.items()
            if given is not None
        }
    return value.value if isinstance(value, Enum) else value


def _value(value: object) -> Any:  # noqa: ANN401
    if isinstance(value, list):  # what is in its members is JSON, if anything, and not ours to look through
        return tuple(item.value if isinstance(item, Enum) else item for item in value)
    if isinstance(value, TimeRange):
        return filters.time_range(value.period, value.since, value.until)
    return value.value if isinstance(value, Enum) else value
