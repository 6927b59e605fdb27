"""The rows as everything above the store sees them.

Small immutable tuples, one attribute a column. Field order is the order of the SELECT, so a record is made from a row
by position. Times are naive UTC, cut to milliseconds as the columns are.
"""

from store.records.batch import BatchErrorRecord, BatchRecord, CountRecord, StatusCount
from store.records.control_plane import (
    BulkActionRecord,
    DeploymentRecord,
    EnvironmentRecord,
    OrganizationRecord,
    ProjectRecord,
    QueueLimits,
    ScheduleRecord,
    UserRecord,
    WorkerRecord,
)
from store.records.run import (
    EXECUTING,
    FAILED,
    FINAL,
    MACHINES,
    QUEUED,
    RUN_STATUS,
    UNKNOWN,
    Address,
    AttemptRecord,
    Completion,
    IdempotencyKeyRecord,
    QueueRecord,
    RunRecord,
    SnapshotRecord,
    VersionRecord,
)
from store.records.waitpoint import BlockRecord, TagRecord, TokenAddress, WaitpointRecord

__all__ = [
    "EXECUTING",
    "FAILED",
    "FINAL",
    "MACHINES",
    "QUEUED",
    "RUN_STATUS",
    "UNKNOWN",
    "Address",
    "AttemptRecord",
    "BatchErrorRecord",
    "BatchRecord",
    "BlockRecord",
    "BulkActionRecord",
    "Completion",
    "CountRecord",
    "DeploymentRecord",
    "EnvironmentRecord",
    "IdempotencyKeyRecord",
    "OrganizationRecord",
    "ProjectRecord",
    "QueueLimits",
    "QueueRecord",
    "RunRecord",
    "ScheduleRecord",
    "SnapshotRecord",
    "StatusCount",
    "TagRecord",
    "TokenAddress",
    "UserRecord",
    "VersionRecord",
    "WaitpointRecord",
    "WorkerRecord",
]
