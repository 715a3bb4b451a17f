"""The versions that a worker has loaded, and those that it could not."""

from tropism.core.errors import UnavailableError
from tropism.core.time import minutes, seconds, to_us
from tropism.models.artifact import Version, load_version
from tropism.models.events import Served
from tropism.models.observing import Observer
from tropism.ports.blobs import Blobs

VERSIONS_KEPT = 8
"""How many loaded versions a worker keeps: those of the rollout at hand, and of some before it."""

AWAY_US, BROKEN_US = to_us(seconds(1)), to_us(minutes(10))
"""For how long a version that nobody acts on is not read again: blobs were away, or it cannot be loaded."""


class Loader:
    """Loads versions once. Two of equal bytes are two: each has its own number and reference."""

    def __init__(self, blobs: Blobs, observer: Observer) -> None:
        self._blobs = blobs
        self._observer = observer
        self._versions: dict[Served, Version] = {}
        self._failed: dict[Served, tuple[int, Exception]] = {}

    async def find(self, served: Served, as_of_us: int, *, acts: bool) -> Version | Exception:
        """Return a version, or why it cannot be loaded: an UnavailableError if that may soon pass.

        One that acts is tried each time, for it may have been restored; one that does not, now and then.
        """
        known = self._versions.pop(served, None)
        if known is None:
            failed = self._failed.get(served)
            if failed is not None and not acts and 0 <= as_of_us - failed[0] < _kept_us(failed[1]):
                return failed[1]
            try:
                known = await load_version(self._blobs, served.artifact)
            except Exception as error:  # noqa: BLE001 (bytes may hold anything; whom it acts for is told)
                self._note(served, as_of_us, error)
                return error
            self._failed.pop(served, None)
            self._observer.learn(served.version, known.reference)
        self._versions[served] = known
        if len(self._versions) > VERSIONS_KEPT:
            del self._versions[next(iter(self._versions))]
        return known

    def loaded(self, served: Served) -> Version | None:
        """Return a version if it is at hand."""
        known = self._versions.pop(served, None)
        if known is not None:
            self._versions[served] = known
        return known

    def _note(self, served: Served, as_of_us: int, error: Exception) -> None:
        self._failed[served] = as_of_us, error
        if len(self._failed) > VERSIONS_KEPT:
            del self._failed[next(iter(self._failed))]


def _kept_us(error: Exception) -> int:
    return AWAY_US if isinstance(error, UnavailableError) else BROKEN_US
