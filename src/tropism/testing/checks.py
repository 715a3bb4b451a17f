"""Conformance: laws as functions, run against any adapter."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from inspect import getdoc
from typing import Any, TypeVar

from tropism.core.errors import TropismError

T = TypeVar("T")

Factory = Callable[[], AbstractAsyncContextManager[T]]
"""Opens a fresh, empty adapter and closes it again."""

Check = Callable[[T], Coroutine[Any, Any, None]]
"""Proves one law, stated in its docstring, on a fresh adapter. Raises: BrokenLaw where it does not hold."""


class BrokenLaw(AssertionError):  # noqa: N818 (it reads as what it is: an adapter broke a law)
    """An adapter does not do what its port guarantees."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A check that did not hold: its name, its law, and what happened instead."""

    check: str
    law: str
    fact: str


@dataclass(frozen=True, slots=True)
class Report:
    """What held and what did not."""

    passed: tuple[str, ...]
    failures: tuple[Failure, ...]

    @property
    def ok(self) -> bool:
        """Whether every check held."""
        return not self.failures


async def run_check(factory: Factory[T], check: Check[T], *, limit_seconds: float = 60.0) -> None:
    """Run one check on a fresh adapter. Raises: BrokenLaw, or what the adapter raised instead."""
    async with factory() as adapter:
        try:
            async with asyncio.timeout(limit_seconds):
                await check(adapter)
        except TimeoutError as error:
            raise BrokenLaw(f"it did not end within {limit_seconds:g} seconds") from error


async def run_checks(
    factory: Factory[T], checks: Sequence[Check[T]], *, limit_seconds: float = 60.0
) -> Report:
    """Run checks, each on a fresh adapter, and report what held."""
    passed: list[str] = []
    failures: list[Failure] = []
    for check in checks:
        name, law = check.__name__, (getdoc(check) or "").partition("\n")[0]
        try:
            await run_check(factory, check, limit_seconds=limit_seconds)
            passed.append(name)
        except Exception as error:  # noqa: BLE001 (whatever an adapter raises is its failure)
            failures.append(Failure(name, law, f"{type(error).__name__}: {error}"))
    return Report(tuple(passed), tuple(failures))


def require(holds: bool, fact: str) -> None:
    """Raise BrokenLaw with the fact unless it holds."""
    if not holds:
        raise BrokenLaw(fact)


def require_equal(found: object, wanted: object, what: str) -> None:
    """Raise BrokenLaw unless found is what was wanted."""
    require(found == wanted, f"{what}: wanted {wanted!r}, found {found!r}")


async def require_raises(kind: type[TropismError], call: Awaitable[object], what: str) -> None:
    """Raise BrokenLaw unless a call raises this kind of error, with a text of the house form."""
    try:
        await call
    except kind as error:
        text = str(error)
        require(text.startswith("Cannot ") and text.endswith("."), f"{what}: its text is {text!r}")
        return
    raise BrokenLaw(f"{what}: wanted {kind.__name__}, nothing was raised")


async def settle(turns: int = 50) -> None:
    """Let other tasks run, for what can only be seen not to happen."""
    for _ in range(turns):
        await asyncio.sleep(0)
