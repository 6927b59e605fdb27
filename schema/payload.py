"""Payload and error: what runs take and give, decoded."""

import strawberry
from strawberry.scalars import JSON

from schema.declare import column


@strawberry.type(description="A value that a run took or gave.")
class Payload:
    """The type of that name; its record is `resolvers.payloads.Payload`."""

    content_type: str = column(description="How it is stored.")
    json: JSON | None = column(description="The value, where it can be decoded.")
    text: str | None = column(description="The stored text, where it cannot be decoded or is plain text.")
    presigned_url: str | None = column(description="Where to fetch it, if it is kept elsewhere and that can be told.")
    byte_size: int | None = column(description="Size of the stored text in bytes.")


@strawberry.type(description="Why a run or an attempt failed.")
class RunError:
    """The type of that name; its record is `resolvers.payloads.ErrorRecord`."""

    type: str = column(description="Kind of error: `BUILT_IN_ERROR`, `CUSTOM_ERROR`, `STRING_ERROR`, `INTERNAL_ERROR`.")
    name: str | None = column(description="Name of the error's class.")
    message: str | None = column(description="What it says.")
    code: str | None = column(description="The platform's code of an internal error.")
    stack_trace: str | None = column(description="Where it was raised.")
