"""What watched rows say now: records by primary key, as everybody else reads them."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Protocol, TypeAlias

from store.batches import batches_by_reference
from store.control_plane import bulk_actions_by_reference
from store.live.topics import Kind
from store.queries import Scope
from store.runs import runs_by_reference
from store.shard import ReadConnection
from store.waitpoints import waitpoints_by_reference


class Watched(Protocol):
    """A record that can be watched."""

    @property
    def id(self) -> str:
        """Primary key."""

    @property
    def environment_id(self) -> str | None:
        """Where it belongs."""

    @property
    def updated_at(self) -> datetime:
        """When it last changed, naive UTC."""

    @property
    def is_final(self) -> bool:
        """Whether its state will not change again."""


Read: TypeAlias = Callable[[ReadConnection, Scope, Collection[str]], Awaitable[Mapping[str, Watched]]]

READS: Mapping[Kind, Read] = {
    Kind.RUN: runs_by_reference,
    Kind.BATCH: batches_by_reference,
    Kind.WAITPOINT: waitpoints_by_reference,
    Kind.BULK_ACTION: bulk_actions_by_reference,
}
"""How the records of a kind are read, those in a scope, by primary key."""
