"""Every credential of the platform: what it opens, what it costs, and how it is refused."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from structlog.testing import capture_logs

from resolvers import environments, runs
from resolvers.auth import Authenticator, Presented
from resolvers.loaders import PageArguments
from store import ids
from store.control_plane import CONTROL_PLANE
from store.filters import RunFilter
from store.residency import LEGACY, NEW
from tests.federation import (
    SESSION_SECRET,
    START,
    FederationUnderTest,
    bearer,
    plant_tenant,
    public_token,
)

WHERE = "{ environment { id } }"
WHO = "{ viewer { id } }"
REFUSED = {"code": "UNAUTHENTICATED"}


async def look(federation: FederationUnderTest, query: str = WHERE, **headers: str) -> Any:
    """Return the data of an operation under such headers, or the sentence and code of its refusal."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    with federation.listening():
        async with federation.client() as client:
            response = await client.post("/graphql", json={"query": query}, headers=given)
    body = response.json()
    if response.status_code == 401:
        (error,) = body["errors"]
        assert error["extensions"] == REFUSED
        assert "\n" not in error["message"]
        return error["message"]
    assert response.status_code == 200, response.text
    assert "errors" not in body, body
    return body["data"]


def here(federation: FederationUnderTest) -> dict[str, Any]:
    return {"environment": {"id": f"env_{federation.tenant.environment_id}"}}


async def rotate(federation: FederationUnderTest, grace: timedelta) -> str:
    """Give the environment another key; the old one is good for a while. Returns the old one."""
    old, new = federation.tenant.api_key, f"tr_prod_{ids.mint_cuid()[1:]}"
    connection = federation.connections[CONTROL_PLANE]
    environment = federation.tenant.environment_id
    await connection.execute('UPDATE "RuntimeEnvironment" SET "apiKey" = $2 WHERE id = $1', environment, new)
    expires = datetime.now(UTC).replace(tzinfo=None) + grace
    row = {"id": ids.mint_cuid(), "apiKey": old, "runtimeEnvironmentId": environment, "expiresAt": expires}
    await federation.insert(CONTROL_PLANE, "RevokedApiKey", row)
    federation.tenant.api_key = new
    return old


async def test_a_rotated_key_works_until_its_grace_is_over(federation: FederationUnderTest) -> None:
    for grace, works in ((timedelta(hours=1), True), (timedelta(seconds=-1), False)):
        old = await rotate(federation, grace)
        vars(federation).pop("app", None)  # another process, which has seen neither key
        answer = await look(federation, authorization=f"Bearer {old}")
        assert answer == (here(federation) if works else "the secret key is not valid")
        assert federation.queries == {CONTROL_PLANE: 1}
        assert await look(federation, authorization=f"Bearer {federation.tenant.api_key}") == here(federation)


async def test_a_public_token_opens_its_environment(federation: FederationUnderTest) -> None:
    token = public_token(federation.tenant, "read:runs")
    assert await look(federation, authorization=f"Bearer {token}") == here(federation)
    assert federation.queries == {CONTROL_PLANE: 1}
    assert await look(federation, authorization=f"Bearer {token}") == here(federation)
    assert not federation.statements, "a token that was seen a moment ago costs nothing"


async def test_a_token_that_a_rotated_key_signed_works_in_its_grace(federation: FederationUnderTest) -> None:
    early = public_token(federation.tenant, "read:runs")
    await rotate(federation, timedelta(hours=1))
    assert await look(federation, authorization=f"Bearer {early}") == here(federation)
    late = public_token(federation.tenant, "read:runs", jti="1")
    await rotate(federation, timedelta(seconds=-1))
    assert await look(federation, authorization=f"Bearer {late}") == "the public access token is not valid"


async def test_a_branchs_token_is_signed_by_its_root(federation: FederationUnderTest) -> None:
    branch = await federation.environment(
        type="PREVIEW", branchName="x", parentEnvironmentId=federation.tenant.environment_id
    )
    token = public_token(federation.tenant, "read:runs", sub=branch)
    assert await look(federation, authorization=f"Bearer {token}") == {"environment": {"id": f"env_{branch}"}}
    own = public_token(federation.tenant, "read:runs", sub=branch, key=f"tr_prod_{branch[1:]}")
    assert await look(federation, authorization=f"Bearer {own}") == "the public access token is not valid"


def unsigned(claims: dict[str, Any]) -> str:
    """Return a token that says that nobody signed it."""
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return f"{encoded[0]}.{encoded[1]}.AA"


async def test_a_public_token_with_anything_wrong_is_refused(federation: FederationUnderTest) -> None:
    tenant, soon = federation.tenant, int(time.time()) + 600
    stranger = await plant_tenant(federation.connections[CONTROL_PLANE])
    claims = jwt.decode(public_token(tenant, "read:all"), options={"verify_signature": False})
    deleted = await plant_tenant(federation.connections[CONTROL_PLANE])
    await federation.connections[CONTROL_PLANE].execute(
        'UPDATE "Project" SET "deletedAt" = now() WHERE id = $1', deleted.project_id
    )
    archived = await plant_tenant(federation.connections[CONTROL_PLANE], archivedAt=START)
    wrong = {
        "nobody signed it": unsigned(claims),
        "another environment signed it": public_token(tenant, "read:all", key=stranger.api_key),
        "another algorithm": jwt.encode(claims, tenant.api_key * 2, algorithm="HS384"),
        "made in the future": public_token(tenant, "read:all", iat=soon),
        "good only later": public_token(tenant, "read:all", nbf=soon),
        "another issuer": public_token(tenant, "read:all", iss="https://example.com"),
        "another audience": public_token(tenant, "read:all", aud="https://example.com"),
        "no issuer": public_token(tenant, "read:all", iss=None),
        "no audience": public_token(tenant, "read:all", aud=None),
        "no end": public_token(tenant, "read:all", exp=None),
        "an end that is no number": public_token(tenant, "read:all", exp="tomorrow"),
        "an end in words": public_token(tenant, "read:all", exp=str(soon)),
        "not public": public_token(tenant, "read:all", pub=False),
        "not said to be public": public_token(tenant, "read:all", pub=None),
        "public by another name": public_token(tenant, "read:all", pub="true"),
        "nobody's": public_token(tenant, "read:all", sub=None),
        "a number's": public_token(tenant, "read:all", sub="\0"),
        "an unknown environment's": public_token(tenant, "read:all", sub=ids.mint_cuid()),
        "a deleted project's": public_token(deleted, "read:all"),
        "an archived environment's": public_token(archived, "read:all"),
        "altered": public_token(tenant, "read:all")[:-4] + "AAAA",
        "three words": "a.b.c",
        "not of JSON": "bm9uc2Vuc2U.bm9uc2Vuc2U.bm9uc2Vuc2U",
        "nested without end": f"{base64.urlsafe_b64encode(b'[' * 3000).decode().rstrip('=')}.e30.AA",
    }
    answers = {name: await look(federation, authorization=f"Bearer {token}") for name, token in wrong.items()}
    assert {name: answer for name, answer in answers.items() if answer != "the public access token is not valid"} == {}
    endless = public_token(tenant, "read:all", exp=10**400)
    assert await look(federation, authorization=f"Bearer {endless}") == here(federation)
    ahead = public_token(tenant, "read:all", iat=int(time.time()) + 5)
    assert await look(federation, authorization=f"Bearer {ahead}") == here(federation)
    ended = public_token(tenant, "read:all", exp=int(time.time()) - 1)
    assert await look(federation, authorization=f"Bearer {ended}") == "the public access token has expired"


async def test_a_token_ends_though_it_is_remembered(
    federation: FederationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = public_token(federation.tenant, "read:runs", exp=int(time.time()) + 60)
    assert await look(federation, authorization=f"Bearer {token}") == here(federation)
    later = time.time() + 61
    monkeypatch.setattr("resolvers.auth.time.time", lambda: later)
    assert await look(federation, authorization=f"Bearer {token}") == "the public access token has expired"
    assert not federation.statements


@pytest.mark.parametrize(
    "scopes", [[], None, "read:all", [1], ["read"], ["admin:x"], ["read:runs:run_x:y:z"], [["read:all"]], {}]
)
async def test_scopes_of_any_shape_grant_no_more_than_they_say(federation: FederationUnderTest, scopes: Any) -> None:
    run = await federation.run(NEW)
    token = public_token(federation.tenant, scopes=scopes)
    answer = await federation.answer(
        "query ($id: ID!) { environment { id } run(id: $id) { id } }", key=token, id=f"run_{run}"
    )
    assert answer["data"] == {**here(federation), "run": None}
    assert [error["extensions"] for error in answer["errors"]] == [{"code": "FORBIDDEN"}]


async def test_what_is_not_there_is_null_and_what_is_out_of_scope_is_forbidden(federation: FederationUnderTest) -> None:
    token = public_token(federation.tenant, "read:runs:run_nope")
    run = await federation.run(LEGACY)
    stranger = federation.tenant
    federation.tenant = await plant_tenant(federation.connections[CONTROL_PLANE])
    foreign = await federation.run(LEGACY)
    federation.tenant = stranger
    query = "query ($id: ID!) { run(id: $id) { id } }"
    missing = await federation.answer(query, key=token, id=f"run_{ids.mint_cuid()}")
    assert missing == {"data": {"run": None}}
    assert await federation.answer(query, key=token, id=f"run_{foreign}") == missing
    assert (await federation.answer(query, key=token, id=f"run_{run}"))["errors"][0]["extensions"][
        "code"
    ] == "FORBIDDEN"


async def test_a_previews_key_needs_a_branch_and_a_developments_may_have_one(federation: FederationUnderTest) -> None:
    of_branch = {}
    for type_ in ("PREVIEW", "DEVELOPMENT"):
        root = await federation.environment(type=type_)
        branch = await federation.environment(type=type_, branchName="feat/x", parentEnvironmentId=root)
        gone = await federation.environment(type=type_, branchName="gone", parentEnvironmentId=root, archivedAt=START)
        assert gone
        of_branch[type_] = (f"Bearer tr_prod_{root[1:]}", root, branch)

    key, root, branch = of_branch["PREVIEW"]
    assert "x-trigger-branch header" in await look(federation, authorization=key)
    for name in ("feat/x", "refs/heads/feat/x"):
        found = await look(federation, authorization=key, x_trigger_branch=name)
        assert found == {"environment": {"id": f"env_{branch}"}}
    assert not federation.statements
    for name in ("gone", "nope", "default", "x" * 2_000):
        assert isinstance(await look(federation, authorization=key, x_trigger_branch=name), str), name

    key, root, branch = of_branch["DEVELOPMENT"]
    for wanted, expected in ((None, root), ("default", root), ("feat/x", branch)):
        headers = {} if wanted is None else {"x_trigger_branch": wanted}
        assert await look(federation, authorization=key, **headers) == {"environment": {"id": f"env_{expected}"}}
    assert federation.queries == {CONTROL_PLANE: 1}, "which branch; whose key was known"
    production = f"Bearer {federation.tenant.api_key}"
    assert await look(federation, authorization=production, x_trigger_branch="feat/x") == here(federation)


async def test_two_credentials_are_none(federation: FederationUnderTest) -> None:
    authorization = f"Bearer {federation.tenant.api_key}".encode()
    async with federation.client() as client:
        response = await client.post("/graphql", json={"query": WHERE}, headers=[(b"authorization", authorization)] * 2)
    assert (response.status_code, response.json()["errors"][0]["extensions"]) == (401, REFUSED)


def cookie(value: Any, secret: str = SESSION_SECRET) -> str:
    """Return a session's cookie as the dashboard signs it."""
    text = base64.b64encode(json.dumps(value).encode()).decode()
    signature = base64.b64encode(hmac.digest(secret.encode(), text.encode(), hashlib.sha256)).decode().rstrip("=")
    return f"__session={quote(f'{text}.{signature}', safe='')}"


async def test_a_session_of_the_dashboard_is_its_user(federation: FederationUnderTest) -> None:
    user, _ = await federation.member()
    session = cookie({"user": {"userId": user}})
    assert await look(federation, WHO, cookie=session) == {"viewer": {"id": f"user_{user}"}}
    assert federation.queries == {CONTROL_PLANE: 2}
    for wrong in (
        cookie({"user": {"userId": user}}, secret="another's"),
        session.replace("__session=", "__session=A"),
        cookie({"user": user}),
        cookie([]),
        cookie({"user": {"userId": ids.mint_cuid()}}),
        "__session=x",
        "__session=",
    ):
        assert isinstance(await look(federation, WHO, cookie=wrong), str), wrong
    ended, _ = await federation.member(nextSessionEnd=START)
    assert await look(federation, WHO, cookie=cookie({"user": {"userId": ended}})) == "the session has ended"


async def test_a_session_counts_only_where_another_sites_page_cannot_send_it(federation: FederationUnderTest) -> None:
    user, _ = await federation.member()
    headers = {"cookie": cookie({"user": {"userId": user}})}
    async with federation.client() as client:
        plain = await client.get("/graphql", params={"query": WHO}, headers=headers)
        asked = await client.get(
            "/graphql", params={"query": WHO}, headers={**headers, "graphql-require-preflight": "1"}
        )
        body = json.dumps({"query": WHO})
        for media_type in (
            "text/plain; x=application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ):
            simple = await client.post("/graphql", content=body, headers={**headers, "content-type": media_type})
            assert simple.status_code in (400, 401, 415), media_type
            assert user not in simple.text
    assert plain.status_code == 401
    assert asked.json() == {"data": {"viewer": {"id": f"user_{user}"}}}


async def test_nothing_of_a_credential_is_written_anywhere(
    federation: FederationUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    user, access_token = await federation.member()
    secrets = {
        federation.tenant.api_key: bearer(federation.tenant.api_key),
        "tr_prod_planted_secret": bearer("tr_prod_planted_secret"),
        access_token: bearer(access_token),
        public_token(federation.tenant, "read:runs"): {},
        public_token(federation.tenant, "read:runs", key="x" * 30): {},
        cookie({"user": {"userId": user}}): {"cookie": cookie({"user": {"userId": user}})},
    }
    texts = []
    with capture_logs() as logs:
        for secret, headers in secrets.items():
            for query in (WHERE, "{ environment { nope } }", "{ shards { key } } {"):
                async with federation.client() as client:
                    response = await client.post("/graphql", json={"query": query}, headers=headers or bearer(secret))
                texts.append(response.text)
    written = "\n".join((*texts, json.dumps(logs, default=repr), caplog.text))
    assert [secret for secret in secrets if secret in written] == []
    assert SESSION_SECRET not in written


async def test_two_askers_at_a_time_are_told_apart(federation: FederationUnderTest) -> None:
    """A thousand rounds of two environments' keys, for the same ids, over the same connections and memories."""
    one, rows = federation.tenant, {}
    other = await plant_tenant(federation.connections[CONTROL_PLANE])
    for tenant in (one, other):
        federation.tenant = tenant
        rows[tenant.api_key] = {await federation.run(shard) for shard in (LEGACY, NEW)}
    every = [id_ for ids_ in rows.values() for id_ in ids_]
    authenticator = Authenticator(federation.federation)

    nothing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    nothing.set_result(None)

    async def ask(key: str, turn: int) -> None:
        viewer = await authenticator.viewer(Presented((f"Bearer {key}",)))
        (environment_id,) = viewer.seen
        found, project, listed = await asyncio.gather(
            viewer.load_many(runs.by_reference, every),
            viewer.load_many(environments.project_by_id, [one.project_id]),
            runs.page(viewer, environment_id, RunFilter(), PageArguments()) if turn % 10 == 0 else nothing,
        )
        own = rows[key]
        assert [run and getattr(run, "id", None) for run in found] == [id_ if id_ in own else None for id_ in every]
        assert (project != [None]) is (key == one.api_key)
        assert listed is None or {run.id for run in listed.nodes} == own

    for _ in range(100):
        await asyncio.gather(*(ask(key, turn) for key in rows for turn in range(10)))


async def test_an_additional_key_does_what_its_scopes_say(with_additional_keys: FederationUnderTest) -> None:
    federation = with_additional_keys
    now = datetime.now(UTC).replace(tzinfo=None)
    keys = {}
    kinds: dict[str, dict[str, Any]] = {
        "good": {"scopes": ["read:waitpoints"]},
        "that writes": {"scopes": ["write:waitpoints"]},
        "revoked": {"revokedAt": now},
        "expired": {"expiresAt": now - timedelta(seconds=1)},
        "of no scopes": {"scopes": None, "expiresAt": now + timedelta(hours=1)},
    }
    for name, columns in kinds.items():
        keys[name] = f"Bearer {await federation.additional_key(**columns)}"
    assert await look(federation, authorization=keys["good"]) == here(federation)
    assert federation.queries == {CONTROL_PLANE: 1}
    assert await look(federation, authorization=keys["of no scopes"]) == here(federation)
    for name in ("revoked", "expired"):
        assert await look(federation, authorization=keys[name]) == "the secret key is not valid"
    run, token = await federation.run(LEGACY), await federation.waitpoint(LEGACY)
    query = "query ($run: ID!, $token: ID!) { run(id: $run) { id } waitpoint(id: $token) { id callbackUrl } }"
    for name, urls in (("good", 0), ("that writes", 1)):
        answer = await federation.answer(
            query, key=keys[name].removeprefix("Bearer "), run=f"run_{run}", token=f"waitpoint_{token}"
        )
        assert answer["data"]["run"] is None
        assert answer["data"]["waitpoint"]["id"] == f"waitpoint_{token}"
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}
        assert (answer["data"]["waitpoint"]["callbackUrl"] is not None) is bool(urls), (
            "who has it can complete the token"
        )


async def test_where_there_are_no_additional_keys_one_is_not_valid(federation: FederationUnderTest) -> None:
    answer = await look(federation, authorization=f"Bearer tr_prod_sk_{ids.mint_cuid()[1:]}")
    assert answer == "the secret key is not valid"
    assert not federation.statements
