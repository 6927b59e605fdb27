"""What a person sees, by a personal access token: everything in their organizations, and nothing beside it."""

from typing import Any

import pytest

from store import ids
from store.control_plane import CONTROL_PLANE
from store.residency import LEGACY, NEW
from tests.federation import START, FederationUnderTest, mint, plant_tenant

WHO = "{ viewer { id email name displayName organizations { id } } }"
PLACES = """{ viewer { organizations { slug projects { slug environments {
  id slug type branchName userName parentEnvironment { id } branches { id branchName } } } } } }"""


async def ask(federation: FederationUnderTest, credential: str, query: str, **variables: Any) -> Any:
    answer = await federation.answer(query, key=credential, **variables)
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


async def test_a_member_is_told_who_they_are_and_a_key_is_nobody(federation: FederationUnderTest) -> None:
    user, token = await federation.member()
    organization = {"id": f"org_{federation.tenant.organization_id}"}

    assert await ask(federation, token, WHO) == {
        "viewer": {
            "id": f"user_{user}",
            "email": f"{user}@acme.test",
            "name": "Ada",
            "displayName": "Ada L.",
            "organizations": [organization],
        }
    }
    assert await federation.ask("{ viewer { id } }") == {"viewer": None}


async def test_a_member_sees_every_place_of_their_organizations_and_their_own_development(
    federation: FederationUnderTest,
) -> None:
    user, token = await federation.member()
    other, _ = await federation.member(displayName=None, name="Bob")
    rows = await federation.connections[CONTROL_PLANE].fetch('SELECT "userId", id FROM "OrgMember"')
    members = dict(rows)
    own = await federation.environment(slug="dev", type="DEVELOPMENT", orgMemberId=members[user])
    anothers = await federation.environment(slug="dev", type="DEVELOPMENT", orgMemberId=members[other])
    root = await federation.environment(slug="preview", type="PREVIEW", isBranchableEnvironment=True)
    branch = await federation.environment(slug="preview-x", type="PREVIEW", branchName="x", parentEnvironmentId=root)
    gone = await federation.environment(
        slug="preview-y", type="PREVIEW", branchName="y", parentEnvironmentId=root, archivedAt=START
    )
    organization, project, _ = federation.tenant.slugs

    data = await ask(federation, token, PLACES)
    (shown,) = data["viewer"]["organizations"]
    assert (shown["slug"], [one["slug"] for one in shown["projects"]]) == (organization, [project])
    environments = {one["id"]: one for one in shown["projects"][0]["environments"]}
    assert environments.keys() == {f"env_{id_}" for id_ in (federation.tenant.environment_id, own, root, branch)}
    assert environments[f"env_{own}"]["userName"] is None, "one's own has no name on it"
    assert environments[f"env_{root}"]["branches"] == [{"id": f"env_{branch}", "branchName": "x"}]
    assert environments[f"env_{branch}"]["parentEnvironment"] == {"id": f"env_{root}"}

    query = """query ($org: String!, $project: String!, $own: ID!, $anothers: ID!, $gone: ID!) {
      bySlug: environment(organizationSlug: $org, projectSlug: $project, slug: "dev") { id }
      ofProject: project(organizationSlug: $org, slug: $project) { environment(slug: "dev") { id }
        unknown: environment(slug: "nope") { id } }
      own: node(id: $own) { id } anothers: environment(id: $anothers) { id userName }
      gone: environment(id: $gone) { archivedAt } }"""
    found = await ask(
        federation,
        token,
        query,
        org=organization,
        project=project,
        **{name: f"env_{id_}" for name, id_ in (("own", own), ("anothers", anothers), ("gone", gone))},
    )
    assert found == {
        "bySlug": {"id": f"env_{own}"},
        "ofProject": {"environment": {"id": f"env_{own}"}, "unknown": None},
        "own": {"id": f"env_{own}"},
        "anothers": {"id": f"env_{anothers}", "userName": "Bob"},
        "gone": {"archivedAt": "2026-08-21T00:00:00.000Z"},
    }


async def test_navigation_asks_no_shard(federation: FederationUnderTest) -> None:
    _, token = await federation.member()
    await ask(federation, token, PLACES)
    assert set(federation.queries) == {CONTROL_PLANE}
    assert federation.queries[CONTROL_PLANE] == 2 + 4, "whose token, which places; then one for each level"


async def test_a_member_reads_runs_of_several_environments_in_one_statement_a_shard(
    federation: FederationUnderTest,
) -> None:
    _, token = await federation.member()
    second = await federation.environment()
    runs = {
        place: [await federation.run(shard, runtimeEnvironmentId=place) for shard in (LEGACY, NEW)]
        for place in (federation.tenant.environment_id, second)
    }
    query = """{ viewer { organizations { projects { environments {
      id hasAnyRuns taskIdentifiers batches { nodes { id } } waitpointTokens { nodes { id } }
      bulkActions { nodes { id } } runs { totalCount { value } nodes { id } } } } } } }"""
    await ask(federation, token, query)
    data = await ask(federation, token, query)

    (organization,) = data["viewer"]["organizations"]
    shown = {one["id"]: one for one in organization["projects"][0]["environments"]}
    for place, expected in runs.items():
        of = shown[f"env_{place}"]
        assert [run["id"] for run in of["runs"]["nodes"]] == [f"run_{id_}" for id_ in reversed(expected)]
        assert (of["runs"]["totalCount"], of["hasAnyRuns"]) == ({"value": 2}, True)
    # The three lists, and twice a count. Organizations, projects, environments; tasks and bulk actions.
    assert federation.queries == {LEGACY: 5, NEW: 5, CONTROL_PLANE: 5}


@pytest.mark.parametrize("shard", [LEGACY, NEW])
async def test_what_is_in_another_organization_is_not_there(federation: FederationUnderTest, shard: Any) -> None:
    own_run = await federation.run(shard)
    own_batch = await federation.batch(shard)
    _, token = await federation.member()
    stranger = federation.tenant
    federation.tenant = await plant_tenant(federation.connections[CONTROL_PLANE])
    run, batch = await federation.run(shard), await federation.batch(shard)
    waitpoint = await federation.waitpoint(shard)
    tenant = federation.tenant
    query = """query ($run: ID!, $batch: ID!, $waitpoint: ID!, $env: ID!, $project: ID!, $org: ID!) {
      run(id: $run) { id } batch(id: $batch) { id } waitpoint(id: $waitpoint) { id } environment(id: $env) { id }
      project: node(id: $project) { id } org: node(id: $org) { id } }"""

    async def look(**bodies: str) -> tuple[Any, Any]:
        data = await ask(federation, token, query, **{name: f"{name}_{body}" for name, body in bodies.items()})
        return data, federation.queries

    await ask(federation, token, WHO)
    place = {"env": tenant.environment_id, "project": tenant.project_id, "org": tenant.organization_id}
    foreign, cost = await look(run=run, batch=batch, waitpoint=waitpoint, **place)
    assert all(value is None for value in foreign.values()), foreign
    nobodys = {name: ids.mint_cuid() for name in ("waitpoint", "env", "project", "org")}
    assert await look(run=mint(shard), batch=mint(shard), **nobodys) == (foreign, cost), "nor by what it costs"

    by_name = """query ($org: String!, $project: String!) { organization(slug: $org) { id }
      project(organizationSlug: $org, slug: $project) { id }
      environment(organizationSlug: $org, projectSlug: $project, slug: "prod") { id } }"""
    nothing = {"organization": None, "project": None, "environment": None}
    for slug in (tenant.slugs[0], "nope"):
        assert await ask(federation, token, by_name, org=slug, project=tenant.slugs[1]) == nothing
        assert federation.queries == {CONTROL_PLANE: 3}

    theirs = await ask(
        federation,
        token,
        "query ($run: ID!, $batch: ID!) { run(id: $run) { id environment { id } } batch(id: $batch) { id } }",
        run=f"run_{own_run}",
        batch=f"batch_{own_batch}",
    )
    assert theirs["run"]["environment"] == {"id": f"env_{stranger.environment_id}"}
    assert theirs["batch"] == {"id": f"batch_{own_batch}"}


async def test_what_hangs_on_a_row_of_another_tenant_is_not_followed(federation: FederationUnderTest) -> None:
    """Ties that no platform writes: of a parent, a batch, a waitpoint and a replayed run that are someone else's."""
    mine = federation.tenant
    _, token = await federation.member()
    federation.tenant = await plant_tenant(federation.connections[CONTROL_PLANE])
    parent, batch = await federation.run(NEW), await federation.batch(NEW)
    waitpoint = await federation.waitpoint(NEW)
    foreign_child = ids.mint_v1()
    federation.tenant = mine
    run = await federation.run(
        NEW,
        parentTaskRunId=parent,
        rootTaskRunId=parent,
        batchId=batch,
        replayedFromTaskRunFriendlyId=f"run_{parent}",
    )
    await federation.connect(NEW, run, waitpoint)
    own_token = await federation.waitpoint(NEW, completedByTaskRunId=parent, completedByBatchId=batch)
    federation.tenant = await plant_tenant(federation.connections[CONTROL_PLANE])
    await federation.run(NEW, foreign_child, parentTaskRunId=run, bulkActionGroupIds=["x"])
    await federation.connect(NEW, foreign_child, own_token)
    await federation.block(NEW, foreign_child, own_token)
    federation.tenant = mine
    query = """query ($run: ID!, $token: ID!) {
      run(id: $run) { parentRun { id } rootRun { id } batch { id } replayedFromRun { id }
        waitpoints { nodes { id } } childRuns { nodes { id } } }
      waitpoint(id: $token) { completedByRun { id } completedByBatch { id }
        connectedRuns { nodes { id } } blockedRuns { nodes { id } } } }"""
    for key in (mine.api_key, token):
        data = await ask(federation, key, query, run=f"run_{run}", token=f"waitpoint_{own_token}")
        nothing: dict[str, Any] = {"nodes": []}
        assert data["run"] == {
            "parentRun": None,
            "rootRun": None,
            "batch": None,
            "replayedFromRun": None,
            "waitpoints": nothing,
            "childRuns": nothing,
        }
        assert data["waitpoint"] == {
            "completedByRun": None,
            "completedByBatch": None,
            "connectedRuns": nothing,
            "blockedRuns": nothing,
        }


async def test_a_token_that_was_revoked_and_one_that_never_was_are_the_same(federation: FederationUnderTest) -> None:
    user, token = await federation.member()
    await federation.connections[CONTROL_PLANE].execute(
        'UPDATE "PersonalAccessToken" SET "revokedAt" = now() WHERE "userId" = $1', user
    )
    refused = [await federation.answer(WHO, key=key) for key in (token, f"{token[:-3]}zzz")]
    assert refused[0] == refused[1]
    assert refused[0]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_member_must_say_which_environment(federation: FederationUnderTest) -> None:
    _, token = await federation.member()
    answer = await federation.answer("{ environment { id } }", key=token)
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
