"""One run as a row: which columns each of the platform's states fills, and with what."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from store.demo.copying import NULL, literal
from store.demo.mint import timestamp
from store.demo.palette import ERRORS, JSON, METADATA, NO_OUTPUT, OUTPUTS, PAYLOADS, TAGS, internal_error
from store.demo.places import DAY, HOUR, Place, Task

Phase = Literal["delayed", "queued", "dequeued", "started", "ended", "never started"]
Content = Literal["output", "error", "nothing"]


CHOICES = 120
"""How many payloads with their outputs there are to choose from, for each state."""


@dataclass(frozen=True)
class State:
    """A stored status, and how far a run in it has come."""

    status: str
    phase: Phase
    content: Content = "nothing"
    reason: str = NULL
    error: str = NULL
    attempts: int = 1
    execution: str = "FINISHED"
    """executionStatus of its latest snapshot."""

    @cached_property
    def final(self) -> bool:
        """Whether a run in it has ended."""
        return self.phase in ("ended", "never started")

    @cached_property
    def columns(self) -> str:
        """Status, statusReason, attemptNumber."""
        return f"{self.status}\t{self.reason}\t{self.attempts if self.phase in ('started', 'ended') else NULL}"

    @cached_property
    def contents(self) -> list[str]:
        """Choices for payload, payloadType, output, outputType, error, metadata, seedMetadata."""
        return [
            f"{PAYLOADS[number % len(PAYLOADS)]}\t{self._outputs[number % len(self._outputs)]}\t"
            f"{METADATA[number % len(METADATA)]}\t{METADATA[number % len(METADATA)]}"
            for number in range(CHOICES)
        ]

    def result(self, bits: int) -> str:
        """Return the output, outputType and outputIsError of the waitpoint of a run that has ended."""
        output, type_, error = self._outputs[bits % CHOICES % len(self._outputs)].split("\t")
        return f"{output}\t{type_}\tf" if error == NULL else f"{error}\t{JSON}\tt"

    @cached_property
    def _outputs(self) -> list[str]:
        match self.content:
            case "output":
                return [f"{output}\t{NULL}" for output in OUTPUTS]
            case "error":
                return [f"{NO_OUTPUT}\t{error}" for error in ERRORS]
            case "nothing":
                return [f"{NO_OUTPUT}\t{self.error}"]


DELAYED = State("DELAYED", "delayed", execution="DELAYED")
PENDING = State("PENDING", "queued", execution="QUEUED")
PENDING_VERSION = State(
    "PENDING_VERSION", "queued", reason="No background worker has this task yet", execution="RUN_CREATED"
)
WAITING_FOR_DEPLOY = State("WAITING_FOR_DEPLOY", "queued", execution="RUN_CREATED")
DEQUEUED = State("DEQUEUED", "dequeued", execution="PENDING_EXECUTING")
EXECUTING = State("EXECUTING", "started", execution="EXECUTING")
RETRYING = State("RETRYING_AFTER_FAILURE", "started", attempts=2, execution="QUEUED_EXECUTING")
WAITING = State("WAITING_TO_RESUME", "started", execution="SUSPENDED")
PAUSED = State("PAUSED", "started", execution="EXECUTING_WITH_WAITPOINTS")
COMPLETED = State("COMPLETED_SUCCESSFULLY", "ended", "output")
FAILED = State("COMPLETED_WITH_ERRORS", "ended", "error", attempts=3)
CANCELED = State(
    "CANCELED",
    "ended",
    reason="Canceled by user",
    error=literal({"type": "STRING_ERROR", "raw": "Canceled by user"}),
)
INTERRUPTED = State("INTERRUPTED", "ended", error=literal({"type": "STRING_ERROR", "raw": "The machine was reclaimed"}))
SYSTEM_FAILURE = State(
    "SYSTEM_FAILURE", "ended", error=internal_error("TASK_RUN_HEARTBEAT_TIMEOUT", "The run stopped sending heartbeats")
)
CRASHED = State(
    "CRASHED", "ended", error=internal_error("TASK_PROCESS_OOM_KILLED", "The process ran out of memory"), attempts=2
)
EXPIRED = State(
    "EXPIRED",
    "never started",
    reason="Run expired because the TTL (1m) was reached",
    error=literal({"type": "STRING_ERROR", "raw": "Run expired because the TTL (1m) was reached"}),
)
TIMED_OUT = State(
    "TIMED_OUT", "ended", error=internal_error("MAX_DURATION_EXCEEDED", "Run exceeded maxDuration of 600 seconds")
)

STATES = (
    *(DELAYED, PENDING, PENDING_VERSION, WAITING_FOR_DEPLOY, DEQUEUED, EXECUTING, RETRYING, WAITING, PAUSED),
    *(COMPLETED, FAILED, CANCELED, INTERRUPTED, SYSTEM_FAILURE, CRASHED, EXPIRED, TIMED_OUT),
)

TTL = 60_000
NO_LOCK = "\t".join([NULL] * 6)
NO_DELAY = "\t".join([NULL] * 3)
NO_USAGE = f"0\t0\t0\t{NULL}"
NOTHING_ABOVE = f"{NULL}\t{NULL}\t{NULL}\t0"
LABELS = [
    f"{NULL if number % 9 == 0 else f'{{tenant:{number},{TAGS[number % 5]}}}'}\t"
    f"{1000 if number % 13 == 0 else 0}\t{NULL if number % 6 else f'tenant-{number}'}"
    for number in range(397)
]
"""Choices for runTags, priorityMs, concurrencyKey."""

NO_KEY = "\t".join([NULL] * 3)
NO_SCHEDULE = f"{NULL}\t{NULL}"


@dataclass(slots=True)
class Run:
    """A run that a block is about to write. Moments are milliseconds since 1970, and none is after the anchor."""

    id: str
    bits: int
    """72 random bits: ids of its trace come from them, and what it picks from the palette."""
    serial: int
    created: int
    started: int
    """When a machine began with it, or would have."""
    ended: int
    """When it ended, or when it last changed."""
    place: Place
    task: Task
    state: State
    how: str
    """annotations."""
    trace: str
    span: str
    """Where it is in its trace."""
    root: "Run | None" = None
    parent: "Run | None" = None
    batch: str = NULL
    waited_for: bool = False
    engine: str = "V2"
    test: bool = False
    key: str = NO_KEY
    schedule: str = NO_SCHEDULE
    replayed_from: str = NULL
    bulk_actions: str = "{}"

    @property
    def friendly_id(self) -> str:
        """The id under which clients know it."""
        return f"run_{self.id}"

    @property
    def depth(self) -> int:
        """How many runs are above it."""
        return self.parent.depth + 1 if self.parent else 0


def row(run: Run, anchor: int) -> str:
    """Return a run as a line of `store.demo.sheets.RUNS`; a delayed one is due within a day of the anchor."""
    state, bits = run.state, run.bits
    created, updated = timestamp(run.created), timestamp(run.ended)
    queued, locked, started, completed, rest = created, NULL, NULL, NULL, NO_DELAY
    release, usage = NO_LOCK, NO_USAGE
    match state.phase:
        case "started" | "ended":
            locked = started = timestamp(run.started)
            if state.phase == "ended":
                completed = updated
            release = run.task.release(run.created).columns
            duration = max(1, (run.ended - run.started) * (1 + bits % 7) // 8)
            usage = f"{duration}\t{duration * 3.38e-6:.4f}\t0.0025\t{'t' if bits & 3 else 'f'}"
            if bits % 11 == 0:
                rest = f"{created}\t{NULL}\t{NULL}"
        case "dequeued":
            locked = updated = timestamp(run.created + 800)
            release = run.task.release(run.created).columns
        case "never started":
            completed = updated
            rest = f"{NULL}\t{updated}\t1m"
        case "queued":
            updated = created
        case "delayed":
            updated, queued = created, NULL
            rest = f"{timestamp(anchor + HOUR + bits % DAY)}\t{NULL}\t{NULL}"
    above = NOTHING_ABOVE
    if run.parent and run.root:
        above = f"{run.parent.span}\t{run.parent.id}\t{run.root.id}\t{run.depth}"
    return (
        f"{run.id}\trun_{run.id}\t{run.engine}\t{state.columns}\t{run.place.columns}\t{run.task.columns}\t{release}\t"
        f"{created}\t{updated}\t{queued}\t{queued}\t{locked}\t{started}\t{started}\t{completed}\t{rest}\t{usage}\t"
        f"{state.contents[bits % CHOICES]}\t{run.trace}\t{run.span}\t{above}\t"
        f"{run.batch}\t{'t' if run.waited_for else 'f'}\t{run.how}\t{LABELS[bits % len(LABELS)]}\t"
        f"{'t' if run.test else 'f'}\t{run.key}\t{run.schedule}\t{run.replayed_from}\t{run.bulk_actions}"
    )
