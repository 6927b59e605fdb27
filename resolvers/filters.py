"""From what a caller wrote to what the store narrows by: periods, ids of other kinds, statuses."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from resolvers.details import schedules
from resolvers.errors import BadInputError
from resolvers.viewer import Viewer
from store.errors import InvalidIdError
from store.filters import BatchFilter, RunFilter, TimeRange, TokenFilter, raw_statuses
from store.ids import can_exist, internal
from store.records import MACHINES, UNKNOWN

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
PERIOD = re.compile(r"([0-9]{1,5})([smhdw])")
MOST_VALUES = 100
NOWHERE = "-"
"""A primary key that no row has: what an id of another kind stands for."""

Texts = Sequence[str] | None


def time_range(lasting: str | None = None, since: datetime | None = None, until: datetime | None = None) -> TimeRange:
    """Return a range of times. Raises `BadInputError` for one that is empty or said in two ways."""
    if lasting is not None and (since is not None or until is not None):
        raise BadInputError("give a period, or from and to, not both")
    if since is not None and until is not None and since > until:
        raise BadInputError("from is later than to")
    return TimeRange(None if lasting is None else period(lasting), since, until)


def period(text: str) -> timedelta:
    """Return how long a period is. Raises `BadInputError`."""
    match = PERIOD.fullmatch(text)
    if match is None:
        raise BadInputError("a period is a number and one of s, m, h, d, w: 30m, 7d")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])


async def run_filter(  # noqa: PLR0913  one for each field of the contract
    viewer: Viewer,
    *,
    status: Texts = None,
    raw_status: Texts = None,
    task_identifier: Texts = None,
    version: Texts = None,
    tags: Texts = None,
    created_at: TimeRange | None = None,
    batch: str | None = None,
    schedule: str | None = None,
    is_test: bool | None = None,
    root_only: bool | None = None,
    run_ids: Texts = None,
    queue: Texts = None,
    region: Texts = None,
    machine: Texts = None,
    bulk_action: str | None = None,
) -> RunFilter:
    """Return a filter of runs. Raises `BadInputError`. An id that names nothing is one that no run has."""
    stored = _labels("rawStatus", raw_status)
    if status is not None:
        seen = raw_statuses(_labels("status", status) or ())
        stored = seen if stored is None else tuple(raw for raw in seen if raw in stored)
    return RunFilter(
        raw_status=stored,
        task_identifier=values("taskIdentifier", task_identifier),
        version=values("version", version),
        tags=values("tags", tags),
        created_at=created_at or TimeRange(),
        batch_id=_key("batch", batch),
        schedule_id=None if schedule is None else await _schedule(viewer, schedule),
        is_test=is_test,
        root_only=bool(root_only),
        run_ids=values("runIds", run_ids),
        queue=values("queue", queue),
        region=values("region", region),
        machine=_machines(_labels("machine", machine)),
        bulk_action_id=_key("bulk", bulk_action),
    )


def batch_filter(*, id_: str | None = None, status: Texts = None, created_at: TimeRange | None = None) -> BatchFilter:
    """Return a filter of batches. Raises `BadInputError`."""
    return BatchFilter(_id(id_), _labels("status", status), created_at or TimeRange())


def token_filter(
    *,
    id_: str | None = None,
    status: Texts = None,
    idempotency_key: str | None = None,
    tags: Texts = None,
    created_at: TimeRange | None = None,
) -> TokenFilter:
    """Return a filter of tokens. Raises `BadInputError`."""
    return TokenFilter(
        _id(id_),
        _labels("status", status),
        text("idempotencyKey", idempotency_key),
        values("tags", tags),
        created_at or TimeRange(),
    )


def _labels(name: str, labels: Texts) -> tuple[str, ...] | None:
    """Return labels of an enum, each once. Raises `BadInputError` for the one that stands for all unknown ones."""
    if labels is None:
        return None
    _refuse_many(name, labels)
    if UNKNOWN in labels:
        raise BadInputError(f"{name} cannot be {UNKNOWN}: leave {name} out, and pick those rows from the answer")
    return tuple(dict.fromkeys(labels))


def values(name: str, given: Texts) -> tuple[str, ...] | None:
    """Return texts that Postgres can be asked for, if any are given. Raises `BadInputError`."""
    if given is None:
        return None
    _refuse_many(name, given)
    return tuple(valid for value in given if (valid := text(name, value)) is not None)


def _refuse_many(name: str, values: Sequence[str]) -> None:
    if len(values) > MOST_VALUES:
        raise BadInputError(f"{name} takes at most {MOST_VALUES} values, not {len(values)}")


def text(name: str, value: str | None) -> str | None:
    """Return a text that Postgres can be asked for. Raises `BadInputError`."""
    if value is None:
        return None
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadInputError(f"{name} is not valid text") from error
    if "\0" in value:
        raise BadInputError(f"{name} holds a NUL character")
    return value


def _machines(presets: Texts) -> tuple[str, ...] | None:
    return None if presets is None else tuple(name for name, preset in MACHINES.items() if preset in presets)


def _id(value: str | None) -> str | None:
    return value if value is None or can_exist(value) else NOWHERE


def _key(kind: str, friendly_id: str | None) -> str | None:
    """Return the primary key of a friendly id of that kind; of any other text, one that no row has."""
    if friendly_id is None:
        return None
    try:
        return internal(friendly_id, kind) if can_exist(friendly_id) else NOWHERE
    except InvalidIdError:
        return NOWHERE


async def _schedule(viewer: Viewer, friendly_id: str) -> str:
    if not can_exist(friendly_id) or not friendly_id.startswith("sched_"):
        return NOWHERE
    found = await viewer.load(schedules, friendly_id)
    return NOWHERE if found is None else found.id
