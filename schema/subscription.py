"""Root fields of subscriptions: each tells of something as it is, and then of its changes."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import strawberry

from resolvers import live
from schema.bulk_action import BulkAction
from schema.declare import Id
from schema.run import Run
from schema.streams import events
from schema.waitpoint import Waitpoint

CloseOnComplete = Annotated[bool | None, strawberry.argument(description="Whether to end when the run has.")]
OptionalEnvironmentId = Annotated[
    strawberry.ID | None, strawberry.argument(description="The environment; the credential's own if it is left out.")
]
Tags = Annotated[list[str] | None, strawberry.argument(description="Tags of which a run has all; any run without.")]
Period = Annotated[
    str | None,
    strawberry.argument(description="Since when runs count: a number and one of s, m, h, d; at most the last day."),
]


def _told(resolve: Callable[..., AsyncIterator[Any]], *, description: str) -> Any:  # noqa: ANN401
    """Declare a field that tells of something."""
    return strawberry.subscription(resolver=resolve, description=description)


def _run(info: strawberry.Info, id_: Id, close_on_complete: CloseOnComplete = True) -> AsyncIterator[Any]:  # noqa: FBT002
    closes = close_on_complete is not False
    return events(info.context, live.run(info.context.asker, id_, close_on_complete=closes))


def _runs(
    info: strawberry.Info,
    environment_id: OptionalEnvironmentId = None,
    tags: Tags = None,
    created_at_period: Period = None,
) -> AsyncIterator[Any]:
    return events(info.context, live.tagged_runs(info.context.asker, environment_id, tags, created_at_period))


def _batch_runs(info: strawberry.Info, id_: Id) -> AsyncIterator[Any]:
    return events(info.context, live.batch_runs(info.context.asker, id_))


def _waitpoint(info: strawberry.Info, id_: Id) -> AsyncIterator[Any]:
    return events(info.context, live.waitpoint(info.context.asker, id_))


def _bulk_action(info: strawberry.Info, id_: Id) -> AsyncIterator[Any]:
    return events(info.context, live.bulk_action(info.context.asker, id_))


@strawberry.type(
    description="What is told of as it changes: each object as it is, then its changes, at most four a second, and its "
    "end in any case. States in between may be left out."
)
class Subscription:
    """The type of that name."""

    run_updated: Run = _told(
        _run, description="A run, until it has ended; NOT_FOUND if there is none that the viewer may see."
    )
    runs_updated: Run = _told(
        _runs,
        description="The runs of an environment that have some tags: the newest thousand of a time, as they change. "
        "It has no end.",
    )
    batch_runs_updated: Run = _told(
        _batch_runs, description="The runs of a batch, until it has finished and all of them have ended."
    )
    waitpoint_updated: Waitpoint = _told(
        _waitpoint, description="A waitpoint, from whichever shard has it, until it is complete."
    )
    bulk_action_updated: BulkAction = _told(_bulk_action, description="A bulk action, until it is done or stopped.")
