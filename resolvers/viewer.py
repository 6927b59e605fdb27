"""The viewer: who asks, what it may see, and its loaders. Every resolver takes one."""

import asyncio
from collections.abc import Hashable, Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

from resolvers.ability import Resource
from resolvers.errors import ForbiddenError
from resolvers.loaders import Keyed, Loader
from resolvers.scope import Scope
from resolvers.summary import shown
from store.errors import ReadOnlyError, ShardError
from store.federation import Federation
from store.pages import Page
from store.shard import ReadFrom
from store.writing import Writing

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Viewer:
    """One asker during one request. Everything that it loads is limited to its scope.

    `origin` is where callers reach this server, for the URLs that it hands out.
    """

    def __init__(self, federation: Federation, scope: Scope, origin: str = "") -> None:
        self.router = federation.router
        self.control_plane = federation.control_plane
        self.credentials = federation.credentials
        self.live = federation.live
        self._writing = federation.writing
        self.scope, self.origin = scope, origin
        self.source = ReadFrom.REPLICA
        self.now = datetime.now(UTC).replace(tzinfo=None)
        """The moment of the request: every period of it ends here, on every shard."""
        self.degraded: dict[str, ShardError] = {}
        """Shards whose rows are missing from some page of this request, by key."""
        self._loaders: dict[Keyed[Any, Any], Loader[Any, Any]] = {}

    @property
    def seen(self) -> frozenset[str]:
        """The environments whose rows it may see."""
        return self.scope.environment_ids

    def load(self, kind: Keyed[K, V], key: K) -> "asyncio.Future[V | None]":
        """Return the value of one key, or None if there is none that this viewer may see. Raises that key's error."""
        loader = self._loaders.get(kind)
        if loader is None:
            loader = self._loaders[kind] = Loader(self, kind)
        return loader.load(key)

    async def load_many(self, kind: Keyed[K, V], keys: Iterable[K]) -> list[V | ShardError | None]:
        """Return the values of many keys, in their order; the error of a key stands in its place."""
        answers = await asyncio.gather(*(self.load(kind, key) for key in keys), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, ShardError):
                raise answer
        return [answer for answer in answers if isinstance(answer, ShardError) or not isinstance(answer, BaseException)]

    def show(self, value: Any) -> Any:  # noqa: ANN401  whatever was loaded
        """Return what the viewer is shown of a loaded value: all of it, unless its credential is limited."""
        return shown(self.scope.ability, value) if self.scope.ability.is_limited else value

    def need(self, *any_of: Resource, action: str = "read", instead: str | None = None) -> None:
        """Raise `ForbiddenError` unless the credential may read one of these, or do something else to it.

        To do something may be allowed by another action too, `instead`.
        """
        ability = self.scope.ability
        if not ability.allows(action, any_of) and not (instead and ability.allows(instead, any_of)):
            raise ForbiddenError(" or ".join(dict.fromkeys(resource.type for resource in any_of)), action)

    @property
    def triggering(self) -> Writing:
        """What makes runs. Raises `ReadOnlyError` where these databases have another master."""
        if self._writing is None:
            raise ReadOnlyError
        return self._writing

    @property
    def writing(self) -> Writing:
        """What writes anything. Raises `ForbiddenError` for a credential that may trigger once, and nothing else."""
        writing = self.triggering
        if self.scope.one_time_token is not None:
            raise ForbiddenError("anything but to trigger once", "do")
        return writing

    def note(self, page: Page[Any]) -> None:
        """Remember whose rows a page lacks, to say it once in the response."""
        self.degraded.update((failure.shard, failure) for failure in page.failures)

    def wrote(self) -> None:
        """Read from primaries from now on, with fresh loaders: whatever was loaded may be old."""
        self.source = ReadFrom.PRIMARY
        self.forget()

    def forget(self) -> None:
        """Let go of what was loaded. Loaders know their viewer: it would be kept until garbage is collected."""
        self._loaders = {}
