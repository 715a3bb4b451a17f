"""What an output carries on from the event that caused it."""

from collections.abc import Callable
from typing import Any

from tropism.core.envelope import Envelope
from tropism.core.trace import TRACEPARENT, trace_of
from tropism.runtime.cycles import Guard
from tropism.runtime.hops import HOPS, hops_of, too_far

Carry = Callable[[Envelope[Any], str], dict[str, str]]
"""Returns the extensions of an output, by its cause and the name of the handler. Raises: LoopError."""


def carrying(guard: Guard) -> Carry:
    """Return what gives outputs their extensions: the cause's id, its valid trace, and its hops and one more.

    Hops are counted where the cause says them, and where a service can be on a circle; elsewhere nothing
    is added, so that nobody pays for it.
    """
    counts, budget, path = guard.counts, guard.budget, guard.path

    def carried(cause: Envelope[Any], handler: str) -> dict[str, str]:
        extensions = cause.extensions
        found = {"causationid": cause.id}
        if extensions is not None and TRACEPARENT in extensions:
            found.update(trace_of(extensions))
        if counts or (extensions is not None and HOPS in extensions):
            hops = hops_of(extensions) + 1
            if hops > budget:
                raise too_far(f"publish what {handler!r} made of event {cause.id!r}", hops, budget, path)
            found[HOPS] = str(hops)
        return found

    return carried
