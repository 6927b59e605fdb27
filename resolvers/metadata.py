"""Operations on a run's metadata, and what they make of it. Nothing here changes what it is given.

A key that begins with ``$.`` is a path into the document: ``$.steps[0].name`` or ``$.steps.0.name``. Any other key is
one of the document's own, whatever it holds. The platform's are in ``packages/core/src/v3/runMetadata/operations.ts``.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from resolvers.payloads import DEPTH
from resolvers.refusals import InvalidInputError
from resolvers.values import Path, json_text, named

MOST_OPERATIONS = 100

_PATH = re.compile(r"\$\.[^.\[\]]+(?:\.[^.\[\]]+|\[[0-9]+\])*")
_SEGMENT = re.compile(r"[^.\[\]]+")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_ABSENT = object()


class Operation(NamedTuple):
    """One step: what to do with the value at a path of keys. No keys are the whole document."""

    type: str
    keys: tuple[str, ...]
    value: object = None


def parse_operations(operations: Sequence[object], path: Path) -> tuple[Operation, ...]:
    """Return operations, as read from JSON. An `InvalidInputError` says the index of the one that makes no sense."""
    if len(operations) > MOST_OPERATIONS:
        raise InvalidInputError(
            f"{named(path)} takes at most {MOST_OPERATIONS} operations, not {len(operations)}", path
        )
    return tuple(_operation(operation, (*path, str(index))) for index, operation in enumerate(operations))


def apply(document: dict[str, object], operations: Sequence[Operation]) -> dict[str, object]:
    """Return the document that operations make, one after the other. It shares values with what is given."""
    for operation in operations:
        document = _changed(document, operation.keys, operation)
    return document


def _operation(operation: object, path: Path) -> Operation:
    match operation:
        case {"type": "set" | "append" | "remove" as kind, "key": str() as key, "value": value, **rest} if not rest:
            return Operation(kind, _keys(key, path), _value(value, path))
        case {"type": "increment", "key": str() as key, "value": int() | float() as step, **rest} if (
            not rest and not isinstance(step, bool)
        ):
            return Operation("increment", _keys(key, path), _value(step, path))
        case {"type": "delete", "key": str() as key, **rest} if not rest:
            return Operation("delete", _keys(key, path))
        case {"type": "update", "value": dict() as document, **rest} if not rest:
            return Operation("update", (), _value(document, path))
    raise InvalidInputError(
        "an operation is set, append, remove or increment with a key and a value, delete with a key, "
        "or update with an object as its value",
        path,
    )


def _keys(key: str, path: Path) -> tuple[str, ...]:
    """Return the keys that lead to a value. More levels than are stored lead nowhere."""
    path = (*path, "key")
    json_text(key, path)
    if not key.startswith("$."):
        return (key,)
    keys = tuple(_SEGMENT.findall(key, 1)) if _PATH.fullmatch(key) else ()
    if not 0 < len(keys) <= DEPTH:
        raise InvalidInputError(f"a path is keys and indexes, at most {DEPTH}: $.steps[0].name", path)
    return keys


def _value(value: object, path: Path) -> object:
    json_text(value, (*path, "value"))
    return value


def _changed(place: Any, keys: Sequence[str], operation: Operation) -> Any:  # noqa: ANN401  any JSON, or nothing there
    """Return what stands at a place after an operation below it. Objects are made where nothing is, arrays are not."""
    if not keys:
        return _result(place, operation)
    key, *below = keys
    match place:
        case dict():
            changed = _changed(place.get(key, _ABSENT), below, operation)
            if changed is _ABSENT:
                return {name: value for name, value in place.items() if name != key}
            return {**place, key: changed}
        case list() if _INDEX.fullmatch(key) and int(key) < len(place):
            index = int(key)
            changed = _changed(place[index], below, operation)
            return [*place[:index], *([] if changed is _ABSENT else [changed]), *place[index + 1 :]]
    if place is not _ABSENT:
        return place
    changed = _changed(_ABSENT, below, operation)
    return _ABSENT if changed is _ABSENT else {key: changed}


def _result(existing: object, operation: Operation) -> object:
    """Return the value that an operation puts in the place of another; either may be absent."""
    value = operation.value
    match operation.type, existing, value:
        case "delete", _, _:
            return _ABSENT
        case "append", _, _:
            before = existing if isinstance(existing, list) else [] if existing is _ABSENT else [existing]
            return [*before, value]
        case "remove", _, _:
            if not isinstance(existing, list):
                return existing
            return [item for item in existing if item != value or not _alike(item, value)]
        case "increment", int() | float(), int() | float() if not isinstance(existing, bool):
            return existing + value
    return value


def _alike(one: object, other: object) -> bool:
    """Return whether two values that are equal in Python are so in JSON too, where true is not 1."""
    match one, other:
        case dict(), dict():
            return all(_alike(one[key], other[key]) for key in one)
        case list(), list():
            return all(map(_alike, one, other))
    return isinstance(one, bool) is isinstance(other, bool)
