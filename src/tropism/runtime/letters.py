"""The letters of one worker's service: told of, and no more of them kept than so many."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from tropism.core.errors import ConflictError
from tropism.ports.platform import Platform
from tropism.runtime.archiving import archive
from tropism.runtime.dead import NAMESPACE, QUARANTINE, DeadLetter, dead_letters
from tropism.runtime.journal import Journal, scope_of
from tropism.runtime.options import WorkerOptions
from tropism.runtime.patience import patiently

ALL = 2**62

LOGGER = logging.getLogger("tropism")

SHARE = 10
"""Room for a tenth is made at a time."""

AGAIN_SECONDS = 5.0
"""How long to wait when somebody else moves letters."""


class Letters:
    """Takes note of every letter, and moves the oldest into the log where a service has too many.

    Until that is done its worker takes nothing in: what fails wholesale comes to a stand where the log does
    not answer, instead of filling a store.
    """

    def __init__(
        self,
        service: str,
        platform: Platform,
        journal: Journal,
        options: WorkerOptions,
    ) -> None:
        self._service = service
        self._platform = platform
        self._journal = journal
        self._count_max = options.letters_max
        self._gave_up = options.gave_up
        self._unseen = 0
        self._due = asyncio.Event()
        self._tidied = asyncio.Event()
        self._tidied.set()
        self.dead = 0
        self.quarantined = 0

    def buried(self, letter: DeadLetter, error: Exception) -> None:
        """Take note of a letter that the next commit stores, and of what made it one."""
        if letter.evidence is None:
            self.dead += 1
        else:
            self.quarantined += 1
        self._unseen -= 1
        self._journal.set_aside(scope_of(letter.handler, letter.record))
        if self._gave_up is not None:
            try:
                self._gave_up(letter, error)
            except Exception:
                # The letter is kept all the same: its key must not wait for who wanted to be told.
                LOGGER.exception("Who is to be told of letters of service %r failed.", self._service)

    def note_commit(self) -> None:
        """Note that the letters so far are stored; now and then, look whether there are too many."""
        if self._unseen < 0:
            self._unseen = self._count_max // SHARE  # to look costs reading them
            self._tidied.clear()
            self._due.set()

    async def tidied(self) -> None:
        """Return when there is room for more."""
        await self._tidied.wait()

    async def run(self) -> None:
        """Make room whenever there are too many, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                for namespace in (NAMESPACE, QUARANTINE):
                    await patiently(self._platform.clock, partial(self._tidy, namespace))
            except ConflictError:
                # Somebody else moves letters right now, or died while doing so.
                self._due.set()
            self._tidied.set()
            if self._due.is_set():
                await self._platform.clock.sleep(AGAIN_SECONDS)

    async def _tidy(self, namespace: str) -> None:
        kept = await dead_letters(self._platform.state, self._service, count_max=ALL, namespace=namespace)
        await archive(self._platform, surplus(kept, self._count_max))


def surplus(letters: Sequence[DeadLetter], count_max: int) -> list[DeadLetter]:
    """Return the oldest letters, so many that room is made; none while there are not too many."""
    if len(letters) <= count_max:
        return []
    oldest = sorted(letters, key=lambda letter: (letter.failed_us, letter.id))
    return oldest[: len(letters) - count_max + count_max // SHARE]
