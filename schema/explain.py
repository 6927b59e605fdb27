"""What `runatlas where` and `runatlas settings` say. Asks no database, and imports no server."""

import typer

from store.residency import LEGACY, NEW, Residency, ShardKey
from store.settings import Settings, load_settings
from store.topology import Topology, names_databases


def where(references: list[str]) -> None:
    """Print the route of each id, and why."""
    settings = load_settings()
    shards = (LEGACY, NEW, *(ShardKey(key) for key in settings.shard_urls()))
    if names_databases(settings):
        shards = tuple(shard.key for shard in Topology.of(settings).shards)
    residency = Residency(shards, ShardKey(settings.run_ops_ksuid_residency))
    for reference in references:
        route, why = residency.explain(reference)
        typer.echo(f"{reference}\t{' then '.join(route) or 'nowhere'}\t{why}")


def settings() -> None:
    """Print every setting with its default and its meaning."""
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f" [{field.default}]"
        typer.echo(f"{name.upper()}{default}\n    {field.description}")
    typer.echo("RUN_OPS_SHARD_<KEY>_DATABASE_URL, RUN_OPS_SHARD_<KEY>_DATABASE_READ_REPLICA_URL")
    typer.echo("    A shard of second-generation ids, and a replica of it; <KEY> is its one letter or digit.")
