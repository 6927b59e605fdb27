"""Environments, projects and organizations, as far as the viewer is in them."""

from collections.abc import Mapping, Sequence

from resolvers.errors import BadInputError
from resolvers.loaders import Keyed
from resolvers.viewer import Viewer
from store.errors import ShardError
from store.ids import body
from store.records import EnvironmentRecord, OrganizationRecord, ProjectRecord


async def _environments(viewer: Viewer, ids: Sequence[str]) -> Mapping[str, EnvironmentRecord]:
    return {id_: viewer.environment for id_ in ids if id_ == viewer.environment.id}


async def _projects(viewer: Viewer, ids: Sequence[str]) -> Mapping[str, ProjectRecord]:
    return await viewer.control_plane.projects([id_ for id_ in ids if id_ == viewer.environment.project_id])


async def _organizations(viewer: Viewer, ids: Sequence[str]) -> Mapping[str, OrganizationRecord]:
    return await viewer.control_plane.organizations([id_ for id_ in ids if id_ == viewer.environment.organization_id])


async def _of_project(viewer: Viewer, project_ids: Sequence[str]) -> Mapping[str, list[EnvironmentRecord]]:
    own = viewer.environment
    return {id_: [own] if own.project_id == id_ else [] for id_ in project_ids}


async def _of_organization(
    viewer: Viewer, organization_ids: Sequence[str]
) -> Mapping[str, list[ProjectRecord] | ShardError]:
    own = viewer.environment
    (project,) = await viewer.load_many(project_by_id, [own.project_id])
    if isinstance(project, ShardError):
        return dict.fromkeys(organization_ids, project)
    return {id_: [project] if project and own.organization_id == id_ else [] for id_ in organization_ids}


async def _tasks(viewer: Viewer, environment_ids: Sequence[str]) -> Mapping[str, list[str]]:
    own = viewer.environment_id
    return {own: await viewer.control_plane.task_identifiers(own)} if own in environment_ids else {}


tasks: Keyed[str, list[str]] = Keyed("environment.taskIdentifiers", _tasks)
"""The tasks that an environment ever had, by its primary key."""

by_id: Keyed[str, EnvironmentRecord] = Keyed("environment", _environments)
"""An environment by primary key."""

project_by_id: Keyed[str, ProjectRecord] = Keyed("project", _projects)
"""A project by primary key."""

organization_by_id: Keyed[str, OrganizationRecord] = Keyed("organization", _organizations)
"""An organization by primary key."""

of_project: Keyed[str, list[EnvironmentRecord]] = Keyed("project.environments", _of_project)
"""The environments of a project that the viewer may see, by the project's primary key."""

of_organization: Keyed[str, list[ProjectRecord]] = Keyed("organization.projects", _of_organization)
"""The projects of an organization that the viewer may see, by the organization's primary key."""


async def environment(
    viewer: Viewer, id_: str | None, slugs: tuple[str | None, str | None, str | None]
) -> EnvironmentRecord | None:
    """Return an environment by id, or by the slugs of organization, project and environment; else the credential's own.

    None if the viewer may not see it. Raises `BadInputError` for an id together with slugs, or for some slugs only.
    """
    if id_ is not None and any(value is not None for value in slugs):
        raise BadInputError("give an id, or the slugs of organization, project and environment, not both")
    if id_ is not None:
        record = await viewer.load(by_id, body(id_))
        return record if id_.startswith("env_") else None
    own = viewer.environment
    if all(value is None for value in slugs):
        return own
    if any(value is None for value in slugs):
        raise BadInputError("an environment is named by three slugs: organizationSlug, projectSlug and slug")
    its_project = await viewer.load(project_by_id, own.project_id)
    its_organization = await viewer.load(organization_by_id, own.organization_id)
    if its_project is None or its_organization is None:
        return None
    return own if (its_organization.slug, its_project.slug, own.slug) == slugs else None


async def project(viewer: Viewer, organization_slug: str, slug: str | None, ref: str | None) -> ProjectRecord | None:
    """Return a project by its slug or its ref within an organization. None if the viewer is not in it.

    Raises `BadInputError` unless exactly one of the two is given.
    """
    if (slug is None) is (ref is None):
        raise BadInputError("give either the slug or the ref of the project")
    own = await viewer.load(project_by_id, viewer.environment.project_id)
    if own is None or await organization(viewer, organization_slug) is None:
        return None
    return own if own.slug == slug or own.external_ref == ref else None


async def organization(viewer: Viewer, slug: str) -> OrganizationRecord | None:
    """Return an organization by its slug. None if the viewer is not in it."""
    own = await viewer.load(organization_by_id, viewer.environment.organization_id)
    return own if own is not None and own.slug == slug else None
