"""Events as columns."""

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from tropism.core.envelope import Envelope
from tropism.core.errors import NotSupportedError
from tropism.core.forms import field_names

E_co = TypeVar("E_co", covariant=True)


class Frame(Protocol):
    """A data frame, as far as Tropism knows one."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns."""
        ...


class Batch(Generic[E_co]):
    """Events of one kind as columns: a list a field, all of one length, in order of arrival."""

    def __init__(self, envelopes: Sequence[Envelope[E_co]]) -> None:
        self.envelopes = envelopes

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self.envelopes)

    def column(self, name: str) -> list[Any]:
        """Return the values of one field. Raises: AttributeError if an event lacks it."""
        return [getattr(envelope.data, name) for envelope in self.envelopes]

    @property
    def columns(self) -> dict[str, list[Any]]:
        """Return every field of the first event's type; empty where there are no events."""
        if not self.envelopes:
            return {}
        return {name: self.column(name) for name in field_names(type(self.envelopes[0].data))}

    @property
    def keys(self) -> list[str]:
        """Return the key of each event."""
        return [envelope.subject for envelope in self.envelopes]

    @property
    def times_us(self) -> list[int]:
        """Return the time of each event, microseconds since 1970."""
        return [envelope.time_us for envelope in self.envelopes]

    def to_frame(self) -> Frame:
        """Return the columns as a Polars data frame. Raises: NotSupportedError without Polars."""
        try:
            import polars as pl  # noqa: PLC0415 (an extra, wanted only here)
        except ImportError as error:
            raise NotSupportedError(
                "Cannot make a data frame: Polars is not installed. Run pip install 'tropism[columns]'."
            ) from error
        frame: Frame = pl.DataFrame(self.columns)
        return frame
