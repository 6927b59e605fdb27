"""Which databases there are, from the settings alone: one immutable value that everything else is derived from."""

from dataclasses import dataclass

from pydantic import SecretStr

from store.errors import ConfigurationError
from store.residency import LEGACY, NEW, ShardKey
from store.settings import Settings
from store.tables import DEDICATED, FULL, Catalog
from store.urls import DatabaseUrl, parse_url

NAMES = ("CONTROL_PLANE_DATABASE", "DATABASE", "RUN_OPS_LEGACY_DATABASE", "RUN_OPS_DATABASE")
"""Settings of a database: each with _URL, and with _READ_REPLICA_URL for its replica."""


@dataclass(frozen=True, slots=True)
class Access:
    """A database and, where it has one, its replica."""

    primary: DatabaseUrl
    replica: DatabaseUrl | None = None


@dataclass(frozen=True, slots=True)
class ShardAccess:
    """A shard, and how it is reached."""

    key: ShardKey
    catalog: Catalog
    access: Access


@dataclass(frozen=True, slots=True)
class Topology:
    """The control plane, and the shards in the order in which they were named. One shard is one like any other."""

    control_plane: Access
    shards: tuple[ShardAccess, ...]
    ksuid: ShardKey = NEW

    @classmethod
    def of(cls, settings: Settings) -> "Topology":
        """Return what the settings describe, or raise `ConfigurationError`.

        Shards are read whenever their URLs are there; minting is another matter. `RUN_OPS_SPLIT_ENABLED=false` leaves
        the one database of the control plane. What is given has to make sense, whether it is used or not.
        """
        given = {name: _access(settings, name) for name in NAMES}
        control_plane = given["CONTROL_PLANE_DATABASE"] or given["DATABASE"]
        second_generation = [
            (ShardKey(key), _parsed(f"RUN_OPS_SHARD_{key.upper()}_DATABASE", url, replica))
            for key, (url, replica) in settings.shard_urls().items()
        ]
        if control_plane is None:
            raise ConfigurationError(
                "no control plane: DATABASE_URL is not set",
                "set DATABASE_URL to the database of the organizations, projects and environments",
            )
        new = given["RUN_OPS_DATABASE"]
        if settings.run_ops_split_enabled is False:
            return cls(control_plane, (ShardAccess(LEGACY, FULL, control_plane),))
        if settings.run_ops_split_enabled and new is None:
            raise ConfigurationError(
                "RUN_OPS_SPLIT_ENABLED is true, but RUN_OPS_DATABASE_URL is not set", "set it, or unset the former"
            )
        legacy = ShardAccess(LEGACY, FULL, given["RUN_OPS_LEGACY_DATABASE"] or control_plane)
        others = [*([(NEW, new)] if new else []), *second_generation]
        shards = (legacy, *(ShardAccess(key, DEDICATED, access) for key, access in others))
        return cls(control_plane, shards, ShardKey(settings.run_ops_ksuid_residency))


def names_databases(settings: Settings) -> bool:
    """Tell whether anything is said of databases, be it enough or not; if nothing is, runatlas brings its own."""
    urls = (getattr(settings, f"{name.lower()}{end}_url") for name in NAMES for end in ("", "_read_replica"))
    return any(urls) or bool(settings.shard_urls()) or settings.run_ops_split_enabled is not None


def _access(settings: Settings, name: str) -> Access | None:
    url = getattr(settings, f"{name.lower()}_url")
    replica = getattr(settings, f"{name.lower()}_read_replica_url")
    if url is None:
        if replica is not None:
            raise ConfigurationError(f"{name}_READ_REPLICA_URL is set, but {name}_URL is not", f"set {name}_URL too")
        return None
    return _parsed(name, url, replica)


def _parsed(name: str, url: SecretStr, replica: SecretStr | None) -> Access:
    return Access(
        parse_url(f"{name}_URL", url.get_secret_value()),
        parse_url(f"{name}_READ_REPLICA_URL", replica.get_secret_value()) if replica else None,
    )
