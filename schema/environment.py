"""Environment, and the project and organization around it."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from resolvers import environments, runs
from schema.declare import by_id, column, edge, listing, type_of
from schema.node import Node
from schema.scalars import DateTime
from store.records import EnvironmentRecord, OrganizationRecord, ProjectRecord

if TYPE_CHECKING:
    from schema.batch import Batch
    from schema.run import Run, RunConnection
    from schema.waitpoint import Waitpoint


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
        environments.of_organization, "id", always=True, description="Those of its projects that the viewer may see."
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
        environments.of_project, "id", always=True, description="Those of its environments that the viewer may see."
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
    runs: Annotated["RunConnection", strawberry.lazy("schema.run")] | None = listing(
        runs.of_environment, description="Its runs, newest first, from all shards."
    )
