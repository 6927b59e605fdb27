"""What the smaller commands do, and what `serve` shares with them."""

import asyncio
import sys
from collections import Counter
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from store.demo import Demo, plant
from store.doctor import Report, examine
from store.errors import ConfigurationError, ReadOnlyError
from store.federation import Federation, Writes, explained, open_federation, usable
from store.home import default_home
from store.local import local_topology
from store.migrations import migrate as migrate_database
from store.settings import Settings, load_settings
from store.sweeper import PAUSE, Sweeper
from store.topology import Topology, names_databases

errors = Console(stderr=True)


def configure_logs() -> None:
    """Write logs to where errors go."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )


def opened(
    topology: Topology, settings: Settings, *, writes: Writes | None = None
) -> AbstractAsyncContextManager[Federation]:
    """Return the federation that settings describe, to be opened; `writes` goes before what they say of that."""
    return open_federation(
        topology,
        deadline=settings.runatlas_shard_deadline_ms / 1000,
        cache_ttl=settings.control_plane_cache_ttl_ms / 1000,
        cache_entries=settings.control_plane_cache_max_entries,
        expect_split=settings.run_ops_expect_control_plane_split,
        writes=writes or settings.runatlas_writes,
        mint=settings.mint,
    )


async def migrate() -> None:
    """Migrate every database that the settings name, and say what was done to each."""
    topology = Topology.of(load_settings())
    wanted = {topology.control_plane.primary.dsn: (topology.control_plane.primary, topology.shards[0].catalog.variant)}
    for shard in topology.shards:
        wanted.setdefault(shard.access.primary.dsn, (shard.access.primary, shard.catalog.variant))
    for url, variant in wanted.values():
        async with usable(url) as engine:
            with explained(f"{url.setting}: cannot migrate the database at {url.place}"):
                applied = await migrate_database(engine, variant)
        typer.echo(f"{url.place}: {', '.join(applied) if applied else 'up to date'}")


async def doctor() -> list[ConfigurationError]:
    """Say of every database that the settings name what it lacks, and return why some of them cannot be used."""
    settings = load_settings()
    if not names_databases(settings):
        typer.echo("no database is named: the embedded ones are runatlas's own, and need no doctor")
        return []
    topology = Topology.of(settings)
    found = await examine(topology)
    for report in found:
        if isinstance(report, Report):
            typer.echo(_shown(report))
    unusable = [error for error in found if isinstance(error, ConfigurationError)]
    if not unusable:
        try:
            async with open_federation(topology, expect_split=settings.run_ops_expect_control_plane_split):
                pass
        except ConfigurationError as error:
            unusable.append(error)
    return unusable


def _shown(report: Report) -> str:
    """Return a report in plain lines; the SQL in it can be given to psql as it stands."""
    database = report.database
    wanted, lacking = len(database.indexes), len(report.statements)
    lines = [
        f"{database.url.setting}: {database.url.place}",
        f"  PostgreSQL {report.version}, {database.variant} schema: {', '.join(database.roles)}",
    ]
    if report.absent_tables:
        lines.append(f"  has no table {', '.join(report.absent_tables)}")
    elif not lacking:
        lines.append(f"  has all {wanted} indexes that runatlas reads by")
    else:
        lines.append(f"  lacks {lacking} of the {wanted} indexes that runatlas reads by; lists are slow without them")
        if report.is_standby:
            lines.append("  a standby gets them from its primary")
        elif report.is_behind:
            lines.append("  `runatlas migrate` adds them")
        else:
            lines += ["  these add them, while others read and write:", "", *report.statements]
    return "\n".join(lines)


async def repair(*, dry_run: bool) -> list[ConfigurationError]:
    """Do what was left undone in the databases that the settings name, else in embedded ones, or only count it.

    Returns why something may be left. Counting writes nothing, and so is no question of who writes.
    """
    configure_logs()
    settings = load_settings()
    async with AsyncExitStack() as stack:
        topology = await _named_or_embedded(stack, settings)
        federation = await stack.enter_async_context(opened(topology, settings, writes="postgres" if dry_run else None))
        if federation.writing is None:
            return [ConfigurationError(str(ReadOnlyError()), ReadOnlyError.hint)]
        return await _repaired(federation.writing.sweeper, dry_run=dry_run)


async def _repaired(sweeper: Sweeper, *, dry_run: bool) -> list[ConfigurationError]:
    """Sweep until a round finds nothing more, and print a line for each kind."""
    done: Counter[str] = Counter()
    columns = (SpinnerColumn(), TextColumn("repairing"), TextColumn("{task.completed} done"), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("", total=None)
        for _ in range(MOST_ROUNDS):
            report = await sweeper.round(dry_run=dry_run)
            done.update(report.done)
            progress.update(task, completed=done.total())
            if not report.leads and not report.down:
                await asyncio.sleep(PAUSE)  # another process sweeps: its round ends soon
            elif dry_run or report.down or not (report.done.total() or report.is_partial or report.bulk_goes_on):
                break
    for kind, (one, many, verb) in REPAIRS.items():
        what = f"{done[kind]} {one if done[kind] == 1 else many} {'to be ' * dry_run}{verb}"
        typer.echo(f"{kind:<9}{what}")
    left = [
        ConfigurationError(f"{shard} did not answer", "what is left there is found by the next repair")
        for shard in sorted(report.down)
    ]
    if report.failed:
        kinds = ", ".join(sorted(report.failed))
        left.append(ConfigurationError(f"some repairs failed: {kinds}", "the log above says why"))
    return left


MOST_ROUNDS = 10_000

REPAIRS = {
    "due": ("waitpoint", "waitpoints", "completed: its time had come"),
    "delays": ("delayed run", "delayed runs", "queued"),
    "batches": ("batch", "batches", "completed"),
    "ended": ("waitpoint", "waitpoints", "completed"),
    "edges": ("run", "runs", "continued"),
    "bulk": ("page of a bulk action", "pages of bulk actions", "done"),
}
"""What is said of each kind of repair."""


async def seed(runs: int, seed: int) -> None:
    """Plant demo data in the databases that the settings name, else in embedded ones, and print its credential."""
    settings = load_settings()
    async with AsyncExitStack() as stack:
        topology = await _named_or_embedded(stack, settings)
        demo = await planted(topology, runs, seed)
    typer.echo(f"Authorization: Bearer {demo.api_key}")


async def _named_or_embedded(stack: AsyncExitStack, settings: Settings) -> Topology:
    if names_databases(settings):
        return Topology.of(settings)
    return await stack.enter_async_context(local_topology(settings.runatlas_home or default_home()))


async def planted(topology: Topology, runs: int, seed: int) -> Demo:
    """Plant demo data in a topology's databases, with a progress bar."""
    columns = (TextColumn("planting demo runs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with AsyncExitStack() as stack:
        control_plane = await stack.enter_async_context(usable(topology.control_plane.primary))
        engines = {
            shard.key: await stack.enter_async_context(usable(shard.access.primary)) for shard in topology.shards
        }
        stack.enter_context(
            explained("cannot plant the demo", "check that every database runs, and was made by `runatlas migrate`")
        )
        progress = stack.enter_context(Progress(*columns, console=errors))
        task = progress.add_task("", total=runs)
        return await plant(
            control_plane, engines, runs=runs, seed=seed, progress=lambda done: progress.advance(task, done)
        )
