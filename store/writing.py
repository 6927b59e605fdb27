"""Everything that writes, put together. A deployment whose databases have another master has none of it."""

from dataclasses import dataclass

from store.authority import Authority
from store.changes import Changes
from store.control_plane import ControlPlane
from store.engine import Engine, PostgresEngine
from store.minting import Minting
from store.seam import Seam
from store.settings import MintSettings
from store.shard import Database
from store.shards import Shards
from store.tokens import Tokens
from store.triggers import Triggers


@dataclass(frozen=True, slots=True)
class Writing:
    """What resolvers, callbacks and the sweeper write with."""

    seam: Seam
    triggers: Triggers
    tokens: Tokens
    changes: Changes
    authority: Authority
    minting: Minting
    postgres: PostgresEngine

    @classmethod
    def over(
        cls,
        shards: Shards,
        control_plane: ControlPlane,
        locks: Database,
        mint: MintSettings,
        engine: Engine | None = None,
    ) -> "Writing":
        """Return what writes to shards. `locks` is the control plane's primary, in a pool of its own."""
        postgres = PostgresEngine(shards, control_plane)
        seam = Seam(shards, postgres, engine)
        authority = Authority(locks)
        minting = Minting(shards.residency, control_plane.primary, mint)
        return cls(
            seam,
            Triggers(shards, minting, authority, seam),
            Tokens(shards, minting, authority, seam),
            Changes(shards, postgres, authority, seam),
            authority,
            minting,
            postgres,
        )
