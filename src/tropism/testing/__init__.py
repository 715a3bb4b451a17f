"""What proves a system and its adapters; free of any test framework."""
