"""Who may write what: every mutation, asked by every kind of credential, with an input that its owner may give.

What is refused changes no row. What is another tenant's is refused in the words for what does not exist.
"""

import asyncio
import base64
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import httpx
from graphql import get_named_type

from store import ids
from store.control_plane import CONTROL_PLANE
from store.federation import open_federation
from store.residency import LEGACY, NEW, ShardKey
from tests.conftest import over_shards, topology_of
from tests.federation import START, FederationUnderTest, Tenant, bearer, plant_tenant, public_token
from tests.schema.test_bad_writes import HELLO, SET, Given, Watch, document, filled, mutations

EVERYTHING = ("write:all", "*:all", "admin")


class Rule(NamedTuple):
    """An input, and what a credential of its environment must be allowed: scopes that are enough, and that are not."""

    mutation: str
    given: Given
    enough: tuple[str, ...]
    too_few: tuple[str, ...] = ()


HERE: Given = {"environmentId": "<environment>"}
A_CHILD = HERE | HELLO | {"parentRunId": "<parent>"}
WAITED_FOR = A_CHILD | {"resumeParentOnCompletion": True}
DATE = "2031-01-01T00:00:00Z"
OF_A_RUN = ("write:runs:<run>", "write:runs", "write:tasks:hello", "*:runs:<run>")
OF_NO_RUN = (
    "write:runs:<other run>",
    "read:runs:<run>",
    "write:tags",
    "write:batch",
    "trigger:tasks:hello",
    "admin:runs",
)
OF_A_TOKEN = ("write:waitpoints:<token>", "write:waitpoints")
OF_NO_TOKEN = ("write:waitpoints:<other token>", "read:waitpoints:<token>", "write:runs", "write:tasks:hello")
TWO_TASKS: Given = HERE | {"items": [{"task": "hello"}, {"task": "bye"}]}
RULES = [
    Rule(
        "triggerRun",
        HERE | HELLO,
        ("trigger:tasks:hello", "write:tasks:hello", "trigger:tasks", "write:tasks"),
        ("batchTrigger:tasks:hello", "trigger:tasks:other", "trigger:runs", "write:runs", "trigger:tasks:", "trigger"),
    ),
    Rule(
        "triggerRun",
        A_CHILD,
        ("trigger:tasks:hello read:runs:<parent>", "trigger:tasks:hello write:runs:<parent>", "write:tasks:hello"),
        ("trigger:tasks:hello", "trigger:tasks:hello read:runs:<other run>", "read:runs:<parent>"),
    ),
    Rule(
        "triggerRun",
        WAITED_FOR,
        ("trigger:tasks:hello write:runs:<parent>", "write:tasks:hello"),
        ("trigger:tasks:hello", "trigger:tasks:hello read:runs:<parent>", "write:runs:<parent>"),
    ),
    Rule(
        "triggerBatch",
        HERE | {"items": [HELLO, HELLO]},
        ("batchTrigger:tasks:hello", "write:tasks:hello", "batchTrigger:tasks"),
        ("trigger:tasks:hello", "batchTrigger:tasks:other", "write:batch", "batchTrigger:batch"),
    ),
    Rule(
        "triggerBatch",
        TWO_TASKS,
        ("batchTrigger:tasks:hello batchTrigger:tasks:bye", "batchTrigger:tasks:hello write:tasks:bye"),
        ("batchTrigger:tasks:hello", "batchTrigger:tasks:bye", "batchTrigger:tasks:hello trigger:tasks:bye"),
    ),
    Rule(
        "triggerBatch",
        HERE | {"items": [HELLO], "parentRunId": "<parent>", "resumeParentOnCompletion": True},
        ("batchTrigger:tasks:hello write:runs:<parent>",),
        ("batchTrigger:tasks:hello", "batchTrigger:tasks:hello read:runs:<parent>"),
    ),
    Rule("cancelRun", {"id": "<run>"}, OF_A_RUN, OF_NO_RUN),
    Rule("replayRun", {"id": "<run>"} | HERE, OF_A_RUN, OF_NO_RUN),
    Rule(
        "rescheduleRun",
        {"id": "<delayed>", "delay": "2h"},
        ("write:runs:<delayed>", "write:tasks:hello"),
        ("write:runs:<other run>", "read:runs:<delayed>"),
    ),
    Rule("addRunTags", {"id": "<run>", "tags": ["new"]}, OF_A_RUN, OF_NO_RUN),
    Rule("updateRunMetadata", {"id": "<run>", "rootOperations": [SET]}, OF_A_RUN, OF_NO_RUN),
    Rule(
        "resetIdempotencyKey",
        HERE | {"taskIdentifier": "hello", "key": "<key>"},
        ("write:runs", "write:tasks:hello"),
        ("write:runs:<other run>", "write:tasks:other", "read:runs"),
    ),
    Rule(
        "resetIdempotencyKey",
        {"runId": "<keyed>"},
        ("write:runs:<keyed>", "write:tasks:hello"),
        ("write:runs:<other run>", "read:runs:<keyed>"),
    ),
    Rule(
        "createWaitpointToken",
        HERE | {"tags": ["a"], "timeout": "1h"},
        ("write:waitpoints",),
        ("write:waitpoints:<other token>", "write:runs", "read:waitpoints"),
    ),
    Rule("completeWaitpointToken", {"id": "<token>", "data": 1}, OF_A_TOKEN, OF_NO_TOKEN),
    Rule(
        "skipDateTimeWaitpoint",
        {"id": "<time>"},
        ("write:waitpoints:<time>", "write:waitpoints"),
        ("write:waitpoints:<other token>", "write:runs", "write:tasks:hello"),
    ),
    Rule(
        "waitForWaitpointToken",
        {"runId": "<run>", "waitpointId": "<token>"},
        OF_A_RUN,
        (*OF_NO_RUN, "write:waitpoints:<token>"),
    ),
    Rule("waitForDuration", {"runId": "<run>", "date": DATE}, OF_A_RUN, (*OF_NO_RUN, "write:waitpoints")),
    Rule(
        "createBulkAction",
        HERE | {"action": "CANCEL", "runIds": ["<run>"]},
        ("write:runs",),
        ("write:runs:<run>", "write:tasks:hello", "read:runs"),
    ),
    Rule("abortBulkAction", {"id": "<bulk>"}, ("write:runs",), ("write:runs:<run>", "write:tasks:hello", "read:all")),
]


def test_of_every_mutation_it_is_said_who_may_do_it() -> None:
    missing = ", ".join(mutations().keys() - {rule.mutation for rule in RULES})
    assert not missing, f"say in RULES of tests/schema/test_mutation_access.py which scopes are enough for: {missing}"


class Case(NamedTuple):
    """A rule, with rows of its own."""

    rule: Rule
    given: Given
    known: dict[str, str]
    """The ids of its rows, by their names."""

    def scopes(self, text: str) -> list[str]:
        """Return scopes that name those rows."""
        others = {"other run": "run_x", "other token": "waitpoint_x", **self.known}
        return [re.sub("<(.+?)>", lambda match: others[match[1]], scope) for scope in re.split(" (?![^<]*>)", text)]


async def case_of(federation: FederationUnderTest, rule: Rule, shard: ShardKey) -> Case:
    known: dict[str, str] = {}
    for name in re.findall("<(.+?)>", " ".join((*rule.enough, *rule.too_few))):
        if not name.startswith("other"):
            await filled(federation, shard, f"<{name}>", known)
    return Case(rule, await filled(federation, shard, rule.given, known), known)


async def cases(federation: FederationUnderTest) -> list[Case]:
    """Return all rules with rows of their own, on one shard after the other."""
    shards = federation.shards
    return [await case_of(federation, rule, shards[at % len(shards)]) for at, rule in enumerate(RULES)]


async def post(client: httpx.AsyncClient, headers: dict[str, str], case: Case, **given: Any) -> httpx.Response:
    body = {"query": document(case.rule.mutation), "variables": {"input": case.given | given}}
    return await client.post("/graphql", json=body, headers=headers)


async def payload_of(client: httpx.AsyncClient, headers: dict[str, str], case: Case) -> Any:
    """Return the payload of a mutation, and its errors apart from those of fields that may not be read."""
    body = (await post(client, headers, case)).json()
    assert all(error["extensions"]["code"] == "FORBIDDEN" for error in body.get("errors", ())), body
    return body["data"][case.rule.mutation]


def nowhere(case: Case) -> Given:
    """Return the input with ids of the same shapes that nothing has."""
    text = json.dumps(case.given)
    for id_ in case.known.values():
        body = id_.partition("_")[2]
        if body:
            text = text.replace(body, ids.mint_cuid() if body.startswith("c") else ids.mint_v1())
    given: Given = json.loads(text)
    return given


def without_ids(text: str, case: Case, given: Given) -> str:
    """Return an answer in which the ids of an input are named by their place."""
    values = sorted(set(re.findall("[a-z]+_[0-9a-z]{25,26}", json.dumps(given))), key=len)
    for value in values:
        text = text.replace(value, "<an id>")
    assert not any(value in text for value in case.known.values() if "_" in value)
    return text


@over_shards(1, 2)
async def test_what_is_anothers_is_refused_as_what_is_nowhere_and_nothing_is_written(
    federation: FederationUnderTest,
) -> None:
    mine, connection = federation.tenant, federation.connections[CONTROL_PLANE]
    beside = await federation.environment()
    foreign = await plant_tenant(connection)
    _, stranger = await replace(federation, tenant=foreign).member()
    ex, ex_member = await federation.member()
    await connection.execute('DELETE FROM "OrgMember" WHERE "userId" = $1', ex)
    sibling = Tenant(beside, mine.project_id, mine.organization_id, f"tr_prod_{beside[1:]}", mine.slugs)
    askers = {
        "a key of another organization": bearer(foreign.api_key),
        "a key of an environment beside": bearer(sibling.api_key),
        "a member of another organization": bearer(stranger),
        "somebody who was a member": bearer(ex_member),
        "a public token of another organization": bearer(public_token(foreign, "admin")),
        "a public token of an environment beside": bearer(public_token(sibling, "write:all", "trigger:all", "*:all")),
    }
    watch = Watch(federation, mine, foreign, sibling)
    everything = await cases(federation)
    before = await watch.rows()
    async with federation.client() as client:
        for case in everything:
            for name, headers in askers.items():
                absent = nowhere(case)
                response = await post(client, headers, case)
                missing = await post(client, headers, case, **absent)
                body = response.json()
                (error,) = body["data"][case.rule.mutation]["userErrors"]
                assert error["code"] == "NOT_FOUND", (name, case.rule, error)
                assert error["path"], (name, case.rule, error)
                assert without_ids(response.text, case, case.given) == without_ids(missing.text, case, absent), name
    assert await watch.rows() == before


async def test_a_credential_that_goes_less_far_is_refused_and_nothing_is_written(
    federation: FederationUnderTest,
) -> None:
    mine = federation.tenant
    stranger = await plant_tenant(federation.connections[CONTROL_PLANE])
    watch, everything = Watch(federation, mine), await cases(federation)
    before = await watch.rows()
    refused = {
        "nobody": {},
        "an empty credential": {"Authorization": ""},
        "an unknown key": bearer(f"tr_prod_{ids.mint_cuid()[1:]}"),
        "an expired token": bearer(public_token(mine, "admin", exp=1)),
        "a token that another signed": bearer(public_token(mine, "admin", key=stranger.api_key)),
        "a token that says nothing of its end": bearer(public_token(mine, "admin", exp=None)),
    }
    async with federation.client() as client:
        for case in everything:
            for name, headers in refused.items():
                response = await post(client, headers, case)
                assert response.status_code == 401, (name, case.rule, response.text)
            for scopes in ("", "read:all", "read:runs", "write", "write:", ":all", "write:nothing", *case.rule.too_few):
                payload = await payload_of(client, bearer(public_token(mine, *case.scopes(scopes))), case)
                (error,) = payload.pop("userErrors")
                assert error["code"] == "FORBIDDEN", (scopes, case.rule, error)
                assert error["__typename"] == "ForbiddenError"
                assert not any(payload.values()), (scopes, payload)
    assert await watch.rows() == before


async def test_what_is_enough_is_enough(federation: FederationUnderTest) -> None:
    _, member = await federation.member()
    async with federation.client() as client:
        for number, rule in enumerate(RULES):
            for scopes in (None, "member", *EVERYTHING, *rule.enough):
                case = await case_of(federation, rule, (LEGACY, NEW)[number % 2])
                token = public_token(federation.tenant, *case.scopes(scopes or ""))
                credential = {None: federation.tenant.api_key, "member": member}.get(scopes, token)
                payload = await payload_of(client, bearer(credential), case)
                assert payload["userErrors"] == [], (rule, scopes, payload)


SHOWN = {
    "run": ("run { id status tags payload { json } }", {"payload"}),
    "batch": ("batch { id createdAt idempotencyKey }", {"idempotencyKey"}),
    "waitpoint": ("waitpoint { id createdAt output { json } }", {"output"}),
    "bulkAction": ("bulkAction { id createdAt name }", {"name"}),
}
"""Of what a mutation answers with, what is asked for, and what of it is not in a summary."""


MAKING = ("trigger", "create", "replay", "waitForDuration")


async def test_who_writes_without_reading_is_shown_a_summary_and_the_write_is_done(
    federation: FederationUnderTest,
) -> None:
    watch, asked = Watch(federation, federation.tenant), set()
    async with federation.client() as client:
        for rule in RULES:
            case = await case_of(federation, rule, NEW)
            before = await watch.rows()
            part = next((one for one in SHOWN if one in payload_fields(rule.mutation)), "count")
            query, hidden = SHOWN.get(part, ("count", set[str]()))
            body = {"query": document(rule.mutation, query), "variables": {"input": case.given}}
            headers = bearer(public_token(federation.tenant, *case.scopes(rule.enough[0])))
            answer = (await client.post("/graphql", json=body, headers=headers)).json()

            payload, errors = answer["data"][rule.mutation], answer.get("errors", [])
            assert payload["userErrors"] == [], (rule, answer)
            if part == "waitpoint" and any("waitpoints" in scope for scope in case.scopes(rule.enough[0])):
                hidden = set()  # who may complete a token may look at it
            assert {error["path"][-1] for error in errors} == hidden, (rule, answer)
            assert all(error["extensions"] == {"code": "FORBIDDEN"} for error in errors), (rule, answer)
            if part != "count":
                assert payload[part].keys() - hidden >= {"id"}, (rule, answer)
                assert payload[part]["id"].endswith(tuple(case.known.values())) or rule.mutation.startswith(MAKING)
            assert await watch.rows() != before, rule
            asked.add(part)
    assert asked == {*SHOWN, "count"}


def payload_fields(name: str) -> Mapping[str, Any]:
    kind: Any = get_named_type(mutations()[name].type)
    fields: Mapping[str, Any] = kind.fields
    return fields


async def test_no_public_token_is_given_another(federation: FederationUnderTest) -> None:
    query = document("createWaitpointToken", "publicAccessToken waitpoint { id callbackUrl }")
    for headers, is_shown in (
        (bearer(public_token(federation.tenant, "write:waitpoints")), False),
        (bearer(public_token(federation.tenant, "admin")), False),
        (bearer(federation.tenant.api_key), True),
    ):
        body = await federation.answer(query, headers=headers, input={})
        payload = body["data"]["createWaitpointToken"]
        assert (payload["publicAccessToken"] is not None) is is_shown
        assert (payload["waitpoint"]["callbackUrl"] is not None) is is_shown
        codes = [error["extensions"]["code"] for error in body.get("errors", ())]
        assert codes == ([] if is_shown else ["FORBIDDEN"] * 2)


async def test_who_writes_to_a_run_writes_to_its_parent_only_if_told(federation: FederationUnderTest) -> None:
    for shard in federation.shards:
        parent = await federation.run(shard)
        child = await federation.run(shard, parentTaskRunId=parent, rootTaskRunId=parent)
        watch = Watch(federation, federation.tenant)
        before = await watch.rows()
        given = {"id": f"run_{child}", "operations": [SET]}
        query = document("updateRunMetadata")
        for which in ("parentOperations", "rootOperations"):
            for scopes, code in (
                ([f"write:runs:run_{child}"], "FORBIDDEN"),
                ([f"write:runs:run_{child}", f"read:runs:run_{parent}"], "FORBIDDEN"),
                ([f"write:runs:run_{child}", f"write:runs:run_{parent}"], None),
            ):
                headers = bearer(public_token(federation.tenant, *scopes))
                body = await federation.answer(query, headers=headers, input=given | {which: [SET]})
                errors = body["data"]["updateRunMetadata"]["userErrors"]
                assert [error["code"] for error in errors] == ([] if code is None else [code])
                after = await watch.rows()
                assert (after == before) is (code is not None)
                before = after


AS_THE_PLATFORM = {("replayRun", "archived"): "Can't replay a run on an archived environment"}


async def test_a_member_writes_where_runs_can_be_and_says_where(federation: FederationUnderTest) -> None:
    _, member = await federation.member()
    other, _ = await federation.member()
    seat = await federation.connections[CONTROL_PLANE].fetchval('SELECT id FROM "OrgMember" WHERE "userId" = $1', other)
    places = {
        "archived": (await federation.environment(archivedAt=START), "INVALID_STATE", "the environment is archived"),
        "a preview's root": (
            await federation.environment(type="PREVIEW", isBranchableEnvironment=True),
            "INVALID_STATE",
            "a preview's runs are in its branches: name one of them",
        ),
        "another member's": (
            await federation.environment(type="DEVELOPMENT", orgMemberId=seat),
            "NOT_FOUND",
            "Environment not found",
        ),
        "nowhere": (ids.mint_cuid(), "NOT_FOUND", "Environment not found"),
    }
    watch = Watch(federation, federation.tenant)
    run = f"run_{await federation.run(LEGACY)}"
    inputs = {
        "triggerRun": HELLO,
        "triggerBatch": {"items": [HELLO]},
        "createWaitpointToken": {},
        "resetIdempotencyKey": {"taskIdentifier": "hello", "key": "a"},
        "createBulkAction": {"action": "CANCEL", "runIds": [run]},
        "replayRun": {"id": run},
    }
    before = await watch.rows()
    for name, given in inputs.items():
        for where, (environment_id, code, sentence) in places.items():
            input_ = given | {"environmentId": f"env_{environment_id}"}
            body = await federation.answer(document(name), key=member, input=input_)
            (error,) = body["data"][name]["userErrors"]
            said = AS_THE_PLATFORM.get((name, where), sentence)
            assert (error["code"], error["message"]) == (code, said), (name, where)
            assert error["path"] == ["input", "environmentId"]
        if name != "replayRun":
            body = await federation.answer(document(name), key=member, input=given)
            (error,) = body["data"][name]["userErrors"]
            assert error["message"] == "say which environment: this credential is no environment's own"
            assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", "environmentId"])
    assert await watch.rows() == before


async def test_no_run_or_parent_is_moved_into_another_environment(federation: FederationUnderTest) -> None:
    """Also not by somebody who may write to both."""
    user, member = await federation.member()
    beside = await federation.environment()
    foreign = await plant_tenant(federation.connections[CONTROL_PLANE])
    row = {"id": ids.mint_cuid(), "userId": user, "organizationId": foreign.organization_id}
    await federation.insert(CONTROL_PLANE, "OrgMember", {**row, "createdAt": START, "updatedAt": START})
    sibling = replace(federation.tenant, environment_id=beside)
    watch = Watch(federation, federation.tenant, sibling, foreign)
    for shard in federation.shards:
        run, token = f"run_{await federation.run(shard, status='EXECUTING')}", await federation.waitpoint(shard)
        before = await watch.rows()
        for given, code in (
            ({"parentRunId": run, "environmentId": f"env_{beside}"}, "NOT_FOUND"),
            ({"parentRunId": run, "environmentId": f"env_{foreign.environment_id}"}, "NOT_FOUND"),
        ):
            body = await federation.answer(document("triggerRun"), key=member, input=HELLO | given)
            (error,) = body["data"]["triggerRun"]["userErrors"]
            assert (error["code"], error["message"]) == (code, "Parent run not found")
        given = {"id": run, "environmentId": f"env_{foreign.environment_id}"}
        body = await federation.answer(document("replayRun"), key=member, input=given)
        (error,) = body["data"]["replayRun"]["userErrors"]
        assert error["message"] == "Cannot replay a run into an environment outside its project"
        theirs = f"run_{await replace(federation, tenant=foreign).run(shard, status='EXECUTING')}"
        before = await watch.rows()
        given = {"runId": theirs, "waitpointId": f"waitpoint_{token}"}
        body = await federation.answer(document("waitForWaitpointToken"), key=member, input=given)
        (error,) = body["data"]["waitForWaitpointToken"]["userErrors"]
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["input", "waitpointId"])
        assert await watch.rows() == before


async def test_a_bulk_action_on_anothers_runs_touches_none(federation: FederationUnderTest) -> None:
    foreign = await plant_tenant(federation.connections[CONTROL_PLANE])
    runs = [f"run_{await federation.run(shard)}" for shard in federation.shards]
    watch = Watch(federation, federation.tenant)
    before = await watch.rows()
    writing = federation.federation.writing
    assert writing is not None
    for action in ("CANCEL", "REPLAY"):
        given = {"action": action, "runIds": runs}
        body = await federation.answer(document("createBulkAction"), key=foreign.api_key, input=given)
        id_ = ids.body(body["data"]["createBulkAction"]["bulkAction"]["id"])
        (one,) = [pending for pending in await writing.bulk.pending() if pending.id == id_]
        assert not await writing.bulk.carry_on(one)
    after = await watch.rows()
    changed = {table for table, rows in after.items() if before[table] != rows}
    assert {table for _, table in changed} == {"BulkActionGroup"}


def altered(token: str) -> list[str]:
    """Return other spellings of a token's signature: a last character has bits that mean nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    signature = token.rpartition(".")[2]
    raw = base64.urlsafe_b64decode(signature + "==")
    others = [token[:-1] + letter for letter in alphabet if letter != token[-1]]
    return [one for one in others if base64.urlsafe_b64decode(one.rpartition(".")[2] + "==") == raw]


def once(federation: FederationUnderTest, **claims: Any) -> str:
    scopes = ("trigger:tasks:hello", "batchTrigger:tasks:hello", "read:runs")
    return public_token(federation.tenant, *scopes, otu=True, jti=ids.mint_cuid(), **claims)


async def triggered(federation: FederationUnderTest, token: str, name: str = "triggerRun", **given: Any) -> str | None:
    """Return why nothing was triggered, or None."""
    body = await federation.answer(document(name), headers=bearer(token), input=given)
    errors = body["data"][name]["userErrors"]
    return errors[0]["message"] if errors else None


USED = "Cannot trigger with a one-time use token as it has already been used."


@over_shards(1, 2, 3)
async def test_a_one_time_token_triggers_once_over_all_shards(federation: FederationUnderTest) -> None:
    parents = [f"run_{await federation.run(shard)}" for shard in federation.shards]
    for parent in parents:
        token = once(federation)
        assert await triggered(federation, token, **HELLO, parentRunId=parent) is None
        for other in (*parents, None):
            assert await triggered(federation, token, **HELLO, parentRunId=other) == USED
            assert await triggered(federation, token, "triggerBatch", items=[HELLO], parentRunId=other) == USED
    token = once(federation)
    async with federation.client() as client:
        body = {"query": document("triggerRun"), "variables": {"input": HELLO}}
        answers = await asyncio.gather(*(client.post("/graphql", json=body, headers=bearer(token)) for _ in range(6)))
    errors = [answer.json()["data"]["triggerRun"]["userErrors"] for answer in answers]
    assert sorted(len(error) for error in errors) == [0, 1, 1, 1, 1, 1]


async def test_a_one_time_token_has_one_spelling(federation: FederationUnderTest) -> None:
    token = once(federation)
    assert await triggered(federation, token, **HELLO) is None
    assert altered(token)
    for other in altered(token):
        async with federation.client() as client:
            body = {"query": document("triggerRun"), "variables": {"input": HELLO}}
            answer = await client.post("/graphql", json=body, headers=bearer(other))
        assert answer.status_code == 401 or answer.json()["data"]["triggerRun"]["userErrors"], "it triggered twice"


async def test_a_one_time_token_makes_runs_once_whatever_keys_find(federation: FederationUnderTest) -> None:
    """An item that is there already leaves the token to the items that are made."""
    key = ids.mint_cuid()
    await federation.ask(document("triggerRun"), input=HELLO | {"idempotencyKey": key})
    token, items = once(federation), [HELLO | {"idempotencyKey": key}, HELLO]
    assert await triggered(federation, token, "triggerBatch", items=items) is None
    assert await triggered(federation, token, "triggerBatch", items=items) == USED


READ = "query ($id: ID!) { run(id: $id) { id } environment { id } }"


async def test_where_nothing_is_written_every_mutation_says_so(
    federation: FederationUnderTest, urls: dict[ShardKey, str]
) -> None:
    watch = Watch(federation, federation.tenant)
    everything = await cases(federation)
    run = f"run_{await federation.run(NEW)}"
    before = await watch.rows()
    async with open_federation(topology_of(urls, federation.shards), writes="off") as opened:
        here = replace(federation, federation=opened)
        async with here.client() as client:
            for case in everything:
                body = (await post(client, bearer(federation.tenant.api_key), case)).json()
                (error,) = body["errors"]
                assert body["data"] == {case.rule.mutation: None}
                assert error["path"] == [case.rule.mutation]
                assert error["message"] == "these databases are read only here"
                assert error["extensions"].keys() == {"code", "hint"}
                assert error["extensions"]["code"] == "READ_ONLY"
                assert "RUNATLAS_WRITES=postgres" in error["extensions"]["hint"]
        data = await here.ask(READ, id=run)
        assert data == {"run": {"id": run}, "environment": {"id": f"env_{federation.tenant.environment_id}"}}
    assert await watch.rows() == before


TEXT = {"content-type": "text/plain"}


async def test_no_address_writes(federation: FederationUnderTest) -> None:
    """A link, an image or a form of another site is such a request."""
    watch, everything = Watch(federation, federation.tenant), await cases(federation)
    before = await watch.rows()
    async with federation.client() as client:
        for case in everything:
            query = {"query": document(case.rule.mutation), "variables": json.dumps({"input": case.given})}
            headers = bearer(federation.tenant.api_key)
            for response in (
                await client.get("/graphql", params=query, headers=headers),
                await client.post("/graphql", data=query, headers=headers),
                await client.post("/graphql", content=json.dumps(query), headers=headers | TEXT),
            ):
                assert response.status_code >= 400, response.text
    assert await watch.rows() == before


async def test_an_additional_key_writes_as_far_as_its_scopes_go(with_additional_keys: FederationUnderTest) -> None:
    federation = with_additional_keys
    reader, writer = [await federation.additional_key(scopes=[scope]) for scope in ("read:all", "write:all")]
    watch, everything = Watch(federation, federation.tenant), await cases(federation)
    before = await watch.rows()
    async with federation.client() as client:
        for case in everything:
            (error,) = (await payload_of(client, bearer(reader), case))["userErrors"]
            assert error["code"] == "FORBIDDEN", (case.rule, error)
        assert await watch.rows() == before
        for case in everything:
            assert (await payload_of(client, bearer(writer), case))["userErrors"] == [], case.rule
