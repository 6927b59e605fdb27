"""The GraphiQL page and its files: everything a browser needs comes from here, so it works with the network cut.

The page names its files, its configuration and the API relative to its own address (``graphql/static/...``), so a path
prefix in front of runatlas needs no setting. No script stands inside the page: what it opens with is ``config.json``.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from string import Template

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

STATIC = Path(__file__).parents[1] / "static" / "graphiql"

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""The kinds of file that are served; the page's template and the manifest are not."""

JSON_TYPES = ("application/json", "application/graphql-response+json")

CONTENT_SECURITY_POLICY = (
    "default-src 'self'",
    "style-src 'self' 'nonce-{nonce}'",  # GraphiQL's dialogs add a <style> element; boot.js gives it the nonce
    "font-src data:",  # GraphiQL's style sheet carries its fonts inside
    "img-src 'self' data:",  # and three small images; a picture that a result names is not fetched
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab that GraphiQL opens with. It is titled by its operation's name, so name the operation."""

    query: str
    variables: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GraphiQLConfig:
    """What the page opens with. Everything here is public: whoever can load the page can read it.

    `endpoint` is the last segment of the address that serves both the API and the page. `default_headers` fill the
    headers editor of every tab without headers of its own.
    """

    endpoint: str = "graphql"
    tabs: tuple[Tab, ...] = ()
    default_headers: Mapping[str, str] = field(default_factory=dict)


def wants_page(request: Request) -> bool:
    """Say whether a request for the API's address is a person's: a GET without a query that prefers HTML to JSON."""
    if request.method not in {"GET", "HEAD"} or "query" in request.query_params:
        return False
    weights = _weights(",".join(request.headers.getlist("accept")))
    return weights.get("text/html", 0.0) > max(weights.get(kind, 0.0) for kind in JSON_TYPES)


def page_response(config: GraphiQLConfig) -> HTMLResponse:
    """Return the page. It is made anew for each request, since its Content-Security-Policy has a nonce."""
    nonce = secrets.token_urlsafe(16)
    static = f"{config.endpoint}/static/{_release()}"
    page = _template().substitute(endpoint=config.endpoint, static=static, nonce=nonce)
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "; ".join(CONTENT_SECURITY_POLICY).format(nonce=nonce),
        "Referrer-Policy": "same-origin",
        "Vary": "Accept",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(page, headers=headers)


def graphiql_routes(config: GraphiQLConfig) -> APIRouter:
    """Return the routes below the endpoint: the page's configuration and its files. The page itself is not one."""
    router = APIRouter(prefix=f"/{config.endpoint}", include_in_schema=False)
    opening = _opening(config)

    @router.get("/config.json")
    async def configuration() -> JSONResponse:
        return JSONResponse(opening, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})

    @router.api_route("/static/{release}/{name}", methods=["GET", "HEAD"])
    async def static(request: Request, release: str, name: str) -> Response:
        content = _files().get(name)
        if content is None:
            raise HTTPException(404, f"GraphiQL has no file {name!r}")
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        current = release == _release()  # another release's page may ask during an upgrade: answer it, but briefly
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable" if current else "no-cache",
            "Cross-Origin-Resource-Policy": "same-origin",
            "ETag": etag,
            "X-Content-Type-Options": "nosniff",
        }
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=MEDIA_TYPES[Path(name).suffix], headers=headers)

    return router


@cache
def _template() -> Template:
    """Return the page, with places for the addresses and the nonce."""
    return Template((STATIC / "page.html").read_text("utf-8"))


@cache
def _files() -> Mapping[str, bytes]:
    """Return the files that are served, by name. They are read once, and no other name reaches the disk."""
    return {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.suffix in MEDIA_TYPES}


@cache
def _release() -> str:
    """Return a name for the contents of all files together; it stands in their addresses, so those never go stale."""
    digest = hashlib.sha256()
    for name, content in _files().items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _opening(config: GraphiQLConfig) -> dict[str, object]:
    """Return config.json: texts as GraphiQL's editors show them, and an id that is another for another opening."""
    opening: dict[str, object] = {
        "endpoint": config.endpoint,
        "tabs": [
            {"query": tab.query, "variables": _editor(tab.variables), "headers": _editor(tab.headers)}
            for tab in config.tabs
        ],
        "defaultHeaders": _editor(config.default_headers),
    }
    return opening | {"id": hashlib.sha256(json.dumps(opening).encode()).hexdigest()[:16]}


def _editor(values: Mapping[str, object]) -> str | None:
    """Return what an editor shows of the values: nothing if there are none."""
    return json.dumps(dict(values), indent=2, ensure_ascii=False) if values else None


def _weights(accept: str) -> dict[str, float]:
    """Return the weight of each media type of an Accept header; 0 where the weight is no number."""
    weights = {}
    for entry in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        try:
            weights[kind] = float(weight)
        except ValueError:
            weights[kind] = 0.0
    return weights
