"""Where and when a handler of the loop runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

from tropism.core.event import Event
from tropism.core.time import to_us
from tropism.models.state import Moment
from tropism.runtime.inject import Opened, Site, Subject
from tropism.runtime.view import View

if TYPE_CHECKING:
    from tropism.models.model import Model


class OnSite:
    """A resource that tells a handler where it runs, and at which moment."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.views: tuple[View, ...] = ()
        self.emits: tuple[type[Event], ...] = ()

    async def open(self, site: Site) -> Opened:
        """Start telling."""
        return _Opened(site)


@dataclass(frozen=True, slots=True)
class Here:
    """The site of a handler, and the moment of the event at hand: live that is now."""

    site: Site
    now_us: int

    def effective_us(self, model: "Model") -> int:
        """Return from when an effect holds: in event time after the allowance, live at once."""
        return self.now_us if self.site.live else self.now_us + to_us(model.policy.allowance)

    def moment(self, model: "Model", versions: int) -> Moment:
        """Return the moment of a review, with the seed of the version after so many."""
        seed = crc32(f"{model.seed}/{model.name}/{versions + 1}".encode())
        return Moment(model.name, self.now_us, self.effective_us(model), seed)


class _Opened:
    def __init__(self, site: Site) -> None:
        self._site = site

    def bind(self, subject: Subject) -> Here:
        return Here(self._site, subject.as_of_us[0])

    def commit(
        self, enlisted: Sequence[Event], frontier_us: int | None
    ) -> tuple[Mapping[str, bytes | None], Sequence[tuple[int, Event]]]:
        del enlisted, frontier_us
        return {}, ()
