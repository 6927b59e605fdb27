"""What decides who somebody is: the keys of environments, and the tokens and sessions of members.

Always from the control plane's primary, and nothing is remembered here.
"""

import hashlib
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, any_, func, or_, select, text

from store.control_plane import ENVIRONMENTS, USERS, ask, first
from store.queries import text_array
from store.records import EnvironmentRecord, UserRecord
from store.shard import Database
from store.tables import (
    access_token,
    additional_key,
    environment,
    org_member,
    organization,
    project,
    revoked_key,
    user,
)


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


class Credentials:
    """Answers whose a credential is. Every method raises `ShardError` when the database does not answer."""

    def __init__(self, primary: Database, *, has_additional_keys: bool = False) -> None:
        self._primary = primary
        self._has_additional_keys = has_additional_keys
        """Whether the platform's release has keys with scopes: a table that came later than the others."""

    async def environment_by_api_key(self, api_key: str) -> EnvironmentRecord | None:
        """Return the environment whose secret key this is, or was until a rotation whose grace is not over.

        None if there is none: unknown, archived, or of a deleted project.
        """
        rotated = select(revoked_key.c.environment_id).where(
            revoked_key.c.api_key == api_key, revoked_key.c.expires_at > _NOW
        )
        current = environment.c.api_key == api_key
        statement = (
            ENVIRONMENTS.where(or_(current, environment.c.id.in_(rotated)), environment.c.archived_at.is_(None))
            .order_by(current.desc(), environment.c.id)
            .limit(1)
        )
        return await first(self._primary, statement, EnvironmentRecord._make)

    async def environment_by_additional_key(self, api_key: str) -> tuple[EnvironmentRecord, list[str]] | None:
        """Return the environment that an additional key belongs to, and its scopes, or None."""
        if not self._has_additional_keys:
            return None
        key = additional_key.c
        statement = (
            ENVIRONMENTS.add_columns(key.scopes)
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

        return await first(self._primary, statement, make)

    async def branch_named(self, root_id: str, branch: str) -> EnvironmentRecord | None:
        """Return the branch of an environment by its name, or None: unknown, or archived."""
        c = environment.c
        statement = ENVIRONMENTS.where(
            c.parent_environment_id == root_id, c.branch_name == branch, c.archived_at.is_(None)
        )
        return await first(self._primary, statement, EnvironmentRecord._make)

    async def signers(self, environment_id: str) -> tuple[EnvironmentRecord, list[str]] | None:
        """Return an environment and the keys that may have signed for it, or None.

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
            ENVIRONMENTS.add_columns(func.coalesce(root.c.api_key, environment.c.api_key), rotated)
            .outerjoin(root, root.c.id == environment.c.parent_environment_id)
            .where(environment.c.id == environment_id, environment.c.archived_at.is_(None))
        )

        def make(row: Sequence[Any]) -> tuple[EnvironmentRecord, list[str]]:
            *columns, current, past = row
            return EnvironmentRecord._make(columns), [current, *(past or ())]

        return await first(self._primary, statement, make)

    async def signing_keys(self, environment_ids: Collection[str]) -> dict[str, str]:
        """Return the keys that sign for environments: the root's for a branch. A secret: never shown, never kept."""
        root = environment.alias()
        statement = (
            select(environment.c.id, func.coalesce(root.c.api_key, environment.c.api_key).label("key"))
            .select_from(environment.outerjoin(root, root.c.id == environment.c.parent_environment_id))
            .where(environment.c.id == any_(text_array(environment_ids)))
        )
        return dict(await ask(self._primary, statement, lambda row: (str(row.id), str(row.key))))

    async def membership_by_token(self, token: str) -> Membership | None:
        """Return whose personal access token this is, and what that user is a member of; None: unknown, or revoked."""
        statement = USERS.join(access_token, access_token.c.user_id == user.c.id).where(
            access_token.c.hashed_token == digest(token), access_token.c.revoked_at.is_(None)
        )
        return await self._membership(statement)

    async def membership_of(self, user_id: str) -> Membership | None:
        """Return a user, and what they are a member of; None: unknown, or their sessions have ended."""
        running = or_(user.c.next_session_end.is_(None), user.c.next_session_end > _NOW)
        return await self._membership(USERS.where(user.c.id == user_id, running))

    async def _membership(self, statement: Select[Any]) -> Membership | None:
        found = await first(self._primary, statement, UserRecord._make)
        return None if found is None else Membership(found, await self._places_of(found.id))

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
        return await ask(self._primary, statement, Place._make)


def digest(credential: str) -> str:
    """Return the hash of a credential: the platform keeps no other trace of personal access tokens."""
    return hashlib.sha256(credential.encode()).hexdigest()
