"""Windows that close, as items for the handlers that are told of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tropism.core.envelope import Envelope
from tropism.runtime.closed import Closed
from tropism.runtime.closing import Closer, Closing
from tropism.runtime.cursor import Cursor
from tropism.runtime.handler import Handler
from tropism.runtime.intake import BEGINNING_US
from tropism.runtime.shares import Share
from tropism.runtime.view import View
from tropism.runtime.windowed import Windowed
from tropism.runtime.work import Delivery, Item

Due = tuple[int, int, str, int, tuple[Item, tuple[Delivery, ...]]]
"""When a window closes, what orders it among all that is due then, and its item."""


class Closings:
    """All handlers of one worker that are told of windows that close."""

    def __init__(
        self,
        service: str,
        handlers: Sequence[Handler],
        tables: Mapping[View, object],
        cursor: Cursor,
        share: Share,
        since_us: int | None,
        now_us: Callable[[], int] | None,
    ) -> None:
        self._service = service
        self._now_us = now_us
        self._closers: list[Closer] = []
        for handler in handlers:
            table = tables[handler.closes] if handler.closes is not None else None
            if isinstance(table, Windowed):
                # A handler that is new here owes nothing for the time before it came.
                begin_us = BEGINNING_US if since_us is None or not cursor.places else since_us
                shut = cursor.closed.setdefault(handler.name, [])
                since = BEGINNING_US if shut else begin_us
                self._closers.append(Closer(handler, table, share, shut, since))

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return bool(self._closers)

    def due(self, until_us: int) -> list[Due]:
        """Return the items of windows that close up to a moment, before all else of their moments."""
        return [self._due(closer, each) for closer in self._closers for each in closer.due(until_us)]

    def _due(self, closer: Closer, closing: Closing) -> Due:
        handler, close_us = closer.handler, closing.close_us
        id = f"closed/{handler.name}/{closing.name}"
        envelope = Envelope(
            id, self._service, Closed.event_type, closing.key, close_us, closer.event(closing)
        )
        item = Item(envelope, close_us, close_us if self._now_us is None else self._now_us())
        item.committed = partial(closer.finish, closing.name)
        return close_us, 0, f"\0{id}", 0, (item, (Delivery(item, handler, closing.key),))

    def next_us(self) -> int | None:
        """Return when the next window may close, None if none waits."""
        return min((us for closer in self._closers if (us := closer.next_us) is not None), default=None)
