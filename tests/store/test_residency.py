"""Where an id may live: every vector of the platform, and what follows for one, two and three shards."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import ids
from store.residency import (
    HOME_OF_A_RUN_WITHOUT_ID,
    HOME_OF_A_WAITPOINT_WITHOUT_OWNER,
    LEGACY,
    NEW,
    Residency,
    ShardKey,
    shard_of,
)

A = ShardKey("a")
with (Path(__file__).parents[1] / "data" / "residency.csv").open(newline="", encoding="utf-8") as facts:
    VECTORS = [(row["input"], row["shard"]) for row in csv.DictReader(facts)]

TWO = Residency((LEGACY, NEW))
THREE = Residency((LEGACY, NEW, A))


@pytest.mark.parametrize(("reference", "shard"), VECTORS)
def test_the_shape_of_an_id_names_its_shard(reference: str, shard: str) -> None:
    assert shard_of(reference) == shard


@given(st.text())
def test_every_text_names_a_shard(text: str) -> None:
    assert shard_of(text) in {LEGACY, NEW, *ids.BASE36}


@given(
    st.sampled_from([ids.mint_v1(), ids.mint_v2("a"), "3Fwk0W45UFgwmG27Mmk0MrbDL7n"]),
    st.integers(0, 25),
    st.text(min_size=1, max_size=2),
)
def test_one_foreign_character_makes_an_id_legacy(body: str, place: int, wrong: str) -> None:
    mutated = body[:place] + wrong + body[place + 1 :]
    if ids.is_run_ops(mutated) or ids.is_ksuid(mutated):
        return
    assert shard_of(f"run_{mutated}") == LEGACY or "_" in mutated


def test_retired_ids_live_where_the_deployment_says() -> None:
    ksuid = "3Fwk0W45UFgwmG27Mmk0MrbDL7n"
    assert TWO.run(ksuid) == (NEW,)
    assert Residency((LEGACY, NEW), ksuid=LEGACY).run(ksuid) == (LEGACY,)


def test_a_run_is_on_one_shard() -> None:
    assert TWO.run(ids.mint_cuid()) == (LEGACY,)
    assert TWO.run(ids.mint_v1()) == (NEW,)
    assert THREE.run(ids.mint_v2("a")) == (A,)


def test_a_batch_is_looked_for_at_home_first() -> None:
    assert THREE.batch(ids.mint_v1()) == (NEW, A, LEGACY)
    assert THREE.batch(ids.mint_cuid()) == (LEGACY, A, NEW)


def test_a_waitpoint_may_be_anywhere() -> None:
    assert TWO.waitpoint() == (NEW, LEGACY)
    assert THREE.waitpoint() == (A, NEW, LEGACY)


def test_an_id_of_a_shard_that_is_not_configured_is_nowhere() -> None:
    assert TWO.run(ids.mint_v2("a")) == ()
    assert TWO.batch(ids.mint_v2("a")) == (NEW, LEGACY)


def test_with_one_shard_there_is_nothing_to_decide() -> None:
    one = Residency((LEGACY,))
    for body in (ids.mint_cuid(), ids.mint_v1(), ids.mint_v2("a")):
        assert one.run(body) == one.batch(body) == one.waitpoint() == (LEGACY,)


def test_lookups_and_merges_go_opposite_ways() -> None:
    assert THREE.probe_order == (A, NEW, LEGACY)
    assert THREE.precedence == (LEGACY, NEW, A)


def test_the_homes_of_rows_without_an_owner_differ() -> None:
    assert (HOME_OF_A_RUN_WITHOUT_ID, HOME_OF_A_WAITPOINT_WITHOUT_OWNER) == (NEW, LEGACY)


@pytest.mark.parametrize(
    ("reference", "route", "why"),
    [
        ("run_06fiq7vkik00000000000000e1", (NEW,), "2026-07-04T12:34:56.789Z"),
        ("run_06g237g8000i6hb7h6lsrro1a2", (A,), "'a'"),
        ("run_cmcn4q2x80001l5087k3v9d1f", (LEGACY,), "25 characters"),
        ("batch_cmcn4q2x80001l5087k3v9d1f", (LEGACY, A, NEW), "misses"),
        ("waitpoint_cmcn4q2x80001l5087k3v9d1f", (A, NEW, LEGACY), "every shard"),
        ("run_06g237g8000i6hb7h6lsrro172", (), "not configured"),
        ("3Fwk0W45UFgwmG27Mmk0MrbDL7n", (NEW,), "retired"),
        ("session_06fiq7vkik00000000000000e1", (NEW,), "not a run, batch or waitpoint"),
    ],
)
def test_a_route_can_be_explained(reference: str, route: tuple[str, ...], why: str) -> None:
    explained, sentence = THREE.explain(reference)
    assert explained == route
    assert why in sentence
