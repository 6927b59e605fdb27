-- The trigger.dev platform's own tables, as its migrations leave them: a dedicated run store.
-- Frozen: a change is a new revision. Foreign keys that leave these tables are left out.

CREATE TYPE "BatchTaskRunItemStatus" AS ENUM ('PENDING', 'FAILED', 'CANCELED', 'COMPLETED');
CREATE TYPE "BatchTaskRunStatus" AS ENUM ('PENDING', 'PROCESSING', 'COMPLETED', 'PARTIAL_FAILED', 'ABORTED');
CREATE TYPE "RunEngineVersion" AS ENUM ('V1', 'V2');
CREATE TYPE "RuntimeEnvironmentType" AS ENUM ('PRODUCTION', 'STAGING', 'DEVELOPMENT', 'PREVIEW');
CREATE TYPE "TaskRunAttemptStatus" AS ENUM ('PENDING', 'EXECUTING', 'PAUSED', 'FAILED', 'CANCELED', 'COMPLETED');
CREATE TYPE "TaskRunCheckpointType" AS ENUM ('DOCKER', 'KUBERNETES', 'COMPUTE');
CREATE TYPE "TaskRunExecutionStatus" AS ENUM (
  'RUN_CREATED',
  'DELAYED',
  'QUEUED',
  'QUEUED_EXECUTING',
  'PENDING_EXECUTING',
  'EXECUTING',
  'EXECUTING_WITH_WAITPOINTS',
  'SUSPENDED',
  'PENDING_CANCEL',
  'FINISHED'
);
CREATE TYPE "TaskRunStatus" AS ENUM (
  'DELAYED',
  'PENDING',
  'PENDING_VERSION',
  'WAITING_FOR_DEPLOY',
  'DEQUEUED',
  'EXECUTING',
  'WAITING_TO_RESUME',
  'RETRYING_AFTER_FAILURE',
  'PAUSED',
  'CANCELED',
  'INTERRUPTED',
  'COMPLETED_SUCCESSFULLY',
  'COMPLETED_WITH_ERRORS',
  'SYSTEM_FAILURE',
  'CRASHED',
  'EXPIRED',
  'TIMED_OUT'
);
CREATE TYPE "WaitpointStatus" AS ENUM ('PENDING', 'COMPLETED');
CREATE TYPE "WaitpointType" AS ENUM ('RUN', 'DATETIME', 'MANUAL', 'BATCH');

CREATE TABLE "BatchTaskRun" (
  "id" text NOT NULL,
  "friendlyId" text NOT NULL,
  "idempotencyKey" text,
  "idempotencyKeyExpiresAt" timestamp(3),
  "status" "BatchTaskRunStatus" NOT NULL DEFAULT 'PENDING'::"BatchTaskRunStatus",
  "runtimeEnvironmentId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "runIds" text[] DEFAULT ARRAY[]::text[],
  "runCount" integer NOT NULL DEFAULT 0,
  "payload" text,
  "payloadType" text NOT NULL DEFAULT 'application/json'::text,
  "options" jsonb,
  "batchVersion" text NOT NULL DEFAULT 'v1'::text,
  "sealed" boolean NOT NULL DEFAULT false,
  "sealedAt" timestamp(3),
  "expectedCount" integer NOT NULL DEFAULT 0,
  "completedCount" integer NOT NULL DEFAULT 0,
  "completedAt" timestamp(3),
  "resumedAt" timestamp(3),
  "processingJobsCount" integer NOT NULL DEFAULT 0,
  "processingJobsExpectedCount" integer NOT NULL DEFAULT 0,
  "oneTimeUseToken" text,
  "processingStartedAt" timestamp(3),
  "processingCompletedAt" timestamp(3),
  "successfulRunCount" integer,
  "failedRunCount" integer,
  "taskIdentifier" text,
  "checkpointEventId" text,
  "dependentTaskAttemptId" text,
  CONSTRAINT "BatchTaskRun_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "BatchTaskRun_checkpointEventId_key" ON "BatchTaskRun" USING btree ("checkpointEventId");
CREATE INDEX "BatchTaskRun_dependentTaskAttemptId_idx" ON "BatchTaskRun" USING btree ("dependentTaskAttemptId");
CREATE UNIQUE INDEX "BatchTaskRun_friendlyId_key" ON "BatchTaskRun" USING btree ("friendlyId");
CREATE UNIQUE INDEX "BatchTaskRun_oneTimeUseToken_key" ON "BatchTaskRun" USING btree ("oneTimeUseToken");
CREATE INDEX "BatchTaskRun_runtimeEnvironmentId_createdAt_id_idx"
  ON "BatchTaskRun" USING btree ("runtimeEnvironmentId", "createdAt" DESC, id DESC);
CREATE INDEX "BatchTaskRun_runtimeEnvironmentId_id_idx" ON "BatchTaskRun" USING btree ("runtimeEnvironmentId", id DESC);
CREATE UNIQUE INDEX "BatchTaskRun_runtimeEnvironmentId_idempotencyKey_key"
  ON "BatchTaskRun" USING btree ("runtimeEnvironmentId", "idempotencyKey");

CREATE TABLE "BatchTaskRunError" (
  "id" text NOT NULL,
  "batchTaskRunId" text NOT NULL,
  "index" integer NOT NULL,
  "taskIdentifier" text NOT NULL,
  "payload" text,
  "options" jsonb,
  "error" text NOT NULL,
  "errorCode" text,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "BatchTaskRunError_pkey" PRIMARY KEY (id)
);
CREATE INDEX "BatchTaskRunError_batchTaskRunId_idx" ON "BatchTaskRunError" USING btree ("batchTaskRunId");
CREATE UNIQUE INDEX "BatchTaskRunError_batchTaskRunId_index_key"
  ON "BatchTaskRunError" USING btree ("batchTaskRunId", index);

CREATE TABLE "BatchTaskRunItem" (
  "id" text NOT NULL,
  "status" "BatchTaskRunItemStatus" NOT NULL DEFAULT 'PENDING'::"BatchTaskRunItemStatus",
  "batchTaskRunId" text NOT NULL,
  "taskRunId" text NOT NULL,
  "taskRunAttemptId" text,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "completedAt" timestamp(3),
  CONSTRAINT "BatchTaskRunItem_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "BatchTaskRunItem_batchTaskRunId_taskRunId_key"
  ON "BatchTaskRunItem" USING btree ("batchTaskRunId", "taskRunId");
CREATE INDEX "idx_batchtaskrunitem_taskrun" ON "BatchTaskRunItem" USING btree ("taskRunId");
CREATE INDEX "idx_batchtaskrunitem_taskrunattempt" ON "BatchTaskRunItem" USING btree ("taskRunAttemptId");

CREATE TABLE "CompletedWaitpoint" (
  "id" text NOT NULL,
  "snapshotId" text NOT NULL,
  "waitpointId" text NOT NULL,
  CONSTRAINT "CompletedWaitpoint_pkey" PRIMARY KEY (id)
);
CREATE INDEX "CompletedWaitpoint_snapshotId_idx" ON "CompletedWaitpoint" USING btree ("snapshotId");
CREATE UNIQUE INDEX "CompletedWaitpoint_snapshotId_waitpointId_key"
  ON "CompletedWaitpoint" USING btree ("snapshotId", "waitpointId");
CREATE INDEX "CompletedWaitpoint_waitpointId_idx" ON "CompletedWaitpoint" USING btree ("waitpointId");

CREATE TABLE "TaskRun" (
  "id" text NOT NULL,
  "number" integer NOT NULL DEFAULT 0,
  "friendlyId" text NOT NULL,
  "engine" "RunEngineVersion" NOT NULL DEFAULT 'V1'::"RunEngineVersion",
  "status" "TaskRunStatus" NOT NULL DEFAULT 'PENDING'::"TaskRunStatus",
  "statusReason" text,
  "idempotencyKey" text,
  "idempotencyKeyExpiresAt" timestamp(3),
  "idempotencyKeyOptions" jsonb,
  "debounce" jsonb,
  "taskIdentifier" text NOT NULL,
  "isTest" boolean NOT NULL DEFAULT false,
  "payload" text NOT NULL,
  "payloadType" text NOT NULL DEFAULT 'application/json'::text,
  "context" jsonb,
  "traceContext" jsonb,
  "traceId" text NOT NULL,
  "spanId" text NOT NULL,
  "runtimeEnvironmentId" text NOT NULL,
  "environmentType" "RuntimeEnvironmentType",
  "projectId" text NOT NULL,
  "organizationId" text,
  "queue" text NOT NULL,
  "lockedQueueId" text,
  "masterQueue" text NOT NULL DEFAULT 'main'::text,
  "region" text,
  "secondaryMasterQueue" text,
  "attemptNumber" integer,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "runTags" text[],
  "taskVersion" text,
  "sdkVersion" text,
  "cliVersion" text,
  "startedAt" timestamp(3),
  "executedAt" timestamp(3),
  "completedAt" timestamp(3),
  "machinePreset" text,
  "usageDurationMs" integer NOT NULL DEFAULT 0,
  "costInCents" double precision NOT NULL DEFAULT 0,
  "baseCostInCents" double precision NOT NULL DEFAULT 0,
  "lockedAt" timestamp(3),
  "lockedById" text,
  "lockedToVersionId" text,
  "priorityMs" integer NOT NULL DEFAULT 0,
  "concurrencyKey" text,
  "delayUntil" timestamp(3),
  "queuedAt" timestamp(3),
  "ttl" text,
  "expiredAt" timestamp(3),
  "maxAttempts" integer,
  "lockedRetryConfig" jsonb,
  "oneTimeUseToken" text,
  "taskEventStore" text NOT NULL DEFAULT 'taskEvent'::text,
  "queueTimestamp" timestamp(3),
  "scheduleInstanceId" text,
  "scheduleId" text,
  "bulkActionGroupIds" text[] DEFAULT ARRAY[]::text[],
  "logsDeletedAt" timestamp(3),
  "replayedFromTaskRunFriendlyId" text,
  "rootTaskRunId" text,
  "parentTaskRunId" text,
  "parentTaskRunAttemptId" text,
  "batchId" text,
  "resumeParentOnCompletion" boolean NOT NULL DEFAULT false,
  "depth" integer NOT NULL DEFAULT 0,
  "parentSpanId" text,
  "runChainState" jsonb,
  "seedMetadata" text,
  "seedMetadataType" text NOT NULL DEFAULT 'application/json'::text,
  "metadata" text,
  "metadataType" text NOT NULL DEFAULT 'application/json'::text,
  "metadataVersion" integer NOT NULL DEFAULT 1,
  "annotations" jsonb,
  "isWarmStart" boolean,
  "output" text,
  "outputType" text NOT NULL DEFAULT 'application/json'::text,
  "error" jsonb,
  "planType" text,
  "maxDurationInSeconds" integer,
  "realtimeStreamsVersion" text NOT NULL DEFAULT 'v1'::text,
  "realtimeStreams" text[] DEFAULT ARRAY[]::text[],
  "streamBasinName" text,
  CONSTRAINT "TaskRun_pkey" PRIMARY KEY (id)
);
CREATE INDEX "TaskRun_createdAt_idx" ON "TaskRun" USING brin ("createdAt");
CREATE UNIQUE INDEX "TaskRun_friendlyId_key" ON "TaskRun" USING btree ("friendlyId");
CREATE UNIQUE INDEX "TaskRun_oneTimeUseToken_key" ON "TaskRun" USING btree ("oneTimeUseToken");
CREATE INDEX "TaskRun_parentSpanId_idx" ON "TaskRun" USING btree ("parentSpanId");
CREATE INDEX "TaskRun_parentTaskRunId_idx" ON "TaskRun" USING btree ("parentTaskRunId");
CREATE INDEX "TaskRun_runTags_idx" ON "TaskRun" USING gin ("runTags");
CREATE INDEX "TaskRun_runtimeEnvironmentId_batchId_idx" ON "TaskRun" USING btree ("runtimeEnvironmentId", "batchId");
CREATE INDEX "TaskRun_runtimeEnvironmentId_createdAt_idx"
  ON "TaskRun" USING btree ("runtimeEnvironmentId", "createdAt" DESC);
CREATE UNIQUE INDEX "TaskRun_runtimeEnvironmentId_taskIdentifier_idempotencyKey_key"
  ON "TaskRun" USING btree ("runtimeEnvironmentId", "taskIdentifier", "idempotencyKey");
CREATE INDEX "TaskRun_spanId_idx" ON "TaskRun" USING btree ("spanId");

CREATE TABLE "TaskRunAttempt" (
  "id" text NOT NULL,
  "number" integer NOT NULL DEFAULT 0,
  "friendlyId" text NOT NULL,
  "taskRunId" text NOT NULL,
  "backgroundWorkerId" text NOT NULL,
  "backgroundWorkerTaskId" text NOT NULL,
  "runtimeEnvironmentId" text NOT NULL,
  "queueId" text NOT NULL,
  "status" "TaskRunAttemptStatus" NOT NULL DEFAULT 'PENDING'::"TaskRunAttemptStatus",
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "startedAt" timestamp(3),
  "completedAt" timestamp(3),
  "usageDurationMs" integer NOT NULL DEFAULT 0,
  "error" jsonb,
  "output" text,
  "outputType" text NOT NULL DEFAULT 'application/json'::text,
  CONSTRAINT "TaskRunAttempt_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "TaskRunAttempt_friendlyId_key" ON "TaskRunAttempt" USING btree ("friendlyId");
CREATE INDEX "TaskRunAttempt_taskRunId_idx" ON "TaskRunAttempt" USING btree ("taskRunId");
CREATE UNIQUE INDEX "TaskRunAttempt_taskRunId_number_key" ON "TaskRunAttempt" USING btree ("taskRunId", number);

CREATE TABLE "TaskRunCheckpoint" (
  "id" text NOT NULL,
  "friendlyId" text NOT NULL,
  "type" "TaskRunCheckpointType" NOT NULL,
  "location" text NOT NULL,
  "imageRef" text,
  "reason" text,
  "metadata" text,
  "projectId" text NOT NULL,
  "runtimeEnvironmentId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  CONSTRAINT "TaskRunCheckpoint_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "TaskRunCheckpoint_friendlyId_key" ON "TaskRunCheckpoint" USING btree ("friendlyId");

CREATE TABLE "TaskRunDependency" (
  "id" text NOT NULL,
  "taskRunId" text NOT NULL,
  "checkpointEventId" text,
  "dependentAttemptId" text,
  "dependentBatchRunId" text,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "resumedAt" timestamp(3),
  CONSTRAINT "TaskRunDependency_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "TaskRunDependency_checkpointEventId_key" ON "TaskRunDependency" USING btree ("checkpointEventId");
CREATE INDEX "TaskRunDependency_dependentAttemptId_idx" ON "TaskRunDependency" USING btree ("dependentAttemptId");
CREATE INDEX "TaskRunDependency_dependentBatchRunId_idx" ON "TaskRunDependency" USING btree ("dependentBatchRunId");
CREATE UNIQUE INDEX "TaskRunDependency_taskRunId_key" ON "TaskRunDependency" USING btree ("taskRunId");

CREATE TABLE "TaskRunExecutionSnapshot" (
  "id" text NOT NULL,
  "engine" "RunEngineVersion" NOT NULL DEFAULT 'V2'::"RunEngineVersion",
  "executionStatus" "TaskRunExecutionStatus" NOT NULL,
  "description" text NOT NULL,
  "isValid" boolean NOT NULL DEFAULT true,
  "error" text,
  "previousSnapshotId" text,
  "runId" text NOT NULL,
  "runStatus" "TaskRunStatus" NOT NULL,
  "batchId" text,
  "attemptNumber" integer,
  "environmentId" text NOT NULL,
  "environmentType" "RuntimeEnvironmentType" NOT NULL,
  "projectId" text NOT NULL,
  "organizationId" text NOT NULL,
  "completedWaitpointOrder" text[],
  "checkpointId" text,
  "workerId" text,
  "runnerId" text,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "lastHeartbeatAt" timestamp(3),
  "metadata" jsonb,
  CONSTRAINT "TaskRunExecutionSnapshot_pkey" PRIMARY KEY (id)
);
CREATE INDEX "TaskRunExecutionSnapshot_runId_isValid_createdAt_idx"
  ON "TaskRunExecutionSnapshot" USING btree ("runId", "isValid", "createdAt" DESC);

CREATE TABLE "TaskRunTag" (
  "id" text NOT NULL,
  "name" text NOT NULL,
  "friendlyId" text NOT NULL,
  "projectId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "TaskRunTag_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "TaskRunTag_friendlyId_key" ON "TaskRunTag" USING btree ("friendlyId");
CREATE INDEX "TaskRunTag_name_id_idx" ON "TaskRunTag" USING btree (name, id);
CREATE UNIQUE INDEX "TaskRunTag_projectId_name_key" ON "TaskRunTag" USING btree ("projectId", name);

CREATE TABLE "TaskRunWaitpoint" (
  "id" text NOT NULL,
  "taskRunId" text NOT NULL,
  "waitpointId" text NOT NULL,
  "projectId" text NOT NULL,
  "spanIdToComplete" text,
  "batchId" text,
  "batchIndex" integer,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  CONSTRAINT "TaskRunWaitpoint_pkey" PRIMARY KEY (id)
);
CREATE INDEX "TaskRunWaitpoint_taskRunId_idx" ON "TaskRunWaitpoint" USING btree ("taskRunId");
CREATE UNIQUE INDEX "TaskRunWaitpoint_taskRunId_waitpointId_batchIndex_key"
  ON "TaskRunWaitpoint" USING btree ("taskRunId", "waitpointId", "batchIndex");
CREATE UNIQUE INDEX "TaskRunWaitpoint_taskRunId_waitpointId_batchIndex_null_key"
  ON "TaskRunWaitpoint" USING btree ("taskRunId", "waitpointId") WHERE ("batchIndex" IS NULL);
CREATE INDEX "TaskRunWaitpoint_waitpointId_idx" ON "TaskRunWaitpoint" USING btree ("waitpointId");

CREATE TABLE "Waitpoint" (
  "id" text NOT NULL,
  "friendlyId" text NOT NULL,
  "type" "WaitpointType" NOT NULL,
  "status" "WaitpointStatus" NOT NULL DEFAULT 'PENDING'::"WaitpointStatus",
  "completedAt" timestamp(3),
  "idempotencyKey" text NOT NULL,
  "userProvidedIdempotencyKey" boolean NOT NULL,
  "idempotencyKeyExpiresAt" timestamp(3),
  "inactiveIdempotencyKey" text,
  "completedByTaskRunId" text,
  "completedAfter" timestamp(3),
  "completedByBatchId" text,
  "output" text,
  "outputType" text NOT NULL DEFAULT 'application/json'::text,
  "outputIsError" boolean NOT NULL DEFAULT false,
  "projectId" text NOT NULL,
  "environmentId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "tags" text[],
  CONSTRAINT "Waitpoint_pkey" PRIMARY KEY (id)
);
CREATE INDEX "Waitpoint_completedByBatchId_idx" ON "Waitpoint" USING btree ("completedByBatchId");
CREATE UNIQUE INDEX "Waitpoint_completedByTaskRunId_key" ON "Waitpoint" USING btree ("completedByTaskRunId");
CREATE UNIQUE INDEX "Waitpoint_environmentId_idempotencyKey_key"
  ON "Waitpoint" USING btree ("environmentId", "idempotencyKey");
CREATE INDEX "Waitpoint_environmentId_type_createdAt_idx"
  ON "Waitpoint" USING btree ("environmentId", type, "createdAt" DESC);
CREATE INDEX "Waitpoint_environmentId_type_id_idx" ON "Waitpoint" USING btree ("environmentId", type, id DESC);
CREATE INDEX "Waitpoint_environmentId_type_status_idx" ON "Waitpoint" USING btree ("environmentId", type, status);
CREATE UNIQUE INDEX "Waitpoint_friendlyId_key" ON "Waitpoint" USING btree ("friendlyId");

CREATE TABLE "WaitpointRunConnection" (
  "id" text NOT NULL,
  "taskRunId" text NOT NULL,
  "waitpointId" text NOT NULL,
  CONSTRAINT "WaitpointRunConnection_pkey" PRIMARY KEY (id)
);
CREATE INDEX "WaitpointRunConnection_taskRunId_idx" ON "WaitpointRunConnection" USING btree ("taskRunId");
CREATE UNIQUE INDEX "WaitpointRunConnection_taskRunId_waitpointId_key"
  ON "WaitpointRunConnection" USING btree ("taskRunId", "waitpointId");
CREATE INDEX "WaitpointRunConnection_waitpointId_idx" ON "WaitpointRunConnection" USING btree ("waitpointId");

CREATE TABLE "WaitpointTag" (
  "id" text NOT NULL,
  "name" text NOT NULL,
  "environmentId" text NOT NULL,
  "projectId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "WaitpointTag_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "WaitpointTag_environmentId_name_key" ON "WaitpointTag" USING btree ("environmentId", name);

ALTER TABLE "BatchTaskRun" ADD CONSTRAINT "BatchTaskRun_dependentTaskAttemptId_fkey"
  FOREIGN KEY ("dependentTaskAttemptId") REFERENCES "TaskRunAttempt"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "BatchTaskRunError" ADD CONSTRAINT "BatchTaskRunError_batchTaskRunId_fkey"
  FOREIGN KEY ("batchTaskRunId") REFERENCES "BatchTaskRun"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "BatchTaskRunItem" ADD CONSTRAINT "BatchTaskRunItem_batchTaskRunId_fkey"
  FOREIGN KEY ("batchTaskRunId") REFERENCES "BatchTaskRun"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "BatchTaskRunItem" ADD CONSTRAINT "BatchTaskRunItem_taskRunAttemptId_fkey"
  FOREIGN KEY ("taskRunAttemptId") REFERENCES "TaskRunAttempt"(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE "BatchTaskRunItem" ADD CONSTRAINT "BatchTaskRunItem_taskRunId_fkey"
  FOREIGN KEY ("taskRunId") REFERENCES "TaskRun"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "TaskRun" ADD CONSTRAINT "TaskRun_batchId_fkey"
  FOREIGN KEY ("batchId") REFERENCES "BatchTaskRun"(id) ON DELETE SET NULL;
ALTER TABLE "TaskRun" ADD CONSTRAINT "TaskRun_parentTaskRunAttemptId_fkey"
  FOREIGN KEY ("parentTaskRunAttemptId") REFERENCES "TaskRunAttempt"(id) ON DELETE SET NULL;
ALTER TABLE "TaskRun" ADD CONSTRAINT "TaskRun_parentTaskRunId_fkey"
  FOREIGN KEY ("parentTaskRunId") REFERENCES "TaskRun"(id) ON DELETE SET NULL;
ALTER TABLE "TaskRun" ADD CONSTRAINT "TaskRun_rootTaskRunId_fkey"
  FOREIGN KEY ("rootTaskRunId") REFERENCES "TaskRun"(id) ON DELETE SET NULL;
ALTER TABLE "TaskRunAttempt" ADD CONSTRAINT "TaskRunAttempt_taskRunId_fkey"
  FOREIGN KEY ("taskRunId") REFERENCES "TaskRun"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "TaskRunDependency" ADD CONSTRAINT "TaskRunDependency_dependentAttemptId_fkey"
  FOREIGN KEY ("dependentAttemptId") REFERENCES "TaskRunAttempt"(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE "TaskRunDependency" ADD CONSTRAINT "TaskRunDependency_dependentBatchRunId_fkey"
  FOREIGN KEY ("dependentBatchRunId") REFERENCES "BatchTaskRun"(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE "TaskRunDependency" ADD CONSTRAINT "TaskRunDependency_taskRunId_fkey"
  FOREIGN KEY ("taskRunId") REFERENCES "TaskRun"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "TaskRunExecutionSnapshot" ADD CONSTRAINT "TaskRunExecutionSnapshot_checkpointId_fkey"
  FOREIGN KEY ("checkpointId") REFERENCES "TaskRunCheckpoint"(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE "TaskRunExecutionSnapshot" ADD CONSTRAINT "TaskRunExecutionSnapshot_runId_fkey"
  FOREIGN KEY ("runId") REFERENCES "TaskRun"(id) ON UPDATE CASCADE ON DELETE RESTRICT;
