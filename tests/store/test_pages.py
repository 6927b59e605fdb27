"""Pages and cursors, without a database: positions, checksums, and the merge of several shards' pages."""

import base64
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import BadCursorError, ShardUnavailableError
from store.pages import Feed, Page, Position, Window, merge

START = datetime(2026, 8, 21)  # noqa: DTZ001  the columns hold naive UTC
FEED = Feed("environment.runs", ("env1",))


class Item(NamedTuple):
    id: str
    created_at: datetime
    shard: str = ""


ITEMS = st.builds(
    Item,
    id=st.text("abc01", min_size=1, max_size=3),
    created_at=st.integers(0, 5).map(lambda number: START + timedelta(milliseconds=number)),
)
LISTS = st.lists(ITEMS, unique_by=lambda item: item.id)


def test_a_cursor_names_a_position() -> None:
    item = Item("06fiq7vkik00000000000000e1", START + timedelta(milliseconds=7))
    assert FEED.position(FEED.cursor(Position.of(item))) == Position.of(item)
    assert Position.of(item).created_at == item.created_at


@pytest.mark.parametrize(
    "other", [Feed("environment.runs", ("env2",)), Feed("run.childRuns", ("env1",)), Feed("environment.runs")]
)
def test_a_cursor_of_another_list_is_told(other: Feed) -> None:
    with pytest.raises(BadCursorError):
        other.position(FEED.cursor(Position.of(Item("a", START))))


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_an_altered_cursor_is_told(place: int, character: str) -> None:
    cursor = FEED.cursor(Position.of(Item("06fiq7vkik00000000000000e1", START)))
    altered = cursor[: place % len(cursor)] + character + cursor[place % len(cursor) + 1 :]
    if base64.urlsafe_b64decode(cursor + "==") == _decoded(altered):
        return
    with pytest.raises(BadCursorError):
        FEED.position(altered)


def _decoded(cursor: str) -> bytes | None:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None


@given(st.text())
def test_garbage_is_no_cursor(text: str) -> None:
    with pytest.raises(BadCursorError):
        FEED.position(text)


@given(
    st.lists(ITEMS, unique_by=lambda item: item.id), st.lists(ITEMS, unique_by=lambda item: item.id), st.integers(1, 4)
)
def test_walking_either_way_yields_each_row_once(legacy: list[Item], new: list[Item], size: int) -> None:
    merged = {item.id: item for item in (*legacy, *new)}
    expected = sorted(merged.values(), key=Position.of, reverse=True)

    def walk(*, backward: bool) -> list[Item]:
        walked: list[Item] = []
        at: Position | None = None
        while True:
            window = Window(size, at, backward)
            page: Page[Item] = merge(FEED, window, [_leg(legacy, new, window), _leg(new, [], window)], [])
            walked = [*page.nodes, *walked] if backward else [*walked, *page.nodes]
            if not (page.has_previous_page if backward else page.has_next_page):
                return walked
            at = Position.of(page.nodes[0 if backward else -1])

    assert walk(backward=False) == expected
    assert walk(backward=True) == expected


def _leg(rows: list[Item], copies: list[Item], window: Window) -> list[Item]:
    """Return what a shard's query returns: rows past the position, in order, one more than the window holds."""
    moved = {copy.id for copy in copies}
    seen = [
        row
        for row in rows
        if row.id not in moved
        and (window.at is None or (Position.of(row) > window.at if window.backward else Position.of(row) < window.at))
    ]
    return sorted(seen, key=Position.of, reverse=not window.backward)[: window.size + 1]


def test_of_two_copies_the_later_legs_stays() -> None:
    old, new = Item("a", START, "legacy"), Item("a", START, "new")
    assert merge(FEED, Window(5), [[old], [new]], []).nodes == (new,)


def test_ids_are_ordered_byte_by_byte() -> None:
    rows = [Item(id_, START) for id_ in ("a", "B", "_", "0", "c")]
    assert [row.id for row in merge(FEED, Window(9), [rows], []).nodes] == ["c", "a", "_", "B", "0"]


def test_a_shard_that_did_not_answer_may_have_more() -> None:
    page = merge(FEED, Window(5), [[Item("a", START)]], [ShardUnavailableError("new")])
    assert page.has_next_page
    assert [failure.shard for failure in page.failures] == ["new"]


def test_an_empty_page_has_no_cursors() -> None:
    page: Page[Item] = merge(FEED, Window(5), [[]], [])
    assert (page.start_cursor, page.end_cursor, page.has_next_page, page.edges) == (None, None, False, [])


@pytest.mark.parametrize("position", [Position(-1, "a"), Position(10**17, "a"), Position(0, ""), Position(0, "a\0b")])
def test_a_cursor_that_somebody_made_up_is_told(position: Position) -> None:
    with pytest.raises(BadCursorError):
        FEED.position(FEED.cursor(position))


def test_an_empty_page_that_may_have_more_goes_on_from_where_it_was_asked() -> None:
    at = Position(7, "a")
    page: Page[Item] = merge(FEED, Window(5, at), [[]], [ShardUnavailableError("new")])
    assert page.has_next_page
    assert page.end_cursor is not None
    assert FEED.position(page.end_cursor) == at
