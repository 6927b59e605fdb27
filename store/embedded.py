"""Embedded PostgreSQL: clusters of our own, for people who bring no database.

A `Cluster` is a directory. Its server listens on a Unix socket that only its owner can reach, never on TCP, and it
does not outlive the process that started it, however that one ends: see `store.binaries.LEASH`.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from store.binaries import (
    ClusterError,
    EmbeddedError,
    EmbeddedUnavailableError,
    HomeInUseError,
    HomeUnwritableError,
    Installation,
    account,
    children_of,
    command_of,
    find_installations,
    let_go,
    two_installations,
)
from store.home import writing

__all__ = [
    "Cluster",
    "ClusterError",
    "EmbeddedError",
    "EmbeddedUnavailableError",
    "HomeInUseError",
    "HomeUnwritableError",
    "Installation",
    "find_installations",
    "two_installations",
]

PID_FILE = "postmaster.pid"
STATUS = 7
"""The line of that file which says how far the server is."""

MAKING = "making-"
"""Begins the name of data that is not complete."""

BUILTIN_LOCALES_SINCE = 17

USER = "runatlas"
PORT = 5432
"""Names the socket's file; nothing listens on a port."""

LONGEST_SOCKET = 103
"""Bytes that a socket's path may have: 103 on macOS, 107 on Linux."""

START_SECONDS = 60.0
"""How long a start may wait: for the server's recovery from a crash, and for queries that outlived a killed one."""

STOP_SECONDS = 5.0
"""How long a way of stopping may take before the next rougher one is used."""

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_level": "replica",
    "max_wal_senders": "4",
    # fsync and synchronous_commit stay on: an answered mutation is kept though the cluster be killed a moment later, as
    # on a real deployment. It costs a few milliseconds a commit, and spares looking for a lost write that was no bug.
    "max_wal_size": "256MB",  # of disk, and on a laptop, where the default is 1 GB per cluster
    "max_parallel_workers_per_gather": "0",  # they use /dev/shm, of which a container has 64 MB
    "client_connection_check_interval": "1s",  # a query that nobody waits for any more ends, and holds up no start
    "jit": "off",  # costs more than it saves on queries for one page
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}
"""Given on the command line, and not in the data: they are this version's, whichever one made the data."""

StopMode = Literal["smart", "fast", "immediate"]
SIGNALS: dict[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
"""From the gentlest to the roughest."""


class Cluster:
    """One PostgreSQL in a directory of its own: made at the first start, kept between starts.

    Blocking; clusters of different directories may be started from different threads. Two owners of one directory
    would stop each other's server: hold a `HomeLock`.
    """

    def __init__(self, installation: Installation, directory: Path) -> None:
        self.installation = installation
        # Resolved, as we know our own server by the directory that its command line names.
        self.directory = directory.resolve()
        self.data = self.directory / "data"
        self.log = self.directory / "server.log"
        self.socket_directory = _socket_directory(self.directory)
        self._server: subprocess.Popen[bytes] | None = None
        # A stop that comes during a start waits for it, and then stops what it has started.
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the server that we started is there; a suspended one is."""
        if self._server is None:
            return False
        if self._server.poll() is not None:
            let_go(self._server)
        return self._server.returncode is None

    def url(self, database: str) -> str:
        """Return the URL of a database of this cluster. It holds no password, and is known before the start."""
        # The port is given since a driver would otherwise take it from PGPORT.
        return f"postgresql://{USER}@/{quote(database, safe='')}?host={quote(str(self.socket_directory))}&port={PORT}"

    def start(self) -> None:
        """Return when the server takes queries, or raise an `EmbeddedError`. Does nothing if it does already.

        Recovers from whatever the last start left behind: a server still running or half stopped, files of one that
        was killed, data half made.
        """
        with self._turn, writing(self.directory):
            if self.running:
                return
            self._own()
            self._evict()
            if not (self.data / "PG_VERSION").exists():
                self._make("initdb", *_initdb_options(self.installation.major))
            self._fit()
            deadline = time.monotonic() + START_SECONDS
            while complaint := self._boot():
                # Processes of a server that was killed alone go on until their query has ended.
                if not re.search("already exists|still in use", complaint) or time.monotonic() > deadline:
                    raise ClusterError(
                        f"PostgreSQL {self.installation.major} did not start in {self.directory}: {complaint}",
                        f"see {self.log}",
                    )
                time.sleep(0.05)
                self._evict()

    def stop(self, mode: StopMode = "fast") -> None:
        """Return when the server is gone: after its clients if smart, without a last checkpoint if immediate.

        One that takes too long, say since a suspended standby does not confirm its end, is stopped more roughly.
        """
        with self._turn:
            if self.running and (server := self._server):
                self.resume()
                ways = list(SIGNALS)
                for way in ways[ways.index(mode) :]:
                    server.send_signal(SIGNALS[way])
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        server.wait(STOP_SECONDS)
                        break
            self.kill()
            shutil.rmtree(self.socket_directory, ignore_errors=True)

    def kill(self) -> None:
        """Take the server away as a crash would, and return when its processes are gone."""
        family = self._signal(signal.SIGKILL)
        if self._server:
            self._server.wait()
            let_go(self._server)
        _wait(lambda: not any(command_of(pid) for pid in family), STOP_SECONDS)

    def suspend(self) -> None:
        """Let the server accept connections, and answer none, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended server go on."""
        self._signal(signal.SIGCONT)

    def create_database(self, name: str) -> None:
        """Create an empty database, unless the cluster has it."""
        try:
            self._run("createdb", *self._client_options(), "--", name)
        except ClusterError as error:
            if f'database "{name}" already exists' not in str(error):
                raise

    def base_backup(self, target: Path) -> "Cluster":
        """Return a copy of this running cluster, not started: once it is, it follows this one and is read only."""
        standby = Cluster(self.installation, target)
        with writing(standby.directory):
            standby._own()
            standby._make(
                "pg_basebackup", *self._client_options(), "--write-recovery-conf", "--checkpoint=fast", "--no-sync"
            )
        return standby

    def _own(self) -> None:
        """Make the directory, private to the account that the server runs under, or raise `HomeUnwritableError`."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.directory.stat().st_uid not in (os.geteuid(), account().owns()[0]):
            # Root could have it all the same, but its user would not have it back.
            raise HomeUnwritableError(
                self.directory, "it belongs to another user", "run runatlas as that user, or set RUNATLAS_HOME"
            )
        _give(self.directory, *account().owns())
        if not account().reaches(self.directory):
            raise HomeUnwritableError(
                self.directory,
                "here PostgreSQL has to run as nobody, who cannot enter it",
                "set RUNATLAS_HOME to a directory that every user can enter",
            )
        if not account().reaches(self.installation.bin / "initdb"):
            raise EmbeddedUnavailableError(
                f"here PostgreSQL has to run as nobody, who cannot execute {self.installation.bin / 'initdb'}",
                "run runatlas as an ordinary user, or install it where every user can execute it",
            )

    def _evict(self) -> None:
        """Stop the server that a dead owner left behind, which its watcher may be doing; repair what is in our way."""
        for way in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if (pid := self._postmaster()) is None:
                break
            for number in (way, signal.SIGCONT):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            _wait(lambda: self._postmaster() is None, STOP_SECONDS)
        if self._postmaster() is None:
            self._clear_pid_file()
        for leftover in self.directory.glob(f"{MAKING}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _clear_pid_file(self) -> None:
        """See to it that the number in the file of a server that is gone stops nobody, whoever has that number now."""
        lines = self._pid_file()
        # Cut short, by a crash of the machine, it would be refused for that.
        (self.data / PID_FILE).unlink(missing_ok=True)
        if lines:
            # Our number is harmless, since PostgreSQL does not take its parent for a server. The rest it needs: by the
            # memory that is named there it makes sure that no process of the old server is left.
            with (self.data / PID_FILE).open("x") as file:
                file.write("\n".join([str(os.getpid()), *lines[1:], ""]))

    def _make(self, program: str, *options: str) -> None:
        """Make the data with a program, elsewhere and then renamed, so that data half made is none."""
        making = self.directory / f"{MAKING}{secrets.token_hex(4)}"
        self._run(program, *options, f"--pgdata={making}")
        making.rename(self.data)

    def _fit(self) -> None:
        """Use the PostgreSQL that made the data, as no other major reads it; ours is what new data is made with."""
        major = int((self.data / "PG_VERSION").read_text())
        if major == self.installation.major:
            return
        for installation in find_installations():
            if installation.major == major:
                self.installation = installation
                return
        raise ClusterError(
            f"the data in {self.directory} is of PostgreSQL {major}, which this machine does not have",
            f"install PostgreSQL {major}, or set RUNATLAS_HOME to a new directory",
        )

    def _boot(self) -> str | None:
        """Return nothing once the server is ready; or else, without one, what it complained of."""
        if self.socket_directory.exists():
            # What a killed server left in it would be in the way too.
            shutil.rmtree(self.socket_directory)
        self.socket_directory.mkdir(mode=0o700)
        _give(self.socket_directory, *account().owns())
        quoted = str(self.socket_directory).replace('"', '""')
        settings = {**SETTINGS, "port": str(PORT), "unix_socket_directories": f'"{quoted}"'}
        # Made anew rather than opened: its directory may be another user's, who could point the name elsewhere.
        self.log.unlink(missing_ok=True)
        with self.log.open("xb") as log:
            options = [f"--{name}={value}" for name, value in settings.items()]
            server = self._server = self.installation.leash("postgres", "-D", str(self.data), *options, output=log)
        try:
            _wait(lambda: not self.running or self._is_ready(server.pid), START_SECONDS)
        except BaseException:
            self.kill()
            raise
        if self.running and self._is_ready(server.pid):
            return None
        self.kill()
        return _complaint(self.log.read_text(errors="replace"))

    def _is_ready(self, pid: int) -> bool:
        lines = self._pid_file()
        return len(lines) > STATUS and lines[0] == str(pid) and lines[STATUS].strip() == "ready"

    def _pid_file(self) -> list[str]:
        """Return what a server wrote about itself, its process first; nothing if none did, or not so far."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.data / PID_FILE).read_text(errors="replace").splitlines()
            return lines if lines and lines[0].isdecimal() else []
        return []

    def _postmaster(self) -> int | None:
        """Return the process that serves this directory, whoever started it."""
        lines = self._pid_file()
        return int(lines[0]) if lines and f"/postgres -D {self.data} -" in command_of(int(lines[0])) else None

    def _client_options(self) -> tuple[str, ...]:
        return f"--host={self.socket_directory}", f"--port={PORT}", f"--username={USER}"

    def _run(self, program: str, *arguments: str) -> None:
        """Return when a program has done its work, or raise `ClusterError`."""
        with tempfile.TemporaryFile() as output, self.installation.leash(program, *arguments, output=output) as process:
            process.wait()
            let_go(process)
            output.seek(0)
            said = output.read().decode(errors="replace")
        if process.returncode:
            raise ClusterError(
                f"{program} of PostgreSQL {self.installation.major} failed for {self.directory}: {_complaint(said)}",
                "set DATABASE_URL to use a database of your own",
            )

    def _signal(self, number: signal.Signals) -> list[int]:
        """Signal the server and all of its processes; return them."""
        if not self.running or not self._server:
            return []
        if number != signal.SIGCONT:
            # First of all, so that it starts no more of them.
            self._server.send_signal(signal.SIGSTOP)
        family = [self._server.pid, *children_of(self._server.pid)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return family


def _socket_directory(directory: Path) -> Path:
    """Return where the socket goes: beside the data, or in a short place of its own if no driver could go there."""
    short = f"runatlas-{os.geteuid()}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}"
    places = (directory / "socket", Path(tempfile.gettempdir()) / short, Path("/tmp") / short)  # noqa: S108  made anew
    return next(place for place in places if _is_address(place))


def _is_address(socket_directory: Path) -> bool:
    # To a driver, a comma is between two hosts.
    path = os.fsencode(socket_directory / f".s.PGSQL.{PORT}")
    return len(path) <= LONGEST_SOCKET and b"," not in path


def _initdb_options(major: int) -> list[str]:
    """Return options that make text sort by its bytes, and know the case of all letters, on every major and system."""
    if major >= BUILTIN_LOCALES_SINCE:
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    else:
        locale = [f"--lc-ctype={'UTF-8' if sys.platform == 'darwin' else 'C.UTF-8'}"]
    return ["--locale=C", *locale, "--encoding=UTF8", "--auth=trust", f"--username={USER}", "--no-sync"]


def _complaint(said: str) -> str:
    """Return the last line that says what is wrong, or else the last line."""
    lines = said.strip().splitlines() or ["it did not say why"]
    errors = [match[1] for line in lines if (match := re.search(r"(?:FATAL|PANIC|ERROR|error): +(.*)", line))]
    return errors[-1] if errors else lines[-1]


def _wait(happened: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.01)


def _give(directory: Path, uid: int, gid: int) -> None:
    """Make a directory and all in it that user's, if it is another's."""
    if directory.stat().st_uid == uid:
        return
    # The directory itself last: if we are stopped in between, the next start does it again.
    for parent, directories, files in os.walk(directory, topdown=False):
        for name in (*directories, *files):
            os.chown(Path(parent) / name, uid, gid, follow_symlinks=False)
    os.chown(directory, uid, gid)
