"""The control plane: environments, projects and organizations, by id and by credential.

Many are asked for in one statement, and answers are kept for half a minute: "there is none" too, which is something
else than "not asked yet". The platform caches the same way (``controlPlaneResolver.server.ts``).
"""

import asyncio
import hashlib
from collections.abc import Callable, Collection, MutableMapping
from typing import Any, TypeVar

from cachetools import TTLCache
from sqlalchemy import ColumnElement, Row, Select, any_, func, select

from store.pages import Feed, Page, Window, merge
from store.queries import Identified, bytewise, cut, is_one_of, text_array
from store.records import (
    BulkActionRecord,
    DeploymentRecord,
    EnvironmentRecord,
    OrganizationRecord,
    ProjectRecord,
    QueueLimits,
    ScheduleRecord,
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
T = TypeVar("T")
UNASKED: Any = object()
MOST_TASKS = 1_000

_OWN = EnvironmentRecord._fields[:-2]
_ENVIRONMENTS = (
    select(
        *columns(environment, _OWN),
        org_member.c.id.label("member_id"),
        func.coalesce(user.c.display_name, user.c.name).label("member_name"),
    )
    .select_from(environment)
    .join(project, project.c.id == environment.c.project_id)
    .join(organization, organization.c.id == environment.c.organization_id)
    .outerjoin(org_member, org_member.c.id == environment.c.org_member_id)
    .outerjoin(user, user.c.id == org_member.c.user_id)
    .where(project.c.deleted_at.is_(None), organization.c.deleted_at.is_(None))
)
_PROJECTS = select(*columns(project, ProjectRecord._fields)).where(project.c.deleted_at.is_(None))
_BULK_ACTION = columns(bulk_action, BulkActionRecord._fields)
_ORGANIZATIONS = select(*columns(organization, OrganizationRecord._fields)).where(organization.c.deleted_at.is_(None))


class ControlPlane:
    """Answers what run rows name only by id. Every method raises `ShardError` when the database does not answer."""

    def __init__(self, primary: Database, replica: Database, ttl: float = 30.0, entries: int = 10_000) -> None:
        self.primary, self.replica = primary, replica
        self._by_key: MutableMapping[str, EnvironmentRecord] = TTLCache(entries, ttl)
        self._asking: dict[str, asyncio.Future[EnvironmentRecord | None]] = {}
        self._projects: MutableMapping[str, ProjectRecord | None] = TTLCache(entries, ttl)
        self._organizations: MutableMapping[str, OrganizationRecord | None] = TTLCache(entries, ttl)

    async def environment_by_api_key(self, api_key: str) -> EnvironmentRecord | None:
        """Return the environment whose secret key this is, or None: unknown, archived, or of a deleted project.

        Read from the primary, once for all who ask at the same time. A known key is remembered by its hash; an unknown
        one is not, it may exist any moment.
        """
        digest = hashlib.sha256(api_key.encode()).hexdigest()
        known = self._by_key.get(digest)
        if known is not None:
            return known
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.ensure_future(self._environment_by_api_key(api_key, digest))
            asking.add_done_callback(lambda done: self._asked(digest, done))
        return await asyncio.shield(asking)

    async def _environment_by_api_key(self, api_key: str, digest: str) -> EnvironmentRecord | None:
        statement = _ENVIRONMENTS.where(environment.c.api_key == api_key, environment.c.archived_at.is_(None))
        found = await self._ask(statement, EnvironmentRecord._make, ReadFrom.PRIMARY)
        for record in found:
            self._by_key[digest] = record
        return found[0] if found else None

    def _asked(self, digest: str, done: "asyncio.Future[EnvironmentRecord | None]") -> None:
        del self._asking[digest]
        if not done.cancelled():
            done.exception()

    async def projects(self, ids: Collection[str]) -> dict[str, ProjectRecord]:
        """Return projects by id; deleted ones are absent."""
        return await self._grouped(self._projects, ids, _PROJECTS, project.c.id, ProjectRecord._make)

    async def organizations(self, ids: Collection[str]) -> dict[str, OrganizationRecord]:
        """Return organizations by id; deleted ones are absent."""
        return await self._grouped(
            self._organizations, ids, _ORGANIZATIONS, organization.c.id, OrganizationRecord._make
        )

    async def queue_limits(self, environment_id: str, names: Collection[str]) -> dict[str, QueueLimits]:
        """Return what is known of an environment's queues, by name; never from memory: people pause them."""
        c = task_queue.c
        statement = select(c.name, c.concurrency_limit, c.paused).where(
            c.environment_id == environment_id, c.name == any_(text_array(names))
        )
        return dict(await self._ask(statement, lambda row: (row.name, QueueLimits(row.concurrency_limit, row.paused))))

    async def workers(self, environment_id: str, ids: Collection[str]) -> dict[str, WorkerRecord]:
        """Return an environment's workers, which are its versions, by id."""
        statement = select(*columns(worker, WorkerRecord._fields)).where(
            worker.c.environment_id == environment_id, worker.c.id == any_(text_array(ids))
        )
        return _by_id(await self._ask(statement, WorkerRecord._make))

    async def deployments_by_worker(
        self, environment_id: str, worker_ids: Collection[str]
    ) -> dict[str, DeploymentRecord]:
        """Return the deployments that made an environment's workers, by the worker's id."""
        c = deployment.c
        statement = select(*columns(deployment, DeploymentRecord._fields)).where(
            c.environment_id == environment_id, c.worker_id == any_(text_array(worker_ids))
        )
        return {str(row.worker_id): row for row in await self._ask(statement, DeploymentRecord._make)}

    async def schedules(self, project_id: str, ids: Collection[str]) -> dict[str, ScheduleRecord]:
        """Return a project's schedules, by id."""
        statement = select(*columns(schedule, ScheduleRecord._fields)).where(
            schedule.c.project_id == project_id, schedule.c.id == any_(text_array(ids))
        )
        return _by_id(await self._ask(statement, ScheduleRecord._make))

    async def schedules_by_friendly_id(
        self, project_id: str, friendly_ids: Collection[str]
    ) -> dict[str, ScheduleRecord]:
        """Return a project's schedules, by friendly id."""
        statement = select(*columns(schedule, ScheduleRecord._fields)).where(
            schedule.c.project_id == project_id, schedule.c.friendly_id == any_(text_array(friendly_ids))
        )
        return {row.friendly_id: row for row in await self._ask(statement, ScheduleRecord._make)}

    async def bulk_actions(self, environment_id: str, references: Collection[str]) -> dict[str, BulkActionRecord]:
        """Return an environment's bulk actions, by friendly id and by primary key."""
        statement = select(*_BULK_ACTION).where(
            bulk_action.c.environment_id == environment_id, is_one_of(references, bulk_action)
        )
        found = await self._ask(statement, BulkActionRecord._make)
        return {reference: record for record in found for reference in (record.id, record.friendly_id)}

    async def bulk_action_page(self, environment_id: str, feed: Feed, window: Window) -> Page[BulkActionRecord]:
        """Return a page of an environment's bulk actions, newest first."""
        statement = select(*_BULK_ACTION).where(bulk_action.c.environment_id == environment_id)
        statement = cut(statement, window, bulk_action.c.created_at, bulk_action.c.id)
        return merge(feed, window, [await self._ask(statement, BulkActionRecord._make)], [])

    async def task_identifiers(self, environment_id: str) -> list[str]:
        """Return the tasks that an environment ever had, sorted, at most `MOST_TASKS`."""
        statement = (
            select(task_identifier.c.slug)
            .where(task_identifier.c.environment_id == environment_id)
            .order_by(bytewise(task_identifier.c.slug))
            .limit(MOST_TASKS)
        )
        return await self._ask(statement, lambda row: str(row.slug))

    async def _grouped(
        self,
        slot: MutableMapping[str, R | None],
        ids: Collection[str],
        statement: Select[Any],
        key: ColumnElement[str],
        make: Callable[[Row[Any]], R],
    ) -> dict[str, R]:
        answers: dict[str, R | None] = {id_: hit for id_ in ids if (hit := slot.get(id_, UNASKED)) is not UNASKED}
        if misses := [id_ for id_ in ids if id_ not in answers]:
            found = {row.id: row for row in await self._ask(statement.where(key == any_(text_array(misses))), make)}
            for id_ in misses:
                slot[id_] = answers[id_] = found.get(id_)
        return {id_: answer for id_, answer in answers.items() if answer is not None}

    async def _ask(
        self, statement: Select[Any], make: Callable[[Row[Any]], T], source: ReadFrom = ReadFrom.REPLICA
    ) -> list[T]:
        async def query(connection: ReadConnection) -> list[T]:
            return [make(row) for row in await connection.execute(statement)]

        database = self.primary if source is ReadFrom.PRIMARY else self.replica
        return await database.read(query, CONTROL_PLANE)


def _by_id(records: list[R]) -> dict[str, R]:
    return {record.id: record for record in records}
