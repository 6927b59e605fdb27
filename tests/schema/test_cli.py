"""The command line as people use it: started, asked, stopped; and what it says when it cannot."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from store.embedded import Cluster, two_installations
from store.residency import LEGACY, NEW, ShardKey
from tests.conftest import MakeDatabase
from tests.federation import START, insert, plant_tenant

RUNATLAS = Path(sys.executable).parent / "runatlas"
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("RUN_OPS_", "RUNATLAS_", "DATABASE_", "CONTROL_PLANE_", "PYTHONDONTWRITE"))
}


def command(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RUNATLAS, *words], env={**CLEAN, **environ}, capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def serving(home: Path, **environ: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Serve a home on a free port; yields the process and what it printed before it served."""
    process = subprocess.Popen(
        [RUNATLAS, "serve", "--port", "0", "--runs", "200"],
        env={**CLEAN, "RUNATLAS_HOME": str(home), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        greeting = ""
        for line in process.stdout:
            greeting += line
            if line == "  }\n":
                break
        yield process, greeting
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stdout.close()
        process.stderr.close()


def ask(greeting: str) -> Any:
    """Ask what the greeting prints, with the credential that it prints, where it says."""
    url = re.search(r"http://\S+/graphql", greeting)
    credential = re.search(r"Bearer tr_\w+", greeting)
    assert url is not None
    assert credential is not None
    query = greeting[greeting.index("query TwoDatabases") :]
    request = urllib.request.Request(  # noqa: S310  our own server
        url[0],
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json", "Authorization": credential[0]},
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        return json.load(response)


def servers(home: Path) -> int:
    """Return how many database servers of a home run: each keeps its process id in a file while it does."""
    return sum((home / key / "data" / "postmaster.pid").exists() for key in ("legacy", "new"))


def test_the_first_answer_crosses_two_databases_and_is_there_again_after_a_restart(home: Path) -> None:
    with serving(home) as (process, greeting):
        first = ask(greeting)
        assert servers(home) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert servers(home) == 0

    assert "errors" not in first
    old, new = first["data"]["legacy"], first["data"]["new"]
    assert len(old["id"]) == len("run_") + 25
    assert len(new["id"]) == len("run_") + 26
    for run in (old, new):
        assert run["batch"]["id"]
        assert run["parentRun"]["id"]
        assert run["environment"]["project"]["name"]
    shared = {node["id"] for node in old["waitpoints"]["nodes"]} & {node["id"] for node in new["waitpoints"]["nodes"]}
    assert shared, "one waitpoint reaches from one run to the other"

    with serving(home) as (process, greeting):
        assert ask(greeting) == first
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert servers(home) == 0


def test_one_home_is_served_once(home: Path) -> None:
    with serving(home):
        second = command("serve", "--port", "0", RUNATLAS_HOME=str(home))
    assert second.returncode == 1
    assert re.fullmatch(
        r"runatlas: [^\n]*\(hint: [^\n]*RUNATLAS_HOME[^\n]*\)\n", second.stderr.splitlines(keepends=True)[-1]
    )
    assert "Traceback" not in second.stderr


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"RUNATLAS_PROT": "1"}, "there is no setting RUNATLAS_PROT (hint: did you mean RUNATLAS_PORT?)"),
        ({"RUNATLAS_PORT": "http"}, "RUNATLAS_PORT: "),
        ({"DATABASE_URL": "mysql://u:s3cret@h/d"}, "DATABASE_URL is not a postgresql:// URL"),
        ({"RUN_OPS_DATABASE_URL": "postgresql://u:s3cret@h/d"}, "DATABASE_URL is not"),
        (
            {"DATABASE_URL": "postgresql://u:s3cret@127.0.0.1:1/d"},
            "DATABASE_URL: cannot use the database at 127.0.0.1:1/d",
        ),
        ({"RUN_OPS_SPLIT_ENABLED": "true"}, "no control plane: DATABASE_URL is not set"),
        ({"DATABASE_READ_REPLICA_URL": "postgresql://u:s3cret@h/d"}, "but DATABASE_URL is not"),
        ({"RUNATLAS_HOME": "/proc/nowhere"}, "/proc/nowhere"),
    ],
)
def test_what_cannot_be_served_is_one_line_with_a_hint(environ: dict[str, str], sentence: str) -> None:
    # Were it served after all, then not from the home of whoever runs the suite.
    refused = command("serve", "--port", "0", **{"RUNATLAS_HOME": "/proc/nowhere", **environ})
    (line,) = refused.stderr.splitlines()
    assert refused.returncode == 1
    assert line.startswith("runatlas: ")
    assert sentence in line
    assert "(hint: " in line
    assert "s3cret" not in line
    assert refused.stdout == ""


def test_a_port_in_use_is_told_before_anything_is_started(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = command("serve", "--port", port, RUNATLAS_HOME=str(home))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"runatlas: cannot listen on 127.0.0.1:{port}: ")
    assert not home.exists()


def test_where_says_the_shards_of_an_id_and_why() -> None:
    said = command("where", "run_06fiq7vkik00000000000000e1", "waitpoint_x", "run_06g237g8000i6hb7h6lsrro1a2")
    first, second, third = (line.split("\t") for line in said.stdout.splitlines())
    assert first[1] == "new"
    assert "2026-07-04T12:34:56.789Z" in first[2]
    assert second[1] == "new then legacy"
    assert third[1] == "nowhere"
    configured = command("where", "run_06g237g8000i6hb7h6lsrro1a2", RUN_OPS_SHARD_A_DATABASE_URL="postgresql://h/d")
    assert configured.returncode == 1, "a shard without a control plane is a mistake, here as in serve"


def test_migrate_makes_the_tables_once_and_never_a_deployments(tmp_path: Path) -> None:
    older, newer = two_installations()
    with Cluster(older, tmp_path / "a") as a, Cluster(newer, tmp_path / "b") as b:
        for cluster in (a, b):
            cluster.create_database("d")
        urls = {"DATABASE_URL": a.url("d"), "RUN_OPS_DATABASE_URL": b.url("d")}
        first, again = command("migrate", **urls), command("migrate", **urls)
        b.create_database("live")
        subprocess.run(
            [newer.bin / "psql", "-q", b.url("live"), "-c", 'CREATE TABLE "TaskRun" (id text)'], check=True, timeout=30
        )
        live = command("migrate", DATABASE_URL=a.url("d"), RUN_OPS_DATABASE_URL=b.url("live"))
    assert [line.split(": ")[1] for line in first.stdout.splitlines()] == [
        "full_0001, full_0002, full_0003, full_0004",
        "dedicated_0001, dedicated_0002, dedicated_0003, dedicated_0004",
    ]
    assert [line.split(": ")[1] for line in again.stdout.splitlines()] == ["up to date"] * 2
    assert live.returncode == 1
    assert "live deployment" in live.stderr


def one_line(refused: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of what a command said when it failed, after the bar that it may have drawn."""
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "Traceback" not in refused.stderr
    line = refused.stderr.splitlines()[-1]
    assert line.startswith("runatlas: ")
    assert "(hint: " in line
    assert refused.stderr.count("(hint: ") == 1
    return line


@pytest.mark.parametrize("words", [("migrate",), ("seed", "--runs", "200")], ids=lambda words: words[0])
def test_a_database_that_cannot_be_used_is_one_line(words: tuple[str, ...], clusters: dict[ShardKey, Cluster]) -> None:
    for url, why in (
        ("postgresql://u:s3cret@127.0.0.1:1/d", "connect call failed"),
        (clusters[LEGACY].url("nope"), 'database "nope" does not exist'),
    ):
        line = one_line(command(*words, DATABASE_URL=url))
        assert line.startswith("runatlas: DATABASE_URL: cannot use the database at ")
        assert why in line
        assert "s3cret" not in line


async def test_a_database_without_the_tables_of_a_control_plane_is_one_line(make_database: MakeDatabase) -> None:
    line = one_line(command("seed", "--runs", "200", DATABASE_URL=await make_database(NEW, "no_flags")))
    assert line.startswith('runatlas: cannot plant the demo: relation "FeatureFlag" does not exist (hint: ')


async def test_a_database_that_dies_while_it_is_planted_is_one_line(make_database: MakeDatabase) -> None:
    control_plane, new = await make_database(LEGACY, "dying"), await make_database(NEW, "dying")
    connection = await asyncpg.connect(new)
    try:
        async with connection.transaction():
            # It can be read, but not written.
            await connection.execute('LOCK TABLE "TaskRun" IN SHARE MODE')
            process = await asyncio.create_subprocess_exec(
                RUNATLAS,
                *("seed", "--runs", "200"),
                env={**CLEAN, "DATABASE_URL": control_plane, "RUN_OPS_DATABASE_URL": new},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(60):
                    while not await connection.fetchval(END_WAITING):
                        assert process.returncode is None
                    said, complaint = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
    finally:
        await connection.close()
    assert process.returncode is not None
    line = one_line(subprocess.CompletedProcess((), process.returncode, said.decode(), complaint.decode()))
    assert line.startswith("runatlas: cannot plant the demo: ")
    assert "terminating connection due to administrator command (hint: " in line


END_WAITING = """
    SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_locks
    WHERE NOT granted AND relation = '"TaskRun"'::regclass
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""Ends the connections that wait for a lock on the runs, and tells whether there were any."""


async def test_the_doctor_prints_what_makes_the_indexes_that_databases_lack_and_is_content_when_that_was_done(
    make_database: MakeDatabase,
) -> None:
    urls = {
        "DATABASE_URL": await make_database(LEGACY, "doctor"),
        "RUN_OPS_DATABASE_URL": await make_database(NEW, "doctor"),
    }
    connection = await asyncpg.connect(urls["RUN_OPS_DATABASE_URL"])
    try:
        await connection.execute("DROP TABLE runatlas_migrations")  # as if a platform had made it
        await connection.execute("DROP INDEX runatlas_run_machine, runatlas_batch_status")
        ill = command("doctor", **urls)
        for statement in re.findall(r"^CREATE INDEX CONCURRENTLY [^;]+;$", ill.stdout, re.MULTILINE):
            await connection.execute(statement)
    finally:
        await connection.close()
    well = command("doctor", **urls)

    assert (ill.returncode, ill.stderr) == (well.returncode, well.stderr) == (0, "")
    assert re.search(r"^  lacks 2 of the \d+ indexes", ill.stdout, re.MULTILINE)
    assert "\n\n-- RunFilter.machine.\nCREATE INDEX CONCURRENTLY runatlas_run_machine ON" in ill.stdout
    legacy, new = well.stdout.split("RUN_OPS_DATABASE_URL")
    for said, name, about in (
        (legacy, "DATABASE_URL", "full schema: control plane, shard legacy"),
        (new, "", "dedicated schema: shard new"),
    ):
        assert re.fullmatch(rf"{name}: \S+/doctor\n  PostgreSQL [\d.]+, {about}\n  has all \d+ indexes .+\n", said)


async def test_the_doctor_sends_a_database_of_ours_that_was_left_behind_to_be_migrated(
    make_database: MakeDatabase,
) -> None:
    url = await make_database(LEGACY, "left_behind")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP INDEX runatlas_run_test")
        await connection.execute("UPDATE runatlas_migrations SET version_num = 'full_0002'")
    finally:
        await connection.close()
    said = command("doctor", DATABASE_URL=url)
    assert said.returncode == 0
    assert "`runatlas migrate` adds them" in said.stdout
    assert "CREATE INDEX" not in said.stdout


async def test_the_doctor_tells_every_database_that_cannot_be_used_in_one_line_and_examines_the_others(
    make_database: MakeDatabase, clusters: dict[ShardKey, Cluster]
) -> None:
    url = await make_database(LEGACY, "alone")
    said = command(
        "doctor",
        DATABASE_URL=url,
        RUN_OPS_DATABASE_URL="postgresql://u:s3cret@127.0.0.1:1/d",
        RUN_OPS_SHARD_A_DATABASE_URL=clusters[NEW].url("nope"),
    )
    refused, missing = said.stderr.splitlines()
    assert said.returncode == 1
    assert "has all" in said.stdout
    assert refused.startswith("runatlas: RUN_OPS_DATABASE_URL: cannot use the database at 127.0.0.1:1/d: ")
    assert 'database "nope" does not exist (hint: ' in missing
    assert "s3cret" not in said.stderr


async def test_the_doctor_refuses_what_could_not_be_served_though_every_database_answers(
    make_database: MakeDatabase, clusters: dict[ShardKey, Cluster]
) -> None:
    url, new = await make_database(LEGACY, "served"), await make_database(NEW, "served")
    twice = command("doctor", DATABASE_URL=url, RUN_OPS_DATABASE_URL=new, RUN_OPS_SHARD_A_DATABASE_URL=new)
    await asyncio.to_thread(clusters[LEGACY].create_database, "empty")
    empty = command("doctor", DATABASE_URL=clusters[LEGACY].url("empty"))

    assert twice.returncode == empty.returncode == 1
    assert "dedicated schema: shard new, shard a" in twice.stdout
    assert re.fullmatch(r"runatlas: RUN_OPS_\S+ and RUN_OPS_\S+ are one database, .+ \(hint: .+\)\n", twice.stderr)
    assert "\n  has no table OrgMember, Project, BulkActionGroup, TaskRun, " in empty.stdout
    assert re.fullmatch(r"runatlas: DATABASE_URL: the database .+ has no table .+ \(hint: .+\)\n", empty.stderr)


def test_embedded_databases_need_no_doctor() -> None:
    said = command("doctor", RUNATLAS_HOME="/proc/nowhere")
    assert (said.returncode, said.stderr, len(said.stdout.splitlines())) == (0, "", 1)


def test_the_rest_of_the_commands_answer() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", command("version").stdout)
    assert "RUN_OPS_DATABASE_URL" in command("settings").stdout
    assert "type Query" in command("schema").stdout
    assert "serve" in command("--help").stdout


async def test_repair_does_what_was_left_undone_and_says_what_it_was(make_database: MakeDatabase) -> None:
    urls = {
        "DATABASE_URL": await make_database(LEGACY, "repaired"),
        "RUN_OPS_DATABASE_URL": await make_database(NEW, "repaired"),
    }
    legacy, new = [await asyncpg.connect(url) for url in urls.values()]
    try:
        tenant = await plant_tenant(legacy)
        await insert(
            new,
            "Waitpoint",
            {
                "id": "w",
                "friendlyId": "waitpoint_w",
                "type": "DATETIME",
                "idempotencyKey": "w",
                "userProvidedIdempotencyKey": False,
                "projectId": tenant.project_id,
                "environmentId": tenant.environment_id,
                "completedAfter": START - timedelta(days=365),
                "createdAt": START,
                "updatedAt": START,
            },
        )
        counted, done, again = [command("repair", *words, **urls) for words in (["--dry-run"], [], [])]
        await legacy.execute("DROP TABLE runatlas_migrations")  # as if a platform had made it
        refused, looked = command("repair", **urls), command("repair", "--dry-run", **urls)
    finally:
        await legacy.close()
        await new.close()

    for said, line in (
        (counted, "due      1 waitpoint to be completed: its time had come"),
        (done, "due      1 waitpoint completed: its time had come"),
        (again, "due      0 waitpoints completed: its time had come"),
        (looked, "due      0 waitpoints to be completed: its time had come"),
    ):
        assert (said.returncode, said.stderr) == (0, "")
        first, *others = said.stdout.splitlines()
        assert first == line
        assert [other.split()[1] for other in others] == ["0"] * 5
    assert one_line(refused) == (
        "runatlas: these databases are read only here"
        " (hint: set RUNATLAS_WRITES=postgres if no engine of the platform writes to these databases)"
    )
