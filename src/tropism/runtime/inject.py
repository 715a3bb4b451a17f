"""What a handler's signature asks for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import msgspec

from tropism.core.envelope import Envelope
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.ports.platform import Platform
from tropism.ports.state import Write
from tropism.runtime.gates import Gates
from tropism.runtime.journal import Journal
from tropism.runtime.pace import Provider
from tropism.runtime.rests import Rest
from tropism.runtime.view import Reader, View

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Use:
    """A parameter's default that names what to inject there."""

    source: Any
    ttl: timedelta | None = None


def use(source: "View | Resource | str", *, ttl: timedelta | None = None) -> Any:
    """Inject a view, a model, or the state of that name: the default of a handler's parameter.

    ``ttl`` is how long, in event time, a stored state lives after it was last set.
    """
    return Use(source, ttl)


class State(Generic[T]):
    """A value kept under the key of the event at hand, written when the handler succeeds.

    A handler of batches names the key; it may touch only keys of its own batch.
    """

    def __init__(self, values: Mapping[str, bytes | None], kind: Any, key: str | None = None) -> None:
        self._values = values
        self._kind = kind
        self._key = key
        self.pending: dict[str, bytes | None] = {}

    def get(self, key: str | None = None) -> T | None:
        """Return the value, or None where there is none."""
        name = self._name(key)
        data = self.pending[name] if name in self.pending else self._values[name]
        return None if data is None else msgspec.msgpack.decode(data, type=self._kind)

    def set(self, value: T, key: str | None = None) -> None:
        """Store a value."""
        self.pending[self._name(key)] = msgspec.msgpack.encode(value)

    def delete(self, key: str | None = None) -> None:
        """Remove the value."""
        self.pending[self._name(key)] = None

    def _name(self, key: str | None) -> str:
        name = key if key is not None else self._key
        if name is None:
            raise InvalidInputError(
                "Cannot reach state in a handler of batches: no key was named. Pass the event's key."
            )
        if name not in self._values:
            raise InvalidInputError(
                f"Cannot reach state under key {name!r}: no event of this call has that key. "
                f"Re-key the handler with on(..., by=...), or read a View."
            )
        return name


class Subject(msgspec.Struct, frozen=True, eq=False):
    """What a resource is told about the call it is injected into: one event, or those of a batch."""

    envelopes: Sequence[Envelope[Any]]
    as_of_us: Sequence[int]
    enlist: Callable[[Sequence[int], Sequence[Event]], None]
    """Adds events of one type to the commits of the n-th envelopes: one each."""
    handler: str
    provider: Provider | None
    """What the handler calls: it has its turn there while it runs."""
    at_end: Callable[[Callable[[], Sequence[Write]]], None]
    """Has something asked, when the handler has succeeded, for what its commit is to write."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a resource may use where it is opened: one site a worker."""

    service: str
    live: bool
    platform: Platform
    reader: Callable[[View, int, str | None], Reader]
    readers: "Callable[[Mapping[str, View]], Readers]"
    stored: Callable[[str], Any]
    """Reads, awaited, a value that the resource had committed under a name."""
    excuse: Callable[[], None]
    """Says that a store does not answer: the time that calls at hand may take begins anew."""
    journal: Journal
    gates: Gates
    rest: Callable[[], Rest]
    """Asked while a call begins, gives the context in which its time stands still."""


class Readers(Protocol):
    """Several views that are read together, again and again."""

    def at(self, as_of_us: int, exclude: str | None) -> Mapping[str, Reader]:
        """Return them as of a moment, without one subject; the next call moves them on."""
        ...


class Opened(Protocol):
    """A resource at work in one worker."""

    def bind(self, subject: Subject) -> Any:
        """Return what the handler receives for one call."""
        ...

    def commit(
        self, enlisted: Sequence[Event], frontier_us: int | None
    ) -> tuple[Mapping[str, bytes | None], Sequence[tuple[int, Event]]]:
        """Take note of events being committed; return values to store and timed events to add.

        ``frontier_us`` is the event time up to which everything is in this commit or an earlier one.
        """
        ...


@runtime_checkable
class Closing(Protocol):
    """A resource that holds something which is to be given back when its worker ends."""

    async def close(self) -> None:
        """Give it back."""
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """A resource that gets ready for events which handlers are about to ask it about."""

    def foresee(self, envelopes: Sequence[Envelope[Any]], as_of_us: Sequence[int]) -> None:
        """Get ready for events, each as of its moment. Whatever fails shows when a handler asks."""
        ...


async def close_all(opened: Iterable[Opened]) -> None:
    """Have resources give back what they hold, those that hold anything."""
    for each in opened:
        if isinstance(each, Closing):
            await each.close()


class Resource(Protocol):
    """Something a handler may be given: it reads views, and may add events to its handler's commit."""

    @property
    def name(self) -> str:
        """Name, unique in the app."""
        ...

    @property
    def views(self) -> tuple[View, ...]:
        """Views it reads."""
        ...

    @property
    def emits(self) -> tuple[type[Event], ...]:
        """Types of the events it adds."""
        ...

    async def open(self, site: Site) -> Opened:
        """Start work in one worker."""
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """An event that a handler returns, with more said about it than the event alone.

    ``by`` is the event of a batch that caused it; without it, all of them did, and the last one gives its
    id and time. ``subject`` is its key, if not that of its type.
    """

    event: Any
    by: Envelope[Any] | None = None
    subject: str | None = None
