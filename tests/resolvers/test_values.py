"""What callers write: each function's table of what it takes and what it refuses."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers import payloads, values
from resolvers.refusals import (
    ConflictError,
    InvalidInputError,
    InvalidRunStateError,
    InvalidStateError,
    NotFoundError,
    PayloadTooLargeError,
    RefusalError,
)

NOW = datetime(2026, 8, 21, 12, 0, 0, 250_000)  # noqa: DTZ001  naive UTC
PATH = ("input", "field")
NINES = "9" * 5000
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def refused(ask: Callable[[], object], kind: type[RefusalError] = InvalidInputError) -> str:
    """The sentence of a refusal, which says where, and can be sent however long or broken its input was."""
    with pytest.raises(kind) as caught:
        ask()
    assert caught.value.path is not None
    assert caught.value.path[:2] == list(PATH)
    sentence = str(caught.value)
    orjson.dumps(sentence)
    assert len(sentence) < 200
    return sentence


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (NotFoundError, "NOT_FOUND"),
        (InvalidInputError, "INVALID_INPUT"),
        (PayloadTooLargeError, "PAYLOAD_TOO_LARGE"),
        (ConflictError, "CONFLICT"),
        (InvalidStateError, "INVALID_STATE"),
        (partial(InvalidRunStateError, status="EXECUTING"), "INVALID_STATE"),
    ],
)
def test_a_refusal_says_its_code_its_sentence_and_where(kind: Callable[..., RefusalError], code: str) -> None:
    refusal = kind("no", path=("input", "id"))
    assert (refusal.code, str(refusal), refusal.path) == (code, "no", ["input", "id"])
    assert kind("no").path is None


def test_a_run_in_the_wrong_state_says_its_status() -> None:
    assert InvalidRunStateError("no", "EXECUTING").status == "EXECUTING"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30 * SECOND),
        ("1m", MINUTE),
        ("24h", DAY),
        ("3653d", 3653 * DAY),
        ("0001d", DAY),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_time_to_live_is_a_number_and_a_unit(text: str, expected: timedelta) -> None:
    assert values.time_to_live(text, PATH) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "s", "1", "0s", "000d", "-1s", "+1s", "1.5h", "1w", "1hr", "1H", "1d2h", " 1s", "1s ", "1 s", "1s\n"),
        *("\u0661s", "1_0s", "1e3s", "2026-08-21", "\ud800", "1s\0", NINES + "s", "0" * 5000 + "1s"),
    ],
    ids=lambda text: repr(text[:10]),
)
def test_any_other_time_to_live_is_refused(text: str) -> None:
    sentence = refused(lambda: values.time_to_live(text, PATH))
    assert sentence == "field is not valid: a number and one of s, m, h, d"


@pytest.mark.parametrize("text", ["3654d", "87673h", "999999999s", "999999999d"])
def test_a_time_to_live_of_more_than_ten_years_is_refused(text: str) -> None:
    assert "ten years" in refused(lambda: values.time_to_live(text, PATH))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30 * SECOND),
        ("2hr", 2 * HOUR),
        ("2h", 2 * HOUR),
        ("1d2h", DAY + 2 * HOUR),
        ("1w2d3hr4m5s", 9 * DAY + 3 * HOUR + 4 * MINUTE + 5 * SECOND),
        ("90m", 90 * MINUTE),
        ("0s", 0 * SECOND),
        ("36525d", 36_525 * DAY),
        ("0" * 99 + "s", 0 * SECOND),
        *dict.fromkeys(
            [
                *("", "d", "1", "1ms", "1h1d", "1h2h", "1hhr", "1 d", "1d 2h", " 1d", "1d\n", "1D", "-1d", "1.5d"),
                *("\u0661d", "1_0d", "1d\0", "\ud800", NINES, NINES + "s", "1d" * 5000),
            ]
        ).items(),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_duration_is_its_parts_in_order(text: str, expected: timedelta | None) -> None:
    assert values.duration(text, PATH) == expected


@pytest.mark.parametrize("text", ["36526d", "9" * 99 + "w", "5300w", "3155760001s"], ids=lambda text: text[:10])
def test_a_duration_of_more_than_a_century_is_refused(text: str) -> None:
    asks: list[Callable[..., object]] = [values.duration, values.ttl]
    asks += [partial(values.timeout, now=NOW), partial(values.delay, now=NOW)]
    for ask in asks:
        assert refused(partial(ask, text, path=PATH)) == "field is more than a hundred years"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-08-21", "2026-08-21T00:00:00"),
        ("2026-08-21T10:30", "2026-08-21T10:30:00"),
        ("2026-08-21 10:30:15", "2026-08-21T10:30:15"),
        ("2026-08-21T10:30:15Z", "2026-08-21T10:30:15"),
        ("2026-08-21t10:30:15z", "2026-08-21T10:30:15"),
        ("2026-08-21T10:30:15.123999Z", "2026-08-21T10:30:15.123"),
        ("2026-08-21T10:30:15.123999999Z", "2026-08-21T10:30:15.123"),
        ("2026-08-21T10:30:15.5+02:00", "2026-08-21T08:30:15.500"),
        ("2026-08-21T23:30-0130", "2026-08-22T01:00:00"),
        ("2026-08-21T10:30+14", "2026-08-20T20:30:00"),
        ("2024-02-29", "2024-02-29T00:00:00"),
        ("0001-01-01", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999"),
    ],
)
def test_a_moment_is_utc_in_milliseconds(text: str, expected: str) -> None:
    assert values.moment(text) == at(expected)


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "1d", "2026", "2026-08", "20260821", "2026-W34", "2026-8-1", "1787313600000", " 2026-08-21"),
        *("2026-08-21\n", "2026-08-21Z", "2026-08-21T", "2026-08-21T10", "2026-08-21T24:00", "2026-08-21T10:60"),
        *("2026-08-21T10:30:60Z", "2026-08-21T10:30:15.Z", "2026-08-21T10:30+24:00", "2026-08-21T10:30Z+01:00"),
        *("2026-02-29", "2026-13-01", "2026-00-10", "0000-01-01", "10000-01-01", "+12026-01-01", "-2026-01-01"),
        *("0001-01-01T00:00+00:01", "9999-12-31T23:59-00:01", "\u0662\u0660\u0662\u0666-08-21", "2026-08-21\0"),
        *("\ud800", NINES, NINES + "-01-01", "2026-08-21T10:30:15." + NINES),
    ],
    ids=lambda text: repr(text[:24]),
)
def test_any_other_text_is_no_moment(text: str) -> None:
    assert values.moment(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1s", NOW + SECOND),
        ("1d2h", NOW + DAY + 2 * HOUR),
        ("2026-08-21T12:00:00.251Z", NOW + timedelta(milliseconds=1)),
        ("2026-08-22", at("2026-08-22T00:00:00")),
        ("36525d", NOW + values.CENTURY),
    ],
)
def test_a_timeout_and_a_delay_are_a_date_or_a_duration_from_now(text: str, expected: datetime) -> None:
    assert values.timeout(text, NOW, PATH) == expected
    assert values.delay(text, NOW, PATH) == expected


def test_a_time_from_a_clock_is_cut_to_milliseconds() -> None:
    clock = NOW.replace(microsecond=250_999)
    assert values.timeout("1s", clock, PATH) == NOW + SECOND
    assert values.delay("0s", clock, PATH) is None


@pytest.mark.parametrize("text", ["0s", "0w0d", "2026-08-21", "2026-08-21T12:00:00.250Z", "0001-01-01"])
def test_a_time_that_has_passed_is_no_timeout_and_no_delay(text: str) -> None:
    assert refused(lambda: values.timeout(text, NOW, PATH)) == f"timeout is in the past: {text}"
    assert values.delay(text, NOW, PATH) is None


@pytest.mark.parametrize("text", ["2126-08-23", "9999-12-31T23:59:59Z"])
def test_a_date_of_the_next_century_is_refused(text: str) -> None:
    assert refused(lambda: values.timeout(text, NOW, PATH)) == "field is more than a hundred years"
    assert refused(lambda: values.delay(text, NOW, PATH)) == "field is more than a hundred years"


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", ""),
        ("tomorrow", "tomorrow"),
        ("1d\n", "1d?"),
        ("\u0661d", "\u0661d"),
        ("a\ud800", "a?"),
        ("x" * 100, "x" * 100),
        (NINES + "s", "9" * 97 + "..."),
    ],
    ids=lambda text: repr(text[:10]),
)
def test_what_is_no_time_is_quoted_in_short(text: str, quoted: str) -> None:
    assert refused(lambda: values.timeout(text, NOW, PATH)) == f"Invalid timeout: {quoted}"
    assert refused(lambda: values.delay(text, NOW, PATH)) == f"Invalid delay: {quoted}"
    assert refused(lambda: values.ttl(text, PATH)) == f"Invalid field: {quoted}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1h", "1h"), ("1d2hr", "1d2hr"), ("0s", "0s"), ("600", "600s"), ("007", "7s"), ("0", None), ("00", None)],
)
def test_a_ttl_is_a_duration_or_a_number_of_seconds(text: str, expected: str | None) -> None:
    assert values.ttl(text, PATH) == expected


@pytest.mark.parametrize("text", ["-1", "1.5", "1\n", " 1", "\u0661", "1e3", "2026-08-21", NINES], ids=lambda t: t[:10])
def test_any_other_ttl_is_refused(text: str) -> None:
    refused(lambda: values.ttl(text, PATH))


@pytest.mark.parametrize("key", ["k", " k ", "a\nb", "\u0661", "k" * 2048, "é" * 1024], ids=lambda key: repr(key[:5]))
def test_an_idempotency_key_is_stored_as_it_is(key: str) -> None:
    assert values.idempotency_key(key, PATH) == key


@pytest.mark.parametrize(
    "key", ["", "k" * 2049, "é" * 1025, "a\0", "\ud800", NINES], ids=lambda key: repr(key[:5] + str(len(key)))
)
def test_a_key_that_no_row_can_hold_is_refused(key: str) -> None:
    refused(lambda: values.idempotency_key(key, PATH))


@pytest.mark.parametrize("text", ["a", " a ", "task/x", "é" * 128, "\n", "\u0661"], ids=lambda text: repr(text[:5]))
def test_a_name_is_stored_as_it_is(text: str) -> None:
    assert values.plain(text, PATH) == text


@pytest.mark.parametrize("text", ["", "a" * 129, "a\0", "\udc00", NINES], ids=lambda text: repr(text[:5]))
def test_a_name_that_no_row_can_hold_is_refused(text: str) -> None:
    refused(lambda: values.plain(text, PATH))


def test_a_name_may_have_another_bound() -> None:
    assert values.plain("a" * 255, PATH, longest=255) == "a" * 255
    assert refused(lambda: values.plain("abc", PATH, longest=2)) == "field is longer than 2 characters"


@pytest.mark.parametrize("tags", [values.run_tags, values.token_tags])
def test_tags_are_each_once_in_order_and_none_is_blank(tags: Callable[..., list[str]]) -> None:
    assert tags([], PATH) == []
    assert tags(["b", "", "a", " \n\u00a0", "b", " a "], PATH) == ["b", "a", " a "]
    assert tags(["é" * 128], PATH) == ["é" * 128]
    ten = [str(number) for number in range(10)]
    assert tags([*ten, "", *ten], PATH) == ten


@pytest.mark.parametrize(("tags", "whose"), [(values.run_tags, "Runs"), (values.token_tags, "Waitpoints")])
def test_too_many_tags_are_refused(tags: Callable[..., list[str]], whose: str) -> None:
    eleven = [str(number) for number in range(11)]
    sentence = refused(lambda: tags([*eleven, "0", ""], PATH))
    assert sentence == f"{whose} can only have 10 tags, you're trying to set 11."


@pytest.mark.parametrize("tag", ["a" * 129, "a\0", "\ud800", NINES], ids=lambda tag: repr(tag[:5]))
def test_a_tag_that_no_row_can_hold_is_refused_by_its_place(tag: str) -> None:
    for tags in (values.run_tags, values.token_tags):
        with pytest.raises(InvalidInputError) as caught:
            tags(["fine", tag], PATH)
        assert caught.value.path == [*PATH, "1"]


def test_a_number_is_in_its_bounds() -> None:
    assert [values.whole(number, PATH, 1, 3) for number in (1, 2, 3)] == [1, 2, 3]
    for number in (0, 4, -1, 10**5000):
        assert refused(partial(values.whole, number, PATH, 1, 3)) == "field is not between 1 and 3"


@pytest.mark.parametrize(
    ("value", "text", "content_type"),
    [
        ("", None, "application/json"),
        ("plain", "plain", "text/plain"),
        ('{"a":1}', '{"a":1}', "text/plain"),
        (" \n", " \n", "text/plain"),
        (None, '{"json":null}', "application/super+json"),
        (True, '{"json":true}', "application/super+json"),
        (0, '{"json":0}', "application/super+json"),
        (-0.0, '{"json":-0.0}', "application/super+json"),
        (2**64 - 1, '{"json":18446744073709551615}', "application/super+json"),
        ([], '{"json":[]}', "application/super+json"),
        ([""], '{"json":[""]}', "application/super+json"),
        ({"json": 1, "meta": {}}, '{"json":{"json":1,"meta":{}}}', "application/super+json"),
        ({"é": "\\u0000 \n"}, '{"json":{"é":"\\\\u0000 \\n"}}', "application/super+json"),
    ],
    ids=repr,
)
def test_a_payload_is_stored_as_the_platform_does(value: object, text: str | None, content_type: str) -> None:
    assert values.encode(value, PATH) == (text, content_type)


def test_a_payload_that_is_not_given_is_not_stored() -> None:
    assert values.encode(None, PATH, given=False) == (None, "application/json")


def nested(levels: int) -> object:
    return json.loads("[" * levels + "]" * levels)


UNWRITABLE = {
    "surrogate": "a\ud800",
    "surrogates": ["\ud83e\udd8a"],
    "key": {"\udc00": 1},
    "NUL": ["a\0"],
    "NUL key": {"\0": 1},
    "NUL after backslashes": ["\\\\\0"],
    "integer": 2**64,
    "negative": [-(2**63) - 1],
    "digits": 10**5000,
    "infinite": float("inf"),
    "minus infinite": {"a": [float("-inf")]},
    "deep": nested(201),
    "deeper": nested(900),
}


@pytest.mark.parametrize("value", UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_no_row_or_answer_can_hold_is_refused(value: object) -> None:
    refused(lambda: values.encode(value, PATH))
    refused(lambda: values.json_text(value, PATH))


def test_plain_text_with_a_nul_is_refused() -> None:
    refused(lambda: values.encode("a\0", PATH))


def test_a_value_is_as_deep_as_it_can_be_read() -> None:
    text, content_type = values.encode(nested(199), PATH)
    payload = payloads.decode(text, content_type)
    assert payload is not None
    assert payload.text is None
    refused(lambda: values.encode(nested(200), PATH))
    assert payloads.decode_metadata(values.json_text(nested(200), PATH), "application/json") == nested(200)


def test_a_payload_is_as_large_as_the_bytes_that_are_stored() -> None:
    largest = values.LARGEST_PAYLOAD
    around = len('{"json":[""]}')
    assert values.encode("a" * largest, PATH)[0] == "a" * largest
    assert len(values.encode(["a" * (largest - around)], PATH)[0] or "") == largest
    for value in ("a" * (largest + 1), "é" * (largest // 2 + 1), ["a" * (largest - around + 1)]):
        sentence = refused(partial(values.encode, value, PATH), PayloadTooLargeError)
        assert sentence == "Payload is too large"


def test_metadata_is_compact_json_of_a_largest_size() -> None:
    assert values.json_text({"a": [1, 0.5, None, "é"]}, PATH) == '{"a":[1,0.5,null,"é"]}'
    fits = "a" * (values.LARGEST_METADATA - len('{"a":""}'))
    assert len(values.json_text({"a": fits}, PATH)) == 262_144
    sentence = refused(lambda: values.json_text({"a": fits + "a"}, PATH), PayloadTooLargeError)
    assert sentence == "Metadata exceeds maximum size of 262144 bytes"


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.sampled_from(["\\u0000", "\\"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec=None)), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_stored_reads_as_what_was_given(value: object) -> None:
    payload = payloads.decode(*values.encode(value, PATH))
    assert orjson.dumps(payload and payload.json) == orjson.dumps(None if value == "" else value)
    metadata = payloads.decode_metadata(values.json_text(value, PATH), "application/json")
    assert orjson.dumps(metadata) == orjson.dumps(value)


@given(ANYTHING)
def test_any_value_is_stored_as_it_is_or_refused(value: object) -> None:
    try:
        text, content_type = values.encode(value, PATH)
    except InvalidInputError:
        return
    payload = payloads.decode(text, content_type)
    assert (payload and payload.json) == (None if value == "" else value)
    assert text is None or "\0" not in text


@given(st.text(st.characters(codec=None)) | st.from_regex(r"[0-9]+[wdhrms]+[0-9]*|[0-9T:.Z+-]+"))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    for ask in (
        values.time_to_live,
        values.duration,
        values.ttl,
        values.idempotency_key,
        values.plain,
        partial(values.timeout, now=NOW),
        partial(values.delay, now=NOW),
    ):
        try:
            ask(text, path=PATH)
        except InvalidInputError as error:
            orjson.dumps(str(error))
    moment = values.moment(text)
    assert moment is None or moment.tzinfo is None
