"""What the smaller commands do, and what `serve` shares with them."""

from contextlib import AsyncExitStack

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from store.demo import Demo, plant
from store.doctor import Report, examine
from store.errors import ConfigurationError
from store.federation import explained, open_federation, usable
from store.home import default_home
from store.local import local_topology
from store.migrations import migrate as migrate_database
from store.settings import load_settings
from store.topology import Topology, names_databases

errors = Console(stderr=True)


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


async def seed(runs: int, seed: int) -> None:
    """Plant demo data in the databases that the settings name, else in embedded ones, and print its credential."""
    settings = load_settings()
    async with AsyncExitStack() as stack:
        if names_databases(settings):
            topology = Topology.of(settings)
        else:
            topology = await stack.enter_async_context(local_topology(settings.runatlas_home or default_home()))
        demo = await planted(topology, runs, seed)
    typer.echo(f"Authorization: Bearer {demo.api_key}")


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
