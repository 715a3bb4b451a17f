"""Steps for a handler that a test calls as plain code."""

import asyncio

from tropism.adapters.memory import MemoryStore, VirtualClock
from tropism.runtime.gates import Gates
from tropism.runtime.journal import Journal
from tropism.runtime.rests import Rest
from tropism.runtime.stepped import Functions
from tropism.runtime.steps import Steps


def steps(handler: str = "test", event_id: str = "test") -> Steps:
    """Return steps that run as those of the runtime do, and are kept nowhere: one for each call.

    >>> import asyncio
    >>> async def double(n: int) -> int:
    ...     return 2 * n
    >>> asyncio.run(steps().run("double", double, 21))
    42
    """
    clock = VirtualClock(0)
    journal = Journal("test", MemoryStore(clock=clock).state)

    def commit() -> None:
        journal.writes()
        journal.note_commit()

    journal.attach(lambda: asyncio.get_running_loop().call_soon(commit))
    return Steps(journal, f"{handler}/test/{event_id}", Functions(), Gates(clock), Rest())
