"""Ids: what the platform mints, we read; what we mint, it reads."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import ids
from store.errors import InvalidIdError

V1 = "06fiq7vkik00000000000000e1"
V1_AT = datetime(2026, 7, 4, 12, 34, 56, 789_000, tzinfo=UTC)
V2 = "06g237g8000i6hb7h6lsrro1a2"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (bytes(5), "00000000"),
        (b"\xff" * 5, "vvvvvvvv"),
        (b"\0\0\0\0\x01", "00000001"),
        (b"\x20\0\0\0\0", "40000000"),
    ],
)
def test_base32hex_is_the_platforms(data: bytes, text: str) -> None:
    assert ids.encode(data) == text
    assert ids.decode(text) == data


@given(st.sampled_from([5, 10, 15, 20]).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_base32hex_loses_nothing(data: bytes) -> None:
    assert ids.decode(ids.encode(data)) == data


@pytest.mark.parametrize("character", ["w", "x", "z", "A", "V", "-", "_", " ", "٣", "é"])
def test_base32hex_has_no_other_digits(character: str) -> None:
    with pytest.raises(InvalidIdError):
        ids.decode("0" * 7 + character)


def test_a_v1_id_is_minted_as_the_platform_does() -> None:
    assert ids.mint_v1("us-east-1", V1_AT, bytes(9)) == V1
    assert ids.mint_v1(None, V1_AT, b"\xff" * 9) == "06fiq7vkinvvvvvvvvvvvvvv01"
    assert ids.mint_v1("us-west-2", V1_AT)[24:] == "w1"
    assert ids.mint_v1("eu-central-1", V1_AT)[24:] == "c1"
    assert ids.mint_v1("mars-north-1", V1_AT)[24:] == "01"


def test_a_v2_id_names_its_shard() -> None:
    at = datetime(2026, 8, 21, tzinfo=UTC)
    assert ids.mint_v2("a", at, bytes.fromhex("0123456789abcdef01")) == V2
    assert ids.parse_run_ops(V2) == ids.RunOpsId(at, "a", 2)


@pytest.mark.parametrize("shard", ["", "ab", "A", "-", "é", "٣", "new"])
def test_an_unroutable_id_is_never_minted(shard: str) -> None:
    with pytest.raises(InvalidIdError):
        ids.mint_v2(shard)


def test_the_time_of_an_id_is_its_millisecond() -> None:
    assert ids.parse_run_ops(V1) == ids.RunOpsId(V1_AT, "e", 1)
    assert ids.parse_run_ops("00000000000000000000000001").created_at == datetime(1970, 1, 1, tzinfo=UTC)
    assert ids.ksuid_created_at("0" * 27) == datetime(2014, 5, 13, 16, 53, 20, tzinfo=UTC)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2247, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_ids_sort_by_their_time(at: datetime) -> None:
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    minted = ids.mint_v1(at=at)
    assert ids.parse_run_ops(minted).created_at == at
    assert (minted < V1) == (at < V1_AT) or at == V1_AT


def test_ids_of_one_millisecond_differ_and_are_dns_labels() -> None:
    mints: tuple[Callable[[], str], ...] = (
        lambda: ids.mint_v1(at=V1_AT),
        lambda: ids.mint_v2("7", V1_AT),
        lambda: ids.mint_cuid(V1_AT),
    )
    for mint in mints:
        minted = {mint() for _ in range(2_000)}
        assert len(minted) == 2_000
        assert all(body.isalnum() and body == body.lower() for body in minted)


def test_the_kinds_of_id_never_meet() -> None:
    mints: tuple[Callable[[], str], ...] = (ids.mint_cuid, ids.mint_v1, lambda: ids.mint_v2("z"))
    kinds = [{mint() for _ in range(50_000)} for mint in mints]
    assert sum(map(len, kinds)) == len(set().union(*kinds)) == 150_000
    assert {len(body) for body in kinds[0]} == {25}
    assert {len(body) for body in kinds[1] | kinds[2]} == {26}
    assert all(body[0] == "c" for body in kinds[0])


def test_friendly_and_internal_are_one_body() -> None:
    assert ids.friendly("run", V1) == f"run_{V1}" == ids.friendly("run", f"run_{V1}")
    assert ids.internal(f"run_{V1}") == V1 == ids.internal(f"run_{V1}", "run")
    assert ids.body(f"run_{V1}") == V1 == ids.body(V1)


@pytest.mark.parametrize(("prefix", "body"), [("", V1), ("run", "")])
def test_an_id_has_two_parts_when_it_is_made(prefix: str, body: str) -> None:
    with pytest.raises(InvalidIdError):
        ids.friendly(prefix, body)


@pytest.mark.parametrize("text", ["", "_", "run", "run_", "_x", "run_a_b", "run__a"])
def test_an_id_has_two_parts_when_it_is_read(text: str) -> None:
    with pytest.raises(InvalidIdError):
        ids.internal(text)


def test_an_id_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidIdError, match="not the id of a batch"):
        ids.internal(f"run_{V1}", "batch")


@pytest.mark.parametrize("text", ["", "a\0b", "run_é", "x" * 257, "run_\ud800", "run_a\n"])
def test_what_postgres_text_cannot_hold_is_told_beforehand(text: str) -> None:
    assert not ids.can_exist(text)
