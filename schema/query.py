"""Root fields: each takes its arguments, calls one resolver and hands on the record that it returns."""

from collections.abc import Awaitable
from typing import Annotated, Any

import strawberry

from resolvers import environments, runs, shards
from resolvers.nodes import node, nodes
from resolvers.summary import required
from schema.batch import Batch
from schema.declare import Id, by_id, root
from schema.environment import Environment, Organization, Project
from schema.node import Node
from schema.run import DebugInfo, Run, RunResult
from schema.shard import Shard
from schema.viewer import Viewer
from schema.waitpoint import Waitpoint
from store.records import EnvironmentRecord, OrganizationRecord, ProjectRecord, RunRecord, UserRecord

Ids = Annotated[list[strawberry.ID], strawberry.argument(description="The ids, at most 100.")]
OptionalId = Annotated[strawberry.ID | None, strawberry.argument(name="id", description="Its id.")]
OrganizationSlug = Annotated[str, strawberry.argument(description="Slug of its organization.")]
OptionalOrganizationSlug = Annotated[str | None, strawberry.argument(description="Slug of its organization.")]
ProjectSlug = Annotated[str | None, strawberry.argument(description="Slug of its project.")]
Slug = Annotated[str, strawberry.argument(description="Its slug.")]
OptionalSlug = Annotated[str | None, strawberry.argument(description="Its slug.")]
TraceId = Annotated[str, strawberry.argument(description="The trace.")]
Ref = Annotated[str | None, strawberry.argument(description="Its ref, `proj_...`.")]


async def _node(info: strawberry.Info, id_: Id) -> object:
    return await node(info.context.viewer, id_)


def _nodes(info: strawberry.Info, ids: Ids) -> list[Awaitable[Any]]:
    return nodes(info.context.viewer, ids)


def _shards(info: strawberry.Info) -> list[shards.ShardHealth]:
    return shards.shards(info.context.viewer)


async def _organization(info: strawberry.Info, slug: Slug) -> OrganizationRecord | None:
    return await environments.organization(info.context.viewer, slug)


async def _project(
    info: strawberry.Info, organization_slug: OrganizationSlug, slug: OptionalSlug = None, ref: Ref = None
) -> ProjectRecord | None:
    return await environments.project(info.context.viewer, organization_slug, slug, ref)


async def _environment(
    info: strawberry.Info,
    id_: OptionalId = None,
    organization_slug: OptionalOrganizationSlug = None,
    project_slug: ProjectSlug = None,
    slug: OptionalSlug = None,
) -> EnvironmentRecord | None:
    return await environments.environment(info.context.viewer, id_, (organization_slug, project_slug, slug))


async def _run_by_trace(info: strawberry.Info, trace_id: TraceId) -> RunRecord | None:
    record: RunRecord | None = required(
        await info.context.viewer.load(runs.by_trace, trace_id), "the run of this trace"
    )
    return record


def _viewer(info: strawberry.Info) -> UserRecord | None:
    user: UserRecord | None = info.context.viewer.scope.user
    return user


async def _run_debug(info: strawberry.Info, id_: Id) -> RunRecord | None:
    found: RunRecord | None = await node(info.context.viewer, id_, only="run")
    return found


async def _run_result(info: strawberry.Info, id_: Id) -> RunRecord | None:
    return await runs.result(info.context.viewer, id_) if id_.startswith("run_") else None


async def _batch_results(info: strawberry.Info, id_: Id) -> list[RunRecord] | None:
    return await runs.results_of_batch(info.context.viewer, id_) if id_.startswith("batch_") else None


@strawberry.type(description="Where every query begins.")
class Query:
    """The type of that name."""

    viewer: Viewer | None = root(_viewer, description="Who asks; null if that is no person but a key.")
    node: Node | None = root(_node, description="Any object by its id; null if there is none that the viewer may see.")
    nodes: list[Node | None] | None = root(
        _nodes, always=True, description="Objects by their ids, at most 100, in the order of the ids."
    )
    shards: list[Shard] = root(_shards, description="Every database that holds runs, as this process last saw it.")
    organization: Organization | None = root(
        _organization, description="An organization; null if the viewer is not in it."
    )
    project: Project | None = root(
        _project, description="A project by its slug or its ref; null if the viewer is not in it."
    )
    environment: Environment | None = root(
        _environment, description="An environment by id or by three slugs; the credential's own without arguments."
    )
    run: Run | None = by_id("run", description="A run by its id; null if there is none that the viewer may see.")
    run_by_trace_id: Run | None = root(
        _run_by_trace, description="The first run of a trace; null if there is none that the viewer may see."
    )
    run_result: RunResult | None = root(_run_result, description="How a run ended; null while it has not.")
    run_debug: DebugInfo | None = root(
        _run_debug, description="Why a run may still be waiting for its turn: how full its queue is."
    )
    batch_results: list[RunResult] | None = root(
        _batch_results,
        description="How the runs of a batch ended, in the order of its items; without those that have not.",
    )
    batch: Batch | None = by_id(
        "batch", description="A batch by its id; null if there is none that the viewer may see."
    )
    waitpoint: Waitpoint | None = by_id(
        "waitpoint", description="A waitpoint by its id, from whichever shard has it; null if none has."
    )
