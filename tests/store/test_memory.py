"""What is remembered of answers: for how long, for whom, and what forgetting undoes."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from store.control_plane import CONTROL_PLANE
from store.errors import ShardUnavailableError
from store.memory import Memory
from tests.federation import FederationUnderTest


class Source:
    """Answers every key that begins with a letter, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = False

    async def ask(self, keys: Collection[str]) -> Mapping[str, str]:
        self.calls.append(list(keys))
        await self.gate.wait()
        if self.fails:
            raise ShardUnavailableError("control plane")
        return {key: key.upper() for key in keys if key.isalpha()}


async def test_all_misses_are_one_question_and_hits_are_none() -> None:
    memory, source = Memory[str, str](60, 10), Source()
    assert await memory.get(["a", "b", "1"], source.ask) == {"a": "A", "b": "B"}
    assert await memory.get(["a", "1", "c"], source.ask) == {"a": "A", "c": "C"}
    assert source.calls == [["a", "b", "1"], ["c"]]


async def test_absence_is_kept_only_where_it_should_be() -> None:
    memory, source = Memory[str, str](60, 10, keeps_absence=False), Source()
    for _ in range(2):
        assert await memory.get(["1"], source.ask) == {}
    assert source.calls == [["1"], ["1"]]


async def test_who_asks_at_the_same_time_waits_for_the_same_answer() -> None:
    memory, source = Memory[str, str](60, 10), Source()
    source.gate.clear()
    asked = [asyncio.ensure_future(memory.get(keys, source.ask)) for keys in (["a"], ["a", "b"], ["b"])]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    source.gate.set()
    assert await asyncio.gather(*asked) == [{"a": "A"}, {"a": "A", "b": "B"}, {"b": "B"}]
    assert source.calls == [["a"], ["b"]]


async def test_who_gives_up_takes_nobody_elses_answer_away() -> None:
    memory, source = Memory[str, str](60, 10), Source()
    source.gate.clear()
    patient, impatient = (asyncio.ensure_future(memory.get(["a"], source.ask)) for _ in range(2))
    await asyncio.sleep(0)
    patient.cancel()
    source.gate.set()
    assert await impatient == {"a": "A"}
    assert await memory.get(["a"], source.ask) == {"a": "A"}
    assert source.calls == [["a"]]


async def test_a_failure_is_everybodys_and_is_not_kept() -> None:
    memory, source = Memory[str, str](60, 10), Source()
    source.fails = True
    for answer in await asyncio.gather(*(memory.get(["a"], source.ask) for _ in range(3)), return_exceptions=True):
        assert isinstance(answer, ShardUnavailableError)
    source.fails = False
    assert await memory.get(["a"], source.ask) == {"a": "A"}


@pytest.mark.parametrize("by_value", [False, True])
async def test_what_is_forgotten_during_a_question_is_not_remembered_by_it(by_value: bool) -> None:  # noqa: FBT001
    memory, source = Memory[str, str](60, 10), Source()
    source.gate.clear()
    asked = asyncio.ensure_future(memory.get(["a"], source.ask))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if by_value:
        memory.forget_where(lambda value: value == "A")
    else:
        memory.forget(["a"])
    source.gate.set()
    assert await asked == {"a": "A"}, "who asked before is answered"
    await memory.get(["a"], source.ask)
    assert source.calls == [["a"], ["a"]], "who asks after that asks anew"


async def test_only_what_matches_is_forgotten() -> None:
    memory, source = Memory[str, str](60, 10), Source()
    await memory.get(["a", "b"], source.ask)
    memory.forget_where(lambda value: value == "A")
    await memory.get(["a", "b"], source.ask)
    assert source.calls == [["a", "b"], ["a"]]


async def test_nothing_is_remembered_for_no_time_and_the_oldest_makes_room() -> None:
    source = Source()
    for memory, expected in ((Memory[str, str](0, 10), 2), (Memory[str, str](60, 1), 3)):
        source.calls.clear()
        await memory.get(["a"], source.ask)
        await memory.get(["a"], source.ask)
        if expected == 3:
            await memory.get(["b"], source.ask)
            await memory.get(["a"], source.ask)
        assert len(source.calls) == expected


@pytest.mark.parametrize("whole", [False, True])
async def test_what_the_control_plane_forgets_is_read_anew(
    federation: FederationUnderTest,
    whole: bool,  # noqa: FBT001
) -> None:
    control_plane, tenant = federation.federation.control_plane, federation.tenant

    async def look() -> tuple[bool, bool, str]:
        by_id = await control_plane.environments([tenant.environment_id])
        by_name = await control_plane.environments_named([tenant.slugs])
        organizations = await control_plane.organizations([tenant.organization_id])
        return (
            by_id[tenant.environment_id].paused,
            by_name[tenant.slugs][0].paused,
            organizations[tenant.organization_id].title,
        )

    assert await look() == (False, False, "Acme")
    connection = federation.connections[CONTROL_PLANE]
    await connection.execute('UPDATE "RuntimeEnvironment" SET paused = true WHERE id = $1', tenant.environment_id)
    await connection.execute('UPDATE "Organization" SET title = $2 WHERE id = $1', tenant.organization_id, "Acme Ltd")
    assert await look() == (False, False, "Acme"), "it is remembered"
    if whole:
        control_plane.forget_organization(tenant.organization_id)
        assert await look() == (True, True, "Acme Ltd")
    else:
        control_plane.forget_environment(tenant.environment_id)
        assert await look() == (True, True, "Acme")
