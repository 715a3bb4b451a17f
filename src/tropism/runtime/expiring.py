"""States that outlive their time."""

from datetime import timedelta

from tropism.core.time import to_us
from tropism.ports.state import Entry, State
from tropism.runtime.call import namespace_of
from tropism.runtime.commit import Committer
from tropism.runtime.shares import ALL_KEYS, Share
from tropism.runtime.values import Values
from tropism.runtime.watermarks import FOREVER_US

LOOK_SECONDS_MAX = 60.0


class Expiring:
    """What has expired of a service's states, each with how long it lives."""

    def __init__(
        self,
        service: str,
        ttls: dict[str, timedelta],
        *,
        state: State,
        values: Values,
        committer: Committer,
        share: Share = ALL_KEYS,
    ) -> None:
        self._namespaces = {name: namespace_of(service, name) for name in ttls}
        self._state = state
        self._values = values
        self._committer = committer
        self._share = share
        self._shortest = min(ttls.values(), default=None)

    @property
    def bound_us(self) -> int:
        """Up to when all that expires is in the store: it was written at least one life before."""
        if self._shortest is None:
            return FOREVER_US
        return self._committer.committed_us + to_us(self._shortest)

    @property
    def look_seconds(self) -> float:
        """How often to look, live: what expires is noticed a hundredth of its life late at most."""
        if self._shortest is None:
            return LOOK_SECONDS_MAX
        return min(LOOK_SECONDS_MAX, max(1.0, self._shortest.total_seconds() / 100))

    async def due(self, until_us: int) -> list[tuple[str, Entry]]:
        """Return what has expired by a moment, with the name of its state.

        What is written just now, or expires in an item in flight, is left out.
        """
        found: list[tuple[str, Entry]] = []
        for name, namespace in self._namespaces.items():
            # Before the scan and after it: what it saw may have been committed meanwhile.
            before = self._committer.expiring
            entries = await self._state.scan(namespace, expires_before_us=until_us + 1, count_max=1_000_000)
            found.extend(
                (name, e)
                for e in entries
                if self._share.owns_key(e.key)
                and (namespace, e.key) not in before
                and not self._is_handled(namespace, e.key)
            )
        return found

    def _is_handled(self, namespace: str, key: str) -> bool:
        return self._values.is_pending(namespace, key) or self._committer.expires(namespace, key)
