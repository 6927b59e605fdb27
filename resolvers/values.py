"""From what a caller wrote to what is stored: times, keys, tags, names and payloads.

A function that refuses takes the path of what it reads, which its refusal has: `InvalidInputError` or
`PayloadTooLargeError`. Times are naive UTC, cut to milliseconds as the columns are.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import orjson

from resolvers import filters
from resolvers.errors import BadInputError
from resolvers.payloads import DEPTH, ENVELOPE
from resolvers.refusals import InvalidInputError, PayloadTooLargeError

Path = Sequence[str]

LARGEST_PAYLOAD = 3_145_728
LARGEST_METADATA = 262_144
LONGEST_KEY = 2_048
LONGEST_NAME = 128
LONGEST_QUOTE = 100
LONGEST_DURATION = 100
MOST_TAGS = 10
DECADE = timedelta(days=3_653)
CENTURY = timedelta(days=36_525)

_TIME_TO_LIVE = re.compile(r"([0-9]{1,9})([smhd])")
_DURATION = re.compile(r"(?=.)(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)hr?)?(?:([0-9]+)m)?(?:([0-9]+)s)?")
_SECONDS = re.compile(r"[0-9]{1,10}")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""A NUL character in JSON: its escape, after any number of escaped backslashes."""


def time_to_live(text: str, path: Path) -> timedelta:
    """Return for how long an idempotency key counts: ``30s``, ``24h``."""
    match = _TIME_TO_LIVE.fullmatch(text)
    seconds = 0 if match is None else int(match[1]) * filters.UNITS[match[2]]
    if not seconds:
        raise InvalidInputError(f"{named(path)} is not valid: a number and one of s, m, h, d", path)
    if seconds > DECADE.total_seconds():
        raise InvalidInputError(f"{named(path)} is longer than ten years", path)
    return timedelta(seconds=seconds)


def duration(text: str, path: Path) -> timedelta | None:
    """Return a duration (``1w2d3h4m5s`` or parts of it, in that order), or None if the text is none."""
    match = _DURATION.fullmatch(text) if len(text) <= LONGEST_DURATION else None
    if match is None:
        return None
    seconds = sum(int(count or 0) * filters.UNITS[unit] for count, unit in zip(match.groups(), "wdhms", strict=True))
    if seconds > CENTURY.total_seconds():
        raise _too_far(path)
    return timedelta(seconds=seconds)


def moment(text: str) -> datetime | None:
    """Return an ISO 8601 date or time, UTC where it does not say, or None if the text is none."""
    if _MOMENT.fullmatch(text) is None:
        return None
    try:
        at = datetime.fromisoformat(text.upper())
        return _cut(at if at.tzinfo is None else at.astimezone(UTC).replace(tzinfo=None))
    except (ValueError, OverflowError):
        return None  # a day that no calendar has, or a time before the year 1


def timeout(text: str, now: datetime, path: Path) -> datetime:
    """Return when a token times out: a date, or a duration from now. What has passed is refused."""
    at = _time(text, now, path)
    if at is None:
        raise InvalidInputError(f"Invalid timeout: {quoted(text)}", path)
    if at <= now:
        raise InvalidInputError(f"timeout is in the past: {quoted(text)}", path)
    return at


def delay(text: str, now: datetime, path: Path) -> datetime | None:
    """Return until when a run is delayed: a date, or a duration from now; None if that has passed."""
    at = _time(text, now, path)
    if at is None:
        raise InvalidInputError(f"Invalid delay: {quoted(text)}", path)
    return at if at > now else None


def ttl(text: str, path: Path) -> str | None:
    """Return a run's time to live as the platform reads it: a duration. A number of seconds is one too, but for 0."""
    if _SECONDS.fullmatch(text):
        text = f"{int(text)}s"
        if text == "0s":
            return None
    if duration(text, path) is None:
        raise InvalidInputError(f"Invalid {named(path)}: {quoted(text)}", path)
    return text


def idempotency_key(text: str, path: Path) -> str:
    """Return an idempotency key. Its bound is in bytes: an index row holds 2,704, with environment and task."""
    key = plain(text, path, longest=LONGEST_KEY)
    if len(key.encode()) > LONGEST_KEY:
        raise InvalidInputError(f"{named(path)} is longer than {LONGEST_KEY} bytes", path)
    return key


def plain(text: str, path: Path, *, longest: int = LONGEST_NAME) -> str:
    """Return a text as it is, if it is not empty and Postgres can hold it."""
    if not text:
        raise InvalidInputError(f"{named(path)} is empty", path)
    if len(text) > longest:
        raise InvalidInputError(f"{named(path)} is longer than {longest} characters", path)
    return _stored(text, path)


def run_tags(tags: Sequence[str], path: Path) -> list[str]:
    """Return a run's tags, each once and none blank."""
    return _tags("Runs", tags, path)


def token_tags(tags: Sequence[str], path: Path) -> list[str]:
    """Return a token's tags, each once and none blank."""
    return _tags("Waitpoints", tags, path)


def whole(number: int, path: Path, least: int, most: int) -> int:
    """Return a number, if it is in its bounds."""
    if not least <= number <= most:
        raise InvalidInputError(f"{named(path)} is not between {least} and {most}", path)
    return number


def encode(value: object, path: Path, *, given: bool = True) -> tuple[str | None, str]:
    """Return a payload's text and content type. `payloads.decode` reads the value that was given, and None for none."""
    if not given or value == "":
        return None, "application/json"
    if not isinstance(value, str):
        return _json({"json": value}, path, LARGEST_PAYLOAD, "Payload is too large"), "application/super+json"
    if len(_stored(value, path).encode()) > LARGEST_PAYLOAD:
        raise PayloadTooLargeError("Payload is too large", path)
    return value, "text/plain"


def json_text(value: object, path: Path) -> str:
    """Return metadata as compact JSON."""
    return _json(value, path, LARGEST_METADATA, f"Metadata exceeds maximum size of {LARGEST_METADATA} bytes")


def _json(value: object, path: Path, most: int, sentence: str) -> str:
    """Return a value as JSON that reads as the same value inside of any answer."""
    enclosed = value
    for _ in range(ENVELOPE):
        enclosed = [enclosed]
    try:
        written = orjson.dumps(enclosed)[ENVELOPE:-ENVELOPE]
    except TypeError as error:
        raise _unwritten(path) from error
    if len(written) > most:
        raise PayloadTooLargeError(sentence, path)
    nul = b"\\u0000" in written and _NUL.search(written)
    if nul or orjson.loads(written) != value:  # an infinite number is written as null
        raise _unwritten(path)
    return written.decode()


def _unwritten(path: Path) -> InvalidInputError:
    return InvalidInputError(
        f"{named(path)} cannot be stored: it holds text that is not valid, a NUL character, a number that is too "
        f"large, or {DEPTH} levels and more",
        path,
    )


def _stored(text: str, path: Path) -> str:
    try:
        filters.text(named(path), text)
    except BadInputError as error:
        raise InvalidInputError(str(error), path) from error
    return text


def _tags(whose: str, tags: Sequence[str], path: Path) -> list[str]:
    kept: dict[str, None] = {}
    for index, tag in enumerate(tags):
        if tag.strip():
            kept[plain(tag, (*path, str(index)))] = None
    if len(kept) > MOST_TAGS:
        raise InvalidInputError(f"{whose} can only have {MOST_TAGS} tags, you're trying to set {len(kept)}.", path)
    return list(kept)


def _time(text: str, now: datetime, path: Path) -> datetime | None:
    length = duration(text, path)
    at = moment(text) if length is None else _cut(now + length)
    if at is not None and at - now > CENTURY:
        raise _too_far(path)
    return at


def _too_far(path: Path) -> InvalidInputError:
    return InvalidInputError(f"{named(path)} is more than a hundred years", path)


def _cut(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def named(path: Path) -> str:
    """Return the name of a part of the input, as an error may say it: ``delay``, ``tags[0]``."""
    *_, before, last = ("", *path)
    return f"{before}[{last}]" if last.isdigit() else last


def quoted(text: str) -> str:
    """Return a text, cut and on one line, as an error may quote it."""
    cut = text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 3]}..."
    return "".join(character if character.isprintable() else "?" for character in cut)
