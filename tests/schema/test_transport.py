"""What clients may send and what they get for it: never a stack trace, never a 500, never a secret."""

import gzip
import json
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from store.residency import LEGACY, NEW
from tests.federation import FederationUnderTest

ASK = b'{"query":"{ environment { slug } }"}'


async def post(federation: FederationUnderTest, content: bytes, **headers: str) -> httpx.Response:
    given = {"Authorization": f"Bearer {federation.tenant.api_key}", "Content-Type": "application/json", **headers}
    async with federation.client() as client:
        return await client.post("/graphql", content=content, headers=given)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"1",
        b'"x"',
        b"true",
        b"[]",
        b"[" + ASK + b"]",
        b"\xff\xfe",
        gzip.compress(ASK, mtime=0),
        b"[" * 100_000,
        b'{"query":' + b"[" * 100_000,
        b'{"query":"{ environment { slug } }","operationName":"\\ud800"}',
        b'{"query":"{ environment { slug } }","variables":[]}',
        b'{"query":"{ environment { slug } }","variables":7}',
        b'{"query":7}',
        b'{"operationName":"A"}',
        b'{"query":"{ environment { slug } }","operationName":"Missing"}',
        b'{"query":"query A { environment { slug } } query B { environment { id } }"}',
        b'{"query":"type Query { a: Int }"}',
        b'{"query":"{ environment { runs(first: ' + b"9" * 5_000 + b') { nodes { id } } } }"}',
        b'{"query":"query ($n: Int) { environment { runs(first: $n) { nodes { id } } } }","variables":{"n":'
        + b"9" * 5_000
        + b"}}",
        b'{"query":"mutation { run { id } }"}',
    ],
    ids=lambda content: repr(content[:40]),
)
async def test_a_body_that_is_no_operation_is_refused_in_one_sentence(
    federation: FederationUnderTest, content: bytes
) -> None:
    response = await post(federation, content)
    assert response.status_code in (200, 400)
    for error in response.json()["errors"]:
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert "\n" not in error["message"]
        assert len(error["message"]) < 300


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(federation: FederationUnderTest) -> None:
    response = await post(federation, ASK[:-1] + b" " * 2**20 + b"}")
    assert (response.status_code, response.json()["errors"][0]["extensions"]) == (413, {"code": "PAYLOAD_TOO_LARGE"})


async def test_whoever_asks_without_a_query_gets_no_page_of_somebody_elses(federation: FederationUnderTest) -> None:
    headers = {"Authorization": f"Bearer {federation.tenant.api_key}"}
    async with federation.client() as client:
        for accept in ("*/*", "application/json", "text/html", "text/*"):
            response = await client.get("/graphql", headers={**headers, "Accept": accept})
            assert "https://" not in response.text
        answer = await client.get("/graphql", params={"query": "{ environment { slug } }"}, headers=headers)
    assert answer.json() == {"data": {"environment": {"slug": "prod"}}}


async def test_an_error_of_ours_is_masked_and_found_in_the_log(
    federation: FederationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> Any:
        raise LookupError("a secret of ours")

    monkeypatch.setattr(federation.federation.router, "runs", fail)
    with capture_logs() as logs:
        answer = await federation.answer('{ run(id: "run_x") { id } }')
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "INTERNAL"
    assert "secret" not in json.dumps(answer)
    assert [entry["error_id"] for entry in logs] == [error["extensions"]["errorId"]]
    assert isinstance(logs[0]["exc_info"], LookupError)


async def test_an_error_before_the_operation_is_masked_too_and_no_key_is_logged(
    federation: FederationUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
    connection = federation.connections[LEGACY]
    await connection.execute('ALTER TABLE "RuntimeEnvironment" RENAME COLUMN "shortcode" TO "moved"')
    try:
        response = await post(federation, ASK)
    finally:
        await connection.execute('ALTER TABLE "RuntimeEnvironment" RENAME COLUMN "moved" TO "shortcode"')
    assert response.status_code == 500
    assert response.json()["errors"][0]["extensions"]["code"] == "INTERNAL"
    logged = capsys.readouterr()
    assert response.json()["errors"][0]["extensions"]["errorId"] in logged.out
    assert "shortcode" in logged.out
    assert federation.tenant.api_key not in logged.out + logged.err


async def test_a_label_that_the_platform_added_is_unknown_and_its_page_is_as_before(
    federation: FederationUnderTest,
) -> None:
    for name, label in (("TaskRunStatus", "HIBERNATING"), ("WaitpointType", "MOON"), ("BatchTaskRunStatus", "LOST")):
        await federation.connections[NEW].execute(f"ALTER TYPE \"{name}\" ADD VALUE IF NOT EXISTS '{label}'")
    await federation.reconnect(NEW)
    batch = await federation.batch(NEW, status="LOST")
    run = await federation.run(NEW, status="HIBERNATING", batchId=batch)
    await federation.connect(NEW, run, await federation.waitpoint(NEW, type="MOON"))

    data = await federation.ask(
        """{ environment { runs { nodes { status rawStatus isFinal isCancellable batch { status }
             waitpoints { nodes { type status } } } } } }"""
    )

    assert data["environment"]["runs"]["nodes"] == [
        {
            "status": "UNKNOWN",
            "rawStatus": "UNKNOWN",
            "isFinal": False,
            "isCancellable": True,
            "batch": {"status": "UNKNOWN"},
            "waitpoints": {"nodes": [{"type": "UNKNOWN", "status": "WAITING"}]},
        }
    ]
