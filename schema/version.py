"""Version and deployment: which code a run executes."""

import strawberry
from strawberry.scalars import JSON

from resolvers import details
from schema.declare import column, edge, type_of
from store.records import DeploymentRecord


@type_of(DeploymentRecord, description="How a version came to be.")
class Deployment:
    """The type of that name."""

    id: strawberry.ID = column("friendly_id", description="Its id.")
    short_code: str = column(description="Its short name.")
    version: str = column(description="The version that it made.")
    status: str = column(description="State of the deployment.")
    git: JSON | None = column(description="The commit that was deployed.")


@strawberry.type(description="Which code a run executes.")
class Version:
    """The type of that name; its record is `store.records.VersionRecord`."""

    version: str = column(description="The version, such as `20260821.1`.")
    sdk_version: str | None = column(description="Version of the SDK in it.")
    cli_version: str | None = column(description="Version of the command line that built it.")
    runtime: str | None = edge(details.workers, "worker_id", attribute="runtime", description="What executes it.")
    runtime_version: str | None = edge(
        details.workers, "worker_id", attribute="runtime_version", description="Version of what executes it."
    )
    deployment: Deployment | None = edge(details.deployments, "worker_id", description="How it was deployed.")
