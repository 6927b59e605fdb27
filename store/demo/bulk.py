"""Bulk actions: canceled and replayed runs of the latest blocks belong to one."""

from store.demo.copying import array
from store.demo.mint import timestamp
from store.demo.places import HOUR
from store.demo.world import World

REACH = 4
"""How many of the latest blocks they touched."""

RUNS_IN_A_BLOCK = 2
"""How many runs of each shard's block each of them touched."""


class Bulk:
    """The bulk actions of a demo; their rows are the control plane's."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ids: dict[tuple[str, bool], str] = {}
        place = world.tenants.places[0]
        for type_, live in (("CANCEL", False), ("REPLAY", False), ("CANCEL", True), ("REPLAY", True)):
            blocks = [
                block for block in range(world.blocks) if self._is_touched(block) and self._is_last(block) == live
            ]
            total = len(blocks) * len(world.keys) * RUNS_IN_A_BLOCK
            failed = 0 if live else 1
            at = world.anchor - (HOUR // 30 if live else HOUR)
            self._ids[type_, live] = world.tenants.rows.add(
                "BulkActionGroup",
                at,
                "bulk",
                projectId=place.project_id,
                environmentId=place.id,
                type=type_,
                status="PENDING" if live else "COMPLETED",
                name=f"{type_.capitalize()} what the card provider dropped",
                queryName="bulk_action_v1",
                params={"taskIdentifier": ["charge-card"], "statuses": ["COMPLETED_WITH_ERRORS"]},
                totalCount=total * 3 if live else total + failed,
                successCount=total,
                failureCount=failed,
                userId=world.tenants.user_id,
                completedAt=None if live else timestamp(at + 45_000),
                completionNotification="EMAIL" if live else "NONE",
            )

    def touching(self, type_: str, block: int) -> str:
        """Return the column of a run of a block that such an action touched: an array, perhaps empty."""
        return array([self._ids[type_, self._is_last(block)]] if self._is_touched(block) else [])

    def _is_touched(self, block: int) -> bool:
        return block >= self._world.blocks - REACH and self._world.place(block) is self._world.tenants.places[0]

    def _is_last(self, block: int) -> bool:
        return block == self._world.blocks - 1
