"""Self-repair: what a crash or another writer left undone is found from the rows, and done.

A completion and what follows from it may be in different databases, and no transaction crosses those: there is always
an instant at which one is written and the other is not. Nothing but the rows remembers it. One process of a deployment
sweeps at a time; should two ever do, each repair is one that may be done twice.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

import structlog

from store.authority import Authority, Key
from store.bulk import BulkActions, Pending
from store.engine import PostgresEngine
from store.errors import ShardError, ShardTimeoutError
from store.metrics import Metrics
from store.moments import now
from store.residency import ShardKey
from store.seam import Seam
from store.shard import ReadConnection, ReadFrom, Shard, WriteConnection, one_operation
from store.shards import Shards
from store.writes.batches import walk_batches
from store.writes.blocks import Edge, edges_of, walk_blocked_runs
from store.writes.runs import due_runs, queue_due_runs
from store.writes.waitpoints import (
    WaitState,
    complete_of_ended_batches,
    complete_of_runs,
    due_waitpoints,
    wait_states,
)

log = structlog.get_logger()

KINDS = ("due", "delays", "batches", "ended", "edges", "bulk")
"""What is repaired: waitpoints and delayed runs whose time has come; batches whose runs have ended; waitpoints of runs
and batches that have ended; runs that nothing blocks any more; bulk actions.
"""

SLOW = frozenset({"batches", "bulk"})
"""Repairs that ask for much at once. Whether a database answers at all is seen by the others."""

SWEEPER: Key = ("sweeper",)
PAUSE, PAUSE_OF_BULK = 1.0, 0.2
"""Between rounds, in seconds; the latter while a bulk action is at work."""

LONGEST_BULK = 1.0
"""In seconds, of a round: what is due must not wait for bulk actions. The page that is begun is done."""

LONGEST_ROUND = 120.0
"""In seconds: a connection may be lost without a word."""

MOST = 500
"""Of what is due, of a shard and round."""

PAGE, PAGES = 2_500, 2
"""Of edges, of a shard and round: so many at once, so often."""

MOST_BATCHES = 500
MOST_RUNS = 1_000
"""Of those that may not be blocked any more, of a shard and round, and a few."""

FROM_THE_BEGINNING = ""

EVERYTHING = 1_000_000
"""Of what is due, when it is only counted."""


@dataclass(slots=True)
class Report:
    """What one round did, or would do; by kind."""

    leads: bool = True
    """Whether this process swept; if not, another one does."""
    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    down: set[str] = field(default_factory=set)
    """The databases that could not be asked."""
    is_partial: bool = False
    """Whether a walk has not come to its end: the next round goes on there."""
    bulk_goes_on: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing was left out."""
        return self.leads and not self.failed and not self.down


class Sweeper:
    """Sweeps all shards in rounds. Where the last round came to is remembered here, and lost without harm."""

    def __init__(  # noqa: PLR0913, PLR0917  everything that repairs
        self,
        shards: Shards,
        postgres: PostgresEngine,
        seam: Seam,
        authority: Authority,
        bulk: BulkActions,
        metrics: Metrics,
    ) -> None:
        self._shards, self._postgres, self._seam = shards, postgres, seam
        self._authority, self._bulk, self._metrics = authority, bulk, metrics
        self._edges: dict[ShardKey, str] = {}
        self._batches: dict[ShardKey, str] = {}
        self._down: set[str] = set()
        self._failing: set[str] = set()
        self._dangling: set[str] = set()
        for kind in KINDS:  # a counter that is not there yet looks like one that nobody keeps
            metrics.repairs.labels(kind)

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until told to stop. Never raises: whatever fails in a round is logged, and tried again in the next."""
        while not stop.is_set():
            self._postgres.due.clear()
            try:
                async with asyncio.timeout(LONGEST_ROUND):
                    report = await self.round()
            except Exception:  # the next round may do better
                log.exception("a round of repairs failed", error_id=secrets.token_hex(8))
                report = Report()
            waits = [asyncio.ensure_future(event.wait()) for event in (stop, self._postgres.due)]
            try:
                pause = PAUSE_OF_BULK if report.bulk_goes_on else PAUSE
                await asyncio.wait(waits, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def round(self, *, dry_run: bool = False) -> Report:
        """Repair what is found, so much at a time, or only count everything; return how much of each kind it was."""
        report = Report()
        if dry_run:
            with one_operation():
                await self._sweep(report, dry_run=True)
            return report
        with one_operation(), self._metrics.rounds.time():
            async with AsyncExitStack() as stack:
                await self._part(report, "lock", lambda: self._lead(report, stack))
                if report.leads:
                    await self._sweep(report, dry_run=False)
        self._tell(report)
        return report

    async def _lead(self, report: Report, stack: AsyncExitStack) -> int:
        report.leads = False
        report.leads = await stack.enter_async_context(self._authority.tried(SWEEPER))
        return 0

    async def _sweep(self, report: Report, *, dry_run: bool) -> None:
        await asyncio.gather(
            *(self._sweep_shard(report, shard, dry_run=dry_run) for shard in self._shards.shards.values())
        )
        await self._part(report, "edges", lambda: self._blocked(report, dry_run=dry_run))
        await self._part(report, "bulk", lambda: self._bulk_actions(report, dry_run=dry_run))

    async def _sweep_shard(self, report: Report, shard: Shard, *, dry_run: bool) -> None:
        for kind, repair in (("due", self._due), ("delays", self._delayed), ("batches", self._open_batches)):
            if shard.key not in report.down:
                await self._part(report, kind, partial(repair, report, shard, dry_run=dry_run))

    async def _part(self, report: Report, kind: str, repair: Callable[[], Awaitable[int]]) -> None:
        """Count what one repair does; that it fails is no other's concern."""
        try:
            count = await repair()
        except ShardTimeoutError as error:
            if kind in SLOW:  # what one repair asks may take long, and the database be well
                self._failed(report, kind, error)
            else:
                report.down.add(error.shard)
        except ShardError as error:
            report.down.add(error.shard)
        except Exception as error:  # noqa: BLE001  whatever it is, the others are still to be done
            self._failed(report, kind, error)
        else:
            report.done[kind] += count

    def _failed(self, report: Report, kind: str, error: Exception) -> None:
        """Count the failure of a repair, and log it unless that kind has failed in the round before too."""
        if kind not in self._failing | report.failed.keys():
            log.error("a repair failed", kind=kind, error_id=secrets.token_hex(8), exc_info=error)
        report.failed[kind] += 1

    async def _due(self, report: Report, shard: Shard, *, dry_run: bool) -> int:
        """Complete waitpoints whose time has come."""
        most = EVERYTHING if dry_run else MOST
        due = await shard.read(lambda connection: due_waitpoints(connection, most), ReadFrom.PRIMARY)
        if dry_run or not due:
            return len(due)
        ended = await self._seam.end(shard, due)
        self._hurry(report, len(due), len(ended))
        return len(ended)

    async def _delayed(self, report: Report, shard: Shard, *, dry_run: bool) -> int:
        """Queue delayed runs whose time has come."""
        most = EVERYTHING if dry_run else MOST
        due = await shard.read(lambda connection: due_runs(connection, most), ReadFrom.PRIMARY)
        if dry_run or not due:
            return len(due)
        homes = await self._postgres.homes(set(due.values()))
        queued = await shard.write(lambda connection: queue_due_runs(connection, due, homes, now()))
        self._seam.engine.notify(queued)
        self._hurry(report, len(due), len(queued))
        return len(queued)

    def _hurry(self, report: Report, found: int, done: int) -> None:
        """Begin the next round at once if there is more, unless nothing comes of it."""
        if found == MOST and done:
            report.is_partial = True
            self._postgres.due.set()

    async def _open_batches(self, report: Report, shard: Shard, *, dry_run: bool) -> int:
        """Complete sealed batches whose runs have ended."""
        after = FROM_THE_BEGINNING if dry_run else self._batches.get(shard.key, FROM_THE_BEGINNING)
        count = 0
        while True:
            page = await shard.read(partial(walk_batches, after=after, most=MOST_BATCHES), ReadFrom.PRIMARY)
            after = page[-1] if len(page) == MOST_BATCHES else FROM_THE_BEGINNING
            if dry_run:
                count += len(await self._seam.ended_batches(shard, page)) if page else 0
                if after:
                    continue
                return count
            self._batches[shard.key] = after  # whatever becomes of this page, the next round goes on behind it
            report.is_partial |= after != FROM_THE_BEGINNING
            return len(await self._seam.finish_batches(shard, page)) if page else 0

    async def _blocked(self, report: Report, *, dry_run: bool) -> int:
        """Continue the runs that nothing blocks any more, and complete before that what should not block any."""
        after: dict[ShardKey, str] = {} if dry_run else self._edges
        asked: Collection[ShardKey] = tuple(self._shards.shards)
        count = 0
        while asked:
            edges = await self._walk(report, asked, after)
            if edges:
                count += await self._unblock(report, edges, dry_run=dry_run)
            asked = [key for key in after if key not in report.down] if dry_run else ()
        report.is_partial |= bool(after)
        if after and count and not dry_run:
            self._postgres.due.set()  # where something was left undone there may be more
        return count

    async def _walk(
        self, report: Report, keys: Iterable[ShardKey], after: dict[ShardKey, str]
    ) -> dict[str, Sequence[Edge]]:
        """Return the next runs of shards that may not be blocked any more, by primary key, and all of their edges.

        `after` says behind which edge a walk goes on; it has no entry where one begins or ends.
        """

        async def query(shard: Shard, connection: ReadConnection) -> tuple[dict[str, list[Edge]], str | None]:
            run_ids: list[str] = []
            behind: str | None = after.get(shard.key, FROM_THE_BEGINNING)
            for _ in range(PAGES):
                walked = await walk_blocked_runs(connection, behind or FROM_THE_BEGINNING, PAGE)
                run_ids += walked.run_ids
                behind = walked.behind
                if behind is None or len(run_ids) >= MOST_RUNS:
                    break
            return await edges_of(connection, run_ids) if run_ids else {}, behind

        wanted = [key for key in keys if key not in report.down]
        answers = await asyncio.gather(*(self._shards.ask(key, query, ReadFrom.PRIMARY) for key in wanted))
        edges: dict[str, Sequence[Edge]] = {}
        for key, answer in zip(wanted, answers, strict=True):
            if isinstance(answer, ShardError):
                report.down.add(answer.shard)
                continue
            found, behind = answer
            edges |= found
            if behind is None:
                after.pop(key, None)
            else:
                after[key] = behind
        return edges

    async def _unblock(self, report: Report, edges: Mapping[str, Sequence[Edge]], *, dry_run: bool) -> int:
        states = await self._states(report, {edge.waitpoint_id for of in edges.values() for edge in of})
        completed = {state.id for _, state in states if state.is_completed}
        ended: dict[ShardKey, list[WaitState]] = {}
        for key, state in states:
            if not state.is_completed and (state.ended_run_id or state.ended_batch_id):
                ended.setdefault(key, []).append(state)
        for key, of in ended.items():

            async def complete(key: ShardKey = key, of: Sequence[WaitState] = of) -> int:
                done = [state.id for state in of] if dry_run else await self._completed(self._shards.shards[key], of)
                completed.update(done)
                return len(done)

            await self._part(report, "ended", complete)
        ready = [run_id for run_id, of in edges.items() if all(edge.waitpoint_id in completed for edge in of)]
        return len(ready) if dry_run else await self._continued(report, ready)

    async def _states(self, report: Report, waitpoint_ids: Collection[str]) -> list[tuple[ShardKey, WaitState]]:
        """Return the states of waitpoints, and who has them; of those that no shard has, none."""
        known: dict[str, tuple[ShardKey, WaitState]] = {}

        async def query(shard: Shard, connection: ReadConnection) -> dict[str, tuple[ShardKey, WaitState]]:
            return {id_: (shard.key, state) for id_, state in (await wait_states(connection, waitpoint_ids)).items()}

        legs, failures = await self._shards.everywhere(query, ReadFrom.PRIMARY)
        for leg in legs:
            known |= leg
        report.down |= {failure.shard for failure in failures}
        dangling = set() if failures else set(waitpoint_ids) - known.keys() - self._dangling
        if dangling:
            self._dangling |= dangling
            log.error("runs wait for what no shard has", waitpoints=len(dangling))
        return list(known.values())

    async def _completed(self, shard: Shard, states: Sequence[WaitState]) -> list[str]:
        """Complete waitpoints of a shard whose runs and batches have ended, and return their primary keys."""
        run_ids = [state.ended_run_id for state in states if state.ended_run_id is not None]
        batch_ids = [state.ended_batch_id for state in states if state.ended_batch_id is not None]

        async def work(connection: WriteConnection) -> list[str]:
            moment = now()
            return [
                *await complete_of_runs(connection, run_ids, moment),
                *await complete_of_ended_batches(connection, batch_ids, moment),
            ]

        return await shard.write(work)

    async def _continued(self, report: Report, run_ids: Sequence[str]) -> int:
        """Continue runs, one by one if it fails for all: one that cannot go on must not hold up the others."""
        if not run_ids:
            return 0
        try:
            continued = await self._seam.engine.continue_runs(run_ids)
            if stuck := self._postgres.stuck.intersection(run_ids):
                report.failed["edges"] += len(stuck)
            return len(continued)
        except Exception as error:  # noqa: BLE001  likewise
            if len(run_ids) == 1:
                self._failed(report, "edges", error)
                return 0
        return sum([await self._continued(report, [run_id]) for run_id in run_ids])

    async def _bulk_actions(self, report: Report, *, dry_run: bool) -> int:
        """Do a page of every bulk action that is at work."""
        pending = await self._bulk.pending()
        if dry_run:
            return len(pending)
        until = asyncio.get_running_loop().time() + LONGEST_BULK
        for one in pending:
            if asyncio.get_running_loop().time() > until:
                report.bulk_goes_on = True  # the others have their turn: those that wait for longest come first
                break

            async def carry_on(one: Pending = one) -> int:
                if await self._bulk.carry_on(one):
                    report.bulk_goes_on = True
                return 1

            await self._part(report, "bulk", carry_on)
        return 0

    def _tell(self, report: Report) -> None:
        """Count what a round did, and log an outage when it begins and when it ends."""
        metrics = self._metrics
        metrics.leads.set(report.leads)
        for kind, count in (+report.done).items():
            metrics.repairs.labels(kind).inc(count)
        for kind, count in report.failed.items():
            metrics.failures.labels(kind).inc(count)
        down = report.down if report.leads else report.down | self._down
        for shard in down - self._down:
            log.warning("a database is not swept: it does not answer", shard=shard)
        for shard in self._down - down:
            log.info("a database is swept again", shard=shard)
        for shard in down | self._down:
            metrics.down.labels(shard).set(shard in down)
        self._down, self._failing = down, set(report.failed)
        if report.is_whole:
            metrics.last_success.set_to_current_time()
