"""What a request or a socket presents, before anybody asks whether it is valid."""

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.websockets import WebSocket
from strawberry.http.websocket_origin import is_same_origin

from resolvers.auth import Presented

SESSION_COOKIE = "__session"
PREFLIGHT = "graphql-require-preflight"


def of_request(request: Request) -> Presented:
    """Return what a request presents. A session counts only in a request that a page of another site cannot send.

    That is one for which a browser asks first: with a body of JSON, or with a header of its own.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    asks_first = media_type == "application/json" or PREFLIGHT in request.headers
    return Presented(
        tuple(request.headers.getlist("authorization")),
        request.headers.get("x-trigger-branch"),
        request.cookies.get(SESSION_COOKIE) if asks_first else None,
    )


def of_socket(socket: WebSocket, payload: Mapping[str, Any]) -> Presented:
    """Return what a socket presents: in the payload of its first message, there under `headers`, or as it was opened.

    A browser sends a session to whatever page opens a socket; it counts only for a page of the same origin.
    """
    headers = payload.get("headers")
    given = [payload, headers if isinstance(headers, dict) else {}]
    authorization, branch = (
        next(filter(None, (_texts(one, name) for one in given)), tuple(socket.headers.getlist(name)))
        for name in ("authorization", "x-trigger-branch")
    )
    origin = socket.headers.get("origin")
    is_ours = origin is not None and is_same_origin(origin, socket.headers.get("host"))
    return Presented(
        authorization, branch[0] if branch else None, socket.cookies.get(SESSION_COOKIE) if is_ours else None
    )


def _texts(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return every value under a name, in any case of its letters; there should be one."""
    return tuple(value for key, value in given.items() if key.lower() == name and isinstance(value, str))
