"""Mutations: each takes its input, calls one resolver, and answers with its payload. Refusals are in the payload."""

from typing import Any

import strawberry
from strawberry import UNSET

from resolvers import batches as batch_loads
from resolvers import bulk_actions, changes, details, public_tokens, replays, tokens, triggers
from resolvers import runs as run_loads
from resolvers import waitpoints as waitpoint_loads
from resolvers.errors import BadInputError
from resolvers.refusals import InvalidInputError
from resolvers.viewer import Viewer
from schema import inputs
from schema.batch import Batch
from schema.bulk_action import BulkAction
from schema.declare import column, edge, mutation, type_of
from schema.filters import plain, runs_let_through, shown
from schema.run import Run
from schema.user_error import UserError
from schema.waitpoint import Waitpoint

RUN = "The run after the write, from its shard's primary."
WAITPOINT = "The waitpoint after the write, from its shard's primary."
ERRORS = "Why it was refused; empty if it was done."
CACHED = "Whether the idempotency key found it, so that nothing was made."


@type_of(triggers.TriggeredRun, description="Result of `triggerRun`.")
class TriggerRunPayload:
    """The type of that name."""

    run: Run | None = edge(run_loads.by_reference, "run_id", description=RUN)
    is_cached: bool = column(description=CACHED)
    user_errors: list[UserError] = column(description=ERRORS)


@type_of(triggers.TriggeredBatch, description="Result of `triggerBatch`.")
class TriggerBatchPayload:
    """The type of that name."""

    batch: Batch | None = edge(
        batch_loads.by_reference, "batch_id", description="The batch after the write, from its shard's primary."
    )
    is_cached: bool = column(description=CACHED)
    user_errors: list[UserError] = column(description=ERRORS)


@type_of(changes.ChangedRun, description="Result of a mutation of a run.")
class RunPayload:
    """The type of that name."""

    run: Run | None = edge(run_loads.by_reference, "run_id", description=RUN)
    user_errors: list[UserError] = column(description=ERRORS)


@type_of(changes.ResetKey, description="Result of `resetIdempotencyKey`.")
class ResetIdempotencyKeyPayload:
    """The type of that name."""

    key: str | None = column(description="The key that finds nothing any more.")
    count: int | None = column("cleared", description="How many runs had it.")
    user_errors: list[UserError] = column(description=ERRORS)


@type_of(tokens.CreatedToken, description="Result of `createWaitpointToken`.")
class CreateWaitpointTokenPayload:
    """The type of that name."""

    waitpoint: Waitpoint | None = edge(waitpoint_loads.by_reference, "waitpoint_id", description=WAITPOINT)
    is_cached: bool | None = column(description=CACHED)
    public_access_token: str | None = edge(
        public_tokens.to_complete,
        "token",
        secret=True,
        description="A credential that may complete this token and nothing else, for 24 hours.",
    )
    user_errors: list[UserError] = column(description=ERRORS)


@type_of(tokens.CompletedToken, description="Result of `completeWaitpointToken`.")
class CompleteWaitpointTokenPayload:
    """The type of that name."""

    waitpoint: Waitpoint | None = edge(waitpoint_loads.by_reference, "waitpoint_id", description=WAITPOINT)
    already_completed: bool = column(description="It was complete before this call; the first output stands.")
    user_errors: list[UserError] = column(description=ERRORS)


@type_of(tokens.Waited, description="Result of a mutation of a waitpoint.")
class WaitpointPayload:
    """The type of that name."""

    waitpoint: Waitpoint | None = edge(waitpoint_loads.by_reference, "waitpoint_id", description=WAITPOINT)
    user_errors: list[UserError] = column(description=ERRORS)


@type_of(bulk_actions.ChangedBulkAction, description="Result of a mutation of a bulk action.")
class BulkActionPayload:
    """The type of that name."""

    bulk_action: BulkAction | None = edge(
        details.bulk_actions, "bulk_action_id", description="The bulk action after the write, from the primary."
    )
    user_errors: list[UserError] = column(description=ERRORS)


def _run_input(given: inputs.TriggerRunInput) -> triggers.RunInput:
    payload: Any = None if given.payload is UNSET else given.payload
    said = {"payload": payload, "has_payload": given.payload is not UNSET, "metadata": given.metadata}
    return triggers.RunInput(**plain(given) | said)


async def _trigger_run(viewer: Viewer, given: inputs.TriggerRunInput) -> triggers.TriggeredRun:
    return await triggers.trigger_run(viewer, _run_input(given))


async def _trigger_batch(viewer: Viewer, given: inputs.TriggerBatchInput) -> triggers.TriggeredBatch:
    return await triggers.trigger_batch(viewer, **plain(given) | {"items": [_run_input(item) for item in given.items]})


async def _cancel_run(viewer: Viewer, given: inputs.CancelRunInput) -> changes.ChangedRun:
    return await changes.cancel(viewer, **plain(given))


async def _replay_run(viewer: Viewer, given: inputs.ReplayRunInput) -> changes.ChangedRun:
    fields = plain(given)
    payload: Any = None if given.payload is UNSET else given.payload
    said = {"id": fields.pop("id_"), "payload": payload, "has_payload": given.payload is not UNSET}
    return await replays.replay(viewer, replays.ReplayInput(**fields | said | {"metadata": given.metadata}))


async def _reschedule_run(viewer: Viewer, given: inputs.RescheduleRunInput) -> changes.ChangedRun:
    return await changes.reschedule(viewer, **plain(given))


async def _add_run_tags(viewer: Viewer, given: inputs.AddRunTagsInput) -> changes.ChangedRun:
    return await changes.add_tags(viewer, **plain(given))


async def _update_run_metadata(viewer: Viewer, given: inputs.UpdateRunMetadataInput) -> changes.ChangedRun:
    fields = plain(given)
    del fields["metadata"]
    return await changes.update_metadata(viewer, document=given.metadata, **fields)


async def _reset_idempotency_key(viewer: Viewer, given: inputs.ResetIdempotencyKeyInput) -> changes.ResetKey:
    return await changes.reset_key(viewer, **plain(given))


async def _create_token(viewer: Viewer, given: inputs.CreateWaitpointTokenInput) -> tokens.CreatedToken:
    return await tokens.create(viewer, **plain(given))


async def _complete_token(viewer: Viewer, given: inputs.CompleteWaitpointTokenInput) -> tokens.CompletedToken:
    data: Any = None if given.data is UNSET else given.data
    late = bool(given.timed_out)
    return await tokens.complete(viewer, id_=given.id, data=data, has_data=given.data is not UNSET, timed_out=late)


async def _skip_date_time(viewer: Viewer, given: inputs.SkipDateTimeWaitpointInput) -> tokens.Waited:
    return await tokens.skip(viewer, **plain(given))


async def _wait_for_token(viewer: Viewer, given: inputs.WaitForWaitpointTokenInput) -> tokens.Waited:
    return await tokens.wait_for(viewer, **plain(given))


async def _wait_for_duration(viewer: Viewer, given: inputs.WaitForDurationInput) -> tokens.Waited:
    return await tokens.wait_until(viewer, **plain(given))


async def _create_bulk_action(viewer: Viewer, given: inputs.CreateBulkActionInput) -> bulk_actions.ChangedBulkAction:
    fields = plain(given)
    del fields["filter"]
    try:
        narrowing = None if given.filter is None else await runs_let_through(viewer, given.filter)
    except BadInputError as error:
        raise InvalidInputError(str(error), ("input", "filter")) from error
    said = None if given.filter is None else shown(given.filter)
    return await bulk_actions.create(viewer, **fields, narrowing=narrowing, shown=said)


async def _abort_bulk_action(viewer: Viewer, given: inputs.AbortBulkActionInput) -> bulk_actions.ChangedBulkAction:
    return await bulk_actions.abort(viewer, **plain(given))


@strawberry.type(description="Where every write begins. They are done one after the other.")
class Mutation:
    """The type of that name."""

    trigger_run: TriggerRunPayload | None = mutation(
        _trigger_run, inputs.TriggerRunInput, description="Trigger a run. It lives with its parent, if it has one."
    )
    trigger_batch: TriggerBatchPayload | None = mutation(
        _trigger_batch, inputs.TriggerBatchInput, description="Trigger a batch of runs: all of them, or none."
    )
    cancel_run: RunPayload | None = mutation(
        _cancel_run,
        inputs.CancelRunInput,
        description="Cancel a run. Canceling one that has ended changes nothing, and succeeds.",
    )
    replay_run: RunPayload | None = mutation(
        _replay_run,
        inputs.ReplayRunInput,
        description="Do again what a run did: a new run, with what is changed of it.",
    )
    reschedule_run: RunPayload | None = mutation(
        _reschedule_run, inputs.RescheduleRunInput, description="Move the time at which a delayed run begins."
    )
    add_run_tags: RunPayload | None = mutation(
        _add_run_tags, inputs.AddRunTagsInput, description="Give a run the tags that it lacks: all of them, or none."
    )
    update_run_metadata: RunPayload | None = mutation(
        _update_run_metadata,
        inputs.UpdateRunMetadataInput,
        description="Write a run's metadata, and its parent's and root's. Two who write at once lose nothing.",
    )
    reset_idempotency_key: ResetIdempotencyKeyPayload | None = mutation(
        _reset_idempotency_key,
        inputs.ResetIdempotencyKeyInput,
        description="Take an idempotency key from the runs that have it, on every shard.",
    )
    create_waitpoint_token: CreateWaitpointTokenPayload | None = mutation(
        _create_token, inputs.CreateWaitpointTokenInput, description="Create a token that runs can wait for."
    )
    complete_waitpoint_token: CompleteWaitpointTokenPayload | None = mutation(
        _complete_token,
        inputs.CompleteWaitpointTokenInput,
        description="Complete a token; the runs that wait for it go on, wherever they live. Who is first, wins.",
    )
    skip_date_time_waitpoint: WaitpointPayload | None = mutation(
        _skip_date_time, inputs.SkipDateTimeWaitpointInput, description="End a wait for a time before it comes."
    )
    wait_for_waitpoint_token: WaitpointPayload | None = mutation(
        _wait_for_token, inputs.WaitForWaitpointTokenInput, description="Make a run wait for a token."
    )
    wait_for_duration: WaitpointPayload | None = mutation(
        _wait_for_duration, inputs.WaitForDurationInput, description="Make a run wait for a time."
    )
    create_bulk_action: BulkActionPayload | None = mutation(
        _create_bulk_action,
        inputs.CreateBulkActionInput,
        description="Cancel or replay many runs, page by page, after this answer. At most 3 replay at a time.",
    )
    abort_bulk_action: BulkActionPayload | None = mutation(
        _abort_bulk_action,
        inputs.AbortBulkActionInput,
        description="Stop a bulk action; what it has done to runs stays.",
    )
