"""The platform's tables as far as runatlas uses them, and the two variants in which they come.

Names and types are the platform's own; only the Python-side keys are ours. A variant is a value, `FULL` or `DEDICATED`,
that a shard holds: nothing asks which one it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Float,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    cast,
)
from sqlalchemy.dialects.postgresql import ENUM, JSONB
from sqlalchemy.types import TypeEngine

platform = MetaData()


def _column(name: str, type_: TypeEngine[Any] | type[TypeEngine[Any]] = Text, key: str | None = None) -> Column[Any]:
    return Column(name, type_, key=key or _snake(name))


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _enum(name: str, column: str, key: str | None = None) -> Column[Any]:
    return _column(column, ENUM(name=name, create_type=False, metadata=platform), key)


def _table(name: str, *columns: Column[Any], metadata: MetaData = platform) -> Table:
    return Table(name, metadata, *columns)


_TIME = DateTime(timezone=False)
_TEXTS = ARRAY(Text)

task_run = _table(
    "TaskRun",
    _column("id"),
    _column("friendlyId"),
    _enum("TaskRunStatus", "status", "raw_status"),
    _column("statusReason"),
    _enum("RunEngineVersion", "engine"),
    _column("taskIdentifier"),
    _column("runtimeEnvironmentId", key="environment_id"),
    _column("projectId"),
    _column("organizationId"),
    _enum("RuntimeEnvironmentType", "environmentType"),
    _column("isTest", Boolean),
    _column("depth", Integer),
    _column("createdAt", _TIME),
    _column("updatedAt", _TIME),
    _column("queuedAt", _TIME),
    _column("startedAt", _TIME),
    _column("executedAt", _TIME),
    _column("completedAt", _TIME),
    _column("delayUntil", _TIME),
    _column("expiredAt", _TIME),
    _column("ttl"),
    _column("runTags", _TEXTS),
    _column("maxAttempts", Integer),
    _column("maxDurationInSeconds", Integer),
    _column("priorityMs", Integer),
    _column("attemptNumber", Integer),
    _column("traceId"),
    _column("spanId"),
    _column("parentSpanId"),
    _column("batchId"),
    _column("parentTaskRunId"),
    _column("rootTaskRunId"),
    _column("resumeParentOnCompletion", Boolean),
    _column("replayedFromTaskRunFriendlyId", key="replayed_from_friendly_id"),
    _column("idempotencyKey", key="stored_idempotency_key"),
    _column("idempotencyKeyExpiresAt", _TIME),
    _column("idempotencyKeyOptions", JSONB),
    _column("queue", key="queue_name"),
    _column("concurrencyKey"),
    _column("region", key="stored_region"),
    _column("masterQueue", key="worker_queue"),
    _column("machinePreset"),
    _column("usageDurationMs", Integer),
    _column("costInCents", Float),
    _column("baseCostInCents", Float),
    _column("taskVersion"),
    _column("sdkVersion"),
    _column("cliVersion"),
    _column("lockedToVersionId"),
    _column("scheduleId"),
    _column("bulkActionGroupIds", _TEXTS),
    _column("annotations", JSONB),
    _column("payload"),
    _column("payloadType"),
    _column("output"),
    _column("outputType"),
    _column("metadata", key="run_metadata"),
    _column("metadataType"),
    _column("metadataVersion", Integer),
    _column("seedMetadata"),
    _column("seedMetadataType"),
    _column("queueTimestamp", _TIME),
    _column("oneTimeUseToken"),
    _column("error", JSONB),
)

attempt = _table(
    "TaskRunAttempt",
    _column("id"),
    _column("friendlyId"),
    _column("taskRunId", key="run_id"),
    _column("number", Integer),
    _enum("TaskRunAttemptStatus", "status"),
    _column("startedAt", _TIME),
    _column("completedAt", _TIME),
    _column("usageDurationMs", Integer),
    _column("runtimeEnvironmentId", key="environment_id"),
    _column("error", JSONB),
    _column("output"),
    _column("outputType"),
)

snapshot = _table(
    "TaskRunExecutionSnapshot",
    _column("id"),
    _column("runId"),
    _column("previousSnapshotId"),
    _column("batchId"),
    _column("environmentId"),
    _enum("RuntimeEnvironmentType", "environmentType"),
    _column("projectId"),
    _column("organizationId"),
    _column("checkpointId"),
    _column("workerId"),
    _column("runnerId"),
    _enum("TaskRunExecutionStatus", "executionStatus"),
    _enum("TaskRunStatus", "runStatus"),
    _column("description"),
    _column("isValid", Boolean),
    _column("error"),
    _column("attemptNumber", Integer),
    _column("createdAt", _TIME),
    _column("updatedAt", _TIME),
    _column("lastHeartbeatAt", _TIME),
    _column("completedWaitpointOrder", _TEXTS),
)

batch_task_run = _table(
    "BatchTaskRun",
    _column("id"),
    _column("friendlyId"),
    _enum("BatchTaskRunStatus", "status"),
    _column("batchVersion"),
    _column("runtimeEnvironmentId", key="environment_id"),
    _column("runIds", _TEXTS),
    _column("runCount", Integer),
    _column("successfulRunCount", Integer),
    _column("failedRunCount", Integer),
    _column("idempotencyKey"),
    _column("idempotencyKeyExpiresAt", _TIME),
    _column("sealed", Boolean),
    _column("sealedAt", _TIME),
    _column("expectedCount", Integer),
    _column("completedCount", Integer),
    _column("createdAt", _TIME),
    _column("updatedAt", _TIME),
    _column("oneTimeUseToken"),
    _column("processingStartedAt", _TIME),
    _column("processingCompletedAt", _TIME),
    _column("completedAt", _TIME),
)

batch_error = _table(
    "BatchTaskRunError",
    _column("batchTaskRunId", key="batch_id"),
    _column("index", Integer, key="item_index"),
    _column("taskIdentifier"),
    _column("error"),
    _column("errorCode"),
    _column("createdAt", _TIME),
)

waitpoint = _table(
    "Waitpoint",
    _column("id"),
    _column("friendlyId"),
    _enum("WaitpointType", "type"),
    _enum("WaitpointStatus", "status", "raw_status"),
    _column("environmentId"),
    _column("projectId"),
    _column("idempotencyKey", key="active_idempotency_key"),
    _column("inactiveIdempotencyKey"),
    _column("userProvidedIdempotencyKey", Boolean),
    _column("idempotencyKeyExpiresAt", _TIME),
    _column("completedByTaskRunId", key="completed_by_run_id"),
    _column("completedByBatchId"),
    _column("completedAfter", _TIME, key="timeout_at"),
    _column("completedAt", _TIME),
    _column("createdAt", _TIME),
    _column("updatedAt", _TIME),
    _column("tags", _TEXTS, key="stored_tags"),
    _column("outputIsError", Boolean),
    _column("output"),
    _column("outputType"),
)

block = _table(
    "TaskRunWaitpoint",
    _column("id"),
    _column("taskRunId", key="run_id"),
    _column("waitpointId"),
    _column("batchIndex", Integer),
    _column("createdAt", _TIME),
    _column("batchId"),
    _column("projectId"),
    _column("updatedAt", _TIME),
)

waitpoint_tag = _table(
    "WaitpointTag",
    _column("id"),
    _column("name"),
    _column("environmentId"),
    _column("projectId"),
    _column("createdAt", _TIME),
)

user = _table(
    "User", _column("id"), _column("email"), _column("name"), _column("displayName"), _column("nextSessionEnd", _TIME)
)

revoked_key = _table(
    "RevokedApiKey",
    _column("apiKey"),
    _column("runtimeEnvironmentId", key="environment_id"),
    _column("expiresAt", _TIME),
)

additional_key = _table(
    "ApiKey",
    _column("keyHash"),
    _column("scopes", _TEXTS),
    _column("revokedAt", _TIME),
    _column("expiresAt", _TIME),
    _column("runtimeEnvironmentId", key="environment_id"),
)
"""Keys with scopes. Not every release of the platform has the table."""

access_token = _table("PersonalAccessToken", _column("userId"), _column("hashedToken"), _column("revokedAt", _TIME))

org_member = _table("OrgMember", _column("id"), _column("userId"), _column("organizationId"))

organization = _table(
    "Organization",
    _column("id"),
    _column("slug"),
    _column("title"),
    _column("featureFlags", JSONB),
    _column("deletedAt", _TIME),
)

feature_flag = _table("FeatureFlag", _column("key"), _column("value", JSONB))

project = _table(
    "Project",
    _column("id"),
    _column("slug"),
    _column("name"),
    _column("externalRef"),
    _enum("RunEngineVersion", "engine"),
    _column("organizationId"),
    _column("deletedAt", _TIME),
)

environment = _table(
    "RuntimeEnvironment",
    _column("id"),
    _column("slug"),
    _column("apiKey"),
    _enum("RuntimeEnvironmentType", "type"),
    _column("shortcode"),
    _column("branchName"),
    _column("paused", Boolean),
    _enum("EnvironmentPauseSource", "pauseSource"),
    _column("archivedAt", _TIME),
    _column("createdAt", _TIME),
    _column("maximumConcurrencyLimit", Integer),
    _column("concurrencyLimitBurstFactor", Numeric(4, 2)),
    _column("parentEnvironmentId"),
    _column("projectId"),
    _column("organizationId"),
    _column("orgMemberId"),
)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tables of one schema variant; those that it names have the same columns in both."""

    variant: Literal["full", "dedicated"]
    connection: Table
    """Which run ever waited for which waitpoint."""
    completion: Table
    """Which step of a run came of which waitpoint's end."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables that a shard of this variant must have."""
        return (
            task_run,
            batch_task_run,
            batch_error,
            waitpoint,
            block,
            attempt,
            snapshot,
            waitpoint_tag,
            self.connection,
            self.completion,
        )


FULL = Catalog(
    "full",
    _table(
        "_WaitpointRunConnections",
        _column("A", key="run_id"),
        _column("B", key="waitpoint_id"),
    ),
    _table(
        "_completedWaitpoints",
        _column("A", key="snapshot_id"),
        _column("B", key="waitpoint_id"),
    ),
)

DEDICATED = Catalog(
    "dedicated",
    _table(
        "WaitpointRunConnection",
        _column("id"),
        _column("taskRunId", key="run_id"),
        _column("waitpointId"),
    ),
    _table(
        "CompletedWaitpoint",
        _column("id"),
        _column("snapshotId"),
        _column("waitpointId"),
    ),
)

task_queue = _table(
    "TaskQueue",
    _column("id"),
    _column("name"),
    _column("runtimeEnvironmentId", key="environment_id"),
    _column("concurrencyLimit", Integer),
    _column("paused", Boolean),
)

worker = _table(
    "BackgroundWorker",
    _column("id"),
    _column("runtimeEnvironmentId", key="environment_id"),
    _column("runtime"),
    _column("runtimeVersion"),
    _column("projectId"),
    _column("version"),
    _column("sdkVersion"),
    _column("cliVersion"),
)

deployment = _table(
    "WorkerDeployment",
    _column("id"),
    _column("friendlyId"),
    _column("shortCode"),
    _column("version"),
    _enum("WorkerDeploymentStatus", "status"),
    _column("environmentId"),
    _column("workerId"),
    _column("git", JSONB),
)

schedule = _table(
    "TaskSchedule",
    _column("id"),
    _column("friendlyId"),
    _column("projectId"),
    _column("externalId"),
    _column("deduplicationKey"),
    _column("userProvidedDeduplicationKey", Boolean),
    _column("generatorExpression", key="cron"),
    _column("generatorDescription", key="description"),
    _column("timezone"),
)

bulk_action = _table(
    "BulkActionGroup",
    _column("id"),
    _column("friendlyId"),
    _column("environmentId"),
    _column("name"),
    _enum("BulkActionType", "type"),
    _enum("BulkActionStatus", "status"),
    _column("totalCount", Integer),
    _column("successCount", Integer),
    _column("failureCount", Integer),
    _column("createdAt", _TIME),
    _column("completedAt", _TIME),
    _column("params", JSONB),
    _column("cursor", JSONB),
    _column("projectId"),
    _column("updatedAt", _TIME),
    _column("userId"),
)

task_identifier = _table(
    "TaskIdentifier", _column("id"), _column("runtimeEnvironmentId", key="environment_id"), _column("slug")
)

CONTROL_PLANE = (
    environment,
    project,
    organization,
    feature_flag,
    org_member,
    user,
    access_token,
    revoked_key,
    task_queue,
    worker,
    deployment,
    schedule,
    bulk_action,
    task_identifier,
)
"""The tables that a control plane must have."""


def columns(table: Table, names: Iterable[str], **computed: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Return the named columns in that order, labelled with our names; some of them computed from others.

    Enums are read as text: the driver would otherwise look each one up, on each connection.
    """
    return [(computed[name] if name in computed else _as_python(table.c[name])).label(name) for name in names]


def _as_python(column: Column[Any]) -> ColumnElement[Any]:
    if isinstance(column.type, ENUM):
        return cast(column, Text)
    return cast(column, Float) if isinstance(column.type, Numeric) and not isinstance(column.type, Float) else column
