"""Payloads: what superjson wrote is read as its values, and nothing that is stored makes decoding fail.

``tests/data/superjson.json`` is written by the library itself: each text by the release that it names, each value from
the JavaScript value that it was given, or from what the library reads where its text does not hold all of that. "Told
once" is its `dedupe`.
"""

import json
import math
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers import payloads
from resolvers.payloads import ErrorRecord, Payload, decode, decode_error, decode_metadata

JSON = "application/json"
SUPERJSON = "application/super+json"
STORE = "application/store"
PLAIN = "text/plain"
AT = "2026-08-21T00:00:00.000Z"

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "superjson.json").read_text("utf-8"))


def written(value: object) -> bytes:
    """JSON as an answer has it; tells 1 from 1.0 and from true, and -0.0 from 0.0."""
    for _ in range(payloads.ENVELOPE):
        value = [value]
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def superjson(value: object, values: object = None, equalities: object = None, version: object = 1) -> object:
    """What is read from a value and its `meta`. It is never text."""
    meta = {"values": values, "referentialEqualities": equalities, "v": version}
    payload = decode(orjson.dumps({"json": value, "meta": meta}).decode(), SUPERJSON)
    assert payload is not None
    assert payload.text is None
    written(payload.json)
    return payload.json


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['name']} ({vector['library']})")
def test_what_superjson_wrote_is_read(vector: dict[str, Any]) -> None:
    payload = decode(vector["text"], SUPERJSON)
    assert payload is not None
    assert payload.text is None
    assert written(payload.json) == written(vector["json"])


def test_no_text_is_no_payload() -> None:
    assert decode(None, JSON) is None
    assert decode_metadata(None, JSON) is None


def test_plain_text_is_a_json_string_too() -> None:
    assert decode("[1]", PLAIN) == Payload(PLAIN, "[1]", "[1]", 3)
    assert decode("", PLAIN) == Payload(PLAIN, "", "", 0)


def test_json_is_decoded() -> None:
    assert decode('{"a": [1, null]}', JSON) == Payload(JSON, {"a": [1, None]}, None, 16)
    assert decode("null", JSON) == Payload(JSON, None, None, 4)
    assert decode('{"json": 1, "meta": {}}', JSON) == Payload(JSON, {"json": 1, "meta": {}}, None, 23)


def test_a_place_in_the_object_store_is_not_shown() -> None:
    assert decode("run_x/payload.json", STORE) == Payload(STORE, None, None, None)


def test_any_other_type_is_text() -> None:
    assert decode("{}", "application/xml") == Payload("application/xml", None, "{}", 2)
    assert decode("{}", "") == Payload("", None, "{}", 2)


def test_size_is_in_bytes_of_utf_8() -> None:
    payload = decode('"é🦊"', JSON)
    assert payload is not None
    assert payload.byte_size == 8


@pytest.mark.parametrize("content_type", [JSON, SUPERJSON])
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "{'a': 1}",
        "undefined",
        "NaN",
        '{"json": NaN}',
        '{"json": [Infinity, -Infinity]}',
        '{"json": 1e999}',
        '{"json": %s}' % ("9" * 5000),
        '{"json": "\\ud800"}',
        '{"json": 1} 2',
        "\ufeff1",
        "[" * 100_000,
        '{"json": %s}' % ("[" * 100_000 + "]" * 100_000),
        '{"json": 1, "meta": %s}' % ('{"values":' * 2000 + "1" + "}" * 2000),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_json_stays_text(text: str, content_type: str) -> None:
    assert decode(text, content_type) == Payload(content_type, None, text, len(text.encode()))


@pytest.mark.parametrize("text", ["null", "1", '"json"', "[]", "{}", '{"meta": {"values": ["Date"]}}'])
def test_what_is_json_and_no_superjson_stays_text(text: str) -> None:
    assert decode(text, SUPERJSON) == Payload(SUPERJSON, None, text, len(text))


def test_the_last_of_equal_keys_counts() -> None:
    assert decode('{"a": 1, "a": 2}', JSON) == Payload(JSON, {"a": 2}, None, 16)


def test_numbers_that_no_integer_holds_are_floats_as_in_javascript() -> None:
    assert decode_metadata("18446744073709551616", JSON) == 2.0**64
    assert decode_metadata("9007199254740993", JSON) == 9007199254740993


def test_nul_and_reserved_keys_are_like_others() -> None:
    text = '{"__proto__":{"constructor":"\\u0000"}}'
    assert decode_metadata(text, JSON) == {"__proto__": {"constructor": "\0"}}
    assert superjson({"__proto__": {"prototype": "1"}}, {"__proto__.prototype": ["bigint"]}) == {
        "__proto__": {"prototype": 1}
    }


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert decode("\ud83e\udd8a a\ud800b", PLAIN) == Payload(PLAIN, "🦊 a\ufffdb", "🦊 a\ufffdb", 12)
    assert decode('"\ud800"', JSON) == Payload(JSON, None, '"\ufffd"', 5)


@pytest.mark.parametrize(("content_type", "own"), [(JSON, 0), (SUPERJSON, 1)])
def test_a_value_that_no_answer_can_hold_stays_text(content_type: str, own: int) -> None:
    def nested(levels: int) -> str:
        text = "[" * levels + "]" * levels
        return f'{{"json":{text}}}' if own else text

    deepest, deeper = nested(payloads.DEPTH - own), nested(payloads.DEPTH + 1 - own)
    payload = decode(deepest, content_type)
    assert payload is not None
    assert payload.text is None
    written(payload.json)
    assert decode(deeper, content_type) == Payload(content_type, None, deeper, len(deeper))


def test_minus_zero_stays_a_number() -> None:
    value = superjson("-0", ["number"])
    assert isinstance(value, float)
    assert math.copysign(1, value) == -1


@pytest.mark.parametrize(
    "meta",
    [None, 1, "values", [], ["values"], {}, {"values": None}, {"v": "1"}, {"v": []}, {"referentialEqualities": 1}],
    ids=str,
)
def test_meta_that_says_nothing_changes_nothing(meta: object) -> None:
    text = orjson.dumps({"json": {"a": AT}, "meta": meta}).decode()
    assert decode(text, SUPERJSON) == Payload(SUPERJSON, {"a": AT}, None, len(text))


@pytest.mark.parametrize(
    "values",
    [
        {"": ["bigint"]},
        {"x": ["bigint"]},
        {"n.x": ["bigint"]},
        {"list.2": ["bigint"]},
        {"list.-1": ["bigint"]},
        {"list.00": ["bigint"]},
        {"list.\u0660": ["bigint"]},
        {"list." + "9" * 5000: ["bigint"]},
        {"list.length": ["bigint"]},
        {"list": {"x": ["bigint"]}},
        {"a\\x": ["bigint"]},
        {"n": None},
        {"n": 5},
        {"n": "bigint"},
        {"n": []},
        {"n": [None]},
        {"n": [["bigint"]]},
        {"n": [{"bigint": 1}]},
        {"n": ["bigints"]},
        {"n": ["map"]},
        {"n": ["undefined"]},
        {"n": ["number"]},
        {"list": ["map"]},
        {"list": ["bigint", 5]},
        {"word": ["bigint"]},
        {"word": [["custom", "mine"]]},
        ["bigint"],
        [],
    ],
    ids=lambda values: str(values)[:40],
)
def test_an_entry_that_does_not_fit_is_left_out_alone(values: Any) -> None:
    stored = {"n": "12", "list": ["1", 2], "word": "x"}
    assert superjson(stored, values) == stored
    if isinstance(values, dict):
        assert superjson({**stored, "yes": "5"}, {**values, "yes": ["bigint"]}) == {**stored, "yes": 5}


def test_pairs_are_an_object_only_if_nothing_is_lost() -> None:
    assert superjson([["a", 1], ["b", 2]], ["map"]) == {"a": 1, "b": 2}
    assert superjson([], ["map"]) == {}
    for stored in ([["a", 1], ["a", 2]], [["a", 1], [1, 2]], [["a", 1], ["b"]], [["a", 1], 2], [["a", 1, 2]], ["ab"]):
        assert superjson(stored, ["map"]) == stored


def test_a_path_may_be_written_in_parts() -> None:
    stored = {"a": {"b.c": [["k", "1"]]}}
    expected = {"a": {"b.c": {"k": 1}}}
    assert superjson(stored, {"a.b\\.c": ["map", {"0.1": ["bigint"]}]}) == expected
    assert superjson(stored, {"a": {"b\\.c": ["map", {"0": {"1": ["bigint"]}}]}}) == expected


def test_backslashes_are_escaped_since_a_version_is_written() -> None:
    stored = {"a\\": {"b": "1"}, "a\\.b": "2", "a.b": "3"}
    assert superjson(stored, {"a\\\\.b": ["bigint"]}) == {**stored, "a\\": {"b": 1}}
    assert superjson(stored, {"a\\\\.b": ["bigint"]}, version=None) == {**stored, "a\\.b": 2}
    assert superjson(stored, {"a\\.b": ["bigint"]}) == {**stored, "a.b": 3}


def test_references_fill_what_was_stored_once() -> None:
    assert superjson({"a": [1], "b": None}, None, {"a": ["b"]}) == {"a": [1], "b": [1]}
    assert superjson({"a": {"c": "1"}, "b": None}, {"a.c": ["bigint"]}, {"a": ["b"]}) == {"a": {"c": 1}, "b": {"c": 1}}
    assert superjson({"a": [["k", 1]], "b": None}, {"a": ["map"]}, [["x"], {"a": ["b"]}]) == {
        "a": {"k": 1},
        "b": {"k": 1},
    }


@pytest.mark.parametrize(
    "equalities",
    [{"a": ["b"]}, {"x": ["b"]}, {"a": ["x", 5, None]}, {"a": "none"}, {"": ["none"]}, [["none"]], [], [1, 2], 5],
    ids=str,
)
def test_references_that_do_not_fit_are_left_out(equalities: object) -> None:
    stored = {"a": [1], "b": [2], "none": None}
    assert superjson(stored, None, equalities) == stored


def test_what_contains_itself_is_null_there() -> None:
    assert superjson({"a": {"b": None}}, None, {"a": ["a.b"]}) == {"a": {"b": None}}
    assert superjson({"a": [None], "b": [None]}, None, {"a": ["b.0"], "b": ["a.0"]}) == {"a": [[None]], "b": [[None]]}


def test_a_map_in_its_own_pair_is_null_there() -> None:
    value = superjson({"m": [["k", None]], "q": None}, {"m": ["map"]}, {"m": ["m.0.1"], "m.0": ["q"]})
    assert value == {"m": {"k": None}, "q": ["k", [None]]}


def test_copies_of_copies_stay_text() -> None:
    value: object = "x"
    equalities = {}
    for level in range(60):
        value = {"l": value, "r": None}
        equalities["l." * level + "l"] = ["l." * level + "r"]
    text = orjson.dumps({"json": value, "meta": {"referentialEqualities": equalities, "v": 1}}).decode()
    assert decode(text, SUPERJSON) == Payload(SUPERJSON, None, text, len(text))


@pytest.mark.parametrize("long", ["x" * 1000, {"x" * 1000: 1}, [0] * 1000], ids=["string", "key", "array"])
def test_copies_that_are_long_together_stay_text(long: object) -> None:
    places = [f"list.{index}" for index in range(100)]
    stored = {"json": {"a": long, "list": [None] * 100}, "meta": {"referentialEqualities": {"a": places}}}
    text = orjson.dumps(stored).decode()
    payload = decode(text, SUPERJSON)
    assert payload is not None
    assert payload.text == text


def test_copies_do_not_deepen_a_value_past_what_an_answer_holds() -> None:
    half = payloads.DEPTH // 2
    stored = {"a": json.loads("[" * half + "null" + "]" * half), "b": json.loads("[" * half + "]" * half)}
    inner = "a" + ".0" * half
    text = orjson.dumps({"json": stored, "meta": {"referentialEqualities": {"b": [inner]}}}).decode()
    payload = decode(text, SUPERJSON)
    assert payload is not None
    assert payload.text == text


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            {"type": "BUILT_IN_ERROR", "name": "TypeError", "message": "bad", "stackTrace": "at x"},
            ErrorRecord("BUILT_IN_ERROR", "TypeError", "bad", None, "at x"),
        ),
        (
            {"type": "CUSTOM_ERROR", "raw": '{"status":500}'},
            ErrorRecord("CUSTOM_ERROR", None, '{"status":500}', None, None),
        ),
        ({"type": "STRING_ERROR", "raw": "boom"}, ErrorRecord("STRING_ERROR", None, "boom", None, None)),
        (
            {"type": "INTERNAL_ERROR", "code": "TASK_RUN_CANCELLED", "message": "by user", "stackTrace": ""},
            ErrorRecord("INTERNAL_ERROR", None, "by user", "TASK_RUN_CANCELLED", ""),
        ),
        (
            {"type": "INTERNAL_ERROR", "code": "TIMEOUT"},
            ErrorRecord("INTERNAL_ERROR", None, None, "TIMEOUT", None),
        ),
        ({"type": "NEW_ERROR", "raw": {"a": 1}}, ErrorRecord("NEW_ERROR", None, '{"a":1}', None, None)),
        ({"type": "STRING_ERROR", "raw": "\ud800"}, ErrorRecord("STRING_ERROR", None, "\ufffd", None, None)),
        ({"type": None, "message": "x"}, ErrorRecord("UNKNOWN", None, '{"type":null,"message":"x"}', None, None)),
        ({}, ErrorRecord("UNKNOWN", None, "{}", None, None)),
        ("boom", ErrorRecord("UNKNOWN", None, "boom", None, None)),
        ([1], ErrorRecord("UNKNOWN", None, "[1]", None, None)),
        (10**30, ErrorRecord("UNKNOWN", None, None, None, None)),
        (object(), ErrorRecord("UNKNOWN", None, None, None, None)),
        (None, None),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_an_error_is_read(error: object, expected: ErrorRecord | None) -> None:
    assert decode_error(error) == expected


def test_metadata_is_json_or_its_text() -> None:
    assert decode_metadata('{"a":1}', JSON) == {"a": 1}
    assert decode_metadata('{"json":{"a":"1"},"meta":{"values":{"a":["bigint"]}}}', SUPERJSON) == {"a": 1}
    assert decode_metadata("{", JSON) == "{"
    assert decode_metadata("x", PLAIN) == "x"
    assert decode_metadata("run_x/metadata", STORE) is None
    assert decode_metadata("null", JSON) is None


ANY_TEXT = st.text(st.characters(codec=None))
ANY_TYPE = st.sampled_from([PLAIN, JSON, SUPERJSON, STORE]) | st.text()
KEYS = st.sampled_from(["", "a", "b", "0", "1", "a.b", "\\", "__proto__", "json", "meta", "values", "v"]) | st.text()
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["1", "-0", "NaN", AT, str(2**53)])
    | st.text()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
PATHS = st.lists(KEYS, min_size=1, max_size=4).map(
    lambda keys: ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in keys)
)
KINDS = st.sampled_from(["undefined", "bigint", "Date", "Error", "regexp", "set", "map", "number", "URL"]) | VALUES
TREES = st.recursive(
    KINDS.map(lambda kind: [kind]),
    lambda inner: (
        st.dictionaries(PATHS, inner, max_size=4)
        | st.tuples(KINDS, st.dictionaries(PATHS, inner, max_size=4)).map(list)
    ),
    max_leaves=8,
)
EQUALITIES = st.dictionaries(PATHS, st.lists(PATHS, max_size=4), max_size=4)
METAS = st.fixed_dictionaries(
    {},
    optional={
        "values": TREES | VALUES,
        "referentialEqualities": EQUALITIES | st.tuples(st.lists(PATHS), EQUALITIES).map(list) | VALUES,
        "v": st.sampled_from([0, 1]) | VALUES,
    },
)


@given(ANY_TEXT, ANY_TYPE)
def test_any_text_of_any_type_is_decoded(text: str, content_type: str) -> None:
    payload = decode(text, content_type)
    assert payload is not None
    written(payload._asdict())
    written(decode_metadata(text, content_type))


@given(VALUES)
def test_any_value_without_meta_is_itself(value: Any) -> None:
    assert written(decode_metadata(orjson.dumps(value).decode(), JSON)) == written(value)
    assert written(superjson(value)) == written(value)


@given(VALUES, METAS)
def test_any_meta_on_any_value_is_decoded(value: object, meta: object) -> None:
    payload = decode(orjson.dumps({"json": value, "meta": meta}).decode(), SUPERJSON)
    assert payload is not None
    assert payload.text is None
    written(payload.json)


@given(st.none() | VALUES | st.dictionaries(st.sampled_from(["type", "name", "message", "raw", "code"]), VALUES))
def test_any_error_is_read(error: object) -> None:
    record = decode_error(error)
    assert (record is None) == (error is None)
    if record is not None:
        written(record._asdict())
