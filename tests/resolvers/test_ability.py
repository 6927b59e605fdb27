"""What scopes grant: the platform's grammar, one row a rule."""

import pytest

from resolvers.ability import Ability, Resource

RUN = [Resource("runs", "run_1"), Resource("tasks", "hello"), Resource("tags", "vip"), Resource("batch", "batch_1")]


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("read:runs", True),
        ("read:runs:run_1", True),
        ("read:runs:run_2", False),
        ("read:tasks:hello", True),
        ("read:tags:vip", True),
        ("read:tags:other", False),
        ("read:batch:batch_1", True),
        ("read:all", True),
        ("*:runs:run_1", True),
        ("*:all", True),
        ("admin", True),
        ("admin:runs", False),
        ("write:runs", False),
        ("read", False),
        ("read:", False),
        ("read:runs:", False),
        (":runs", False),
        ("", False),
        ("READ:RUNS", False),
        ("read:run", False),
        ("read:runs:run_1:x", False),
        ("read:waitpoints", False),
    ],
)
def test_a_scope_grants_to_read_a_run_by_any_of_its_names(scope: str, granted: bool) -> None:  # noqa: FBT001
    assert Ability.of_scopes([scope]).allows("read", RUN) is granted


def test_an_id_may_hold_colons() -> None:
    ability = Ability.of_scopes(["read:tags:user:42"])
    assert ability.allows("read", [Resource("tags", "user:42")])
    assert not ability.allows("read", [Resource("tags", "user")])


def test_one_thing_does_not_grant_the_whole_type() -> None:
    assert not Ability.of_scopes(["read:runs:run_1"]).allows("read", [Resource("runs")])
    assert Ability.of_scopes(["read:runs"]).allows("read", [Resource("runs")])


def test_reading_runs_is_not_reading_batches() -> None:
    assert not Ability.of_scopes(["read:runs"]).allows("read", [Resource("batch", "batch_1")])


def test_no_scopes_grant_nothing_and_a_key_needs_none() -> None:
    assert not Ability.of_scopes([]).allows("read", RUN)
    assert Ability().allows("write", RUN)
    assert (Ability().is_limited, Ability.of_scopes([]).is_limited) == (False, True)
