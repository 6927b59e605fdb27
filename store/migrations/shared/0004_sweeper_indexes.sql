-- The indexes that self-repair reads by, every second: of few rows each, those that something is still to be done with.
-- The same in every run store. They are of use only where runatlas writes.

-- The sweeper's waitpoints whose time has come.
CREATE INDEX IF NOT EXISTS runatlas_waitpoint_due ON "Waitpoint"
  ("completedAfter") WHERE status = 'PENDING' AND "completedAfter" IS NOT NULL;

-- The sweeper's delayed runs whose time has come.
CREATE INDEX IF NOT EXISTS runatlas_run_delayed ON "TaskRun"
  ("delayUntil") WHERE status = 'DELAYED' AND engine = 'V2';

-- The sweeper's batches that all items are there of, and that are not complete.
CREATE INDEX IF NOT EXISTS runatlas_batch_open ON "BatchTaskRun"
  (id) WHERE sealed AND status = ANY (ARRAY['PENDING', 'PROCESSING', 'PARTIAL_FAILED']::"BatchTaskRunStatus"[]);
