"""Living through a range of the log again, beside the live service and without touching it."""
