"""Who sees what: every field and argument of the schema, asked by every kind of asker, over rows that are marked.

The queries are made from the schema, so a new field is asked for without being written here; whether it may be read
with a summary of a row, or by the public, must be said in `tests/data/access.csv`.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    get_named_type,
    is_required_argument,
)

from schema.api import schema
from store import ids
from store.control_plane import CONTROL_PLANE
from tests.canaries import Place, plant_place
from tests.federation import FederationUnderTest, Tenant, bearer, environment_row, plant_tenant, public_token

CORE = schema._schema  # noqa: SLF001  strawberry offers no other way to its result
ACCESS = Path(__file__).parents[1] / "data" / "access.csv"
Objects = GraphQLObjectType | GraphQLInterfaceType


def objects() -> dict[str, Objects]:
    """Return the types of objects that a query can reach, by name: what mutations answer is theirs to prove."""
    reached: dict[str, Objects] = {}
    wanted: list[Any] = [CORE.query_type]
    while wanted:
        kind = get_named_type(wanted.pop())
        if isinstance(kind, Objects) and kind.name not in reached:
            reached[kind.name] = kind
            wanted += [field.type for field in kind.fields.values()]
            if isinstance(kind, GraphQLInterfaceType):
                wanted += CORE.get_possible_types(kind)
    return reached


def selection(kind: Any, depth: int, seen: set[str]) -> str:
    """Return everything that can be selected of a type without arguments, some levels down, and note what that is."""
    kind = get_named_type(kind)
    parts = []
    for name, field in kind.fields.items():
        if any(is_required_argument(argument) for argument in field.args.values()):
            continue
        inner = get_named_type(field.type)
        if isinstance(inner, GraphQLScalarType | GraphQLEnumType):
            parts.append(name)
        elif isinstance(inner, Objects) and (depth or name in ("nodes", "node", "pageInfo")):
            below = selection(inner, depth - 1 if depth else 0, seen) if depth else "__typename"
            parts.append(f"{name} {{ {below} }}")
        else:
            continue
        seen.add(f"{kind.name}.{name}")
    return " ".join(parts) or "__typename"


def by_field(kind: Objects, seen: set[str]) -> Iterator[str]:
    """Yield what is asked of a type: its plain fields together, and each other field with what is below it."""
    plain = []
    for name, field in kind.fields.items():
        if any(is_required_argument(argument) for argument in field.args.values()):
            continue
        inner = get_named_type(field.type)
        seen.add(f"{kind.name}.{name}")
        if isinstance(inner, Objects):
            yield f"{name} {{ {selection(inner, 1, seen)} }}"
        else:
            plain.append(name)
    yield " ".join(plain) or "__typename"


@dataclass
class Asker:
    """Somebody with a credential, and whose rows they may see."""

    headers: dict[str, str]
    sees: tuple[str, ...]
    is_refused: bool = False
    is_limited: bool = False
    hidden: tuple[str, ...] = ()
    """Marks of rows that they see, and that the scopes of their credential do not reach."""


@dataclass
class World:
    """Three places: one's own, another of the same project, and another organization's."""

    federation: FederationUnderTest
    places: dict[str, Place]
    askers: dict[str, Asker]

    def token(self, place: str, *scopes: str, key: str | None = None, **claims: Any) -> dict[str, str]:
        return bearer(public_token(self.places[place].tenant, *scopes, key=key, **claims))


async def plant_world(federation: FederationUnderTest) -> World:
    """Plant the places and the askers."""
    mine = federation.tenant
    connection = federation.connections[CONTROL_PLANE]
    row = environment_row(ids.mint_cuid(), mine.project_id, mine.organization_id)
    await federation.insert(CONTROL_PLANE, "RuntimeEnvironment", row)
    beside = Tenant(row["id"], mine.project_id, mine.organization_id, row["apiKey"], (*mine.slugs[:2], row["slug"]))
    foreign = await plant_place(federation, f"foreign-{ids.mint_cuid()}", await plant_tenant(connection), None)
    places = {
        "foreign": foreign,
        "beside": await plant_place(federation, f"beside-{ids.mint_cuid()}", beside, foreign),
        "own": await plant_place(federation, f"own-{ids.mint_cuid()}", mine, foreign),
    }
    for place, tenant in (("foreign", foreign.tenant), ("own", mine)):
        places[place].marks |= {tenant.project_id, tenant.organization_id} if place == "foreign" else set()
    _, member = await federation.member()
    ex, ex_member = await federation.member()
    await connection.execute('DELETE FROM "OrgMember" WHERE "userId" = $1', ex)
    old, older = f"tr_prod_{ids.mint_cuid()[1:]}", f"tr_prod_{ids.mint_cuid()[1:]}"
    for key, expires in ((old, "interval '1 day'"), (older, "- interval '1 second'")):
        await connection.execute(
            f"""INSERT INTO "RevokedApiKey" (id, "apiKey", "runtimeEnvironmentId", "expiresAt")
                VALUES ($1, $2, $3, timezone('utc', now()) + {expires})""",  # noqa: S608  two constants
            ids.mint_cuid(),
            key,
            mine.environment_id,
        )
    world = World(federation, places, {})
    own = places["own"]
    run = own.rows["Run"][0]
    world.askers = {
        "nobody": Asker({"Authorization": ""}, (), is_refused=True),
        "key": Asker(bearer(mine.api_key), ("own",)),
        "key that was rotated and is in grace": Asker(bearer(old), ("own",)),
        "key whose grace is over": Asker(bearer(older), (), is_refused=True),
        "key of another environment": Asker(bearer(beside.api_key), ("beside",)),
        "key of another organization": Asker(bearer(foreign.tenant.api_key), ("foreign",)),
        "public token of everything": Asker(world.token("own", "read:all"), ("own",)),
        "public token of one run": Asker(
            world.token("own", f"read:runs:{run}"), ("own",), is_limited=True, hidden=(own.far,)
        ),
        "public token of something else": Asker(
            world.token("own", "read:deployments"), ("own",), is_limited=True, hidden=(own.mark, own.far)
        ),
        "public token that has expired": Asker(world.token("own", "read:all", exp=1), (), is_refused=True),
        "public token that another signed": Asker(
            world.token("own", "read:all", key=foreign.tenant.api_key), (), is_refused=True
        ),
        "member": Asker(bearer(member), ("own", "beside")),
        "ex-member": Asker(bearer(ex_member), ()),
    }
    return world


async def post(client: httpx.AsyncClient, asker: Asker, query: str, variables: dict[str, Any] | None = None) -> Any:
    return await client.post("/graphql", json={"query": query, "variables": variables or {}}, headers=asker.headers)


def leaks(world: World, asker: Asker, text: str) -> list[str]:
    """Return the marks of places in an answer that are not the asker's to see."""
    return [f"out of scope: {mark}" for mark in asker.hidden if mark in text] + [
        f"{name}: {mark}"
        for name, place in world.places.items()
        if name not in asker.sees
        for mark in place.marks
        if mark in text
    ]


class Question(NamedTuple):
    """What is asked, and of which row, if it is one of the place's own that has an id."""

    query: str
    id: str | None = None
    kind: str | None = None


def questions(place: Place, seen: set[str]) -> Iterator[Question]:
    """Yield everything that can be asked about a place. Documents that differ in an id alone are one."""
    tenant = place.tenant
    around = {"Project": f"project_{tenant.project_id}", "Organization": f"org_{tenant.organization_id}"}
    for kind in (*place.rows, *around):
        for part in by_field(objects()[kind], seen):
            query = f"query ($id: ID!) {{ node(id: $id) {{ ... on {kind} {{ {part} }} }} }}"
            yield from (Question(query, id_, kind) for id_ in place.rows.get(kind, ()))
            yield from (Question(query, id_) for id_ in (around.get(kind),) if id_)
    for query in by_argument("Query", "{ %s }", 2, place, seen):
        yield Question(query)
    for query in by_argument("Environment", "{ environment { %s } }", 1, place, seen):
        yield Question(query)
    seen.add("Project.environment")
    project = f'organizationSlug: "{tenant.slugs[0]}", slug: "{tenant.slugs[1]}"'
    yield Question(f'{{ project({project}) {{ environment(slug: "{tenant.slugs[2]}") {{ id slug }} }} }}')


def by_argument(kind: str, around: str, depth: int, place: Place, seen: set[str]) -> Iterator[str]:
    """Yield every field of a type with each of the arguments that name something of a place."""
    for name, field in objects()[kind].fields.items():
        for arguments in arguments_of(field, place):
            inner = get_named_type(field.type)
            below = f" {{ {selection(inner, depth, seen)} }}" if isinstance(inner, Objects) else ""
            seen.add(f"{kind}.{name}")
            yield around % f"{name}{arguments}{below}"


def arguments_of(field: GraphQLField, place: Place) -> Iterator[str]:
    """Yield the ways in which a field can be asked for what is in a place."""
    tenant, names = place.tenant, set(field.args)
    organization, project, slug = tenant.slugs
    every = [id_ for ids_ in place.rows.values() for id_ in ids_]
    ways = {
        "id": [f'(id: "{id_}")' for id_ in place.rows.get(get_named_type(field.type).name) or every],
        "ids": [f"(ids: {json.dumps(every[:100])})"],
        "traceId": [f'(traceId: "{place.mark}")'],
        "projectSlug": [f'(organizationSlug: "{organization}", projectSlug: "{project}", slug: "{slug}")'],
        "ref": [
            f'(organizationSlug: "{organization}", {named})'
            for named in (f'ref: "proj_{tenant.project_id}"', f'slug: "{project}"')
        ],
        "slug": [f'(slug: "{organization}")'] if names == {"slug"} else [],
        "name": [f'(name: "{place.mark[:12]}")'],
        "filter": [f"(filter: {{ {name}: {value} }})" for name, value in filters_of(field, place)],
    }
    yield from (way for name in sorted(names) for way in ways.get(name, []))
    if not any(is_required_argument(argument) for argument in field.args.values()):
        yield ""


def filters_of(field: GraphQLField, place: Place) -> Iterator[tuple[str, str]]:
    """Yield a value of every field of a field's filter, if it has one, that names something of a place."""
    kind = get_named_type(field.args["filter"].type) if "filter" in field.args else None
    if not isinstance(kind, GraphQLInputObjectType):
        return
    mark, rows = json.dumps(place.mark), place.rows
    special = {
        "batch": rows["Batch"][0],
        "schedule": f"sched_{place.keys['schedule']}",
        "bulkAction": rows["BulkAction"][0],
    }
    for name, given in kind.fields.items():
        inner = get_named_type(given.type)
        if isinstance(inner, GraphQLEnumType):
            label = next(value for value in inner.values if value != "UNKNOWN")
            yield name, f"[{label}]"
        elif name == "runIds":
            yield name, json.dumps(rows["Run"])
        elif name == "id":
            yield name, json.dumps(rows[kind.name.removesuffix("Filter")][0])
        elif name in special:
            yield name, json.dumps(special[name])
        elif inner.name == "Boolean":
            yield name, "true"
        elif inner.name == "TimeRange":
            yield name, '{ period: "52w" }'
        else:
            yield name, f"[{mark}]" if "[" in str(given.type) else mark


async def test_an_answer_holds_nothing_but_the_askers_own(federation: FederationUnderTest) -> None:
    world = await plant_world(federation)
    seen: set[str] = set()
    leaked: list[str] = []
    asked = shown = 0
    everything = [(question, where) for where, place in world.places.items() for question in questions(place, seen)]
    everything.sort(key=lambda asked: asked[0].query)  # what is decided of a document is remembered for a while
    async with federation.client() as client:
        for name, asker in world.askers.items():
            if asker.is_refused:
                response = await post(client, asker, "{ environment { id } }")
                assert response.status_code == 401, name
                assert not leaks(world, asker, response.text)
        for (query, id_, kind), where in everything:
            for name, asker in world.askers.items():
                if asker.is_refused:
                    continue
                response = await post(client, asker, query, {"id": id_} if id_ else {})
                body, asked = response.json(), asked + 1
                assert response.status_code == 200, (name, query, response.text)
                codes = {error["extensions"]["code"] for error in body.get("errors", ())}
                assert codes <= {"FORBIDDEN", "NOT_FOUND", "BAD_USER_INPUT"}, (name, query, body)
                leaked += [f"{name} asked {query} and saw {leak}" for leak in leaks(world, asker, response.text)]
                if kind and where in asker.sees and not asker.is_limited:
                    assert body["data"]["node"] is not None, (name, query, body)
                    shown += world.places[where].mark in response.text or world.places[where].far in response.text
    assert not leaked, leaked[:20]
    assert asked > 2_000
    assert shown > 200, "the marks are seen by whom they belong to"
    fields = {f"{name}.{field}" for name, kind in objects().items() if name != "Node" for field in kind.fields}
    assert fields - seen == set(), "fields that no query asked for"


def rules() -> dict[str, str]:
    """Return what is said of every field: who may read it, of a row that the asker sees."""
    with ACCESS.open(encoding="utf-8") as file:
        return {row["field"]: row["rule"] for row in csv.DictReader(file)}


def test_it_is_said_of_every_field_who_may_read_it() -> None:
    everything = {
        f"{name}.{field}" for name, kind in objects().items() if name not in ("Node", "Query") for field in kind.fields
    }
    assert set(rules()) == everything
    assert set(rules().values()) == {"row", "full", "runs or tasks", "batch or runs", "runs", "waitpoints", "secret"}


SUMMARIZED = {"Run": 0, "Batch": 0, "Waitpoint": 0}


@pytest.mark.parametrize("kind", SUMMARIZED)
async def test_a_summary_shows_what_is_said_of_it_and_refuses_the_rest(
    federation: FederationUnderTest, kind: str
) -> None:
    """A token of one run reaches others through it: their summaries, and nothing else."""
    world = await plant_world(federation)
    own = world.places["own"]
    run, (parent, child) = own.rows["Run"][0], own.relatives[:2]
    path = {
        "Run": f'run(id: "{run}") {{ it: parentRun {{ PART }} }}',
        "Batch": f'run(id: "{run}") {{ it: batch {{ PART }} }}',
        "Waitpoint": f'run(id: "{run}") {{ blockedBy {{ it: waitpoint {{ PART }} }} }}',
    }[kind]
    asker = Asker(world.token("own", f"read:runs:{run}"), ("own",))
    said = {field.partition(".")[2]: rule for field, rule in rules().items() if field.startswith(f"{kind}.")}
    type_ = CORE.type_map[kind]
    assert isinstance(type_, GraphQLObjectType)
    async with federation.client() as client:
        for name, field in type_.fields.items():
            inner = get_named_type(field.type)
            part = f"{name} {{ __typename }}" if isinstance(inner, Objects) else name
            body = (await post(client, asker, f"{{ {path.replace('PART', part)} }}")).json()
            codes = [error["extensions"]["code"] for error in body.get("errors", ())]
            assert codes == ([] if said[name] == "row" else ["FORBIDDEN"]), (name, body)
        for id_ in (parent, child):
            body = (await post(client, asker, f'{{ run(id: "{id_}") {{ id }} }}')).json()
            assert body["errors"][0]["extensions"] == {"code": "FORBIDDEN"}, "it is in the environment, out of scope"


async def test_an_environments_lists_need_the_scopes_that_are_said(federation: FederationUnderTest) -> None:
    world = await plant_world(federation)
    said = {
        field.partition(".")[2]: rule
        for field, rule in rules().items()
        if field.startswith("Environment.") and rule != "row"
    }
    assert len(said) == 7
    type_ = CORE.type_map["Environment"]
    assert isinstance(type_, GraphQLObjectType)
    async with federation.client() as client:
        for name, rule in said.items():
            inner = get_named_type(type_.fields[name].type)
            part = f"{name} {{ __typename }}" if isinstance(inner, Objects) else name
            for scope in ("runs", "tasks", "batch", "waitpoints", "tags", "deployments"):
                asker = Asker(world.token("own", f"read:{scope}"), ("own",))
                body = (await post(client, asker, f"{{ environment {{ {part} }} }}")).json()
                refused = [error["extensions"]["code"] for error in body.get("errors", ())]
                assert refused == ([] if scope in rule.split(" or ") else ["FORBIDDEN"]), (name, scope, body)


async def test_an_attempt_is_shown_with_its_run_or_not_at_all(federation: FederationUnderTest) -> None:
    world = await plant_world(federation)
    own = world.places["own"]
    query = "query ($id: ID!) { node(id: $id) { ... on Attempt { output { json } error { message } } } }"
    async with federation.client() as client:
        for scopes in ([], ["read:deployments"], [f"read:runs:{own.rows['Run'][1]}"]):
            asker = Asker(bearer(public_token(own.tenant, *scopes)), ())
            body = (await post(client, asker, query, {"id": own.rows["Attempt"][0]})).json()
            assert body["data"] == {"node": None}
            assert body["errors"][0]["extensions"] == {"code": "FORBIDDEN"}
        asker = Asker(bearer(public_token(own.tenant, f"read:runs:{own.rows['Run'][0]}")), ())
        body = (await post(client, asker, query, {"id": own.rows["Attempt"][0]})).json()
        assert body["data"]["node"]["output"] == {"json": own.mark}


async def test_a_token_of_one_run_is_not_told_of_others_and_none_of_people(federation: FederationUnderTest) -> None:
    world = await plant_world(federation)
    run = world.places["own"].rows["Run"][0]
    query = """query ($id: ID!) { runDebug(id: $id) { engine queueCurrentConcurrency envCurrentConcurrency }
      run(id: $id) { bulkActions { user { email } } } }"""
    async with federation.client() as client:
        for scopes, refused in ((["read:all"], 1), ([f"read:runs:{run}", "read:tasks"], 1), ([f"read:runs:{run}"], 2)):
            asker = Asker(bearer(public_token(world.places["own"].tenant, *scopes)), ())
            body = (await post(client, asker, query, {"id": run})).json()
            codes = [error["extensions"]["code"] for error in body["errors"]]
            assert codes == ["FORBIDDEN"] * len(codes), body
            counts = [error for error in body["errors"] if error["path"][0] == "runDebug"]
            assert bool(counts) is (refused == 2), body
            assert "@acme.test" not in json.dumps(body)


async def test_a_token_narrows_a_list_to_what_it_may_read(federation: FederationUnderTest) -> None:
    world = await plant_world(federation)
    own = world.places["own"]
    filters = {
        f'taskIdentifier: ["{own.mark}"]': f"read:tasks:{own.mark}",
        f'tags: ["{own.mark}"]': f"read:tags:{own.mark}",
        f'batch: "{own.rows["Batch"][0]}"': f"read:batch:{own.rows['Batch'][0]}",
        f'runIds: ["{own.rows["Run"][0]}"]': f"read:runs:{own.rows['Run'][0]}",
    }
    async with federation.client() as client:
        for narrowing, enough in filters.items():
            for scope in (*filters.values(), "read:queues"):
                asker = Asker(world.token("own", scope), ("own",))
                query = f"{{ environment {{ runs(filter: {{ {narrowing} }}) {{ nodes {{ payload {{ json }} }} }} }} }}"
                body = (await post(client, asker, query)).json()
                if scope == enough:
                    assert "errors" not in body, (narrowing, scope, body)
                    assert body["data"]["environment"]["runs"]["nodes"]
                else:
                    assert body["errors"][0]["extensions"] == {"code": "FORBIDDEN"}, (narrowing, scope)


async def test_no_public_token_is_shown_what_completes_a_token(federation: FederationUnderTest) -> None:
    world = await plant_world(federation)
    token = world.places["own"].rows["Waitpoint"][0]
    query = f'{{ waitpoint(id: "{token}") {{ id callbackUrl }} }}'
    async with federation.client() as client:
        for scopes in (["read:all"], ["admin"], [f"write:waitpoints:{token}"]):
            body = (await post(client, Asker(world.token("own", *scopes), ()), query)).json()
            assert body["data"] == {"waitpoint": {"id": token, "callbackUrl": None}}
            assert body["errors"][0]["extensions"] == {"code": "FORBIDDEN"}
        body = (await post(client, world.askers["key"], query)).json()
        assert body["data"]["waitpoint"]["callbackUrl"]
