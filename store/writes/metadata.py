"""The metadata of runs of one shard, written while the run is held, under its version."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, TypeAlias

import orjson
from sqlalchemy import any_, select, update

from store.queries import Scope, bytewise, text_array
from store.shard import WriteConnection
from store.tables import task_run

Document: TypeAlias = dict[str, Any]


async def lock_metadata(
    connection: WriteConnection, run_ids: Collection[str], scope: Scope
) -> dict[str, tuple[Document, int]]:
    """Lock runs, and return their metadata and its version, by primary key. What is no object counts as none."""
    c = task_run.c
    statement = (
        select(c.id, c.environment_id, c.run_metadata, c.metadata_type, c.metadata_version)
        .where(c.id == any_(text_array(run_ids)))
        .order_by(bytewise(c.id))
        .with_for_update(key_share=True)
    )
    return {
        row.id: (_document(row.run_metadata, row.metadata_type), row.metadata_version)
        for row in await connection.execute(statement)
        if row.environment_id in scope
    }


async def set_metadata(
    connection: WriteConnection, run_id: str, document: Document, version: int, now: datetime
) -> None:
    """Write the metadata of a run that the caller has locked, one version on."""
    text = orjson.dumps(document).decode()
    c = task_run.c
    statement = update(task_run).where(c.id == run_id, c.metadata_version == version)
    await connection.execute(
        statement.values(
            run_metadata=text, metadata_type="application/json", metadata_version=version + 1, updated_at=now
        )
    )


def _document(text: str | None, content_type: str) -> Document:
    try:
        value = orjson.loads(text or "{}")
    except ValueError:
        return {}
    if content_type == "application/super+json" and isinstance(value, dict):
        value = value.get("json")
    return value if isinstance(value, dict) else {}
