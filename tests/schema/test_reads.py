"""Runs, batches, waitpoints and environments, read through the API from one, two and three databases."""

from typing import Any

import pytest

from store import ids
from store.residency import LEGACY, NEW
from tests.conftest import over_shards
from tests.federation import SHARD_A, FederationUnderTest, friendly, plant_tenant

LEVEL = """
query ($ids: [ID!]!) {
  nodes(ids: $ids) {
    ... on Run {
      id
      batch { id }
      environment { slug project { name organization { title } } }
      parentRun { id }
      waitpoints { nodes { id completedByRun { id } } }
    }
  }
}
"""


async def test_two_runs_of_different_databases_are_one_answer(federation: FederationUnderTest) -> None:
    old, new = friendly("run", [await federation.run(LEGACY), await federation.run(NEW)])

    data = await federation.ask(
        "query ($a: ID!, $b: ID!) { a: run(id: $a) { id } b: run(id: $b) { id } }", a=old, b=new
    )

    assert data == {"a": {"id": old}, "b": {"id": new}}
    assert federation.queries == {"control plane": 1, LEGACY: 1, NEW: 1}


@over_shards(1, 2, 3)
async def test_the_first_answer_crosses_the_seam(federation: FederationUnderTest) -> None:
    """Ask a run of each shard for its batch, its parent, and a waitpoint that is on the next shard."""
    shards = federation.shards
    expected: dict[str, Any] = {}
    for home, next_ in zip(shards, (*shards[1:], shards[0]), strict=True):
        parent, batch, token = (
            await federation.run(home),
            await federation.batch(home),
            await federation.waitpoint(next_, tags=["b", "a"]),
        )
        run = await federation.run(home, parentTaskRunId=parent, rootTaskRunId=parent, batchId=batch)
        await federation.connect(home, run, token)
        await federation.block(home, run, token)
        expected[f"run_{run}"] = {
            "batch": {"id": f"batch_{batch}"},
            "parentRun": {"id": f"run_{parent}"},
            "rootRun": {"id": f"run_{parent}"},
            "waitpoints": {"nodes": [{"id": f"waitpoint_{token}", "tags": ["a", "b"]}]},
            "blockedBy": [{"batchIndex": None, "waitpoint": {"id": f"waitpoint_{token}", "status": "WAITING"}}],
            "environment": {"id": f"env_{federation.tenant.environment_id}"},
        }

    for run_id, answer in expected.items():
        data = await federation.ask(
            """query ($id: ID!) { run(id: $id) {
                 batch { id } parentRun { id } rootRun { id } environment { id }
                 waitpoints { nodes { id tags } } blockedBy { batchIndex waitpoint { id status } }
               } }""",
            id=run_id,
        )
        assert data["run"] == answer


@over_shards(1, 2, 3)
async def test_a_waitpoint_finds_its_runs_on_every_shard(federation: FederationUnderTest) -> None:
    for home in federation.shards:
        token = await federation.waitpoint(home)
        runs = [await federation.run(shard) for shard in federation.shards]
        for shard, run in zip(federation.shards, runs, strict=True):
            await federation.connect(shard, run, token)
            await federation.block(shard, run, token, batch_index=0)
            await federation.block(shard, run, token, batch_index=1)

        data = await federation.ask(
            """query ($id: ID!) { waitpoint(id: $id) {
                 type connectedRuns { nodes { id } } blockedRuns(first: 1) { nodes { id } pageInfo { hasNextPage } }
               } }""",
            id=f"waitpoint_{token}",
        )

        newest_first = [{"id": id_} for id_ in reversed(friendly("run", runs))]
        assert data["waitpoint"] == {
            "type": "MANUAL",
            "connectedRuns": {"nodes": newest_first},
            "blockedRuns": {"nodes": newest_first[:1], "pageInfo": {"hasNextPage": len(runs) > 1}},
        }


async def test_a_waitpoint_is_completed_by_what_is_elsewhere(federation: FederationUnderTest) -> None:
    run, batch = await federation.run(NEW), await federation.batch(NEW)
    of_run = await federation.waitpoint(NEW, type="RUN", completedByTaskRunId=run, status="COMPLETED")
    of_batch = await federation.waitpoint(
        NEW, type="BATCH", completedByBatchId=batch, outputIsError=True, status="COMPLETED"
    )
    query = "query ($id: ID!) { waitpoint(id: $id) { status completedByRun { id } completedByBatch { id } } }"

    assert await federation.ask(query, id=f"waitpoint_{of_run}") == {
        "waitpoint": {"status": "COMPLETED", "completedByRun": {"id": f"run_{run}"}, "completedByBatch": None}
    }
    assert await federation.ask(query, id=f"waitpoint_{of_batch}") == {
        "waitpoint": {"status": "TIMED_OUT", "completedByRun": None, "completedByBatch": {"id": f"batch_{batch}"}}
    }


@pytest.mark.parametrize("size", [1, 25])
async def test_one_statement_per_shard_and_level_however_many_rows(federation: FederationUnderTest, size: int) -> None:
    runs = []
    for shard, other in ((LEGACY, NEW), (NEW, LEGACY)):
        for _ in range(size):
            parent, batch, cause = (
                await federation.run(shard),
                await federation.batch(shard),
                await federation.run(other),
            )
            run = await federation.run(shard, parentTaskRunId=parent, batchId=batch)
            token = await federation.waitpoint(other, type="RUN", completedByTaskRunId=cause)
            await federation.connect(shard, run, token)
            runs.append(run)

    data = await federation.ask(LEVEL, ids=friendly("run", runs))

    assert len(data["nodes"]) == 2 * size
    assert all(
        node["batch"] and node["parentRun"] and node["waitpoints"]["nodes"][0]["completedByRun"]
        for node in data["nodes"]
    )
    # runs; then batches, parents and ties; then waitpoints; then the runs that complete them
    each = 1 + 3 + 1 + 1
    assert federation.queries == {"control plane": 3, LEGACY: each, NEW: each}


async def test_the_same_id_is_read_once(federation: FederationUnderTest) -> None:
    root = await federation.run(NEW)
    child = await federation.run(
        NEW, parentTaskRunId=root, rootTaskRunId=root, replayedFromTaskRunFriendlyId=f"run_{root}"
    )

    data = await federation.ask(
        "query ($id: ID!) { run(id: $id) { parentRun { id } rootRun { id } replayedFromRun { id } } }",
        id=f"run_{child}",
    )

    assert data["run"] == {field: {"id": f"run_{root}"} for field in ("parentRun", "rootRun", "replayedFromRun")}
    assert federation.queries[NEW] == 2


@over_shards(1, 2, 3)
async def test_lists_are_merged_and_walked_both_ways(federation: FederationUnderTest) -> None:
    planted = [await federation.run(shard) for _ in range(7) for shard in federation.shards]
    expected = friendly("run", planted[::-1])
    query = """query ($first: Int, $after: String, $last: Int, $before: String) { environment { runs(
        first: $first, after: $after, last: $last, before: $before) {
          nodes { id } edges { cursor node { id } }
          pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }"""

    forwards: list[str] = []
    arguments: dict[str, Any] = {"first": 4}
    while True:
        page = (await federation.ask(query, **arguments))["environment"]["runs"]
        assert [edge["node"] for edge in page["edges"]] == page["nodes"]
        assert page["pageInfo"]["hasPreviousPage"] is bool(forwards)
        forwards += [node["id"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        arguments["after"] = page["pageInfo"]["endCursor"]
    assert forwards == expected

    backwards: list[str] = []
    arguments = {"last": 4}
    while True:
        page = (await federation.ask(query, **arguments))["environment"]["runs"]
        backwards = [node["id"] for node in page["nodes"]] + backwards
        if not page["pageInfo"]["hasPreviousPage"]:
            break
        arguments["before"] = page["pageInfo"]["startCursor"]
    assert backwards == expected


async def test_of_two_copies_of_a_run_news_is_listed(federation: FederationUnderTest) -> None:
    run = await federation.run(LEGACY, taskIdentifier="old")
    await federation.run(NEW, run, taskIdentifier="moved", createdAt=(await _created_at(federation, run)))

    data = await federation.ask("{ environment { runs { nodes { id taskIdentifier } } } }")

    assert data["environment"]["runs"]["nodes"] == [{"id": f"run_{run}", "taskIdentifier": "moved"}]


async def _created_at(federation: FederationUnderTest, run: str) -> Any:
    return await federation.connections[LEGACY].fetchval('SELECT "createdAt" FROM "TaskRun" WHERE id = $1', run)


@over_shards(1, 2, 3)
async def test_a_batch_has_its_own_runs_and_those_that_it_lists(federation: FederationUnderTest) -> None:
    for home in federation.shards:
        elsewhere = [await federation.run(shard) for shard in federation.shards]
        batch = await federation.batch(home, runIds=friendly("run", elsewhere))
        own = [await federation.run(home, batchId=batch) for _ in range(2)]

        data = await federation.ask(
            "query ($id: ID!) { batch(id: $id) { runIds runs { nodes { id } } } }", id=f"batch_{batch}"
        )

        assert data["batch"]["runIds"] == friendly("run", elsewhere)
        assert [node["id"] for node in data["batch"]["runs"]["nodes"]] == friendly("run", [*elsewhere, *own][::-1])


async def test_a_batch_that_is_not_where_its_id_says_is_found(federation: FederationUnderTest) -> None:
    strayed = await federation.batch(LEGACY, ids.mint_v1(), runIds=["run_x"])

    data = await federation.ask("query ($id: ID!) { batch(id: $id) { id runIds } }", id=f"batch_{strayed}")

    assert data["batch"] == {"id": f"batch_{strayed}", "runIds": ["run_x"]}
    assert federation.queries == {"control plane": 1, NEW: 2, LEGACY: 2}


async def test_a_run_that_is_not_where_its_id_says_is_not_looked_for(federation: FederationUnderTest) -> None:
    strayed = await federation.run(LEGACY, ids.mint_v1())

    assert await federation.ask("query ($id: ID!) { run(id: $id) { id } }", id=f"run_{strayed}") == {"run": None}
    assert LEGACY not in federation.queries


@over_shards(1, 2, 3)
async def test_children_are_paged_per_parent(federation: FederationUnderTest) -> None:
    parents = [await federation.run(shard) for shard in federation.shards]
    children = {
        parent: [await federation.run(shard, parentTaskRunId=parent) for _ in range(3)]
        for shard, parent in zip(federation.shards, parents, strict=True)
    }
    query = """query ($ids: [ID!]!, $after: String) { nodes(ids: $ids) { ... on Run {
        childRuns(first: 2, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } } } }"""

    data = await federation.ask(query, ids=friendly("run", parents))

    assert federation.queries[LEGACY] == 2
    for parent, node in zip(parents, data["nodes"], strict=True):
        page = node["childRuns"]
        assert [child["id"] for child in page["nodes"]] == friendly("run", children[parent][:0:-1])
        assert page["pageInfo"]["hasNextPage"]
        rest = await federation.ask(query, ids=[f"run_{parent}"], after=page["pageInfo"]["endCursor"])
        assert rest["nodes"][0]["childRuns"]["nodes"] == [{"id": f"run_{children[parent][0]}"}]


async def test_waitpoints_of_a_run_are_paged(federation: FederationUnderTest) -> None:
    run = await federation.run(NEW)
    tokens = sorted([await federation.waitpoint(shard) for shard in (LEGACY, NEW) for _ in range(3)])
    for token in tokens:
        await federation.connect(NEW, run, token)
    query = """query ($id: ID!, $after: String) { run(id: $id) {
        waitpoints(first: 4, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } } }"""

    page = (await federation.ask(query, id=f"run_{run}"))["run"]["waitpoints"]
    rest = (await federation.ask(query, id=f"run_{run}", after=page["pageInfo"]["endCursor"]))["run"]["waitpoints"]

    assert [node["id"] for node in page["nodes"] + rest["nodes"]] == friendly("waitpoint", tokens)
    assert (page["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (True, False)


async def test_ties_to_what_is_gone_do_not_hide_those_behind_them(federation: FederationUnderTest) -> None:
    run = await federation.run(NEW)
    gone = sorted(ids.mint_cuid() for _ in range(3))
    tokens = sorted([await federation.waitpoint(NEW) for _ in range(2)])
    for token in (*gone, *tokens):
        await federation.connect(NEW, run, token)
    query = """query ($id: ID!, $after: String) { run(id: $id) {
        waitpoints(first: 2, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } } }"""

    walked: list[str] = []
    after = None
    for _ in range(3):
        page = (await federation.ask(query, id=f"run_{run}", after=after))["run"]["waitpoints"]
        walked += [node["id"] for node in page["nodes"]]
        assert page["pageInfo"]["endCursor"] not in (None, after)
        after = page["pageInfo"]["endCursor"]
    assert walked == friendly("waitpoint", tokens)
    assert not page["pageInfo"]["hasNextPage"]


async def test_a_row_is_read_once_under_both_of_its_ids(federation: FederationUnderTest) -> None:
    parent = await federation.run(NEW)
    await federation.run(NEW, parentTaskRunId=parent)

    await federation.ask(
        "query ($id: ID!) { run(id: $id) { childRuns { nodes { parentRun { id } } } } }", id=f"run_{parent}"
    )

    assert federation.queries == {"control plane": 1, NEW: 2, LEGACY: 1}


async def test_a_blocking_waitpoint_that_no_shard_has_is_an_error(federation: FederationUnderTest) -> None:
    run, gone = await federation.run(NEW), ids.mint_cuid()
    await federation.block(NEW, run, gone)

    answer = await federation.answer(
        "query ($id: ID!) { run(id: $id) { id blockedBy { waitpoint { id } } } }", id=f"run_{run}"
    )

    assert answer["data"] == {"run": {"id": f"run_{run}", "blockedBy": [{"waitpoint": None}]}}
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "NOT_FOUND"
    assert gone not in error["message"], "it may be another tenant's"
    assert error["path"] == ["run", "blockedBy", 0, "waitpoint"]


async def test_any_object_is_found_by_its_id(federation: FederationUnderTest) -> None:
    tenant = federation.tenant
    wanted = {
        f"run_{await federation.run(NEW)}": "Run",
        f"batch_{await federation.batch(LEGACY)}": "Batch",
        f"waitpoint_{await federation.waitpoint(NEW)}": "Waitpoint",
        f"env_{tenant.environment_id}": "Environment",
        f"project_{tenant.project_id}": "Project",
        f"org_{tenant.organization_id}": "Organization",
    }

    data = await federation.ask("query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", ids=list(wanted))
    assert data["nodes"] == [{"__typename": name, "id": id_} for id_, name in wanted.items()]

    for id_, name in wanted.items():
        data = await federation.ask("query ($id: ID!) { node(id: $id) { __typename } }", id=id_)
        assert data == {"node": {"__typename": name}}


NO_IDS = [
    "",
    "run",
    "run_",
    "_",
    "run_nope",
    "batch_nope",
    "env_nope",
    "what_ever",
    "run_\0",
    "run_é",
    "run_" + "x" * 10**6,
]


@pytest.mark.parametrize("field", ["node", "run", "batch", "waitpoint"])
async def test_an_id_that_is_none_finds_nothing(federation: FederationUnderTest, field: str) -> None:
    query = f"query ($id: ID!) {{ {field}(id: $id) {{ id }} }}"
    for id_ in NO_IDS:
        assert await federation.ask(query, id=id_) == {field: None}, id_[:20]


async def test_another_kinds_id_finds_nothing(federation: FederationUnderTest) -> None:
    run = f"run_{await federation.run(NEW)}"
    assert await federation.ask("query ($id: ID!) { batch(id: $id) { id } waitpoint(id: $id) { id } }", id=run) == {
        "batch": None,
        "waitpoint": None,
    }


async def test_another_environments_rows_are_as_if_they_did_not_exist(federation: FederationUnderTest) -> None:
    """Every field that can name a row of another tenant, planted to do so, answers what it answers for no row."""
    own = federation.tenant
    federation.tenant = await plant_tenant(federation.connections[LEGACY])
    foreign_run, foreign_batch, foreign_token = (
        await federation.run(NEW),
        await federation.batch(NEW),
        await federation.waitpoint(NEW),
    )
    foreign = federation.tenant
    federation.tenant = own
    run = await federation.run(
        NEW,
        parentTaskRunId=foreign_run,
        rootTaskRunId=foreign_run,
        batchId=foreign_batch,
        replayedFromTaskRunFriendlyId=f"run_{foreign_run}",
    )
    await federation.connect(NEW, run, foreign_token)
    batch = await federation.batch(NEW, runIds=[f"run_{foreign_run}"])
    token = await federation.waitpoint(NEW, completedByTaskRunId=foreign_run, completedByBatchId=foreign_batch)
    await federation.connect(NEW, foreign_run, token)
    await federation.block(NEW, foreign_run, token)
    await federation.insert(NEW, "TaskRun", await _child_of(federation, foreign, run))

    data = await federation.ask(
        """query ($run: ID!, $batch: ID!, $token: ID!, $ids: [ID!]!) {
             run(id: $run) { parentRun { id } rootRun { id } batch { id } replayedFromRun { id }
               waitpoints { nodes { id } } childRuns { nodes { id } } }
             batch(id: $batch) { runs { nodes { id } } }
             waitpoint(id: $token) { completedByRun { id } completedByBatch { id }
               connectedRuns { nodes { id } } blockedRuns { nodes { id } } }
             nodes(ids: $ids) { id }
             environment { runs { nodes { id } } }
           }""",
        run=f"run_{run}",
        batch=f"batch_{batch}",
        token=f"waitpoint_{token}",
        ids=[
            f"run_{foreign_run}",
            f"batch_{foreign_batch}",
            f"waitpoint_{foreign_token}",
            f"env_{foreign.environment_id}",
            f"project_{foreign.project_id}",
            f"org_{foreign.organization_id}",
        ],
    )

    nothing: dict[str, Any] = {"nodes": []}
    assert data == {
        "run": {
            **dict.fromkeys(("parentRun", "rootRun", "batch", "replayedFromRun")),
            "waitpoints": nothing,
            "childRuns": nothing,
        },
        "batch": {"runs": nothing},
        "waitpoint": {
            "completedByRun": None,
            "completedByBatch": None,
            "connectedRuns": nothing,
            "blockedRuns": nothing,
        },
        "nodes": [None] * 6,
        "environment": {"runs": {"nodes": [{"id": f"run_{run}"}]}},
    }


async def _child_of(federation: FederationUnderTest, tenant: Any, parent: str) -> dict[str, Any]:
    row = await federation.connections[NEW].fetchrow('SELECT * FROM "TaskRun" WHERE id = $1', parent)
    assert row is not None
    child = ids.mint_v1()
    return {
        **dict(row),
        "id": child,
        "friendlyId": f"run_{child}",
        "parentTaskRunId": parent,
        "runtimeEnvironmentId": tenant.environment_id,
    }


async def test_an_environment_is_found_by_id_by_slugs_or_by_the_credential(federation: FederationUnderTest) -> None:
    organization, project, slug = federation.tenant.slugs
    own = {"id": f"env_{federation.tenant.environment_id}"}
    by_slugs = """query ($o: String, $p: String, $e: String) {
      environment(organizationSlug: $o, projectSlug: $p, slug: $e) { id } }"""

    assert await federation.ask("{ environment { id } }") == {"environment": own}
    assert await federation.ask("query ($id: ID) { environment(id: $id) { id } }", **own) == {"environment": own}
    assert await federation.ask(by_slugs, o=organization, p=project, e=slug) == {"environment": own}
    for wrong in ({"o": "x", "p": project, "e": slug}, {"o": organization, "p": "x", "e": slug}):
        assert await federation.ask(by_slugs, **wrong) == {"environment": None}
    assert await federation.ask(by_slugs, o=organization, p=project, e="stg") == {"environment": None}


async def test_projects_and_organizations_are_those_around_the_environment(federation: FederationUnderTest) -> None:
    organization, project, _ = federation.tenant.slugs
    data = await federation.ask(
        """query ($o: String!, $p: String!, $r: String!) {
             organization(slug: $o) { title projects { slug environments { slug organization { slug } } } }
             bySlug: project(organizationSlug: $o, slug: $p) { name }
             byRef: project(organizationSlug: $o, ref: $r) { ref }
             wrong: project(organizationSlug: "x", slug: $p) { name }
             nobody: organization(slug: "x") { title }
           }""",
        o=organization,
        p=project,
        r=f"proj_{federation.tenant.project_id}",
    )

    assert data == {
        "organization": {
            "title": "Acme",
            "projects": [{"slug": project, "environments": [{"slug": "prod", "organization": {"slug": organization}}]}],
        },
        "bySlug": {"name": "Rockets"},
        "byRef": {"ref": f"proj_{federation.tenant.project_id}"},
        "wrong": None,
        "nobody": None,
    }


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("runs(first: 0) { nodes { id } }", "BAD_USER_INPUT"),
        ("runs(first: 101) { nodes { id } }", "BAD_USER_INPUT"),
        ("runs(first: -1) { nodes { id } }", "BAD_USER_INPUT"),
        ("runs(first: 99999999999) { nodes { id } }", "BAD_USER_INPUT"),
        ("runs(first: 1, last: 1) { nodes { id } }", "BAD_USER_INPUT"),
        ('runs(after: "x", before: "y") { nodes { id } }', "BAD_USER_INPUT"),
        ('runs(last: 1, after: "x") { nodes { id } }', "BAD_USER_INPUT"),
        ('runs(after: "x") { nodes { id } }', "BAD_CURSOR"),
        ('runs(after: "") { nodes { id } }', "BAD_CURSOR"),
        ('runs(before: "MS4xMjM0NTY3ODkwYWIuMS5h") { nodes { id } }', "BAD_CURSOR"),
        ("nothing", "BAD_USER_INPUT"),
    ],
)
async def test_arguments_that_make_no_sense_are_refused(federation: FederationUnderTest, field: str, code: str) -> None:
    answer = await federation.answer(f"{{ environment {{ {field} }} }}")
    assert [error["extensions"]["code"] for error in answer["errors"]] == [code]
    assert "\n" not in answer["errors"][0]["message"]
    assert LEGACY not in federation.queries


async def test_a_query_of_the_wrong_shape_is_refused_in_one_sentence(federation: FederationUnderTest) -> None:
    deep = "{ environment { project " + "{ organization { projects " * 8 + "{ slug }" + " } }" * 8 + " } }"
    many = "{" + " ".join(f"a{number}: shards {{ key }}" for number in range(40)) + "}"
    for query in ("{", "{ run }", "query ($id: ID!) { run(id: $id) { id } }", "{ __typename }" * 2, deep, many):
        answer = await federation.answer(query)
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_USER_INPUT"}, query
        assert "\n" not in answer["errors"][0]["message"]


@over_shards(3)
async def test_shards_are_listed_without_asking_them(federation: FederationUnderTest) -> None:
    data = await federation.ask("{ shards { key healthy } }")
    assert data["shards"] == [{"key": key, "healthy": True} for key in (LEGACY, NEW, SHARD_A)]
    assert set(federation.queries) == {"control plane"}
