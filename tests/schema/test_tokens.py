"""Tokens, the waitpoints that somebody completes: their tags from all shards, and the URL that completes them."""

import hashlib
import hmac
from datetime import timedelta

import pytest

from store import ids
from store.residency import LEGACY, NEW, ShardKey
from tests.conftest import over_shards
from tests.federation import START, FederationUnderTest

TAGS = """query ($name: String, $first: Int, $after: String) {
  environment { waitpointTags(name: $name, first: $first, after: $after) } }"""


async def plant_tag(federation: FederationUnderTest, shard: ShardKey, name: str, second: int) -> None:
    tenant = federation.tenant
    row = {"id": ids.mint_cuid(), "name": name, "createdAt": START + timedelta(seconds=second)}
    await federation.insert(
        shard, "WaitpointTag", {**row, "environmentId": tenant.environment_id, "projectId": tenant.project_id}
    )


async def tags(federation: FederationUnderTest, **arguments: object) -> list[str]:
    found: list[str] = (await federation.ask(TAGS, **arguments))["environment"]["waitpointTags"]
    return found


@over_shards(1, 2, 3)
async def test_tags_of_all_shards_are_walked_newest_first_and_each_name_once(federation: FederationUnderTest) -> None:
    """Every third name is on two shards, with copies of different age; one stands where its newest copy does."""
    newest: dict[str, int] = {}
    for number in range(60):
        name = f"tag-{number:02}"
        shard = federation.shards[number % len(federation.shards)]
        await plant_tag(federation, shard, name, number)
        newest[name] = number
        if number % 3 == 0 and len(federation.shards) > 1:
            other = federation.shards[(number + 1) % len(federation.shards)]
            await plant_tag(federation, other, name, 100 - number)
            newest[name] = max(number, 100 - number)
    expected = sorted(newest, key=lambda name: (newest[name], name), reverse=True)

    for size in (1, 7, 25, 60):
        walked: list[str] = []
        while page := await tags(federation, first=size, after=walked[-1] if walked else None):
            assert len(page) == min(size, 60 - len(walked))
            walked += page
        assert walked == expected, size


async def test_a_walk_goes_on_where_one_shard_has_nothing_but_old_copies(federation: FederationUnderTest) -> None:
    for number in range(30):
        await plant_tag(federation, LEGACY, f"both-{number:02}", number)
        await plant_tag(federation, NEW, f"both-{number:02}", 1000 + number)
    await plant_tag(federation, LEGACY, "oldest", -1)
    assert await tags(federation, first=5, after="both-00") == ["oldest"]
    assert await tags(federation, first=100, after="both-01") == ["both-00", "oldest"]


async def test_tags_are_found_by_how_they_begin_in_any_case(federation: FederationUnderTest) -> None:
    for number, name in enumerate(("Order-1", "order-2", "reorder", "or%der", "ünder", "Über")):
        await plant_tag(federation, LEGACY if number % 2 else NEW, name, number)
    assert await tags(federation, name="ORDER") == ["order-2", "Order-1"]
    assert await tags(federation, name="or%") == ["or%der"]
    assert await tags(federation, name="ü") == ["Über", "ünder"]
    assert await tags(federation, name="none") == []
    assert len(await tags(federation)) == 6
    assert federation.queries[LEGACY] == federation.queries[NEW] == 2


async def test_a_tag_that_is_not_there_is_no_place_to_begin_after(federation: FederationUnderTest) -> None:
    answer = await federation.answer(TAGS, after="nope")
    assert answer["errors"][0]["extensions"] == {"code": "BAD_CURSOR"}


@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_a_token_says_where_a_post_completes_it(federation: FederationUnderTest, shard: ShardKey) -> None:
    token = await federation.waitpoint(shard)
    due = await federation.waitpoint(shard, type="DATETIME")
    query = "query ($a: ID!, $b: ID!) { a: waitpoint(id: $a) { callbackUrl } b: waitpoint(id: $b) { callbackUrl } }"

    data = await federation.ask(query, a=f"waitpoint_{token}", b=f"waitpoint_{due}")

    signature = hmac.new(federation.tenant.api_key.encode(), token.encode(), hashlib.sha256).hexdigest()
    url = f"http://runatlas/api/v1/waitpoints/tokens/waitpoint_{token}/callback/{signature}"
    assert data == {"a": {"callbackUrl": url}, "b": {"callbackUrl": None}}


async def test_a_branch_signs_with_the_key_of_its_root(federation: FederationUnderTest) -> None:
    _, access_token = await federation.member()
    branch = await federation.environment(
        type="PREVIEW", branchName="x", parentEnvironmentId=federation.tenant.environment_id
    )
    token = await federation.waitpoint(NEW, environmentId=branch)
    answer = await federation.answer(
        "query ($id: ID!) { waitpoint(id: $id) { callbackUrl } }", key=access_token, id=f"waitpoint_{token}"
    )
    signature = hmac.new(federation.tenant.api_key.encode(), token.encode(), hashlib.sha256).hexdigest()
    assert answer["data"]["waitpoint"]["callbackUrl"].endswith(f"/callback/{signature}")
