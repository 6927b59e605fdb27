"""Which databases there are: the settings, and what is refused in one sentence."""

import os
from inspect import signature
from typing import Any

import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args

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


@pytest.mark.parametrize(
    "name",
    [
        "DATABASE_URL",
        "RUN_OPS_LEGACY_DATABASE_URL",
        "DATABASE_READ_REPLICA_URL",
        "CONTROL_PLANE_DATABASE_READ_REPLICA_URL",
        "RUN_OPS_DATABASE_READ_REPLICA_URL",
        "RUN_OPS_SHARD_A_DATABASE_URL",
    ],
)
def test_any_url_says_that_databases_were_meant(environ: pytest.MonkeyPatch, name: str) -> None:
    environ.setenv(name, CP)
    assert names_databases(load_settings())


@pytest.mark.parametrize("split", ["true", "false"])
def test_a_split_says_that_databases_were_meant(environ: pytest.MonkeyPatch, split: str) -> None:
    environ.setenv("RUN_OPS_SPLIT_ENABLED", split)
    assert names_databases(load_settings())


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
        ({"RUN_OPS_DATABASE_URL": OPS}, "no control plane: DATABASE_URL is not set", "set DATABASE_URL"),
        ({"RUN_OPS_SHARD_A_DATABASE_URL": OPS}, "no control plane: DATABASE_URL is not set", "set DATABASE_URL"),
        ({"RUN_OPS_SPLIT_ENABLED": "true"}, "no control plane: DATABASE_URL is not set", "set DATABASE_URL"),
        (
            {"DATABASE_URL": CP, "CONTROL_PLANE_DATABASE_READ_REPLICA_URL": CP},
            "CONTROL_PLANE_DATABASE_URL is not",
            "set CONTROL_PLANE_DATABASE_URL",
        ),
        (
            {"CONTROL_PLANE_DATABASE_URL": CP, "DATABASE_READ_REPLICA_URL": CP},
            "DATABASE_READ_REPLICA_URL is set, but DATABASE_URL is not",
            "set DATABASE_URL",
        ),
        (
            {"DATABASE_URL": CP, "RUN_OPS_SPLIT_ENABLED": "false", "RUN_OPS_DATABASE_URL": "mysql://s3cret@h/d"},
            "RUN_OPS_DATABASE_URL is not a postgresql:// URL",
            "postgresql://user",
        ),
        (
            {
                "DATABASE_URL": CP,
                "RUN_OPS_SPLIT_ENABLED": "false",
                "RUN_OPS_SHARD_A_DATABASE_URL": "mysql://s3cret@h/d",
            },
            "RUN_OPS_SHARD_A_DATABASE_URL is not a postgresql:// URL",
            "postgresql://user",
        ),
        ({"DATABASE_URL": CP, "RUN_OPS_SPLIT_ENABLED": "true"}, "RUN_OPS_DATABASE_URL is not set", "unset"),
        ({"DATABASE_READ_REPLICA_URL": CP}, "DATABASE_URL is not", "set DATABASE_URL"),
        ({"DATABASE_URL": CP, "RUN_OPS_SHARD_A_DATABASE_READ_REPLICA_URL": OPS}, "RUN_OPS_SHARD_A", "set"),
        ({"RUNATLAS_PROT": "1"}, "no setting RUNATLAS_PROT", "RUNATLAS_PORT"),
        ({"runatlas_prot": "1"}, "no setting RUNATLAS_PROT", "RUNATLAS_PORT"),
        ({"DATABASE_URI": CP}, "no setting DATABASE_URI", "DATABASE_URL"),
        ({"RUNATLAS_COLOUR": "blue"}, "no setting RUNATLAS_COLOUR", "runatlas settings"),
        ({"RUN_OPS_DATABSE_URL": OPS}, "no setting RUN_OPS_DATABSE_URL", "RUN_OPS_DATABASE_URL"),
        ({"RUN_OPS_SHARD_AB_DATABASE_URL": OPS}, "no setting RUN_OPS_SHARD_AB_DATABASE_URL", "one letter"),
        ({"RUNATLAS_PORT": "eighty"}, "RUNATLAS_PORT", "correct"),
        ({"RUN_OPS_KSUID_RESIDENCY": "mars"}, "RUN_OPS_KSUID_RESIDENCY", "correct"),
        ({"DATABASE_URL": "mysql://s3cret@h/d"}, "not a postgresql:// URL", "postgresql://user"),
        ({"DATABASE_URL": "postgresql://s3cret@h:port/d"}, "not a URL", "postgresql://user"),
        ({"DATABASE_URL": "postgresql://s3cret@h"}, "names no database", "postgresql://user"),
        ({"DATABASE_URL": "postgresql:///s3cret"}, "names no host", "postgresql://user"),
        ({"DATABASE_URL": "postgresql://u:12/s3cret@h/d"}, "not a URL", "%2F for /"),
        ({"DATABASE_URL": "postgresql://u:s3cret@h:65536/d"}, "not a URL", "postgresql://user"),
        ({"DATABASE_URL": "postgresql://u:s3cret@h/d%0Ae"}, "not a URL", "postgresql://user"),
        ({"DATABASE_URL": "postgresql://u:s3cret@h/d?host=i:1"}, "not a URL", "postgresql://user"),
        ({"DATABASE_URL": "postgresql://u:s3cret@h:1,i:2/d"}, "several hosts, which is not supported", "primary"),
        ({"DATABASE_URL": "postgresql://u:s3cret@/d?host=h,i"}, "several hosts, which is not supported", "primary"),
        ({"DATABASE_URL": "postgresql://u:s3cret@h/d?sslmode=no-verify"}, "sslmode", "prefer, require, verify-ca"),
        (
            {"DATABASE_URL": "postgresql://u:s3cret@h/d?pgbouncer=true&schema=tasks"},
            "asks a pooler for a schema",
            "parameter schema",
        ),
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


@pytest.mark.parametrize("neighbour", ["DATABASE_URI", "DATABASE_URLS", "DATABASE_URL_2"])
def test_a_name_beside_one_that_is_set_is_no_misspelling(environ: pytest.MonkeyPatch, neighbour: str) -> None:
    topology(environ, **{"DATABASE_URL": CP, neighbour: CP})


def test_names_may_be_in_lower_case(environ: pytest.MonkeyPatch) -> None:
    made = topology(environ, database_url=CP, run_ops_shard_a_database_url=OPS)
    assert [shard.key for shard in made.shards] == [LEGACY, "a"]


def test_a_url_of_the_platforms_client_is_understood() -> None:
    url = parse_url(
        "DATABASE_URL",
        "postgres://u:p%40ss@h:6543/d?schema=public&pgbouncer=true&connection_limit=3&pool_timeout=9&sslmode=require",
    )
    assert url.dsn == "postgresql://u:p%40ss@h:6543/d?sslmode=require"
    assert (url.search_path, url.through_pooler, url.pool_size) == (None, True, 3)


@pytest.mark.parametrize(
    ("query", "pooled"),
    [
        ("pgbouncer=true", True),
        ("pgbouncer=TRUE", True),
        ("pgbouncer=1", True),
        ("statement_cache_size=0", True),
        ("pgbouncer=false", False),
        ("statement_cache_size=100", False),
        ("", False),
    ],
)
def test_a_pooler_is_known_by_its_parameters(query: str, *, pooled: bool) -> None:
    assert parse_url("DATABASE_URL", f"{CP}?{query}").through_pooler is pooled


@pytest.mark.parametrize(
    ("schema", "path"), [("public", None), ("", None), ("Tenant", '"Tenant"'), ("a%22b", '"a""b"'), ("a,b", '"a,b"')]
)
def test_a_schema_is_an_identifier(schema: str, path: str | None) -> None:
    assert parse_url("DATABASE_URL", f"{CP}?schema={schema}").search_path == path


def as_the_driver_reads(dsn: str) -> tuple[list[Any], str, str | None, str]:
    """Return the addresses, the user, the password and the database that the driver finds in a URL."""
    arguments: dict[str, Any] = dict.fromkeys(signature(_parse_connect_dsn_and_args).parameters)
    addresses, parameters = _parse_connect_dsn_and_args(**arguments | {"dsn": dsn})
    return addresses, parameters.user, parameters.password, parameters.database


@pytest.mark.parametrize(
    ("url", "place", "address", "user", "password"),
    [
        ("postgresql://u:p@h:1/d", "h:1/d", ("h", 1), "u", "p"),
        ("  POSTGRESQL://u:p@h/d \n", "h/d", ("h", 5432), "u", "p"),
        ("postgresql://u:p@h:1/d?host=i", "i:1/d", ("i", 1), "u", "p"),
        ("postgresql://u:p@h:1/d?port=2", "h:2/d", ("h", 2), "u", "p"),
        ("postgresql://u:p@h/d?user=v&password=q%26", "h/d", ("h", 5432), "v", "q&"),
        ("postgresql://u:p@h:1/d?host=/run/Pg", "/run/Pg:1/d", "/run/Pg/.s.PGSQL.1", "u", "p"),
        ("postgresql://u:p@%2Frun%2FPg/d", "/run/Pg/d", "/run/Pg/.s.PGSQL.5432", "u", "p"),
        ("postgresql://u:p@[::1]:1/d", "[::1]:1/d", ("::1", 1), "u", "p"),
        ("postgresql://u:p@/d?host=::1", "[::1]/d", ("::1", 5432), "u", "p"),
        ("postgresql://u:p@q@h/d", "h/d", ("h", 5432), "u", "p@q"),
        ("postgresql://u:p:q%@h/d", "h/d", ("h", 5432), "u", "p:q%"),
    ],
)
def test_what_is_printed_is_what_is_connected_to(  # noqa: PLR0913, PLR0917  a row of the table
    environ: pytest.MonkeyPatch, url: str, place: str, address: object, user: str, password: str
) -> None:
    environ.setenv("PGHOST", "elsewhere")
    environ.setenv("PGPORT", "7")
    understood = parse_url("DATABASE_URL", url)
    assert understood.place == place
    assert as_the_driver_reads(understood.dsn) == ([address], user, password, "d")


def test_a_socket_is_a_host() -> None:
    assert parse_url("DATABASE_URL", "postgresql://u@/d?host=/run/pg").place == "/run/pg/d"


def test_a_url_is_never_printed() -> None:
    assert "s3cret" not in repr(parse_url("DATABASE_URL", CP))
