"""The platform's HTTP routes of tokens, as its SDK calls them and as third parties post to a token's callback."""

import asyncio
import gzip
import hashlib
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import jwt
import pytest
import uvicorn
from structlog.testing import capture_logs

from resolvers.auth import AUDIENCE, ISSUER
from store import ids
from store.control_plane import CONTROL_PLANE
from store.embedded import Cluster
from store.errors import OutcomeUnknownError
from store.federation import open_federation
from store.residency import LEGACY, NEW, ShardKey
from store.tables import DEDICATED, FULL
from store.topology import Access, ShardAccess, Topology
from store.urls import parse_url
from tests.conftest import over_shards
from tests.federation import START, FederationUnderTest, bearer, plant_tenant, public_token

TOKENS = "/api/v1/waitpoints/tokens"
NO_KEY = {"error": "Invalid or Missing API key"}
FORBIDDEN = {"error": "Unauthorized", "code": "unauthorized", "param": "access_token", "type": "authorization"}
NOT_FOUND = {"error": "Waitpoint not found"}
TOO_LARGE = {"error": "Request body too large"}
SUCCESS = {"success": True}


async def send(
    federation: FederationUnderTest, method: str, path: str, *, key: str | None = None, **given: Any
) -> httpx.Response:
    """Return the answer to a request with a key, by default the environment's; an empty one is left out."""
    key = federation.tenant.api_key if key is None else key
    headers = (bearer(key) if key else {}) | given.pop("headers", {})
    async with federation.client() as client:
        return await client.request(method, path, headers=headers, **given)


async def post(federation: FederationUnderTest, path: str, body: object = None, **given: Any) -> httpx.Response:
    return await send(federation, "POST", path, json=body, **given)


async def answer(federation: FederationUnderTest, method: str, path: str, **given: Any) -> Any:
    """Return the JSON of an answer that is none but 200, in which nothing is null."""
    response = await send(federation, method, path, **given)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert "null" not in response.text
    return response.json()


async def listed(federation: FederationUnderTest, **query: Any) -> Any:
    return await answer(federation, "GET", TOKENS, params=query)


async def retrieved(federation: FederationUnderTest, id_: str) -> Any:
    return await answer(federation, "GET", f"{TOKENS}/{id_}")


async def created(federation: FederationUnderTest, body: object = None, **given: Any) -> Any:
    return await answer(federation, "POST", TOKENS, json={} if body is None else body, **given)


def signed(token: str, key: str) -> str:
    """Return the path at which a token, by its primary key, is completed."""
    signature = hmac.new(key.encode(), token.encode(), hashlib.sha256).hexdigest()
    return f"{TOKENS}/waitpoint_{token}/callback/{signature}"


async def call_back(federation: FederationUnderTest, path: str, content: bytes = b"{}", **headers: str) -> Any:
    response = await send(federation, "POST", path, key="", content=content, headers=headers)
    return response.status_code, response.json()


async def stored(federation: FederationUnderTest, shard: str, token: str) -> tuple[str, str | None, str]:
    row = await federation.connections[shard].fetchrow(
        'SELECT status::text, output, "outputType" FROM "Waitpoint" WHERE id = $1', token
    )
    assert row is not None
    return row["status"], row["output"], row["outputType"]


async def rotate(federation: FederationUnderTest, grace: timedelta) -> str:
    """Give the tenant's environment another key, and return the old one, which is good for a while."""
    old, new = federation.tenant.api_key, f"tr_prod_{ids.mint_cuid()[1:]}"
    environment = federation.tenant.environment_id
    await federation.connections[CONTROL_PLANE].execute(
        'UPDATE "RuntimeEnvironment" SET "apiKey" = $2 WHERE id = $1', environment, new
    )
    expires = datetime.now(UTC).replace(tzinfo=None) + grace
    row = {"id": ids.mint_cuid(), "apiKey": old, "runtimeEnvironmentId": environment, "expiresAt": expires}
    await federation.insert(CONTROL_PLANE, "RevokedApiKey", row)
    federation.tenant.api_key = new
    return old


async def waits(federation: FederationUnderTest, run: str) -> list[str]:
    """Return what a run waits for now."""
    data = await federation.ask("query ($id: ID!) { run(id: $id) { blockedBy { waitpoint { id } } } }", id=f"run_{run}")
    return [edge["waitpoint"]["id"] for edge in data["run"]["blockedBy"]]


@over_shards(1, 2, 3)
async def test_a_token_goes_the_way_of_the_sdk(federation: FederationUnderTest) -> None:
    made = await send(federation, "POST", TOKENS, json={"timeout": "1h", "tags": "vip"})
    token = made.json()
    assert (made.status_code, set(token), token["isCached"]) == (200, {"id", "isCached", "url"}, False)
    jwt_, claims = made.headers["x-trigger-jwt"], json.loads(made.headers["x-trigger-jwt-claims"])
    assert claims == {"sub": federation.tenant.environment_id, "pub": True}
    decoded = jwt.decode(jwt_, federation.tenant.api_key, ["HS256"], issuer=ISSUER, audience=AUDIENCE)
    assert decoded["scopes"] == [f"write:waitpoints:{token['id']}"]
    assert decoded["exp"] - time.time() == pytest.approx(24 * 3600, abs=60)
    assert token["url"] == "http://runatlas" + signed(token["id"].removeprefix("waitpoint_"), federation.tenant.api_key)

    page = await listed(federation)
    (item,) = page["data"]
    assert item["timeoutAt"] == item["completedAfter"]
    assert item == {
        **{key: token[key] for key in ("id", "url")},
        "status": "WAITING",
        **{key: item[key] for key in ("timeoutAt", "completedAfter", "createdAt")},
        "tags": ["vip"],
    }
    assert page["pagination"] == {}
    for moment in (item["timeoutAt"], item["createdAt"]):
        datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    found = await retrieved(federation, token["id"])
    more = {
        "type": "MANUAL",
        "userProvidedIdempotencyKey": False,
        "outputType": "application/json",
        "outputIsError": False,
    }
    assert found == item | more

    assert await call_back(federation, urlsplit(token["url"]).path, b'{"paid": [1, null]}') == (200, SUCCESS)
    found = await answer_with_null(federation, token["id"])
    assert found["status"] == "COMPLETED"
    assert (found["outputType"], json.loads(found["output"])) == (
        "application/super+json",
        {"json": {"paid": [1, None]}},
    )
    again = await post(federation, f"{TOKENS}/{token['id']}/complete", {"data": "late"}, key=jwt_)
    assert (again.status_code, again.json()) == (200, SUCCESS)
    assert await answer_with_null(federation, token["id"]) == found, "who completes it first, wins"
    (item,) = (await listed(federation, **{"filter[status]": "COMPLETED"}))["data"]
    assert item["completedAt"] == found["completedAt"]


async def answer_with_null(federation: FederationUnderTest, id_: str) -> Any:
    """Return a token whose output says null: the raw text of it may."""
    return (await send(federation, "GET", f"{TOKENS}/{id_}")).json()


@over_shards(2, 3)
async def test_tokens_of_every_shard_are_found_and_completed(federation: FederationUnderTest) -> None:
    for number, shard in enumerate(federation.shards):
        token, other = await federation.waitpoint(shard), await federation.waitpoint(shard)
        assert (await retrieved(federation, f"waitpoint_{token}"))["id"] == f"waitpoint_{token}"
        assert await call_back(federation, signed(token, federation.tenant.api_key), b"7") == (200, SUCCESS)
        response = await post(federation, f"{TOKENS}/waitpoint_{other}/complete", {"data": "seven"})
        assert (response.status_code, response.json()) == (200, SUCCESS)
        assert await stored(federation, shard, token) == ("COMPLETED", '{"json":7}', "application/super+json")
        assert await stored(federation, shard, other) == ("COMPLETED", "seven", "text/plain")
        assert (await retrieved(federation, f"waitpoint_{other}"))["output"] == "seven"
        assert len((await listed(federation))["data"]) == 2 * (number + 1)


@over_shards(1, 2, 3)
async def test_a_run_of_any_shard_goes_on_when_a_third_party_completes_its_token(
    federation: FederationUnderTest,
) -> None:
    for home in federation.shards:
        token = await federation.waitpoint(home)
        runs = [(shard, await federation.run(shard, status="EXECUTING")) for shard in federation.shards]
        for _, run in runs:
            waiting = await post(federation, f"/engine/v1/runs/run_{run}/waitpoints/tokens/waitpoint_{token}/wait")
            assert (waiting.status_code, waiting.json()) == (200, SUCCESS)
            assert await waits(federation, run) == [f"waitpoint_{token}"]
        assert await call_back(federation, signed(token, federation.tenant.api_key)) == (200, SUCCESS)
        for shard, run in runs:
            assert await waits(federation, run) == []
            step = await federation.connections[shard].fetchval(
                'SELECT "executionStatus"::text FROM "TaskRunExecutionSnapshot" WHERE "runId" = $1'
                ' ORDER BY "createdAt" DESC, id DESC LIMIT 1',
                run,
            )
            assert step == "EXECUTING"


@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_a_run_waits_for_a_time(federation: FederationUnderTest, shard: ShardKey) -> None:
    run = await federation.run(shard, status="EXECUTING")
    path = f"/engine/v1/runs/run_{run}/wait/duration"
    body = {"date": "2126-01-02T03:04:05.678+01:00", "idempotencyKey": "tomorrow", "idempotencyKeyTTL": "1h"}

    waiting = await answer(federation, "POST", path, json=body)

    assert waiting == {"waitUntil": "2126-01-02T02:04:05.678Z", "waitpoint": {"id": waiting["waitpoint"]["id"]}}
    assert await waits(federation, run) == [waiting["waitpoint"]["id"]]
    assert await answer(federation, "POST", path, json=body) == waiting, "the key finds it"
    found = await retrieved(federation, waiting["waitpoint"]["id"])
    assert (found["type"], found["completedAfter"], "url" in found) == ("DATETIME", waiting["waitUntil"], False)
    past = await answer(federation, "POST", path, json={"date": "2020-01-01"})
    assert (await retrieved(federation, past["waitpoint"]["id"]))["status"] == "COMPLETED"
    for wrong in ({}, {"date": 7}, {"date": "tomorrow"}, {"date": None}, {"date": "2126-01-02", "idempotencyKey": 7}):
        response = await post(federation, path, wrong)
        assert response.status_code == 400
        assert response.json()["error"].startswith("Validation error: ")


async def test_waiting_is_refused_by_run_and_by_token(federation: FederationUnderTest) -> None:
    run, done = await federation.run(NEW, status="EXECUTING"), await federation.run(NEW, status="CANCELED")
    token = await federation.waitpoint(LEGACY)
    stranger = await plant_tenant(federation.connections[CONTROL_PLANE])
    here = replace(federation, tenant=stranger)
    foreign_run, foreign_token = await here.run(NEW, status="EXECUTING"), await here.waitpoint(LEGACY)

    async def wait(run: str, token: str) -> tuple[int, Any]:
        response = await post(federation, f"/engine/v1/runs/{run}/waitpoints/tokens/{token}/wait")
        return response.status_code, response.json()

    for other in (f"waitpoint_{foreign_token}", f"waitpoint_{ids.mint_cuid()}", token, "x", "waitpoint_%00"):
        assert await wait(f"run_{run}", other) == (404, NOT_FOUND)
    for other in (f"run_{foreign_run}", f"run_{ids.mint_v1()}", run, "x", "run_%00"):
        assert await wait(other, f"waitpoint_{token}") == (404, {"error": "Run not found"})
        response = await post(federation, f"/engine/v1/runs/{other}/wait/duration", {"date": "2126-01-01"})
        assert (response.status_code, response.json()) == (404, {"error": "Run not found"})
    status, body = await wait(f"run_{done}", f"waitpoint_{token}")
    assert (status, body) == (422, {"error": "a run that has ended cannot wait"})
    assert await waits(here, foreign_run) == []


async def test_a_key_makes_a_token_once(federation: FederationUnderTest) -> None:
    body = {"idempotencyKey": "order-1", "idempotencyKeyTTL": "1h"}
    first = await created(federation, {**body, "tags": ["b", "a"]})
    assert await created(federation, {**body, "tags": ["c"]}) == first | {"isCached": True}
    item = await retrieved(federation, first["id"])
    assert (item["idempotencyKey"], item["userProvidedIdempotencyKey"], item["tags"]) == ("order-1", True, ["a", "b"])
    lasts = datetime.fromisoformat(item["idempotencyKeyExpiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < lasts <= timedelta(hours=1)
    await answer(federation, "POST", f"{TOKENS}/{first['id']}/complete", json={})
    assert (await created(federation, body))["id"] == first["id"], "also when it is complete"

    key = first["id"].removeprefix("waitpoint_")
    await federation.connections[LEGACY].execute(
        'UPDATE "Waitpoint" SET "idempotencyKeyExpiresAt" = $2 WHERE id = $1', key, START
    )
    second = await created(federation, body)
    assert (second["isCached"], second["id"] == first["id"]) == (False, False)
    old = await retrieved(federation, first["id"])
    assert (old["idempotencyKey"], old["inactiveIdempotencyKey"]) == ("order-1", "order-1")
    found = await listed(federation, **{"filter[idempotencyKey]": "order-1"})
    assert [item["id"] for item in found["data"]] == [second["id"], first["id"]]


async def test_a_key_that_a_token_of_another_shard_has_finds_it(federation: FederationUnderTest) -> None:
    token = await federation.waitpoint(NEW, idempotencyKey="order-1", userProvidedIdempotencyKey=True)
    made = await created(federation, {"idempotencyKey": "order-1"})
    assert (made["id"], made["isCached"]) == (f"waitpoint_{token}", True)


BODIES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "Request body is empty"),
    "half of it": (b"{", 400, "Invalid JSON"),
    "bad UTF-8": (b'{"data":"\xff"}', 400, "Invalid JSON"),
    "compressed": (gzip.compress(b"{}", mtime=0), 400, "Invalid JSON"),
    "far too deep": (b'{"data":' + b"[" * 100_000, 400, "Invalid JSON"),
    "half of a pair": (b'{"data":"\\ud800"}', 400, "Invalid JSON"),
    "an infinite number": (b'{"data":1e999}', 400, "Invalid JSON"),
    "no object": (b"[]", 400, "Validation error: the body is not an object"),
    "null": (b"null", 400, "Validation error: the body is not an object"),
}


@pytest.mark.parametrize("case", BODIES)
async def test_a_body_that_is_none_is_refused_in_one_sentence(federation: FederationUnderTest, case: str) -> None:
    content, status, sentence = BODIES[case]
    token, run = await federation.waitpoint(NEW), await federation.run(NEW, status="EXECUTING")
    makes = [TOKENS, f"/engine/v1/runs/run_{run}/wait/duration"]
    for path in [f"{TOKENS}/waitpoint_{token}/complete", *(makes if len(content) < 10_000 else [])]:
        response = await send(federation, "POST", path, content=content)
        assert (response.status_code, response.json()) == (status, {"error": sentence})
    assert (await stored(federation, NEW, token))[0] == "PENDING"


async def test_a_mark_of_byte_order_is_no_part_of_a_body(federation: FederationUnderTest) -> None:
    token = await federation.waitpoint(NEW)
    content = b"\xef\xbb\xbf" + b'{"data":[]}'
    response = await send(federation, "POST", f"{TOKENS}/waitpoint_{token}/complete", content=content)
    assert response.status_code == 200
    assert await stored(federation, NEW, token) == ("COMPLETED", '{"json":[]}', "application/super+json")


CREATE_REFUSALS: list[tuple[object, int, str]] = [
    ({"idempotencyKeyTTL": "soon"}, 400, "idempotencyKeyTTL is not valid: a number and one of s, m, h, d"),
    ({"idempotencyKey": ""}, 400, "idempotencyKey is empty"),
    ({"idempotencyKey": "x" * 2_049}, 400, "idempotencyKey is longer than 2048 characters"),
    ({"idempotencyKey": "a\0"}, 400, "idempotencyKey holds a NUL character"),
    ({"idempotencyKey": 7}, 400, "Validation error: idempotencyKey is not a string"),
    ({"timeout": None}, 400, "Validation error: timeout is not a string"),
    ({"timeout": "soon"}, 422, "Invalid timeout: soon"),
    ({"timeout": "2020-01-01"}, 422, "timeout is in the past: 2020-01-01"),
    ({"tags": [f"{n}" for n in range(11)]}, 422, "Waitpoints can only have 10 tags, you're trying to set 11."),
    ({"tags": ["x" * 129]}, 400, "tags[0] is longer than 128 characters"),
    ({"tags": {"a": 1}}, 400, "Validation error: tags is not a string, or several of them"),
    ({"tags": ["a", 1]}, 400, "Validation error: tags is not a string, or several of them"),
]


@pytest.mark.parametrize(("body", "status", "sentence"), CREATE_REFUSALS)
async def test_a_token_that_makes_no_sense_is_not_made(
    federation: FederationUnderTest, body: object, status: int, sentence: str
) -> None:
    response = await post(federation, TOKENS, body)
    assert (response.status_code, response.json()) == (status, {"error": sentence})
    assert (await listed(federation))["data"] == []


OUTPUTS: list[tuple[bytes, tuple[str | None, str]]] = [
    (b"{}", (None, "application/json")),
    (b'{"data":""}', (None, "application/json")),
    (b'{"data":"text"}', ("text", "text/plain")),
    (b'{"data":null}', ('{"json":null}', "application/super+json")),
    (b'{"data":0}', ('{"json":0}', "application/super+json")),
    (b'{"data":{"a":[1]},"more":1}', ('{"json":{"a":[1]}}', "application/super+json")),
]


@pytest.mark.parametrize(("content", "expected"), OUTPUTS)
async def test_an_output_is_stored_as_the_platform_stores_it(
    federation: FederationUnderTest, content: bytes, expected: tuple[str | None, str]
) -> None:
    token = await federation.waitpoint(NEW)
    response = await send(federation, "POST", f"{TOKENS}/waitpoint_{token}/complete", content=content)
    assert (response.status_code, response.json()) == (200, SUCCESS)
    assert await stored(federation, NEW, token) == ("COMPLETED", *expected)
    found = await answer_with_null(federation, f"waitpoint_{token}")
    assert (found.get("output"), found["outputType"]) == expected
    assert ("output" in found) is (expected[0] is not None)


CALLBACKS: list[tuple[bytes, str | None]] = [
    (b"", "{}"),
    (b"{", "{}"),
    (b"a=1&b=2", "{}"),
    (b"\xff", "{}"),
    (b'"\xff"', "\N{REPLACEMENT CHARACTER}"),
    (gzip.compress(b"{}", mtime=0), "{}"),
    (b"[" * 100_000, "{}"),
    (b'"\\ud800"', "{}"),
    (b"null", "null"),
    (b'"text"', "text"),
    (b'""', None),
    (b'\xef\xbb\xbf{"a":1}', '{"a":1}'),
]


@pytest.mark.parametrize(("content", "expected"), CALLBACKS, ids=lambda given: repr(given)[:30])
async def test_a_callback_takes_json_however_it_is_labelled_and_else_an_empty_object(
    federation: FederationUnderTest, content: bytes, expected: str | None
) -> None:
    token = await federation.waitpoint(NEW)
    path = signed(token, federation.tenant.api_key)
    assert await call_back(federation, path, content, **{"content-type": "text/html"}) == (200, SUCCESS)
    status, output, kind = await stored(federation, NEW, token)
    assert status == "COMPLETED"
    assert output == (f'{{"json":{expected}}}' if kind == "application/super+json" else expected)


UNFIT = [b'"a\\u0000"', b'{"a":"\\u0000"}', b"[" * 250 + b"]" * 250]


@pytest.mark.parametrize("content", UNFIT, ids=lambda content: repr(content[:20]))
async def test_json_that_cannot_be_stored_is_refused_and_the_token_still_waits(
    federation: FederationUnderTest, content: bytes
) -> None:
    token = await federation.waitpoint(NEW)
    status, body = await call_back(federation, signed(token, federation.tenant.api_key), content)
    assert (status, body["error"][:5]) == (422, "data ")
    response = await send(
        federation, "POST", f"{TOKENS}/waitpoint_{token}/complete", content=b'{"data":' + content + b"}"
    )
    assert (response.status_code, response.json()) == (422, body)
    assert (await stored(federation, NEW, token))[0] == "PENDING"


async def test_a_callback_is_checked_in_the_platforms_order(federation: FederationUnderTest) -> None:
    token, key = await federation.waitpoint(NEW), federation.tenant.api_key
    path, nowhere = signed(token, key), signed(ids.mint_cuid(), key)
    forged = signed(token, "tr_prod_other")

    async def chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    response = await send(federation, "GET", nowhere, key="")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    response = await send(federation, "POST", nowhere, key="", content=chunks())
    assert (response.status_code, response.json()) == (411, {"error": "Content-Length header is required"})
    for length in ("3145729", "9" * 5_000):
        assert await call_back(federation, nowhere, b"", **{"content-length": length}) == (413, TOO_LARGE)
    for odd in (nowhere, f"{TOKENS}/{token}/callback/{path[-64:]}", f"{TOKENS}/waitpoint_%00/callback/{path[-64:]}"):
        assert await call_back(federation, odd) == (404, NOT_FOUND)
    mismatch = (401, {"error": "Invalid URL, hash doesn't match"})
    stem, signature = path[:-64], path[-64:]
    for other in (
        forged[-64:],
        signature.upper(),
        signature[:-1],
        signature + "0",
        "g" * 64,
        "%C3%A9" * 64,
        "%D9%A0" * 64,
    ):
        assert await call_back(federation, stem + other) == mismatch
    assert (await stored(federation, NEW, token))[0] == "PENDING"
    too_much = b'"' + b"x" * 3_145_727 + b'"'
    assert await call_back(federation, path, too_much, **{"content-length": "10"}) == (413, TOO_LARGE)
    assert await call_back(federation, path, too_much[:-1], **{"content-length": "10"}) == (200, SUCCESS), "no JSON: {}"
    assert await call_back(federation, path, too_much, **{"content-length": "10"}) == (200, SUCCESS), "it is complete"
    assert await call_back(federation, forged) == mismatch, "who cannot sign is not told that it is complete"


async def test_what_nobody_completes_is_not_completed(federation: FederationUnderTest) -> None:
    due = await federation.waitpoint(NEW, type="DATETIME")
    body = {"error": "a time completes this waitpoint: skip it instead"}
    assert await call_back(federation, signed(due, federation.tenant.api_key)) == (422, body)
    response = await post(federation, f"{TOKENS}/waitpoint_{due}/complete", {})
    assert (response.status_code, response.json()) == (422, body)


@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_a_branchs_callback_is_signed_by_its_root_also_while_that_ones_key_rotates(
    federation: FederationUnderTest, shard: ShardKey
) -> None:
    tenant = federation.tenant
    branch = await federation.environment(type="PREVIEW", branchName="x", parentEnvironmentId=tenant.environment_id)
    old = tenant.api_key
    tokens = [await federation.waitpoint(shard, environmentId=branch) for _ in range(4)]
    own, root, rotated, ended = (
        signed(token, key) for token, key in zip(tokens, (f"tr_prod_{branch[1:]}", old, old, old), strict=True)
    )
    assert (await call_back(federation, own))[0] == 401
    assert await call_back(federation, root) == (200, SUCCESS)
    await rotate(federation, timedelta(hours=1))
    assert await call_back(federation, rotated) == (200, SUCCESS)
    assert await call_back(federation, signed(tokens[0], tenant.api_key)) == (200, SUCCESS)
    connection = federation.connections[CONTROL_PLANE]
    await connection.execute('UPDATE "RevokedApiKey" SET "expiresAt" = $2 WHERE "apiKey" = $1', old, START)
    assert (await call_back(federation, ended))[0] == 401


async def test_a_token_of_an_environment_that_is_gone_is_not_found(federation: FederationUnderTest) -> None:
    connection = federation.connections[CONTROL_PLANE]
    archived = await plant_tenant(connection, archivedAt=START)
    deleted = await plant_tenant(connection)
    await connection.execute('UPDATE "Project" SET "deletedAt" = now() WHERE id = $1', deleted.project_id)
    for tenant in (archived, deleted):
        token = await replace(federation, tenant=tenant).waitpoint(NEW)
        assert await call_back(federation, signed(token, tenant.api_key)) == (404, NOT_FOUND)
    orphan = await federation.waitpoint(NEW, environmentId=ids.mint_cuid())
    assert await call_back(federation, signed(orphan, federation.tenant.api_key)) == (404, NOT_FOUND)


async def test_the_tokens_of_other_environments_and_of_sibling_branches_are_not_found(
    federation: FederationUnderTest,
) -> None:
    root = await plant_tenant(
        federation.connections[CONTROL_PLANE], type="PREVIEW", apiKey=f"tr_preview_{ids.mint_cuid()}"
    )
    here = replace(federation, tenant=root)
    branches = {
        name: await here.environment(type="PREVIEW", branchName=name, parentEnvironmentId=root.environment_id)
        for name in ("one", "two")
    }
    token = await here.waitpoint(NEW, environmentId=branches["one"])
    one, two = ({"x-trigger-branch": name} for name in branches)
    id_ = f"waitpoint_{token}"
    assert (await send(here, "GET", f"{TOKENS}/{token}", headers=one)).status_code == 404, "a primary key is no id"
    for asker, headers in ((federation, {}), (here, two)):
        for method, path in (("GET", f"{TOKENS}/{id_}"), ("POST", f"{TOKENS}/{id_}/complete")):
            response = await send(asker, method, path, headers=headers, json={})
            assert (response.status_code, response.json()) == (404, NOT_FOUND)
        assert (await answer(asker, "GET", TOKENS, headers=headers))["data"] == []
    found = await answer(here, "GET", f"{TOKENS}/{id_}", headers=one)
    assert found["url"] == "http://runatlas" + signed(token, root.api_key)
    made = await created(here, headers=two)
    assert urlsplit(made["url"]).path == signed(made["id"].removeprefix("waitpoint_"), root.api_key)
    response = await send(here, "GET", TOKENS)
    assert (response.status_code, "x-trigger-branch" in response.json()["error"]) == (401, True)


def requests(run: str, token: str) -> list[tuple[str, str, Any]]:
    """Return a good request of every route that has a credential."""
    return [
        ("POST", TOKENS, {}),
        ("GET", TOKENS, None),
        ("GET", f"{TOKENS}/{token}", None),
        ("POST", f"{TOKENS}/{token}/complete", {}),
        ("POST", f"/engine/v1/runs/{run}/waitpoints/tokens/{token}/wait", None),
        ("POST", f"/engine/v1/runs/{run}/wait/duration", {"date": "2126-01-01"}),
    ]


async def test_a_request_without_a_key_of_an_environment_is_refused(federation: FederationUnderTest) -> None:
    run = f"run_{await federation.run(NEW, status='EXECUTING')}"
    token = f"waitpoint_{await federation.waitpoint(NEW)}"
    _, access_token = await federation.member()
    public = public_token(federation.tenant, "admin")
    for method, path, body in requests(run, token):
        keys = ["", "tr_prod_unknown", "x", access_token, *([] if path.endswith("complete") else [public])]
        for key in keys:
            response = await send(federation, method, path, key=key, json=body)
            assert (response.status_code, response.json()) == (401, NO_KEY), (path, key)
    expired = public_token(federation.tenant, "admin", exp=int(time.time()) - 60)
    response = await post(federation, f"{TOKENS}/{token}/complete", {}, key=expired)
    assert (response.status_code, response.json()) == (401, {"error": "the public access token has expired"})


async def test_a_public_token_completes_what_its_scopes_name_and_nothing_is_said_of_the_rest(
    federation: FederationUnderTest,
) -> None:
    one, other = [f"waitpoint_{await federation.waitpoint(NEW)}" for _ in range(2)]
    none = f"waitpoint_{ids.mint_cuid()}"
    for scopes in (["read:waitpoints"], [f"write:waitpoints:{other}"], ["write:runs"], []):
        for id_ in (one, none):
            key = public_token(federation.tenant, *scopes)
            response = await post(federation, f"{TOKENS}/{id_}/complete", {}, key=key)
            assert (response.status_code, response.json()) == (403, FORBIDDEN)
            assert response.headers["access-control-allow-origin"] == "*"
    for scope in (f"write:waitpoints:{one}", "write:waitpoints", "write:all", "admin"):
        response = await post(federation, f"{TOKENS}/{one}/complete", {}, key=public_token(federation.tenant, scope))
        assert (response.status_code, response.json()) == (200, SUCCESS)
    response = await post(federation, f"{TOKENS}/{none}/complete", {}, key=public_token(federation.tenant, "admin"))
    assert (response.status_code, response.json()) == (404, NOT_FOUND)


async def test_a_key_with_scopes_does_what_they_say(with_additional_keys: FederationUnderTest) -> None:
    federation = with_additional_keys
    run = f"run_{await federation.run(LEGACY, status='EXECUTING')}"
    token = f"waitpoint_{await federation.waitpoint(LEGACY)}"
    reads, completes, waits_ = {1, 2}, {0, 1, 2, 3}, {4, 5}
    for scopes, allowed in (
        (["read:waitpoints"], reads),
        (["write:waitpoints"], completes),
        (["write:runs"], waits_),
        ([f"write:waitpoints:{token}"], {2, 3}),
        ([], set()),
    ):
        key = await federation.additional_key(scopes=scopes)
        for number, (method, path, body) in enumerate(requests(run, token)):
            response = await send(federation, method, path, key=key, json=body)
            if number in allowed:
                assert response.status_code == 200, (scopes, path, response.text)
            else:
                assert (response.status_code, response.json()) == (403, FORBIDDEN), (scopes, path)
        if 2 in allowed:
            found = await answer(federation, "GET", f"{TOKENS}/{token}", key=key)
            assert ("url" in found) is (allowed != reads), "who has it can complete the token"
        empty = await send(federation, "GET", TOKENS, params={"filter[tags]": "none"}, key=key)
        assert (empty.status_code == 200) is (1 in allowed), "also a list that holds nothing is a list of tokens"
        missing = await send(federation, "GET", f"{TOKENS}/waitpoint_{ids.mint_cuid()}", key=key)
        assert missing.status_code == 404, "a read says first whether there is one"


async def test_a_method_that_a_path_has_not_is_named(federation: FederationUnderTest) -> None:
    allowed = {
        TOKENS: "GET, POST, HEAD",
        f"{TOKENS}/x": "GET, HEAD",
        f"{TOKENS}/x/complete": "POST, OPTIONS",
        f"{TOKENS}/x/callback/y": "POST",
        "/engine/v1/runs/x/waitpoints/tokens/y/wait": "POST",
        "/engine/v1/runs/x/wait/duration": "POST",
    }
    for path, methods in allowed.items():
        for method in {"DELETE", "PUT", "GET", "OPTIONS", "TRACE", "FOO"} - set(methods.split(", ")):
            response = await send(federation, method, path, key="")
            assert (response.status_code, response.json()) == (405, {"error": "Method not allowed"})
            assert response.headers["allow"] == methods


async def test_pages_of_any_site_may_complete_a_token(federation: FederationUnderTest) -> None:
    path = f"{TOKENS}/waitpoint_{await federation.waitpoint(NEW)}/complete"
    asked = {
        "Origin": "https://acme.test",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-trigger-api-version",
    }
    response = await send(federation, "OPTIONS", path, key="", headers=asked)
    assert (response.status_code, response.content) == (204, b"")
    headers = {
        name: response.headers[f"access-control-{name}"] for name in ("allow-origin", "allow-methods", "max-age")
    }
    assert headers == {"allow-origin": "*", "allow-methods": "POST", "max-age": "300"}
    assert response.headers["access-control-allow-headers"] == asked["Access-Control-Request-Headers"]
    for key in ("", federation.tenant.api_key):
        response = await post(federation, path, {}, key=key, headers={"Origin": "https://acme.test"})
        assert response.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in response.headers
    assert "access-control-allow-origin" not in (await send(federation, "GET", TOKENS)).headers


async def test_bodies_are_measured_whatever_is_said_of_them(federation: FederationUnderTest) -> None:
    run, token = await federation.run(NEW, status="EXECUTING"), await federation.waitpoint(NEW)
    makes = [(TOKENS, "{}"), (f"/engine/v1/runs/run_{run}/wait/duration", '{"date":"2126-01-01"}')]
    limits = [(path, body, 10_240) for path, body in makes]
    limits.append((f"{TOKENS}/waitpoint_{token}/complete", '{"data":1}', 3_145_728))

    async def chunks(content: bytes) -> AsyncIterator[bytes]:
        yield content

    for path, body, most in limits:
        fits = body.encode().ljust(most)
        for content, headers, status in (
            (fits + b" ", {}, 413),
            (fits + b" ", {"content-length": "2"}, 413),
            (chunks(fits), {}, 413),
            (fits, {"content-length": "-1"}, 413),
            (fits, {"content-length": "1e3"}, 413),
            (fits, {"content-length": "2"}, 200),
            (fits, {}, 200),
        ):
            response = await send(federation, "POST", path, content=content, headers=headers)
            assert response.status_code == status, (path, headers, response.text)
            if status == 413:
                assert response.json() == TOO_LARGE
    response = await send(
        federation, "POST", f"{TOKENS}/x/complete", content=b"", headers={"content-length": "9" * 5_000}
    )
    assert (response.status_code, response.json()) == (413, TOO_LARGE)


async def test_what_grows_too_large_when_it_is_stored_is_too_large(federation: FederationUnderTest) -> None:
    token = await federation.waitpoint(NEW)
    numbers = b"[" + b",".join([b"1e9"] * 700_000) + b"]"
    response = await send(
        federation, "POST", f"{TOKENS}/waitpoint_{token}/complete", content=b'{"data":' + numbers + b"}"
    )
    assert (response.status_code, response.json()) == (413, {"error": "Payload is too large"})
    assert (await stored(federation, NEW, token))[0] == "PENDING"


@asynccontextmanager
async def served(federation: FederationUnderTest) -> AsyncIterator[int]:
    """Serve the application on a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(federation.app, log_level="critical", lifespan="off")
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])
        try:
            yield listener.getsockname()[1]
        finally:
            await server.shutdown(sockets=[listener])


async def spoken(port: int, *parts: bytes, ends: bool = False) -> list[int]:
    """Return the statuses of the answers to what is said to a server, until that closes; or until we end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if ends:
            writer.write_eof()
        said = await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
    return [int(line.split()[1]) for line in said.splitlines() if line.startswith(b"HTTP/1.1")]


async def test_over_a_network_no_body_is_a_failure_of_ours(federation: FederationUnderTest) -> None:
    tokens = [await federation.waitpoint(NEW) for _ in range(4)]
    short, long, huge, chunked = (signed(token, federation.tenant.api_key) for token in tokens)

    def head(path: str, *more: str) -> bytes:
        return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", "Connection: close", *more, "", ""]).encode()

    with capture_logs() as logs:
        async with served(federation) as port:
            said = await spoken(port, head(short, "Content-Length: 10"), b"{}", ends=True)
            assert said in ([], [400])
            assert await spoken(port, head(long, "Content-Length: 2"), b"{}{}") == [200]
            too_much = str(3_145_729)
            assert await spoken(port, head(huge, f"Content-Length: {too_much}"), b"{") == [413]
            assert await spoken(port, head(chunked, "Transfer-Encoding: chunked"), b"2\r\n{}\r\n0\r\n\r\n") == [411]
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                made = await client.post(TOKENS, json={}, headers=bearer(federation.tenant.api_key))
                assert made.json()["url"].startswith(f"http://127.0.0.1:{port}/api/v1/")
                assert (await client.post(made.json()["url"], content=b"{}")).json() == SUCCESS
                head_ = await client.head(TOKENS, headers=bearer(federation.tenant.api_key))
                assert (head_.status_code, head_.content) == (200, b"")
    assert not logs
    states = [(await stored(federation, NEW, token))[0] for token in tokens]
    assert states == ["PENDING", "COMPLETED", "PENDING", "PENDING"]


async def plant_many(federation: FederationUnderTest) -> list[str]:
    """Plant tokens on all shards in turn, and return their ids as a list has them: newest first."""
    planted = []
    for number in range(12):
        shard = federation.shards[number % len(federation.shards)]
        states: Sequence[dict[str, Any]] = (
            {},
            {"status": "COMPLETED", "completedAt": START},
            {"status": "COMPLETED", "completedAt": START, "outputIsError": True},
        )
        tags = [["a"], ["b"], ["a", "c"], []][number % 4]
        planted.append(f"waitpoint_{await federation.waitpoint(shard, tags=tags, **states[number % 3])}")
    await federation.waitpoint(federation.shards[0], type="DATETIME")
    return planted[::-1]


@over_shards(1, 2, 3)
async def test_a_list_is_walked_both_ways_over_all_shards(federation: FederationUnderTest) -> None:
    everything = await plant_many(federation)

    pages: list[Any] = [await listed(federation, **{"page[size]": 5})]
    while "next" in pages[-1]["pagination"]:
        after = pages[-1]["pagination"]["next"]
        pages.append(await listed(federation, **{"page[size]": 5, "page[after]": after}))
    assert [[item["id"] for item in page["data"]] for page in pages] == [
        everything[:5],
        everything[5:10],
        everything[10:],
    ]
    back = await listed(federation, **{"page[size]": 5, "page[before]": pages[2]["pagination"]["previous"]})
    assert back["data"] == pages[1]["data"]
    back = await listed(federation, **{"page[size]": 5, "page[before]": back["pagination"]["previous"]})
    assert (back["data"], set(back["pagination"])) == (pages[0]["data"], {"next"})


@over_shards(1, 2, 3)
async def test_the_id_of_a_token_is_a_cursor_as_the_platforms_were(federation: FederationUnderTest) -> None:
    everything = await plant_many(federation)
    for place in (0, 4, 11):
        cursor = everything[place].removeprefix("waitpoint_")
        after = await listed(federation, **{"page[after]": cursor})
        assert [item["id"] for item in after["data"]] == everything[place + 1 :]
        before = await listed(federation, **{"page[before]": cursor, "filter[status]": "WAITING"})
        waiting = [id_ for number, id_ in enumerate(everything) if (11 - number) % 3 == 0]
        assert [item["id"] for item in before["data"]] == [id_ for id_ in waiting if everything.index(id_) < place]


async def test_a_list_is_narrowed(federation: FederationUnderTest) -> None:
    everything = await plant_many(federation)
    moment = START + timedelta(seconds=6)
    milliseconds = int(moment.replace(tzinfo=UTC).timestamp() * 1000)
    cases: dict[tuple[tuple[str, str], ...], set[int]] = {
        (("filter[status]", "WAITING"),): {0, 3, 6, 9},
        (("filter[status]", "COMPLETED,TIMED_OUT"),): {1, 2, 4, 5, 7, 8, 10, 11},
        (("filter[status]", "WAITING,COMPLETED"),): {0, 1, 3, 4, 6, 7, 9, 10},
        (("filter[status]", ""),): set(range(12)),
        (("filter[tags]", "a,b"),): {0, 1, 2, 4, 5, 6, 8, 9, 10},
        (("filter[tags]", "c"), ("filter[status]", "WAITING")): {6},
        (("filter[createdAt][from]", str(milliseconds)),): {5, 6, 7, 8, 9, 10, 11},
        (("filter[createdAt][to]", f"{moment.isoformat()}Z"),): {0, 1, 2, 3, 4, 5},
        (("filter[createdAt][period]", "1d"),): set(),
        (("filter[idempotencyKey]", "none"),): set(),
    }
    for query, numbers in cases.items():
        page = await listed(federation, **dict(query))
        assert [item["id"] for item in page["data"]] == [everything[11 - number] for number in sorted(numbers)[::-1]], (
            query
        )


QUERIES: list[tuple[dict[str, str], str]] = [
    ({"filter[status]": "WAITING,LOST,x"}, "Invalid status values: LOST, x"),
    ({"page[size]": "0"}, "page[size] must be from 1 to 100"),
    ({"page[size]": "101"}, "page[size] must be from 1 to 100"),
    ({"page[size]": "1.5"}, "page[size] must be from 1 to 100"),
    ({"page[size]": "9" * 5_000}, "page[size] must be from 1 to 100"),
    ({"page[size]": "٣"}, "page[size] must be from 1 to 100"),
    ({"page[after]": "nope"}, "the cursor does not belong to this list: take it from this list's pageInfo or edges"),
    ({"page[after]": "c" * 25}, "the cursor does not belong to this list: take it from this list's pageInfo or edges"),
    ({"page[after]": "MS4x", "page[before]": "MS4x"}, "after and before exclude each other: give one of them"),
    ({"filter[createdAt][period]": "a while"}, "a period is a number and one of s, m, h, d, w: 30m, 7d"),
    ({"filter[createdAt][from]": "then"}, "filter[createdAt][from] is not a date"),
    ({"filter[createdAt][to]": "9" * 15}, "filter[createdAt][to] is not a date"),
    ({"filter[createdAt][from]": "2026-01-02", "filter[createdAt][to]": "2026-01-01"}, "from is later than to"),
    ({"filter[idempotencyKey]": "a\0"}, "idempotencyKey holds a NUL character"),
    ({"filter[tags]": ",".join("x" * 101)}, "tags takes at most 100 values, not 101"),
]


@pytest.mark.parametrize(("query", "sentence"), QUERIES, ids=lambda given: str(given)[:40])
async def test_a_query_that_makes_no_sense_is_refused(
    federation: FederationUnderTest, query: dict[str, str], sentence: str
) -> None:
    response = await send(federation, "GET", TOKENS, params=query)
    assert response.status_code == 400
    (detail,) = response.json()["details"]
    assert (response.json()["error"], detail["message"]) == ("Query Error", sentence)


async def test_another_environments_token_is_no_cursor(federation: FederationUnderTest) -> None:
    stranger = await plant_tenant(federation.connections[CONTROL_PLANE])
    token = await replace(federation, tenant=stranger).waitpoint(NEW)
    assert (await send(federation, "GET", TOKENS, params={"page[after]": token})).status_code == 400


async def test_a_list_asks_each_database_once(federation: FederationUnderTest) -> None:
    await plant_many(federation)
    await listed(federation)
    with federation.listening():
        await listed(federation)
    assert federation.queries == {CONTROL_PLANE: 1, LEGACY: 1, NEW: 1}


async def test_where_nothing_is_written_tokens_are_read(federation: FederationUnderTest) -> None:
    here = replace(federation, federation=replace(federation.federation, writing=None))
    run = f"run_{await here.run(NEW, status='EXECUTING')}"
    token = await here.waitpoint(NEW)
    refused = {"error": "these databases are read only here"}
    for method, path, body in requests(run, f"waitpoint_{token}"):
        response = await send(here, method, path, json=body)
        if method == "GET":
            assert response.status_code == 200
        else:
            assert (response.status_code, response.json()) == (403, refused)
            assert response.headers["x-should-retry"] == "false"
    assert await call_back(here, signed(token, here.tenant.api_key)) == (403, refused)


async def test_an_error_of_ours_is_masked_and_found_in_the_log(
    federation: FederationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, run, token = federation.federation.writing, await federation.run(NEW), await federation.waitpoint(NEW)
    assert writing is not None

    async def fail(*_: object) -> Any:
        raise LookupError("a secret of ours")

    monkeypatch.setattr(writing.seam, "held", fail)
    monkeypatch.setattr(writing.tokens, "create", fail)
    monkeypatch.setattr(writing.tokens, "wait_until", fail)
    monkeypatch.setattr(federation.federation.router, "waitpoints", fail)
    monkeypatch.setattr(federation.federation.router, "waitpoints_by_environment", fail)
    sentences = [
        "Something went wrong",
        "Something went wrong",
        "Something went wrong",
        "Failed to complete waitpoint token",
        "Failed to wait for waitpoint token",
        "Failed to wait for duration",
        "Failed to complete HTTP callback",
    ]
    asked = requests(f"run_{run}", f"waitpoint_{token}")
    asked.append(("POST", signed(token, federation.tenant.api_key), {}))
    for (method, path, body), sentence in zip(asked, sentences, strict=True):
        with capture_logs() as logs:
            response = await send(federation, method, path, json=body)
        (entry,) = logs
        assert (response.status_code, response.json()) == (500, {"error": sentence, "errorId": entry["error_id"]})
        assert isinstance(entry["exc_info"], LookupError)
        assert path[-64:] not in str(entry)


async def test_a_write_whose_outcome_is_unknown_says_so(
    federation: FederationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await federation.waitpoint(NEW)
    writing = federation.federation.writing
    assert writing is not None

    async def lose(*_: object) -> Any:
        raise OutcomeUnknownError(NEW)

    monkeypatch.setattr(writing.seam, "complete", lose)
    status, body = await call_back(federation, signed(token, federation.tenant.api_key))
    assert status == 503
    assert body == {"error": "shard 'new' did not say whether it kept the write: it may have been kept"}
    response = await post(federation, f"{TOKENS}/waitpoint_{token}/complete", {})
    assert (response.status_code, response.json(), response.headers["x-should-retry"]) == (503, body, "true")


@over_shards(2, 3)
async def test_only_what_all_shards_have_answered_is_not_found(federation: FederationUnderTest, down: Cluster) -> None:
    near, far = await federation.waitpoint(LEGACY), await federation.waitpoint(NEW)
    run, none = await federation.run(LEGACY, status="EXECUTING"), ids.mint_cuid()
    unavailable = {"error": "shard 'new' is unavailable"}
    await answer(federation, "GET", TOKENS)

    await asyncio.to_thread(down.kill)

    async def asked(method: str, path: str, **given: Any) -> tuple[int, Any]:
        response = await send(federation, method, path, **given)
        assert (response.headers.get("x-should-retry") == "true") is (response.status_code == 503)
        return response.status_code, response.json()

    for token, status in ((far, 503), (none, 503), (near, 200)):
        id_ = f"waitpoint_{token}"
        for method, path, body in (
            ("GET", f"{TOKENS}/{id_}", None),
            ("POST", f"/engine/v1/runs/run_{run}/waitpoints/tokens/{id_}/wait", None),
            ("POST", f"{TOKENS}/{id_}/complete", {}),
            ("POST", signed(token, federation.tenant.api_key), {}),
        ):
            code, body_ = await asked(method, path, json=body)
            assert (code, body_ if code == 503 else None) == (status, unavailable if status == 503 else None), path
    assert await asked("GET", TOKENS) == (503, unavailable), "a list without its rows is no list"
    code, made = await asked("POST", TOKENS, json={})
    assert (code, made["isCached"]) == (200, False), "a token without a key needs its own shard only"
    assert await asked("POST", TOKENS, json={"idempotencyKey": "x"}) == (503, unavailable), "new may have the key"


@pytest.fixture
async def lagging(
    clusters: dict[ShardKey, Cluster], urls: dict[ShardKey, str], tmp_path: Path
) -> AsyncIterator[FederationUnderTest]:
    """A federation whose shards and control plane have standbys that are paused."""
    async with AsyncExitStack() as stack:
        connections: dict[str, asyncpg.Connection[Any]] = {}
        accesses: dict[ShardKey, Access] = {}
        for key in (LEGACY, NEW):
            connections[key] = await asyncpg.connect(urls[key])
            stack.push_async_callback(connections[key].close)
        connections[CONTROL_PLANE] = connections[LEGACY]
        tenant = await plant_tenant(connections[LEGACY])
        for key in (LEGACY, NEW):
            standby = await asyncio.to_thread(clusters[key].base_backup, tmp_path / key)
            await asyncio.to_thread(standby.start)
            stack.push_async_callback(asyncio.to_thread, standby.stop)
            accesses[key] = Access(parse_url(key, urls[key]), parse_url("REPLICA", standby.url("runatlas")))
            paused = await asyncpg.connect(standby.url("runatlas"))
            stack.push_async_callback(paused.close)
            await paused.execute("SELECT pg_wal_replay_pause()")
            stack.push_async_callback(paused.execute, "SELECT pg_wal_replay_resume()")
        shards = (ShardAccess(LEGACY, FULL, accesses[LEGACY]), ShardAccess(NEW, DEDICATED, accesses[NEW]))
        opened = await stack.enter_async_context(open_federation(Topology(accesses[LEGACY], shards)))
        yield FederationUnderTest(opened, connections, tenant, (LEGACY, NEW))


async def test_a_token_that_no_standby_has_yet_is_found(lagging: FederationUnderTest) -> None:
    token = await created(lagging, {"idempotencyKey": "order-1"})
    assert (await listed(lagging))["data"] == [], "a list may be old"
    assert (await retrieved(lagging, token["id"]))["status"] == "WAITING"
    assert await created(lagging, {"idempotencyKey": "order-1"}) == token | {"isCached": True}
    run = await lagging.run(NEW, status="EXECUTING")
    waiting = await post(lagging, f"/engine/v1/runs/run_{run}/waitpoints/tokens/{token['id']}/wait")
    assert waiting.json() == SUCCESS
    assert await call_back(lagging, urlsplit(token["url"]).path, b"[7]") == (200, SUCCESS)
    found = await retrieved(lagging, token["id"])
    assert (found["status"], found["output"]) == ("COMPLETED", '{"json":[7]}')
    for shard in (LEGACY, NEW):
        other = f"waitpoint_{await lagging.waitpoint(shard)}"
        assert (await post(lagging, f"{TOKENS}/{other}/complete", {"data": "x"})).json() == SUCCESS
        assert (await retrieved(lagging, other))["output"] == "x"
