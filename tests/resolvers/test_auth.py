"""An environment's secret key is a credential; anything else is none."""

import asyncio

import pytest

from resolvers.auth import Authenticator, Presented
from store.residency import LEGACY
from tests.federation import START, FederationUnderTest, plant_tenant

QUERY = {"query": "{ environment { slug } }"}


async def test_a_secret_key_sees_its_environment(federation: FederationUnderTest) -> None:
    for scheme in ("Bearer", "bearer"):
        async with federation.client() as client:
            headers = {"Authorization": f"{scheme} {federation.tenant.api_key}"}
            response = await client.post("/graphql", json=QUERY, headers=headers)
        assert (response.status_code, response.json()) == (200, {"data": {"environment": {"slug": "prod"}}})


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer sk_live_1",
        "Bearer tr_prod_" + "x" * 300,
        "Bearer tr_prod_é",
        "tr_prod_without_a_scheme",
    ],
)
async def test_without_a_key_no_database_is_asked(federation: FederationUnderTest, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode().decode("latin-1").encode("latin-1")}
    with federation.listening():
        async with federation.client() as client:
            response = await client.post("/graphql", json=QUERY, headers=headers)  # type: ignore[arg-type]
    assert response.status_code == 401
    assert response.json()["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}
    assert not federation.statements


async def test_an_unknown_key_is_refused_without_saying_why(federation: FederationUnderTest) -> None:
    archived = await plant_tenant(federation.connections[LEGACY], archivedAt=START)
    deleted = await plant_tenant(federation.connections[LEGACY])
    await federation.connections[LEGACY].execute(
        'UPDATE "Project" SET "deletedAt" = now() WHERE id = $1', deleted.project_id
    )
    answers = [
        await federation.answer("{ __typename }", key=key)
        for key in ("tr_prod_unknown", archived.api_key, deleted.api_key)
    ]
    assert (
        answers
        == [{"errors": [{"message": "the secret key is not valid", "extensions": {"code": "UNAUTHENTICATED"}}]}] * 3
    )


async def test_a_known_key_costs_no_statement(federation: FederationUnderTest) -> None:
    await federation.ask("{ environment { id } }")
    assert federation.queries == {"control plane": 1}
    await federation.ask("{ environment { id slug type } }")
    assert not federation.statements


async def test_a_key_that_was_unknown_may_be_known_the_next_moment(federation: FederationUnderTest) -> None:
    key = "tr_prod_tomorrow"
    assert "errors" in await federation.answer("{ __typename }", key=key)
    tenant = await plant_tenant(federation.connections[LEGACY], apiKey=key)
    answer = await federation.answer("{ environment { id } }", key=key)
    assert answer["data"]["environment"]["id"] == f"env_{tenant.environment_id}"


async def test_many_requests_of_one_moment_ask_for_a_key_once(federation: FederationUnderTest) -> None:
    authenticator = Authenticator(federation.federation)
    presented = Presented((f"Bearer {federation.tenant.api_key}",))
    with federation.listening():
        found = await asyncio.gather(*(authenticator.viewer(presented) for _ in range(50)))
    assert {tuple(viewer.seen) for viewer in found} == {(federation.tenant.environment_id,)}
    assert federation.queries == {"control plane": 1}
