"""Which databases there are: the settings, and what is refused in one sentence."""

import os

import pytest

from store.errors import ConfigurationError
from store.residency import LEGACY, NEW
from store.settings import load_settings
from store.topology import Topology, names_databases
from store.urls import parse_url

CP = "postgresql://atlas:s3cret@db.internal:5432/main"
OPS = "postgresql://atlas:s3cret@ops.internal/ops"


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith(("RUN_OPS_", "RUNATLAS_", "DATABASE_", "CONTROL_PLANE_")):
            monkeypatch.delenv(name)
    return monkeypatch


def topology(environ: pytest.MonkeyPatch, **variables: str) -> Topology:
    for name, value in variables.items():
        environ.setenv(name, value)
    return Topology.of(load_settings())


def test_without_a_url_there_is_no_database(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("RUNATLAS_PORT", "1234")
    assert not names_databases(load_settings())


def test_one_url_is_a_topology_of_one_shard(environ: pytest.MonkeyPatch) -> None:
    made = topology(environ, DATABASE_URL=CP)
    assert [shard.key for shard in made.shards] == [LEGACY]
    assert made.shards[0].access == made.control_plane


def test_new_is_read_whenever_its_url_is_there(environ: pytest.MonkeyPatch) -> None:
    made = topology(environ, DATABASE_URL=CP, RUN_OPS_DATABASE_URL=OPS, RUN_OPS_MINT_ENABLED="false")
    assert [(shard.key, shard.catalog.variant) for shard in made.shards] == [(LEGACY, "full"), (NEW, "dedicated")]


def test_the_split_can_be_switched_off(environ: pytest.MonkeyPatch) -> None:
    made = topology(environ, DATABASE_URL=CP, RUN_OPS_DATABASE_URL=OPS, RUN_OPS_SPLIT_ENABLED="false")
    assert [shard.key for shard in made.shards] == [LEGACY]


def test_second_generation_shards_are_named_by_one_character(environ: pytest.MonkeyPatch) -> None:
    made = topology(
        environ,
        DATABASE_URL=CP,
        RUN_OPS_DATABASE_URL=OPS,
        RUN_OPS_SHARD_B_DATABASE_URL=f"{OPS}b",
        RUN_OPS_SHARD_7_DATABASE_URL=f"{OPS}7",
    )
    assert [shard.key for shard in made.shards] == [LEGACY, NEW, "7", "b"]


def test_legacy_and_the_control_plane_may_be_apart(environ: pytest.MonkeyPatch) -> None:
    made = topology(
        environ,
        DATABASE_URL="postgresql://x@y/ignored",
        CONTROL_PLANE_DATABASE_URL=CP,
        RUN_OPS_LEGACY_DATABASE_URL=f"{OPS}-legacy",
        RUN_OPS_DATABASE_URL=OPS,
    )
    assert made.control_plane.primary.place == "db.internal:5432/main"
    assert made.shards[0].access.primary.place == "ops.internal/ops-legacy"


def test_a_replica_belongs_to_its_primary(environ: pytest.MonkeyPatch) -> None:
    made = topology(environ, DATABASE_URL=CP, DATABASE_READ_REPLICA_URL=CP.replace("db.", "replica."))
    assert made.shards[0].access.replica is not None
    assert made.shards[0].access.replica.place == "replica.internal:5432/main"


@pytest.mark.parametrize(
    ("variables", "sentence", "hint"),
    [
        ({"RUN_OPS_DATABASE_URL": OPS}, "DATABASE_URL is not", "set DATABASE_URL"),
        ({"DATABASE_URL": CP, "RUN_OPS_SPLIT_ENABLED": "true"}, "RUN_OPS_DATABASE_URL is not set", "unset"),
        ({"DATABASE_READ_REPLICA_URL": CP}, "DATABASE_URL is not", "set DATABASE_URL"),
        ({"DATABASE_URL": CP, "RUN_OPS_SHARD_A_DATABASE_READ_REPLICA_URL": OPS}, "RUN_OPS_SHARD_A", "set"),
        ({"RUNATLAS_PROT": "1"}, "no setting RUNATLAS_PROT", "RUNATLAS_PORT"),
        ({"RUNATLAS_COLOUR": "blue"}, "no setting RUNATLAS_COLOUR", "runatlas settings"),
        ({"RUN_OPS_DATABSE_URL": OPS}, "no setting RUN_OPS_DATABSE_URL", "RUN_OPS_DATABASE_URL"),
        ({"RUN_OPS_SHARD_AB_DATABASE_URL": OPS}, "no setting RUN_OPS_SHARD_AB_DATABASE_URL", "one letter"),
        ({"RUNATLAS_PORT": "eighty"}, "RUNATLAS_PORT", "correct"),
        ({"RUN_OPS_KSUID_RESIDENCY": "mars"}, "RUN_OPS_KSUID_RESIDENCY", "correct"),
        ({"DATABASE_URL": "mysql://s3cret@h/d"}, "not a postgresql:// URL", "postgresql://user"),
        ({"DATABASE_URL": "postgresql://s3cret@h:port/d"}, "not a URL", "postgresql://user"),
        ({"DATABASE_URL": "postgresql://s3cret@h"}, "names no database", "postgresql://user"),
        ({"DATABASE_URL": "postgresql:///s3cret"}, "names no host", "postgresql://user"),
        ({"DATABASE_URL": "s3cret"}, "not a postgresql:// URL", "postgresql://user"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    environ: pytest.MonkeyPatch, variables: dict[str, str], sentence: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        topology(environ, **variables)
    assert sentence in str(refusal.value)
    assert hint in refusal.value.hint
    assert "s3cret" not in f"{refusal.value} {refusal.value.hint}"
    assert "\n" not in f"{refusal.value} {refusal.value.hint}"


def test_settings_of_the_platform_that_we_do_not_use_are_left_alone(environ: pytest.MonkeyPatch) -> None:
    topology(environ, DATABASE_URL=CP, RUN_OPS_DATABASE_CONNECTION_LIMIT="10", DATABASE_POOL_TIMEOUT="60")


def test_a_url_of_the_platforms_client_is_understood() -> None:
    url = parse_url(
        "DATABASE_URL",
        "postgres://u:p%40ss@h:6543/d?schema=tasks&pgbouncer=true&connection_limit=3&pool_timeout=9&sslmode=require",
    )
    assert url.dsn == "postgresql://u:p%40ss@h:6543/d?sslmode=require"
    assert (url.search_path, url.through_pooler, url.pool_size) == ("tasks", True, 3)


def test_a_socket_is_a_host() -> None:
    assert parse_url("DATABASE_URL", "postgresql://u@/d?host=/run/pg").place == "/run/pg/d"


def test_a_url_is_never_printed() -> None:
    assert "s3cret" not in repr(parse_url("DATABASE_URL", CP))
