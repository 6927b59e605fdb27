"""How soon changes are told, and whether the last one always is: many sockets, two shards, and faults meanwhile.

Each run has a socket that subscribes to it. Writers of another process change runs at a steady rate, as the platform's
own would, and end them at last. Meanwhile a shard is killed and started again, and what listens for wake-ups is cut
off.

    .venv/bin/python -m bench.live --sockets 1000 --changes 100 --seconds 60
"""

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from store import ids
from store.demo import plant
from store.embedded import Cluster, two_installations
from store.federation import create_engine
from store.migrations import migrate
from store.residency import LEGACY, NEW, ShardKey
from store.urls import parse_url

console = Console()
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  the columns hold naive UTC
OUTAGE_SECONDS = 5.0
LAST_SECONDS = 20.0
"""How long the end of a run may take to be told before it counts as lost."""

SUBSCRIPTION = "subscription($id: ID!) { runUpdated(id: $id) { id status updatedAt metadata } }"
WRITERS = 8
"""Of each shard."""


@dataclass(slots=True)
class Change:
    """One state of a run: when it says that it was written, when that was committed, and when it was told."""

    at: int
    status: str
    committed: float = 0.0
    told: float = 0.0

    def is_disturbed(self, away: tuple[float, float]) -> bool:
        """Tell whether its shard was away when it was to be told."""
        return self.committed < away[1] and self.told > away[0]


@dataclass(slots=True)
class Run:
    """One run, and its socket's view of it."""

    id: str
    shard: ShardKey
    changes: list[Change] = field(default_factory=list)
    events: int = 0
    ended: bool = False
    backwards: int = 0
    last: int = 0


@dataclass(slots=True)
class Shard:
    """One cluster, and when it was away."""

    cluster: Cluster
    url: str
    away: tuple[float, float] = (float("inf"), 0.0)
    """From when to when."""
    queue: "asyncio.Queue[tuple[Run, Change]]" = field(default_factory=asyncio.Queue)


async def main(sockets: int, changes: int, seconds: float, *, faults: bool) -> bool:
    """Measure, print what was found, and tell whether nothing was lost."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65_536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory()))
        shards = {key: await stack.enter_async_context(_shard(key, home)) for key in (LEGACY, NEW)}
        key, environment = await _planted(shards)
        runs = await _runs(shards, sockets, environment)
        server = await stack.enter_async_context(_served(shards, home, sockets))
        began = time.monotonic()
        ready = asyncio.Semaphore(0)
        gate = asyncio.Semaphore(50)
        readers = [asyncio.create_task(_read(run, server.url, key, ready, gate)) for run in runs]
        for _ in runs:
            await ready.acquire()
        opened = time.monotonic() - began
        memory = [server.memory()]
        writers = [asyncio.create_task(_write(shard)) for shard in shards.values() for _ in range(WRITERS)]
        disturbing = asyncio.create_task(_disturb(shards, seconds) if faults else asyncio.sleep(0))
        cpu, began = server.cpu(), time.monotonic()
        for number, (run, change) in enumerate(_changes(runs, int(changes * seconds))):
            delay = began + number / changes - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            if number % (changes * 5) == 0:
                memory.append(server.memory())
            change.at = (datetime.now(UTC).replace(tzinfo=None) - EPOCH) // timedelta(milliseconds=1)
            run.changes.append(change)
            shards[run.shard].queue.put_nowait((run, change))
        wrote = time.monotonic() - began
        await disturbing
        _, late = await asyncio.wait(readers, timeout=LAST_SECONDS)
        memory.append(server.memory())
        _report(runs, shards[NEW].away, opened, wrote, (server.cpu() - cpu) / (time.monotonic() - began), memory)
        for task in [*late, *writers]:
            task.cancel()
        await asyncio.gather(*readers, *writers, return_exceptions=True)
        return not late


def _changes(runs: list[Run], count: int) -> Iterator[tuple[Run, Change]]:
    """Yield what is to be written: runs in turn, the last time of each its end."""
    ends = count - len(runs)
    for number in range(max(count, len(runs))):
        run = runs[number % len(runs)]
        status = "COMPLETED_SUCCESSFULLY" if number >= ends else ("EXECUTING", "DEQUEUED")[number // len(runs) % 2]
        yield run, Change(0, status)


@asynccontextmanager
async def _shard(key: ShardKey, home: Path) -> AsyncIterator[Shard]:
    installation = two_installations()[key == NEW]
    cluster = Cluster(installation, home / key)
    await asyncio.to_thread(cluster.start)
    try:
        await asyncio.to_thread(cluster.create_database, "bench")
        url = cluster.url("bench")
        engine = create_engine(parse_url(key, url))
        await migrate(engine, "full" if key == LEGACY else "dedicated")
        await engine.dispose()
        yield Shard(cluster, url)
    finally:
        await asyncio.to_thread(cluster.stop)


async def _planted(shards: dict[ShardKey, Shard]) -> tuple[str, asyncpg.Record]:
    """Plant a demo, and return a key and its environment."""
    engines = {key: create_engine(parse_url(key, shard.url)) for key, shard in shards.items()}
    demo = await plant(engines[LEGACY], engines, runs=2_000)
    for engine in engines.values():
        await engine.dispose()
    connection = await asyncpg.connect(shards[LEGACY].url)
    environment = await connection.fetchrow(
        'SELECT id, "projectId" FROM "RuntimeEnvironment" WHERE "apiKey" = $1', demo.api_key
    )
    await connection.close()
    return demo.api_key, environment


async def _runs(shards: dict[ShardKey, Shard], count: int, environment: asyncpg.Record) -> list[Run]:
    runs = [
        Run(ids.mint_v1() if number % 2 else ids.mint_cuid(), NEW if number % 2 else LEGACY) for number in range(count)
    ]
    for key, shard in shards.items():
        connection = await asyncpg.connect(shard.url)
        await connection.executemany(
            """INSERT INTO "TaskRun" (id, "friendlyId", engine, "taskIdentifier", payload, "traceId", "spanId",
               "runtimeEnvironmentId", "projectId", queue, metadata, "createdAt", "updatedAt")
               VALUES ($1, 'run_' || $1, 'V2', 'bench', '{}', $1, $1, $2, $3, 'bench', '{"a": 1}', now(), now())""",
            [(run.id, environment["id"], environment["projectId"]) for run in runs if run.shard == key],
        )
        await connection.close()
    return runs


@dataclass(slots=True)
class Served:
    """The product, in a process of its own."""

    url: str
    pid: int

    def memory(self) -> float:
        """Return its resident memory in MiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text("utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def cpu(self) -> float:
        """Return the seconds that it has computed."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("utf-8").rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def _served(shards: dict[ShardKey, Shard], home: Path, sockets: int) -> AsyncIterator[Served]:
    settings = {
        "DATABASE_URL": shards[LEGACY].url,
        "RUN_OPS_DATABASE_URL": shards[NEW].url,
        "RUNATLAS_SOCKETS_PER_CREDENTIAL": str(sockets),
        "RUNATLAS_STREAMS_PER_CREDENTIAL": str(sockets),
    }
    with (home / "serve.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("runatlas")),
            *("serve", "--port", "0"),
            env={**os.environ, **settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
        try:
            assert process.stdout is not None  # noqa: S101  for the type checker
            while b"GraphiQL" not in (line := await process.stdout.readline()):
                if not line:
                    sys.exit((home / "serve.log").read_text("utf-8"))
            yield Served(line.split()[-1].decode(), process.pid)
        finally:
            process.terminate()
            await process.wait()
    log_lines = (home / "serve.log").read_text("utf-8").splitlines()
    worse = [line for line in log_lines if '"level": "error"' in line]
    console.print(f"[dim]lines in the log: {len(log_lines)}, errors: {len(worse)}[/dim]", *worse[:3])


async def _read(run: Run, url: str, key: str, ready: asyncio.Semaphore, gate: asyncio.Semaphore) -> None:
    """Subscribe to a run, and note when its states are told, until it ends."""
    async with AsyncExitStack() as stack:
        async with gate:
            socket = await stack.enter_async_context(
                connect(
                    url.replace("http", "ws", 1),
                    subprotocols=[Subprotocol("graphql-transport-ws")],
                    compression=None,
                    proxy=None,
                    open_timeout=60,
                )
            )
            await socket.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {key}"}}))
            await socket.recv()
            payload = {"query": SUBSCRIPTION, "variables": {"id": f"run_{run.id}"}}
            await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
            await socket.recv()
        ready.release()
        async for text in socket:
            now, message = time.monotonic(), json.loads(text)
            if message["type"] != "next":
                run.ended = message["type"] == "complete"
                return
            found = message["payload"]["data"]["runUpdated"]
            at = (datetime.fromisoformat(found["updatedAt"]).replace(tzinfo=None) - EPOCH) // timedelta(milliseconds=1)
            run.events += 1
            run.backwards += at < run.last
            run.last = at
            for change in run.changes:
                if not change.told and change.at <= at:
                    change.told = now


async def _write(shard: Shard) -> None:
    """Write changes of a shard, each until it is kept."""
    connection: asyncpg.Connection[Any] | None = None
    while True:
        run, change = await shard.queue.get()
        while not change.committed:
            try:
                connection = connection or await asyncpg.connect(shard.url, timeout=2)
                moment = EPOCH + timedelta(milliseconds=change.at)
                await connection.execute(
                    'UPDATE "TaskRun" SET status = $2::text::"TaskRunStatus", "updatedAt" = $3 WHERE id = $1',
                    run.id,
                    change.status,
                    moment,
                )
                change.committed = time.monotonic()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                connection = None
                await asyncio.sleep(0.1)


async def _disturb(shards: dict[ShardKey, Shard], seconds: float) -> None:
    """Kill a shard for some seconds after a third of the time, and cut off the listeners after two thirds."""
    await asyncio.sleep(seconds / 3)
    shard = shards[NEW]
    began = time.monotonic()
    await asyncio.to_thread(shard.cluster.kill)
    await asyncio.sleep(OUTAGE_SECONDS)
    await asyncio.to_thread(shard.cluster.start)
    shard.away = began, time.monotonic()
    await asyncio.sleep(seconds / 3 - OUTAGE_SECONDS)
    for each in shards.values():
        with suppress(OSError, asyncpg.PostgresError):
            connection = await asyncpg.connect(each.url)
            cut = await connection.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name = 'runatlas' AND query LIKE 'LISTEN%'"
            )
            console.print(f"[dim]listeners cut off: {cut}[/dim]")
            await connection.close()


def _report(  # noqa: PLR0913, PLR0917  everything that was measured
    runs: list[Run], away: tuple[float, float], opened: float, wrote: float, cpu: float, memory: list[float]
) -> None:
    table = Table(title=f"{len(runs)} sockets, {sum(len(run.changes) for run in runs)} changes in {wrote:.0f} s")
    for name in ("changes", "count", "told", "p50 ms", "p95 ms", "p99 ms", "max ms"):
        table.add_column(name, justify="left" if name == "changes" else "right")
    legacy, new = ([change for run in runs if run.shard == key for change in run.changes] for key in (LEGACY, NEW))
    groups = {
        "legacy": legacy,
        "new": [change for change in new if not change.is_disturbed(away)],
        "new, while it was away": [change for change in new if change.is_disturbed(away)],
    }
    for name, some in groups.items():
        if len(some) > 1:
            table.add_row(name, str(len(some)), str(sum(change.told > 0 for change in some)), *_percentiles(some))
    console.print(table)
    lost = [run for run in runs if not run.ended]
    ends = [run.changes[-1] for run in runs if run.ended]
    console.print(f"ends told: {len(ends)} of {len(runs)}, lost: {len(lost)}; p50/p95/p99/max {_percentiles(ends)} ms")
    console.print(f"events: {sum(run.events for run in runs)}, backwards in time: {sum(run.backwards for run in runs)}")
    console.print(f"sockets opened in {opened:.1f} s; the server computed {100 * cpu:.0f} % of the time")
    console.print(f"its memory, MiB, every 5 s: {', '.join(f'{one:.0f}' for one in memory)}")


def _percentiles(changes: list[Change]) -> list[str]:
    """Return p50, p95, p99 and the most of how long changes took from their commit to the client."""
    delays = [max(0.0, change.told - change.committed) for change in changes if change.told]
    if len(delays) < 2:  # noqa: PLR2004
        return ["-"] * 4
    cuts = quantiles(delays, n=100, method="inclusive")
    return [f"{1000 * value:.0f}" for value in (cuts[49], cuts[94], cuts[98], max(delays))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=1_000)
    parser.add_argument("--changes", type=int, default=100, help="a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--no-faults", action="store_true")
    given = parser.parse_args()
    sys.exit(not asyncio.run(main(given.sockets, given.changes, given.seconds, faults=not given.no_faults)))
