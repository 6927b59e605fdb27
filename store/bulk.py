"""Bulk actions: one action on many runs, done page by page by whichever process sweeps.

Everything that it takes to go on is in the row's `cursor`: which runs, what becomes of them, and how far it has come.
A page is done again if a crash came between its runs and its cursor: a run that was canceled stays so, and a replay has
an id that is made of the bulk action's and the source's, so that it is made once.
"""

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import structlog
from sqlalchemy import and_, any_, func, or_, select, update

from store import ids
from store.authority import Authority
from store.changes import Changes
from store.control_plane import CONTROL_PLANE, ENVIRONMENTS, ControlPlane, ask, first
from store.engine import PostgresEngine
from store.errors import LimitError, MissingError, ShardError, StateError, StoreError
from store.filters import RunFilter, TimeRange, constant
from store.minting import Minting
from store.moments import now
from store.pages import Feed, Page, Position, Window
from store.queries import Scope, text_array
from store.records import EnvironmentRecord, RunRecord
from store.replays import replayed
from store.residency import ShardKey
from store.router import Router
from store.shard import ReadFrom, WriteConnection
from store.tables import bulk_action, columns, task_run
from store.tables import environment as environments
from store.triggers import Triggers
from store.writes.rows import insert_rows
from store.writes.runs import lock_runs, set_runs, with_bulk_action

log = structlog.get_logger()
BulkType = Literal["CANCEL", "REPLAY"]

PAGE = 100
AT_ONCE = 10
"""How many runs of a page are worked on at a time."""

MOST_REPLAYS = 3
"""Of an environment, at work at a time."""

MOST_COUNTED = 10_000
"""Of runs, when a bulk action is created; in the end it knows how many they were."""

MOST_PENDING = 20
"""How many are carried on in turn."""


class Pending(NamedTuple):
    """A bulk action at work."""

    id: str
    environment_id: str | None
    type: str
    created_at: datetime
    cursor: Any


class BulkActions:
    """Creates, stops and carries on bulk actions."""

    def __init__(  # noqa: PLR0913, PLR0917  everything that runs are changed and made with
        self,
        router: Router,
        control_plane: ControlPlane,
        triggers: Triggers,
        changes: Changes,
        minting: Minting,
        authority: Authority,
        postgres: PostgresEngine,
    ) -> None:
        self._router, self._control_plane = router, control_plane
        self._triggers, self._changes, self._minting = triggers, changes, minting
        self._authority, self._postgres = authority, postgres

    async def create(  # noqa: PLR0913  what a bulk action is made of
        self,
        environment: EnvironmentRecord,
        type_: BulkType,
        name: str | None = None,
        *,
        run_ids: Sequence[str] | None = None,
        narrowing: RunFilter | None = None,
        shown: Mapping[str, Any] | None = None,
        region: str | None = None,
        user_id: str | None = None,
    ) -> str:
        """Create a bulk action on the runs of an environment that a filter lets through, and return its friendly id.

        On those of `run_ids`, friendly ids, if they are given; of a filter, what it says of this moment is settled.
        `shown` is what clients see of it, `region` where replays run. Raises `LimitError` or `ShardError`.
        """
        wanted = narrowing or RunFilter()
        if run_ids is not None:
            wanted = replace(wanted, run_ids=tuple(dict.fromkeys(run_ids)))
        moment, id_ = now(), ids.mint_cuid()
        replays = type_ == "REPLAY"
        row = {
            "id": id_,
            "friendly_id": f"bulk_{id_}",
            "project_id": environment.project_id,
            "environment_id": environment.id,
            "type": type_,
            "status": "PENDING",
            "name": name,
            "params": dict(shown or {}),
            "cursor": {
                "filter": _written(wanted, moment),
                "region": region,
                "shard": await self._minting.home(environment) if replays else None,
                "after": None,
            },
            "total_count": await self._count(environment.id, wanted, moment),
            "success_count": 0,
            "failure_count": 0,
            "user_id": user_id,
            "created_at": moment,
            "updated_at": moment,
        }
        database = self._control_plane.primary
        if not replays:
            await database.write(lambda connection: insert_rows(connection, bulk_action, [row]), CONTROL_PLANE)
        else:
            async with self._authority.over(environment.id, [("bulk",)]) as confirm:

                async def work(connection: WriteConnection) -> None:
                    c = bulk_action.c
                    at_work = select(func.count()).where(
                        c.environment_id == environment.id,
                        constant(c.status, "PENDING"),
                        constant(c.type, "REPLAY"),
                    )
                    if (await connection.execute(at_work)).scalar_one() >= MOST_REPLAYS:
                        raise LimitError(f"At most {MOST_REPLAYS} bulk replays of an environment can be at work.")
                    await insert_rows(connection, bulk_action, [row])
                    await confirm()

                await database.write(work, CONTROL_PLANE)
        self._postgres.due.set()
        return f"bulk_{id_}"

    async def _count(self, environment_id: str, wanted: RunFilter, moment: datetime) -> int:
        if wanted.run_ids is not None:
            return len(wanted.run_ids)
        counts, _ = await self._router.count_runs(
            [environment_id], wanted.conditions(moment), MOST_COUNTED, ReadFrom.PRIMARY
        )
        return min(counts[environment_id], MOST_COUNTED)

    async def abort(self, scope: Scope, friendly_id: str) -> None:
        """Stop a bulk action: runs that it has not come to stay as they are.

        Raises `MissingError`, `StateError` for one that has ended, or `ShardError`.
        """
        c, moment = bulk_action.c, now()
        named = (c.friendly_id == friendly_id, c.environment_id == any_(text_array(scope)))

        async def work(connection: WriteConnection) -> str | None:
            statement = update(bulk_action).where(*named, constant(c.status, "PENDING")).returning(c.id)
            stopped = statement.values(status="ABORTED", completed_at=moment, updated_at=moment)
            if (await connection.execute(stopped)).one_or_none() is not None:
                return None
            row = (await connection.execute(select(*columns(bulk_action, ["status"])).where(*named))).one_or_none()
            if row is None:
                raise MissingError("Bulk action")
            return str(row[0])

        status = await self._control_plane.primary.write(work, CONTROL_PLANE)
        if status is not None:
            raise StateError(f"The bulk action is already {status.lower()}.")

    async def pending(self) -> list[Pending]:
        """Return bulk actions at work, those first that were left alone for longest. Raises `ShardError`.

        One that something else made is not ours to carry on.
        """
        c = bulk_action.c
        statement = (
            select(*columns(bulk_action, Pending._fields))
            .where(constant(c.status, "PENDING"), c.cursor.has_key("filter"))
            .order_by(c.updated_at)
            .limit(MOST_PENDING)
        )
        return await ask(self._control_plane.primary, statement, Pending._make)

    async def carry_on(self, one: Pending) -> bool:
        """Do the next page of a bulk action, and tell whether there is another.

        Raises `ShardError` if a database could not be asked: the page is done again then.
        """
        database = self._control_plane.primary  # what a replica does not have may only be late
        statement = ENVIRONMENTS.where(environments.c.id == one.environment_id)
        environment = await first(database, statement, EnvironmentRecord._make)
        if environment is None or (one.type == "REPLAY" and environment.archived_at is not None):
            await self._update(one, {"status": "ABORTED", "completed_at": now()})
            return False
        page = await self._page(one, environment.id)
        runs = [run for run in page.nodes if not self._is_own(one, run)]
        outcomes: list[bool] = []
        for start in range(0, len(runs), AT_ONCE):
            some = await asyncio.gather(*(self._done(one, environment, run) for run in runs[start : start + AT_ONCE]))
            for outcome in some:
                if isinstance(outcome, ShardError):
                    raise outcome
                outcomes.append(outcome)
        if one.type == "REPLAY":
            await self._mark(one, [run.id for run, went_well in zip(runs, outcomes, strict=True) if went_well])
        return await self._advance(one, page, Counter(outcomes))

    async def _page(self, one: Pending, environment_id: str) -> Page[RunRecord]:
        """Return the next runs, newest first; none that is younger than the bulk action: those may be its own."""
        after = one.cursor["after"]
        narrowing = _read(one.cursor["filter"])
        conditions = narrowing.conditions(one.created_at)
        if one.type == "CANCEL" and narrowing.raw_status is not None:
            # A page that is done again finds the runs too that are in another state because of it.
            touched = task_run.c.bulk_action_group_ids.bool_op("@>")(text_array([one.id]))
            conditions = [or_(and_(*conditions), touched)]
        conditions.append(task_run.c.created_at <= one.created_at)
        pages = await self._router.runs_by_environment(
            {environment_id: Feed("bulkAction", environment_id=environment_id)},
            conditions,
            Window(PAGE, None if after is None else Position(*after)),
            ReadFrom.PRIMARY,
        )
        page = pages[environment_id]
        if page.failures:
            raise page.failures[0]
        return page

    async def _done(self, one: Pending, environment: EnvironmentRecord, run: RunRecord) -> "bool | ShardError":
        """Do to a run what is to be done, and return whether that went well."""
        try:
            if one.type == "CANCEL":
                await self._changes.cancel([environment.id], run.id, environment.id, bulk_action_id=one.id)
            else:
                overrides = {"friendly_id": self._replay_id(one, run.friendly_id), "bulk_action_id": one.id}
                if one.cursor["region"] is not None:
                    overrides["region"] = one.cursor["region"]
                new = await replayed(self._router, self._control_plane, environment, run, overrides)
                await self._triggers.run(environment, new)
        except ShardError as error:
            return error
        except StoreError:
            return False
        except Exception:  # one run must not keep a bulk action from the others for ever
            log.exception("a bulk action failed for a run", error_id=secrets.token_hex(8), run=run.id)
            return False
        return True

    def _replay_id(self, one: Pending, source: str) -> str:
        random = hashlib.blake2b(f"{one.id}\x1f{source}".encode(), digest_size=9).digest()
        return f"run_{self._minting.on(ShardKey(one.cursor['shard']), one.created_at.replace(tzinfo=UTC), random)}"

    def _is_own(self, one: Pending, run: RunRecord) -> bool:
        """Tell whether a run is a replay that this bulk action made: clocks differ."""
        source = run.replayed_from_friendly_id
        return one.type == "REPLAY" and source is not None and run.friendly_id == self._replay_id(one, source)

    async def _mark(self, one: Pending, run_ids: Collection[str]) -> None:
        """Say of runs that they were replayed by a bulk action."""
        by_shard: dict[ShardKey, list[str]] = {}
        for run_id in run_ids:
            for key in self._router.residency.run(run_id):
                by_shard.setdefault(key, []).append(run_id)
        for key, of in by_shard.items():

            async def work(connection: WriteConnection, of: Collection[str] = of) -> None:
                runs = await lock_runs(connection, of)
                await set_runs(connection, runs, now(), bulk_action_group_ids=with_bulk_action(one.id))

            await self._router.shards[key].write(work)

    async def _advance(self, one: Pending, page: Page[RunRecord], outcomes: Counter[bool]) -> bool:
        """Write how far a bulk action has come, unless somebody else did or stopped it; tell whether it goes on."""
        c, moment = bulk_action.c, now()
        succeeded, failed = c.success_count + outcomes[True], c.failure_count + outcomes[False]
        values: dict[str, Any] = {"success_count": succeeded, "failure_count": failed}
        if page.end is not None:
            values["cursor"] = {**one.cursor, "after": list(page.end)}
        if not page.has_next_page:
            values |= {"status": "COMPLETED", "completed_at": moment, "total_count": succeeded + failed}
        return await self._update(one, values) and page.has_next_page

    async def _update(self, one: Pending, values: Mapping[str, Any]) -> bool:
        c = bulk_action.c
        statement = (
            update(bulk_action)
            .where(c.id == one.id, constant(c.status, "PENDING"), c.cursor == one.cursor)
            .values({**values, "updated_at": now()})
            .returning(c.id)
        )

        async def work(connection: WriteConnection) -> bool:
            return (await connection.execute(statement)).one_or_none() is not None

        return await self._control_plane.primary.write(work, CONTROL_PLANE)


def _written(narrowing: RunFilter, moment: datetime) -> dict[str, Any]:
    """Return a filter as JSON; a time that is so long before a moment becomes a time."""
    times = narrowing.created_at
    since = times.since if times.period is None else moment - times.period
    others = {each.name: getattr(narrowing, each.name) for each in fields(narrowing) if each.name != "created_at"}
    return {**others, "created_at": [time and time.isoformat() for time in (since, times.until)]}


def _read(written: Mapping[str, Any]) -> RunFilter:
    """Return the filter that was written."""
    since, until = (time and datetime.fromisoformat(time) for time in written["created_at"])
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in written.items()
    }
    return RunFilter(**{**values, "created_at": TimeRange(None, since, until)})
