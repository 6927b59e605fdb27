"""The schema itself, put together once per process."""

import strawberry
from graphql import GraphQLError
from strawberry.extensions import MaxTokensLimiter, ParserCache
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from schema.declare import bind
from schema.errors import DegradedShards, public
from schema.limits import DOCUMENTS, Admission
from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS
from schema.user_error import CONCRETE

TOKENS = 2_000
"""Most of a document."""


class Schema(strawberry.Schema):
    """Strawberry's schema, with errors as clients may see them."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Make errors public, in place. Strawberry would log each; `public` logs those that it masks."""
        del execution_context
        errors[:] = [public(error) for error in errors]


schema = Schema(
    query=Query,
    mutation=Mutation,
    types=CONCRETE,
    config=StrawberryConfig(scalar_map=SCALARS, sort_schema=True),
    extensions=[
        DegradedShards,
        lambda: MaxTokensLimiter(TOKENS),
        lambda: ParserCache(DOCUMENTS),
        Admission,
    ],
)
bind(schema._schema)  # noqa: SLF001  strawberry offers no other way to its result


def sdl() -> str:
    """Return the schema in GraphQL's own language, sorted; `schema/schema.graphql` is a copy of it."""
    return schema.as_str() + "\n"
