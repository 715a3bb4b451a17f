"""What a handler is told when a window of a view is closed."""

from typing import Any

from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.runtime.view import View
from tropism.runtime.windows import Aligned, Session


class Columns:
    """What a view said of a window: an attribute per column, or by number."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> Any:
        """Return the column of that name."""
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"the view has no column {name!r}") from None

    def __getitem__(self, index: int) -> Any:
        """Return the column of that number."""
        return list(self._values.values())[index]


class Closed(Event, type="tropism.closed.v1", key="key"):
    """A window of a view in which something came, and to which nothing more can come.

    It reaches from ``start_us`` up to, and without, ``end_us``; a session ends its gap after its last event.
    """

    view: str
    key: str
    start_us: int
    end_us: int
    values: dict[str, Any]

    @property
    def row(self) -> Columns:
        """What the view's columns say of the window."""
        return Columns(self.values)


def check_closes(view: View) -> None:
    """Refuse a view whose windows do not close, or not together.

    Raises: InvalidInputError.
    """
    if not isinstance(view.window, Aligned | Session):
        raise InvalidInputError(
            f"Cannot say when windows of view {view.name!r} close: they slide, or there are none. "
            f"Give it window=tumbling(...), sliding(..., every=...) or session(...)."
        )
    apart = next((name for name, a in view.columns.items() if a.span != view.window), None)
    if apart is not None:
        raise InvalidInputError(
            f"Cannot say when windows of view {view.name!r} close: column {apart!r} has one of its own. "
            f"Move it to another view."
        )
