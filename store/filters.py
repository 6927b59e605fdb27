"""What a list is narrowed to: values from the caller, turned into conditions on one shard's rows."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, any_, bindparam, false, func, or_
from sqlalchemy.dialects.postgresql import ENUM

from store.queries import text_array
from store.records import RUN_STATUS
from store.tables import batch_task_run, task_run, waitpoint

Texts = tuple[str, ...] | None
"""Values of which a row has one; None does not narrow, an empty tuple leaves nothing."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The last `period`, or from a moment on and up to another; both inclusive, naive UTC, or open."""

    period: timedelta | None = None
    since: datetime | None = None
    until: datetime | None = None

    def on(self, column: ColumnElement[Any], now: datetime) -> list[ColumnElement[bool]]:
        """Return the conditions on a column of times. `now` is one moment for all shards."""
        conditions = []
        since = self.since if self.period is None else now - self.period
        if since is not None:
            conditions.append(column >= bindparam(None, since, type_=column.type))
        if self.until is not None:
            conditions.append(column <= bindparam(None, self.until, type_=column.type))
        return conditions


ANY_TIME = TimeRange()


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs of an environment a list holds. Ids are primary keys, except `run_ids`."""

    raw_status: Texts = None
    task_identifier: Texts = None
    version: Texts = None
    tags: Texts = None
    created_at: TimeRange = ANY_TIME
    batch_id: str | None = None
    schedule_id: str | None = None
    is_test: bool | None = None
    root_only: bool = False
    run_ids: Texts = None
    queue: Texts = None
    region: Texts = None
    machine: Texts = None
    bulk_action_id: str | None = None

    def conditions(self, now: datetime) -> list[ColumnElement[bool]]:
        """Return the conditions on a shard's runs."""
        c = task_run.c
        conditions = [
            *self.created_at.on(c.created_at, now),
            *one_of(c.raw_status, self.raw_status),
            *one_of(c.task_identifier, self.task_identifier),
            *one_of(c.task_version, self.version),
            *one_of(c.friendly_id, self.run_ids),
            *one_of(c.queue_name, self.queue),
            *one_of(c.machine_preset, self.machine),
            *overlapping(c.run_tags, self.tags),
        ]
        # A run that names no region is where its worker queue is: the platform shows the one or the other.
        conditions += one_of(func.coalesce(c.stored_region, c.worker_queue), self.region)
        for column, value in (
            (c.batch_id, self.batch_id),
            (c.schedule_id, self.schedule_id),
            (c.is_test, self.is_test),
        ):
            if value is not None:
                conditions.append(column == value)
        if self.root_only:
            conditions.append(c.root_task_run_id.is_(None))
        if self.bulk_action_id is not None:
            conditions.append(c.bulk_action_group_ids.bool_op("@>")(text_array([self.bulk_action_id])))
        return conditions


def raw_statuses(statuses: Iterable[str]) -> tuple[str, ...]:
    """Return the stored statuses that clients see as one of the given: the exact inverse of `records.RUN_STATUS`."""
    wanted = set(statuses)
    return tuple(raw for raw, status in RUN_STATUS.items() if status in wanted)


def one_of(column: ColumnElement[Any], values: Texts) -> list[ColumnElement[bool]]:
    """Return the condition that a column has one of the values, or none, in the form that its index serves in order.

    One value is compared as such: rows of an array of values come from an index value by value, and have to be sorted.
    """
    if values is None:
        return []
    if not values:
        return [false()]
    if isinstance(column.type, ENUM):
        return [constant(column, *values)]
    return [column == (values[0] if len(values) == 1 else any_(text_array(values)))]


def constant(column: ColumnElement[Any], *labels: str) -> ColumnElement[bool]:
    """Return the condition that an enum column has one of the labels, written out: the planner knows how many do.

    A cast of a parameter would hide them from it, and a partial index is used for what is written in the statement.
    """
    if len(labels) == 1:
        return column == bindparam(None, labels[0], type_=column.type, literal_execute=True)
    return column.in_(bindparam(None, labels, type_=column.type, expanding=True, literal_execute=True))


def overlapping(column: ColumnElement[Any], values: Texts) -> list[ColumnElement[bool]]:
    """Return the condition that an array column holds one of the values, in the form that its index serves."""
    return [] if values is None else [column.bool_op("&&")(text_array(values))]


@dataclass(frozen=True, slots=True)
class BatchFilter:
    """Which batches of an environment a list holds."""

    id: str | None = None
    status: Texts = None
    created_at: TimeRange = ANY_TIME

    def conditions(self, now: datetime) -> list[ColumnElement[bool]]:
        """Return the conditions on a shard's batches."""
        c = batch_task_run.c
        one = None if self.id is None else (self.id,)
        return [*self.created_at.on(c.created_at, now), *one_of(c.status, self.status), *one_of(c.friendly_id, one)]


WAITPOINT_STATUS = {
    "WAITING": ("PENDING", None),
    "COMPLETED": ("COMPLETED", False),
    "TIMED_OUT": ("COMPLETED", True),
}
"""Public status -> stored status, and whether the output is an error where that matters."""


@dataclass(frozen=True, slots=True)
class TokenFilter:
    """Which tokens, the waitpoints that somebody completes, a list holds."""

    id: str | None = None
    status: Texts = None
    idempotency_key: str | None = None
    tags: Texts = None
    created_at: TimeRange = ANY_TIME

    def conditions(self, now: datetime) -> list[ColumnElement[bool]]:
        """Return the conditions on a shard's waitpoints."""
        c = waitpoint.c
        one = None if self.id is None else (self.id,)
        conditions = [
            constant(c.type, "MANUAL"),
            *self.created_at.on(c.created_at, now),
            *one_of(c.friendly_id, one),
            *overlapping(c.stored_tags, self.tags),
        ]
        if self.status is not None:
            pairs = [WAITPOINT_STATUS[status] for status in self.status]
            conditions.append(
                or_(
                    false(),
                    *(
                        constant(c.raw_status, stored)
                        if failed is None
                        else and_(constant(c.raw_status, stored), c.output_is_error == failed)
                        for stored, failed in pairs
                    ),
                )
            )
        if self.idempotency_key is not None:
            keys = (c.active_idempotency_key, c.inactive_idempotency_key)
            conditions.append(or_(*(key == self.idempotency_key for key in keys)))
        return conditions


Narrowing = RunFilter | BatchFilter | TokenFilter


def digest(narrowing: Narrowing) -> str:
    """Return a text that tells a filter from others, for the checksum of cursors."""
    return repr(astuple(narrowing))
