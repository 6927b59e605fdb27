"""Lists: positions in them, cursors, and how pages of several shards become one.

Every list is ordered by creation time and id, newest first unless it says otherwise. Ids are compared byte by byte,
here as in SQL (`queries.bytewise`), so that shards with different collations agree.
"""

import base64
import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Generic, NamedTuple, Protocol, TypeVar

from store.errors import BadCursorError, ShardError
from store.ids import can_exist

EPOCH = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)
VERSION = "1"
LONGEST_CURSOR = 600
LAST_MILLISECOND = (datetime(9999, 12, 31) - EPOCH) // timedelta(milliseconds=1)  # noqa: DTZ001  naive UTC


class Row(Protocol):
    """What stands in a list: it was created, and it has an id."""

    @property
    def id(self) -> str:
        """Primary key."""

    @property
    def created_at(self) -> datetime:
        """When it was created, naive UTC, in milliseconds."""


R = TypeVar("R", bound=Row)


class Position(NamedTuple):
    """A place in a list, between rows: creation time in milliseconds since 1970, then id."""

    milliseconds: int
    id: str

    @classmethod
    def of(cls, row: Row) -> "Position":
        """Return the position of a row."""
        return cls((row.created_at - EPOCH) // timedelta(milliseconds=1), row.id)

    @property
    def created_at(self) -> datetime:
        """The time as the column holds it."""
        return EPOCH + timedelta(milliseconds=self.milliseconds)


@dataclass(frozen=True, slots=True)
class Feed:
    """Which list a cursor belongs to: its name, and everything that decides what it holds.

    A cursor carries a checksum over both, so that another list's or an altered one is told. It is no secret: who may
    see a row is decided where rows are read.
    """

    name: str
    about: tuple[str, ...] = ()
    environment_id: str = ""
    """The environment whose rows it holds, and no other's."""

    def cursor(self, position: Position) -> str:
        """Return the opaque cursor of a position in this list."""
        body = f"{position.milliseconds}.{position.id}"
        return base64.urlsafe_b64encode(f"{VERSION}.{self._checksum(body)}.{body}".encode()).decode().rstrip("=")

    def position(self, cursor: str) -> Position:
        """Return the position that one of this list's cursors holds, or raise `BadCursorError`."""
        if len(cursor) > LONGEST_CURSOR or not cursor.isascii():
            raise BadCursorError
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
            version, _, milliseconds, row_id = text.split(".", 3)
            position = Position(int(milliseconds), row_id)
        except ValueError as error:
            raise BadCursorError from error
        # Written anew it must be the same, checksum and all: there are other spellings of a number, and of base64.
        if version != VERSION or cursor != self.cursor(position):
            raise BadCursorError
        # The checksum is no signature: a position that somebody made up must still be one that can be asked for.
        if not 0 <= position.milliseconds <= LAST_MILLISECOND or not can_exist(position.id):
            raise BadCursorError
        return position

    def _checksum(self, body: str) -> str:
        text = "\0".join((VERSION, self.name, *self.about, body))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list is asked for: `size` rows after a position, or before it, or from one end.

    Lists begin with their newest row, or if `oldest_first` with their oldest.
    """

    size: int
    at: Position | None = None
    backward: bool = False
    oldest_first: bool = False

    @property
    def rising(self) -> bool:
        """Whether rows are read from older to newer."""
        return self.backward is not self.oldest_first


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Some rows of a list, in its order, and whether there are more on either side.

    When a shard did not answer, `failures` says so and there is a next page as far as anyone knows. `start` and `end`
    are where to go on from; a page without rows has them too, if it was asked for from a place, or left rows out.
    """

    feed: Feed
    nodes: tuple[R, ...]
    has_next_page: bool
    has_previous_page: bool
    failures: tuple[ShardError, ...] = ()
    start: Position | None = None
    end: Position | None = None
    counted: Hashable = None
    """What the whole list is counted by, where it can be."""

    @property
    def edges(self) -> list["Edge[R]"]:
        """The rows with their cursors."""
        return [Edge(self.feed.cursor(Position.of(row)), row) for row in self.nodes]

    @property
    def degraded_shards(self) -> list["Degradation"]:
        """The shards that did not answer. Values, not exceptions: those would be raised where they are read."""
        return [Degradation(failure.shard, failure.code, failure.retryable) for failure in self.failures]

    @property
    def page_info(self) -> "Page[R]":
        """The page itself: it knows where it starts and ends."""
        return self

    @property
    def start_cursor(self) -> str | None:
        """The cursor from which the page before this one ends."""
        return None if self.start is None else self.feed.cursor(self.start)

    @property
    def end_cursor(self) -> str | None:
        """The cursor after which the next page begins."""
        return None if self.end is None else self.feed.cursor(self.end)


class Degradation(NamedTuple):
    """A shard whose rows a page lacks: its key, why, and whether asking again may help."""

    shard: str
    code: str
    retryable: bool


class Edge(NamedTuple, Generic[R]):
    """A row and its cursor."""

    cursor: str
    node: R


def merge(feed: Feed, window: Window, legs: Iterable[Sequence[R]], failures: Sequence[ShardError]) -> Page[R]:
    """Return one page of the rows of all legs, each of which read one row more than the page holds.

    Legs come in precedence, lowest first: of two rows with one id the later leg's stays. They are deduplicated first,
    sorted, and cut last, so no leg is skipped because another filled the page.
    """
    rows: Mapping[str, R] = {row.id: row for leg in legs for row in leg}
    ordered = sorted(rows.values(), key=Position.of, reverse=not window.rising)
    page = list(islice(ordered, window.size))
    more = len(ordered) > window.size or bool(failures)
    if window.backward:
        page.reverse()
    return Page(
        feed,
        tuple(page),
        has_next_page=bool(window.at) or bool(failures) if window.backward else more,
        has_previous_page=more if window.backward else bool(window.at),
        failures=tuple(failures),
        start=Position.of(page[0]) if page else window.at,
        end=Position.of(page[-1]) if page else window.at,
    )
