"""`runatlas serve`: databases, checks, the banner, the server, and the way down again."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version
from typing import cast

import typer
import uvicorn
from pydantic import SecretStr

from schema.app import create_app
from schema.commands import configure_logs, errors, opened, planted
from schema.http.graphiql import GraphiQLConfig
from schema.http.streams import StreamLimits, Streams
from schema.http.wire import server_config
from schema.tour import page, two_runs
from store.demo import Demo, find_demo
from store.demo.life import Life
from store.errors import ConfigurationError
from store.federation import Federation, create_engine
from store.home import default_home
from store.local import local_topology
from store.settings import Settings
from store.topology import Topology, names_databases
from store.urls import DatabaseUrl


class Server(uvicorn.Server):
    """Uvicorn, stopped by us: its own handlers would raise the signal again before the databases are closed."""

    greeting = ""
    streams: Streams | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so when the first request can be answered."""
        await super().startup(sockets)
        typer.echo(self.greeting)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams, which would never end by themselves, then the rest."""
        if self.streams is not None:
            self.streams.close()
        await super().shutdown(sockets)


async def serve(  # noqa: PLR0913  what the command line may say
    settings: Settings, host: str | None, port: int | None, runs: int, seed: int, *, live: bool
) -> None:
    """Serve until a signal comes. Raises `ConfigurationError` for what is wrong before that."""
    configure_logs()
    host = host or settings.runatlas_host
    async with AsyncExitStack() as stack:
        server = _stopped_by_signals()
        listener = stack.enter_context(_listen(host, settings.runatlas_port if port is None else port))
        topology, demo = await _topology(stack, settings, runs, seed)
        federation = await stack.enter_async_context(opened(topology, settings))
        await stack.enter_async_context(federation.live.listening(_revealed(settings.runatlas_redis_url)))
        await stack.enter_async_context(_swept(federation))
        if live:
            await stack.enter_async_context(_living(federation, demo))
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        server.greeting = _greeting(url, topology, demo)
        opens_with = page(demo, live=live) if demo else GraphiQLConfig()
        app = create_app(
            federation, opens_with, settings.api_origin, _revealed(settings.session_secret), _limits(settings)
        )
        server.streams, server.config = app.state.streams, server_config(app)
        gc.collect()
        gc.freeze()  # what lives as long as we do is not looked through again and again
        gc.set_threshold(50_000, 20, 20)  # nor is a large body, for every 700 values that are read of it
        await server.serve(sockets=[listener])


async def _topology(stack: AsyncExitStack, settings: Settings, runs: int, seed: int) -> tuple[Topology, Demo | None]:
    """Return the databases to serve, and the demo if they are ours."""
    if names_databases(settings):
        return Topology.of(settings), None
    with errors.status("starting two databases"):
        topology = await stack.enter_async_context(local_topology(settings.runatlas_home or default_home()))
    control_plane = create_engine(topology.control_plane.primary)
    try:
        demo = await find_demo(control_plane)
    finally:
        await control_plane.dispose()
    return topology, demo or await planted(topology, runs, seed)


@asynccontextmanager
async def _swept(federation: Federation) -> AsyncIterator[None]:
    """Sweep until the block ends. A round that is at work then has so long to end; it could be cut off anywhere."""
    if federation.writing is None:
        yield
        return
    stop = asyncio.Event()
    sweeping = asyncio.create_task(federation.writing.sweeper.run(stop))
    try:
        yield
    finally:
        stop.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(sweeping, LAST_ROUND)


LAST_ROUND = 5.0
"""In seconds."""


@asynccontextmanager
async def _living(federation: Federation, demo: Demo | None) -> AsyncIterator[None]:
    """Keep runs of the demo moving until the block ends. Raises `ConfigurationError` for databases of somebody else."""
    if demo is None or federation.writing is None:
        raise ConfigurationError(
            "--live writes into the demo, and these databases have none of ours",
            "leave it out, or unset the URLs and RUNATLAS_WRITES to serve the demo",
        )
    environment = await federation.credentials.environment_by_api_key(demo.api_key)
    if environment is None:
        raise ConfigurationError(
            "--live writes into the demo's environment, which is gone", "set RUNATLAS_HOME to another directory"
        )
    stop = asyncio.Event()
    living = asyncio.create_task(Life(federation.router, federation.writing, environment).run(stop))
    try:
        yield
    finally:
        stop.set()
        await living


def _stopped_by_signals() -> Server:
    """Return a server that a first signal stops gently, and a second at once; one before it serves ends the start."""
    loop, task = asyncio.get_running_loop(), cast("asyncio.Task[None]", asyncio.current_task())
    server = Server(uvicorn.Config(app=""))

    def stop() -> None:
        if not server.started:
            task.cancel()
        server.force_exit = server.should_exit
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    return server


def _listen(host: str, port: int) -> socket.socket:
    """Return a bound socket, before anything slow is begun."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Said to be TCP, or asyncio leaves small writes to wait for each other: 40 ms a response.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {reason}", "choose another with --port or RUNATLAS_PORT, 0 for a free one"
        ) from error
    return listener


def _greeting(url: str, topology: Topology, demo: Demo | None) -> str:
    """Return where everything is, and what to ask first."""
    lines = [
        f"runatlas {version('runatlas')}",
        f"  GraphiQL    {url}/graphql",
        *(f"  {shard.key:<11} {_shown(shard.access.primary, demo)}" for shard in topology.shards),
    ]
    if demo is not None:
        lines += [
            f"  credential  Authorization: Bearer {demo.api_key}",
            *([f"  a member's  Authorization: Bearer {demo.access_token}"] if demo.access_token else []),
            "",
            "Two runs that live in different databases, in one answer:",
            "",
            *(f"  {line}" for line in two_runs(demo).splitlines()),
            "",
        ]
    return "\n".join(lines)


def _shown(database: DatabaseUrl, demo: Demo | None) -> str:
    """Return what may be printed of a database: where it is; of one of ours, which has no password, the whole URL."""
    return database.place if demo is None else database.dsn


def _limits(settings: Settings) -> StreamLimits:
    return StreamLimits(
        sockets_per_credential=settings.runatlas_sockets_per_credential,
        streams_per_credential=settings.runatlas_streams_per_credential,
    )


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
