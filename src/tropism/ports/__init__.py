"""What a deployment provides: a Protocol a file, each saying what it guarantees and what it does not."""
