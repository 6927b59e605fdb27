"""Tokens and times that runs wait for: made, waited for, completed."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from resolvers import values
from resolvers.ability import Resource
from resolvers.refusals import InvalidInputError, NotFoundError, Refused
from resolvers.viewer import Viewer
from resolvers.writes import ID, environment_of, key_of, named_by, run_to_write
from store import ids
from store.ids import can_exist
from store.moments import now
from store.records import TokenAddress
from store.tokens import NewToken
from store.writes.blocks import Tie
from store.writes.waitpoints import Outcome
from store.writes.waitpoints import timed_out as timed_out_at


class CreatedToken(NamedTuple):
    """What became of `createWaitpointToken`."""

    waitpoint_id: str | None = None
    is_cached: bool | None = None
    token: TokenAddress | None = None
    user_errors: Sequence[Refused] = ()


class CompletedToken(NamedTuple):
    """What became of `completeWaitpointToken`."""

    waitpoint_id: str | None = None
    already_completed: bool = False
    user_errors: Sequence[Refused] = ()


class Waited(NamedTuple):
    """What became of a mutation that answers with a waitpoint."""

    waitpoint_id: str | None = None
    user_errors: Sequence[Refused] = ()


async def create(  # noqa: PLR0913  one for each field of the contract
    viewer: Viewer,
    *,
    environment_id: str | None = None,
    idempotency_key: str | None = None,
    idempotency_key_ttl: str | None = None,
    timeout: str | None = None,  # noqa: ASYNC109  the contract calls it so
    tags: Sequence[str] | None = None,
) -> CreatedToken:
    """Make a token, or find the one that its key names. Raises refusals, and `ShardError`."""
    writing = viewer.writing
    viewer.need(Resource("waitpoints"), action="write")
    environment = await environment_of(viewer, environment_id)
    new = NewToken(
        key_of(idempotency_key, idempotency_key_ttl),
        None if timeout is None else values.timeout(timeout, now(), ("input", "timeout")),
        tuple(values.token_tags(tags or (), ("input", "tags"))),
    )
    made = await writing.tokens.create(environment, new)
    address = TokenAddress(environment.id, ids.body(made.friendly_id))
    return CreatedToken(made.friendly_id, made.is_cached, address)


async def complete(
    viewer: Viewer, *, id_: str, data: object = None, has_data: bool = False, timed_out: bool = False
) -> CompletedToken:
    """Complete a token, in time or with the error of a time-out; what came before stands. Raises as `create` does."""
    viewer.writing  # noqa: B018  whether anything is written comes before what is
    return await _complete(viewer, id_, _outcome(data, has_data=has_data, is_late=timed_out), ("MANUAL",))


async def skip(viewer: Viewer, *, id_: str) -> Waited:
    """Complete a time that is waited for, before it comes. Raises as `create` does."""
    done = await _complete(viewer, id_, Outcome(), ("DATETIME",))
    return Waited(done.waitpoint_id)


async def _complete(viewer: Viewer, id_: str, outcome: Outcome, types: Sequence[str]) -> CompletedToken:
    writing = viewer.writing
    _refuse_other_ids(id_, ID)
    with named_by(ID):
        held = await writing.seam.held(viewer.seen, id_)
    viewer.need(Resource("waitpoints", held.waitpoint.friendly_id), action="write")
    won = await writing.seam.complete(held, outcome, types)
    return CompletedToken(held.waitpoint.friendly_id, already_completed=not won)


async def wait_for(viewer: Viewer, *, run_id: str, waitpoint_id: str) -> Waited:
    """Make a run wait for a token of its environment, wherever that is. Raises as `create` does."""
    writing = viewer.writing
    run = await run_to_write(viewer, run_id, ("input", "runId"))
    path = ("input", "waitpointId")
    _refuse_other_ids(waitpoint_id, path)
    with named_by(path):
        held = await writing.seam.held([run.environment_id], waitpoint_id)
    await writing.seam.block([run.environment_id], run.id, run.environment_id, [Tie(held.waitpoint.id)])
    return Waited(held.waitpoint.friendly_id)


async def wait_until(
    viewer: Viewer,
    *,
    run_id: str,
    date: datetime,
    idempotency_key: str | None = None,
    idempotency_key_ttl: str | None = None,
) -> Waited:
    """Make a run wait for a time. Raises as `create` does."""
    writing = viewer.writing
    run = await run_to_write(viewer, run_id, ("input", "runId"))
    key = key_of(idempotency_key, idempotency_key_ttl)
    environment = await environment_of(viewer, f"env_{run.environment_id}")
    made = await writing.tokens.wait_until(environment, run.id, date, key)
    return Waited(made.friendly_id)


def _refuse_other_ids(id_: str, path: tuple[str, ...]) -> None:
    if not id_.startswith("waitpoint_") or not can_exist(id_):
        raise NotFoundError("Waitpoint not found", path)


def _outcome(data: object, *, has_data: bool, is_late: bool) -> Outcome:
    """Return what a token is completed with. Raises refusals."""
    if not is_late:
        return Outcome(*values.encode(data, ("input", "data"), given=has_data))
    if has_data and data is not None:
        raise InvalidInputError("a time-out has no data: give one of them", ("input", "data"))
    return timed_out_at(now())
