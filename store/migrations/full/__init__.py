"""The revisions of the full schema."""
