-- The indexes that runatlas adds to a run store, each with its reader. The same in all of them: a list is read from
-- every shard at once, and is as slow as the slowest.
--
-- Lists are ordered by ("createdAt", id), newest first, with ids in byte order: an index that ends in id says so, or
-- a database of another collation would sort every page anew.
--
-- Not here: "updatedAt", which every write to a run would have to maintain.

-- Environment.runs and hasAnyRuns; RunFilter.createdAt.
CREATE INDEX IF NOT EXISTS runatlas_run_environment ON "TaskRun"
  ("runtimeEnvironmentId", "createdAt" DESC, id COLLATE "C" DESC);

-- RunFilter.status and rawStatus.
CREATE INDEX IF NOT EXISTS runatlas_run_status ON "TaskRun"
  ("runtimeEnvironmentId", status, "createdAt" DESC, id COLLATE "C" DESC);

-- RunFilter.taskIdentifier.
CREATE INDEX IF NOT EXISTS runatlas_run_task ON "TaskRun"
  ("runtimeEnvironmentId", "taskIdentifier", "createdAt" DESC, id COLLATE "C" DESC);

-- RunFilter.queue.
CREATE INDEX IF NOT EXISTS runatlas_run_queue ON "TaskRun"
  ("runtimeEnvironmentId", queue, "createdAt" DESC, id COLLATE "C" DESC);

-- RunFilter.schedule: its runs are few among many.
CREATE INDEX IF NOT EXISTS runatlas_run_schedule ON "TaskRun"
  ("scheduleId", "createdAt" DESC, id COLLATE "C" DESC) WHERE "scheduleId" IS NOT NULL;

-- Run.childRuns: a page for each of many parents.
CREATE INDEX IF NOT EXISTS runatlas_run_parent ON "TaskRun"
  ("parentTaskRunId", "createdAt" DESC, id COLLATE "C" DESC) WHERE "parentTaskRunId" IS NOT NULL;

-- Batch.runs: a page for each of many batches; Batch.statusCounts; RunFilter.batch.
CREATE INDEX IF NOT EXISTS runatlas_run_batch ON "TaskRun"
  ("batchId", "createdAt" DESC, id COLLATE "C" DESC) WHERE "batchId" IS NOT NULL;

-- The foreign key "TaskRun_rootTaskRunId_fkey": for a run that is deleted, Postgres looks for those under it.
CREATE INDEX IF NOT EXISTS runatlas_run_root ON "TaskRun"
  ("rootTaskRunId") WHERE "rootTaskRunId" IS NOT NULL;

-- Query.runByTraceId.
CREATE INDEX IF NOT EXISTS runatlas_run_trace ON "TaskRun" ("traceId");

-- BulkAction.runs and RunFilter.bulkAction, with the operators @> and &&: "= ANY (column)" cannot use it.
CREATE INDEX IF NOT EXISTS runatlas_run_bulk_action ON "TaskRun" USING gin ("bulkActionGroupIds");

-- Environment.batches.
CREATE INDEX IF NOT EXISTS runatlas_batch_environment ON "BatchTaskRun"
  ("runtimeEnvironmentId", "createdAt" DESC, id COLLATE "C" DESC);

-- Environment.waitpointTokens.
CREATE INDEX IF NOT EXISTS runatlas_waitpoint_type ON "Waitpoint"
  ("environmentId", type, "createdAt" DESC, id COLLATE "C" DESC);

-- WaitpointFilter.tags, with the operators @> and &&. Only tokens have tags.
CREATE INDEX IF NOT EXISTS runatlas_waitpoint_tags ON "Waitpoint" USING gin (tags) WHERE tags IS NOT NULL;

-- WaitpointFilter.idempotencyKey, which matches the key that a token had before it expired too.
CREATE INDEX IF NOT EXISTS runatlas_waitpoint_inactive_key ON "Waitpoint"
  ("environmentId", "inactiveIdempotencyKey") WHERE "inactiveIdempotencyKey" IS NOT NULL;
