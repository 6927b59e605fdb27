"""What a scene is made of: runs, batches, waitpoints, and how they wait for one another, as lines for one shard."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from store.demo.copying import NULL, array, line, literal
from store.demo.mint import timestamp
from store.demo.palette import JSON, SUPERJSON, TEXT, TaskKind
from store.demo.places import DAY, Place
from store.demo.runs import COMPLETED, EXPIRED, TTL, WAITING, Run, State, row
from store.demo.sheets import (
    ATTEMPTS,
    BATCH_ERRORS,
    BATCHES,
    EDGES,
    ITEMS,
    RUNS,
    SNAPSHOTS,
    WAITPOINT_TAGS,
    WAITPOINTS,
    Chunk,
)
from store.demo.world import BLOCK, SLOTS, World
from store.residency import LEGACY

ALL_OF_A_TRACE, ALL_OF_A_SPAN = (1 << 128) - 1, (1 << 64) - 1
TIMED_OUT = {"code": "TRIGGER_WAITPOINT_TIMEOUT", "message": "Waitpoint timed out"}
UNFINISHED = f"{NULL}\t{JSON}\tf"
OUTPUT = literal({"ok": True})
TAGS = ("refund", "approval", "onboarding")


@dataclass(slots=True)
class Batch:
    """A batch that a scene fills."""

    id: str
    created: int
    version: str
    members: list[str] = field(default_factory=list)
    """Friendly ids, of other shards too."""


class Block:
    """A hundred runs of one shard, being written."""

    def __init__(self, world: World, shard: int, number: int, chunk: Chunk) -> None:
        self.world, self.shard, self.number = world, shard, number
        self.live = world.is_live(number) and world.is_whole(number)
        self.place = world.place(number)
        self.old = world.keys[shard] == LEGACY
        """Whether this is the store that the retired engine wrote to."""
        self._mints = world.mints[shard]
        self._links, self._lines = chunk.links, chunk.lines
        self._serial = number * SLOTS
        self._latest = world.anchor - 1000
        self._moments = world.moments(shard, number)
        self._body = world.bodies[shard]

    def id(self, moment: int) -> str:
        """Return a new id for a row that nothing else names."""
        self._serial += 1
        return self._mints["row"].cuid(moment, self._serial)

    def write_tags(self, places: Iterable[Place]) -> None:
        """Write the names that tokens are tagged with, for each environment."""
        at = self.world.begins(self.number)
        self._lines[WAITPOINT_TAGS] += [
            line(self.id(at), name, place.id, place.project_id, timestamp(at)) for place in places for name in TAGS
        ]

    def run(  # noqa: PLR0913  most have a default
        self,
        position: int,
        kind: TaskKind,
        state: State = COMPLETED,
        *,
        parent: Run | None = None,
        batch: Batch | None = None,
        lasting: int | None = None,
        place: Place | None = None,
        how: str = "",
    ) -> Run:
        """Return the run of a position; it is written by `write`. In a block that is not live it has ended."""
        serial = self.number * SLOTS + position
        bits = self._mints["run"].bits(serial)
        created = self._moments[position % BLOCK]
        if not self.live and not state.final:
            state = COMPLETED
        if lasting is None:
            lasting = TTL if state is EXPIRED else 300 + bits % (1_200_000 if bits % 19 == 0 else 30_000)
        place = place or self.place
        started = created + 900 + bits % 1500
        run = Run(
            id=self._body(created, bits),
            bits=bits,
            serial=serial,
            created=created,
            started=started,
            ended=min(started + lasting, self._latest - bits % 60_000),
            place=place,
            task=place.tasks[kind.slug],
            state=state,
            how=how or kind.how,
            trace=parent.trace if parent else f"{bits * bits & ALL_OF_A_TRACE:032x}",
            span=f"{bits & ALL_OF_A_SPAN:016x}",
            test=place.type == "DEVELOPMENT" and bits % 3 == 0,
        )
        if parent:
            run.parent, run.root = parent, parent.root or parent
        if batch:
            run.batch = batch.id
            batch.members.append(run.friendly_id)
        return run

    def write(self, run: Run, completed_by: Sequence[str] = ()) -> None:
        """Write a run, and its snapshots if the block is live or something completed one of them."""
        self._lines[RUNS].append(row(run, self.world.anchor))
        if run.engine == "V2" and (self.live or completed_by):
            self._snapshots(run, completed_by)

    def _snapshots(self, run: Run, completed_by: Sequence[str]) -> None:
        """Write what the engine noted down about a run, step by step."""
        state, status = run.state, run.state.status
        steps = [("RUN_CREATED", "PENDING", "Run was created", run.created)]
        if not self.live:
            steps = [("EXECUTING", "EXECUTING", "Run was continued, whilst still executing.", run.ended - 100)]
        elif state.phase not in ("delayed", "queued"):
            steps.append(("QUEUED", "PENDING", "Run was QUEUED", run.created + 12))
            if state.phase != "never started":
                steps.append(("PENDING_EXECUTING", "DEQUEUED", "Run was dequeued for execution", run.created + 800))
            if state.phase in ("started", "ended"):
                steps.append(("EXECUTING", "EXECUTING", "Attempt created, starting execution", run.started))
        if steps[-1][0] != state.execution:
            steps.append((state.execution, status, f"Run is {state.execution}", run.ended))
        previous = NULL
        for execution, run_status, description, moment in steps:
            at, id_ = timestamp(moment), self.id(moment)
            links = completed_by if execution == "EXECUTING" else ()
            attempt = "1" if execution not in ("RUN_CREATED", "QUEUED", "DELAYED") else NULL
            self._lines[SNAPSHOTS].append(
                f"{id_}\t{execution}\t{description}\t{run_status}\t{run.id}\t{previous}\t{run.batch}\t{attempt}\t"
                f"{run.place.columns}\t{array(links)}\t{at}\t{at}\t{NULL if attempt == NULL else at}\t"
                f"{NULL if attempt == NULL else f'runner-{run.id}-attempt-1'}\t{run.engine}"
            )
            for waitpoint in links:
                self._lines[self._links.completed].append(self._links.pair(self.id(moment), id_, waitpoint))
            previous = id_

    def waits(
        self,
        run: Run,
        waitpoints: Sequence[str],
        *,
        batch: Batch | None = None,
        whole: str | None = None,
    ) -> None:
        """Connect a run with what it waits for, or waited for, in this order; then write it.

        `whole` is the waitpoint of a batch as such; the others are its members' and have an index.
        """
        blocked = run.state is WAITING
        at = timestamp(run.started + 300)
        everything = [*waitpoints, *([whole] if whole else [])]
        for index, waitpoint in enumerate(everything):
            pair = self._links.pair(self.id(run.started), run.id, waitpoint)
            self._lines[self._links.connections].append(pair)
            if blocked:
                batch_id = batch.id if batch else NULL
                place = index if batch and waitpoint is not whole else NULL
                self._lines[EDGES].append(
                    f"{self.id(run.started)}\t{run.id}\t{waitpoint}\t{run.place.project_id}\t{run.span}\t"
                    f"{batch_id}\t{place}\t{at}\t{at}"
                )
        self.write(run, () if blocked else everything)

    def own_waitpoint(self, run: Run) -> str:
        """Write the waitpoint that a run completes when it ends, and return its id."""
        id_ = self._mints["waitpoint"].cuid(run.created, run.serial)
        done = run.ended if run.state.final else None
        output = run.state.result(run.bits) if done else UNFINISHED
        self._waitpoint(id_, "RUN", run.created, done, output=output, run=run.id)
        return id_

    def batch_waitpoint(self, batch: Batch, position: int, done: int | None) -> str:
        """Write the waitpoint that a batch completes when its last run has ended, and return its id."""
        id_ = self.world.waitpoint_id(self.shard, self.number, position)
        self._waitpoint(id_, "BATCH", batch.created, done, batch=batch.id)
        return id_

    def timer(self, position: int, due: int, done: int | None) -> str:
        """Write a waitpoint that the clock completes, and return its id."""
        id_ = self.world.waitpoint_id(self.shard, self.number, position)
        created = self._moments[position % BLOCK]
        self._waitpoint(id_, "DATETIME", created, done, due=due)
        return id_

    def token(  # noqa: PLR0913  likewise
        self,
        position: int,
        done: int | None,
        *,
        due: int | None = None,
        value: object = None,
        timed_out: bool = False,
        tags: Sequence[str] = (),
        key: str = "",
        spent_key: str = "",
    ) -> str:
        """Write a token, which is completed by hand or runs out, and return its id."""
        id_ = self.world.waitpoint_id(self.shard, self.number, position)
        created = self._moments[position % BLOCK]
        output = UNFINISHED
        if timed_out:
            output = f"{literal(TIMED_OUT)}\t{JSON}\tt"
        elif done and value is not None:
            output = (
                f"{literal(value)}\t{TEXT}\tf"
                if isinstance(value, str)
                else f"{literal({'json': value})}\t{SUPERJSON}\tf"
            )
        expires = timestamp(created + DAY) if key or spent_key else NULL
        keys = f"{key or id_}\tt\t{expires}\t{spent_key or NULL}" if key or spent_key else ""
        self._waitpoint(id_, "MANUAL", created, done, output=output, due=due, tags=tags, keys=keys)
        return id_

    def _waitpoint(  # noqa: PLR0913  a row has as many parts
        self,
        id_: str,
        type_: str,
        created: int,
        done: int | None,
        *,
        output: str = UNFINISHED,
        run: str = NULL,
        batch: str = NULL,
        due: int | None = None,
        tags: Sequence[str] | None = None,
        keys: str = "",
    ) -> None:
        at = timestamp(created)
        finished = timestamp(done) if done else NULL
        made_up = f"{id_}\tf\t{NULL}\t{NULL}"
        self._lines[WAITPOINTS].append(
            f"{id_}\twaitpoint_{id_}\t{type_}\t{'COMPLETED' if done else 'PENDING'}\t"
            f"{self.place.id}\t{self.place.project_id}\t{at}\t{finished if done else at}\t"
            f"{timestamp(due) if due else NULL}\t{finished}\t{run}\t{batch}\t{output}\t"
            f"{array(tags) if tags else NULL}\t{keys or made_up}"
        )

    def batch(self, position: int, version: str) -> Batch:
        """Return the batch that is made with the run of a position; it is written by `finish`."""
        created = self._moments[position % BLOCK]
        bits = self._mints["batch"].bits(self.number * SLOTS + position)
        return Batch(self._body(created, bits), created, version)

    def finish(  # noqa: PLR0913  likewise
        self,
        batch: Batch,
        status: str,
        runs: Sequence[Run],
        *,
        missing: int = 0,
        errors: int = 0,
        key: bool = False,
    ) -> None:
        """Write a batch: with `missing` members that are still to come, and `errors` that never will."""
        ended = [run for run in runs if run.state.final]
        good = sum(run.state is COMPLETED or not run.state.final for run in runs)
        last = max((run.ended for run in runs), default=batch.created + 900)
        created, updated, sealed = (timestamp(moment) for moment in (batch.created, last, batch.created + 400))
        two_phase = batch.version == "runengine:v2"
        done = status not in ("PENDING", "PROCESSING")
        count = len(batch.members) + missing + errors
        others = len(batch.members) - len(runs)
        self._lines[BATCHES].append(
            f"{batch.id}\tbatch_{batch.id}\t{status}\t{batch.version}\t{self.place.id}\t"
            f"{created}\t{updated}\t{array(batch.members)}\t{count}\t"
            + (f"batch:{batch.id}\t{timestamp(batch.created + 30 * DAY)}\t" if key else f"{NULL}\t{NULL}\t")
            + f"t\t{sealed}\t{count}\t{len(ended) + others if done else len(ended)}\t{count - missing}\t{count}\t"
            + (f"{created}\t{NULL if status == 'PROCESSING' else sealed}\t" if two_phase else f"{NULL}\t{NULL}\t")
            + f"{updated if done else NULL}\t"
            + (f"{good + others}\t{len(runs) - good + errors}" if done else f"{NULL}\t{NULL}")
        )
        for number in range(errors):
            self._lines[BATCH_ERRORS].append(
                line(
                    self.id(batch.created),
                    batch.id,
                    len(batch.members) + number,
                    runs[0].task.kind.slug if runs else "send-email",
                    '{"to":"nobody"}',
                    ("The payload is larger than 3145728 bytes", "The queue is full", "Invalid delay: tomorrow")[
                        number % 3
                    ],
                    ("PAYLOAD_TOO_LARGE", "QUEUE_SIZE_LIMIT_EXCEEDED", None)[number % 3],
                    sealed,
                )
            )

    def item(self, batch: Batch, run: Run, attempt: str = NULL) -> None:
        """Write the row that says that a run is a member of a batch of an older version."""
        at, ended = timestamp(run.created), timestamp(run.ended)
        status = "PENDING" if not run.state.final else "COMPLETED" if run.state is COMPLETED else "FAILED"
        self._lines[ITEMS].append(
            f"{self.id(run.created)}\t{status}\t{batch.id}\t{run.id}\t{at}\t{ended}\t{attempt}\t"
            f"{ended if run.state.final else NULL}"
        )

    def attempt(self, run: Run) -> str:
        """Write the one try of a run of the retired engine, and return its id."""
        id_, release = self.id(run.started), run.task.release(run.created)
        started, ended = timestamp(run.started), timestamp(run.ended)
        good = run.state is COMPLETED
        self._lines[ATTEMPTS].append(
            f"{id_}\tattempt_{nanoid(run.bits)}\t1\t{run.id}\t{'COMPLETED' if good else 'FAILED'}\t{started}\t{ended}\t"
            f"{started}\t{ended}\t{run.ended - run.started}\t{NULL if good else run.state.error}\t"
            f"{OUTPUT if good else NULL}\t{run.place.id}\t"
            f"{release.worker_id}\t{release.worker_task_id}\t{release.queue_id}"
        )
        return id_


NANOID = "123456789abcdefghijkmnopqrstuvwxyz"


def nanoid(bits: int) -> str:
    """Return 21 characters as the oldest ids have them."""
    number = bits << 48 | bits & 0xFFFFFFFFFFFF
    text = ""
    while len(text) < 21:  # noqa: PLR2004
        number, digit = divmod(number, 34)
        text += NANOID[digit]
    return text
