"""What events look like, and which changes of that code bears: pure functions over JSON Schemas."""
