"""The schema itself, put together once per process."""

from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry.extensions import MaxTokensLimiter, ParserCache
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StreamResult
from strawberry.types import ExecutionContext

from schema.declare import bind
from schema.errors import DegradedShards, public
from schema.limits import DOCUMENTS, Admission
from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS
from schema.streams import StreamingExecutor, until_the_end
from schema.subscription import Subscription
from schema.user_error import CONCRETE

TOKENS = 2_000
"""Most of a document."""


class Schema(strawberry.Schema):
    """Strawberry's schema, with errors as clients may see them."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Make errors public, in place. Strawberry would log each; `public` logs those that it masks."""
        del execution_context
        errors[:] = [public(error) for error in errors]

    async def stream(self, *arguments: Any, **options: Any) -> StreamResult:  # noqa: ANN401  passed on as they are
        """Execute an operation and stream its results. The last one is a `PreExecutionError` if it broke."""
        return until_the_end(await super().stream(*arguments, **options))


schema = Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    execution_context_class=StreamingExecutor,
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
