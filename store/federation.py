"""A topology, opened: pools of connections, checked before anything is served.

Whether two names are one database is decided by asking the databases, never by comparing URLs. Two roles that are one
database share one pool; two shards that are one database are refused.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, NamedTuple, Self, TypeAlias, TypeVar

import asyncpg
from sqlalchemy import Table, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from store.control_plane import CONTROL_PLANE, ControlPlane
from store.credentials import Credentials
from store.errors import ConfigurationError
from store.live import Live
from store.live.wakeups import Listener
from store.live.watcher import Watcher
from store.metrics import Metrics
from store.migrations import made_by_us
from store.residency import LEGACY
from store.router import Router
from store.settings import MintSettings
from store.shard import CONNECT_SECONDS, Database, Shard
from store.tables import CONTROL_PLANE as CONTROL_PLANE_TABLES
from store.tables import additional_key
from store.topology import Access, Topology
from store.urls import DatabaseUrl
from store.writing import LOCKS, Writing

T = TypeVar("T")
WATCHING = 2
"""Connections to each database that are kept for watching it."""

Writes: TypeAlias = Literal["postgres", "off"]
"""What mutations do: write to the databases, or refuse."""


class Identity(NamedTuple):
    """What a database says of itself; a standby has its primary's cluster and name, and is recovering."""

    cluster: int
    database: str
    standby: bool


@dataclass(frozen=True, slots=True)
class Federation:
    """Everything that resolvers ask: the shards through their router, the control plane, and whose credentials are."""

    router: Router
    control_plane: ControlPlane
    credentials: Credentials
    live: Live
    """What tells of changes."""
    writing: Writing | None = None
    """What writes; None where these databases have another master."""
    metrics: Metrics = field(default_factory=Metrics)
    """What this process counts of its own work."""


@asynccontextmanager
async def open_federation(  # noqa: PLR0913  what a deployment may say
    topology: Topology,
    *,
    deadline: float = 5.0,
    cache_ttl: float = 30.0,
    cache_entries: int = 10_000,
    expect_split: bool = False,
    writes: Writes | None = None,
    mint: MintSettings | None = None,
) -> AsyncIterator[Federation]:
    """Open every database of a topology, check them, and close them at the end.

    Without a word on `writes`, databases are written to if runatlas made all of them: others have another master.
    Raises `ConfigurationError` when one cannot be reached, lacks a table, or is another one under a second name.
    """
    async with _Pools(deadline) as pools:
        control_plane, *shards = await settled(
            pools.pair(topology.control_plane, CONTROL_PLANE_TABLES),
            *(pools.pair(shard.access, shard.catalog.tables) for shard in topology.shards),
        )
        _refuse_two_names(
            control_plane,
            {spec.key: pair for spec, pair in zip(topology.shards, shards, strict=True)},
            expect_split=expect_split,
        )
        router = Router(
            [
                Shard(spec.key, spec.catalog, pair.primary, pair.replica)
                for spec, pair in zip(topology.shards, shards, strict=True)
            ],
            topology.ksuid,
        )
        places = ControlPlane(control_plane.primary, control_plane.replica, cache_ttl, cache_entries)
        writing, metrics = None, Metrics()
        if writes == "postgres" or (writes is None and await _are_ours([control_plane, *shards])):
            locks = await pools.locks(topology.control_plane.primary)
            writing = Writing.over(router, places, locks, mint or MintSettings(), metrics)
        credentials = Credentials(
            control_plane.primary, has_additional_keys=await _has(control_plane.primary, additional_key)
        )
        live = _live(pools, topology, router, control_plane.primary, metrics)
        try:
            yield Federation(router, places, credentials, live, writing, metrics)
        finally:
            await live.close()


def _live(pools: "_Pools", topology: Topology, router: Router, control_plane: Database, metrics: Metrics) -> Live:
    """Return what watches every database, over connections of its own: no request has to wait for it, or it for them.

    Whatever this process writes is looked at soon after.
    """
    urls: dict[str, DatabaseUrl] = {spec.key: spec.access.primary for spec in topology.shards}
    urls[CONTROL_PLANE] = topology.control_plane.primary
    primaries: dict[str, Database] = {key: shard.primary for key, shard in router.shards.items()}
    primaries[CONTROL_PLANE] = control_plane
    watchers = {
        role: Watcher(role, rank, pools.spare(urls[role]), metrics)
        for rank, role in enumerate((CONTROL_PLANE, *router.residency.precedence))
    }
    listeners = {role: Listener(urls[role], watcher.database, role, watcher.wake) for role, watcher in watchers.items()}
    live = Live(watchers, listeners, router.residency, metrics)
    for role, primary in primaries.items():
        primary.written.append(partial(live.wrote, role))
    return live


async def _are_ours(pairs: Iterable["_Pair"]) -> bool:
    """Tell whether runatlas made all databases, and so is their only master."""
    for pair in pairs:
        async with pair.primary.engine.connect() as connection:
            if not await made_by_us(connection):
                return False
    return True


async def settled(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Run all work at once and to its end; then raise the first error, or return all results in order."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def _has(database: Database, table: Table) -> bool:
    """Tell whether a database has a table, with all columns that are read of it."""
    async with database.engine.connect() as connection:
        columns = (await connection.execute(_COLUMNS, {"tables": [table.name]})).all()
    return {column.name for column in table.columns} <= {name for _, name, readable in columns if readable}


@dataclass(frozen=True, slots=True)
class _Pair:
    """A database that was opened, and what it says it is."""

    primary: Database
    replica: Database
    identity: Identity
    setting: str


class _Pools:
    """Opens databases; the same one of the same server is opened once, whatever roles it has."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._engines = AsyncExitStack()
        self._databases: dict[tuple[Identity, str | None, object], Database] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._engines.aclose()

    async def pair(self, access: Access, tables: Collection[Table]) -> _Pair:
        """Open a database and its replica. Raises `ConfigurationError`."""
        identity, primary = await self._open(access.primary, tables)
        replica = primary
        if access.replica is not None:
            copy, replica = await self._open(access.replica, tables)
            if copy[:2] != identity[:2]:
                raise ConfigurationError(
                    f"{access.replica.setting} is not a replica of {access.primary.setting}",
                    f"one is database {copy.database!r} of cluster {copy.cluster}, "
                    f"the other {identity.database!r} of {identity.cluster}",
                )
        return _Pair(primary, replica, identity, access.primary.setting)

    async def locks(self, url: DatabaseUrl) -> Database:
        """Open a database once more, with few connections that are held for long."""
        engine = await self._engines.enter_async_context(usable(replace(url, pool_size=LOCKS)))
        return Database(engine, self._deadline, through_pooler=url.through_pooler)

    def spare(self, url: DatabaseUrl) -> Database:
        """Return a database that was opened once more, for what must not wait for others. Connects when it is asked."""
        engine = create_engine(replace(url, pool_size=WATCHING))
        self._engines.push_async_callback(engine.dispose)
        return Database(engine, self._deadline, through_pooler=url.through_pooler)

    async def _open(self, url: DatabaseUrl, tables: Collection[Table]) -> tuple[Identity, Database]:
        engine = await self._engines.enter_async_context(usable(url))
        with explained(_unusable(url)):
            async with asyncio.timeout(CONNECT_SECONDS), engine.connect() as connection:
                row = (await connection.execute(_IDENTITY)).one()
                columns = (await connection.execute(_COLUMNS, {"tables": [table.name for table in tables]})).all()
        _refuse_missing(url, tables, {(table, column) for table, column, _ in columns})
        _refuse_unreadable(url, tables, {table for table, _, readable in columns if readable})
        identity = Identity(row.cluster, row.database, row.standby)
        # A standby is told from another by its start; an address would not do, as a socket has none.
        key = identity, url.search_path, row.started
        return identity, self._databases.setdefault(
            key, Database(engine, self._deadline, through_pooler=url.through_pooler)
        )


@asynccontextmanager
async def usable(url: DatabaseUrl) -> AsyncIterator[AsyncEngine]:
    """Lend a pool of connections to a database that answers, or raise `ConfigurationError`."""
    engine = create_engine(url)
    try:
        with explained(_unusable(url)):
            async with asyncio.timeout(CONNECT_SECONDS), engine.connect():
                pass
        yield engine
    finally:
        await engine.dispose()


CHECK = "check that it runs, that the URL is right, and that this user may connect and read"


@contextmanager
def explained(sentence: str, hint: str = CHECK) -> Iterator[None]:
    """Make one `ConfigurationError` of what databases raise, alone or in a group: the sentence, and why."""
    try:
        yield
    except (*_FAILURES, ExceptionGroup) as error:
        failures, rest = (
            error.split((*_FAILURES, ConfigurationError)) if isinstance(error, ExceptionGroup) else (error, None)
        )
        if failures is None or rest is not None:
            raise
        first = _first(failures)
        if isinstance(first, ConfigurationError):
            raise first from error
        raise ConfigurationError(f"{sentence}: {_reason(first)}", hint) from error


_FAILURES = (
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    UnicodeError,  # a host's name that is none
)


def _first(error: Exception) -> Exception:
    """Return the first of a group, however deep, or else the error itself."""
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


def _unusable(url: DatabaseUrl) -> str:
    return f"{url.setting}: cannot use the database at {url.place}"


def create_engine(url: DatabaseUrl) -> AsyncEngine:
    """Return a pool of connections to a database. Nothing is connected yet."""
    # A transaction pooler hands out another server with every transaction, where a prepared statement would not exist.
    caches = {"statement_cache_size": 0} if url.through_pooler else {}
    settings = {"application_name": "runatlas"} | ({"search_path": url.search_path} if url.search_path else {})

    async def connect(**_: object) -> object:
        return await asyncpg.connect(url.dsn, timeout=CONNECT_SECONDS, server_settings=settings, **caches)

    return create_async_engine(
        "postgresql+asyncpg://",
        connect_args={"async_creator_fn": connect}
        | ({"prepared_statement_cache_size": 0} if url.through_pooler else {}),
        pool_size=url.pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_use_lifo=True,
        hide_parameters=True,  # they hold credentials, and errors are logged
    )


_IDENTITY = text(
    "SELECT system_identifier AS cluster, current_database() AS database, pg_is_in_recovery() AS standby,"
    " pg_postmaster_start_time() AS started"
    " FROM pg_control_system()"
)
_COLUMNS = text(
    "SELECT c.relname, a.attname, has_table_privilege(c.oid, 'SELECT') FROM pg_attribute a"
    " JOIN pg_class c ON c.oid = a.attrelid"
    " WHERE c.relname = ANY(:tables) AND a.attnum > 0 AND NOT a.attisdropped AND pg_table_is_visible(c.oid)"
)


def _refuse_missing(url: DatabaseUrl, tables: Iterable[Table], there: Collection[tuple[str, str]]) -> None:
    for table in tables:
        columns = {column for name, column in there if name == table.name}
        lacking = [column.name for column in table.columns if column.name not in columns]
        if lacking:
            what = f'column "{lacking[0]}" of table "{table.name}"' if columns else f'table "{table.name}"'
            raise ConfigurationError(
                f"{url.setting}: the database at {url.place} has no {what}",
                "`runatlas migrate` makes them in an empty database; a deployment's own is migrated by its platform",
            )


def _refuse_unreadable(url: DatabaseUrl, tables: Iterable[Table], readable: Collection[str]) -> None:
    for table in tables:
        if table.name not in readable:
            raise ConfigurationError(
                f'{url.setting}: the user may not read table "{table.name}" of the database at {url.place}',
                "grant it SELECT on the platform's tables, or name another user in the URL",
            )


def _refuse_two_names(control_plane: _Pair, shards: dict[str, _Pair], *, expect_split: bool) -> None:
    """Refuse two shards in one database, and a shard other than legacy in the control plane's."""
    owners: dict[tuple[int, str], str] = {}
    for key, pair in shards.items():
        other = owners.setdefault(pair.identity[:2], pair.setting)
        if other == pair.setting and key != LEGACY and pair.identity[:2] == control_plane.identity[:2]:
            other = control_plane.setting
        if other != pair.setting:
            raise ConfigurationError(
                f"{other} and {pair.setting} are one database, {pair.identity.database!r}",
                "each shard needs a database of its own; unset one of the two for a single database",
            )
    if expect_split and LEGACY in shards and shards[LEGACY].identity[:2] == control_plane.identity[:2]:
        raise ConfigurationError(
            "RUN_OPS_EXPECT_CONTROL_PLANE_SPLIT is set, but legacy is the control plane's database",
            "set RUN_OPS_LEGACY_DATABASE_URL to a database of its own, or unset the former",
        )


def _reason(error: Exception) -> str:
    """Return why a database could not be used, in one line that holds no secret."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return "no answer in time"
        if isinstance(cause, OSError):
            return (cause.strerror or str(cause) or type(cause).__name__).lower()
        # The driver's other complaints of a value quote it.
        if isinstance(cause, (asyncpg.PostgresError, asyncpg.ClientConfigurationError)) or (
            isinstance(cause, asyncpg.InterfaceError) and not isinstance(cause, ValueError)
        ):
            return " ".join(str(cause.args[0] if cause.args else cause).split())
        cause = cause.__cause__
    return type(error).__name__
