"""Events, envelopes, codec and errors: the standard library and msgspec only."""
