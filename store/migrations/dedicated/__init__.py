"""The revisions of the dedicated schema."""
