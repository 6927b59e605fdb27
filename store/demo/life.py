"""An imaginary worker: it triggers runs with the tag `live`, carries them out and ends them, to be watched.

What becomes of a run is read from its row: its task says what it waits for, its metadata how far it has come. Nothing
else remembers it, so a turn that fails is simply taken again, also by the next process; and whoever triggers a run with
the tag has it carried out too.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import orjson
import structlog

from store import ids
from store.demo.palette import CHARGE, EMAIL, FULFIL, IMPORT, PRODUCT, REFUND, RESIZE, SHIP, TaskKind
from store.errors import MissingError, ShardError, StateError
from store.filters import RunFilter, TimeRange
from store.moments import now
from store.pages import Feed, Window
from store.plans import IdempotencyKey, NewRun
from store.records import EnvironmentRecord, RunRecord
from store.residency import ShardKey
from store.router import Router
from store.shard import ReadFrom, WriteConnection, one_operation
from store.tokens import NewToken
from store.writes.blocks import Tie, execution_status
from store.writes.metadata import Document, lock_metadata, set_metadata
from store.writes.runs import (
    SUSPENDED,
    Home,
    LockedRun,
    Step,
    add_steps,
    is_final,
    latest_steps,
    lock_runs,
    set_runs,
    step_row,
)
from store.writes.waitpoints import JSON_TYPE, SUCCESS, Outcome, complete_of_runs
from store.writing import Writing

T = TypeVar("T")
log = structlog.get_logger()

TAG = "live"
PAUSE = 0.5
"""Between turns, in seconds."""

LAST_TURN = 0.5
"""In seconds: so long a turn that is under way may still take."""

MOST = 2_000
"""How many runs one process makes in all, those included that others wait for."""

AT_WORK = 12
"""How many runs are at work at a time, those included that others will wait for."""

MOST_SEEN = 50
"""Of runs at work, the oldest, in one turn: others may trigger more."""

LATE = timedelta(minutes=1)
"""Before the last turn: a run may be made with a time, and be seen only later."""

STRIDE, WAITS_AT, DONE = 20, 40, 100
"""What a move adds to a run's progress, where a run waits that does, and where it ends; in percent."""

ITEMS = 5
SIZES = {FULFIL.slug: 2, IMPORT.slug: 1 + ITEMS}
"""How many runs come of one of a task, if it is not one."""

WAITING = frozenset({FULFIL.slug, IMPORT.slug, REFUND.slug})
"""Tasks that wait: for a run, for a batch, for a token."""

EXPIRED = "expired"
"""What the metadata of a run say of the card with which it fails."""

DECLINED = {
    "type": "BUILT_IN_ERROR",
    "name": "CardDeclinedError",
    "message": "The card was declined",
    "stackTrace": "CardDeclinedError: The card was declined\n    at charge (file:///app/src/trigger/charge.ts:41:11)",
}


class Pace(NamedTuple):
    """How likely things are in one turn: that a run moves on, that a new one begins, that a token is completed."""

    moves: float = 0.6
    begins: float = 0.35
    answers: float = 0.15


class Tale(NamedTuple):
    """What a new root is about."""

    task: TaskKind
    metadata: Mapping[str, Any] = {}

    @property
    def runs(self) -> int:
        """How many runs it comes to."""
        return SIZES.get(self.task.slug, 1)


TALES = (
    *(Tale(EMAIL), Tale(RESIZE), Tale(CHARGE), Tale(CHARGE, metadata={"card": EXPIRED})),
    *(Tale(FULFIL), Tale(FULFIL), Tale(REFUND), Tale(REFUND), Tale(IMPORT)),
)
"""Each is told as often as it stands here, in an order of chance, and then all of them again."""

Next: TypeAlias = Literal["wait", "answer"] | list[str] | None
"""What a move leads to: the run waits for something, its token is completed, or its end has completed waitpoints."""


class _Held(NamedTuple):
    """A run that is locked, its last step, and the moment of what is written to it."""

    connection: WriteConnection
    run: LockedRun
    last: Step | None
    moment: datetime


class Life:
    """Keeps runs of one environment alive, on all shards."""

    def __init__(  # noqa: PLR0913  what a test may choose
        self,
        router: Router,
        writing: Writing,
        environment: EnvironmentRecord,
        *,
        seed: int = 1,
        pace: Pace | None = None,
        most: int = MOST,
    ) -> None:
        self._router, self._writing, self._environment = router, writing, environment
        self._chance, self._order = Random(seed), Random(seed)  # noqa: S311  no secrets
        self._pace = pace or Pace()
        self.most = most
        self.made = 0
        self._begun = 0
        self._tales: list[Tale] = []
        self._since: datetime | None = None
        self._failing: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Live until told to stop, and end soon after. What is at work then stays as it is."""
        living = asyncio.create_task(self._turns(stop))
        try:
            await stop.wait()
            await asyncio.wait({living}, timeout=LAST_TURN)
        finally:
            living.cancel()
            await asyncio.gather(living, return_exceptions=True)

    async def _turns(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.turn()
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await stop.wait()

    async def turn(self) -> int:
        """Move on what is at work, perhaps begin something new, and return how many runs are at work.

        Never raises: what fails is logged once, and tried again in the next turn.
        """
        failed: dict[str, Exception] = {}
        with one_operation():
            runs = await self._tried(failed, partial(self._look, failed)) or []
            moving = [run for run in runs if self._chance.random() < self._pace_of(run)]
            await asyncio.gather(*(self._tried(failed, partial(self._move, run)) for run in moving))
            taken = sum(SIZES.get(run.task_identifier, 1) for run in runs if run.parent_task_run_id is None)
            begun = await self._tried(failed, partial(self._begin, AT_WORK - taken))
        self._tell(failed)
        return len(runs) + bool(begun)

    async def _tried(self, failed: dict[str, Exception], work: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await work()
        except (MissingError, StateError):  # somebody else changed the run meanwhile
            return None
        except ShardError as error:
            failed[error.shard] = error
        except Exception as error:  # noqa: BLE001  whatever it is, the others go on
            failed[type(error).__name__] = error
        return None

    def _tell(self, failed: Mapping[str, Exception]) -> None:
        for name in failed.keys() - self._failing:
            error = failed[name]
            if isinstance(error, ShardError):
                log.warning("demo runs stand still: a database does not answer", shard=name)
            else:
                log.error("a move of a demo run failed", error_id=secrets.token_hex(8), exc_info=error)
        for name in self._failing - failed.keys():
            log.info("demo runs move on", after=name)
        self._failing = set(failed)

    async def _look(self, failed: dict[str, Exception]) -> list[RunRecord]:
        """Return the runs at work, the oldest first; those of a shard that does not answer are left out."""
        moment, environment_id = now(), self._environment.id
        narrowing = RunFilter(tags=(TAG,), created_at=TimeRange(since=self._since))
        pages = await self._router.runs_by_environment(
            {environment_id: Feed("live", environment_id=environment_id)},
            [*narrowing.conditions(moment), ~is_final()],
            Window(MOST_SEEN, oldest_first=True),
            ReadFrom.PRIMARY,
        )
        page = pages[environment_id]
        failed.update({failure.shard: failure for failure in page.failures})
        runs = list(page.nodes)
        if not page.failures:
            self._since = min([moment - LATE, *(run.created_at for run in runs)])
        return runs

    def _pace_of(self, run: RunRecord) -> float:
        """Return how likely a run is to move: what waits for other runs cannot, what waits for a token is answered."""
        if run.raw_status != SUSPENDED:
            return self._pace.moves
        return self._pace.answers if run.task_identifier == REFUND.slug else 0.0

    async def _begin(self, room: int) -> bool:
        """Begin the next tale on the next shard, if it is time, and there is room; tell whether one began.

        One that waits for a token begins on another shard than tokens are made on, so that its wait crosses over.
        """
        if not self._tales:
            self._tales = self._order.sample(TALES, len(TALES))
        tale = self._tales[-1]
        if self._chance.random() >= self._pace.begins or tale.runs > min(room, self.most - self.made):
            return False
        self._tales.pop()
        self._begun += 1
        keys = tuple(self._router.shards)
        shard = keys[self._begun % len(keys)]
        if tale.task is REFUND and shard == await self._writing.minting.home(self._environment):
            shard = keys[(self._begun + 1) % len(keys)]
        await self._writing.triggers.run(self._environment, self._root(tale, shard))
        self.made += tale.runs
        return True

    def _root(self, tale: Tale, shard: ShardKey) -> NewRun:
        metadata = {"progress": 0, **tale.metadata}
        body = self._writing.minting.on(shard)
        return _new(tale.task, self._begun, metadata=orjson.dumps(metadata).decode(), friendly_id=f"run_{body}")

    async def _move(self, run: RunRecord) -> None:
        """Bring a run one state on, in one transaction, and do what that leads to. Raises `ShardError`."""
        seam = self._writing.seam
        shard = seam.shard_of_run(run.id)
        following = await shard.write(partial(self._moved, seen=run))
        seam.engine.notify([run.id])
        match following:
            case "wait":
                await self._wait(run)
            case "answer":
                await self._answer(run)
            case list() as completed:
                await seam.follow(completed)
                if run.batch_id is not None:
                    await seam.finish_batches(shard, [run.batch_id])

    async def _moved(self, connection: WriteConnection, seen: RunRecord) -> Next:
        run = (await lock_runs(connection, [seen.id])).get(seen.id)
        if run is None:
            return None
        last = (await latest_steps(connection, [run.id])).get(run.id)
        held = _Held(connection, run, last, now())
        match execution_status(run, last):
            case "QUEUED":
                await self._step(held, "PENDING_EXECUTING", "Run was dequeued", "DEQUEUED")
            case "PENDING_EXECUTING":
                values: dict[str, object] = {"attempt_number": run.attempt_number or 1}
                if run.attempt_number is None:
                    held = held._replace(run=run._replace(attempt_number=1))
                    values |= {"started_at": held.moment, "executed_at": held.moment}
                await self._step(held, "EXECUTING", "Run is carried out", "EXECUTING", **values)
            case "EXECUTING":
                return await self._worked(held, seen)
            case "EXECUTING_WITH_WAITPOINTS":
                description = "Run was suspended: it waits for something to complete"
                await self._step(held, "SUSPENDED", description, SUSPENDED)
            case "SUSPENDED" if seen.task_identifier == REFUND.slug:
                return "answer"
        return None

    async def _step(
        self, held: _Held, execution_status: str, description: str, raw_status: str, **values: object
    ) -> None:
        """Add a run's next step, and set its status, and what else changes with it."""
        connection, run, last, moment = held
        homes = {self._environment.id: Home(self._environment.type, self._environment.organization_id)}
        row = step_row(run, last, homes, moment, execution_status, description, run_status=raw_status)
        await add_steps(connection, [row])
        await set_runs(connection, [run.id], moment, raw_status=raw_status, **values)

    async def _worked(self, held: _Held, seen: RunRecord) -> Next:
        """Let a run come further, or to its end. Where it waits, its progress changes when it has begun to."""
        connection, run, _, moment = held
        document, version = (await lock_metadata(connection, [run.id], [self._environment.id]))[run.id]
        progress = _progress(document)
        if progress < DONE:
            if progress == WAITS_AT and seen.task_identifier in WAITING:
                return "wait"
            await set_metadata(connection, run.id, _further(document), version, moment)
            return None
        values: dict[str, object] = {
            "completed_at": moment,
            "usage_duration_ms": (moment - (seen.started_at or moment)) // timedelta(milliseconds=1),
        }
        if document.get("card") == EXPIRED:
            status, description = "COMPLETED_WITH_ERRORS", "Run has failed"
            values["error"] = DECLINED
        else:
            status, description = SUCCESS, "Run is complete"
            values |= {"output": '{"ok":true}', "output_type": JSON_TYPE}
        await self._step(held, "FINISHED", description, status, **values)
        return await complete_of_runs(connection, [run.id], moment)

    async def _wait(self, run: RunRecord) -> None:
        """Let a run wait for what its task waits for, made now or in a turn that did not end; then say so."""
        triggers, environment, key = self._writing.triggers, self._environment, _key(run)
        scope = [environment.id]
        match run.task_identifier:
            case FULFIL.slug:
                await triggers.run(environment, _new(SHIP, self._begun, key=key), run, waits=True)
            case IMPORT.slug:
                items = [_new(PRODUCT, number) for number in range(ITEMS)]
                await triggers.batch(environment, items, key, run, waits=True)
            case _:
                tie = Tie(ids.body(await self._token(run)))
                await self._writing.seam.block(scope, run.id, environment.id, [tie])
        await self._writing.changes.update_metadata(scope, {run.id: _further})

    async def _token(self, run: RunRecord) -> str:
        made = await self._writing.tokens.create(self._environment, NewToken(_key(run), tags=(TAG,)))
        return made.friendly_id

    async def _answer(self, run: RunRecord) -> None:
        """Complete the token that a run waits for, wherever it is."""
        held = await self._writing.seam.held([self._environment.id], await self._token(run))
        await self._writing.seam.complete(held, Outcome('{"approved":true,"by":"grace"}'), ("MANUAL",))


def _key(run: RunRecord) -> IdempotencyKey:
    """Return the key of what a run waits for: a turn that is taken again finds it."""
    return IdempotencyKey(f"{TAG}-{run.id}")


def _new(task: TaskKind, number: int, **values: Any) -> NewRun:  # noqa: ANN401  fields of it
    return NewRun(
        task=task.slug,
        payload=orjson.dumps({"number": number}).decode(),
        tags=(TAG,),
        queue=task.queue_name,
        machine=task.machine,
        max_attempts=task.max_attempts,
        max_duration_seconds=task.max_seconds,
        **values,
    )


def _progress(document: Document) -> int:
    progress = document.get("progress")
    return progress if isinstance(progress, int) else 0


def _further(document: Document) -> Document:
    return {**document, "progress": min(DONE, _progress(document) + STRIDE)}
