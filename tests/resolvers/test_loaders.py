"""Loads are batched and kept apart: by key, by viewer, and in how they fail."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from resolvers.errors import BadInputError
from resolvers.loaders import Keyed, Listed, PageArguments
from resolvers.scope import Scope
from resolvers.viewer import Viewer
from store.errors import ShardError, ShardUnavailableError
from store.federation import Federation
from store.pages import Feed, Page, Window
from store.records import EnvironmentRecord
from store.residency import NEW


class Asked:
    """A kind of load that remembers what it was asked, and answers as it is told."""

    def __init__(self, **answers: str | ShardError) -> None:
        self.answers = answers
        self.calls: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.kind: Keyed[str, str] = Keyed("asked", self.ask)

    async def ask(self, _viewer: Viewer, keys: Sequence[str]) -> Mapping[str, str | ShardError]:
        self.calls.append(list(keys))
        await self.gate.wait()
        return self.answers


@pytest.fixture
def viewer(federation: Any) -> Viewer:
    environment = EnvironmentRecord(**dict.fromkeys(EnvironmentRecord._fields, "x"))  # type: ignore[arg-type]
    return Viewer(cast("Federation", federation.federation), Scope.of_environment(environment))


async def test_loads_of_one_moment_are_one_question(viewer: Viewer) -> None:
    asked = Asked(a="A", b="B")
    assert await asyncio.gather(*(viewer.load(asked.kind, key) for key in "abca")) == ["A", "B", None, "A"]
    assert asked.calls == [["a", "b", "c"]]


async def test_what_was_loaded_is_not_asked_again(viewer: Viewer) -> None:
    asked = Asked(a="A")
    await viewer.load(asked.kind, "a")
    await viewer.load(asked.kind, "a")
    assert asked.calls == [["a"]]


async def test_after_a_write_everything_is_asked_again_on_primaries(viewer: Viewer) -> None:
    asked = Asked(a="A")
    await viewer.load(asked.kind, "a")
    viewer.wrote()
    await viewer.load(asked.kind, "a")
    assert asked.calls == [["a"], ["a"]]
    assert viewer.source.value == "primary"


async def test_an_error_is_its_keys_alone_and_is_not_remembered(viewer: Viewer) -> None:
    asked = Asked(a="A", b=ShardUnavailableError(NEW), c=ShardUnavailableError(NEW))
    answers = await viewer.load_many(asked.kind, "abc")
    assert answers[0] == "A"
    assert isinstance(answers[1], ShardUnavailableError)
    assert isinstance(answers[2], ShardUnavailableError)
    assert answers[1] is not answers[2]

    asked.answers["b"] = "B"
    assert await viewer.load(asked.kind, "b") == "B"


async def test_a_waiter_that_gives_up_takes_nobodys_answer_away(viewer: Viewer) -> None:
    asked = Asked(a="A")
    asked.gate.clear()
    patient = asyncio.ensure_future(viewer.load(asked.kind, "a"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await viewer.load(asked.kind, "a")
    asked.gate.set()
    assert await patient == "A"
    assert await viewer.load(asked.kind, "a") == "A"


async def test_a_batch_that_is_cancelled_fails_instead_of_hanging(viewer: Viewer) -> None:
    async def ask(_viewer: Viewer, _keys: Sequence[str]) -> Mapping[str, str]:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="loading doomed was cancelled"):
        await viewer.load(Keyed("doomed", ask), "a")


async def test_a_failure_of_the_whole_question_is_every_keys(viewer: Viewer) -> None:
    async def ask(_viewer: Viewer, _keys: Sequence[str]) -> Mapping[str, str]:
        raise ShardUnavailableError(NEW)

    answers = await viewer.load_many(Keyed("failing", ask), "ab")
    assert [isinstance(answer, ShardUnavailableError) for answer in answers] == [True, True]
    assert answers[0] is not answers[1]


async def test_pages_of_many_parents_are_one_question_per_window(viewer: Viewer) -> None:
    calls: list[tuple[list[str], int]] = []

    async def ask(_viewer: Viewer, feeds: Mapping[str, Feed], window: Window) -> Mapping[str, Page[Any]]:
        calls.append((list(feeds), window.size))
        return {parent: Page(feed, (), False, False) for parent, feed in feeds.items()}  # noqa: FBT003

    listed: Listed[Any] = Listed("things", ask, default=7)
    await asyncio.gather(
        *(listed.load(viewer, parent, "env", PageArguments()) for parent in "ab"),
        listed.load(viewer, "a", "env", PageArguments(first=3)),
    )
    assert sorted(calls) == [(["a"], 3), (["a", "b"], 7)]


@pytest.mark.parametrize(
    "arguments",
    [
        PageArguments(first=0),
        PageArguments(last=101),
        PageArguments(first=1, last=1),
        PageArguments(after="a", before="b"),
        PageArguments(first=1, before="b"),
        PageArguments(last=1, after="a"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(arguments: PageArguments) -> None:
    with pytest.raises(BadInputError):
        arguments.window(Feed("things"))
