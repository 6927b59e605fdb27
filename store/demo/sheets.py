"""The tables of a shard that the demo fills, and which of their columns."""

from dataclasses import dataclass, field

from store.demo.copying import Sheet
from store.migrations import Variant

RUNS = Sheet(
    "TaskRun",
    (
        *("id", "friendlyId", "engine", "status", "statusReason", "attemptNumber"),
        *("runtimeEnvironmentId", "environmentType", "projectId", "organizationId"),
        *("taskIdentifier", "queue", "masterQueue", "region", "maxAttempts", "maxDurationInSeconds", "machinePreset"),
        *("taskVersion", "sdkVersion", "cliVersion", "lockedById", "lockedToVersionId", "lockedQueueId"),
        *("createdAt", "updatedAt", "queuedAt", "queueTimestamp", "lockedAt", "startedAt", "executedAt", "completedAt"),
        *("delayUntil", "expiredAt", "ttl", "usageDurationMs", "costInCents", "baseCostInCents", "isWarmStart"),
        *("payload", "payloadType", "output", "outputType", "error", "metadata", "seedMetadata"),
        *("traceId", "spanId", "parentSpanId", "parentTaskRunId", "rootTaskRunId", "depth"),
        *("batchId", "resumeParentOnCompletion", "annotations", "runTags", "priorityMs", "concurrencyKey", "isTest"),
        *("idempotencyKey", "idempotencyKeyExpiresAt", "idempotencyKeyOptions"),
        *("scheduleId", "scheduleInstanceId", "replayedFromTaskRunFriendlyId", "bulkActionGroupIds"),
    ),
)
BATCHES = Sheet(
    "BatchTaskRun",
    (
        *("id", "friendlyId", "status", "batchVersion", "runtimeEnvironmentId", "createdAt", "updatedAt"),
        *("runIds", "runCount", "idempotencyKey", "idempotencyKeyExpiresAt", "sealed", "sealedAt"),
        *("expectedCount", "completedCount", "processingJobsCount", "processingJobsExpectedCount"),
        *("processingStartedAt", "processingCompletedAt", "completedAt", "successfulRunCount", "failedRunCount"),
    ),
)
BATCH_ERRORS = Sheet(
    "BatchTaskRunError",
    ("id", "batchTaskRunId", "index", "taskIdentifier", "payload", "error", "errorCode", "createdAt"),
)
ATTEMPTS = Sheet(
    "TaskRunAttempt",
    (
        *("id", "friendlyId", "number", "taskRunId", "status", "createdAt", "updatedAt", "startedAt", "completedAt"),
        *("usageDurationMs", "error", "output", "runtimeEnvironmentId"),
        *("backgroundWorkerId", "backgroundWorkerTaskId", "queueId"),
    ),
)
ITEMS = Sheet(
    "BatchTaskRunItem",
    ("id", "status", "batchTaskRunId", "taskRunId", "createdAt", "updatedAt", "taskRunAttemptId", "completedAt"),
)
SNAPSHOTS = Sheet(
    "TaskRunExecutionSnapshot",
    (
        *("id", "executionStatus", "description", "runStatus", "runId", "previousSnapshotId", "batchId"),
        *("attemptNumber", "environmentId", "environmentType", "projectId", "organizationId"),
        *("completedWaitpointOrder", "createdAt", "updatedAt", "lastHeartbeatAt", "runnerId", "engine"),
    ),
)
WAITPOINTS = Sheet(
    "Waitpoint",
    (
        *("id", "friendlyId", "type", "status", "environmentId", "projectId", "createdAt", "updatedAt"),
        *("completedAfter", "completedAt", "completedByTaskRunId", "completedByBatchId"),
        *("output", "outputType", "outputIsError", "tags"),
        *("idempotencyKey", "userProvidedIdempotencyKey", "idempotencyKeyExpiresAt", "inactiveIdempotencyKey"),
    ),
)
EDGES = Sheet(
    "TaskRunWaitpoint",
    (
        *("id", "taskRunId", "waitpointId", "projectId", "spanIdToComplete", "batchId", "batchIndex"),
        *("createdAt", "updatedAt"),
    ),
)
WAITPOINT_TAGS = Sheet("WaitpointTag", ("id", "name", "environmentId", "projectId", "createdAt"))


@dataclass(frozen=True, slots=True)
class Links:
    """The two tables of pairs: for what runs waited, and what completed a snapshot. One variant has ids for pairs."""

    connections: Sheet
    completed: Sheet

    def pair(self, id_: str, left: str, right: str) -> str:
        """Return a line of either table."""
        return "\t".join((id_, left, right)[-len(self.connections.columns) :])


LINKS: dict[Variant, Links] = {
    "full": Links(Sheet("_WaitpointRunConnections", ("A", "B")), Sheet("_completedWaitpoints", ("A", "B"))),
    "dedicated": Links(
        Sheet("WaitpointRunConnection", ("id", "taskRunId", "waitpointId")),
        Sheet("CompletedWaitpoint", ("id", "snapshotId", "waitpointId")),
    ),
}


@dataclass(slots=True)
class Chunk:
    """Some blocks of one shard on their way into its tables, in an order that foreign keys allow."""

    links: Links
    lines: dict[Sheet, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        order = (BATCHES, BATCH_ERRORS, RUNS, ATTEMPTS, ITEMS, SNAPSHOTS, WAITPOINTS, EDGES)
        self.lines = {sheet: [] for sheet in (*order, self.links.connections, self.links.completed, WAITPOINT_TAGS)}
