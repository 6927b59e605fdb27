-- The index of the control plane that self-repair reads by.

-- The sweeper's bulk actions at work.
CREATE INDEX IF NOT EXISTS runatlas_bulk_action_pending ON "BulkActionGroup"
  ("updatedAt") WHERE status = 'PENDING';
