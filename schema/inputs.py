"""The inputs of mutations. What is left out is as good as null, except for `data` and `payload`: null is a value."""

from enum import Enum
from typing import Any

import strawberry
from strawberry import UNSET
from strawberry.scalars import JSON

from schema.bulk_action import BulkActionType
from schema.filters import RunFilter
from schema.scalars import DateTime
from schema.status import MachinePreset

KEY = "At most 2,048 characters: what has been made under it before, is answered instead of being made again."
LIFETIME = "How long the key finds it, such as `60s`, `24h` or `30d`; 30 days unless told."
ENVIRONMENT = "Where, `env_...`; by default the credential's own environment."


def _given(description: str, name: str | None = None, default: object = None) -> Any:  # noqa: ANN401
    return strawberry.field(default=default, description=description, name=name)


def _needed(description: str) -> Any:  # noqa: ANN401
    return strawberry.field(description=description)


@strawberry.enum(description="Within what an idempotency key is unique.")
class IdempotencyKeyScope(Enum):
    """The enum of that name."""

    RUN = strawberry.enum_value("RUN", description="The parent run.")
    ATTEMPT = strawberry.enum_value("ATTEMPT", description="The attempt of the parent run.")
    GLOBAL = strawberry.enum_value("GLOBAL", description="The task in its environment.")


@strawberry.input(description="A run to trigger.")
class TriggerRunInput:
    """The input of that name."""

    task: str = _needed("Which task.")
    environment_id: strawberry.ID | None = _given(ENVIRONMENT)
    payload: JSON | None = _given("What the task is given.", default=UNSET)
    metadata: JSON | None = _given("What the run knows of itself to begin with: an object of at most 256 KB.")
    tags: list[str] | None = _given("At most 10, each of at most 128 characters.")
    queue: str | None = _given("In which queue; by default the task's own.")
    concurrency_key: str | None = _given("Runs of one queue with different keys do not wait for each other.")
    machine: MachinePreset | None = _given("Size of its machine; by default the task's.")
    region: str | None = _given("Where its machine is.")
    version: str | None = _given("Which version of the task; by default the current one when it begins.")
    max_attempts: int | None = _given("How often it may be tried.")
    max_duration_seconds: int | None = _given("How long it may compute.")
    delay: str | None = _given("When it begins: a time, or how long from now on, such as `1h30m`.")
    ttl: str | None = _given("How long it may wait to begin: seconds, or such as `10m`. Then it expires.")
    priority_ms: int | None = _given("By how many milliseconds it is ahead of others in its queue.")
    is_test: bool | None = _given("Whether it is a test.")
    idempotency_key: str | None = _given(KEY)
    idempotency_key_ttl: str | None = _given(LIFETIME, name="idempotencyKeyTTL")
    idempotency_key_scope: IdempotencyKeyScope | None = _given("Within what the key is unique; by default the task.")
    parent_run_id: strawberry.ID | None = _given("The run that triggers it. It lives with its parent.")
    resume_parent_on_completion: bool | None = _given("Whether the parent waits for its end.")


@strawberry.input(description="A batch to trigger. All its runs are made, or none.")
class TriggerBatchInput:
    """The input of that name."""

    items: list[TriggerRunInput] = _needed("Its runs, at most 500. Environment and parent are the batch's.")
    environment_id: strawberry.ID | None = _given(ENVIRONMENT)
    idempotency_key: str | None = _given(KEY)
    idempotency_key_ttl: str | None = _given(LIFETIME, name="idempotencyKeyTTL")
    parent_run_id: strawberry.ID | None = _given("The run that triggers it. It lives with its parent.")
    resume_parent_on_completion: bool | None = _given("Whether the parent waits for the end of all its runs.")


@strawberry.input(description="A run to cancel.")
class CancelRunInput:
    """The input of that name."""

    id: strawberry.ID = _needed("Which run.")


@strawberry.input(description="A run to replay. What is not given is as it was.")
class ReplayRunInput:
    """The input of that name."""

    id: strawberry.ID = _needed("Which run.")
    environment_id: strawberry.ID | None = _given("Into which environment of its project; by default its own.")
    payload: JSON | None = _given("What the task is given.", default=UNSET)
    metadata: JSON | None = _given("What the run knows of itself to begin with: an object of at most 256 KB.")
    tags: list[str] | None = _given("At most 10, each of at most 128 characters.")
    queue: str | None = _given("In which queue.")
    concurrency_key: str | None = _given("Runs of one queue with different keys do not wait for each other.")
    machine: MachinePreset | None = _given("Size of its machine.")
    region: str | None = _given("Where its machine is.")
    version: str | None = _given("Which version of the task; by default the current one when it begins.")
    max_attempts: int | None = _given("How often it may be tried.")
    max_duration_seconds: int | None = _given("How long it may compute.")
    delay_seconds: int | None = _given("How long from now on it begins.")
    ttl_seconds: int | None = _given("How long it may wait to begin.")
    idempotency_key: str | None = _given(KEY)
    idempotency_key_ttl_seconds: int | None = _given(
        "How long the key finds it; 30 days unless told.", name="idempotencyKeyTTLSeconds"
    )
    priority_seconds: int | None = _given("By how many seconds it is ahead of others in its queue.")


@strawberry.input(description="A delayed run to reschedule.")
class RescheduleRunInput:
    """The input of that name."""

    id: strawberry.ID = _needed("Which run.")
    delay: str = _needed("When it begins: a time, or how long from now on, such as `1h30m`.")


@strawberry.input(description="Tags to give to a run.")
class AddRunTagsInput:
    """The input of that name."""

    id: strawberry.ID = _needed("Which run.")
    tags: list[str] = _needed("The tags; blank ones are left out. It has at most 10 then, or gets none of them.")


OPERATIONS = (
    "At most 100, one after the other: `{type, key, value}` with the type `set`, `append`, `remove` or `increment`,"
    ' `{type: "delete", key}`, or `{type: "update", value}` for the whole document.'
)


@strawberry.input(description="What to write to a run's metadata: at most 256 KB of it then.")
class UpdateRunMetadataInput:
    """The input of that name."""

    id: strawberry.ID = _needed("Which run.")
    metadata: JSON | None = _given("An object that replaces it, before operations are applied.")
    operations: list[JSON] | None = _given(OPERATIONS)
    parent_operations: list[JSON] | None = _given("Likewise, on its parent's metadata; its own if it has no parent.")
    root_operations: list[JSON] | None = _given("Likewise, on its root's metadata; its own if it has no parent.")


@strawberry.input(description="Either `runId`, or `taskIdentifier` and `key`.")
class ResetIdempotencyKeyInput:
    """The input of that name."""

    environment_id: strawberry.ID | None = _given(ENVIRONMENT)
    task_identifier: str | None = _given("The task whose runs may have the key.")
    key: str | None = _given("The key: as it was given with no scope or with the global one.")
    run_id: strawberry.ID | None = _given("The run that has a key.")


@strawberry.input(description="A token to create.")
class CreateWaitpointTokenInput:
    """The input of that name."""

    environment_id: strawberry.ID | None = _given(ENVIRONMENT)
    idempotency_key: str | None = _given(KEY)
    idempotency_key_ttl: str | None = _given(LIFETIME, name="idempotencyKeyTTL")
    timeout: str | None = _given("When it completes with an error: a time, or how long from now on, such as `1h30m`.")
    tags: list[str] | None = _given("At most 10, each of at most 128 characters.")


@strawberry.input(description="A token to complete.")
class CompleteWaitpointTokenInput:
    """The input of that name."""

    id: strawberry.ID = _needed("Which token.")
    data: JSON | None = _given("What it completes with.", default=UNSET)
    timed_out: bool | None = _given("Complete it as if nobody had come in time.")


@strawberry.input(description="A time that a run waits for, to skip.")
class SkipDateTimeWaitpointInput:
    """The input of that name."""

    id: strawberry.ID = _needed("Which waitpoint.")


@strawberry.input(description="A run, and a token that it is to wait for.")
class WaitForWaitpointTokenInput:
    """The input of that name."""

    run_id: strawberry.ID = _needed("Which run.")
    waitpoint_id: strawberry.ID = _needed("Which token, of the run's environment; from whichever shard.")


@strawberry.input(description="A run, and a time that it is to wait for.")
class WaitForDurationInput:
    """The input of that name."""

    run_id: strawberry.ID = _needed("Which run.")
    date: DateTime = _needed("Until when. If that has passed, the run goes on at once.")
    idempotency_key: str | None = _given(KEY)
    idempotency_key_ttl: str | None = _given(LIFETIME, name="idempotencyKeyTTL")


@strawberry.input(description="An action on many runs: those that a filter lets through, or those that are named.")
class CreateBulkActionInput:
    """The input of that name."""

    action: BulkActionType = _needed("What to do to them.")
    environment_id: strawberry.ID | None = _given(ENVIRONMENT)
    name: str | None = _given("A name for people, of at most 255 characters.")
    filter: RunFilter | None = _given("Runs that every given field lets through; at least one is given.")
    run_ids: list[strawberry.ID] | None = _given("These runs, at most 500.")
    target_region: str | None = _given("Where replays run.")


@strawberry.input(description="A bulk action to stop.")
class AbortBulkActionInput:
    """The input of that name."""

    id: strawberry.ID = _needed("Which bulk action.")
