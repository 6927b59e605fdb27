"""Lists of an environment: every filter, alone and together, over all shards; order, cursors and counts."""

import json
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest

from store import ids
from store.records import RUN_STATUS
from store.residency import LEGACY, NEW
from tests.conftest import over_shards
from tests.federation import START, FederationUnderTest
from tests.schema.test_inspector import plant_surroundings

RUNS = """query ($filter: RunFilter, $first: Int = 100, $after: String, $order: RunOrder) { environment {
  runs(filter: $filter, first: $first, after: $after, orderBy: $order) {
    nodes { id } totalCount { value exact } pageInfo { hasNextPage endCursor } } } }"""


async def runs(federation: FederationUnderTest, filter_: dict[str, Any] | None = None, **more: Any) -> list[str]:
    data = await federation.ask(RUNS, filter=filter_, **more)
    page = data["environment"]["runs"]
    assert page["pageInfo"]["hasNextPage"] or page["totalCount"] == {"value": len(page["nodes"]), "exact": True}
    return [node["id"].removeprefix("run_") for node in page["nodes"]]


async def plant_variety(federation: FederationUnderTest) -> tuple[dict[str, dict[str, Any]], list[tuple[Any, Any]]]:
    """Plant runs that differ in everything; return their columns by id, and filters with what they must let through."""
    keys = await plant_surroundings(federation)
    planted: dict[str, dict[str, Any]] = {}
    batches = {shard: await federation.batch(shard) for shard in federation.shards}
    for number in range(48):
        shard = federation.shards[number % len(federation.shards)]
        columns: dict[str, Any] = {
            "status": list(RUN_STATUS)[number % len(RUN_STATUS)],
            "taskIdentifier": f"task-{number % 3}",
            "taskVersion": f"v{number % 4}" if number % 5 else None,
            "runTags": [f"t{number % 2}", f"t{number % 7}"] if number % 3 else None,
            "isTest": number % 4 == 0,
            "queue": f"queue-{number % 5}",
            "region": f"r{number % 2}" if number % 3 else None,
            "masterQueue": f"r{number % 4}",
            "machinePreset": ["micro", "small-1x", None, "large-2x"][number % 4],
            "batchId": batches[shard] if number % 6 == 0 else None,
            "scheduleId": keys["schedule"] if number % 7 == 0 else None,
            "bulkActionGroupIds": [keys["bulk"]] if number % 5 == 0 else [],
        }
        id_ = await federation.run(shard, **columns)
        planted[id_] = {**columns, "id": id_, "createdAt": START + timedelta(seconds=federation.planted)}
    some = list(planted)[::5]
    middle = planted[list(planted)[20]]["createdAt"]
    one_batch = batches[federation.shards[0]]
    filters: list[tuple[Any, Any]] = [
        ({"rawStatus": ["PAUSED", "EXPIRED"]}, lambda run: run["status"] in ("PAUSED", "EXPIRED")),
        ({"taskIdentifier": ["task-1", "task-2"]}, lambda run: run["taskIdentifier"] in ("task-1", "task-2")),
        ({"version": ["v1"]}, lambda run: run["taskVersion"] == "v1"),
        ({"tags": ["t3", "t5"]}, lambda run: {"t3", "t5"} & set(run["runTags"] or ())),
        ({"isTest": True}, lambda run: run["isTest"]),
        ({"isTest": False}, lambda run: not run["isTest"]),
        ({"queue": ["queue-2"]}, lambda run: run["queue"] == "queue-2"),
        ({"region": ["r1"]}, lambda run: (run["region"] or run["masterQueue"]) == "r1"),
        ({"machine": ["MICRO", "LARGE_2X"]}, lambda run: run["machinePreset"] in ("micro", "large-2x")),
        ({"batch": f"batch_{one_batch}"}, lambda run: run["batchId"] == one_batch),
        ({"schedule": f"sched_{keys['schedule']}"}, lambda run: run["scheduleId"]),
        ({"bulkAction": f"bulk_{keys['bulk']}"}, lambda run: run["bulkActionGroupIds"]),
        ({"runIds": [f"run_{id_}" for id_ in some]}, lambda run: run["id"] in some),
        ({"createdAt": {"from": rfc3339(middle)}}, lambda run: run["createdAt"] >= middle),
        ({"createdAt": {"to": rfc3339(middle)}}, lambda run: run["createdAt"] <= middle),
        ({"rootOnly": True}, lambda _run: True),
    ]
    return planted, filters


def rfc3339(time: datetime) -> str:
    return f"{time.isoformat(timespec='milliseconds')}Z"


@over_shards(1, 2, 3)
async def test_every_filter_lets_through_what_it_should(federation: FederationUnderTest) -> None:
    planted, filters = await plant_variety(federation)
    newest_first = list(planted)[::-1]

    for given, lets_through in filters:
        expected = [id_ for id_ in newest_first if lets_through(planted[id_])]
        assert await runs(federation, given) == expected, given


async def test_two_filters_let_through_what_both_do(federation: FederationUnderTest) -> None:
    planted, filters = await plant_variety(federation)
    newest_first = list(planted)[::-1]

    for (one, lets_one), (other, lets_other) in combinations(filters, 2):
        if one.keys() & other.keys():
            continue
        expected = [id_ for id_ in newest_first if lets_one(planted[id_]) and lets_other(planted[id_])]
        assert await runs(federation, {**one, **other}) == expected, (one, other)


async def test_filters_by_status_are_the_inverse_of_the_mapping(federation: FederationUnderTest) -> None:
    planted = {await federation.run(NEW, status=raw): status for raw, status in RUN_STATUS.items()}
    for status in dict.fromkeys(RUN_STATUS.values()):
        expected = [id_ for id_, of in planted.items() if of == status][::-1]
        assert await runs(federation, {"status": [status]}) == expected
    assert await runs(federation, {"status": []}) == []
    assert (
        await runs(federation, {"status": ["FAILED"], "rawStatus": ["INTERRUPTED", "PAUSED"]})
        == [id_ for id_, of in planted.items() if of == "FAILED"][1:]
    )


async def test_a_period_ends_at_the_moment_of_the_request(federation: FederationUnderTest) -> None:
    old = await federation.run(LEGACY, createdAt=START - timedelta(days=3_000))
    a_moment_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=5)
    young = await federation.run(NEW, createdAt=a_moment_ago)
    assert await runs(federation, {"createdAt": {"period": "1h"}}) == [young]
    assert await runs(federation) == [young, old], "a list without a period hides nothing"


async def test_roots_are_told_from_children(federation: FederationUnderTest) -> None:
    root = await federation.run(NEW)
    await federation.run(NEW, parentTaskRunId=root, rootTaskRunId=root, depth=1)
    assert await runs(federation, {"rootOnly": True}) == [root]


@pytest.mark.parametrize(
    "filter_",
    [
        {"batch": "batch_nope"},
        {"batch": "run_x"},
        {"batch": "\0"},
        {"schedule": "sched_nope"},
        {"schedule": "\0"},
        {"bulkAction": "bulk_nope"},
        {"bulkAction": ""},
        {"runIds": ["run_nope", "", "run_é", "batch_x"]},
        {"runIds": []},
        {"tags": []},
        {"taskIdentifier": ["täsk"]},
        {"createdAt": {"from": "2100-01-01T00:00:00Z"}},
    ],
)
async def test_what_names_nothing_lets_nothing_through(federation: FederationUnderTest, filter_: Any) -> None:
    await federation.run(LEGACY)
    await federation.run(NEW)
    assert await runs(federation, filter_) == []


@pytest.mark.parametrize(
    "filter_",
    [
        {"createdAt": {"period": "yesterday"}},
        {"createdAt": {"period": ""}},
        {"createdAt": {"period": "-1d"}},
        {"createdAt": {"period": "1.5h"}},
        {"createdAt": {"period": "999999d"}},
        {"createdAt": {"period": "٣d"}},
        {"createdAt": {"period": "1d", "from": "2026-01-01T00:00:00Z"}},
        {"createdAt": {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}},
        {"createdAt": {"from": "2026-01-01"}},
        {"createdAt": {"from": 7}},
        {"tags": ["a\0b"]},
        {"queue": ["x"] * 101},
        {"runIds": ["run_x"] * 101},
        {"status": ["DONE"]},
        {"unknown": True},
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused_in_one_sentence(
    federation: FederationUnderTest, filter_: Any
) -> None:
    answer = await federation.answer(RUNS, filter=filter_)
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_USER_INPUT"}
    assert NEW not in federation.queries


@over_shards(2, 3)
async def test_oldest_first_is_the_same_list_the_other_way(federation: FederationUnderTest) -> None:
    planted = [await federation.run(shard) for _ in range(5) for shard in federation.shards]
    walked: list[str] = []
    arguments: dict[str, Any] = {"first": 4, "order": {"direction": "ASC"}}
    while True:
        page = (await federation.ask(RUNS, **arguments))["environment"]["runs"]
        walked += [node["id"].removeprefix("run_") for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        arguments["after"] = page["pageInfo"]["endCursor"]
    assert walked == planted
    assert await runs(federation, order={}) == planted[::-1]


async def test_a_cursor_belongs_to_its_filter_and_order(federation: FederationUnderTest) -> None:
    for _ in range(3):
        await federation.run(NEW, runTags=["a"])
    filter_ = {"tags": ["a"], "createdAt": {"period": "5000d"}}
    page = (await federation.ask(RUNS, filter=filter_, first=1))["environment"]["runs"]
    after = page["pageInfo"]["endCursor"]

    again = (await federation.ask(RUNS, filter=filter_, first=5, after=after))["environment"]["runs"]
    assert len(again["nodes"]) == 2
    for other in ({"filter": {"tags": ["b"]}}, {"filter": None}, {"filter": filter_, "order": {"direction": "ASC"}}):
        answer = await federation.answer(RUNS, first=1, after=after, **other)
        assert answer["errors"][0]["extensions"]["code"] == "BAD_CURSOR"


async def test_counts_are_made_only_when_they_are_selected(federation: FederationUnderTest) -> None:
    for shard in (LEGACY, NEW, NEW):
        await federation.run(shard)
    await federation.ask("{ environment { runs { nodes { id } } } }")
    assert federation.queries == {"control plane": 1, LEGACY: 1, NEW: 1}
    data = await federation.ask("{ environment { hasAnyRuns runs { totalCount { value exact } } } }")
    assert data["environment"] == {"hasAnyRuns": True, "runs": {"totalCount": {"value": 3, "exact": True}}}
    assert federation.queries == {LEGACY: 3, NEW: 3}


async def test_an_environment_without_runs_has_none_on_any_shard(federation: FederationUnderTest) -> None:
    query = "{ environment { hasAnyRuns taskIdentifiers } }"
    assert await federation.ask(query) == {"environment": {"hasAnyRuns": False, "taskIdentifiers": []}}
    await federation.run(NEW)
    assert (await federation.ask(query))["environment"]["hasAnyRuns"] is True


@over_shards(1, 2, 3)
async def test_batches_are_listed_with_what_became_of_them(federation: FederationUnderTest) -> None:
    planted = []
    for number in range(6):
        shard = federation.shards[number % len(federation.shards)]
        batch = await federation.batch(shard, status=["PENDING", "COMPLETED", "ABORTED"][number % 3])
        await federation.insert(
            shard,
            "BatchTaskRunError",
            {
                "id": ids.mint_cuid(),
                "batchTaskRunId": batch,
                "index": number,
                "taskIdentifier": "hello",
                "error": "no",
                "errorCode": "X",
                "createdAt": START,
            },
        )
        for status in ("COMPLETED_WITH_ERRORS", "INTERRUPTED", "EXECUTING"):
            await federation.run(shard, batchId=batch, status=status)
        planted.append(batch)
    query = """query ($filter: BatchFilter, $first: Int, $after: String) { environment {
      batches(filter: $filter, first: $first, after: $after) {
        nodes { id status errors { index taskIdentifier error errorCode createdAt } statusCounts { status count } }
        pageInfo { hasNextPage endCursor } } } }"""

    page = (await federation.ask(query, first=4))["environment"]["batches"]
    rest = (await federation.ask(query, first=4, after=page["pageInfo"]["endCursor"]))["environment"]["batches"]

    nodes = page["nodes"] + rest["nodes"]
    assert [node["id"] for node in nodes] == [f"batch_{batch}" for batch in planted[::-1]]
    assert nodes[0]["errors"] == [
        {
            "index": 5,
            "taskIdentifier": "hello",
            "error": "no",
            "errorCode": "X",
            "createdAt": "2026-08-21T00:00:00.000Z",
        }
    ]
    assert nodes[0]["statusCounts"] == [{"status": "EXECUTING", "count": 1}, {"status": "FAILED", "count": 2}]
    for given, expected in (
        ({"status": ["ABORTED"]}, [planted[5], planted[2]]),
        ({"id": f"batch_{planted[1]}"}, [planted[1]]),
        ({"id": "batch_nope"}, []),
        ({"createdAt": {"to": "2000-01-01T00:00:00Z"}}, []),
    ):
        found = (await federation.ask(query, filter=given))["environment"]["batches"]["nodes"]
        assert [node["id"].removeprefix("batch_") for node in found] == expected


@over_shards(1, 2, 3)
async def test_tokens_are_listed_by_exact_status_key_and_tag(federation: FederationUnderTest) -> None:
    shards = federation.shards
    waiting = await federation.waitpoint(shards[0], tags=["a"])
    completed = await federation.waitpoint(
        shards[-1], status="COMPLETED", output=json.dumps({"ok": 1}), outputType="application/json", tags=["a", "b"]
    )
    timed_out = await federation.waitpoint(
        shards[0],
        status="COMPLETED",
        outputIsError=True,
        idempotencyKey="random",
        inactiveIdempotencyKey="order-1",
        userProvidedIdempotencyKey=True,
    )
    await federation.waitpoint(shards[-1], type="DATETIME")
    query = """query ($filter: WaitpointFilter) { environment { waitpointTokens(filter: $filter) {
      nodes { id status idempotencyKey output { json } } } } }"""

    async def tokens(given: Any) -> list[Any]:
        data = await federation.ask(query, filter=given)
        return [node["id"].removeprefix("waitpoint_") for node in data["environment"]["waitpointTokens"]["nodes"]]

    assert await tokens(None) == [timed_out, completed, waiting]
    assert await tokens({"status": ["WAITING", "COMPLETED"]}) == [completed, waiting]
    assert await tokens({"status": ["TIMED_OUT"]}) == [timed_out]
    assert await tokens({"status": []}) == []
    assert await tokens({"tags": ["b", "c"]}) == [completed]
    assert await tokens({"idempotencyKey": "order-1"}) == [timed_out]
    assert await tokens({"idempotencyKey": "random"}) == [timed_out]
    assert await tokens({"id": f"waitpoint_{waiting}"}) == [waiting]
    nodes = (await federation.ask(query))["environment"]["waitpointTokens"]["nodes"]
    assert [node["output"] for node in nodes] == [None, {"json": {"ok": 1}}, None]
    assert [node["idempotencyKey"] for node in nodes] == ["order-1", None, None]


MANY = """INSERT INTO "TaskRun" ("id", "friendlyId", "taskIdentifier", "payload", "traceId", "spanId",
    "runtimeEnvironmentId", "projectId", "queue", "createdAt", "updatedAt")
  SELECT $1 || n, 'run_' || $1 || n, 'many', '{}', 't', 's', $2, 'p', 'q',
    $3::timestamp + n / 7 * interval '1 ms', now()
  FROM generate_series(1, $4::int) AS n"""


@pytest.mark.parametrize(
    "arguments", [("first", "after", "endCursor", "hasNextPage"), ("last", "before", "startCursor", "hasPreviousPage")]
)
async def test_walking_ten_thousand_rows_yields_each_old_one_once_whatever_is_inserted(
    federation: FederationUnderTest, arguments: tuple[str, str, str, str]
) -> None:
    """Many rows share a millisecond, on both shards; new ones come in before, among and behind those already seen."""
    size, cursor, end, more = arguments
    environment = federation.tenant.environment_id
    for shard, prefix in ((LEGACY, "c"), (NEW, "0")):
        await federation.connections[shard].execute(MANY, f"{prefix}{environment}", environment, START, 5_000)
    query = f"""query ($at: String) {{ environment {{ runs({size}: 100, {cursor}: $at) {{
      nodes {{ id createdAt }} pageInfo {{ {end} {more} }} }} }} }}"""

    seen: list[tuple[str, str]] = []
    at = None
    for page_number in range(200):
        page = (await federation.ask(query, at=at))["environment"]["runs"]
        rows = [(node["createdAt"], node["id"].removeprefix("run_")) for node in page["nodes"]]
        seen += rows if size == "first" else rows[::-1]
        if not page["pageInfo"][more]:
            break
        at = page["pageInfo"][end]
        if page_number % 10 == 0:
            for shard in (LEGACY, NEW):
                await federation.run(shard, createdAt=START + timedelta(milliseconds=page_number * 7))

    old = [row for row in seen if row[1][1:].startswith(environment)]
    assert len(old) == len(set(old)) == 10_000
    assert len(seen) == len(set(seen))
    assert seen == sorted(seen, reverse=size == "first"), "bytes decide within a millisecond"
