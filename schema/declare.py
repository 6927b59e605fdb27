"""How fields are declared: a plain field names an attribute of its record, an edge names its kind of load and its key.

A declaration is data, in the field's metadata. `bind` gives it to graphql-core, and any other executor can read it just
as well. No object of a GraphQL type is ever made: what travels through execution are records.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import Annotated, Any, TypeVar

import strawberry
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    Undefined,
    get_named_type,
)
from strawberry.schema_directive import Location
from strawberry.types.field import StrawberryField

from resolvers.ability import Resource
from resolvers.errors import ForbiddenError
from resolvers.loaders import Keyed, Listed, PageArguments
from resolvers.nodes import node
from resolvers.refusals import Refused, refusal_of
from resolvers.summary import FOLLOWED, Summary
from resolvers.viewer import Viewer
from store.records import UNKNOWN

DECLARATION, NEEDS, SECRET, WRITES = "runatlas", "needs", "secret", "writes"
"""What a field's metadata says: how it is read, and what a limited credential must be able to do; see `edge`."""

T = TypeVar("T")


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="semanticNonNull",
    description="Null only together with an entry in `errors`, never as a value. "
    "Error-handling clients may type the field non-null.",
)
class SemanticNonNull:
    """The directive of that name."""

    levels: list[int] = strawberry.field(
        default_factory=lambda: [0], description="The list levels that it speaks of; 0 is the field itself."
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A plain field: the value of the record's attribute."""

    attribute: str | None


@dataclass(frozen=True, slots=True)
class Edge:
    """A relation, or a value that is read on its own: loaded by kind, with an attribute of the record as key.

    With a `part` the key is a pair. Of what was loaded, the value is an `attribute` where one is named. `missing` makes
    the error for a key that no shard has, where that is not the same as null.
    """

    kind: Keyed[Any, Any]
    key: str
    part: Hashable = None
    attribute: str | None = None
    missing: Callable[[], Exception] | None = None


def column(attribute: str | None = None, *, description: str, name: str | None = None) -> Any:  # noqa: ANN401
    """Declare a plain field: the record's attribute of that name, by default the field's own."""
    return strawberry.field(description=description, name=name, metadata={DECLARATION: Column(attribute)})


def edge(  # noqa: PLR0913  a declaration names what differs
    kind: Keyed[Any, Any],
    key: str,
    *,
    description: str,
    always: bool = False,
    part: Hashable = None,
    attribute: str | None = None,
    missing: Callable[[], Exception] | None = None,
    needs: tuple[str, ...] = (),
    secret: bool = False,
    writes: str | None = None,
) -> Any:  # noqa: ANN401
    """Declare a relation: loaded by `kind` with the record's `key`, null if that is null. `always`: there is one.

    A limited credential must be able to read all of one of the types that it `needs`. A `secret` is not for the public.
    What it shows may be as good as to write the record, under the name of the type that it `writes`.
    """
    return strawberry.field(
        description=description,
        directives=[SemanticNonNull()] if always else [],
        metadata={
            DECLARATION: Edge(kind, key, part, attribute, missing),
            NEEDS: needs,
            SECRET: secret,
            WRITES: writes,
        },
    )


def root(resolve: Callable[..., Any], *, description: str, always: bool = False, needs: tuple[str, ...] = ()) -> Any:  # noqa: ANN401
    """Declare a field that is resolved by a function; for what it `needs` see `edge`."""
    return strawberry.field(
        resolver=resolve,
        description=description,
        directives=[SemanticNonNull()] if always else [],
        metadata={NEEDS: needs},
    )


def mutation(act: Callable[[Viewer, Any], Awaitable[Any]], given: type, *, description: str) -> Any:  # noqa: ANN401
    """Declare a mutation: `act` gets the viewer and the input, and its payload is a record with `user_errors`.

    A refusal becomes the payload's only user error. After it everything is read anew, from primaries.
    """
    payload = inspect.signature(act, eval_str=True).return_annotation

    async def resolve(
        info: strawberry.Info,
        input: Annotated[given, strawberry.argument(description="What to do.")],  # type: ignore[valid-type]  # noqa: A002
    ) -> Any:  # noqa: ANN401  a record of the payload
        viewer: Viewer = info.context.viewer
        try:
            return await act(viewer, input)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            return payload(user_errors=[Refused(refusal)])
        finally:
            viewer.wrote()

    return root(resolve, description=description, always=True)


def edges(kind: Keyed[Any, Any], key: str, *, description: str) -> Any:  # noqa: ANN401
    """Declare relations to several records, loaded by `kind` with each of the keys of the record's attribute."""
    read = attrgetter(key)

    async def resolve(parent: strawberry.Parent[Any], info: strawberry.Info) -> list[Any]:
        loaded = await asyncio.gather(*(info.context.viewer.load(kind, each) for each in read(parent) or ()))
        return [record for record in loaded if record is not None]

    return root(resolve, description=description, always=True)


Id = Annotated[strawberry.ID, strawberry.argument(name="id", description="Its id.")]


def by_id(kind: str, *, description: str) -> Any:  # noqa: ANN401
    """Declare a field that finds one object of a kind by its id; another kind's id finds nothing."""

    async def resolve(info: strawberry.Info, id_: Id) -> object:
        return await node(info.context.viewer, id_, only=kind)

    return root(resolve, description=description)


First = Annotated[int | None, strawberry.argument(description="How many from the front, 1 to 100.")]
After = Annotated[str | None, strawberry.argument(description="Begin after this cursor.")]
Last = Annotated[int | None, strawberry.argument(description="How many from the back, 1 to 100.")]
Before = Annotated[str | None, strawberry.argument(description="End before this cursor.")]


def forward_listing(kind: Listed[Any], key: str = "id", *, description: str) -> Any:  # noqa: ANN401
    """Declare a list that is walked forwards: `first` and `after`."""
    read = attrgetter(key)

    def resolve(root: Any, info: strawberry.Info, first: First = None, after: After = None) -> Any:  # noqa: ANN401
        return kind.load(info.context.viewer, read(root), root.environment_id, PageArguments(first, after))

    return root(resolve, description=description, always=True)


def top_listing(kind: Listed[Any], key: str = "id", *, description: str) -> Any:  # noqa: ANN401
    """Declare a list of which only the front is shown: `first`."""
    read = attrgetter(key)

    def resolve(root: Any, info: strawberry.Info, first: First = None) -> Any:  # noqa: ANN401
        return kind.load(info.context.viewer, read(root), root.environment_id, PageArguments(first))

    return root(resolve, description=description, always=True)


_TYPE_OF: dict[type, str] = {}


def type_of(record: type, *, description: str) -> Callable[[type[T]], type[T]]:
    """Declare the GraphQL type that is put over a record."""

    def declare(cls: type[T]) -> type[T]:
        _TYPE_OF[record] = cls.__name__
        return strawberry.type(cls, description=description)

    return declare


def records_by_type() -> dict[str, type]:
    """Return the record of each GraphQL type that is put over one, by the type's name."""
    return {name: record for record, name in _TYPE_OF.items()}


def bind(schema: GraphQLSchema) -> None:
    """Give graphql-core the declarations: how to read a column, how to load an edge, which type a record has.

    An optional argument has no default in the contract, rather than null.
    """
    for graphql_type in schema.type_map.values():
        if isinstance(graphql_type, GraphQLInterfaceType):
            graphql_type.resolve_type = _resolve_type
        if isinstance(graphql_type, GraphQLInputObjectType):
            _plain_defaults(graphql_type.fields.values())
        if not isinstance(graphql_type, GraphQLObjectType):
            continue
        graphql_type.is_type_of = None
        for field in graphql_type.fields.values():
            _plain_defaults(field.args.values())
            declared = field.extensions.get("strawberry-definition")
            if not isinstance(declared, StrawberryField):
                continue
            match declared.metadata.get(DECLARATION):
                case Column(attribute):
                    field.resolve = _reader(attribute or declared.python_name, get_named_type(field.type))
                    continue
                case Edge() as declaration:
                    field.resolve = _loader(declaration)
            field.resolve = _guarded(declared, field.resolve)


def _guarded(declared: StrawberryField, resolve: Any) -> Any:  # noqa: ANN401  graphql-core's resolver
    """Return a resolver that refuses what the viewer's credential does not reach, for columns refuse by themselves."""
    name = declared.python_name
    needs = tuple(Resource(type_) for type_ in declared.metadata.get(NEEDS, ()))
    secret, writes = declared.metadata.get(SECRET, False), declared.metadata.get(WRITES)
    followed = name in FOLLOWED

    def guarded(record: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:  # noqa: ANN401
        if type(record) is Summary and not followed:
            raise ForbiddenError(f"more than a summary of {record.friendly_id}")
        if needs:
            info.context.viewer.need(*needs)
        if secret and info.context.viewer.scope.is_public:
            raise ForbiddenError("what is not for the public")
        if writes:
            info.context.viewer.need(Resource(writes, record.friendly_id), action="write")
        return resolve(record, info, **arguments)

    return guarded


def _plain_defaults(inputs: Iterable[GraphQLArgument | GraphQLInputField]) -> None:
    """Make defaults what graphql-core knows: nothing instead of null, an enum's value instead of its member."""
    for given in inputs:
        if given.default_value is None:
            given.default_value = Undefined
        elif isinstance(given.default_value, Enum):
            given.default_value = given.default_value.value


def _resolve_type(record: object, _info: GraphQLResolveInfo[Any], _type: object) -> str:
    return _TYPE_OF[record.of if isinstance(record, Summary | Refused) else type(record)]


def _reader(attribute: str, kind: object) -> Callable[[Any, GraphQLResolveInfo[Any]], Any]:
    """Return what reads an attribute. A label that an enum lacks is its `UNKNOWN`: the platform may add some."""
    read = attrgetter(attribute)
    if not isinstance(kind, GraphQLEnumType) or UNKNOWN not in kind.values:
        return lambda record, _info: read(record)
    labels = frozenset(kind.values)

    def known(record: Any, _info: GraphQLResolveInfo[Any]) -> Any:  # noqa: ANN401
        label = read(record)
        return label if label is None or label in labels else UNKNOWN

    return known


def _loader(declaration: Edge) -> Callable[[Any, GraphQLResolveInfo[Any]], Any]:
    kind, part, missing = declaration.kind, declaration.part, declaration.missing
    read = attrgetter(declaration.key)
    pick = attrgetter(declaration.attribute) if declaration.attribute else None

    def load(record: Any, info: GraphQLResolveInfo[Any]) -> Any:  # noqa: ANN401
        key = read(record)
        if key is None:
            return None
        return info.context.viewer.load(kind, key if part is None else (key, part))

    async def look_at(record: Any, info: GraphQLResolveInfo[Any]) -> Any:  # noqa: ANN401
        answer = await value if (value := load(record, info)) is not None else None
        if answer is not None:
            return answer if pick is None else pick(answer)
        if missing is not None:
            raise missing()
        return None

    return load if pick is None and missing is None else look_at
