"""What lasts longer than a request, sockets and streams: how many there may be, and their common end."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from graphql import GraphQLError

SOCKETS = 10_000
"""Most of the process, whoever opened them: those that have not said yet who they are, too."""

OPERATIONS = 100
"""Most of a socket at a time."""

LARGEST_MESSAGE = 1024 * 1024
"""Most of what a client sends at once, in bytes."""

LONGEST_ID = 256
"""Most of an operation's id, which stands in everything that is sent of it."""

INIT_SECONDS = 10.0
"""How long a socket may stay without saying who it is."""

PING_SECONDS = 15.0
"""How often a stream without events says that it lives. Sockets have pings of their own, every 20 seconds."""

RETRY_SECONDS = 5
"""After how long somebody with too many streams may try again."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What operators and tests may change."""

    sockets: int = SOCKETS
    sockets_per_credential: int = 1_000
    streams_per_credential: int = 1_000
    """Operations that run at a time, over all sockets and streams of a credential."""
    init_seconds: float = INIT_SECONDS
    ping_seconds: float = PING_SECONDS


class TooManyError(GraphQLError):
    """There is no room for another one."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Too many {what}", extensions={"code": "RATE_LIMITED"})


class Streams:
    """Counts what is open. A place is taken with a block, so it is free again however the block ends."""

    def __init__(self, limits: StreamLimits | None = None) -> None:
        self.limits = limits or StreamLimits()
        self.sockets = 0
        self.sockets_of: Counter[str] = Counter()
        self.streams_of: Counter[str] = Counter()
        self.closed = asyncio.Event()
        """Set when the server goes: streams end then, without a word that all was sent."""

    def close(self) -> None:
        """End every stream, and refuse others. Sockets are told by the server itself, as it closes connections."""
        self.closed.set()

    @contextmanager
    def socket(self) -> Iterator[None]:
        """Take the place of a socket in this process. Raises `TooManyError`."""
        if self.sockets >= self.limits.sockets:
            raise TooManyError("sockets")
        self.sockets += 1
        try:
            yield
        finally:
            self.sockets -= 1

    @contextmanager
    def socket_of(self, name: str) -> Iterator[None]:
        """Take a credential's place for a socket. Raises `TooManyError`."""
        with _place(self.sockets_of, name, self.limits.sockets_per_credential, "sockets"):
            yield

    @contextmanager
    def stream_of(self, name: str) -> Iterator[None]:
        """Take a credential's place for an operation that runs. Raises `TooManyError`."""
        with _place(self.streams_of, name, self.limits.streams_per_credential, "streams"):
            yield


@contextmanager
def _place(taken: Counter[str], name: str, most: int, what: str) -> Iterator[None]:
    if taken[name] >= most:
        raise TooManyError(what)
    taken[name] += 1
    try:
        yield
    finally:
        taken[name] -= 1
        if not taken[name]:
            del taken[name]
