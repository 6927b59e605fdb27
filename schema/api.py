"""The schema itself, put together once per process."""

import strawberry
from graphql import GraphQLError
from strawberry.extensions import MaxAliasesLimiter, MaxTokensLimiter, ParserCache, QueryDepthLimiter, ValidationCache
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from schema.declare import bind
from schema.errors import DegradedShards, OneOperation, public
from schema.query import Query
from schema.scalars import SCALARS

DEPTH, ALIASES, TOKENS, DOCUMENTS = 12, 30, 2_000, 128
"""Bounds of an operation, and how many parsed and validated ones are kept."""


class Schema(strawberry.Schema):
    """Strawberry's schema, with errors as clients may see them."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Make errors public, in place. Strawberry would log each; `public` logs those that it masks."""
        del execution_context
        errors[:] = [public(error) for error in errors]


schema = Schema(
    query=Query,
    config=StrawberryConfig(scalar_map=SCALARS, sort_schema=True),
    extensions=[
        DegradedShards,
        lambda: MaxTokensLimiter(TOKENS),
        lambda: MaxAliasesLimiter(ALIASES),
        lambda: QueryDepthLimiter(DEPTH),
        lambda: ParserCache(DOCUMENTS),
        lambda: ValidationCache(DOCUMENTS),
        OneOperation,  # last: the cache of validations would overwrite what it says
    ],
)
bind(schema._schema)  # noqa: SLF001  strawberry offers no other way to its result


def sdl() -> str:
    """Return the schema in GraphQL's own language, sorted; `schema/schema.graphql` is a copy of it."""
    return schema.as_str() + "\n"
