-- The indexes of the filters that had none, each with its reader: without one, a page that few rows are let through to
-- walks the whole environment. The same in every run store, and in the order of its lists, as in 0002.
--
-- A write to a run costs more with each of them, so a row is in one only if it can be asked for there: a run has no
-- version and perhaps no machine until it starts, hardly one is a test, and most of a fan-out are not at the top.

-- RunFilter.version.
CREATE INDEX IF NOT EXISTS runatlas_run_version ON "TaskRun"
  ("runtimeEnvironmentId", "taskVersion", "createdAt" DESC, id COLLATE "C" DESC) WHERE "taskVersion" IS NOT NULL;

-- RunFilter.region, which is where a run's worker queue is unless the run names one.
CREATE INDEX IF NOT EXISTS runatlas_run_region ON "TaskRun"
  ("runtimeEnvironmentId", coalesce(region, "masterQueue"), "createdAt" DESC, id COLLATE "C" DESC);

-- RunFilter.machine.
CREATE INDEX IF NOT EXISTS runatlas_run_machine ON "TaskRun"
  ("runtimeEnvironmentId", "machinePreset", "createdAt" DESC, id COLLATE "C" DESC) WHERE "machinePreset" IS NOT NULL;

-- RunFilter.isTest, if true; the others are nearly all of an environment.
CREATE INDEX IF NOT EXISTS runatlas_run_test ON "TaskRun"
  ("runtimeEnvironmentId", "createdAt" DESC, id COLLATE "C" DESC) WHERE "isTest";

-- RunFilter.rootOnly.
CREATE INDEX IF NOT EXISTS runatlas_run_root_only ON "TaskRun"
  ("runtimeEnvironmentId", "createdAt" DESC, id COLLATE "C" DESC) WHERE "rootTaskRunId" IS NULL;

-- BatchFilter.status.
CREATE INDEX IF NOT EXISTS runatlas_batch_status ON "BatchTaskRun"
  ("runtimeEnvironmentId", status, "createdAt" DESC, id COLLATE "C" DESC);

-- WaitpointFilter.status, if WAITING.
CREATE INDEX IF NOT EXISTS runatlas_waitpoint_waiting ON "Waitpoint"
  ("environmentId", "createdAt" DESC, id COLLATE "C" DESC) WHERE type = 'MANUAL' AND status = 'PENDING';

-- WaitpointFilter.status, if COMPLETED or TIMED_OUT: the two are told apart by whether the output is an error.
CREATE INDEX IF NOT EXISTS runatlas_waitpoint_completed ON "Waitpoint"
  ("environmentId", "outputIsError", "createdAt" DESC, id COLLATE "C" DESC)
  WHERE type = 'MANUAL' AND status = 'COMPLETED';

-- Environment.waitpointTags.
CREATE INDEX IF NOT EXISTS runatlas_tag_environment ON "WaitpointTag"
  ("environmentId", "createdAt" DESC, name COLLATE "C" DESC);

-- Environment.waitpointTags, those that begin with a text.
CREATE INDEX IF NOT EXISTS runatlas_tag_name ON "WaitpointTag" ("environmentId", lower(name) text_pattern_ops);
