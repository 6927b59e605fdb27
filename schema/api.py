"""The schema itself, put together once per process."""

import strawberry
from strawberry.extensions import MaxAliasesLimiter, MaxTokensLimiter, ParserCache, QueryDepthLimiter, ValidationCache
from strawberry.schema.config import StrawberryConfig

from schema.declare import bind
from schema.errors import PublicErrors
from schema.query import Query
from schema.scalars import SCALARS

DEPTH, ALIASES, TOKENS, DOCUMENTS = 12, 30, 2_000, 512
"""Bounds of an operation, and how many parsed and validated ones are kept."""


class Schema(strawberry.Schema):
    """Strawberry's schema, which leaves the logging of errors to `schema.errors`."""

    def process_errors(self, errors: object, execution_context: object = None) -> None:
        """Do nothing: an error of ours is no event, any other is logged where it is masked."""


schema = Schema(
    query=Query,
    config=StrawberryConfig(scalar_map=SCALARS, sort_schema=True),
    extensions=[
        PublicErrors,
        lambda: MaxTokensLimiter(TOKENS),
        lambda: MaxAliasesLimiter(ALIASES),
        lambda: QueryDepthLimiter(DEPTH),
        lambda: ParserCache(DOCUMENTS),
        lambda: ValidationCache(DOCUMENTS),
    ],
)
bind(schema._schema)  # noqa: SLF001  strawberry offers no other way to its result
