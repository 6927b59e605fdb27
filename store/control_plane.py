"""The control plane: environments, projects, organizations and users, and what runs name in them.

Many are asked for in one statement. Environments, projects, organizations and users are kept for half a minute
(`store.memory`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, FromClause, Row, Select, and_, any_, func, select

from store.memory import Memory
from store.pages import Feed, Page, Window, merge
from store.queries import (
    Friendly,
    Identified,
    Scope,
    by_reference,
    bytewise,
    cut,
    each,
    is_one_of,
    rows_of_each,
    text_array,
)
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
    bulk_action,
    columns,
    deployment,
    environment,
    org_member,
    organization,
    project,
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


_OWN = EnvironmentRecord._fields[:-3]
ENVIRONMENTS = (
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
USERS = select(*columns(user, UserRecord._fields, chosen_name=user.c.display_name))
_BULK_ACTIONS = select(*columns(bulk_action, BulkActionRecord._fields))


class ControlPlane:
    """Answers what run rows name only by id. Every method raises `ShardError` when the database does not answer."""

    def __init__(
        self,
        primary: Database,
        replica: Database,
        ttl: float = 30.0,
        entries: int = 10_000,
    ) -> None:
        self.primary, self.replica = primary, replica
        self.ttl, self.entries = ttl, entries
        self._environments = Memory[str, EnvironmentRecord](ttl, entries)
        self._names = Memory[Name, list[EnvironmentRecord]](ttl, entries)
        self._projects = Memory[str, ProjectRecord](ttl, entries)
        self._organizations = Memory[str, OrganizationRecord](ttl, entries)
        self._users = Memory[str, UserRecord](ttl, entries)

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

    async def environments(self, ids: Collection[str]) -> dict[str, EnvironmentRecord]:
        """Return environments by id; those of deleted projects are absent, archived ones are not."""
        return await self._by_id(self._environments, ids, ENVIRONMENTS, environment.c.id, EnvironmentRecord._make)

    async def projects(self, ids: Collection[str]) -> dict[str, ProjectRecord]:
        """Return projects by id; deleted ones are absent."""
        return await self._by_id(self._projects, ids, _PROJECTS, project.c.id, ProjectRecord._make)

    async def organizations(self, ids: Collection[str]) -> dict[str, OrganizationRecord]:
        """Return organizations by id; deleted ones are absent."""
        return await self._by_id(self._organizations, ids, _ORGANIZATIONS, organization.c.id, OrganizationRecord._make)

    async def users(self, ids: Collection[str]) -> dict[str, UserRecord]:
        """Return users by id."""
        return await self._by_id(self._users, ids, USERS, user.c.id, UserRecord._make)

    async def organization_named(self, slug: str) -> OrganizationRecord | None:
        """Return the organization of that slug, or None."""
        statement = _ORGANIZATIONS.where(organization.c.slug == slug)
        return await first(self.replica, statement, OrganizationRecord._make)

    async def project_named(self, organization_slug: str, slug: str | None, ref: str | None) -> ProjectRecord | None:
        """Return an organization's project of that slug, or of that ref if no slug is given, or None."""
        named = project.c.external_ref == ref if slug is None else project.c.slug == slug
        statement = _PROJECTS.where(organization.c.slug == organization_slug, named)
        return await first(self.replica, statement, ProjectRecord._make)

    async def environments_named(self, names: Collection[Name]) -> dict[Name, list[EnvironmentRecord]]:
        """Return environments by the slugs of organization, project and environment.

        Several have one name: each member of a project has a development environment of the same slug. Archived ones
        are found too.
        """

        async def read(misses: Collection[Name]) -> dict[Name, list[EnvironmentRecord]]:
            wanted = each(*zip(*misses, strict=True))
            slugs = (organization.c.slug, project.c.slug, environment.c.slug)
            statement = ENVIRONMENTS.add_columns(*(slug.label(None) for slug in slugs)).join(
                wanted, and_(*(slug == given for slug, given in zip(slugs, wanted.c, strict=True)))
            )
            found: dict[Name, list[EnvironmentRecord]] = {}
            for *row, one, two, three in await ask(self.replica, statement, tuple):
                found.setdefault((one, two, three), []).append(EnvironmentRecord._make(row))
            return found

        return await self._names.get(names, read)

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
            ENVIRONMENTS.where(environment.c.project_id == parent.c.id, *_listed(user_id))
            .order_by(branch, environment.c.created_at, environment.c.id)
            .limit(MOST_LISTED)
        )
        return await self._of_each(parent, statement, EnvironmentRecord._make)

    async def branches(self, environment_ids: Collection[str], user_id: str) -> dict[str, list[EnvironmentRecord]]:
        """Return the branches of environments that are not archived, by the root's id, newest first."""
        parent = each(environment_ids)
        statement = (
            ENVIRONMENTS.where(environment.c.parent_environment_id == parent.c.id, *_listed(user_id))
            .order_by(environment.c.created_at.desc(), environment.c.id)
            .limit(MOST_LISTED)
        )
        return await self._of_each(parent, statement, EnvironmentRecord._make)

    async def queue_limits(self, addresses: Collection[tuple[str, str]]) -> dict[tuple[str, str], QueueLimits]:
        """Return what is known of queues, by environment and name; never from memory: people pause them."""
        address = each(*zip(*addresses, strict=True))
        c = task_queue.c
        statement = select(*columns(task_queue, QueueLimits._fields)).join(
            address, (c.environment_id == address.c.id) & (c.name == address.c.more_1)
        )
        found = await ask(self.replica, statement, QueueLimits._make)
        return {(limits.environment_id, limits.name): limits for limits in found}

    async def workers(self, ids: Collection[str]) -> dict[str, WorkerRecord]:
        """Return workers, which are versions, by id."""
        statement = select(*columns(worker, WorkerRecord._fields)).where(worker.c.id == any_(text_array(ids)))
        return {row.id: row for row in await ask(self.replica, statement, WorkerRecord._make)}

    async def worker_named(self, environment_id: str, version: str) -> WorkerRecord | None:
        """Return the version of an environment that has that name, or None; from the primary."""
        c = worker.c
        statement = select(*columns(worker, WorkerRecord._fields)).where(
            c.environment_id == environment_id, c.version == version
        )
        return await first(self.primary, statement, WorkerRecord._make)

    async def deployments_by_worker(self, worker_ids: Collection[str]) -> dict[str, DeploymentRecord]:
        """Return the deployments that made workers, by the worker's id."""
        statement = select(*columns(deployment, DeploymentRecord._fields)).where(
            deployment.c.worker_id == any_(text_array(worker_ids))
        )
        return {str(row.worker_id): row for row in await ask(self.replica, statement, DeploymentRecord._make)}

    async def schedules(self, references: Collection[str]) -> dict[str, ScheduleRecord]:
        """Return schedules, by friendly id (``sched_...``) and by primary key."""
        statement = select(*columns(schedule, ScheduleRecord._fields)).where(is_one_of(references, schedule))
        return _by_reference(await ask(self.replica, statement, ScheduleRecord._make))

    async def bulk_actions(
        self, scope: Scope, references: Collection[str], source: ReadFrom
    ) -> dict[str, BulkActionRecord]:
        """Return bulk actions, by friendly id (``bulk_...``) and by primary key."""
        return await self._database(source).read(
            lambda connection: bulk_actions_by_reference(connection, scope, references), CONTROL_PLANE
        )

    async def bulk_actions_by_environment(
        self, feeds: Mapping[str, Feed], window: Window, source: ReadFrom
    ) -> dict[str, Page[BulkActionRecord]]:
        """Return a page of each environment's bulk actions, newest first, by the environment's id."""
        parent = each(feeds)
        statement = _BULK_ACTIONS.where(bulk_action.c.environment_id == parent.c.id)
        statement = cut(statement, window, bulk_action.c.created_at, bulk_action.c.id)
        found = await self._of_each(parent, statement, BulkActionRecord._make, source)
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
        self,
        parent: FromClause,
        statement: Select[Any],
        make: Callable[[Sequence[Any]], T],
        source: ReadFrom = ReadFrom.REPLICA,
    ) -> dict[str, list[T]]:
        """Return the statement's rows for every parent, by its id; without rows it is absent."""
        return await self._database(source).read(
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

        async def read(misses: Collection[str]) -> dict[str, R]:
            found = await ask(self.replica, statement.where(key == any_(text_array(misses))), make)
            return {row.id: row for row in found}

        return await memory.get(ids, read)

    def _database(self, source: ReadFrom) -> Database:
        return self.primary if source is ReadFrom.PRIMARY else self.replica


async def bulk_actions_by_reference(
    connection: ReadConnection, scope: Scope, references: Collection[str]
) -> dict[str, BulkActionRecord]:
    """Return bulk actions, keyed by friendly id (``bulk_...``) and by primary key."""
    return await by_reference(connection, _BULK_ACTIONS, bulk_action, BulkActionRecord._make, references, scope)


async def ask(database: Database, statement: Select[Any], make: Callable[[Row[Any]], T]) -> list[T]:
    """Return the rows that there are in the control plane, each made into something."""

    async def query(connection: ReadConnection) -> list[T]:
        return [make(row) for row in await connection.execute(statement)]

    return await database.read(query, CONTROL_PLANE)


async def first(database: Database, statement: Select[Any], make: Callable[[Row[Any]], T]) -> T | None:
    """Return the first row that there is in the control plane, made into something, or None."""
    found = await ask(database, statement, make)
    return found[0] if found else None


def _by_reference(records: Collection[F]) -> dict[str, F]:
    """Return records by friendly id and by primary key."""
    return {reference: record for record in records for reference in (record.id, record.friendly_id)}


def _listed(user_id: str) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions on environments that a user lists: none that is archived, or another member's own."""
    own = (environment.c.type != "DEVELOPMENT") | (org_member.c.user_id == user_id)
    return (environment.c.archived_at.is_(None), own)
