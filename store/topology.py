"""Which databases there are, from the settings alone: one immutable value that everything else is derived from."""

from dataclasses import dataclass

from pydantic import SecretStr

from store.errors import ConfigurationError
from store.residency import LEGACY, NEW, ShardKey
from store.settings import Settings
from store.tables import DEDICATED, FULL, Catalog
from store.urls import DatabaseUrl, parse_url


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
        the one database of the control plane.
        """
        name = "CONTROL_PLANE_DATABASE" if settings.control_plane_database_url else "DATABASE"
        control_plane = _access(settings, name)
        if control_plane is None:
            raise ConfigurationError(
                "RUN_OPS_DATABASE_URL is set, but DATABASE_URL is not",
                "set DATABASE_URL to the database of the organizations, projects and environments",
            )
        legacy = ShardAccess(LEGACY, FULL, _access(settings, "RUN_OPS_LEGACY_DATABASE") or control_plane)
        new = _access(settings, "RUN_OPS_DATABASE")
        if settings.run_ops_split_enabled is False:
            return cls(control_plane, (ShardAccess(LEGACY, FULL, control_plane),))
        if settings.run_ops_split_enabled and new is None:
            raise ConfigurationError(
                "RUN_OPS_SPLIT_ENABLED is true, but RUN_OPS_DATABASE_URL is not set", "set it, or unset the former"
            )
        others = [(NEW, new)] if new else []
        for key, (url, replica) in settings.shard_urls().items():
            others.append((ShardKey(key), _parsed(f"RUN_OPS_SHARD_{key.upper()}_DATABASE", url, replica)))
        shards = (legacy, *(ShardAccess(key, DEDICATED, access) for key, access in others))
        return cls(control_plane, shards, ShardKey(settings.run_ops_ksuid_residency))


def names_databases(settings: Settings) -> bool:
    """Tell whether any database was given; if none was, runatlas brings its own."""
    return bool(
        settings.database_url
        or settings.control_plane_database_url
        or settings.run_ops_database_url
        or settings.run_ops_legacy_database_url
        or settings.shard_urls()
    )


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
