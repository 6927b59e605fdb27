"""Processes that die at an instant that a test names, and what is true of the rows whatever died.

A server process imports everything once, and forks a child for each operation; the child opens its own federation to
the same databases. `python -m tests.faults` is that server.
"""

import asyncio
import gc
import json
import os
import signal
import sys
import traceback
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from sqlalchemy import event

from store import ids
from store.control_plane import CONTROL_PLANE
from store.federation import Federation, open_federation
from store.moments import now
from store.plans import IdempotencyKey, NewRun
from store.records import EnvironmentRecord, RunRecord
from store.residency import LEGACY, ShardKey, shard_of
from store.settings import MintSettings
from store.shard import Database, ReadFrom
from store.tables import DEDICATED, FULL
from store.tokens import NewToken
from store.topology import Access, ShardAccess, Topology
from store.urls import parse_url
from store.writes.blocks import Tie
from store.writes.runs import CLEARED_BY, FINAL_STORED
from store.writes.waitpoints import Due, Outcome
from store.writing import Writing

if TYPE_CHECKING:
    from tests.federation import FederationUnderTest

ROOT = Path(__file__).parents[1]
LONGEST_LIFE = 30
"""Of a child, or of an operation here, in seconds: none outlives a test that went wrong."""

KILLED = 9
CUT = 160
READ = " read"

Urls = dict[ShardKey, str]
MINT_NEW = MintSettings(enabled=True, grace=0.0)


def topology_over(urls: Urls, shards: Sequence[ShardKey], control_plane: str | None = None) -> Topology:
    """Return the topology of databases: legacy's is the control plane too, unless that has its own."""
    access = {key: Access(parse_url(f"{key}_URL", urls[key])) for key in shards}
    plane = access[LEGACY] if control_plane is None else Access(parse_url("DATABASE_URL", control_plane))
    return Topology(plane, tuple(ShardAccess(key, FULL if key == LEGACY else DEDICATED, access[key]) for key in shards))


def writing_of(federation: Federation) -> Writing:
    assert federation.writing is not None
    return federation.writing


# Instants


def databases_of(federation: Federation) -> dict[str, Database]:
    """Return the pools of a federation that writes use, by name."""
    shards = {str(key): shard.primary for key, shard in federation.router.shards.items()}
    locks = {"locks": writing_of(federation).authority.database}
    return {CONTROL_PLANE: federation.control_plane.primary, **shards, **locks}


@contextmanager
def met(federation: Federation, meet: Callable[[str], None]) -> Iterator[None]:
    """Tell of each instant: "<database>: <statement>" before it is executed, ": COMMIT" before and ": committed" after.

    A statement outside of a transaction is ": read <statement>". A database of several roles goes by a shard's name.
    """
    names = {id(database.engine): (name, database) for name, database in databases_of(federation).items()}
    with ExitStack() as stack:
        for name, database in names.values():
            stack.enter_context(_met(name, database, meet))
        yield


@contextmanager
def _met(name: str, database: Database, meet: Callable[[str], None]) -> Iterator[None]:
    engine = database.engine.sync_engine
    dialect: Any = engine.dialect
    do_commit = dialect.do_commit

    def commit(connection: Any) -> None:
        meet(f"{name}: COMMIT")
        do_commit(connection)
        meet(f"{name}: committed")

    def execute(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        alone = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
        meet(f"{name}:{READ * alone} {' '.join(statement.split())}")

    dialect.do_commit = commit
    event.listen(engine, "before_cursor_execute", execute)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", execute)
        dialect.do_commit = do_commit


@contextmanager
def once_met(federation: Federation, where: Callable[[str], bool], act: Callable[[], object]) -> Iterator[list[str]]:
    """Act at the first instant of a kind; yields what it was, once it was."""
    struck: list[str] = []

    def meet(instant: str) -> None:
        if not struck and where(instant):
            struck.append(instant)
            act()

    with met(federation, meet):
        yield struck


# Operations: what a child does, and what its client then does again. Arguments and answers are JSON.


async def _environment(federation: Federation, environment_id: str) -> EnvironmentRecord:
    return (await federation.control_plane.environments([environment_id]))[environment_id]


async def _run(federation: Federation, environment_id: str, reference: str | None) -> RunRecord | None:
    if reference is None:
        return None
    answer = (await federation.router.runs([environment_id], [reference], ReadFrom.PRIMARY))[reference]
    assert isinstance(answer, RunRecord)
    return answer


def _key(stored: str | None) -> IdempotencyKey | None:
    return None if stored is None else IdempotencyKey(stored)


async def trigger(  # noqa: PLR0913  what a client may say
    federation: Federation,
    environment: str,
    *,
    task: str = "task",
    key: str | None = None,
    parent: str | None = None,
    waits: bool = False,
    token: str | None = None,
    friendly_id: str | None = None,
) -> Any:
    record, mother = await _environment(federation, environment), await _run(federation, environment, parent)
    new = NewRun(task, key=_key(key), one_time_token=token, friendly_id=friendly_id)
    return await writing_of(federation).triggers.run(record, new, mother, waits=waits)


async def batch(  # noqa: PLR0913  likewise
    federation: Federation, environment: str, *, items: list[str | None], key: str, parent: str, waits: bool = True
) -> Any:
    """Trigger a batch whose items have these keys, or none."""
    record, mother = await _environment(federation, environment), await _run(federation, environment, parent)
    new = [NewRun("task", key=_key(item)) for item in items]
    return await writing_of(federation).triggers.batch(record, new, _key(key), mother, waits=waits)


async def create_token(federation: Federation, environment: str, *, key: str) -> Any:
    record = await _environment(federation, environment)
    return await writing_of(federation).tokens.create(record, NewToken(_key(key), tags=("a",)))


async def block(federation: Federation, environment: str, *, run: str, waitpoints: list[str]) -> Any:
    await writing_of(federation).seam.block([environment], run, environment, [Tie(id_) for id_ in waitpoints])


async def complete(federation: Federation, environment: str, *, waitpoint: str, output: str = "1") -> Any:
    seam = writing_of(federation).seam
    return await seam.complete(await seam.held([environment], waitpoint), Outcome(output), ("MANUAL",))


async def go_on(federation: Federation, environment: str, *, runs: list[str]) -> Any:  # noqa: ARG001
    return await writing_of(federation).seam.engine.continue_runs(runs)


async def cancel(federation: Federation, environment: str, *, run: str) -> Any:
    return await writing_of(federation).changes.cancel([environment], run, environment)


async def wait_until(federation: Federation, environment: str, *, run: str, at: str, key: str) -> Any:
    record = await _environment(federation, environment)
    return await writing_of(federation).tokens.wait_until(record, run, datetime.fromisoformat(at), _key(key))


async def end(federation: Federation, environment: str, *, waitpoint: str, at: str) -> Any:  # noqa: ARG001
    """Complete a token whose time was over, wherever it is, and tell whether it still waited."""
    seam, due = writing_of(federation).seam, [Due(waitpoint, "MANUAL", datetime.fromisoformat(at))]
    return any([await seam.end(shard, due) for shard in federation.router.shards.values()])


async def many(federation: Federation, environment: str, *, times: int, operation: str, arguments: list[Any]) -> Any:
    """Do an operation so many times at once, with these arguments in turn; return how often each answer came."""
    act = OPERATIONS[operation]
    answers = await asyncio.gather(
        *(act(federation, environment, **arguments[number % len(arguments)]) for number in range(times)),
        return_exceptions=True,
    )
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    seen = Counter(f"{type(answer).__name__}: {answer}" for answer in failures)
    seen.update(json.dumps(answer) for answer in answers if not isinstance(answer, BaseException))
    return dict(seen)


OPERATIONS: dict[str, Callable[..., Awaitable[Any]]] = {
    act.__name__: act for act in (trigger, batch, create_token, block, complete, go_on, cancel, wait_until, end, many)
}


async def sweep(federation: Federation) -> None:
    """Repair what is found from the rows."""
    async with asyncio.timeout(LONGEST_LIFE):
        report = await writing_of(federation).sweeper.round()
    assert (report.leads, report.is_partial, report.down) == (True, False, set())


# Processes


class Report(NamedTuple):
    """What became of a child: its answer, or the instant at which it died."""

    answer: Any
    died: str | None


class Processes:
    """Runs operations in processes of their own."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = count()

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, cwd=ROOT, stdin=pipe, stdout=pipe, start_new_session=True
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        # Its children are in its group, and nobody else is.
        os.killpg(self._server.pid, signal.SIGKILL)
        await self._server.wait()
        await self._reader

    async def run(  # noqa: PLR0913  what a child is told
        self,
        topology: tuple[Urls, Sequence[ShardKey]],
        operation: str,
        environment: str,
        arguments: dict[str, Any],
        dies_at: int | None = None,
        *,
        mints_new: bool = False,
    ) -> Report:
        """Fork a child that performs an operation, and dies at its n-th instant if told."""
        number = next(self._numbers)
        urls, shards = topology
        job = {
            "number": number,
            "urls": urls,
            "shards": shards,
            "operation": operation,
            "environment": environment,
            "arguments": arguments,
            "dies_at": dies_at,
            "mints_new": mints_new,
        }
        self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(job).encode() + b"\n")
        await self._server.stdin.drain()
        async with asyncio.timeout(LONGEST_LIFE):
            said = await self._waiting[number]
        if "failed" in said:
            raise AssertionError(said["failed"])
        return Report(said.get("answer"), said.get("died"))

    async def _read(self) -> None:
        assert self._server.stdout is not None
        async for line in self._server.stdout:
            said = json.loads(line)
            self._waiting[said["number"]].set_result(said)


def serve() -> None:
    """Fork a child for each line; the system buries them."""
    # What is collected would be touched, and copied.
    gc.disable()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            signal.alarm(LONGEST_LIFE)
            _live(json.loads(line))


def _live(job: dict[str, Any]) -> None:
    """Perform an operation, say how it went, and die."""

    def say(**what: Any) -> None:
        os.write(1, json.dumps({"number": job["number"], **what}).encode() + b"\n")

    instants = count(1)

    def meet(instant: str) -> None:
        # A read alone leaves all as it was at the instant before.
        if not instant.partition(":")[2].startswith(READ) and next(instants) == job["dies_at"]:
            say(died=instant[:CUT])
            os._exit(KILLED)

    async def perform() -> None:
        topology = topology_over(job["urls"], job["shards"])
        mint = MINT_NEW if job["mints_new"] else MintSettings()
        async with open_federation(topology, deadline=20.0, mint=mint) as federation:
            act = OPERATIONS[job["operation"]]
            with met(federation, meet):
                answer = await act(federation, job["environment"], **job["arguments"])
            say(answer=answer)
            os._exit(0)

    try:
        asyncio.run(perform())
    except BaseException:  # noqa: BLE001  whatever it is, the test has to hear of it
        say(failed=traceback.format_exc()[-3000:])
        os._exit(1)


# What is true of the rows


LINKS, DEDICATED_LINKS = ("_completedWaitpoints", "A", "B"), ("CompletedWaitpoint", "snapshotId", "waitpointId")
"""The tables that say what brought a run to a step, and their columns for the step and the waitpoint."""


@dataclass
class View:
    """The rows of one environment on one shard, at one moment."""

    runs: dict[str, Any]
    steps: dict[str, list[Any]]
    edges: list[tuple[str, str]]
    waitpoints: dict[str, Any]
    batches: dict[str, Any]
    links: list[tuple[str, str]]


@dataclass
class World:
    """The rows of a test's environment, and what was said of them before."""

    under: "FederationUnderTest"
    urls: Urls
    acknowledged: dict[str, str] = field(default_factory=dict)
    """The outputs of completions that somebody was told had won, by waitpoint."""
    final: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    @property
    def topology(self) -> tuple[Urls, Sequence[ShardKey]]:
        return self.urls, self.under.shards

    @property
    def environment(self) -> str:
        return self.under.tenant.environment_id

    async def do(self, operation: str, **arguments: Any) -> Any:
        """Perform an operation here, which may not take for ever."""
        async with asyncio.timeout(LONGEST_LIFE):
            return await OPERATIONS[operation](self.under.federation, self.environment, **arguments)

    async def run(self, shard: ShardKey, status: str = "EXECUTING", **columns: Any) -> str:
        """Plant a run that executes, that is queued or that is over, with the step that says so."""
        run = await self.under.run(shard, status=status, **columns)
        step = {
            "id": ids.mint_cuid(),
            "executionStatus": {"PENDING": "QUEUED", "EXECUTING": "EXECUTING"}.get(status, "FINISHED"),
            "description": "planted",
            "runId": run,
            "runStatus": status,
            "environmentId": self.environment,
            "environmentType": "PRODUCTION",
            "projectId": self.under.tenant.project_id,
            "organizationId": self.under.tenant.organization_id,
        }
        await self.under.insert(shard, "TaskRunExecutionSnapshot", {**step, **self.under.times()})
        return run

    async def fetch(self, shard: ShardKey, sql: str, *values: Any) -> list[Any]:
        rows: list[Any] = await self.under.connections[shard].fetch(sql, *values)
        return rows

    async def story(self, run: str) -> list[str]:
        """Return what a run did, step by step."""
        rows = await self.fetch(
            shard_of(run),
            'SELECT "executionStatus" FROM "TaskRunExecutionSnapshot" WHERE "runId" = $1 ORDER BY "createdAt"',
            run,
        )
        return [row[0] for row in rows]

    async def edges(self, run: str) -> list[str]:
        """Return what blocks a run."""
        rows = await self.fetch(
            shard_of(run), 'SELECT "waitpointId" FROM "TaskRunWaitpoint" WHERE "taskRunId" = $1', run
        )
        return [row[0] for row in rows]

    async def keyed(self, key: str, table: str = "TaskRun") -> list[tuple[ShardKey, str]]:
        """Return the rows of any shard that hold an idempotency key."""
        column = "environmentId" if table == "Waitpoint" else "runtimeEnvironmentId"
        sql = f'SELECT id FROM "{table}" WHERE "{column}" = $1 AND "idempotencyKey" = $2'  # noqa: S608
        return [
            (shard, row[0])
            for shard in self.under.shards
            for row in await self.fetch(shard, sql, self.environment, key)
        ]

    async def view(self, shard: ShardKey) -> View:
        """Return all rows of the environment on a shard."""
        ties, step_id, waitpoint_id = LINKS if shard == LEGACY else DEDICATED_LINKS
        async with self.under.connections[shard].transaction(isolation="repeatable_read", readonly=True):
            runs = await self.fetch(
                shard, 'SELECT * FROM "TaskRun" WHERE "runtimeEnvironmentId" = $1', self.environment
            )
            steps: defaultdict[str, list[Any]] = defaultdict(list)
            for step in await self.fetch(
                shard,
                'SELECT * FROM "TaskRunExecutionSnapshot" WHERE "environmentId" = $1 ORDER BY "createdAt"',
                self.environment,
            ):
                steps[step["runId"]].append(step)
            edges = await self.fetch(
                shard,
                'SELECT "taskRunId", "waitpointId" FROM "TaskRunWaitpoint" WHERE "projectId" = $1',
                self.under.tenant.project_id,
            )
            waitpoints = await self.fetch(
                shard, 'SELECT * FROM "Waitpoint" WHERE "environmentId" = $1', self.environment
            )
            batches = await self.fetch(
                shard, 'SELECT * FROM "BatchTaskRun" WHERE "runtimeEnvironmentId" = $1', self.environment
            )
            links = await self.fetch(
                shard,
                f'SELECT "{step_id}", "{waitpoint_id}" FROM "{ties}" WHERE "{step_id}" = ANY($1)',  # noqa: S608
                [step["id"] for of in steps.values() for step in of],
            )
        return View(
            {row["id"]: row for row in runs},
            dict(steps),
            [tuple(row) for row in edges],
            {row["id"]: row for row in waitpoints},
            {row["id"]: row for row in batches},
            [tuple(row) for row in links],
        )

    async def holds(self, *, repaired: bool = False) -> None:
        """Fail unless everything is true that has to be, at every moment; `repaired`: also what a repair sees to."""
        views = {shard: await self.view(shard) for shard in self.under.shards}
        wrong = [
            *self._in_one_place(views),
            *self._keys(views),
            *(sentence for view in views.values() for sentence in _executions(view)),
            *self._history(views),
        ]
        if repaired:
            wrong += _blocked(views)
        assert not wrong, "\n".join(wrong)

    def _in_one_place(self, views: dict[ShardKey, View]) -> Iterator[str]:
        for kind in ("runs", "batches", "waitpoints"):
            places: defaultdict[str, list[ShardKey]] = defaultdict(list)
            for shard, view in views.items():
                for id_ in getattr(view, kind):
                    places[id_].append(shard)
            for id_, found in places.items():
                if len(found) > 1:
                    yield f"one of the {kind}, {id_}, is on {found}"
                if kind != "waitpoints" and found[0] != shard_of(id_):
                    yield f"one of the {kind}, {id_}, is on {found[0]}"

    def _keys(self, views: dict[ShardKey, View]) -> Iterator[str]:
        moment = now()
        held: Counter[tuple[str, str]] = Counter()
        for view in views.values():
            for run in view.runs.values():
                expires = run["idempotencyKeyExpiresAt"]
                if run["idempotencyKey"] and (expires is None or expires > moment) and run["status"] not in CLEARED_BY:
                    held[run["taskIdentifier"], run["idempotencyKey"]] += 1
            for kind, rows in (("batch", view.batches), ("waitpoint", view.waitpoints)):
                held.update((kind, row["idempotencyKey"]) for row in rows.values() if row["idempotencyKey"])
        for key, times in held.items():
            if times > 1:
                yield f"the key {key} finds {times} rows"

    def _history(self, views: dict[ShardKey, View]) -> Iterator[str]:
        """Compare with what was seen before: what is final stays as it is."""
        for view in views.values():
            for id_, run in view.runs.items():
                if (before := self.final.get(id_, run["status"])) != run["status"]:
                    yield f"run {id_} was {before} and is {run['status']}"
                if run["status"] in FINAL_STORED:
                    self.final[id_] = run["status"]
            for id_, waitpoint in view.waitpoints.items():
                output = waitpoint["status"], waitpoint["output"]
                if (known := self.outputs.get(id_, output)) != output:
                    yield f"waitpoint {id_} was {known} and is {output}"
                if waitpoint["status"] == "COMPLETED":
                    self.outputs[id_] = output
        for id_, acknowledged in self.acknowledged.items():
            if (found := self.outputs.get(id_)) != ("COMPLETED", acknowledged):
                yield f"a completion of {id_} with {acknowledged} was acknowledged, but there is {found}"


WAITS, GOES_ON = (
    ("EXECUTING_WITH_WAITPOINTS", "SUSPENDED"),
    {"EXECUTING_WITH_WAITPOINTS": "EXECUTING", "SUSPENDED": "QUEUED"},
)


def _executions(view: View) -> Iterator[str]:
    for run_id in view.runs:
        steps = view.steps.get(run_id, [])
        if not steps:
            yield f"run {run_id} has no step"
        story = [step["executionStatus"] for step in steps]
        for one, other in pairwise(steps):
            if other["previousSnapshotId"] != one["id"]:
                yield f"run {run_id} has two steps after one: {story}"
            if one["executionStatus"] == other["executionStatus"]:
                yield f"run {run_id} did one thing twice: {story}"
            before = GOES_ON.get(one["executionStatus"])
            if before and other["executionStatus"] not in (before, "FINISHED", "PENDING_CANCEL"):
                yield f"run {run_id} went on strangely: {story}"
    for run_id, waitpoint_id in view.edges:
        if run_id not in view.runs:
            yield f"an edge to {waitpoint_id} is not with its run {run_id}"
    if duplicates := [edge for edge, times in Counter(view.links).items() if times > 1]:
        yield f"links are there twice: {duplicates}"


def _blocked(views: dict[ShardKey, View]) -> Iterator[str]:
    waitpoints = {id_: row["status"] for view in views.values() for id_, row in view.waitpoints.items()}
    for view in views.values():
        blocked: defaultdict[str, set[str]] = defaultdict(set)
        for run_id, waitpoint_id in view.edges:
            blocked[run_id].add(waitpoints.get(waitpoint_id, "nowhere"))
        for run_id, states in blocked.items():
            if states == {"COMPLETED"}:
                yield f"run {run_id} is blocked by what is complete"
        for run_id, steps in view.steps.items():
            if steps[-1]["executionStatus"] in WAITS and run_id not in blocked:
                yield f"run {run_id} waits for nothing"


if __name__ == "__main__":
    serve()
