"""Everything that writes, put together. A deployment whose databases have another master has none of it."""

from dataclasses import dataclass

from store.authority import Authority
from store.bulk import BulkActions
from store.changes import Changes
from store.control_plane import ControlPlane
from store.engine import Engine, PostgresEngine
from store.metrics import Metrics
from store.minting import Minting
from store.router import Router
from store.seam import Seam
from store.settings import MintSettings
from store.shard import Database
from store.sweeper import Sweeper
from store.tokens import Tokens
from store.triggers import Triggers

LOCKS = 10
"""How many connections hold keys' locks in one process."""


@dataclass(frozen=True, slots=True)
class Writing:
    """What resolvers, callbacks and the sweeper write with."""

    seam: Seam
    triggers: Triggers
    tokens: Tokens
    changes: Changes
    bulk: BulkActions
    sweeper: Sweeper
    authority: Authority
    minting: Minting
    postgres: PostgresEngine

    @classmethod
    def over(  # noqa: PLR0913, PLR0917  what a deployment has
        cls,
        router: Router,
        control_plane: ControlPlane,
        locks: Database,
        mint: MintSettings,
        metrics: Metrics,
        engine: Engine | None = None,
    ) -> "Writing":
        """Return what writes to shards. `locks` is the control plane's primary, in a pool of its own."""
        postgres = PostgresEngine(router, control_plane)
        seam = Seam(router, postgres, engine)
        authority = Authority(locks, LOCKS)
        minting = Minting(router.residency, control_plane.primary, mint)
        triggers = Triggers(router, minting, authority, seam)
        changes = Changes(router, postgres, authority, seam)
        bulk = BulkActions(router, control_plane, triggers, changes, minting, authority, postgres)
        return cls(
            seam,
            triggers,
            Tokens(router, minting, authority, seam),
            changes,
            bulk,
            Sweeper(router, postgres, seam, authority, bulk, metrics),
            authority,
            minting,
            postgres,
        )
