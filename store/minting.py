"""New ids, and so the shard of what is new: a root goes where its organization's flag says, all else with its anchor.

The flags and their grace are the platform's (``runOpsMintKind.server.ts``, ``mintFlagCutover.server.ts``). Unlike
there, time is the control plane's own: processes whose clocks differ change over at the same moment.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog
from sqlalchemy import func, select

from store import ids
from store.control_plane import CONTROL_PLANE
from store.errors import ShardError
from store.memory import Memory
from store.records import EnvironmentRecord
from store.residency import LEGACY, NEW, Residency, ShardKey
from store.settings import MintSettings
from store.shard import Database, ReadConnection
from store.tables import feature_flag, organization

log = structlog.get_logger()

KIND, PREVIOUS, FLIPPED_AT = "runOpsMintKind", "runOpsMintKindPrev", "runOpsMintKindFlippedAt"
"""The flags, of an organization or of all; all three come from one of the two."""

KINDS: dict[object, ShardKey] = {"cuid": LEGACY, "runOpsId": NEW}


class MintFlags(NamedTuple):
    """Which shard new roots go to, and until when they go where they went before."""

    kind: ShardKey
    previous: ShardKey
    flipped_at: datetime | None = None

    def at(self, moment: datetime, grace: timedelta) -> ShardKey:
        """Return where roots go at a moment: until the grace after a flip has passed, where they went before it."""
        return self.previous if self.flipped_at is not None and moment < self.flipped_at + grace else self.kind


class _Known(NamedTuple):
    """Flags as they were read, and by how much the control plane's clock is ahead of this process's monotonic one."""

    flags: MintFlags
    ahead: float


class Minting:
    """Mints ids of runs and batches; whatever else is new has a cuid."""

    def __init__(self, residency: Residency, control_plane: Database, settings: MintSettings) -> None:
        self._residency, self._control_plane = residency, control_plane
        self._enabled = settings.enabled and NEW in residency.shards
        self._grace = timedelta(seconds=settings.grace)
        self._flags = Memory[str, _Known](settings.ttl, settings.entries)

    def with_anchor(self, reference: str) -> str:
        """Return a body that lives where a run or batch does: a child with its parent, an item with its batch.

        Raises `LookupError` if the anchor's shard is not configured: an unroutable id must never exist.
        """
        route = self._residency.run(reference)
        if not route:
            raise LookupError("the anchor names a shard that is not configured")
        return self.on(route[0])

    def on(self, shard: ShardKey, at: datetime | None = None, random: bytes | None = None) -> str:
        """Return a body that lives on a shard; of a single database's, whatever it is called, a cuid.

        With both a time (UTC) and 9 random bytes it is a function of these.
        """
        if shard == LEGACY or len(self._residency.shards) == 1:
            return ids.mint_cuid(at, random)
        return ids.mint_v1(at=at, random=random) if shard == NEW else ids.mint_v2(shard, at, random)

    async def home(self, environment: EnvironmentRecord) -> ShardKey:
        """Return where new roots of an environment go. Flags that cannot be read are as good as off."""
        if len(self._residency.shards) == 1:
            return self._residency.shards[0]
        if not self._enabled:
            return LEGACY
        try:
            known = await self._flags.one(environment.organization_id, lambda: self._read(environment.organization_id))
        except ShardError:
            log.warning("cannot read the mint flags, so ids are cuids")
            return LEGACY
        moment = datetime.fromtimestamp(time.monotonic() + known.ahead, UTC)
        return known.flags.at(moment, self._grace)

    async def _read(self, organization_id: str) -> _Known:
        own = select(organization.c.feature_flags).where(organization.c.id == organization_id).scalar_subquery()
        rows = (
            select(func.jsonb_object_agg(feature_flag.c.key, feature_flag.c.value))
            .where(feature_flag.c.key.in_((KIND, PREVIOUS, FLIPPED_AT)))
            .scalar_subquery()
        )

        async def query(connection: ReadConnection) -> _Known:
            row = (await connection.execute(select(own, rows, func.clock_timestamp()))).one()
            return _Known(mint_flags(row[0], row[1]), row[2].timestamp() - time.monotonic())

        return await self._control_plane.read(query, CONTROL_PLANE)


def mint_flags(own: object, everybody: object) -> MintFlags:
    """Return what flags say: an organization's own if they name a kind, else everybody's. Total.

    A kind that is unknown is legacy's, a date that is none is no flip.
    """
    source = own if isinstance(own, dict) and own.get(KIND) is not None else everybody
    flags = source if isinstance(source, dict) else {}
    kind = _kind(flags.get(KIND))
    return MintFlags(kind, _kind(flags.get(PREVIOUS)), _moment(flags.get(FLIPPED_AT)))


def _kind(value: object) -> ShardKey:
    if value is not None and (not isinstance(value, str) or value not in KINDS):
        log.warning("an unknown mint kind counts as cuid")
    return KINDS.get(value, LEGACY) if isinstance(value, str) else LEGACY


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)
