"""A federation for one test: real databases, an environment of its own, and a client of the real application.

Tests share databases and are kept apart as tenants are, by their environment; so nothing is ever cleaned up.
"""

import hashlib
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import httpx
import jwt
from sqlalchemy import event

from resolvers.auth import AUDIENCE, ISSUER
from schema.app import create_app
from store import ids
from store.control_plane import CONTROL_PLANE
from store.federation import Federation
from store.residency import LEGACY, NEW, ShardKey
from store.shard import ROLE, Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    import asyncpg

START = datetime(2026, 8, 21)  # noqa: DTZ001  the columns hold naive UTC
SHARD_A = ShardKey("a")
SESSION_SECRET = "the dashboard's"


def mint(shard: ShardKey) -> str:
    """Return a new body that names a shard."""
    if shard == LEGACY:
        return ids.mint_cuid()
    return ids.mint_v1() if shard == NEW else ids.mint_v2(shard)


@dataclass
class Tenant:
    """An organization with one project and one environment, planted in the control plane."""

    environment_id: str
    project_id: str
    organization_id: str
    api_key: str
    slugs: tuple[str, str, str]


@dataclass
class FederationUnderTest:
    """What a test plants rows in and asks questions of."""

    federation: Federation
    connections: dict[str, "asyncpg.Connection[Any]"]
    """Where rows are planted, by shard, and in the control plane."""
    tenant: Tenant
    shards: tuple[ShardKey, ...]
    statements: list[tuple[str, str]] = field(default_factory=list)
    """(role, SQL) of everything that was executed since `listening` began."""
    planted: int = 0
    """How many rows with times of their own were planted: the last one is so many seconds past `START`."""

    @cached_property
    def app(self) -> Any:
        """The application."""
        return create_app(self.federation, session_secret=SESSION_SECRET)

    @property
    def queries(self) -> Counter[str]:
        """How many statements each role executed since `listening` began."""
        return Counter(role for role, _ in self.statements)

    async def reconnect(self, shard: str) -> None:
        """Connect anew to where rows are planted: this driver remembers the labels of an enum."""
        await self.connections[shard].reload_schema_state()

    def client(self) -> httpx.AsyncClient:
        """Return a client of the application, without a network between."""
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://runatlas")

    async def answer(
        self, query: str, *, key: str | None = None, headers: dict[str, str] | None = None, **variables: Any
    ) -> dict[str, Any]:
        """Return the whole response to an operation, with the statements that it took in `statements`."""
        headers = {"Authorization": f"Bearer {key or self.tenant.api_key}"} | (headers or {})
        with self.listening():
            async with self.client() as client:
                response = await client.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
        body: dict[str, Any] = response.json()
        return body

    async def ask(self, query: str, **variables: Any) -> Any:
        """Return the data of an operation that must not err."""
        body = await self.answer(query, **variables)
        assert "errors" not in body, body["errors"]
        return body["data"]

    @contextmanager
    def listening(self) -> "Iterator[None]":
        """Record every statement of the federation, by the role that it was executed for."""
        self.statements.clear()
        databases: list[Database] = [self.federation.control_plane.primary, self.federation.control_plane.replica]
        if self.federation.writing is not None:
            databases.append(self.federation.writing.authority.database)
        for shard in self.federation.router.shards.values():
            databases += [shard.primary, shard.replica]
        engines = {id(database.engine): database.engine.sync_engine for database in databases}.values()

        def record(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: Any) -> None:
            self.statements.append((context.execution_options.get(ROLE, "?"), statement))

        for engine in engines:
            event.listen(engine, "before_cursor_execute", record)
        try:
            yield
        finally:
            for engine in engines:
                event.remove(engine, "before_cursor_execute", record)

    async def run(self, shard: ShardKey, id_: str | None = None, **columns: Any) -> str:
        """Plant a run on a shard, and return its primary key. Each is a second younger than the one before."""
        id_ = id_ or mint(shard)
        await self.insert(
            shard,
            "TaskRun",
            {
                "id": id_,
                "friendlyId": f"run_{id_}",
                "engine": "V2",
                "taskIdentifier": "hello",
                "payload": "{}",
                "traceId": ids.mint_cuid(),
                "spanId": ids.mint_cuid(),
                "runtimeEnvironmentId": self.tenant.environment_id,
                "projectId": self.tenant.project_id,
                "queue": "task/hello",
                **self.times(),
                **columns,
            },
        )
        return id_

    async def batch(self, shard: ShardKey, id_: str | None = None, **columns: Any) -> str:
        """Plant a batch on a shard, and return its primary key."""
        id_ = id_ or mint(shard)
        await self.insert(
            shard,
            "BatchTaskRun",
            {
                "id": id_,
                "friendlyId": f"batch_{id_}",
                "runtimeEnvironmentId": self.tenant.environment_id,
                **self.times(),
                **columns,
            },
        )
        return id_

    async def waitpoint(self, shard: ShardKey, **columns: Any) -> str:
        """Plant a waitpoint on a shard, and return its primary key: a cuid, wherever it is."""
        id_ = ids.mint_cuid()
        await self.insert(
            shard,
            "Waitpoint",
            {
                "id": id_,
                "friendlyId": f"waitpoint_{id_}",
                "type": "MANUAL",
                "idempotencyKey": id_,
                "userProvidedIdempotencyKey": False,
                "projectId": self.tenant.project_id,
                "environmentId": self.tenant.environment_id,
                **self.times(),
                **columns,
            },
        )
        return id_

    async def connect(self, shard: ShardKey, run: str, waitpoint: str) -> None:
        """Plant a connection: the run, on this shard, once waited for the waitpoint."""
        if shard == LEGACY:
            await self.insert(shard, "_WaitpointRunConnections", {"A": run, "B": waitpoint})
        else:
            row = {"id": ids.mint_cuid(), "taskRunId": run, "waitpointId": waitpoint}
            await self.insert(shard, "WaitpointRunConnection", row)

    async def block(self, shard: ShardKey, run: str, waitpoint: str, batch_index: int | None = None) -> None:
        """Plant an edge: the run, on this shard, waits for the waitpoint."""
        row = {"id": ids.mint_cuid(), "taskRunId": run, "waitpointId": waitpoint, "batchIndex": batch_index}
        await self.insert(shard, "TaskRunWaitpoint", {**row, "projectId": self.tenant.project_id, **self.times()})

    async def member(self, **columns: Any) -> tuple[str, str]:
        """Plant a user who is in the tenant's organization, and return their primary key and an access token."""
        user, times = ids.mint_cuid(), {"createdAt": START, "updatedAt": START}
        token = f"tr_pat_{ids.mint_cuid()}{ids.mint_cuid()}"[:47]
        names = {"name": "Ada", "displayName": "Ada L.", **columns}
        row = {"id": user, "email": f"{user}@acme.test", "authenticationMethod": "MAGIC_LINK", **names, **times}
        await self.insert(CONTROL_PLANE, "User", row)
        membership = {"id": ids.mint_cuid(), "organizationId": self.tenant.organization_id, "userId": user}
        await self.insert(CONTROL_PLANE, "OrgMember", {**membership, **times})
        await self.insert(
            CONTROL_PLANE,
            "PersonalAccessToken",
            {
                "id": ids.mint_cuid(),
                "name": "laptop",
                "userId": user,
                "obfuscatedToken": "tr_pat_...",
                "encryptedToken": "{}",
                "hashedToken": hashlib.sha256(token.encode()).hexdigest(),
                **times,
            },
        )
        return user, token

    async def additional_key(self, **columns: Any) -> str:
        """Plant a key with scopes, where the platform has those, and return it."""
        key = f"tr_prod_sk_{ids.mint_cuid()[1:]}"
        hashed = hashlib.sha256(key.encode()).hexdigest()
        row = {"id": ids.mint_cuid(), "keyHash": hashed, "runtimeEnvironmentId": self.tenant.environment_id}
        await self.insert(CONTROL_PLANE, "ApiKey", {**row, **columns})
        return key

    async def environment(self, **columns: Any) -> str:
        """Plant another environment of the tenant's project, and return its primary key."""
        id_ = ids.mint_cuid()
        row = environment_row(id_, self.tenant.project_id, self.tenant.organization_id)
        await self.insert(CONTROL_PLANE, "RuntimeEnvironment", {**row, **columns})
        return id_

    async def insert(self, shard: str, table: str, row: dict[str, Any]) -> None:
        """Insert one row."""
        await insert(self.connections[shard], table, row)

    def times(self) -> dict[str, datetime]:
        """Return the times of a new row, a second after those of the last one."""
        self.planted += 1
        moment = START + timedelta(seconds=self.planted)
        return {"createdAt": moment, "updatedAt": moment}


async def insert(connection: "asyncpg.Connection[Any]", table: str, row: dict[str, Any]) -> None:
    """Insert one row into a table of the platform."""
    columns = ", ".join(f'"{name}"' for name in row)
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await connection.execute(f'INSERT INTO "{table}" ({columns}) VALUES ({places})', *row.values())  # noqa: S608


async def plant_tenant(connection: "asyncpg.Connection[Any]", **environment: Any) -> Tenant:
    """Plant an organization with a project and an environment of its own."""
    organization_id, project_id, environment_id = (ids.mint_cuid() for _ in range(3))
    times = {"createdAt": START, "updatedAt": START}
    await insert(
        connection,
        "Organization",
        {"id": organization_id, "slug": f"org-{organization_id}", "title": "Acme", **times},
    )
    await insert(
        connection,
        "Project",
        {
            "id": project_id,
            "slug": f"project-{project_id}",
            "name": "Rockets",
            "externalRef": f"proj_{project_id}",
            "organizationId": organization_id,
            **times,
        },
    )
    row = {**environment_row(environment_id, project_id, organization_id), "slug": "prod", **environment}
    await insert(connection, "RuntimeEnvironment", row)
    slugs = (f"org-{organization_id}", f"project-{project_id}", "prod")
    return Tenant(environment_id, project_id, organization_id, row["apiKey"], slugs)


def environment_row(id_: str, project_id: str, organization_id: str) -> dict[str, Any]:
    """Return the row of a production environment whose slug and secret key are made of its id."""
    return {
        "id": id_,
        "slug": id_,
        "apiKey": f"tr_prod_{id_[1:]}",
        "pkApiKey": f"pk_prod_{id_[1:]}",
        "type": "PRODUCTION",
        "shortcode": id_,
        "projectId": project_id,
        "organizationId": organization_id,
        "createdAt": START,
        "updatedAt": START,
    }


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def public_token(tenant: Tenant, *scopes: str, key: str | None = None, **claims: Any) -> str:
    """Return a token as the platform's SDK signs it."""
    now = int(time.time())
    given = {
        "sub": tenant.environment_id,
        "pub": True,
        "scopes": list(scopes),
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 600,
        **claims,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        return jwt.encode({name: value for name, value in given.items() if value is not None}, key or tenant.api_key)


def friendly(prefix: str, bodies: Sequence[str]) -> list[str]:
    """Return friendly ids."""
    return [f"{prefix}_{body}" for body in bodies]
