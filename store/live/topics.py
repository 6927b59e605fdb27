"""What can be watched: one row, the runs of a batch, or the runs of an environment that have tags."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class Kind(Enum):
    """What a row is."""

    RUN = "run"
    BATCH = "batch"
    WAITPOINT = "waitpoint"
    BULK_ACTION = "bulk action"


@dataclass(frozen=True, slots=True)
class One:
    """One row, by its friendly id."""

    kind: Kind
    reference: str


@dataclass(frozen=True, slots=True)
class OfBatch:
    """The runs of a batch: its own, and others that it lists by their friendly ids."""

    batch_id: str
    environment_id: str
    listed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tagged:
    """The runs of an environment that have all of the tags and were created in the last day."""

    environment_id: str
    tags: tuple[str, ...]


Topic: TypeAlias = One | OfBatch | Tagged
