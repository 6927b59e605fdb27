"""The federated store: ids, shards and rows. It speaks SQL, and nothing above it does."""
