"""The contract: its printed copy, its documentation, and what it must never hold."""

import re
from collections.abc import Iterator
from pathlib import Path

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    introspection_types,
    specified_directives,
    specified_scalar_types,
)

from schema.api import schema, sdl
from schema.declare import DECLARATION, Column, Edge, records_by_type

CORE = schema._schema  # noqa: SLF001  strawberry offers no other way to its result
SECRETS = re.compile(r"api_?key|secret|password|hash|encrypted|pkApiKey", re.IGNORECASE)


def documented() -> Iterator[tuple[str, str | None]]:
    """Yield everything that a client can name, with its description."""
    builtin = {*specified_scalar_types, *introspection_types}
    for name, kind in CORE.type_map.items():
        if name not in builtin:
            yield name, kind.description
            yield from members(name, kind)
    for directive in CORE.directives:
        if directive not in specified_directives:
            yield f"@{directive.name}", directive.description


def members(name: str, kind: object) -> Iterator[tuple[str, str | None]]:
    """Yield the values, fields and arguments of a type, with their descriptions."""
    if isinstance(kind, GraphQLEnumType):
        for value_name, value in kind.values.items():
            yield f"{name}.{value_name}", value.description
    if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
        for field_name, field in kind.fields.items():
            yield f"{name}.{field_name}", field.description
            for argument_name, argument in getattr(field, "args", {}).items():
                yield f"{name}.{field_name}({argument_name})", argument.description


def test_the_printed_copy_is_current() -> None:
    copy = Path(__file__).parents[2] / "schema" / "schema.graphql"
    assert copy.read_text("utf-8") == sdl(), "run `make schema` and review the difference"


def test_everything_is_described() -> None:
    names = dict(documented())
    assert len(names) > 150
    assert [name for name, description in names.items() if not description] == []


def test_no_secret_has_a_name_in_the_schema() -> None:
    assert [name for name, _ in documented() if SECRETS.search(name)] == []


def words(name: str) -> set[str]:
    """Return the words that a name is made of."""
    return {
        word.lower() for part in re.split(r"\W", name) for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", part)
    }


def test_every_name_is_made_of_words_that_were_looked_at() -> None:
    """A word that is new to the contract is one to look at: it may be the name of a secret."""
    known = set((Path(__file__).parents[1] / "data" / "words.txt").read_text("utf-8").split())
    used = {word for name, _ in documented() for word in words(name)}
    assert used - known == set(), "look at them, then add them to tests/data/words.txt"
    assert known - used == set(), "no longer used"


def test_every_declared_attribute_is_one_of_the_record() -> None:
    """A plain field or a key that its record lacks would be found only when it is asked for."""
    checked = 0
    for name, record in records_by_type().items():
        for field in CORE.type_map[name].fields.values():  # type: ignore[attr-defined]
            declared = field.extensions["strawberry-definition"]
            match declared.metadata.get(DECLARATION):
                case Column(attribute):
                    wanted = attribute or declared.python_name
                case Edge(_, key):
                    wanted = key
                case _:
                    continue
            assert hasattr(record, wanted), f"{record.__name__} has no {wanted!r} for {name}.{declared.python_name}"
            checked += 1
    assert checked > 90
