"""The platform's HTTP routes of wait tokens: its SDK calls them, and third parties post to a token's callback.

Shapes, statuses and the order of checks are the platform's (``apps/webapp/app/routes/api.v1.waitpoints.tokens*`` and
``engine.v1.runs.*``); what is made, found and refused is decided where GraphQL's mutations have it decided.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

import orjson
from fastapi import Request, Response
from starlette.routing import Route

from resolvers import callbacks, filters, public_tokens, tokens, values, waitpoints
from resolvers.ability import Resource
from resolvers.auth import SEND_ONE, Authenticator, Presented
from resolvers.errors import BadInputError, UnauthenticatedError
from resolvers.loaders import DEFAULT_PAGE, LARGEST_PAGE, PageArguments
from resolvers.refusals import NotFoundError
from resolvers.summary import required
from resolvers.viewer import Viewer
from schema.http.answers import Endpoint, RequestError, announced, body_of, fields_of, text_of, written
from schema.scalars import serialize_datetime
from store.errors import BadCursorError
from store.federation import Federation
from store.filters import WAITPOINT_STATUS, TimeRange, TokenFilter
from store.pages import LAST_MILLISECOND, Page, Position
from store.records import EnvironmentRecord, TokenAddress, WaitpointRecord

LARGEST_REQUEST = 10_240
"""Bytes of what makes a token or a wait; what completes one is as large as any payload."""

SUCCESS = {"success": True}


class TokenRoutes:
    """The routes. Their credentials are an environment's keys; to complete a token, its public token is one too."""

    def __init__(self, federation: Federation, authenticator: Authenticator, origin: str | None) -> None:
        self._federation, self._authenticator, self._origin = federation, authenticator, origin
        tokens_, run = "/api/v1/waitpoints/tokens", "/engine/v1/runs/{run}"
        endpoints = {
            tokens_: Endpoint({"GET": self._list, "POST": self._create}),
            f"{tokens_}/{{id}}": Endpoint({"GET": self._retrieve}),
            f"{tokens_}/{{id}}/complete": Endpoint(
                {"POST": self._complete}, "Failed to complete waitpoint token", for_any_site=True
            ),
            f"{tokens_}/{{id}}/callback/{{hash}}": Endpoint(
                {"POST": self._callback}, "Failed to complete HTTP callback"
            ),
            f"{run}/waitpoints/tokens/{{id}}/wait": Endpoint(
                {"POST": self._wait}, "Failed to wait for waitpoint token"
            ),
            f"{run}/wait/duration": Endpoint({"POST": self._wait_until}, "Failed to wait for duration"),
        }
        self.routes = [Route(path, endpoint) for path, endpoint in endpoints.items()]

    async def _viewer(self, request: Request, *, public: bool = False) -> tuple[Viewer, EnvironmentRecord]:
        """Return who asks, and of which environment that is; `public` tokens are no key of most routes."""
        presented = Presented(tuple(request.headers.getlist("authorization")), request.headers.get("x-trigger-branch"))
        viewer = await self._authenticator.viewer(presented, self._origin or str(request.base_url).rstrip("/"))
        environment = viewer.scope.environment
        if environment is None or (viewer.scope.is_public and not public):
            raise UnauthenticatedError(SEND_ONE)
        return viewer, environment

    async def _create(self, request: Request) -> Response:
        viewer, environment = await self._viewer(request)
        announced(request, LARGEST_REQUEST)
        fields = await fields_of(request, LARGEST_REQUEST)
        timeout, tags = text_of(fields, "timeout"), _tags(fields)
        made = await tokens.create(viewer, timeout=timeout, tags=tags, **_idempotency(fields))
        address = cast("TokenAddress", made.token)
        callback, public_token = viewer.load(callbacks.urls, address), viewer.load(public_tokens.to_complete, address)
        url, jwt = await asyncio.gather(callback, public_token)
        claims = orjson.dumps({"sub": environment.id, "pub": True}).decode()
        body = {"id": made.waitpoint_id, "isCached": made.is_cached, "url": url}
        signed = {} if jwt is None else {"x-trigger-jwt": jwt, "x-trigger-jwt-claims": claims}
        return written(_given(body), headers=signed)

    async def _list(self, request: Request) -> Response:
        viewer, environment = await self._viewer(request)
        viewer.need(Resource("waitpoints"), instead="write")
        try:
            narrowing = _narrowing(request.query_params)
            arguments = await _page(viewer, request.query_params)
            listed = await waitpoints.token_page(viewer, environment.id, narrowing, arguments)
        except (BadInputError, BadCursorError) as error:
            raise _query_error(str(error)) from error
        page = cast("Page[WaitpointRecord]", listed)
        if page.failures:
            raise page.failures[0]
        data = await asyncio.gather(*(_item(viewer, record) for record in page.nodes))
        pagination = {
            "next": page.end_cursor if page.has_next_page else None,
            "previous": page.start_cursor if page.has_previous_page else None,
        }
        return written({"data": data, "pagination": _given(pagination)})

    async def _retrieve(self, request: Request) -> Response:
        viewer, _ = await self._viewer(request)
        id_ = request.path_params["id"]
        found = await viewer.load(waitpoints.by_reference, id_)
        if found is None or found.friendly_id != id_:
            raise NotFoundError(callbacks.NOT_FOUND)
        record: WaitpointRecord = required(found)
        output, output_type = await waitpoints.stored_output(viewer, record)
        more = {
            "type": record.type,
            "userProvidedIdempotencyKey": record.user_provided_idempotency_key,
            "inactiveIdempotencyKey": record.inactive_idempotency_key,
            "output": output,
            "outputType": output_type,
            "outputIsError": record.output_is_error,
        }
        return written(await _item(viewer, record) | _given(more))

    async def _complete(self, request: Request) -> Response:
        viewer, _ = await self._viewer(request, public=True)
        id_ = request.path_params["id"]
        viewer.need(Resource("waitpoints", id_), action="write")
        announced(request, values.LARGEST_PAYLOAD)
        fields = await fields_of(request, values.LARGEST_PAYLOAD)
        await tokens.complete(viewer, id_=id_, data=fields.get("data"), has_data="data" in fields)
        return written(SUCCESS)

    async def _callback(self, request: Request) -> Response:
        announced(request, values.LARGEST_PAYLOAD, missing=(411, "Content-Length header is required"))
        held = await callbacks.opened(self._federation, request.path_params["id"], request.path_params["hash"])
        data: object = {}
        if held.waitpoint.raw_status == "PENDING":
            data = _json(await body_of(request, values.LARGEST_PAYLOAD))
        await callbacks.complete(self._federation, held, data)
        return written(SUCCESS)

    async def _wait(self, request: Request) -> Response:
        viewer, _ = await self._viewer(request)
        await tokens.wait_for(viewer, run_id=request.path_params["run"], waitpoint_id=request.path_params["id"])
        return written(SUCCESS)

    async def _wait_until(self, request: Request) -> Response:
        viewer, _ = await self._viewer(request)
        announced(request, LARGEST_REQUEST)
        fields = await fields_of(request, LARGEST_REQUEST)
        date = values.moment(text_of(fields, "date") or "")
        if date is None:
            raise RequestError(400, "Validation error: date is not a date")
        waited = await tokens.wait_until(viewer, run_id=request.path_params["run"], date=date, **_idempotency(fields))
        return written({"waitUntil": serialize_datetime(date), "waitpoint": {"id": waited.waitpoint_id}})


def _idempotency(fields: Mapping[str, Any]) -> dict[str, str | None]:
    return {
        "idempotency_key": text_of(fields, "idempotencyKey"),
        "idempotency_key_ttl": text_of(fields, "idempotencyKeyTTL"),
    }


def _tags(fields: Mapping[str, Any]) -> list[str]:
    given = fields.get("tags", [])
    tags = [given] if isinstance(given, str) else given
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise RequestError(400, "Validation error: tags is not a string, or several of them")
    return tags


def _json(body: bytes) -> object:
    """Return what a third party says, however it is labelled; an empty object where it is no JSON."""
    try:
        return orjson.loads(body.decode("utf-8-sig", "replace"))
    except ValueError:
        return {}


async def _item(viewer: Viewer, record: WaitpointRecord) -> dict[str, Any]:
    """Return a token as the platform shows it. Its URL is a credential: it is for those who may complete it."""
    url = None
    if record.token is not None and viewer.scope.ability.allows("write", [Resource("waitpoints", record.friendly_id)]):
        url = await viewer.load(callbacks.urls, record.token)
    return _given(
        {
            "id": record.friendly_id,
            "url": url,
            "status": record.status,
            "completedAt": record.completed_at,
            "timeoutAt": record.timeout_at,
            "completedAfter": record.timeout_at,
            "idempotencyKey": record.idempotency_key,
            "idempotencyKeyExpiresAt": record.idempotency_key_expires_at,
            "tags": record.tags,
            "createdAt": record.created_at,
        }
    )


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what there is, as JSON has it: the platform's SDK takes no null for what is left out."""
    return {
        name: serialize_datetime(value) if isinstance(value, datetime) else value
        for name, value in fields.items()
        if value is not None
    }


def _query_error(sentence: str, *path: str) -> RequestError:
    return RequestError(400, "Query Error", details=[{"code": "custom", "message": sentence, "path": list(path)}])


async def _page(viewer: Viewer, query: Mapping[str, str]) -> PageArguments:
    name = "page[size]"
    given = query.get(name, str(DEFAULT_PAGE))
    size = int(given) if given.isascii() and given.isdigit() and len(given) <= len(str(LARGEST_PAGE)) else 0
    if not 1 <= size <= LARGEST_PAGE:
        raise _query_error(f"{name} must be from 1 to {LARGEST_PAGE}", name)
    after, before = [await waitpoints.place(viewer, query.get(f"page[{end}]") or None) for end in ("after", "before")]
    if before is None:
        return PageArguments(first=size, after=after)
    return PageArguments(last=size, before=before, after=after)


def _narrowing(query: Mapping[str, str]) -> TokenFilter:
    status = _several(query, "filter[status]")
    if unknown := [values.quoted(one) for one in status or () if one not in WAITPOINT_STATUS]:
        raise _query_error(f"Invalid status values: {', '.join(unknown)}", "filter[status]")
    return filters.token_filter(
        status=status,
        idempotency_key=query.get("filter[idempotencyKey]") or None,
        tags=_several(query, "filter[tags]"),
        created_at=_created_at(query),
    )


def _several(query: Mapping[str, str], name: str) -> list[str] | None:
    text = query.get(name)
    return text.split(",") if text else None


def _created_at(query: Mapping[str, str]) -> TimeRange:
    period, since, until = (query.get(f"filter[createdAt][{name}]") or None for name in ("period", "from", "to"))
    return filters.time_range(period, _moment(since, "from"), _moment(until, "to"))


def _moment(text: str | None, name: str) -> datetime | None:
    """Return a time that is written as milliseconds since 1970, or as a date. Raises `RequestError`."""
    if text is None:
        return None
    at = values.moment(text)
    if at is None and text.isascii() and text.isdigit() and len(text) <= len(str(LAST_MILLISECOND)):
        milliseconds = int(text)
        at = Position(milliseconds, "").created_at if milliseconds <= LAST_MILLISECOND else None
    if at is None:
        path = f"filter[createdAt][{name}]"
        raise _query_error(f"{path} is not a date", path)
    return at
