"""Environment, and the project and organization around it."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from resolvers import batches, bulk_actions, environments, runs, waitpoints
from resolvers.loaders import PageArguments
from schema.declare import After, Before, First, Last, by_id, column, edge, root, type_of
from schema.filters import (
    BatchFilter,
    RunFilter,
    RunOrder,
    WaitpointFilter,
    batches_let_through,
    runs_let_through,
    tokens_let_through,
)
from schema.node import Node
from schema.scalars import DateTime
from store.pages import Page
from store.records import (
    BatchRecord,
    EnvironmentRecord,
    OrganizationRecord,
    ProjectRecord,
    RunRecord,
    WaitpointRecord,
)

if TYPE_CHECKING:
    from schema.batch import Batch, BatchConnection
    from schema.bulk_action import BulkAction, BulkActionConnection
    from schema.run import Run, RunConnection
    from schema.waitpoint import Waitpoint, WaitpointConnection


async def _runs(  # noqa: PLR0913, PLR0917  the arguments of a connection
    parent: strawberry.Parent[EnvironmentRecord],
    info: strawberry.Info,
    filter_: Annotated[RunFilter | None, strawberry.argument(name="filter", description="Which.")] = None,
    order_by: Annotated[RunOrder | None, strawberry.argument(description="In which order.")] = None,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Page[RunRecord] | None:
    narrowing = await runs_let_through(info.context.viewer, filter_)
    oldest_first = order_by is not None and order_by.goes_up
    arguments = PageArguments(first, after, last, before)
    return await runs.page(info.context.viewer, parent.id, narrowing, arguments, oldest_first=oldest_first)


async def _batches(  # noqa: PLR0913, PLR0917  the arguments of a connection
    parent: strawberry.Parent[EnvironmentRecord],
    info: strawberry.Info,
    filter_: Annotated[BatchFilter | None, strawberry.argument(name="filter", description="Which.")] = None,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Page[BatchRecord] | None:
    arguments = PageArguments(first, after, last, before)
    return await batches.page(info.context.viewer, parent.id, batches_let_through(filter_), arguments)


async def _tags(
    parent: strawberry.Parent[EnvironmentRecord],
    info: strawberry.Info,
    name: Annotated[str | None, strawberry.argument(description="How they begin, in any case.")] = None,
    first: First = None,
    after: Annotated[str | None, strawberry.argument(description="Begin after this tag.")] = None,
) -> list[str]:
    return await waitpoints.tags(info.context.viewer, parent.id, name, first, after)


def _bulk_actions(  # noqa: PLR0913, PLR0917  the arguments of a connection
    parent: strawberry.Parent[EnvironmentRecord],
    info: strawberry.Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Any:  # noqa: ANN401
    arguments = PageArguments(first, after, last, before)
    return bulk_actions.of_environment.load(info.context.viewer, parent.id, parent.id, arguments)


async def _environment(
    parent: strawberry.Parent[ProjectRecord],
    info: strawberry.Info,
    slug: Annotated[str, strawberry.argument(description="Its slug.")],
) -> EnvironmentRecord | None:
    return await environments.environment_of(info.context.viewer, parent, slug)


async def _tokens(  # noqa: PLR0913, PLR0917  the arguments of a connection
    parent: strawberry.Parent[EnvironmentRecord],
    info: strawberry.Info,
    filter_: Annotated[WaitpointFilter | None, strawberry.argument(name="filter", description="Which.")] = None,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Page[WaitpointRecord] | None:
    arguments = PageArguments(first, after, last, before)
    return await waitpoints.token_page(info.context.viewer, parent.id, tokens_let_through(filter_), arguments)


@strawberry.enum(description="What an environment is for.")
class EnvironmentType(Enum):
    """The enum of that name."""

    PRODUCTION = strawberry.enum_value("PRODUCTION", description="Production.")
    STAGING = strawberry.enum_value("STAGING", description="Staging.")
    DEVELOPMENT = strawberry.enum_value("DEVELOPMENT", description="One member's own.")
    PREVIEW = strawberry.enum_value("PREVIEW", description="A branch's, or the root of all branches.")
    UNKNOWN = strawberry.enum_value("UNKNOWN", description="One that the platform has and this release does not know.")


@type_of(OrganizationRecord, description="Who owns projects.")
class Organization(Node):
    """The type of that name."""

    slug: str = column(description="Its name in URLs.")
    title: str = column(description="Its name for people.")
    projects: list[Annotated["Project", strawberry.lazy("schema.environment")]] | None = edge(
        environments.of_organization,
        "id",
        always=True,
        description="Those of its projects that you see, by name; at most 500.",
    )


@type_of(ProjectRecord, description="Tasks that are deployed together.")
class Project(Node):
    """The type of that name."""

    slug: str = column(description="Its name in URLs.")
    name: str = column(description="Its name for people.")
    ref: str = column("external_ref", description="Its name in configuration files: `proj_...`.")
    engine: str = column(description="Generation of its engine: `V1` (retired) or `V2`.")
    organization: Organization | None = edge(
        environments.organization_by_id, "organization_id", always=True, description="Who owns it."
    )
    environments: list[Annotated["Environment", strawberry.lazy("schema.environment")]] | None = edge(
        environments.of_project,
        "id",
        always=True,
        description="Those of its environments that you see and that are not archived: roots first, then branches; "
        "at most 500.",
    )
    environment: Annotated["Environment", strawberry.lazy("schema.environment")] | None = root(
        _environment, description="One of its environments; `dev` is your own."
    )


@type_of(EnvironmentRecord, description="Where runs run: production, staging, a branch's preview, a member's own.")
class Environment(Node):
    """The type of that name."""

    slug: str = column(description="Its name in URLs.")
    type: EnvironmentType = column(description="What it is for.")
    shortcode: str = column(description="Its short name.")
    branch_name: str | None = column(description="The branch of a preview.")
    paused: bool = column(description="Whether its runs stay queued.")
    pause_source: str | None = column(description="What paused it, if no person did: `BILLING_LIMIT`.")
    archived_at: DateTime | None = column(description="When it was archived.")
    maximum_concurrency_limit: int = column(description="How many of its runs may execute at once.")
    concurrency_limit_burst_factor: float = column(description="By how much that may be exceeded for a while.")
    user_name: str | None = column(description="Whose development environment it is; `Deleted` if nobody's any more.")
    parent_environment: Annotated["Environment", strawberry.lazy("schema.environment")] | None = edge(
        environments.by_id, "parent_environment_id", description="The root of a branch, if the viewer may see it."
    )
    project: Project | None = edge(
        environments.project_by_id, "project_id", always=True, description="The project that it belongs to."
    )
    organization: Organization | None = edge(
        environments.organization_by_id, "organization_id", always=True, description="Who owns it."
    )
    run: Annotated["Run", strawberry.lazy("schema.run")] | None = by_id("run", description="One of its runs.")
    batch: Annotated["Batch", strawberry.lazy("schema.batch")] | None = by_id(
        "batch", description="One of its batches."
    )
    waitpoint: Annotated["Waitpoint", strawberry.lazy("schema.waitpoint")] | None = by_id(
        "waitpoint", description="One of its waitpoints."
    )
    has_any_runs: bool | None = edge(
        runs.has_any,
        "id",
        always=True,
        needs=("runs", "tasks"),
        description="Whether it has any run, on whichever shard.",
    )
    runs: Annotated["RunConnection", strawberry.lazy("schema.run")] | None = root(
        _runs, always=True, description="Its runs, newest first unless told, from all shards."
    )
    task_identifiers: list[str] | None = edge(
        environments.tasks,
        "id",
        always=True,
        needs=("runs", "tasks"),
        description="The tasks that it ever had, sorted, at most 1,000.",
    )
    batches: Annotated["BatchConnection", strawberry.lazy("schema.batch")] | None = root(
        _batches, always=True, needs=("batch", "runs"), description="Its batches, newest first, from all shards."
    )
    bulk_action: Annotated["BulkAction", strawberry.lazy("schema.bulk_action")] | None = by_id(
        "bulk", description="One of its bulk actions."
    )
    bulk_actions: Annotated["BulkActionConnection", strawberry.lazy("schema.bulk_action")] | None = root(
        _bulk_actions, always=True, needs=("runs",), description="Its bulk actions, newest first."
    )
    branches: list[Annotated["Environment", strawberry.lazy("schema.environment")]] | None = edge(
        environments.branches_of,
        "id",
        always=True,
        description="Its branches that are not archived, newest first, at most 500.",
    )
    waitpoint_tags: list[str] | None = root(
        _tags,
        always=True,
        needs=("waitpoints",),
        description="The tags of its tokens, newest first, from all shards; begin after a tag.",
    )
    waitpoint_tokens: Annotated["WaitpointConnection", strawberry.lazy("schema.waitpoint")] | None = root(
        _tokens, always=True, needs=("waitpoints",), description="Its tokens, newest first, from all shards."
    )
