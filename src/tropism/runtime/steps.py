"""Steps of a handler: calls whose results are kept, so that a retry does not repeat them."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from types import CoroutineType
from typing import Any, ParamSpec, TypeVar

import msgspec

from tropism.core.codec import describe
from tropism.core.errors import InvalidInputError
from tropism.runtime.gates import Gates
from tropism.runtime.journal import Journal, Kept
from tropism.runtime.pace import Provider
from tropism.runtime.rests import Rest
from tropism.runtime.stepped import Functions, Step, idempotency_key

P = ParamSpec("P")
T = TypeVar("T")

_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_UNFIT = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)


class Steps:
    """Runs the steps of one call of a handler, which asks for it by a parameter annotated so.

    A step that has run is not run again when its handler is: what it gave is journaled before the handler
    sees it, and given again. Only a crash between the reply and that commit repeats the call, under the
    same idempotency key. Results are given as they were stored, the first time too.
    """

    def __init__(
        self,
        journal: Journal,
        scope: str,
        functions: Functions,
        gates: Gates,
        rest: Rest,
        has_turn: Provider | None = None,
    ) -> None:
        self._journal = journal
        self._scope = scope
        self._functions = functions
        self._gates = gates
        self._rest = rest
        self._has_turn = has_turn
        self._asked: dict[str, int] = {}
        self._is_over = False

    def key(self, step: str | Step) -> str:
        """Return the idempotency key that the next run of a step goes with."""
        name = self._functions.step(step).name
        return idempotency_key(self._scope, _nth(name, self._asked.get(name, 0) + 1))

    async def run(
        self, step: str | Step, call: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call an async function once, and return what it gave, then and on every retry.

        A name used again in one call of the handler names another step. A step that raises is not kept. A
        function with a parameter ``idempotency_key`` is given the step's key there.

        Raises: InvalidInputError if its result cannot be kept, or it was called with other arguments before.
        """
        declared = self._functions.step(step)
        function = self._functions.of(call)
        journal, scope, name = self._journal, self._scope, declared.name
        self._asked[name] = ordinal = self._asked.get(name, 0) + 1
        if ordinal > 1:
            name = _nth(name, ordinal)
        given = digest(args, kwargs)
        if journal.recalls(scope):
            await journal.recall(scope)
        while (turn := journal.begun(scope, name)) is not None:
            await turn
        try:
            kept = journal.find(scope, name)
            if kept is None:
                more = kwargs | function.more(scope, name, kwargs) if function.takes_key else kwargs
                provider = declared.provider
                if provider is None or provider == self._has_turn:
                    kept = Kept(given, await self._call(name, call, args, more))
                else:
                    kept = Kept(given, await self._paced(provider, name, call, args, more))
                if self._is_over:
                    raise self._ended(name)
                journal.add(scope, name, kept)
        finally:
            journal.end(scope, name)
        committed = journal.uncommitted(scope, name)
        if committed is not None:
            with self._rest:
                await committed
        if kept.arguments != given:
            raise self._changed(name)
        returns = function.returns if declared.returns is None else declared.returns
        result: T = self._result(name, kept, returns)
        return result

    def finish(self) -> list[Any]:
        """Return what deletes its steps, when the handler has succeeded."""
        self._is_over = True
        return self._journal.finish(self._scope)

    async def _paced(
        self,
        provider: Provider,
        name: str,
        call: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> bytes | None:
        """Make the call when its turn has come."""
        if self._has_turn is not None:
            raise InvalidInputError(
                f"Cannot wait in step {name!r} of {self._scope!r} for provider {provider.name!r}: its "
                f"handler has its turn with {self._has_turn.name!r}, and two that do so may wait for each "
                f"other for ever. Name providers on the steps only."
            )
        async with self._gates.of(provider).turn(self._rest):
            return await self._call(name, call, args, kwargs)

    async def _call(
        self, name: str, call: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> bytes | None:
        """Make the call, and return its result encoded, None where that cannot be done."""
        if self._is_over:
            raise self._ended(name)
        made = call(*args, **kwargs)
        if type(made) is not CoroutineType and not inspect.isawaitable(made):
            raise InvalidInputError(
                f"Cannot await step {name!r} of {self._scope!r}: its function returned "
                f"{type(made).__name__!r}. Make it async, or run it by asyncio.to_thread."
            )
        result = await made
        try:
            return _ENCODER.encode(result)
        except _UNFIT:
            return None

    def _ended(self, name: str) -> InvalidInputError:
        return InvalidInputError(
            f"Cannot run step {name!r} of {self._scope!r}: its handler has returned. "
            f"Await every step in the handler."
        )

    def _result(self, name: str, kept: Kept, returns: Any) -> Any:
        if kept.result is None:
            raise InvalidInputError(
                f"Cannot keep the result of step {name!r} of {self._scope!r}: it cannot be encoded, and the "
                f"call is not repeated. Return builtins, dataclasses or Structs, then name the step anew."
            )
        try:
            return msgspec.msgpack.decode(kept.result, type=returns)
        except _UNFIT as error:
            raise InvalidInputError(
                f"Cannot give the result of step {name!r} of {self._scope!r}: {describe(error)}. "
                f"Annotate what its function returns, or say it with Step({name!r}, returns=...)."
            ) from None

    def _changed(self, name: str) -> InvalidInputError:
        return InvalidInputError(
            f"Cannot run step {name!r} of {self._scope!r}: it has run with other arguments before. Compute "
            f"them from the event and earlier steps only; a step under a new name is called anew."
        )


def digest(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """Return a digest of arguments; of those that cannot be encoded, only the type counts."""
    try:
        return blake2b(_ENCODER.encode((args, kwargs)), digest_size=8).digest()
    except _UNFIT:
        return blake2b(repr(_told(args, kwargs)).encode(), digest_size=8).digest()


def _told(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    told: list[tuple[str, Any]] = []
    for name, value in (*enumerate(args), *sorted(kwargs.items())):
        try:
            data = _ENCODER.encode(value)
        except _UNFIT:
            data = type(value).__qualname__.encode()
        told.append((repr(name), data))
    return told


def _nth(name: str, ordinal: int) -> str:
    return name if ordinal == 1 else f"{name}#{ordinal}"
