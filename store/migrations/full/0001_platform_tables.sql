-- The trigger.dev platform's own tables, as its migrations leave them: the control plane and the legacy run store.
-- Frozen: a change is a new revision. Foreign keys that leave these tables are left out.

CREATE TYPE "AuthenticationMethod" AS ENUM ('GITHUB', 'MAGIC_LINK', 'GOOGLE', 'SSO');
CREATE TYPE "BatchTaskRunItemStatus" AS ENUM ('PENDING', 'FAILED', 'CANCELED', 'COMPLETED');
CREATE TYPE "BatchTaskRunStatus" AS ENUM ('PENDING', 'COMPLETED', 'ABORTED', 'PROCESSING', 'PARTIAL_FAILED');
CREATE TYPE "BulkActionItemStatus" AS ENUM ('PENDING', 'COMPLETED', 'FAILED');
CREATE TYPE "BulkActionNotificationType" AS ENUM ('NONE', 'EMAIL');
CREATE TYPE "BulkActionStatus" AS ENUM ('PENDING', 'COMPLETED', 'ABORTED');
CREATE TYPE "BulkActionType" AS ENUM ('CANCEL', 'REPLAY');
CREATE TYPE "EnvironmentPauseSource" AS ENUM ('BILLING_LIMIT');
CREATE TYPE "OrgMemberRole" AS ENUM ('ADMIN', 'MEMBER');
CREATE TYPE "ProjectVersion" AS ENUM ('V2', 'V3');
CREATE TYPE "RunEngineVersion" AS ENUM ('V1', 'V2');
CREATE TYPE "RuntimeEnvironmentType" AS ENUM ('PRODUCTION', 'STAGING', 'DEVELOPMENT', 'PREVIEW');
CREATE TYPE "ScheduleGeneratorType" AS ENUM ('CRON');
CREATE TYPE "ScheduleType" AS ENUM ('DECLARATIVE', 'IMPERATIVE');
CREATE TYPE "TaskQueueType" AS ENUM ('VIRTUAL', 'NAMED');
CREATE TYPE "TaskQueueVersion" AS ENUM ('V1', 'V2');
CREATE TYPE "TaskRunAttemptStatus" AS ENUM ('PENDING', 'EXECUTING', 'PAUSED', 'FAILED', 'CANCELED', 'COMPLETED');
CREATE TYPE "TaskRunCheckpointType" AS ENUM ('DOCKER', 'KUBERNETES', 'COMPUTE');
CREATE TYPE "TaskRunExecutionStatus" AS ENUM (
  'RUN_CREATED',
  'QUEUED',
  'PENDING_EXECUTING',
  'EXECUTING',
  'EXECUTING_WITH_WAITPOINTS',
  'SUSPENDED',
  'PENDING_CANCEL',
  'FINISHED',
  'QUEUED_EXECUTING',
  'DELAYED'
);
CREATE TYPE "TaskRunStatus" AS ENUM (
  'PENDING',
  'EXECUTING',
  'WAITING_TO_RESUME',
  'RETRYING_AFTER_FAILURE',
  'PAUSED',
  'CANCELED',
  'COMPLETED_SUCCESSFULLY',
  'COMPLETED_WITH_ERRORS',
  'INTERRUPTED',
  'SYSTEM_FAILURE',
  'CRASHED',
  'WAITING_FOR_DEPLOY',
  'DELAYED',
  'EXPIRED',
  'TIMED_OUT',
  'PENDING_VERSION',
  'DEQUEUED'
);
CREATE TYPE "TaskTriggerSource" AS ENUM ('STANDARD', 'SCHEDULED', 'AGENT', 'WEBHOOK');
CREATE TYPE "WaitpointStatus" AS ENUM ('PENDING', 'COMPLETED');
CREATE TYPE "WaitpointType" AS ENUM ('RUN', 'DATETIME', 'MANUAL', 'BATCH');
CREATE TYPE "WorkerDeploymentStatus" AS ENUM (
  'PENDING',
  'DEPLOYING',
  'DEPLOYED',
  'FAILED',
  'CANCELED',
  'BUILDING',
  'TIMED_OUT',
  'INSTALLING'
);
CREATE TYPE "WorkerDeploymentType" AS ENUM ('MANAGED', 'UNMANAGED', 'V1');

CREATE TABLE "BackgroundWorker" (
  "id" text NOT NULL,
  "projectId" text NOT NULL,
  "runtimeEnvironmentId" text NOT NULL,
  "version" text NOT NULL,
  "metadata" jsonb NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "contentHash" text NOT NULL,
  "friendlyId" text NOT NULL,
  "cliVersion" text NOT NULL DEFAULT 'unknown'::text,
  "sdkVersion" text NOT NULL DEFAULT 'unknown'::text,
  "supportsLazyAttempts" boolean NOT NULL DEFAULT false,
  "workerGroupId" text,
  "engine" "RunEngineVersion" NOT NULL DEFAULT 'V1'::"RunEngineVersion",
  "runtime" text,
  "runtimeVersion" text,
  CONSTRAINT "BackgroundWorker_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "BackgroundWorker_friendlyId_key" ON "BackgroundWorker" USING btree ("friendlyId");
CREATE UNIQUE INDEX "BackgroundWorker_projectId_runtimeEnvironmentId_version_key"
  ON "BackgroundWorker" USING btree ("projectId", "runtimeEnvironmentId", version);
CREATE INDEX "BackgroundWorker_runtimeEnvironmentId_createdAt_idx"
  ON "BackgroundWorker" USING btree ("runtimeEnvironmentId", "createdAt" DESC);
CREATE INDEX "BackgroundWorker_runtimeEnvironmentId_idx" ON "BackgroundWorker" USING btree ("runtimeEnvironmentId");

CREATE TABLE "BackgroundWorkerTask" (
  "id" text NOT NULL,
  "slug" text NOT NULL,
  "filePath" text NOT NULL,
  "exportName" text,
  "workerId" text NOT NULL,
  "projectId" text NOT NULL,
  "runtimeEnvironmentId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "friendlyId" text NOT NULL,
  "queueConfig" jsonb,
  "retryConfig" jsonb,
  "machineConfig" jsonb,
  "triggerSource" "TaskTriggerSource" NOT NULL DEFAULT 'STANDARD'::"TaskTriggerSource",
  "fileId" text,
  "maxDurationInSeconds" integer,
  "description" text,
  "queueId" text,
  "payloadSchema" jsonb,
  "ttl" text,
  "config" jsonb,
  CONSTRAINT "BackgroundWorkerTask_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "BackgroundWorkerTask_friendlyId_key" ON "BackgroundWorkerTask" USING btree ("friendlyId");
CREATE INDEX "BackgroundWorkerTask_projectId_slug_createdAt_idx"
  ON "BackgroundWorkerTask" USING btree ("projectId", slug, "createdAt");
CREATE INDEX "BackgroundWorkerTask_projectId_slug_idx" ON "BackgroundWorkerTask" USING btree ("projectId", slug);
CREATE INDEX "BackgroundWorkerTask_runtimeEnvironmentId_projectId_idx"
  ON "BackgroundWorkerTask" USING btree ("runtimeEnvironmentId", "projectId");
CREATE INDEX "BackgroundWorkerTask_runtimeEnvironmentId_slug_triggerSource_id"
  ON "BackgroundWorkerTask" USING btree ("runtimeEnvironmentId", slug, "triggerSource");
CREATE UNIQUE INDEX "BackgroundWorkerTask_workerId_slug_key" ON "BackgroundWorkerTask" USING btree ("workerId", slug);

CREATE TABLE "BatchTaskRun" (
  "id" text NOT NULL,
  "friendlyId" text NOT NULL,
  "idempotencyKey" text,
  "taskIdentifier" text,
  "runtimeEnvironmentId" text NOT NULL,
  "dependentTaskAttemptId" text,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "status" "BatchTaskRunStatus" NOT NULL DEFAULT 'PENDING'::"BatchTaskRunStatus",
  "checkpointEventId" text,
  "runCount" integer NOT NULL DEFAULT 0,
  "runIds" text[] DEFAULT ARRAY[]::text[],
  "idempotencyKeyExpiresAt" timestamp(3),
  "payload" text,
  "payloadType" text NOT NULL DEFAULT 'application/json'::text,
  "options" jsonb,
  "batchVersion" text NOT NULL DEFAULT 'v1'::text,
  "oneTimeUseToken" text,
  "completedAt" timestamp(3),
  "completedCount" integer NOT NULL DEFAULT 0,
  "expectedCount" integer NOT NULL DEFAULT 0,
  "sealed" boolean NOT NULL DEFAULT false,
  "sealedAt" timestamp(3),
  "processingJobsCount" integer NOT NULL DEFAULT 0,
  "processingJobsExpectedCount" integer NOT NULL DEFAULT 0,
  "resumedAt" timestamp(3),
  "failedRunCount" integer,
  "processingStartedAt" timestamp(3),
  "successfulRunCount" integer,
  "processingCompletedAt" timestamp(3),
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
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "taskRunAttemptId" text,
  "completedAt" timestamp(3),
  CONSTRAINT "BatchTaskRunItem_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "BatchTaskRunItem_batchTaskRunId_taskRunId_key"
  ON "BatchTaskRunItem" USING btree ("batchTaskRunId", "taskRunId");
CREATE INDEX "idx_batchtaskrunitem_taskrun" ON "BatchTaskRunItem" USING btree ("taskRunId");
CREATE INDEX "idx_batchtaskrunitem_taskrunattempt" ON "BatchTaskRunItem" USING btree ("taskRunAttemptId");

CREATE TABLE "BulkActionGroup" (
  "id" text NOT NULL,
  "friendlyId" text NOT NULL,
  "projectId" text NOT NULL,
  "type" "BulkActionType" NOT NULL,
  "status" "BulkActionStatus" NOT NULL DEFAULT 'PENDING'::"BulkActionStatus",
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "cursor" jsonb,
  "environmentId" text,
  "params" jsonb,
  "queryName" text,
  "totalCount" integer NOT NULL DEFAULT 0,
  "userId" text,
  "completedAt" timestamp(3),
  "failureCount" integer NOT NULL DEFAULT 0,
  "name" text,
  "successCount" integer NOT NULL DEFAULT 0,
  "completionNotification" "BulkActionNotificationType" NOT NULL DEFAULT 'NONE'::"BulkActionNotificationType",
  "dedupeKey" text,
  CONSTRAINT "BulkActionGroup_pkey" PRIMARY KEY (id)
);
CREATE INDEX "BulkActionGroup_environmentId_createdAt_idx"
  ON "BulkActionGroup" USING btree ("environmentId", "createdAt" DESC);
CREATE INDEX "BulkActionGroup_environmentId_status_type_idx"
  ON "BulkActionGroup" USING btree ("environmentId", status, type);
CREATE INDEX "BulkActionGroup_environmentId_type_dedupeKey_idx"
  ON "BulkActionGroup" USING btree ("environmentId", type, "dedupeKey") WHERE ("dedupeKey" IS NOT NULL);
CREATE UNIQUE INDEX "BulkActionGroup_friendlyId_key" ON "BulkActionGroup" USING btree ("friendlyId");

CREATE TABLE "BulkActionItem" (
  "id" text NOT NULL,
  "friendlyId" text,
  "groupId" text NOT NULL,
  "type" "BulkActionType" NOT NULL,
  "status" "BulkActionItemStatus" NOT NULL DEFAULT 'PENDING'::"BulkActionItemStatus",
  "sourceRunId" text NOT NULL,
  "destinationRunId" text,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "error" text,
  CONSTRAINT "BulkActionItem_pkey" PRIMARY KEY (id)
);

CREATE TABLE "FeatureFlag" (
  "id" text NOT NULL,
  "key" text NOT NULL,
  "value" jsonb,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "FeatureFlag_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "FeatureFlag_key_key" ON "FeatureFlag" USING btree (key);

CREATE TABLE "OrgMember" (
  "id" text NOT NULL,
  "organizationId" text NOT NULL,
  "userId" text NOT NULL,
  "role" "OrgMemberRole" NOT NULL DEFAULT 'MEMBER'::"OrgMemberRole",
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  CONSTRAINT "OrgMember_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "OrgMember_organizationId_userId_key" ON "OrgMember" USING btree ("organizationId", "userId");

CREATE TABLE "Organization" (
  "id" text NOT NULL,
  "slug" text NOT NULL,
  "title" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "maximumExecutionTimePerRunInMs" integer NOT NULL DEFAULT 900000,
  "companySize" text,
  "runsEnabled" boolean NOT NULL DEFAULT true,
  "deletedAt" timestamp(3),
  "v3Enabled" boolean NOT NULL DEFAULT false,
  "maximumConcurrencyLimit" integer NOT NULL DEFAULT 10,
  "v2Enabled" boolean NOT NULL DEFAULT false,
  "hasRequestedV3" boolean NOT NULL DEFAULT false,
  "v2MarqsEnabled" boolean NOT NULL DEFAULT false,
  "maximumSchedulesLimit" integer NOT NULL DEFAULT 5,
  "apiRateLimiterConfig" jsonb,
  "realtimeRateLimiterConfig" jsonb,
  "maximumDeployedQueueSize" integer,
  "maximumDevQueueSize" integer,
  "avatar" jsonb,
  "featureFlags" jsonb,
  "maximumProjectCount" integer NOT NULL DEFAULT 25,
  "batchQueueConcurrencyConfig" jsonb,
  "batchRateLimitConfig" jsonb,
  "onboardingData" jsonb,
  "maxSessionDuration" integer,
  "streamBasinName" text,
  CONSTRAINT "Organization_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "Organization_slug_key" ON "Organization" USING btree (slug);

CREATE TABLE "PersonalAccessToken" (
  "id" text NOT NULL,
  "name" text NOT NULL,
  "userId" text NOT NULL,
  "revokedAt" timestamp(3),
  "lastAccessedAt" timestamp(3),
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "obfuscatedToken" text NOT NULL,
  "encryptedToken" jsonb NOT NULL,
  "hashedToken" text NOT NULL,
  CONSTRAINT "PersonalAccessToken_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "PersonalAccessToken_hashedToken_key" ON "PersonalAccessToken" USING btree ("hashedToken");
CREATE INDEX "PersonalAccessToken_userId_idx" ON "PersonalAccessToken" USING btree ("userId");

CREATE TABLE "Project" (
  "id" text NOT NULL,
  "name" text NOT NULL,
  "organizationId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "slug" text NOT NULL,
  "externalRef" text NOT NULL,
  "deletedAt" timestamp(3),
  "version" "ProjectVersion" NOT NULL DEFAULT 'V2'::"ProjectVersion",
  "builderProjectId" text,
  "defaultWorkerGroupId" text,
  "engine" "RunEngineVersion" NOT NULL DEFAULT 'V1'::"RunEngineVersion",
  "allowedMasterQueues" text[] DEFAULT ARRAY[]::text[],
  "buildSettings" jsonb,
  "onboardingData" jsonb,
  "initializedAt" timestamp(3),
  "defaultRuntime" text,
  CONSTRAINT "Project_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "Project_externalRef_key" ON "Project" USING btree ("externalRef");
CREATE UNIQUE INDEX "Project_slug_key" ON "Project" USING btree (slug);

CREATE TABLE "RevokedApiKey" (
  "id" text NOT NULL,
  "apiKey" text NOT NULL,
  "runtimeEnvironmentId" text NOT NULL,
  "expiresAt" timestamp(3) NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "RevokedApiKey_pkey" PRIMARY KEY (id)
);
CREATE INDEX "RevokedApiKey_apiKey_idx" ON "RevokedApiKey" USING btree ("apiKey");
CREATE INDEX "RevokedApiKey_runtimeEnvironmentId_idx" ON "RevokedApiKey" USING btree ("runtimeEnvironmentId");

CREATE TABLE "RuntimeEnvironment" (
  "id" text NOT NULL,
  "slug" text NOT NULL,
  "apiKey" text NOT NULL,
  "organizationId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "orgMemberId" text,
  "projectId" text NOT NULL,
  "type" "RuntimeEnvironmentType" NOT NULL DEFAULT 'DEVELOPMENT'::"RuntimeEnvironmentType",
  "autoEnableInternalSources" boolean NOT NULL DEFAULT true,
  "pkApiKey" text NOT NULL,
  "shortcode" text NOT NULL,
  "tunnelId" text,
  "maximumConcurrencyLimit" integer NOT NULL DEFAULT 5,
  "currentSessionId" text,
  "paused" boolean NOT NULL DEFAULT false,
  "archivedAt" timestamp(3),
  "branchName" text,
  "git" jsonb,
  "parentEnvironmentId" text,
  "isBranchableEnvironment" boolean NOT NULL DEFAULT false,
  "builtInEnvironmentVariableOverrides" jsonb,
  "concurrencyLimitBurstFactor" numeric(4,2) NOT NULL DEFAULT 2.00,
  "pauseSource" "EnvironmentPauseSource",
  CONSTRAINT "RuntimeEnvironment_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "RuntimeEnvironment_apiKey_key" ON "RuntimeEnvironment" USING btree ("apiKey");
CREATE INDEX "RuntimeEnvironment_organizationId_idx" ON "RuntimeEnvironment" USING btree ("organizationId");
CREATE INDEX "RuntimeEnvironment_parentEnvironmentId_idx" ON "RuntimeEnvironment" USING btree ("parentEnvironmentId");
CREATE INDEX "RuntimeEnvironment_pauseSource_organizationId_idx"
  ON "RuntimeEnvironment" USING btree ("pauseSource", "organizationId") WHERE ("pauseSource" IS NOT NULL);
CREATE UNIQUE INDEX "RuntimeEnvironment_pkApiKey_key" ON "RuntimeEnvironment" USING btree ("pkApiKey");
CREATE INDEX "RuntimeEnvironment_projectId_idx" ON "RuntimeEnvironment" USING btree ("projectId");
CREATE UNIQUE INDEX "RuntimeEnvironment_projectId_shortcode_key"
  ON "RuntimeEnvironment" USING btree ("projectId", shortcode);
CREATE UNIQUE INDEX "RuntimeEnvironment_projectId_slug_orgMemberId_key"
  ON "RuntimeEnvironment" USING btree ("projectId", slug, "orgMemberId");
CREATE UNIQUE INDEX "RuntimeEnvironment_projectId_type_staging_preview_root_key"
  ON "RuntimeEnvironment" USING btree ("projectId", type)
  WHERE (
    ("parentEnvironmentId" IS NULL)
    AND (type = ANY (ARRAY['STAGING'::"RuntimeEnvironmentType", 'PREVIEW'::"RuntimeEnvironmentType"]))
  );

CREATE TABLE "RuntimeEnvironmentSession" (
  "id" text NOT NULL,
  "ipAddress" text NOT NULL,
  "environmentId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "disconnectedAt" timestamp(3),
  CONSTRAINT "RuntimeEnvironmentSession_pkey" PRIMARY KEY (id)
);

CREATE TABLE "TaskIdentifier" (
  "id" text NOT NULL,
  "runtimeEnvironmentId" text NOT NULL,
  "projectId" text NOT NULL,
  "slug" text NOT NULL,
  "currentTriggerSource" "TaskTriggerSource" NOT NULL DEFAULT 'STANDARD'::"TaskTriggerSource",
  "currentWorkerId" text,
  "firstSeenAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "lastSeenAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "isInLatestDeployment" boolean NOT NULL DEFAULT true,
  CONSTRAINT "TaskIdentifier_pkey" PRIMARY KEY (id)
);
CREATE INDEX "TaskIdentifier_runtimeEnvironmentId_isInLatestDeployment_idx"
  ON "TaskIdentifier" USING btree ("runtimeEnvironmentId", "isInLatestDeployment");
CREATE UNIQUE INDEX "TaskIdentifier_runtimeEnvironmentId_slug_key"
  ON "TaskIdentifier" USING btree ("runtimeEnvironmentId", slug);

CREATE TABLE "TaskQueue" (
  "id" text NOT NULL,
  "friendlyId" text NOT NULL,
  "name" text NOT NULL,
  "type" "TaskQueueType" NOT NULL DEFAULT 'VIRTUAL'::"TaskQueueType",
  "projectId" text NOT NULL,
  "runtimeEnvironmentId" text NOT NULL,
  "concurrencyLimit" integer,
  "rateLimit" jsonb,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "paused" boolean NOT NULL DEFAULT false,
  "orderableName" text,
  "version" "TaskQueueVersion" NOT NULL DEFAULT 'V1'::"TaskQueueVersion",
  "concurrencyLimitBase" integer,
  "concurrencyLimitOverriddenAt" timestamp(3),
  "concurrencyLimitOverriddenBy" text,
  "concurrencyLimitOverridePercent" numeric(5,2),
  CONSTRAINT "TaskQueue_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "TaskQueue_friendlyId_key" ON "TaskQueue" USING btree ("friendlyId");
CREATE UNIQUE INDEX "TaskQueue_runtimeEnvironmentId_name_key" ON "TaskQueue" USING btree ("runtimeEnvironmentId", name);

CREATE TABLE "TaskRun" (
  "id" text NOT NULL,
  "idempotencyKey" text,
  "payload" text NOT NULL,
  "payloadType" text NOT NULL DEFAULT 'application/json'::text,
  "context" jsonb,
  "runtimeEnvironmentId" text NOT NULL,
  "projectId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "taskIdentifier" text NOT NULL,
  "lockedAt" timestamp(3),
  "lockedById" text,
  "friendlyId" text NOT NULL,
  "lockedToVersionId" text,
  "traceContext" jsonb,
  "spanId" text NOT NULL,
  "traceId" text NOT NULL,
  "concurrencyKey" text,
  "queue" text NOT NULL,
  "number" integer NOT NULL DEFAULT 0,
  "isTest" boolean NOT NULL DEFAULT false,
  "status" "TaskRunStatus" NOT NULL DEFAULT 'PENDING'::"TaskRunStatus",
  "scheduleId" text,
  "scheduleInstanceId" text,
  "startedAt" timestamp(3),
  "usageDurationMs" integer NOT NULL DEFAULT 0,
  "costInCents" double precision NOT NULL DEFAULT 0,
  "baseCostInCents" double precision NOT NULL DEFAULT 0,
  "machinePreset" text,
  "delayUntil" timestamp(3),
  "queuedAt" timestamp(3),
  "expiredAt" timestamp(3),
  "ttl" text,
  "maxAttempts" integer,
  "completedAt" timestamp(3),
  "logsDeletedAt" timestamp(3),
  "batchId" text,
  "depth" integer NOT NULL DEFAULT 0,
  "parentTaskRunAttemptId" text,
  "parentTaskRunId" text,
  "resumeParentOnCompletion" boolean NOT NULL DEFAULT false,
  "rootTaskRunId" text,
  "parentSpanId" text,
  "metadata" text,
  "metadataType" text NOT NULL DEFAULT 'application/json'::text,
  "output" text,
  "outputType" text NOT NULL DEFAULT 'application/json'::text,
  "error" jsonb,
  "seedMetadata" text,
  "seedMetadataType" text NOT NULL DEFAULT 'application/json'::text,
  "runTags" text[],
  "maxDurationInSeconds" integer,
  "idempotencyKeyExpiresAt" timestamp(3),
  "taskVersion" text,
  "cliVersion" text,
  "sdkVersion" text,
  "oneTimeUseToken" text,
  "metadataVersion" integer NOT NULL DEFAULT 1,
  "attemptNumber" integer,
  "engine" "RunEngineVersion" NOT NULL DEFAULT 'V1'::"RunEngineVersion",
  "masterQueue" text NOT NULL DEFAULT 'main'::text,
  "priorityMs" integer NOT NULL DEFAULT 0,
  "secondaryMasterQueue" text,
  "queueTimestamp" timestamp(3),
  "taskEventStore" text NOT NULL DEFAULT 'taskEvent'::text,
  "executedAt" timestamp(3),
  "lockedQueueId" text,
  "statusReason" text,
  "runChainState" jsonb,
  "environmentType" "RuntimeEnvironmentType",
  "organizationId" text,
  "bulkActionGroupIds" text[] DEFAULT ARRAY[]::text[],
  "replayedFromTaskRunFriendlyId" text,
  "planType" text,
  "lockedRetryConfig" jsonb,
  "realtimeStreamsVersion" text NOT NULL DEFAULT 'v1'::text,
  "realtimeStreams" text[] DEFAULT ARRAY[]::text[],
  "debounce" jsonb,
  "idempotencyKeyOptions" jsonb,
  "annotations" jsonb,
  "isWarmStart" boolean,
  "streamBasinName" text,
  "region" text,
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
  ON "TaskRun" USING btree ("runtimeEnvironmentId", "createdAt" DESC) INCLUDE (id) WITH (fillfactor='90');
CREATE UNIQUE INDEX "TaskRun_runtimeEnvironmentId_taskIdentifier_idempotencyKey_key"
  ON "TaskRun" USING btree ("runtimeEnvironmentId", "taskIdentifier", "idempotencyKey");
CREATE INDEX "TaskRun_spanId_idx" ON "TaskRun" USING btree ("spanId");

CREATE TABLE "TaskRunAttempt" (
  "id" text NOT NULL,
  "number" integer NOT NULL DEFAULT 0,
  "taskRunId" text NOT NULL,
  "backgroundWorkerId" text NOT NULL,
  "backgroundWorkerTaskId" text NOT NULL,
  "status" "TaskRunAttemptStatus" NOT NULL DEFAULT 'PENDING'::"TaskRunAttemptStatus",
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "startedAt" timestamp(3),
  "completedAt" timestamp(3),
  "output" text,
  "outputType" text NOT NULL DEFAULT 'application/json'::text,
  "friendlyId" text NOT NULL,
  "error" jsonb,
  "queueId" text NOT NULL,
  "runtimeEnvironmentId" text NOT NULL,
  "usageDurationMs" integer NOT NULL DEFAULT 0,
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

CREATE TABLE "TaskRunCounter" (
  "taskIdentifier" text NOT NULL,
  "lastNumber" integer NOT NULL DEFAULT 0,
  CONSTRAINT "TaskRunCounter_pkey" PRIMARY KEY ("taskIdentifier")
);

CREATE TABLE "TaskRunDependency" (
  "id" text NOT NULL,
  "taskRunId" text NOT NULL,
  "dependentAttemptId" text,
  "dependentBatchRunId" text,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "checkpointEventId" text,
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
  "runId" text NOT NULL,
  "runStatus" "TaskRunStatus" NOT NULL,
  "attemptNumber" integer,
  "checkpointId" text,
  "workerId" text,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "lastHeartbeatAt" timestamp(3),
  "batchId" text,
  "completedWaitpointOrder" text[],
  "runnerId" text,
  "environmentId" text NOT NULL,
  "environmentType" "RuntimeEnvironmentType" NOT NULL,
  "previousSnapshotId" text,
  "organizationId" text NOT NULL,
  "projectId" text NOT NULL,
  "metadata" jsonb,
  CONSTRAINT "TaskRunExecutionSnapshot_pkey" PRIMARY KEY (id)
);
CREATE INDEX "TaskRunExecutionSnapshot_runId_isValid_createdAt_idx"
  ON "TaskRunExecutionSnapshot" USING btree ("runId", "isValid", "createdAt" DESC);

CREATE TABLE "TaskRunNumberCounter" (
  "id" text NOT NULL,
  "taskIdentifier" text NOT NULL,
  "environmentId" text NOT NULL,
  "lastNumber" integer NOT NULL DEFAULT 0,
  CONSTRAINT "TaskRunNumberCounter_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "TaskRunNumberCounter_taskIdentifier_environmentId_key"
  ON "TaskRunNumberCounter" USING btree ("taskIdentifier", "environmentId");

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
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "spanIdToComplete" text,
  "batchId" text,
  "batchIndex" integer,
  CONSTRAINT "TaskRunWaitpoint_pkey" PRIMARY KEY (id)
);
CREATE INDEX "TaskRunWaitpoint_taskRunId_idx" ON "TaskRunWaitpoint" USING btree ("taskRunId");
CREATE UNIQUE INDEX "TaskRunWaitpoint_taskRunId_waitpointId_batchIndex_key"
  ON "TaskRunWaitpoint" USING btree ("taskRunId", "waitpointId", "batchIndex");
CREATE UNIQUE INDEX "TaskRunWaitpoint_taskRunId_waitpointId_batchIndex_null_key"
  ON "TaskRunWaitpoint" USING btree ("taskRunId", "waitpointId") WHERE ("batchIndex" IS NULL);
CREATE INDEX "TaskRunWaitpoint_waitpointId_idx" ON "TaskRunWaitpoint" USING btree ("waitpointId");

CREATE TABLE "TaskSchedule" (
  "id" text NOT NULL,
  "friendlyId" text NOT NULL,
  "taskIdentifier" text NOT NULL,
  "deduplicationKey" text NOT NULL,
  "userProvidedDeduplicationKey" boolean NOT NULL DEFAULT false,
  "generatorExpression" text NOT NULL,
  "externalId" text,
  "projectId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "active" boolean NOT NULL DEFAULT true,
  "generatorDescription" text NOT NULL DEFAULT ''::text,
  "generatorType" "ScheduleGeneratorType" NOT NULL DEFAULT 'CRON'::"ScheduleGeneratorType",
  "timezone" text NOT NULL DEFAULT 'UTC'::text,
  "type" "ScheduleType" NOT NULL DEFAULT 'IMPERATIVE'::"ScheduleType",
  "lastRunTriggeredAt" timestamp(3),
  "windowDurationSeconds" integer,
  "windowPercentage" integer,
  CONSTRAINT "TaskSchedule_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "TaskSchedule_friendlyId_key" ON "TaskSchedule" USING btree ("friendlyId");
CREATE INDEX "TaskSchedule_projectId_createdAt_idx" ON "TaskSchedule" USING btree ("projectId", "createdAt" DESC);
CREATE UNIQUE INDEX "TaskSchedule_projectId_deduplicationKey_key"
  ON "TaskSchedule" USING btree ("projectId", "deduplicationKey");
CREATE INDEX "TaskSchedule_projectId_idx" ON "TaskSchedule" USING btree ("projectId");

CREATE TABLE "TaskScheduleInstance" (
  "id" text NOT NULL,
  "taskScheduleId" text NOT NULL,
  "environmentId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "active" boolean NOT NULL DEFAULT true,
  "lastScheduledTimestamp" timestamp(3),
  "nextScheduledTimestamp" timestamp(3),
  "projectId" text NOT NULL,
  "schedulePhase" integer,
  CONSTRAINT "TaskScheduleInstance_pkey" PRIMARY KEY (id)
);
CREATE INDEX "TaskScheduleInstance_environmentId_idx" ON "TaskScheduleInstance" USING btree ("environmentId");
CREATE INDEX "TaskScheduleInstance_projectId_active_idx" ON "TaskScheduleInstance" USING btree ("projectId", active);
CREATE UNIQUE INDEX "TaskScheduleInstance_taskScheduleId_environmentId_key"
  ON "TaskScheduleInstance" USING btree ("taskScheduleId", "environmentId");

CREATE TABLE "User" (
  "id" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "admin" boolean NOT NULL DEFAULT false,
  "authenticationExtraParams" jsonb,
  "authenticationMethod" "AuthenticationMethod" NOT NULL,
  "authenticationProfile" jsonb,
  "avatarUrl" text,
  "displayName" text,
  "email" text NOT NULL,
  "name" text,
  "isOnCloudWaitlist" boolean NOT NULL DEFAULT false,
  "featureCloud" boolean NOT NULL DEFAULT false,
  "isOnHostedRepoWaitlist" boolean NOT NULL DEFAULT false,
  "marketingEmails" boolean NOT NULL DEFAULT true,
  "confirmedBasicDetails" boolean NOT NULL DEFAULT false,
  "invitationCodeId" text,
  "authIdentifier" text,
  "referralSource" text,
  "dashboardPreferences" jsonb,
  "mfaEnabledAt" timestamp(3),
  "mfaLastUsedCode" text,
  "mfaSecretReferenceId" text,
  "onboardingData" jsonb,
  "sessionDuration" integer NOT NULL DEFAULT 31556952,
  "nextSessionEnd" timestamp(3),
  CONSTRAINT "User_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "User_authIdentifier_key" ON "User" USING btree ("authIdentifier");
CREATE UNIQUE INDEX "User_email_key" ON "User" USING btree (email);

CREATE TABLE "Waitpoint" (
  "id" text NOT NULL,
  "friendlyId" text NOT NULL,
  "type" "WaitpointType" NOT NULL,
  "status" "WaitpointStatus" NOT NULL DEFAULT 'PENDING'::"WaitpointStatus",
  "completedAt" timestamp(3),
  "idempotencyKey" text NOT NULL,
  "userProvidedIdempotencyKey" boolean NOT NULL,
  "inactiveIdempotencyKey" text,
  "completedByTaskRunId" text,
  "completedAfter" timestamp(3),
  "output" text,
  "outputType" text NOT NULL DEFAULT 'application/json'::text,
  "outputIsError" boolean NOT NULL DEFAULT false,
  "projectId" text NOT NULL,
  "environmentId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "completedByBatchId" text,
  "idempotencyKeyExpiresAt" timestamp(3),
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

CREATE TABLE "WaitpointTag" (
  "id" text NOT NULL,
  "name" text NOT NULL,
  "environmentId" text NOT NULL,
  "projectId" text NOT NULL,
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "WaitpointTag_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "WaitpointTag_environmentId_name_key" ON "WaitpointTag" USING btree ("environmentId", name);

CREATE TABLE "WorkerDeployment" (
  "id" text NOT NULL,
  "friendlyId" text NOT NULL,
  "shortCode" text NOT NULL,
  "version" text NOT NULL,
  "status" "WorkerDeploymentStatus" NOT NULL DEFAULT 'PENDING'::"WorkerDeploymentStatus",
  "projectId" text NOT NULL,
  "environmentId" text NOT NULL,
  "workerId" text,
  "deployedAt" timestamp(3),
  "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" timestamp(3) NOT NULL,
  "externalBuildData" jsonb,
  "contentHash" text NOT NULL,
  "imageReference" text,
  "errorData" jsonb,
  "failedAt" timestamp(3),
  "triggeredById" text,
  "builtAt" timestamp(3),
  "type" "WorkerDeploymentType" NOT NULL DEFAULT 'V1'::"WorkerDeploymentType",
  "git" jsonb,
  "imagePlatform" text NOT NULL DEFAULT 'linux/amd64'::text,
  "runtime" text,
  "runtimeVersion" text,
  "startedAt" timestamp(3),
  "installedAt" timestamp(3),
  "canceledAt" timestamp(3),
  "canceledReason" text,
  "buildServerMetadata" jsonb,
  "triggeredVia" text,
  "commitSHA" text,
  "externalId" text,
  CONSTRAINT "WorkerDeployment_pkey" PRIMARY KEY (id)
);
CREATE INDEX "WorkerDeployment_commitSHA_idx" ON "WorkerDeployment" USING btree ("commitSHA");
CREATE INDEX "WorkerDeployment_environmentId_createdAt_idx"
  ON "WorkerDeployment" USING btree ("environmentId", "createdAt");
CREATE INDEX "WorkerDeployment_environmentId_externalId_idx"
  ON "WorkerDeployment" USING btree ("environmentId", "externalId");
CREATE INDEX "WorkerDeployment_environmentId_status_id_idx"
  ON "WorkerDeployment" USING btree ("environmentId", status, id);
CREATE UNIQUE INDEX "WorkerDeployment_environmentId_version_key"
  ON "WorkerDeployment" USING btree ("environmentId", version);
CREATE UNIQUE INDEX "WorkerDeployment_friendlyId_key" ON "WorkerDeployment" USING btree ("friendlyId");
CREATE UNIQUE INDEX "WorkerDeployment_projectId_shortCode_key"
  ON "WorkerDeployment" USING btree ("projectId", "shortCode");
CREATE UNIQUE INDEX "WorkerDeployment_workerId_key" ON "WorkerDeployment" USING btree ("workerId");

CREATE TABLE "WorkerDeploymentPromotion" (
  "id" text NOT NULL,
  "label" text NOT NULL,
  "deploymentId" text NOT NULL,
  "environmentId" text NOT NULL,
  CONSTRAINT "WorkerDeploymentPromotion_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "WorkerDeploymentPromotion_environmentId_label_key"
  ON "WorkerDeploymentPromotion" USING btree ("environmentId", label);

CREATE TABLE "_WaitpointRunConnections" (
  "A" text NOT NULL,
  "B" text NOT NULL
);
CREATE UNIQUE INDEX "_WaitpointRunConnections_AB_unique" ON "_WaitpointRunConnections" USING btree ("A", "B");
CREATE INDEX "_WaitpointRunConnections_B_index" ON "_WaitpointRunConnections" USING btree ("B");

CREATE TABLE "_completedWaitpoints" (
  "A" text NOT NULL,
  "B" text NOT NULL
);
CREATE UNIQUE INDEX "_completedWaitpoints_AB_unique" ON "_completedWaitpoints" USING btree ("A", "B");
CREATE INDEX "_completedWaitpoints_B_index" ON "_completedWaitpoints" USING btree ("B");

CREATE TABLE "api_keys" (
  "id" text NOT NULL,
  "name" text NOT NULL,
  "key_hash" text NOT NULL,
  "last_four" text NOT NULL,
  "runtime_environment_id" text NOT NULL,
  "created_by_user_id" text,
  "preset_id" text,
  "scopes" text[] NOT NULL,
  "last_used_at" timestamp(3),
  "revoked_at" timestamp(3),
  "expires_at" timestamp(3),
  "updated_at" timestamp(3) NOT NULL,
  "created_at" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "api_keys_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "api_keys_key_hash_key" ON "api_keys" USING btree (key_hash);
CREATE INDEX "api_keys_runtime_environment_id_revoked_at_created_at_idx"
  ON "api_keys" USING btree (runtime_environment_id, revoked_at, created_at DESC);

ALTER TABLE "BackgroundWorker" ADD CONSTRAINT "BackgroundWorker_projectId_fkey"
  FOREIGN KEY ("projectId") REFERENCES "Project"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "BackgroundWorker" ADD CONSTRAINT "BackgroundWorker_runtimeEnvironmentId_fkey"
  FOREIGN KEY ("runtimeEnvironmentId") REFERENCES "RuntimeEnvironment"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "BackgroundWorkerTask" ADD CONSTRAINT "BackgroundWorkerTask_projectId_fkey"
  FOREIGN KEY ("projectId") REFERENCES "Project"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "BackgroundWorkerTask" ADD CONSTRAINT "BackgroundWorkerTask_queueId_fkey"
  FOREIGN KEY ("queueId") REFERENCES "TaskQueue"(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE "BackgroundWorkerTask" ADD CONSTRAINT "BackgroundWorkerTask_runtimeEnvironmentId_fkey"
  FOREIGN KEY ("runtimeEnvironmentId") REFERENCES "RuntimeEnvironment"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "BackgroundWorkerTask" ADD CONSTRAINT "BackgroundWorkerTask_workerId_fkey"
  FOREIGN KEY ("workerId") REFERENCES "BackgroundWorker"(id) ON UPDATE CASCADE ON DELETE CASCADE;
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
ALTER TABLE "BulkActionGroup" ADD CONSTRAINT "BulkActionGroup_environmentId_fkey"
  FOREIGN KEY ("environmentId") REFERENCES "RuntimeEnvironment"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "BulkActionGroup" ADD CONSTRAINT "BulkActionGroup_projectId_fkey"
  FOREIGN KEY ("projectId") REFERENCES "Project"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "BulkActionGroup" ADD CONSTRAINT "BulkActionGroup_userId_fkey"
  FOREIGN KEY ("userId") REFERENCES "User"(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE "OrgMember" ADD CONSTRAINT "OrgMember_organizationId_fkey"
  FOREIGN KEY ("organizationId") REFERENCES "Organization"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "OrgMember" ADD CONSTRAINT "OrgMember_userId_fkey"
  FOREIGN KEY ("userId") REFERENCES "User"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "PersonalAccessToken" ADD CONSTRAINT "PersonalAccessToken_userId_fkey"
  FOREIGN KEY ("userId") REFERENCES "User"(id) ON UPDATE CASCADE ON DELETE RESTRICT;
ALTER TABLE "Project" ADD CONSTRAINT "Project_organizationId_fkey"
  FOREIGN KEY ("organizationId") REFERENCES "Organization"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "RevokedApiKey" ADD CONSTRAINT "RevokedApiKey_runtimeEnvironmentId_fkey"
  FOREIGN KEY ("runtimeEnvironmentId") REFERENCES "RuntimeEnvironment"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "RuntimeEnvironment" ADD CONSTRAINT "RuntimeEnvironment_currentSessionId_fkey"
  FOREIGN KEY ("currentSessionId") REFERENCES "RuntimeEnvironmentSession"(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE "RuntimeEnvironment" ADD CONSTRAINT "RuntimeEnvironment_orgMemberId_fkey"
  FOREIGN KEY ("orgMemberId") REFERENCES "OrgMember"(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE "RuntimeEnvironment" ADD CONSTRAINT "RuntimeEnvironment_organizationId_fkey"
  FOREIGN KEY ("organizationId") REFERENCES "Organization"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "RuntimeEnvironment" ADD CONSTRAINT "RuntimeEnvironment_parentEnvironmentId_fkey"
  FOREIGN KEY ("parentEnvironmentId") REFERENCES "RuntimeEnvironment"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "RuntimeEnvironment" ADD CONSTRAINT "RuntimeEnvironment_projectId_fkey"
  FOREIGN KEY ("projectId") REFERENCES "Project"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "RuntimeEnvironmentSession" ADD CONSTRAINT "RuntimeEnvironmentSession_environmentId_fkey"
  FOREIGN KEY ("environmentId") REFERENCES "RuntimeEnvironment"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "TaskIdentifier" ADD CONSTRAINT "TaskIdentifier_currentWorkerId_fkey"
  FOREIGN KEY ("currentWorkerId") REFERENCES "BackgroundWorker"(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE "TaskIdentifier" ADD CONSTRAINT "TaskIdentifier_projectId_fkey"
  FOREIGN KEY ("projectId") REFERENCES "Project"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "TaskIdentifier" ADD CONSTRAINT "TaskIdentifier_runtimeEnvironmentId_fkey"
  FOREIGN KEY ("runtimeEnvironmentId") REFERENCES "RuntimeEnvironment"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "TaskQueue" ADD CONSTRAINT "TaskQueue_projectId_fkey"
  FOREIGN KEY ("projectId") REFERENCES "Project"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "TaskQueue" ADD CONSTRAINT "TaskQueue_runtimeEnvironmentId_fkey"
  FOREIGN KEY ("runtimeEnvironmentId") REFERENCES "RuntimeEnvironment"(id) ON UPDATE CASCADE ON DELETE CASCADE;
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
ALTER TABLE "TaskRunNumberCounter" ADD CONSTRAINT "TaskRunNumberCounter_environmentId_fkey"
  FOREIGN KEY ("environmentId") REFERENCES "RuntimeEnvironment"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "TaskRunWaitpoint" ADD CONSTRAINT "TaskRunWaitpoint_batchId_fkey"
  FOREIGN KEY ("batchId") REFERENCES "BatchTaskRun"(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE "TaskRunWaitpoint" ADD CONSTRAINT "TaskRunWaitpoint_taskRunId_fkey"
  FOREIGN KEY ("taskRunId") REFERENCES "TaskRun"(id) ON UPDATE CASCADE ON DELETE RESTRICT;
ALTER TABLE "TaskSchedule" ADD CONSTRAINT "TaskSchedule_projectId_fkey"
  FOREIGN KEY ("projectId") REFERENCES "Project"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "TaskScheduleInstance" ADD CONSTRAINT "TaskScheduleInstance_environmentId_fkey"
  FOREIGN KEY ("environmentId") REFERENCES "RuntimeEnvironment"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "TaskScheduleInstance" ADD CONSTRAINT "TaskScheduleInstance_projectId_fkey"
  FOREIGN KEY ("projectId") REFERENCES "Project"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "TaskScheduleInstance" ADD CONSTRAINT "TaskScheduleInstance_taskScheduleId_fkey"
  FOREIGN KEY ("taskScheduleId") REFERENCES "TaskSchedule"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "Waitpoint" ADD CONSTRAINT "Waitpoint_completedByBatchId_fkey"
  FOREIGN KEY ("completedByBatchId") REFERENCES "BatchTaskRun"(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE "Waitpoint" ADD CONSTRAINT "Waitpoint_completedByTaskRunId_fkey"
  FOREIGN KEY ("completedByTaskRunId") REFERENCES "TaskRun"(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE "WorkerDeployment" ADD CONSTRAINT "WorkerDeployment_environmentId_fkey"
  FOREIGN KEY ("environmentId") REFERENCES "RuntimeEnvironment"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "WorkerDeployment" ADD CONSTRAINT "WorkerDeployment_projectId_fkey"
  FOREIGN KEY ("projectId") REFERENCES "Project"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "WorkerDeployment" ADD CONSTRAINT "WorkerDeployment_triggeredById_fkey"
  FOREIGN KEY ("triggeredById") REFERENCES "User"(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE "WorkerDeployment" ADD CONSTRAINT "WorkerDeployment_workerId_fkey"
  FOREIGN KEY ("workerId") REFERENCES "BackgroundWorker"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "WorkerDeploymentPromotion" ADD CONSTRAINT "WorkerDeploymentPromotion_deploymentId_fkey"
  FOREIGN KEY ("deploymentId") REFERENCES "WorkerDeployment"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "WorkerDeploymentPromotion" ADD CONSTRAINT "WorkerDeploymentPromotion_environmentId_fkey"
  FOREIGN KEY ("environmentId") REFERENCES "RuntimeEnvironment"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "_WaitpointRunConnections" ADD CONSTRAINT "_WaitpointRunConnections_A_fkey"
  FOREIGN KEY ("A") REFERENCES "TaskRun"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE "_completedWaitpoints" ADD CONSTRAINT "_completedWaitpoints_A_fkey"
  FOREIGN KEY ("A") REFERENCES "TaskRunExecutionSnapshot"(id) ON UPDATE CASCADE ON DELETE CASCADE;
