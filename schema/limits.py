"""Admission: what a document may ask for, decided before it is validated or executed.

Fragments are measured once each, however often they are spread, so that refusing a document that unfolds without end
is cheap. What was decided of a document is remembered.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    get_nullable_type,
    type_from_ast,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import validate_document

DEPTH, ALIASES, FIELDS, NESTING = 12, 30, 2_000, 64
"""Most of an operation, fragments unfolded: levels of fields, aliases, fields, and braces within braces."""

LONGEST_LIST = 1_000
"""Most members of a list in variables. What takes fewer says so itself."""

DOCUMENTS = 128
"""Of how many documents it is remembered what was decided."""

BAD_INPUT = {"code": "BAD_USER_INPUT"}


class Admission(SchemaExtension):
    """Refuses documents that are too large, invalid, or unclear about what to execute."""

    def on_validate(self) -> Iterator[None]:
        """Run in place of strawberry's own validation."""
        context = self.execution_context
        document = context.graphql_document
        if document is not None and context.pre_execution_errors is None:
            errors = decided(context.schema._schema, document, context.validation_rules)  # noqa: SLF001  no other way to it
            named = context._provided_operation_name  # noqa: SLF001  the property hides whether one was given
            context.pre_execution_errors = (
                list(errors)
                or _unclear(document, named)
                or _unread(context.schema._schema, document, context.variables or {})  # noqa: SLF001  likewise
            )
        yield


def _unclear(document: DocumentNode, named: str | None) -> list[GraphQLError]:
    """Refuse several operations of which none is named: strawberry would run the first."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if len(operations) <= 1 or named:
        return []
    return [GraphQLError("the document holds several operations: say which one in operationName", extensions=BAD_INPUT)]


def _unread(schema: GraphQLSchema, document: DocumentNode, variables: dict[str, Any]) -> list[GraphQLError]:
    """Refuse variables with longer lists than anything takes: to make inputs of what a body holds takes seconds."""
    try:
        for node in document.definitions:
            for declared in (isinstance(node, OperationDefinitionNode) and node.variable_definitions) or ():
                name = declared.variable.name.value
                _refuse_long_lists(type_from_ast(schema, declared.type), variables.get(name), name)
    except GraphQLError as error:
        return [error]
    return []


def _refuse_long_lists(kind: Any, value: object, name: str) -> None:  # noqa: ANN401  a type of an input
    kind = get_nullable_type(kind)
    if isinstance(kind, GraphQLList) and isinstance(value, list):
        if len(value) > LONGEST_LIST:
            raise GraphQLError(
                f"'{name}' holds {len(value)} values, and nothing takes more than {LONGEST_LIST}", extensions=BAD_INPUT
            )
        if isinstance(get_named_type(kind), GraphQLInputObjectType):
            for member in value:
                _refuse_long_lists(kind.of_type, member, name)
    elif isinstance(kind, GraphQLInputObjectType) and isinstance(value, dict):
        for field in kind.fields.keys() & value.keys():
            _refuse_long_lists(kind.fields[field].type, value[field], f"{name}.{field}")


@lru_cache(DOCUMENTS)
def decided(schema: GraphQLSchema, document: DocumentNode, rules: Any) -> Sequence[GraphQLError]:  # noqa: ANN401
    """Return why a document is refused; nothing if it is not."""
    try:
        _Measure(document)
    except GraphQLError as error:
        return (error,)
    return tuple(validate_document(schema, document, rules))


class _Measure:
    """Measures every operation of a document. Raises `GraphQLError` for the first bound that one exceeds."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._known: dict[str, tuple[int, int, int]] = {}
        for node in document.definitions:
            if isinstance(node, OperationDefinitionNode):
                self._refuse(*self._selections(node.selection_set, 1))

    @staticmethod
    def _refuse(depth: int, aliases: int, fields: int) -> None:
        for what, value, most in (("levels", depth, DEPTH), ("aliases", aliases, ALIASES), ("fields", fields, FIELDS)):
            if value > most:
                raise GraphQLError(
                    f"the operation has more {what} than the {most} that are allowed, fragments unfolded",
                    extensions=BAD_INPUT,
                )

    def _selections(self, selections: SelectionSetNode, nesting: int) -> tuple[int, int, int]:
        """Return how many levels of fields, aliases and fields there are."""
        if nesting > NESTING:
            raise GraphQLError("the document nests braces too deeply", extensions=BAD_INPUT)
        if not selections.selections:  # graphql-core parses it all the same
            raise GraphQLError("braces must hold at least one field", extensions=BAD_INPUT)
        depth = aliases = fields = 0
        for node in selections.selections:
            if isinstance(node, FragmentSpreadNode):
                below = self._fragment(node.name.value, nesting + 1)
            elif isinstance(node, FieldNode):
                below = self._field(node, nesting + 1)
            else:
                below = self._selections(cast("InlineFragmentNode", node).selection_set, nesting + 1)
            depth = max(depth, below[0])
            aliases += below[1]
            fields += below[2]
        return depth, aliases, fields

    def _field(self, node: FieldNode, nesting: int) -> tuple[int, int, int]:
        """Return the measures of a field and what is selected of it. Levels of introspection are not counted."""
        depth = aliases = fields = 0
        if node.selection_set is not None:
            depth, aliases, fields = self._selections(node.selection_set, nesting)
            depth = 0 if node.name.value.startswith("__") else depth + 1
        return depth, aliases + (node.alias is not None), fields + 1

    def _fragment(self, name: str, nesting: int) -> tuple[int, int, int]:
        """Return the measures of a fragment. One that is missing, or spreads itself, is for validation to refuse."""
        if name not in self._known:
            self._known[name] = (0, 0, 0)
            if name in self._fragments:
                self._known[name] = self._selections(self._fragments[name].selection_set, nesting)
        return self._known[name]
