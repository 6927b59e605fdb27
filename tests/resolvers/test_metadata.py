"""Operations on metadata: what each makes of a document, and which are refused."""

import copy
import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers import metadata, values
from resolvers.metadata import apply, parse_operations
from resolvers.payloads import DEPTH
from resolvers.refusals import InvalidInputError, PayloadTooLargeError

PATH = ("input", "operations")


def after(document: dict[str, object], *operations: object) -> dict[str, object]:
    return apply(document, parse_operations(operations, PATH))


def step(kind: str, key: str, value: object = None) -> dict[str, object]:
    return {"type": kind, "key": key} | ({} if kind == "delete" else {"value": value})


@pytest.mark.parametrize(
    ("document", "operation", "expected"),
    [
        ({}, step("set", "a", 1), {"a": 1}),
        ({"a": [1]}, step("set", "a", None), {"a": None}),
        ({}, step("set", "", 1), {"": 1}),
        ({}, step("set", "a.b[0]", 1), {"a.b[0]": 1}),
        ({}, step("set", "$", 1), {"$": 1}),
        ({}, step("set", "$a.b", 1), {"$a.b": 1}),
        ({}, step("set", "__proto__", 1), {"__proto__": 1}),
        ({}, step("append", "a", 1), {"a": [1]}),
        ({"a": [1]}, step("append", "a", [2]), {"a": [1, [2]]}),
        ({"a": "x"}, step("append", "a", 1), {"a": ["x", 1]}),
        ({"a": None}, step("append", "a", 1), {"a": [None, 1]}),
        ({"a": [1, 2, 1.0, "1", True]}, step("remove", "a", 1), {"a": [2, "1", True]}),
        ({"a": [True, 1, False, 0]}, step("remove", "a", value=True), {"a": [1, False, 0]}),
        ({"a": [{"x": [1]}, {"x": [1.0]}, {"x": [True]}]}, step("remove", "a", {"x": [1]}), {"a": [{"x": [True]}]}),
        ({"a": [{"x": 1, "y": 2}]}, step("remove", "a", {"x": 1}), {"a": [{"x": 1, "y": 2}]}),
        ({"a": [[1, 2]]}, step("remove", "a", [1]), {"a": [[1, 2]]}),
        ({"a": "x"}, step("remove", "a", "x"), {"a": "x"}),
        ({}, step("remove", "a", "x"), {}),
        ({}, step("increment", "a", 2), {"a": 2}),
        ({"a": 1}, step("increment", "a", -3), {"a": -2}),
        ({"a": 1}, step("increment", "a", 0.5), {"a": 1.5}),
        ({"a": True}, step("increment", "a", 1), {"a": 1}),
        ({"a": "5"}, step("increment", "a", 1), {"a": 1}),
        ({"a": None}, step("increment", "a", 1), {"a": 1}),
        ({"a": 1, "b": 2}, step("delete", "a"), {"b": 2}),
        ({"b": 2}, step("delete", "a"), {"b": 2}),
        ({"a": 1}, {"type": "update", "value": {"b": 2}}, {"b": 2}),
        ({"a": 1}, {"type": "update", "value": {}}, {}),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_an_operation_changes_a_key(document: dict[str, object], operation: object, expected: object) -> None:
    assert orjson.dumps(after(document, operation)) == orjson.dumps(expected)


TREE: dict[str, Any] = {"a": {"n": 1, "list": [{"x": 1}, 2, [3]], "text": "t"}, "1": {"0": "zero"}}


@pytest.mark.parametrize(
    ("operation", "place", "expected"),
    [
        (step("set", "$.a.n", 5), ("a", "n"), 5),
        (step("set", "$.new.deep.er", 5), ("new",), {"deep": {"er": 5}}),
        (step("set", "$.new[0].x", 5), ("new",), {"0": {"x": 5}}),
        (step("set", "$.1.0", 5), ("1", "0"), 5),
        (step("set", "$.1[0]", 5), ("1", "0"), 5),
        (step("set", "$.a.list[0].x", 5), ("a", "list", 0, "x"), 5),
        (step("set", "$.a.list.0.y.z", 5), ("a", "list", 0), {"x": 1, "y": {"z": 5}}),
        (step("set", "$.a.list[2][0]", 5), ("a", "list", 2), [5]),
        (step("append", "$.a.list[2]", 5), ("a", "list", 2), [3, 5]),
        (step("append", "$.a.text", 5), ("a", "text"), ["t", 5]),
        (step("append", "$.a.new", 5), ("a", "new"), [5]),
        (step("remove", "$.a.list", {"x": 1}), ("a", "list"), [2, [3]]),
        (step("increment", "$.a.list[1]", 5), ("a", "list", 1), 7),
        (step("increment", "$.a.new.n", 5), ("a", "new"), {"n": 5}),
        (step("delete", "$.a.n"), ("a",), {"list": [{"x": 1}, 2, [3]], "text": "t"}),
        (step("delete", "$.a.list[1]"), ("a", "list"), [{"x": 1}, [3]]),
        (step("set", "$.a b.$.é", 5), ("a b",), {"$": {"é": 5}}),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_a_key_may_be_a_path(operation: object, place: tuple[Any, ...], expected: object) -> None:
    changed: Any = after(TREE, operation)
    for key in place:
        changed = changed[key]
    assert changed == expected


@pytest.mark.parametrize(
    "key", ["$.a.n.x", "$.a.text.length", "$.a.text[0]", "$.a.list.x", "$.a.list[3]", "$.a.list.00"]
)
@pytest.mark.parametrize("kind", ["set", "append", "remove", "increment", "delete"])
def test_a_path_through_what_holds_nothing_changes_nothing(kind: str, key: str) -> None:
    assert after(TREE, step(kind, key, 5)) == TREE


@pytest.mark.parametrize(
    "key", ["$.x.y", "$.a.x.y", "$.x[0]", "$.a.list[" + "9" * 5000 + "]"], ids=lambda key: key[:12]
)
@pytest.mark.parametrize("kind", ["remove", "delete"])
def test_what_is_not_there_is_not_made_to_be_removed(kind: str, key: str) -> None:
    assert after(TREE, step(kind, key, 5)) == TREE


def test_operations_apply_in_order() -> None:
    first, second = step("set", "a", 1), step("increment", "a", 2)
    assert after({}, first, second) == {"a": 3}
    assert after({}, second, first) == {"a": 1}
    assert after({"a": 1}, {"type": "update", "value": {"b": [1]}}, step("append", "$.b", 2)) == {"b": [1, 2]}


def test_no_operation_changes_nothing() -> None:
    assert after(TREE) == TREE


@pytest.mark.parametrize(
    "operation",
    [
        *(None, 1, "set", [], [["type", "set"]], {}),
        *({"type": "set"}, {"type": "set", "key": "a"}, {"type": "set", "value": 1}),
        *({"type": "set", "key": 1, "value": 1}, {"type": "set", "key": None, "value": 1}),
        *({"type": "Set", "key": "a", "value": 1}, {"type": ["set"], "key": "a", "value": 1}),
        {"type": "set", "key": "a", "value": 1, "more": 1},
        *(step("increment", "a", value) for value in ("1", None, True, [1], {"a": 1})),
        *({"type": "delete"}, {"type": "delete", "key": 1}, {"type": "delete", "key": "a", "value": 1}),
        *({"type": "update"}, {"type": "update", "value": []}, {"type": "update", "value": None}),
        {"type": "update", "key": "a", "value": {}},
    ],
    ids=lambda value: json.dumps(value)[:50],
)
def test_any_other_operation_is_refused_by_its_index(operation: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_operations([step("set", "a", 1), operation], PATH)
    assert caught.value.path == [*PATH, "1"]


@pytest.mark.parametrize(
    "key",
    [
        *("$.", "$..", "$..a", "$.a.", "$.a..b", "$.[0]", "$.a[", "$.a[]", "$.a[x]", "$.a]", "$.a[-1]", "$.a[0]b"),
        *("$.a[0", "$.a\n.", "$.a[\u0661]", "$.a[0]\0", "a\0", "\ud800", "$.\ud800", "$" + ".a" * (DEPTH + 1)),
    ],
    ids=lambda key: repr(key[:12]),
)
def test_a_key_that_leads_nowhere_is_refused(key: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_operations([step("delete", key)], PATH)
    assert caught.value.path == [*PATH, "0", "key"]


@pytest.mark.parametrize("value", ["\ud800", ["\0"], 2**64, [10**5000], float("inf")], ids=range(5))
def test_a_value_that_cannot_be_stored_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_operations([step("set", "a", value)], PATH)
    assert caught.value.path == [*PATH, "0", "value"]


def test_a_value_that_is_too_large_is_refused() -> None:
    fits = "a" * (values.LARGEST_METADATA - len('{"a":""}'))
    assert len(values.json_text(after({}, step("set", "a", fits)), PATH)) == values.LARGEST_METADATA
    assert after({}, {"type": "update", "value": {"a": fits}}) == {"a": fits}
    with pytest.raises(PayloadTooLargeError):
        after({}, {"type": "update", "value": {"a": fits + "a"}})


def test_too_many_operations_are_refused() -> None:
    operations: list[object] = [step("increment", "n", 1)] * metadata.MOST_OPERATIONS
    assert after({}, *operations) == {"n": 100}
    with pytest.raises(InvalidInputError) as caught:
        after({}, *operations, operations[0])
    assert caught.value.path == list(PATH)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_the_deepest_values_are_compared(opening: str, closing: str) -> None:
    deepest = json.loads(opening * (DEPTH - 1) + "[1]" + closing * (DEPTH - 1))
    assert after({"a": [deepest]}, step("remove", "a", deepest)) == {"a": []}


def test_the_longest_path_is_followed() -> None:
    longest = "$" + ".a" * DEPTH
    document = after({}, step("increment", longest, 1), step("increment", longest, 1))
    assert values.json_text(document, PATH).count('"a"') == DEPTH


def test_numbers_that_become_too_large_are_refused_when_they_are_written() -> None:
    for number in (1.7e308, 2**63):
        document = after({}, step("increment", "n", number), step("increment", "n", number))
        with pytest.raises(InvalidInputError):
            values.json_text(document, PATH)


NAMES = st.sampled_from(["a", "b", "0", "1"])
PATHS = st.lists(NAMES.map(".{}".format) | st.sampled_from(["[0]", "[1]"]), max_size=3).map("".join)
KEYS = NAMES | st.tuples(NAMES, PATHS).map(lambda parts: "$." + "".join(parts))
NUMBERS = st.integers(-100, 100) | st.floats(-100, 100)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)
OPERATIONS = st.one_of(
    st.builds(step, st.sampled_from(["set", "append", "remove"]), KEYS, VALUES),
    st.builds(step, st.just("increment"), KEYS, NUMBERS),
    st.builds(step, st.just("delete"), KEYS),
    DOCUMENTS.map(lambda value: {"type": "update", "value": value}),
)


@given(DOCUMENTS, st.lists(OPERATIONS, max_size=8))
def test_any_operations_make_json_and_change_nothing_that_was_given(
    document: dict[str, object], operations: list[object]
) -> None:
    parsed = parse_operations(operations, PATH)
    before = copy.deepcopy((document, parsed))
    result = apply(document, parsed)
    assert json.dumps((document, parsed)) == json.dumps(before)
    assert json.loads(values.json_text(result, PATH)) == result


@given(DOCUMENTS, st.lists(OPERATIONS, max_size=4), st.lists(OPERATIONS, max_size=4))
def test_operations_in_two_parts_are_operations_in_one(
    document: dict[str, object], first: list[object], second: list[object]
) -> None:
    assert after(after(document, *first), *second) == after(document, *first, *second)


@given(DOCUMENTS, KEYS, VALUES)
def test_what_is_set_can_be_deleted(document: dict[str, object], key: str, value: object) -> None:
    there = after(document, step("set", key, value))
    assert after(there, step("set", key, value)) == there
    if key not in document and not key.startswith("$."):
        assert after(there, step("delete", key)) == document


@given(st.none() | VALUES | st.fixed_dictionaries({}, optional={"type": VALUES, "key": VALUES, "value": VALUES}))
def test_any_json_is_an_operation_or_refused(operation: object) -> None:
    with suppress(InvalidInputError):
        parsed = parse_operations([operation], PATH)
        values.json_text(apply({}, parsed), PATH)
