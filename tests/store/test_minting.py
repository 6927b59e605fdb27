"""Minting: where new roots go, by flags, a grace and the control plane's clock; and that ids live where they say."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from store import ids
from store.minting import FLIPPED_AT, KIND, PREVIOUS, MintFlags, Minting, mint_flags
from store.residency import LEGACY, NEW, Residency, ShardKey, shard_of
from store.settings import MintSettings
from store.shard import Database
from tests.conftest import over_shards
from tests.federation import SHARD_A, FederationUnderTest

FLIP = datetime(2026, 8, 21, tzinfo=UTC)
GRACE = timedelta(seconds=90)


@pytest.mark.parametrize(
    ("own", "everybody", "expected"),
    [
        (None, None, MintFlags(LEGACY, LEGACY)),
        ({KIND: "runOpsId"}, None, MintFlags(NEW, LEGACY)),
        (None, {KIND: "runOpsId"}, MintFlags(NEW, LEGACY)),
        ({KIND: "cuid"}, {KIND: "runOpsId"}, MintFlags(LEGACY, LEGACY)),
        ({"other": 1}, {KIND: "runOpsId"}, MintFlags(NEW, LEGACY)),
        # A stamp is taken from where the kind is, never from the other source.
        (
            {KIND: "runOpsId"},
            {KIND: "cuid", PREVIOUS: "runOpsId", FLIPPED_AT: FLIP.isoformat()},
            MintFlags(NEW, LEGACY),
        ),
        (
            {KIND: "runOpsId", PREVIOUS: "cuid", FLIPPED_AT: "2026-08-21T00:00:00.000Z"},
            None,
            MintFlags(NEW, LEGACY, FLIP),
        ),
        ({KIND: "runOpsId", PREVIOUS: "cuid", FLIPPED_AT: "2026-08-21T00:00:00"}, None, MintFlags(NEW, LEGACY, FLIP)),
        ({KIND: "ksuid"}, None, MintFlags(LEGACY, LEGACY)),
        ({KIND: ["runOpsId"]}, None, MintFlags(LEGACY, LEGACY)),
        ({KIND: "runOpsId", FLIPPED_AT: "yesterday"}, None, MintFlags(NEW, LEGACY)),
        ({KIND: "runOpsId", FLIPPED_AT: 5}, None, MintFlags(NEW, LEGACY)),
        ([], "x", MintFlags(LEGACY, LEGACY)),
    ],
)
def test_flags_are_read_from_one_source_and_never_fail(own: Any, everybody: Any, expected: MintFlags) -> None:
    assert mint_flags(own, everybody) == expected


@pytest.mark.parametrize(
    ("after", "home"),
    [
        (timedelta(seconds=-1), LEGACY),
        (timedelta(), LEGACY),
        (GRACE - timedelta(microseconds=1), LEGACY),
        (GRACE, NEW),
        (timedelta(days=400), NEW),
    ],
)
def test_the_old_kind_is_minted_until_the_grace_has_passed(after: timedelta, home: ShardKey) -> None:
    assert MintFlags(NEW, LEGACY, FLIP).at(FLIP + after, GRACE) == home


async def flagged(federation: FederationUnderTest, flags: object) -> Minting:
    """Return a minting of which the tenant's organization has these flags."""
    await federation.connections[LEGACY].execute(
        'UPDATE "Organization" SET "featureFlags" = $1 WHERE id = $2',
        json.dumps(flags),
        federation.tenant.organization_id,
    )
    opened = federation.federation
    return Minting(opened.router.residency, opened.control_plane.primary, MintSettings(enabled=True))


@over_shards(1, 2, 3)
async def test_a_root_goes_where_its_organizations_flag_says_if_there_is_such_a_shard(
    federation: FederationUnderTest,
) -> None:
    environment_id = federation.tenant.environment_id
    environment = (await federation.federation.control_plane.environments([environment_id]))[environment_id]

    minting = await flagged(federation, {KIND: "runOpsId"})
    with federation.listening():
        assert await minting.home(environment) == (NEW if NEW in federation.shards else LEGACY)
        assert await minting.home(environment) == (NEW if NEW in federation.shards else LEGACY)
    assert sum(federation.queries.values()) == (1 if NEW in federation.shards else 0), "remembered; one shard asks none"
    assert await (await flagged(federation, {KIND: "cuid"})).home(environment) == LEGACY
    off = Minting(federation.federation.router.residency, federation.federation.control_plane.primary, MintSettings())
    await flagged(federation, {KIND: "runOpsId"})
    with federation.listening():
        assert await off.home(environment) == LEGACY
    assert not federation.queries, "with the master switch off no flag is read"


async def test_a_flip_counts_by_the_databases_clock_and_not_by_ours(federation: FederationUnderTest) -> None:
    environment_id = federation.tenant.environment_id
    environment = (await federation.federation.control_plane.environments([environment_id]))[environment_id]
    database_now = await federation.connections[LEGACY].fetchval("SELECT now()")
    for ago, home in ((89, LEGACY), (91, NEW)):
        flipped_at = (database_now - timedelta(seconds=ago)).isoformat()
        minting = await flagged(federation, {KIND: "runOpsId", PREVIOUS: "cuid", FLIPPED_AT: flipped_at})
        assert await minting.home(environment) == home


def test_what_is_new_lives_with_its_anchor() -> None:
    residency = Residency((LEGACY, NEW, SHARD_A))
    database = Database(create_async_engine("postgresql+asyncpg://"))  # no root is minted, so it is not asked
    minting = Minting(residency, database, MintSettings())
    for anchor in (ids.mint_cuid(), ids.mint_v1(), ids.mint_v2("a"), "0" * 21):
        for reference in (anchor, f"run_{anchor}", f"batch_{anchor}"):
            assert shard_of(minting.with_anchor(reference)) == shard_of(anchor)
    with pytest.raises(LookupError, match="not configured"):
        minting.with_anchor(ids.mint_v2("z"))
    single = Minting(Residency((NEW,)), database, MintSettings())
    assert shard_of(single.with_anchor(ids.mint_v1())) == LEGACY, "with one database there are only cuids"
