"""What runatlas is told by its environment: the platform's names where it has one, else names with RUNATLAS_."""

import difflib
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from store.errors import ConfigurationError

SHARD_SETTING = re.compile(r"RUN_OPS_SHARD_(?P<key>[A-Z0-9])_DATABASE(?P<replica>_READ_REPLICA)?_URL")


@dataclass(frozen=True, slots=True)
class MintSettings:
    """Whether flags count at all, how long after a flip the old kind is minted, and how long flags are remembered.

    Times are in seconds. The grace must be longer than any process remembers flags.
    """

    enabled: bool = False
    grace: float = 90.0
    ttl: float = 30.0
    entries: int = 10_000


class Settings(BaseSettings):
    """The settings, read once. A URL is a secret: it may hold a password."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    database_url: SecretStr | None = Field(None, description="The control plane, and legacy unless that has its own.")
    database_read_replica_url: SecretStr | None = Field(None, description="A replica of it.")
    control_plane_database_url: SecretStr | None = Field(None, description="The control plane, before DATABASE_URL.")
    control_plane_database_read_replica_url: SecretStr | None = Field(None, description="A replica of it.")
    run_ops_database_url: SecretStr | None = Field(None, description="The shard `new`.")
    run_ops_database_read_replica_url: SecretStr | None = Field(None, description="A replica of it.")
    run_ops_legacy_database_url: SecretStr | None = Field(None, description="The shard `legacy`.")
    run_ops_legacy_database_read_replica_url: SecretStr | None = Field(None, description="A replica of it.")
    run_ops_split_enabled: bool | None = Field(None, description="Use the shards; true where a URL of `new` is given.")
    run_ops_ksuid_residency: Literal["new", "legacy"] = Field("new", description="Where 27-character ids live.")
    run_ops_expect_control_plane_split: bool = Field(
        default=False, description="Refuse to start if legacy is the control plane's database."
    )
    control_plane_cache_ttl_ms: int = Field(30_000, ge=0, description="How long control plane rows are remembered.")
    control_plane_cache_max_entries: int = Field(10_000, ge=1, description="How many of each kind.")
    run_ops_mint_enabled: bool = Field(
        default=False, description="Mint new ids on `new` for organizations whose flag says so."
    )
    run_ops_mint_flag_cache_ttl_ms: int = Field(30_000, ge=0, description="How long mint flags are remembered.")
    run_ops_mint_flag_cache_max_entries: int = Field(10_000, ge=1, description="Of how many organizations.")
    run_ops_mint_flip_grace_ms: int = Field(
        90_000, ge=0, description="How long after a flip of the flag the old kind is minted."
    )
    api_origin: str | None = Field(
        None, pattern=r"^https?://[^/?#\s]+$", description="Where third parties reach this API: https://host."
    )
    session_secret: SecretStr | None = Field(
        None, description="What signs the dashboard's sessions; with it, they are credentials here."
    )
    runatlas_home: Path | None = Field(None, description="Where embedded databases keep their data.")
    runatlas_host: str = Field("127.0.0.1", description="Address to listen on.")
    runatlas_port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    runatlas_writes: Literal["postgres", "off"] | None = Field(
        None, description="Whether mutations write; unset, only to databases that runatlas made."
    )
    runatlas_redis_url: SecretStr | None = Field(
        None, description="Tells other processes of writes at once; without it they see them within a second."
    )
    runatlas_sockets_per_credential: int = Field(1_000, ge=1, description="How many sockets one credential may hold.")
    runatlas_streams_per_credential: int = Field(
        1_000, ge=1, description="How many operations may run over one credential's sockets and streams."
    )
    runatlas_shard_deadline_ms: int = Field(5_000, ge=1, description="How long one query on one database may take.")

    @property
    def mint(self) -> MintSettings:
        """What decides where roots are minted."""
        return MintSettings(
            self.run_ops_mint_enabled,
            self.run_ops_mint_flip_grace_ms / 1000,
            self.run_ops_mint_flag_cache_ttl_ms / 1000,
            self.run_ops_mint_flag_cache_max_entries,
        )

    def shard_urls(self) -> dict[str, tuple[SecretStr, SecretStr | None]]:
        """Return the second-generation shards: key -> (URL, replica's URL), in the order of their keys."""
        found = {
            (match["key"].lower(), bool(match["replica"])): SecretStr(value)
            for name, value in _environ().items()
            if (match := SHARD_SETTING.fullmatch(name))
        }
        for key, is_replica in found:
            if is_replica and (key, False) not in found:
                name = f"RUN_OPS_SHARD_{key.upper()}_DATABASE"
                raise ConfigurationError(
                    f"{name}_READ_REPLICA_URL is set, but {name}_URL is not", f"set {name}_URL too"
                )
        keys = sorted(key for key, is_replica in found if not is_replica)
        return {key: (found[key, False], found.get((key, True))) for key in keys}


def load_settings() -> Settings:
    """Return the environment's settings, or raise `ConfigurationError` for a name or a value that makes no sense."""
    _refuse_unknown(_environ())
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]).upper()
        raise ConfigurationError(f"{name}: {first['msg'].lower()}", f"correct {name}, or unset it") from error


def _environ() -> dict[str, str]:
    """Return what the environment sets, as `Settings` reads it: in any case, and empty is unset."""
    return {name.upper(): value for name, value in os.environ.items() if value}


def _refuse_unknown(environ: Collection[str]) -> None:
    """Refuse names that are ours and unknown, and names of the platform that are probably one we miss, misspelt."""
    known = [name.upper() for name in Settings.model_fields]
    for name in sorted(environ):
        if name in known or SHARD_SETTING.fullmatch(name):
            continue
        ours = name.startswith(("RUNATLAS_", "RUN_OPS_SHARD_"))
        if not ours and not name.startswith(("RUN_OPS_", "DATABASE_", "CONTROL_PLANE_")):
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.85 if ours else 0.9)
        if close and (ours or close[0] not in environ):
            raise ConfigurationError(f"there is no setting {name}", f"did you mean {close[0]}?")
        if ours:
            raise ConfigurationError(
                f"there is no setting {name}",
                "a shard is RUN_OPS_SHARD_<one letter or digit>_DATABASE_URL; `runatlas settings` lists the rest",
            )
