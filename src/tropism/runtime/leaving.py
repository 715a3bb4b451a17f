"""Events that this code does not know, and other code of the service does: left for that one.

They stay unfinished in the cursor, and so do those of their keys that come after them: whoever takes the
service over finds them in order.
"""

import logging
from collections.abc import Callable, Sequence

from tropism.core.errors import InvalidInputError
from tropism.ports.platform import Platform
from tropism.runtime.dead import DeadLetter, write_of
from tropism.runtime.declared import declarations, types_known
from tropism.runtime.work import Delivery, Item

LEFT_MAX = 1000
"""How many events one worker leaves; the cursor lists each of them."""

LOGGER = logging.getLogger("tropism")

Admitted = tuple[Item, tuple[Delivery, ...]]


class Leaving:
    """Decides what becomes of events of unknown types: left where other code knows them, else given up."""

    def __init__(
        self, service: str, platform: Platform, refuse: Callable[[DeadLetter, Exception], None]
    ) -> None:
        self._service = service
        self._platform = platform
        self._refuse = refuse
        self._keys: set[str] = set()
        self._left = 0
        self._known: frozenset[str] = frozenset()
        self._unknown: dict[int, tuple[Item, DeadLetter]] = {}

    @property
    def is_needed(self) -> bool:
        """Whether anything of what was let in may have to be left."""
        return bool(self._unknown or self._keys)

    def add(self, item: Item, letter: DeadLetter) -> None:
        """Take note of an item of an unknown type, and the dead letter that it may become."""
        self._unknown[id(item)] = (item, letter)

    async def sort_out(self, admitted: Sequence[Admitted]) -> Sequence[Admitted]:
        """Return what is to be handled now; the letters of unknown types that nobody knows are in it."""
        if not self.is_needed:
            return admitted
        unknown, self._unknown = self._unknown, {}
        if any(letter.record.type not in self._known for _, letter in unknown.values()):
            # Who declared itself since, is there now.
            known = await declarations(self._platform.state, self._service)
            self._known = types_known(known.values(), self._platform.clock.now_us())
        return [each for each in admitted if not self._is_left(each[0], unknown)]

    def _is_left(self, item: Item, unknown: dict[int, tuple[Item, DeadLetter]]) -> bool:
        _, letter = unknown.get(id(item), (item, None))
        key = item.envelope.subject
        follows = item.stream is not None and key in self._keys
        wanted = letter is not None and letter.record.type in self._known
        if (wanted or follows) and self._left < LEFT_MAX:
            self._leave(key)
            return True
        if letter is not None:
            item.writes.append(write_of(letter))
            self._refuse(letter, InvalidInputError(letter.cause))
        return False

    def _leave(self, key: str) -> None:
        if key:
            self._keys.add(key)
        self._left += 1
        if self._left in {1, LEFT_MAX}:
            LOGGER.warning(
                "Service %r leaves events for newer code of it, which knows their types: %d until now, of %d "
                "at most. Later ones become dead letters. Finish the upgrade, or stop the newer code.",
                self._service,
                self._left,
                LEFT_MAX,
            )
