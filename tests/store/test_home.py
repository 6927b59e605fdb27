"""The home of embedded databases: one process at a time has it, and it says why it cannot be had."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from store import home
from store.binaries import HomeInUseError, HomeUnwritableError
from store.home import HomeLock, default_home


def test_a_home_that_cannot_be_made_is_a_sentence_and_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(HomeUnwritableError, match="cannot be used: not a directory") as refusal:
        HomeLock(tmp_path / "file/home").__enter__()
    assert "RUNATLAS_HOME" in refusal.value.hint


def test_a_home_has_one_owner(tmp_path: Path) -> None:
    with HomeLock(tmp_path / "home") as lock, pytest.raises(HomeInUseError, match=str(lock.home)) as refusal:
        HomeLock(tmp_path / "home").__enter__()
    assert "RUNATLAS_HOME" in refusal.value.hint

    with HomeLock(tmp_path / "home"):
        pass


def test_a_crashed_owner_frees_its_home(tmp_path: Path) -> None:
    script = "import signal, sys; from pathlib import Path; from store.home import HomeLock\n"
    script += "with HomeLock(Path(sys.argv[1])): print('mine', flush=True); signal.pause()"
    command = [sys.executable, "-c", script, str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": str(Path(home.__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as owner:
        assert owner.stdout
        owner.stdout.readline()
        with pytest.raises(HomeInUseError):
            HomeLock(tmp_path).__enter__()
        owner.kill()

    with HomeLock(tmp_path):
        pass


def test_the_default_home_is_the_users_own() -> None:
    assert default_home().name == "runatlas"
    assert default_home().is_relative_to(Path.home())
