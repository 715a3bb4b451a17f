"""Running a command's work; what only that needs is imported only then."""

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run work to its end, and return what came of it."""
    import asyncio

    return asyncio.run(work)
