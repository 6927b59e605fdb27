"""What tasks were given and what they gave back, as JSON: payloads, outputs, metadata and errors.

The platform stores a text and its content type. Decoding never fails: what is not valid for its type stays text. Most
values are stored by the npm package superjson: JSON, and a `meta` that says what JSON has no word for. Shown are:

=====================  ================================================================================================
JavaScript             JSON
=====================  ================================================================================================
Date, URL, RegExp      a string: ``2026-08-21T00:00:00.000Z`` as JavaScript writes it, the address, ``/source/flags``
bigint                 an integer up to 2^53 - 1 either way, which every client reads exactly; else a decimal string
NaN, the infinities    the strings ``NaN``, ``Infinity``, ``-Infinity``
-0                     ``-0.0``
undefined              no key in an object, null anywhere else
Set, typed array       an array
Map                    an object if its keys are shown as distinct strings, else an array of ``[key, value]``
Error                  an object: name, message, and a cause if it has one
symbol, class, custom  its description; what its author serialized it as
a reference            a copy; null where the value would contain itself
=====================  ================================================================================================
"""

import re
from typing import Any, NamedTuple

import orjson

ENVELOPE = 54
DEPTH = 254 - ENVELOPE
"""Levels that an answer has around a value, and levels that are left to the value: together orjson writes 254."""

COPIES = 1 << 16
"""How many characters longer than its text a value may become by copies. What would be longer stays text."""

_SAFE_INTEGER = 2**53 - 1
_INTEGER = re.compile(r"-?[0-9]{1,16}")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_PATH = re.compile(r"\\([\\.])|(\.)|([^\\.]+|\\)")
_LEGACY_PATH = re.compile(r"\\(\.)|(\.)|([^\\.]+|\\)")
"""Releases of superjson that write no version (before 2.2.3) escape dots, not backslashes."""


class Payload(NamedTuple):
    """A stored text, decoded: `json`, or `text` where it cannot be. Plain text is both, and JSON's null is neither.

    A text that names a place in the platform's object store is neither: that store is not ours, so there is nothing
    to decode and no URL to sign, and the length of the name is not the size of what is there.
    """

    content_type: str
    json: object
    text: str | None
    byte_size: int | None
    presigned_url: str | None = None


class ErrorRecord(NamedTuple):
    """How a run failed. `type` is the platform's: BUILT_IN_ERROR, CUSTOM_ERROR, STRING_ERROR, INTERNAL_ERROR."""

    type: str
    name: str | None
    message: str | None
    code: str | None
    stack_trace: str | None


def decode(text: str | None, content_type: str) -> Payload | None:
    """Return a stored text, decoded by its content type; None if none is stored. Never raises.

    The types are those of the platform's ``parsePacket`` (``packages/core/src/v3/utils/ioSerialization.ts``).
    """
    if text is None:
        return None
    if content_type == "application/store":
        return Payload(content_type, json=None, text=None, byte_size=None)
    size = len(text.encode(errors="surrogatepass"))
    try:
        match content_type:
            case "application/super+json":
                return Payload(content_type, _superjson(text), text=None, byte_size=size)
            case "application/json":
                return Payload(content_type, _json(text), text=None, byte_size=size)
    except (ValueError, TypeError):  # orjson refuses to read with the one, to write with the other
        pass
    shown = _well_formed(text)
    return Payload(content_type, shown if content_type == "text/plain" else None, shown, size)


def decode_metadata(text: str | None, content_type: str) -> object:
    """Return metadata as JSON: decoded, or its text where it cannot be. Never raises."""
    payload = decode(text, content_type)
    return payload and (payload.json if payload.text is None else payload.text)


def decode_error(error: object) -> ErrorRecord | None:
    """Return a stored error, or None if there is none. Never raises.

    The fields are those of the platform's ``TaskRunError`` (``packages/core/src/v3/schemas/common.ts``); what was
    thrown and is no Error is the message. What has no type is ``UNKNOWN``, and all of it is the message.
    """
    if error is None:
        return None
    fields = error if isinstance(error, dict) else {}
    if not isinstance(kind := fields.get("type"), str):
        return ErrorRecord("UNKNOWN", None, _text(error), None, None)
    name, message, raw, code, stack = (
        _text(fields.get(key)) for key in ("name", "message", "raw", "code", "stackTrace")
    )
    return ErrorRecord(_well_formed(kind), name, raw if message is None else message, code, stack)


def _text(value: object) -> str | None:
    """Return a string as it is, another value as JSON; None if it is null or cannot be written."""
    if value is None or isinstance(value, str):
        return value and _well_formed(value)
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return None


def _well_formed(text: str) -> str:
    """Return a text that can be encoded: halves of surrogate pairs are replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _json(text: str) -> Any:  # noqa: ANN401  any JSON
    """Return a JSON text's value. Raises ValueError, or TypeError if it could not be written inside of an answer."""
    value = enclosed = orjson.loads(text)
    for _ in range(ENVELOPE):
        enclosed = [enclosed]
    orjson.dumps(enclosed)
    return value


def _superjson(text: str) -> object:
    """Return a superjson text's value. What `meta` says and does not fit the value is left out.

    Everything here takes time in proportion to the text, whatever it says: tasks' authors write it.
    """
    stored = _json(text)
    if not isinstance(stored, dict) or "json" not in stored:
        raise ValueError("not superjson")
    meta = stored.get("meta")
    if not isinstance(meta, dict):
        return stored["json"]
    version = meta.get("v")
    syntax = _PATH if isinstance(version, int) and version >= 1 else _LEGACY_PATH
    root = _Place([stored["json"]], 0)
    _annotate(root, meta.get("values"), syntax)
    _refer(root, meta.get("referentialEqualities"), syntax)
    return _written(root.holder[0], len(text) + COPIES)


class _Map(list[object]):
    """The pairs of a Map, for as long as paths go through them."""


class _Place(NamedTuple):
    """Where a value stands: under a key of an object, or at an index of an array."""

    holder: Any
    key: Any

    def below(self, path: str, syntax: re.Pattern[str]) -> "_Place | None":
        """Return the place that a path names from here, or None if there is none."""
        holder, key = self
        for segment in _segments(path, syntax):
            holder = holder[key]
            if isinstance(holder, dict) and segment in holder:
                key = segment
            elif isinstance(holder, list) and _INDEX.fullmatch(segment) and int(segment) < len(holder):
                key = int(segment)
            else:
                return None
        return _Place(holder, key)


def _segments(path: str, syntax: re.Pattern[str]) -> list[str]:
    """Return the keys that a path is made of: between dots, where a backslash makes a dot part of a key."""
    if "\\" not in path:
        return path.split(".")
    segments: list[list[str]] = [[]]
    for escaped, dot, literal in syntax.findall(path):
        if dot:
            segments.append([])
        else:
            segments[-1].append(escaped or literal)
    return ["".join(segment) for segment in segments]


def _annotate(place: _Place, tree: object, syntax: re.Pattern[str]) -> None:
    """Apply a tree of types to the value at a place: ``{path: tree}``, ``[type]`` or ``[type, {path: tree}]``.

    Inner types come first, as their paths are those of what is stored. Types without a case are shown as stored.
    """
    kind, inner = (*tree, None, None)[:2] if isinstance(tree, list) else (None, tree)
    for path, subtree in inner.items() if isinstance(inner, dict) else ():
        if found := place.below(path, syntax):
            _annotate(found, subtree, syntax)
    holder, key = place
    match kind, holder[key]:
        case "undefined", None if isinstance(holder, dict):
            del holder[key]
        case "bigint", str() as digits if _INTEGER.fullmatch(digits) and abs(int(digits)) <= _SAFE_INTEGER:
            holder[key] = int(digits)
        case "number", "-0":
            holder[key] = -0.0
        case "map", list() as pairs if not isinstance(pairs, _Map):  # once, however many paths say it
            holder[key] = _Map(pairs)


def _refer(root: _Place, equalities: object, syntax: re.Pattern[str]) -> None:
    """Put what is stored once in all its places: ``{path: [path]}``, or ``[[path of the root], {path: [path]}]``.

    Only what is null is replaced: by default the library stores it in all of them. The root is never inside of itself.
    """
    sources = (*equalities, None, None)[1] if isinstance(equalities, list) else equalities
    for path, targets in sources.items() if isinstance(sources, dict) else ():
        source = root.below(path, syntax)
        for target in targets if isinstance(targets, list) else ():
            place = root.below(target, syntax) if isinstance(target, str) else None
            if source and place and place.holder[place.key] is None:
                place.holder[place.key] = source.holder[source.key]


def _written(value: object, room: int) -> object:
    """Return a value as JSON that shares nothing. Raises ValueError if it is too deep or has no room."""
    around: set[int] = set()

    def write(value: object) -> object:
        nonlocal room
        room -= 1 + (len(value) if isinstance(value, str) else 0)
        if room < 0 or len(around) >= DEPTH:
            raise ValueError("too large")
        if not isinstance(value, dict | list):
            return value
        if id(value) in around:
            return None
        around.add(id(value))
        written: object
        if isinstance(value, dict):
            room -= sum(map(len, value))
            written = {key: write(item) for key, item in value.items()}
        else:
            items = [write(item) for item in value]
            written = _object(items) if isinstance(value, _Map) else items
        around.remove(id(value))
        return written

    return write(value)


def _object(pairs: list[object]) -> object:
    """Return pairs as an object if all keys are strings and no two are the same, else as they are."""
    entries: dict[str, object] = {}
    for pair in pairs:
        match pair:
            case [str() as key, item]:
                entries[key] = item
    return entries if len(entries) == len(pairs) else pairs
