"""Environments, projects, organizations and users, as far as the viewer sees them."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from resolvers.errors import BadInputError
from resolvers.loaders import Keyed, every
from resolvers.viewer import Viewer
from store.control_plane import Name
from store.errors import ShardError
from store.ids import body, can_exist
from store.records import EnvironmentRecord, OrganizationRecord, ProjectRecord, UserRecord

T = TypeVar("T")


def _in(ids: Sequence[str], seen: Collection[str]) -> list[str]:
    return [id_ for id_ in ids if id_ in seen]


async def _environments(viewer: Viewer, ids: Sequence[str]) -> Mapping[str, EnvironmentRecord]:
    """Return environments; the credential's own is at hand. A user's own development environment has no name on it."""
    own, user = viewer.scope.environment, viewer.scope.user
    if own is not None:
        return {id_: own for id_ in ids if id_ == own.id}
    found = await viewer.control_plane.environments(_in(ids, viewer.seen))
    return {id_: _as_seen_by(user, environment) for id_, environment in found.items()}


def _as_seen_by(user: UserRecord | None, environment: EnvironmentRecord) -> EnvironmentRecord:
    if user is None or environment.member_user_id != user.id:
        return environment
    return environment._replace(member_name=None)


async def _projects(viewer: Viewer, ids: Sequence[str]) -> Mapping[str, ProjectRecord]:
    return await viewer.control_plane.projects(_in(ids, viewer.scope.project_ids))


async def _organizations(viewer: Viewer, ids: Sequence[str]) -> Mapping[str, OrganizationRecord]:
    return await viewer.control_plane.organizations(_in(ids, viewer.scope.organization_ids))


async def _users(viewer: Viewer, ids: Sequence[str]) -> Mapping[str, UserRecord]:
    return await viewer.control_plane.users(ids)


async def _named(viewer: Viewer, names: Sequence[Name]) -> Mapping[Name, EnvironmentRecord]:
    """Return environments by their slugs. Of the members' development environments, the user's own has the name."""
    user = viewer.scope.user
    found = await viewer.control_plane.environments_named(names)
    chosen: dict[Name, EnvironmentRecord] = {}
    for name, environments in found.items():
        for environment in environments:
            anothers = environment.type == "DEVELOPMENT" and user is not None and environment.member_user_id != user.id
            if environment.id in viewer.seen and not anothers:
                chosen[name] = _as_seen_by(user, environment)
    return chosen


async def _of_project(viewer: Viewer, project_ids: Sequence[str]) -> Mapping[str, list[EnvironmentRecord]]:
    user = viewer.scope.user
    if user is None:
        return _own(project_ids, "project_id", viewer.scope.environment)
    found = await viewer.control_plane.environments_by_project(project_ids, user.id)
    return {id_: [_as_seen_by(user, one) for one in found.get(id_, ())] for id_ in project_ids}


async def _branches(viewer: Viewer, environment_ids: Sequence[str]) -> Mapping[str, list[EnvironmentRecord]]:
    user = viewer.scope.user
    found = {} if user is None else await viewer.control_plane.branches(environment_ids, user.id)
    return {id_: [_as_seen_by(user, one) for one in found.get(id_, ())] for id_ in environment_ids}


async def _of_organization(
    viewer: Viewer, organization_ids: Sequence[str]
) -> Mapping[str, list[ProjectRecord] | ShardError]:
    if (own := viewer.scope.environment) is None:
        return every(organization_ids, await viewer.control_plane.projects_by_organization(organization_ids))
    (project,) = await viewer.load_many(project_by_id, [own.project_id])
    if isinstance(project, ShardError):
        return dict.fromkeys(organization_ids, project)
    return _own(organization_ids, "organization_id", project)


async def _of_user(viewer: Viewer, user_ids: Sequence[str]) -> Mapping[str, list[OrganizationRecord]]:
    found = await viewer.control_plane.organizations_by_member(user_ids)
    seen = viewer.scope.organization_ids
    return {id_: [one for one in found.get(id_, ()) if one.id in seen] for id_ in user_ids}


def _own(parents: Sequence[str], place: str, own: T | None) -> dict[str, list[T]]:
    """Return the one record that is seen, under the parent that it belongs to."""
    return {id_: [own] if own is not None and getattr(own, place) == id_ else [] for id_ in parents}


async def _tasks(viewer: Viewer, environment_ids: Sequence[str]) -> Mapping[str, list[str] | ShardError]:
    return every(environment_ids, await viewer.control_plane.task_identifiers(environment_ids))


tasks: Keyed[str, list[str]] = Keyed("environment.taskIdentifiers", _tasks)
"""The tasks that an environment ever had, by its primary key."""

by_id: Keyed[str, EnvironmentRecord] = Keyed("environment", _environments)
"""An environment by primary key."""

by_name: Keyed[Name, EnvironmentRecord] = Keyed("environment by name", _named)
"""An environment by three slugs."""

project_by_id: Keyed[str, ProjectRecord] = Keyed("project", _projects)
"""A project by primary key."""

organization_by_id: Keyed[str, OrganizationRecord] = Keyed("organization", _organizations)
"""An organization by primary key."""

user_by_id: Keyed[str, UserRecord] = Keyed("user", _users)
"""A user by primary key: whoever is named on a row that the viewer sees."""

of_project: Keyed[str, list[EnvironmentRecord]] = Keyed("project.environments", _of_project)
"""The environments of a project that the viewer sees, by the project's primary key."""

branches_of: Keyed[str, list[EnvironmentRecord]] = Keyed("environment.branches", _branches)
"""The branches of an environment that the viewer sees, by its primary key."""

of_organization: Keyed[str, list[ProjectRecord]] = Keyed("organization.projects", _of_organization)
"""The projects of an organization that the viewer sees, by the organization's primary key."""

of_user: Keyed[str, list[OrganizationRecord]] = Keyed("viewer.organizations", _of_user)
"""The organizations of a user that the viewer sees too, by the user's primary key."""


async def environment(
    viewer: Viewer, id_: str | None, slugs: tuple[str | None, str | None, str | None]
) -> EnvironmentRecord | None:
    """Return an environment by id, or by the slugs of organization, project and environment; else the credential's own.

    None if the viewer does not see it. Raises `BadInputError` for an id together with slugs, for some slugs only, and
    for nothing at all if the credential is no environment's.
    """
    organization_slug, project_slug, slug = slugs
    named = [given for given in slugs if given is not None]
    if id_ is not None:
        if named:
            raise BadInputError("give an id, or the slugs of organization, project and environment, not both")
        if not id_.startswith("env_") or not can_exist(id_):
            return None
        return await viewer.load(by_id, body(id_))
    if not named:
        if viewer.scope.environment is None:
            raise BadInputError("say which environment: by its id, or by organizationSlug, projectSlug and slug")
        return viewer.scope.environment
    if organization_slug is None or project_slug is None or slug is None:
        raise BadInputError("an environment is named by three slugs: organizationSlug, projectSlug and slug")
    if not _can_be_asked(*named):
        return None
    return await viewer.load(by_name, (organization_slug, project_slug, slug))


async def environment_of(viewer: Viewer, project: ProjectRecord, slug: str) -> EnvironmentRecord | None:
    """Return a project's environment of that slug. None if the viewer does not see it."""
    its_organization = await viewer.load(organization_by_id, project.organization_id)
    if its_organization is None or not _can_be_asked(slug):
        return None
    return await viewer.load(by_name, (its_organization.slug, project.slug, slug))


async def project(viewer: Viewer, organization_slug: str, slug: str | None, ref: str | None) -> ProjectRecord | None:
    """Return a project by its slug or its ref within an organization. None if the viewer does not see it.

    Raises `BadInputError` unless exactly one of the two is given.
    """
    if (slug is None) is (ref is None):
        raise BadInputError("give either the slug or the ref of the project")
    if not _can_be_asked(organization_slug, slug or "", ref or ""):
        return None
    found = await viewer.control_plane.project_named(organization_slug, slug, ref)
    return found if found is not None and found.id in viewer.scope.project_ids else None


async def organization(viewer: Viewer, slug: str) -> OrganizationRecord | None:
    """Return an organization by its slug. None if the viewer does not see it."""
    found = await viewer.control_plane.organization_named(slug) if _can_be_asked(slug) else None
    return found if found is not None and found.id in viewer.scope.organization_ids else None


LONGEST_SLUG = 500


def _can_be_asked(*slugs: str) -> bool:
    """Tell whether slugs are texts that a row may have: Postgres refuses some that JSON allows."""
    return all(len(slug) <= LONGEST_SLUG and slug.isprintable() for slug in slugs)
