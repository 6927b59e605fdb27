"""The `runatlas` command. Every failure that is expected is one line with a hint, and exit code 1.

Imports are inside the commands, so that the help is there at once.
"""

from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from store.errors import ConfigurationError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="One GraphQL graph over runs, batches and waitpoints that live in several Postgres databases.",
)

T = TypeVar("T")
Runs = Annotated[int, typer.Option(min=200, help="How many runs to plant.")]
Seed = Annotated[int, typer.Option(min=0, help="Decides every byte of the demo data.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [RUNATLAS_HOST].")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on, 0 for a free one [RUNATLAS_PORT].")
    ] = None,
    runs: Runs = 20_000,
    seed: Seed = 1,
    *,
    live: Annotated[bool, typer.Option(help="Keep demo runs moving, for there to be something to watch.")] = False,
) -> None:
    """Serve the databases that the environment names; without any, two embedded ones with demo data."""
    from store.settings import load_settings

    settings = _expecting(load_settings)  # before anything that takes long to import
    from schema.serve import serve as run

    _run(run(settings, host, port, runs, seed, live=live))


@app.command()
def migrate() -> None:
    """Make the platform's tables in the databases that the environment names. Never alters a live deployment's."""
    from schema.commands import migrate as run

    _run(run())


@app.command()
def doctor() -> None:
    """Say what the databases that the environment names lack: indexes that would make lists quick. Alters nothing."""
    from schema.commands import doctor as run

    _left(_run(run()))


@app.command()
def repair(
    *, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what there is to be done.")] = False
) -> None:
    """Do what a crash or another writer left undone, as `serve` does all the time, and say what it was."""
    from schema.commands import repair as run

    _left(_run(run(dry_run=dry_run)))


@app.command()
def seed(runs: Runs = 20_000, seed: Seed = 1) -> None:
    """Plant demo data in empty databases: those that the environment names, else embedded ones."""
    from schema.commands import seed as run

    _run(run(runs, seed))


@app.command()
def where(ids: Annotated[list[str], typer.Argument(help="Ids of runs, batches or waitpoints.")]) -> None:
    """Say which shards an id routes to, and why. Asks no database."""
    from schema.explain import where as run

    _expecting(lambda: run(ids))


@app.command()
def settings() -> None:
    """List the settings that the environment may hold, and what they mean."""
    from schema.explain import settings as run

    _expecting(run)


@app.command()
def schema() -> None:
    """Print the GraphQL schema, for tools that generate code from it."""
    from schema.api import sdl

    typer.echo(sdl(), nl=False)


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as version_of

    typer.echo(version_of("runatlas"))


def main() -> None:
    """Run the command line."""
    app()


def _run(work: "Coroutine[Any, Any, T]") -> "T | None":
    """Return what work returns, or None if it was stopped."""
    import asyncio

    try:
        return _expecting(lambda: asyncio.run(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo("stopped", err=True)
        return None


def _expecting(work: "Callable[[], T]") -> "T":
    """Return what something returns; an expected failure becomes one line with a hint, and exit code 1."""
    from store.errors import ConfigurationError

    try:
        return work()
    except ConfigurationError as error:
        _complain(error)
        raise SystemExit(1) from None


def _left(errors: "list[ConfigurationError] | None") -> None:
    """Print what is left to be told, and end with exit code 1 if anything is."""
    for error in errors or ():
        _complain(error)
    if errors:
        raise SystemExit(1)


def _complain(error: "ConfigurationError") -> None:
    typer.echo(f"runatlas: {error} (hint: {error.hint})", err=True)
