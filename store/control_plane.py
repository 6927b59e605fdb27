"""The control plane: environments, projects and organizations, by id and by credential.

Many are asked for in one statement, and answers are kept for half a minute (`store.memory`). What decides who somebody
is comes from the primary, and is not kept here.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, FromClause, Row, Select, and_, any_, func, or_, select, text

from store.memory import Memory
from store.pages import Feed, Page, Window, merge
from store.queries import Friendly, Identified, bytewise, cut, each, is_one_of, rows_of_each, text_array
from store.records import (
    BulkActionRecord,
    DeploymentRecord,
    EnvironmentRecord,
    OrganizationRecord,
    ProjectRecord,
    QueueLimits,
    ScheduleRecord,
    UserRecord,
    WorkerRecord,
)
from store.shard import Database, ReadConnection, ReadFrom
from store.tables import (
    access_token,
    additional_key,
    bulk_action,
    columns,
    deployment,
    environment,
    org_member,
    organization,
    project,
    revoked_key,
    schedule,
    task_identifier,
    task_queue,
    user,
    worker,
)

CONTROL_PLANE = "control plane"


R = TypeVar("R", bound=Identified)
F = TypeVar("F", bound=Friendly)
T = TypeVar("T")
MOST_TASKS = 1_000
MOST_LISTED = 500
"""Of organizations, projects, environments and branches: lists that people keep short."""


Name = tuple[str, str, str]
"""The slugs of an organization, a project and an environment."""


class Place(NamedTuple):
    """An environment, or a project or an organization that has none, by primary keys."""

    organization_id: str
    project_id: str | None
    environment_id: str | None


class Membership(NamedTuple):
    """A user, and everything that is in an organization of theirs."""

    user: UserRecord
    places: Sequence[Place]


_NOW = text("timezone('utc', now())")
_OWN = EnvironmentRecord._fields[:-3]
_ENVIRONMENTS = (
    select(
        *columns(environment, _OWN),
        org_member.c.id.label("member_id"),
        org_member.c.user_id.label("member_user_id"),
        func.coalesce(user.c.display_name, user.c.name).label("member_name"),
    )
    .select_from(environment)
    .join(project, project.c.id == environment.c.project_id)
    .join(organization, organization.c.id == environment.c.organization_id)
    .outerjoin(org_member, org_member.c.id == environment.c.org_member_id)
    .outerjoin(user, user.c.id == org_member.c.user_id)
    .where(project.c.deleted_at.is_(None), organization.c.deleted_at.is_(None))
)
_PROJECTS = (
    select(*columns(project, ProjectRecord._fields))
    .join(organization, organization.c.id == project.c.organization_id)
    .where(project.c.deleted_at.is_(None), organization.c.deleted_at.is_(None))
)
_ORGANIZATIONS = select(*columns(organization, OrganizationRecord._fields)).where(organization.c.deleted_at.is_(None))
_USERS = select(*columns(user, UserRecord._fields, chosen_name=user.c.display_name))
_BULK_ACTION = columns(bulk_action, BulkActionRecord._fields)


class ControlPlane:
    """Answers what run rows name only by id. Every method raises `ShardError` when the database does not answer."""

    def __init__(
        self,
        primary: Database,
        replica: Database,
        ttl: float = 30.0,
        entries: int = 10_000,
        *,
        has_additional_keys: bool = False,
    ) -> None:
        self.primary, self.replica = primary, replica
        self.has_additional_keys = has_additional_keys
        """Whether the platform's release has keys with scopes: a table that came later than the others."""
        self.ttl, self.entries = ttl, entries
        self._environments = Memory[str, EnvironmentRecord](ttl, entries)
        self._names = Memory[Name, list[EnvironmentRecord]](ttl, entries)
        self._projects = Memory[str, ProjectRecord](ttl, entries)
        self._organizations = Memory[str, OrganizationRecord](ttl, entries)
        self._users = Memory[str, UserRecord](ttl, entries)

    async def environment_by_api_key(self, api_key: str) -> EnvironmentRecord | None:
        """Return the environment whose secret key this is, or was until a rotation whose grace is not over.

        None if there is none: unknown, archived, or of a deleted project. Read from the primary, never from memory.
        """
        rotated = select(revoked_key.c.environment_id).where(
            revoked_key.c.api_key == api_key, revoked_key.c.expires_at > _NOW
        )
        current = environment.c.api_key == api_key
        statement = (
            _ENVIRONMENTS.where(or_(current, environment.c.id.in_(rotated)), environment.c.archived_at.is_(None))
            .order_by(current.desc(), environment.c.id)
            .limit(1)
        )
        return await self._first(statement, EnvironmentRecord._make)

    async def environment_by_additional_key(self, api_key: str) -> tuple[EnvironmentRecord, list[str]] | None:
        """Return the environment that an additional key belongs to, and its scopes, or None; from the primary."""
        if not self.has_additional_keys:
            return None
        key = additional_key.c
        statement = (
            _ENVIRONMENTS.add_columns(key.scopes)
            .join(additional_key, key.environment_id == environment.c.id)
            .where(
                key.key_hash == digest(api_key),
                key.revoked_at.is_(None),
                or_(key.expires_at.is_(None), key.expires_at > _NOW),
                environment.c.archived_at.is_(None),
            )
        )

        def make(row: Sequence[Any]) -> tuple[EnvironmentRecord, list[str]]:
            *columns, scopes = row
            return EnvironmentRecord._make(columns), list(scopes or ())

        return await self._first(statement, make)

    async def branch_named(self, root_id: str, branch: str) -> EnvironmentRecord | None:
        """Return the branch of an environment by its name, or None: unknown, or archived; from the primary."""
        c = environment.c
        statement = _ENVIRONMENTS.where(
            c.parent_environment_id == root_id, c.branch_name == branch, c.archived_at.is_(None)
        )
        return await self._first(statement, EnvironmentRecord._make)

    async def signers(self, environment_id: str) -> tuple[EnvironmentRecord, list[str]] | None:
        """Return an environment and the keys that may have signed for it, or None; from the primary.

        The current one first, then those that were rotated away and whose grace is not over. A branch's are its root's.
        """
        root = environment.alias()
        signs = func.coalesce(root.c.id, environment.c.id)
        rotated = (
            select(func.array_agg(revoked_key.c.api_key))
            .where(revoked_key.c.environment_id == signs, revoked_key.c.expires_at > _NOW)
            .correlate(root, environment)
            .scalar_subquery()
        )
        statement: Select[Any] = (
            _ENVIRONMENTS.add_columns(func.coalesce(root.c.api_key, environment.c.api_key), rotated)
            .outerjoin(root, root.c.id == environment.c.parent_environment_id)
            .where(environment.c.id == environment_id, environment.c.archived_at.is_(None))
        )

        def make(row: Sequence[Any]) -> tuple[EnvironmentRecord, list[str]]:
            *columns, current, past = row
            return EnvironmentRecord._make(columns), [current, *(past or ())]

        return await self._first(statement, make)

    async def membership_by_token(self, token: str) -> Membership | None:
        """Return whose personal access token this is, and what that user is a member of; None: unknown, or revoked."""
        statement = _USERS.join(access_token, access_token.c.user_id == user.c.id).where(
            access_token.c.hashed_token == digest(token), access_token.c.revoked_at.is_(None)
        )
        return await self._membership(statement)

    async def membership_of(self, user_id: str) -> Membership | None:
        """Return a user, and what they are a member of; None: unknown, or their sessions have ended."""
        running = or_(user.c.next_session_end.is_(None), user.c.next_session_end > _NOW)
        return await self._membership(_USERS.where(user.c.id == user_id, running))

    async def _membership(self, statement: Select[Any]) -> Membership | None:
        found = await self._first(statement, UserRecord._make)
        return None if found is None else Membership(found, await self._places_of(found.id))

    async def _first(
        self, statement: Select[Any], make: Callable[[Row[Any]], T], source: ReadFrom = ReadFrom.PRIMARY
    ) -> T | None:
        """Return the first row that there is, made into something, or None."""
        found = await self._ask(statement, make, source)
        return found[0] if found else None

    def forget_environment(self, environment_id: str) -> None:
        """Forget an environment: the next to ask reads it anew."""
        self._environments.forget([environment_id])
        self._names.forget_where(lambda named: any(one.id == environment_id for one in named))

    def forget_organization(self, organization_id: str) -> None:
        """Forget an organization, and everything in it."""
        self._organizations.forget([organization_id])
        self._projects.forget_where(lambda project: project.organization_id == organization_id)
        self._environments.forget_where(lambda one: one.organization_id == organization_id)
        self._names.forget_where(lambda named: any(one.organization_id == organization_id for one in named))

    async def _places_of(self, user_id: str) -> list[Place]:
        """Return every environment of every organization that a user is in; of a project without any, the project."""
        statement = (
            select(
                organization.c.id.label("organization_id"),
                project.c.id.label("project_id"),
                environment.c.id.label("environment_id"),
            )
            .select_from(org_member)
            .join(organization, organization.c.id == org_member.c.organization_id)
            .outerjoin(project, (project.c.organization_id == organization.c.id) & project.c.deleted_at.is_(None))
            .outerjoin(environment, environment.c.project_id == project.c.id)
            .where(org_member.c.user_id == user_id, organization.c.deleted_at.is_(None))
        )
        return await self._ask(statement, Place._make, ReadFrom.PRIMARY)

    async def environments(self, ids: Collection[str]) -> dict[str, EnvironmentRecord]:
        """Return environments by id; those of deleted projects are absent, archived ones are not."""
        return await self._by_id(self._environments, ids, _ENVIRONMENTS, environment.c.id, EnvironmentRecord._make)

    async def projects(self, ids: Collection[str]) -> dict[str, ProjectRecord]:
        """Return projects by id; deleted ones are absent."""
        return await self._by_id(self._projects, ids, _PROJECTS, project.c.id, ProjectRecord._make)

    async def organizations(self, ids: Collection[str]) -> dict[str, OrganizationRecord]:
        """Return organizations by id; deleted ones are absent."""
        return await self._by_id(self._organizations, ids, _ORGANIZATIONS, organization.c.id, OrganizationRecord._make)

    async def users(self, ids: Collection[str]) -> dict[str, UserRecord]:
        """Return users by id."""
        return await self._by_id(self._users, ids, _USERS, user.c.id, UserRecord._make)

    async def organization_named(self, slug: str) -> OrganizationRecord | None:
        """Return the organization of that slug, or None."""
        statement = _ORGANIZATIONS.where(organization.c.slug == slug)
        return await self._first(statement, OrganizationRecord._make, ReadFrom.REPLICA)

    async def project_named(self, organization_slug: str, slug: str | None, ref: str | None) -> ProjectRecord | None:
        """Return an organization's project of that slug, or of that ref if no slug is given, or None."""
        named = project.c.external_ref == ref if slug is None else project.c.slug == slug
        statement = _PROJECTS.where(organization.c.slug == organization_slug, named)
        return await self._first(statement, ProjectRecord._make, ReadFrom.REPLICA)

    async def environments_named(self, names: Collection[Name]) -> dict[Name, list[EnvironmentRecord]]:
        """Return environments by the slugs of organization, project and environment.

        Several have one name: each member of a project has a development environment of the same slug. Archived ones
        are found too.
        """

        async def ask(misses: Collection[Name]) -> dict[Name, list[EnvironmentRecord]]:
            wanted = each(*zip(*misses, strict=True))
            slugs = (organization.c.slug, project.c.slug, environment.c.slug)
            statement = _ENVIRONMENTS.add_columns(*(slug.label(None) for slug in slugs)).join(
                wanted, and_(*(slug == given for slug, given in zip(slugs, wanted.c, strict=True)))
            )
            found: dict[Name, list[EnvironmentRecord]] = {}
            for *row, one, two, three in await self._ask(statement, tuple):
                found.setdefault((one, two, three), []).append(EnvironmentRecord._make(row))
            return found

        return await self._names.get(names, ask)

    async def organizations_by_member(self, user_ids: Collection[str]) -> dict[str, list[OrganizationRecord]]:
        """Return the organizations that users are in, by the user's id, in the order of their titles."""
        member = each(user_ids)
        statement = (
            _ORGANIZATIONS.join(org_member, org_member.c.organization_id == organization.c.id)
            .where(org_member.c.user_id == member.c.id)
            .order_by(organization.c.title, organization.c.id)
            .limit(MOST_LISTED)
        )
        return await self._of_each(member, statement, OrganizationRecord._make)

    async def projects_by_organization(self, organization_ids: Collection[str]) -> dict[str, list[ProjectRecord]]:
        """Return the projects of organizations, by the organization's id, in the order of their names."""
        parent = each(organization_ids)
        statement = (
            _PROJECTS.where(project.c.organization_id == parent.c.id)
            .order_by(project.c.name, project.c.id)
            .limit(MOST_LISTED)
        )
        return await self._of_each(parent, statement, ProjectRecord._make)

    async def environments_by_project(
        self, project_ids: Collection[str], user_id: str
    ) -> dict[str, list[EnvironmentRecord]]:
        """Return the environments of projects that are not archived, by the project's id, as a user lists them.

        Roots first, then branches, each newest last; other members' development environments are left out.
        """
        parent = each(project_ids)
        branch = environment.c.parent_environment_id.is_not(None)
        statement = (
            _ENVIRONMENTS.where(environment.c.project_id == parent.c.id, *_listed(user_id))
            .order_by(branch, environment.c.created_at, environment.c.id)
            .limit(MOST_LISTED)
        )
        return await self._of_each(parent, statement, EnvironmentRecord._make)

    async def branches(self, environment_ids: Collection[str], user_id: str) -> dict[str, list[EnvironmentRecord]]:
        """Return the branches of environments that are not archived, by the root's id, newest first."""
        parent = each(environment_ids)
        statement = (
            _ENVIRONMENTS.where(environment.c.parent_environment_id == parent.c.id, *_listed(user_id))
            .order_by(environment.c.created_at.desc(), environment.c.id)
            .limit(MOST_LISTED)
        )
        return await self._of_each(parent, statement, EnvironmentRecord._make)

    async def signing_keys(self, environment_ids: Collection[str]) -> dict[str, str]:
        """Return the keys that sign for environments: the root's for a branch. A secret: never shown, never kept."""
        root = environment.alias()
        statement = (
            select(environment.c.id, func.coalesce(root.c.api_key, environment.c.api_key).label("key"))
            .select_from(environment.outerjoin(root, root.c.id == environment.c.parent_environment_id))
            .where(environment.c.id == any_(text_array(environment_ids)))
        )
        return dict(await self._ask(statement, lambda row: (str(row.id), str(row.key))))

    async def queue_limits(self, addresses: Collection[tuple[str, str]]) -> dict[tuple[str, str], QueueLimits]:
        """Return what is known of queues, by environment and name; never from memory: people pause them."""
        address = each(*zip(*addresses, strict=True))
        c = task_queue.c
        statement = select(*columns(task_queue, QueueLimits._fields)).join(
            address, (c.environment_id == address.c.id) & (c.name == address.c.more_1)
        )
        found = await self._ask(statement, QueueLimits._make)
        return {(limits.environment_id, limits.name): limits for limits in found}

    async def workers(self, ids: Collection[str]) -> dict[str, WorkerRecord]:
        """Return workers, which are versions, by id."""
        statement = select(*columns(worker, WorkerRecord._fields)).where(worker.c.id == any_(text_array(ids)))
        return {row.id: row for row in await self._ask(statement, WorkerRecord._make)}

    async def deployments_by_worker(self, worker_ids: Collection[str]) -> dict[str, DeploymentRecord]:
        """Return the deployments that made workers, by the worker's id."""
        statement = select(*columns(deployment, DeploymentRecord._fields)).where(
            deployment.c.worker_id == any_(text_array(worker_ids))
        )
        return {str(row.worker_id): row for row in await self._ask(statement, DeploymentRecord._make)}

    async def schedules(self, references: Collection[str]) -> dict[str, ScheduleRecord]:
        """Return schedules, by friendly id (``sched_...``) and by primary key."""
        statement = select(*columns(schedule, ScheduleRecord._fields)).where(is_one_of(references, schedule))
        return _by_reference(await self._ask(statement, ScheduleRecord._make))

    async def bulk_actions(self, references: Collection[str]) -> dict[str, BulkActionRecord]:
        """Return bulk actions, by friendly id (``bulk_...``) and by primary key."""
        statement = select(*_BULK_ACTION).where(is_one_of(references, bulk_action))
        return _by_reference(await self._ask(statement, BulkActionRecord._make))

    async def bulk_actions_by_environment(
        self, feeds: Mapping[str, Feed], window: Window
    ) -> dict[str, Page[BulkActionRecord]]:
        """Return a page of each environment's bulk actions, newest first, by the environment's id."""
        parent = each(feeds)
        statement = select(*_BULK_ACTION).where(bulk_action.c.environment_id == parent.c.id)
        statement = cut(statement, window, bulk_action.c.created_at, bulk_action.c.id)
        found = await self._of_each(parent, statement, BulkActionRecord._make)
        return {id_: merge(feed, window, [found.get(id_, [])], []) for id_, feed in feeds.items()}

    async def task_identifiers(self, environment_ids: Collection[str]) -> dict[str, list[str]]:
        """Return the tasks that environments ever had, by the environment's id, sorted; at most `MOST_TASKS`."""
        parent = each(environment_ids)
        statement = (
            select(task_identifier.c.slug)
            .where(task_identifier.c.environment_id == parent.c.id)
            .order_by(bytewise(task_identifier.c.slug))
            .limit(MOST_TASKS)
        )
        return await self._of_each(parent, statement, lambda row: str(row[0]))

    async def _of_each(
        self, parent: FromClause, statement: Select[Any], make: Callable[[Sequence[Any]], T]
    ) -> dict[str, list[T]]:
        """Return the statement's rows for every parent, by its id; without rows it is absent."""
        return await self.replica.read(
            lambda connection: rows_of_each(connection, parent, statement, make), CONTROL_PLANE
        )

    async def _by_id(
        self,
        memory: Memory[str, R],
        ids: Collection[str],
        statement: Select[Any],
        key: ColumnElement[str],
        make: Callable[[Row[Any]], R],
    ) -> dict[str, R]:
        """Return a statement's rows by id, from memory as far as they are in it."""

        async def ask(misses: Collection[str]) -> dict[str, R]:
            return {row.id: row for row in await self._ask(statement.where(key == any_(text_array(misses))), make)}

        return await memory.get(ids, ask)

    async def _ask(
        self, statement: Select[Any], make: Callable[[Row[Any]], T], source: ReadFrom = ReadFrom.REPLICA
    ) -> list[T]:
        async def query(connection: ReadConnection) -> list[T]:
            return [make(row) for row in await connection.execute(statement)]

        database = self.primary if source is ReadFrom.PRIMARY else self.replica
        return await database.read(query, CONTROL_PLANE)


def _by_reference(records: Collection[F]) -> dict[str, F]:
    """Return records by friendly id and by primary key."""
    return {reference: record for record in records for reference in (record.id, record.friendly_id)}


def _listed(user_id: str) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions on environments that a user lists: none that is archived, or another member's own."""
    own = (environment.c.type != "DEVELOPMENT") | (org_member.c.user_id == user_id)
    return (environment.c.archived_at.is_(None), own)


def digest(credential: str) -> str:
    """Return the hash of a credential: the platform keeps no other trace of personal access tokens."""
    return hashlib.sha256(credential.encode()).hexdigest()
