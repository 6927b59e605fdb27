"""Where a row may live, decided from its id alone: pure, total, without a database.

Only runs and batches say where they live. Every other id is a cuid and says nothing, so a waitpoint is looked up.
"""

from dataclasses import dataclass
from typing import NewType, TypeAlias

from store import ids

ShardKey = NewType("ShardKey", str)
Route: TypeAlias = tuple[ShardKey, ...]

LEGACY = ShardKey("legacy")
NEW = ShardKey("new")

HOME_OF_A_RUN_WITHOUT_ID = NEW
"""Where a run goes that has no id yet: the steady-state home."""

HOME_OF_A_WAITPOINT_WITHOUT_OWNER = LEGACY
"""Where a waitpoint goes that no run, batch or hint claims. Different from a run's on purpose."""


def shard_of(reference: str, ksuid: ShardKey = NEW) -> ShardKey:
    """Return the shard that a run's or batch's id names. Total: every string has an answer.

    A 26-character body ends in its generation: ``1`` is the new database, ``2`` names its shard in the character
    before; 27 base62 characters were the first new format (`ksuid` says where those live). Any other shape (cuid,
    nanoid) is legacy. The prefix is not looked at. The platform's rule is ``resolveShard`` in
    ``packages/core/src/v3/isomorphic/runOpsResidency.ts``.
    """
    body = ids.body(reference)
    if ids.is_run_ops(body):
        return NEW if body[25] == "1" else ShardKey(body[24])
    return ksuid if ids.is_ksuid(body) else LEGACY


@dataclass(frozen=True, slots=True)
class Residency:
    """Which of the configured shards may hold an id. Routes are in the order in which shards are asked.

    An empty route means that no row can exist: the id names a shard that is not configured. With one shard there is
    nothing to decide, and every route is that shard.
    """

    shards: Route
    ksuid: ShardKey = NEW

    @property
    def probe_order(self) -> Route:
        """The order of lookups: second-generation shards as configured, then new, then legacy."""
        return (
            *(key for key in self.shards if key not in (NEW, LEGACY)),
            *(key for key in (NEW, LEGACY) if key in self.shards),
        )

    @property
    def precedence(self) -> Route:
        """The order of merges, the reverse of lookups: the last copy of a row wins, so new beats legacy."""
        return self.probe_order[::-1]

    def run(self, reference: str) -> Route:
        """Return the one shard that may hold a run. A miss there is a miss: no other shard is asked."""
        if len(self.shards) == 1:
            return self.shards
        named = shard_of(reference, self.ksuid)
        return (named,) if named in self.shards else ()

    def batch(self, reference: str) -> Route:
        """Return the shards that may hold a batch: the one its id names, then the others, for the misses.

        Some of the platform's create paths wrote a batch with a new id to legacy, so a miss at home is not final.
        """
        home = self.run(reference)
        return (*home, *(key for key in self.probe_order if key not in home))

    def waitpoint(self) -> Route:
        """Return every shard: a waitpoint's id is a cuid wherever it lives."""
        return self.probe_order

    def explain(self, reference: str) -> tuple[Route, str]:
        """Return the route of any id, and one sentence that says why."""
        prefix, separator, body = reference.partition("_")
        if not separator:
            prefix, body = "run", reference
        if prefix == "waitpoint":
            return self.waitpoint(), "a waitpoint's id never says where it lives, so every shard is asked"
        shape = _shape(body, self.ksuid)
        if len(self.shards) == 1:
            return self.shards, "there is one shard"
        if prefix == "batch":
            return self.batch(reference), f"{shape}; the others are asked only for what it misses"
        if prefix != "run":
            return self.run(reference), f"{shape}, though {prefix!r} is not a run, batch or waitpoint"
        if not self.run(reference):
            return (), f"{shape}, which is not configured here, so no row can exist"
        return self.run(reference), shape


def _shape(body: str, ksuid: ShardKey) -> str:
    if ids.is_run_ops(body):
        parts = ids.parse_run_ops(body)
        minted = f"minted {parts.created_at.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}"
        if parts.generation == 1:
            return f"26 characters ending in 1 are the new database ({minted}, region {parts.slot!r})"
        return f"26 characters ending in 2 name their shard in the character before: {parts.slot!r} ({minted})"
    if ids.is_ksuid(body):
        minted = ids.ksuid_created_at(body).isoformat().replace("+00:00", "Z")
        return f"27 base62 characters are a retired format, kept on {ksuid} (minted {minted})"
    return f"{len(body)} characters of no new format are legacy"
