"""The databases themselves, as this process last saw them."""

from datetime import datetime
from typing import NamedTuple

from resolvers.viewer import Viewer


class ShardHealth(NamedTuple):
    """One shard: its key, whether it answered last, and when that was (naive UTC)."""

    key: str
    healthy: bool
    checked_at: datetime | None


def shards(viewer: Viewer) -> list[ShardHealth]:
    """Return every shard, in the order of configuration. Asks none of them."""
    return [
        ShardHealth(key, shard.replica.healthy, shard.replica.checked_at) for key, shard in viewer.router.shards.items()
    ]
