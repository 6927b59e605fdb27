"""What every row must be after each write, told by plain Python: no database, no concurrency, no time but an order.

The rules are those of the specification, written a second time. What waits for the end of a run or batch has no id of
its own here: it is called `end of` that.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from store.residency import LEGACY, ShardKey

PUBLIC = {
    "DELAYED": "DELAYED",
    "PENDING": "QUEUED",
    "PENDING_VERSION": "PENDING_VERSION",
    "DEQUEUED": "DEQUEUED",
    "EXECUTING": "EXECUTING",
    "RETRYING_AFTER_FAILURE": "EXECUTING",
    "WAITING_TO_RESUME": "WAITING",
    "COMPLETED_SUCCESSFULLY": "COMPLETED",
    "COMPLETED_WITH_ERRORS": "FAILED",
    "CANCELED": "CANCELED",
    "CRASHED": "CRASHED",
    "EXPIRED": "EXPIRED",
}
FAILED = {"COMPLETED_WITH_ERRORS", "CRASHED", "EXPIRED"}
FINAL = FAILED | {"COMPLETED_SUCCESSFULLY", "CANCELED"}
NOT_BEGUN = {"DELAYED", "PENDING_VERSION"}
BEGUN = {"EXECUTING", "EXECUTING_WITH_WAITPOINTS", "PENDING_EXECUTING", "QUEUED_EXECUTING"}
MOST_REPLAYS, MOST_TAGS = 3, 10


class Refused(Exception):  # noqa: N818  it is an answer
    """The write is refused: by which type, and of a run in which public state."""

    def __init__(self, kind: str, status: str | None = None) -> None:
        super().__init__(kind)
        self.kind, self.status = kind, status


class Outcome(NamedTuple):
    """What something ended with."""

    value: Any = None
    type: str = "application/json"
    is_error: bool = False


NOTHING = Outcome()
TIMED_OUT = Outcome({"code": "TRIGGER_WAITPOINT_TIMEOUT"}, is_error=True)


class Step(NamedTuple):
    """What a run does from then on, the waitpoints that brought it there, and those of them that stand for items."""

    status: str
    links: frozenset[str] = frozenset()
    order: tuple[str, ...] = ()


Tie = tuple[str, int | None]


@dataclass
class Run:
    id: str
    shard: ShardKey
    task: str
    status: str
    parent: str | None = None
    root: str | None = None
    depth: int = 0
    batch: str | None = None
    waits: bool = False
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    seed: dict[str, Any] | None = None
    version: int = 1
    key: str | None = None
    is_expired: bool = False
    is_due: bool | None = None
    """Whether its time has come; None if it was not delayed."""
    is_retired: bool = False
    attempt: int = 0
    replay_of: str | None = None
    bulks: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    ties: list[Tie] = field(default_factory=list)
    connections: set[str] = field(default_factory=set)
    outcome: Outcome = NOTHING

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def doing(self) -> str:
        """What it does: what its last step says, or what its status does."""
        if self.is_final:
            return "FINISHED"
        if self.steps:
            return self.steps[-1].status
        if self.status == "WAITING_TO_RESUME":
            return "SUSPENDED"
        return "EXECUTING" if PUBLIC[self.status] == "EXECUTING" else "QUEUED"

    def goes(self, status: str, ties: Sequence[Tie] = ()) -> None:
        order = sorted(((index, name) for name, index in ties if index is not None), key=itemgetter(0))
        links = frozenset(name for name, _ in ties)
        self.steps.append(Step(status, links, tuple(name for _, name in order)))

    @property
    def row(self) -> dict[str, Any]:
        """What is compared with the rows."""
        return {
            "shard": self.shard,
            "task": self.task,
            "status": self.status,
            "parent": self.parent,
            "root": self.root,
            "depth": self.depth,
            "batch": self.batch,
            "waits": self.waits,
            "tags": self.tags,
            "metadata": (self.metadata, self.version),
            "key": (self.key, self.is_expired),
            "is due": bool(self.is_due) if self.status == "DELAYED" else None,
            "replay of": self.replay_of,
            "bulk actions": self.bulks,
            "steps": self.steps,
            "blocked by": set(self.ties),
            "connected with": self.connections,
        }


@dataclass
class Waitpoint:
    name: str
    shard: ShardKey
    type: str
    is_complete: bool = False
    outcome: Outcome = NOTHING
    tags: list[str] = field(default_factory=list)
    key: str | None = None
    old_key: str | None = None
    is_expired: bool = False
    is_due: bool | None = None
    """Whether its time has come; None if it has none."""

    @property
    def status(self) -> str:
        return ("TIMED_OUT" if self.outcome.is_error else "COMPLETED") if self.is_complete else "WAITING"

    @property
    def row(self) -> dict[str, Any]:
        return {
            "shard": self.shard,
            "type": self.type,
            "status": self.status,
            "outcome": self.outcome,
            "tags": self.tags,
            "key": (self.key, self.is_expired, self.old_key),
            "is due": self.is_due,
        }


@dataclass
class Batch:
    id: str
    shard: ShardKey
    members: list[str]
    key: str | None = None
    is_expired: bool = False
    is_complete: bool = False

    @property
    def row(self) -> dict[str, Any]:
        count = len(self.members)
        return {
            "shard": self.shard,
            "status": "COMPLETED" if self.is_complete else "PENDING",
            "members": self.members,
            "counts": (count, count, count if self.is_complete else 0),
            "key": (self.key, self.is_expired),
        }


@dataclass
class Bulk:
    id: str
    type: str
    wanted: Callable[[Run], bool]
    before: list[str]
    """The runs that there were."""
    home: ShardKey
    total: int
    status: str = "PENDING"
    succeeded: int = 0
    failed: int = 0

    @property
    def row(self) -> dict[str, Any]:
        return {"type": self.type, "status": self.status, "counts": (self.total, self.succeeded, self.failed)}


@dataclass(frozen=True)
class New:
    """A run to trigger."""

    task: str
    key: str | None = None
    scope: str | None = None
    is_delayed: bool = False
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] | None = None


def end_of(id_: str) -> str:
    return f"end of {id_}"


def hashed(*material: str) -> str:
    return hashlib.sha256("-".join(material).encode()).hexdigest()


class Model:
    """All rows of a tenant. A method takes the ids that were answered, for what it finds that is to be made."""

    def __init__(self) -> None:
        self.home = LEGACY
        self.runs: dict[str, Run] = {}
        self.waitpoints: dict[str, Waitpoint] = {}
        self.batches: dict[str, Batch] = {}
        self.bulks: dict[str, Bulk] = {}

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """What is compared with the rows, by table and name."""
        tables: dict[str, Mapping[str, Run | Waitpoint | Batch | Bulk]] = {
            "runs": self.runs,
            "waitpoints": self.waitpoints,
            "batches": self.batches,
            "bulks": self.bulks,
        }
        return {table: {name: one.row for name, one in of.items()} for table, of in tables.items()}

    def add(self, run: Run) -> None:
        """Add a run that is older than everything else."""
        self.runs[run.id] = run
        for bulk in self.bulks.values():
            bulk.before.append(run.id)

    # What is triggered

    def trigger(self, new: New, made: str, parent: str | None = None, *, waits: bool = False) -> tuple[str, bool]:
        """Return the id of a run, and whether its key found it."""
        above = self._place(parent, waits=waits)
        found = self._taken(new.task, self._stored(new, above))
        if found is not None:
            if waits and above is not None:
                self._wait(above, [(self._end_of_run(found), None)])
            return found.id, True
        if waits and above is not None:
            self._refuse_wait(above)
        run = self._make(made, new, above, None, waits=waits)
        if waits and above is not None:
            self._block(above, [(self._end_of_run(run), None)])
        return run.id, False

    def trigger_batch(  # noqa: C901, PLR0913  all that it may be
        self,
        items: Sequence[New],
        made: str,
        members: Sequence[str],
        *,
        key: str | None = None,
        parent: str | None = None,
        waits: bool = False,
    ) -> tuple[str, bool]:
        """Return the id of a batch, and whether its key found it."""
        if not items:
            raise Refused("InvalidInputError")
        above = self._place(parent, waits=waits)
        keys = [(item.task, self._stored(item, above)) for item in items]
        for held in [batch for batch in self.batches.values() if batch.key == key is not None]:
            if not held.is_expired:
                if waits and above is not None:
                    self._wait(above, [(self._end_of_batch(held), None)])
                return held.id, True
            held.key, held.is_expired = None, False
        hits = {each: found for each in dict.fromkeys(keys) if (found := self._taken(*each))}
        if waits and above is not None:
            for found in hits.values():
                self._end_of_run(found)
            self._refuse_wait(above)
        batch = Batch(made, self._shard_of_new(above), [], key)
        self.batches[made] = batch
        runs: list[Run] = []
        for item, id_, each in zip(items, members or [""] * len(items), keys, strict=True):
            is_new = each[1] is None or each not in hits
            run = self._make(id_, item, above, made, waits=waits) if is_new else hits[each]
            if each[1] is not None and is_new:
                hits[each] = run
            runs.append(run)
        batch.members = [f"run_{run.id}" for run in runs]
        if waits and above is not None:
            ties = [(self._end_of_run(run), index) for index, run in enumerate(runs)]
            self._block(above, [(self._end_of_batch(batch), None), *ties])
        self._finish([batch])
        if waits and above is not None:
            self._settle(above, {name for name, _ in above.ties})
        return made, False

    def replay(self, source: str, made: str, key: str | None, tags: Sequence[str] | None) -> str:
        run = self._run_to_write(source)
        found = self._taken(run.task, key)
        if found is not None:
            return found.id
        again = self._again(run, made, self.home)
        again.key = key
        again.tags = list(run.tags if tags is None else tags)
        return again.id

    def _again(self, source: Run, made: str, home: ShardKey) -> Run:
        metadata = dict(source.metadata if source.seed is None else source.seed)
        run = Run(
            made,
            home,
            source.task,
            "PENDING",
            tags=list(source.tags),
            metadata=metadata,
            seed=dict(metadata) if metadata or source.seed is not None or source.version > 1 else None,
            replay_of=f"run_{source.id}",
        )
        run.goes("QUEUED")
        self.runs[made] = run
        return run

    def _make(self, made: str, new: New, above: Run | None, batch: str | None, *, waits: bool) -> Run:
        run = Run(
            made,
            self._shard_of_new(above),
            new.task,
            "DELAYED" if new.is_delayed else "PENDING",
            batch=batch,
            waits=waits,
            tags=list(new.tags),
            metadata=dict(new.metadata or {}),
            seed=new.metadata,
            key=self._stored(new, above),
            is_due=False if new.is_delayed else None,
        )
        if above is not None:
            run.parent, run.root, run.depth = above.id, above.root or above.id, above.depth + 1
        run.goes("DELAYED" if new.is_delayed else "QUEUED")
        self.runs[made] = run
        return run

    def _shard_of_new(self, above: Run | None) -> ShardKey:
        return self.home if above is None else above.shard

    def _place(self, parent: str | None, *, waits: bool) -> Run | None:
        if parent is None:
            if waits:
                raise Refused("InvalidInputError")
            return None
        above = self._run_to_write(parent) if waits else self._run(parent)
        if waits and above.is_final:
            raise Refused("InvalidRunStateError", PUBLIC[above.status])
        return above

    def _stored(self, new: New, above: Run | None) -> str | None:
        if new.scope is None:
            return new.key
        if new.key is None or (new.scope != "GLOBAL" and above is None):
            raise Refused("InvalidInputError")
        material = [new.key]
        if above is not None and new.scope != "GLOBAL":
            material += [f"run_{above.id}"] + ([str(above.attempt)] if new.scope == "ATTEMPT" else [])
        return hashed(*material)

    def _taken(self, task: str, key: str | None) -> Run | None:
        """Return the run that a key finds. One that it finds no more, loses it."""
        for run in self.runs.values():
            if key is not None and (run.task, run.key) == (task, key):
                if not run.is_expired and run.status not in FAILED:
                    return run
                run.key, run.is_expired = None, False
        return None

    def _run(self, id_: str) -> Run:
        if id_ not in self.runs:
            raise Refused("NotFoundError")
        return self.runs[id_]

    def _run_to_write(self, id_: str) -> Run:
        run = self._run(id_)
        if run.is_retired:
            raise Refused("InvalidRunStateError", PUBLIC[run.status])
        return run

    # What is changed

    def cancel(self, id_: str) -> None:
        run = self._run(id_)
        if run.is_final:
            return
        self._cancel(self._run_to_write(id_))

    def _cancel(self, run: Run) -> None:
        if run.doing in BEGUN:
            run.goes("PENDING_CANCEL")
        run.goes("FINISHED")
        run.status, run.ties = "CANCELED", []
        run.outcome = Outcome({"type": "STRING_ERROR", "raw": "Canceled by user"}, is_error=True)
        if end_of(run.id) in self.waitpoints:
            self._follow(self._ended(self.waitpoints[end_of(run.id)]))
        if run.batch is not None:
            self._finish([self.batches[run.batch]])

    def reschedule(self, id_: str, *, is_past: bool) -> None:
        run = self._run_to_write(id_)
        if run.status != "DELAYED":
            raise Refused("InvalidRunStateError", PUBLIC[run.status])
        run.goes("DELAYED")
        run.is_due = is_past

    def add_tags(self, id_: str, tags: Sequence[str]) -> None:
        run = self._run_to_write(id_)
        lacked = [tag for tag in dict.fromkeys(tags) if tag.strip() and tag not in run.tags]
        if lacked and len(run.tags) + len(lacked) > MOST_TAGS:
            raise Refused("InvalidInputError")
        run.tags += lacked

    def write_metadata(
        self,
        id_: str,
        document: dict[str, Any] | None,
        own: Sequence[Mapping[str, Any]],
        parents: Sequence[Mapping[str, Any]],
        roots: Sequence[Mapping[str, Any]],
    ) -> None:
        run = self._run_to_write(id_)
        if document is not None:
            run.metadata = dict(document)
        for target, operations in ((run.id, own), (run.parent or run.id, parents), (run.root or run.id, roots)):
            for operation in operations:
                _apply(self.runs[target].metadata, operation)
        changed = {run.id} if document is not None or own else set()
        changed |= {run.parent or run.id} if parents else set()
        changed |= {run.root or run.id} if roots else set()
        for target in changed:
            self.runs[target].version += 1

    def reset_key(self, task: str, key: str) -> int:
        had = [run for run in self.runs.values() if run.task == task and run.key in {key, hashed(key)}]
        if not had:
            raise Refused("NotFoundError")
        for run in had:
            run.key, run.is_expired = None, False
        return len(had)

    def reset_key_of(self, id_: str) -> int:
        run = self._run_to_write(id_)
        if run.key is None:
            raise Refused("NotFoundError")
        run.key, run.is_expired = None, False
        return 1

    # What is waited for

    def create_token(self, made: str, key: str | None, tags: Sequence[str], *, times_out: bool) -> tuple[str, bool]:
        """Return the name of a token, and whether its key found it."""
        held = [one for one in self.waitpoints.values() if key is not None and one.key == key]
        live = [one for one in held if not one.is_expired]
        tokens = [one for one in live if one.type == "MANUAL"]
        if tokens:
            return max(tokens, key=lambda one: _precedence(one.shard)).name, True
        if live:
            raise Refused("ConflictError")
        for one in held:
            _rotate(one)
        self.waitpoints[made] = Waitpoint(
            made, self.home, "MANUAL", tags=list(tags), key=key, is_due=False if times_out else None
        )
        return made, False

    def complete_token(self, name: str, outcome: Outcome) -> bool:
        """Complete a token or say that it was complete before."""
        return self._complete_one(name, "MANUAL", outcome)

    def skip(self, name: str) -> None:
        self._complete_one(name, "DATETIME", NOTHING)

    def _complete_one(self, name: str, type_: str, outcome: Outcome) -> bool:
        one = self._waitpoint(name)
        if one.type != type_:
            raise Refused("InvalidStateError")
        was = one.is_complete
        self._complete([one], outcome)
        self._follow([name])
        return was

    def wait_for(self, run_id: str, name: str) -> None:
        run = self._run_to_write(run_id)
        self._waitpoint(name)
        self._wait(run, [(name, None)])

    def wait_until(self, run_id: str, made: str, key: str | None, *, is_past: bool) -> str:
        """Return the name of the time that a run waits for."""
        run = self._run_to_write(run_id)
        held = [w for w in self.waitpoints.values() if key is not None and w.key == key and w.shard == run.shard]
        for one in held:
            if not one.is_expired:
                if one.type != "DATETIME":
                    raise Refused("ConflictError")
                self._wait(run, [(one.name, None)])
                return one.name
        self._refuse_wait(run)
        for one in held:
            _rotate(one)
        self.waitpoints[made] = Waitpoint(made, run.shard, "DATETIME", key=key, is_due=is_past)
        self._block(run, [(made, None)])
        if is_past:
            self._complete([self.waitpoints[made]], NOTHING)
            self._follow([made])
        return made

    def _waitpoint(self, name: str) -> Waitpoint:
        if name not in self.waitpoints:
            raise Refused("NotFoundError")
        return self.waitpoints[name]

    def _wait(self, run: Run, ties: Sequence[Tie]) -> None:
        self._block(run, ties)
        self._settle(run, {name for name, _ in ties})

    def _refuse_wait(self, run: Run) -> None:
        if run.is_final or run.status in NOT_BEGUN:
            raise Refused("InvalidRunStateError", PUBLIC[run.status])

    def _block(self, run: Run, ties: Iterable[Tie]) -> None:
        self._refuse_wait(run)
        for tie in ties:
            if tie not in run.ties:
                run.ties.append(tie)
            run.connections.add(tie[0])
        if run.doing == "EXECUTING":
            run.goes("EXECUTING_WITH_WAITPOINTS")
        elif run.doing not in {"EXECUTING_WITH_WAITPOINTS", "SUSPENDED"}:
            run.goes("SUSPENDED")
            run.status = "WAITING_TO_RESUME"

    def _settle(self, run: Run, names: Collection[str]) -> None:
        if all(self.waitpoints[name].is_complete for name in names):
            self._go_on(run)

    def _follow(self, names: Collection[str]) -> None:
        for run in self.runs.values():
            if any(name in names for name, _ in run.ties):
                self._go_on(run)

    def _go_on(self, run: Run) -> None:
        if not run.ties or not all(self.waitpoints[name].is_complete for name, _ in run.ties):
            return
        if run.doing == "EXECUTING_WITH_WAITPOINTS":
            run.goes("EXECUTING", run.ties)
        elif run.doing == "SUSPENDED":
            run.goes("QUEUED", run.ties)
            run.status = "PENDING"
        run.ties = []

    def _complete(self, some: Iterable[Waitpoint], outcome: Outcome) -> list[str]:
        names = []
        for one in some:
            if not one.is_complete:
                one.is_complete, one.outcome = True, outcome
                names.append(one.name)
        return names

    def _end_of_run(self, run: Run) -> str:
        """Return what waits for a run's end; it is made if there was none."""
        name = end_of(run.id)
        if name not in self.waitpoints:
            self.waitpoints[name] = Waitpoint(name, run.shard, "RUN")
            self._ended(self.waitpoints[name])
        return name

    def _end_of_batch(self, batch: Batch) -> str:
        name = end_of(batch.id)
        if name not in self.waitpoints:
            self.waitpoints[name] = Waitpoint(name, batch.shard, "BATCH", is_complete=batch.is_complete)
        return name

    def _ended(self, one: Waitpoint) -> list[str]:
        """Complete what waits for the end of a run, if that has ended, and return its name."""
        run = self.runs.get(one.name.removeprefix(end_of("")))
        return self._complete([one], run.outcome) if run is not None and run.is_final else []

    def _still_waits(self, one: Waitpoint) -> bool:
        run = self.runs.get(one.name.removeprefix(end_of("")))
        return not one.is_complete and not (run is not None and run.is_final)

    def _finish(self, batches: Iterable[Batch]) -> None:
        """Complete the batches whose members have all ended."""
        for batch in list(batches):
            members = [run for run in self.runs.values() if run.batch == batch.id or f"run_{run.id}" in batch.members]
            if not batch.is_complete and all(run.is_final for run in members):
                batch.is_complete = True
                name = end_of(batch.id)
                if name in self.waitpoints:
                    self._follow(self._complete([self.waitpoints[name]], NOTHING))

    # What is done to many

    def create_bulk(
        self, made: str, type_: str, wanted: Callable[[Run], bool], named: Sequence[str] | None = None
    ) -> None:
        if type_ == "REPLAY":
            at_work = [bulk for bulk in self.bulks.values() if (bulk.type, bulk.status) == ("REPLAY", "PENDING")]
            if len(at_work) >= MOST_REPLAYS:
                raise Refused("ConflictError")
        total = len(dict.fromkeys(named)) if named is not None else sum(map(wanted, self.runs.values()))
        self.bulks[made] = Bulk(made, type_, wanted, list(self.runs), self.home, total)

    def abort_bulk(self, id_: str) -> None:
        if id_ not in self.bulks:
            raise Refused("NotFoundError")
        if self.bulks[id_].status != "PENDING":
            raise Refused("InvalidStateError")
        self.bulks[id_].status = "ABORTED"

    # What happens by itself

    def sweep(self, replays: Mapping[tuple[str, str], str]) -> list[Run]:
        """Do a round. `replays` are runs by bulk action and source; returns the runs that a bulk action canceled."""
        due = [one for one in self.waitpoints.values() if one.is_due and not one.is_complete]
        for one in due:
            self._complete([one], TIMED_OUT if one.type == "MANUAL" else NOTHING)
        self._follow([one.name for one in due])
        for run in self.runs.values():
            if run.status == "DELAYED" and run.is_due and not run.is_retired:
                run.status = "PENDING"
                run.goes("QUEUED")
        self._finish(self.batches.values())
        for run in self.runs.values():
            ties = [self.waitpoints[name] for name, _ in run.ties]
            if not any(one.shard == run.shard and self._still_waits(one) for one in ties):
                for one in ties:
                    self._ended(one)
        for run in self.runs.values():
            self._go_on(run)
        canceled: list[Run] = []
        for bulk in [bulk for bulk in self.bulks.values() if bulk.status == "PENDING"]:
            canceled += self._carry_on(bulk, replays)
        return canceled

    def _carry_on(self, bulk: Bulk, replays: Mapping[tuple[str, str], str]) -> list[Run]:
        runs = [self.runs[id_] for id_ in bulk.before if bulk.wanted(self.runs[id_])]
        canceled = []
        for run in runs:
            if run.is_retired:
                bulk.failed += 1
                continue
            bulk.succeeded += 1
            run.bulks.append(bulk.id)
            if bulk.type == "CANCEL" and not run.is_final:
                self._cancel(run)
                canceled.append(run)
            if bulk.type == "REPLAY":
                made = self._again(run, replays.get((bulk.id, run.id), f"no replay of {run.id}"), bulk.home)
                made.bulks = [bulk.id]
        bulk.status, bulk.total = "COMPLETED", bulk.succeeded + bulk.failed
        return canceled


def _precedence(shard: ShardKey) -> tuple[bool, bool, str]:
    return (shard != "legacy", shard != "new", shard)


def _rotate(one: Waitpoint) -> None:
    one.old_key, one.key, one.is_expired = one.key, None, False


def _apply(document: dict[str, Any], operation: Mapping[str, Any]) -> None:
    key, value = operation["key"], operation.get("value")
    match operation["type"]:
        case "set":
            document[key] = value
        case "delete":
            document.pop(key, None)
        case "append":
            was = document.get(key, [])
            document[key] = [*(was if isinstance(was, list) else [was]), value]
        case "increment":
            was = document.get(key)
            document[key] = was + (value or 0) if isinstance(was, int) else value
