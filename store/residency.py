"""Where a row may live, decided from its id alone: pure, total, without a database.

Only runs and batches say where they live. Every other id is a cuid and says nothing, so a waitpoint is looked up.
"""

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


def probe_order(shards: Route) -> Route:
    """Return shards in the order in which a lookup tries them: as configured, then new, then legacy."""
    return (
        *(key for key in shards if key not in (NEW, LEGACY)),
        *(key for key in (NEW, LEGACY) if key in shards),
    )


def run_route(reference: str, ksuid: ShardKey = NEW) -> Route:
    """Return the one shard that may hold a run. A miss there is a miss: no other shard is asked."""
    return (shard_of(reference, ksuid),)


def batch_route(reference: str, shards: Route, ksuid: ShardKey = NEW) -> Route:
    """Return the shards that may hold a batch: the one its id names, then the others, for the misses.

    Some of the platform's create paths wrote a batch with a new id to legacy, so a miss at home is not final.
    """
    home = shard_of(reference, ksuid)
    return (home, *(key for key in probe_order(shards) if key != home))


def waitpoint_route(shards: Route) -> Route:
    """Return every shard, in probe order: a waitpoint's id is a cuid wherever it lives."""
    return probe_order(shards)


def explain(reference: str, shards: Route, ksuid: ShardKey = NEW) -> tuple[Route, str]:
    """Return the route of any id and one sentence that says why."""
    prefix, separator, _ = reference.partition("_")
    body = ids.body(reference)
    if separator and prefix == "waitpoint":
        return waitpoint_route(shards), "a waitpoint's id never says where it lives, so every shard is asked"
    shape = _shape(body, ksuid)
    if separator and prefix == "batch":
        return batch_route(
            reference, shards, ksuid
        ), f"{shape}; the other shards are asked only if it has no such batch"
    if separator and prefix != "run":
        return (shard_of(reference, ksuid),), f"{shape}, but {prefix!r} is not a run, batch or waitpoint"
    return run_route(reference, ksuid), shape


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
