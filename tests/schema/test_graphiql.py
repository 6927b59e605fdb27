"""The GraphiQL page: whole from its own server, opened with what the configuration says."""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from html.parser import HTMLParser
from itertools import chain
from urllib.parse import urljoin, urlsplit

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from httpx import ASGITransport, AsyncClient

from schema.http.graphiql import STATIC, GraphiQLConfig, Tab, graphiql_routes, page_response, wants_page

ORIGIN = "http://runatlas.test"
PREFIX = "/behind/a/proxy"
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
OURS = {"LICENSES.txt", "boot.js", "icon.svg", "manifest.json", "page.css", "page.html"}
CONFIG = GraphiQLConfig(
    tabs=(
        Tab("query OneRun($id: ID!) { run(id: $id) { id } }", {"id": "run_é"}),
        Tab("query Shards { shards { key } }", headers={"Authorization": "Bearer tr_prod_demo"}),
    ),
    default_headers={"Authorization": "Bearer tr_dev_demo"},
)


class Elements(HTMLParser):
    """The elements of a page, each as its name and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def addresses(self) -> Iterator[str]:
        for _, attributes in self.found:
            for name, value in attributes.items():
                if name in {"src", "href", "srcset", "action", "formaction", "poster", "data", "data-config"}:
                    yield value or ""


def app_of(config: GraphiQLConfig) -> FastAPI:
    app = FastAPI()

    async def graphql(request: Request) -> Response:
        return page_response(config) if wants_page(request) else JSONResponse({"data": None})

    for prefix in ("", PREFIX):
        app.add_api_route(f"{prefix}/graphql", graphql, methods=["GET", "HEAD", "POST"], response_model=None)
        app.include_router(graphiql_routes(config), prefix=prefix)
    return app


def client_of(config: GraphiQLConfig) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app_of(config)), base_url=ORIGIN)


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    async with client_of(CONFIG) as client:
        yield client


async def page_of(client: AsyncClient, prefix: str = "") -> str:
    return (await client.get(f"{prefix}/graphql", headers=BROWSER)).text


@pytest.mark.parametrize("prefix", ["", PREFIX])
async def test_everything_the_page_names_is_served_beside_it(client: AsyncClient, prefix: str) -> None:
    addresses = list(Elements(await page_of(client, prefix)).addresses())

    assert {urlsplit(address).path.rpartition("/")[2] for address in addresses} == {
        "boot.js",
        "config.json",
        "graphiql.min.css",
        "graphiql.min.js",
        "icon.svg",
        "page.css",
        "react-dom.production.min.js",
        "react.production.min.js",
    }
    for address in addresses:
        assert not urlsplit(address).scheme
        assert not urlsplit(address).netloc
        assert not address.startswith("/")
        answer = await client.get(urljoin(f"{ORIGIN}{prefix}/graphql", address))
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_each_kind_of_file_has_its_content_type(client: AsyncClient) -> None:
    kinds = {}
    for address in Elements(await page_of(client)).addresses():
        answer = await client.get(urljoin(f"{ORIGIN}/graphql", address))
        kinds[address.rpartition(".")[2]] = answer.headers["content-type"]

    assert kinds == {
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "json": "application/json",
        "svg": "image/svg+xml",
    }


async def test_the_page_has_no_script_and_no_style_inside(client: AsyncClient) -> None:
    elements = Elements(await page_of(client)).found

    assert all("src" in attributes for tag, attributes in elements if tag == "script")
    assert not [tag for tag, _ in elements if tag in {"style", "base", "iframe", "object", "embed"}]
    names = set(chain.from_iterable(attributes for _, attributes in elements))
    assert not [name for name in names if name == "style" or name.startswith("on")]


@pytest.mark.parametrize("name", sorted(path.name for path in STATIC.glob("*.css")))
def test_a_style_sheet_loads_nothing(name: str) -> None:
    sheet = (STATIC / name).read_text("utf-8")

    assert "@import" not in sheet
    assert not [address for address in re.findall(r"url\(\s*[\"']?([^\"')]{0,40})", sheet) if address[:5] != "data:"]


def test_the_boot_script_and_the_icon_name_no_address() -> None:
    boot = re.sub(r"^\s*//.*$", "", (STATIC / "boot.js").read_text("utf-8"), flags=re.MULTILINE)
    icon = (STATIC / "icon.svg").read_text("utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")

    assert "//" not in boot
    assert not re.search(r"[\"'`]\.*/", boot)
    assert "//" not in icon


async def test_the_policy_admits_this_origin_only(client: AsyncClient) -> None:
    answer = await client.get("/graphql", headers=BROWSER)
    [nonce] = [attributes["nonce"] for _, attributes in Elements(answer.text).found if "nonce" in attributes]

    assert dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")) == {
        "default-src": "'self'",
        "style-src": f"'self' 'nonce-{nonce}'",
        "font-src": "data:",
        "img-src": "'self' data:",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


async def test_a_nonce_serves_one_page(client: AsyncClient) -> None:
    first, second = [await client.get("/graphql", headers=BROWSER) for _ in range(2)]

    assert first.headers["content-security-policy"] != second.headers["content-security-policy"]
    assert first.headers["cache-control"] == "no-store"


async def test_the_page_is_titled_and_speaks_without_javascript(client: AsyncClient) -> None:
    page = await page_of(client)

    assert "<title>runatlas</title>" in page
    assert "<noscript>" in page
    assert "$" not in page


@pytest.mark.parametrize(
    "accept",
    ["text/html", BROWSER["accept"], "application/json;q=0.5, text/html", "TEXT/HTML; charset=utf-8", "text/html, */*"],
)
async def test_a_person_gets_the_page(client: AsyncClient, accept: str) -> None:
    answer = await client.get("/graphql", headers={"accept": accept})

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["vary"] == "Accept"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "text/*",
        "application/json",
        "application/graphql-response+json, text/html",
        "application/json, text/html;q=0.9",
        "text/html;q=0",
        "text/html;q=much",
        "",
    ],
)
async def test_a_program_gets_graphql(client: AsyncClient, accept: str) -> None:
    answer = await client.get("/graphql", headers={"accept": accept})

    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("query", ["{ run { id } }", ""])
async def test_a_query_in_the_address_gets_graphql(client: AsyncClient, query: str) -> None:
    answer = await client.get("/graphql", params={"query": query}, headers=BROWSER)

    assert answer.headers["content-type"] == "application/json"


async def test_only_reading_gets_the_page(client: AsyncClient) -> None:
    head = await client.head("/graphql", headers=BROWSER)
    post = await client.post("/graphql", headers=BROWSER)

    assert head.headers["content-type"] == "text/html; charset=utf-8"
    assert post.headers["content-type"] == "application/json"


async def test_the_configuration_is_what_the_editors_show(client: AsyncClient) -> None:
    answer = await client.get("/graphql/config.json")

    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "endpoint": "graphql",
        "tabs": [
            {"query": CONFIG.tabs[0].query, "variables": '{\n  "id": "run_é"\n}', "headers": None},
            {
                "query": CONFIG.tabs[1].query,
                "variables": None,
                "headers": '{\n  "Authorization": "Bearer tr_prod_demo"\n}',
            },
        ],
        "defaultHeaders": '{\n  "Authorization": "Bearer tr_dev_demo"\n}',
        "id": answer.json()["id"],
    }


async def test_another_credential_is_another_configuration() -> None:
    ids = set()
    for token in ("tr_dev_one", "tr_dev_two"):
        config = GraphiQLConfig(tabs=CONFIG.tabs, default_headers={"Authorization": f"Bearer {token}"})
        async with client_of(config) as client:
            ids |= {(await client.get("/graphql/config.json")).json()["id"] for _ in range(2)}

    assert len(ids) == 2


async def test_nothing_is_filled_in_where_nothing_is_configured() -> None:
    async with client_of(GraphiQLConfig()) as client:
        opening = (await client.get("/graphql/config.json")).json()

    assert opening["tabs"] == []
    assert opening["defaultHeaders"] is None


async def test_another_endpoint_moves_the_files_too() -> None:
    config = GraphiQLConfig(endpoint="api")
    app = FastAPI()
    app.include_router(graphiql_routes(config))
    page = bytes(page_response(config).body).decode()

    async with AsyncClient(transport=ASGITransport(app), base_url=ORIGIN) as client:
        answers = [await client.get(urljoin(f"{ORIGIN}/api", address)) for address in Elements(page).addresses()]

    assert {answer.status_code for answer in answers} == {200}


async def test_a_file_is_kept_for_as_long_as_it_stays_the_same(client: AsyncClient) -> None:
    address = next(address for address in Elements(await page_of(client)).addresses() if address.endswith("boot.js"))
    first = await client.get(address)
    again = await client.get(address, headers={"if-none-match": first.headers["etag"]})
    other = await client.get(address, headers={"if-none-match": '"another"'})

    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (again.status_code, again.content) == (304, b"")
    assert (other.status_code, other.content) == (200, first.content)


async def test_a_page_of_another_release_gets_todays_file_and_asks_again(client: AsyncClient) -> None:
    answer = await client.get("/graphql/static/0000000000000000/boot.js")

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["page.html", "manifest.json", "absent.js", "..%2fboot.js", "%2e%2e/%2e%2e/api.py"])
async def test_no_other_file_is_served(client: AsyncClient, name: str) -> None:
    answer = await client.get(f"/graphql/static/0000000000000000/{name}")

    assert answer.status_code == 404


def test_the_shipped_files_are_those_of_the_manifest() -> None:
    manifest = json.loads((STATIC / "manifest.json").read_text("utf-8"))

    assert {path.name for path in STATIC.iterdir()} == OURS | set(manifest["files"])
    for name, shipped in manifest["files"].items():
        content = (STATIC / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == shipped["sha256"]
        assert len(content) == shipped["bytes"]
        assert shipped["package"] in manifest["packages"]


def test_every_package_is_pinned_and_its_licence_shipped() -> None:
    packages = json.loads((STATIC / "manifest.json").read_text("utf-8"))["packages"]
    named = (STATIC / "LICENSES.txt").read_text("utf-8").splitlines()

    assert all(pin.startswith("sha512-") for pin in packages.values())
    assert set(packages) <= set(named)


def test_the_manifest_names_no_host() -> None:
    assert "//" not in re.sub(r"sha512-\S+", "", (STATIC / "manifest.json").read_text("utf-8"))
