"""The folder in which embedded databases are kept: where it is, and that one process at a time has it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

import platformdirs

from store.binaries import HomeInUseError, HomeUnwritableError


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Turn the refusal to write into a directory into `HomeUnwritableError`."""
    # Tried rather than asked: access(2) tells root that it may write where nobody may.
    try:
        yield
    except OSError as error:
        raise HomeUnwritableError(directory, (error.strerror or str(error)).lower()) from error


class HomeLock:
    """A home, held for this process while in its context: entering raises `HomeInUseError` if another one has it.

    Vanishes with the process, however that ends. Entering makes the home, or raises `HomeUnwritableError`.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        with writing(self.home):
            self.home.mkdir(parents=True, exist_ok=True)
            file = (self.home / "lock").open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.close()
                if isinstance(error, BlockingIOError):
                    raise HomeInUseError(self.home) from None
                raise
        self._file = file
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()


def default_home() -> Path:
    """Return where embedded databases are kept if RUNATLAS_HOME names no place."""
    return platformdirs.user_data_path("runatlas")
