"""What is written to one shard, inside of a transaction that somebody else has begun: rows in, what changed out."""
