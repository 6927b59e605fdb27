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

from store.queries import Identified, text_array
from store.records import EnvironmentRecord, OrganizationRecord, ProjectRecord
from store.shard import Database, ReadConnection, ReadFrom
from store.tables import columns, environment, org_member, organization, project, user

CONTROL_PLANE = "control plane"


R = TypeVar("R", bound=Identified)
UNASKED: Any = object()

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
        self, statement: Select[Any], make: Callable[[Row[Any]], R], source: ReadFrom = ReadFrom.REPLICA
    ) -> list[R]:
        async def query(connection: ReadConnection) -> list[R]:
            return [make(row) for row in await connection.execute(statement)]

        database = self.primary if source is ReadFrom.PRIMARY else self.replica
        return await database.read(query, CONTROL_PLANE)
