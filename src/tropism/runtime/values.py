"""The state of one worker, as its handlers see it."""

from collections.abc import Iterable, Sequence

from tropism.ports.state import State, Write

Place = tuple[str, str]
"""A namespace and a key."""


class Values:
    """What is stored, with what is about to be: a handler reads what the one before it in its lane wrote.

    Only the holder of the lease writes these namespaces, so what was read once stays true.
    """

    def __init__(self, state: State, *, count_max: int = 200_000) -> None:
        self._state = state
        self._count_max = count_max
        self._known: dict[Place, bytes | None] = {}
        self._expiries: dict[Place, int | None] = {}
        self._uncommitted: dict[Place, int] = {}
        self._forgotten = 0

    async def load(self, namespace: str, keys: Iterable[str]) -> None:
        """Make keys readable."""
        wanted = list(dict.fromkeys(keys))
        while missing := [key for key in wanted if (namespace, key) not in self._known]:
            before = self._forgotten
            found = await self._state.get(namespace, missing)
            if before != self._forgotten:
                # Something newer may have been committed and forgotten meanwhile: read it again.
                continue
            for key, value in zip(missing, found, strict=True):
                self._known.setdefault((namespace, key), value)

    async def read(self, namespace: str, keys: Sequence[str]) -> dict[str, bytes | None]:
        """Return the values of keys as they are now, written or about to be."""
        known = self._known
        if any((namespace, key) not in known for key in keys):
            await self.load(namespace, keys)
        return {key: self._known[namespace, key] for key in keys}

    async def value(self, namespace: str, key: str) -> bytes | None:
        """Return the value of a key as it is now, written or about to be."""
        while (place := (namespace, key)) not in self._known:
            await self.load(namespace, (key,))
        return self._known[place]

    async def expires_at(self, namespace: str, key: str, when_us: int) -> bool:
        """Say whether a value, as it is now, expires at a moment: nobody renewed or deleted it."""
        place = (namespace, key)
        if place in self._expiries:
            return self._expiries[place] == when_us
        page = await self._state.scan(namespace, prefix=key, count_max=1)
        if place in self._expiries:
            return self._expiries[place] == when_us
        return bool(page) and page[0].key == key and page[0].expires_us == when_us

    def is_pending(self, namespace: str, key: str) -> bool:
        """Say whether a write of this key is not yet committed."""
        return (namespace, key) in self._uncommitted

    def apply(self, writes: Sequence[Write]) -> None:
        """Make writes visible to the handlers that follow."""
        for write in writes:
            place = (write.namespace, write.key)
            self._known[place] = write.value
            self._expiries[place] = None if write.value is None else write.expires_us
            self._uncommitted[place] = self._uncommitted.get(place, 0) + 1

    def committed(self, writes: Sequence[Write]) -> None:
        """Note that writes are durable, and forget values if there are too many."""
        for write in writes:
            place = (write.namespace, write.key)
            left = self._uncommitted[place] - 1
            if left:
                self._uncommitted[place] = left
            else:
                del self._uncommitted[place]
        if len(self._known) > self._count_max:
            self._known = {p: v for p, v in self._known.items() if p in self._uncommitted}
            self._expiries = {p: v for p, v in self._expiries.items() if p in self._uncommitted}
            self._forgotten += 1
