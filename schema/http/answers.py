"""How the platform's HTTP routes are answered: JSON, a sentence under `error`, and whether asking again may help.

A path is an `Endpoint`, which turns whatever goes wrong below it into the platform's statuses: never a stack trace, and
never a 500 for what a caller sent.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from resolvers.auth import INVALID_KEY, INVALID_TOKEN, SEND_ONE
from resolvers.errors import UnauthenticatedError
from resolvers.refusals import (
    ConflictError,
    ForbiddenRefusalError,
    InvalidInputError,
    NotFoundError,
    PayloadTooLargeError,
    RefusalError,
    ShardRefusalError,
    refusal_of,
)
from schema.errors import masked
from store.errors import ReadOnlyError
from store.shard import one_operation

Answer = Callable[[Request], Awaitable[Response]]

NO_KEY = "Invalid or Missing API key"
NOT_A_KEY = frozenset({SEND_ONE, INVALID_KEY, INVALID_TOKEN})
"""What the authenticator says of credentials for which the platform has that one sentence."""

TOO_LARGE = "Request body too large"
FORBIDDEN = {"code": "unauthorized", "param": "access_token", "type": "authorization"}
PREFLIGHT_SECONDS = 300
LONGEST_LENGTH = 18
"""Digits of a Content-Length: more are more than anything."""

STATUS: dict[type[RefusalError], int] = {NotFoundError: 404, ConflictError: 409, PayloadTooLargeError: 413}
"""Refusal -> status; that of a row whose state forbids the write is 422."""

UNFIT = frozenset({("input", "data"), ("input", "tags"), ("input", "timeout")})
"""Parts of an input that the platform's service refuses, with 422; its schema refuses all others, with 400."""


class RequestError(Exception):
    """A request that cannot be answered. The message is one sentence for the caller; `more` stands beside it."""

    def __init__(self, status: int, sentence: str, **more: object) -> None:
        super().__init__(sentence)
        self.status, self.more = status, more


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path: who answers which method. `failed` is said of whatever is not the caller's to know.

    Pages of any site may ask one that is `for_any_site`.
    """

    answers: Mapping[str, Answer]
    failed: str = "Something went wrong"
    for_any_site: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        request = Request(scope, receive)
        response = await self._answer(request)
        if self.for_any_site:
            response.headers["Access-Control-Allow-Origin"] = "*"
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if self.for_any_site and request.method == "OPTIONS":
            return self._preflight(request)
        answer = self.answers.get("GET" if request.method == "HEAD" else request.method)
        if answer is None:
            return written({"error": "Method not allowed"}, 405, {"Allow": ", ".join(self._methods())})
        try:
            with one_operation():
                return await answer(request)
        except Exception as error:  # noqa: BLE001  a client gets an id of it, and the log the rest
            return self._refusal(error)

    def _methods(self) -> list[str]:
        more = (["HEAD"] if "GET" in self.answers else []) + (["OPTIONS"] if self.for_any_site else [])
        return [*self.answers, *more]

    def _preflight(self, request: Request) -> Response:
        asked = request.headers.get("access-control-request-headers")
        headers = {
            "Access-Control-Allow-Methods": ", ".join(self.answers),
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
            "Vary": "Access-Control-Request-Headers",
        }
        return Response(None, 204, headers if asked is None else headers | {"Access-Control-Allow-Headers": asked})

    def _refusal(self, error: Exception) -> Response:
        refusal = refusal_of(error)
        if refusal is not None:
            return _refused(refusal)
        match error:
            case RequestError():
                return written({"error": str(error), **error.more}, error.status)
            case ClientDisconnect():
                return written({"error": "The request body is shorter than announced"}, 400)
            case UnauthenticatedError():
                return written({"error": NO_KEY if str(error) in NOT_A_KEY else str(error)}, 401)
            case ReadOnlyError():
                return written({"error": str(error)}, 403, {"x-should-retry": "false"})
        _, extensions = masked(error)
        return written({"error": self.failed, "errorId": extensions["errorId"]}, 500)


def _refused(refusal: RefusalError) -> Response:
    match refusal:
        case ForbiddenRefusalError():
            return written({"error": "Unauthorized", **FORBIDDEN}, 403)
        case ShardRefusalError():
            unknown = ": it may have been kept" if refusal.may_have_applied else ""
            return written({"error": f"{refusal}{unknown}"}, 503, {"x-should-retry": "true"})
        case InvalidInputError():
            status = 422 if tuple(refusal.path or ()) in UNFIT else 400
        case _:
            status = next((status for kind, status in STATUS.items() if isinstance(refusal, kind)), 422)
    return written({"error": refusal.message}, status)


def written(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response of JSON."""
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


def announced(request: Request, most: int, missing: tuple[int, str] = (413, TOO_LARGE)) -> None:
    """Raise `RequestError` for a body that is announced to be larger than `most` bytes, or not announced at all."""
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise RequestError(*missing)
    if len(length) > LONGEST_LENGTH or int(length) > most:
        raise RequestError(413, TOO_LARGE)


async def body_of(request: Request, most: int) -> bytes:
    """Return a body of at most `most` bytes, whatever it was announced to be. Raises `RequestError`."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise RequestError(413, TOO_LARGE)
        chunks.append(chunk)
    return b"".join(chunks)


async def fields_of(request: Request, most: int) -> dict[str, Any]:
    """Return the JSON object that a body of at most `most` bytes is. Raises `RequestError`."""
    body = await body_of(request, most)
    if not body:
        raise RequestError(400, "Request body is empty")
    try:
        given = orjson.loads(body.decode("utf-8-sig"))
    except ValueError:
        raise RequestError(400, "Invalid JSON") from None
    if not isinstance(given, dict):
        raise RequestError(400, "Validation error: the body is not an object")
    return given


def text_of(fields: Mapping[str, Any], name: str) -> str | None:
    """Return a field that is a text, or None if it is left out. Raises `RequestError`."""
    value = fields.get(name)
    if name in fields and not isinstance(value, str):
        raise RequestError(400, f"Validation error: {name} is not a string")
    return value
