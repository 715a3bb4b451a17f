"""How events become handler calls."""
