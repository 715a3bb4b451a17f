"""What the code of a service says of itself: declared in its state, so that other code of it can know.

While a service is upgraded, processes of old and new code are at work. Each declares, when it starts, which
types of events it knows and which types its states have.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import blake2b

import msgspec

from tropism.core.codec import Codec, describe
from tropism.core.errors import ConflictError, InvalidInputError
from tropism.core.time import MICROSECONDS
from tropism.ports.clock import Clock
from tropism.ports.platform import Platform
from tropism.ports.state import Commit, Position, State, Write
from tropism.runtime.call import namespace_of
from tropism.runtime.entries import Entries
from tropism.runtime.service import Service
from tropism.runtime.shares import plan_of
from tropism.runtime.tables import view_namespace
from tropism.runtime.view import View

CURRENT_SECONDS = 86_400.0
"""How long after its last start code counts as being rolled out, or back."""

KEPT_MAX = 16
"""How many declarations of a service are kept: the newest."""

_SAMPLE = 100
_LEASE_SECONDS = 2.0
_TURN_SECONDS = 0.05


class Declaration(msgspec.Struct, frozen=True):
    """The types of events that code knows; and its states and views, as they are written."""

    types: list[str]
    states: dict[str, str]
    last_us: int = 0
    views: dict[str, str] = {}

    @property
    def id(self) -> str:
        """What tells it from others: the same code gives the same."""
        told = msgspec.json.encode((self.types, self.states, self.views), order="sorted")
        return blake2b(told, digest_size=8).hexdigest()


def namespace(service: str) -> str:
    """Return where a service's declarations are kept."""
    return f"{service}/code"


def declaration_of(service: Service, codec: Codec, now_us: int) -> Declaration:
    """Return what code of a service says of itself."""
    states = {name: _written(kind) for name, kind in _states_of(service).items()}
    views = {view.name: _kept(view) for view in service.views}
    return Declaration(sorted(codec.types), states, now_us, views)


async def declare(platform: Platform, service: Service, codec: Codec, *, holder: str) -> None:
    """Check that this code can read what the service has stored, and make it known.

    Raises: InvalidInputError if a state holds values that are none of its type now, or a view is stored as
    it was declared before.
    """
    state, clock = platform.state, platform.clock
    mine = declaration_of(service, codec, clock.now_us())
    known = await declarations(state, service.name)
    await _check_states(state, service, known)
    await _check_views(state, service, known)
    before = known.get(mine.id)
    if before is not None and mine.last_us - before.last_us < CURRENT_SECONDS * MICROSECONDS / 2:
        return
    writes = [Write(namespace(service.name), mine.id, msgspec.msgpack.encode(mine))]
    others = sorted((d.last_us, id) for id, d in known.items() if id != mine.id)
    writes += [Write(namespace(service.name), id, None) for _, id in others[: -KEPT_MAX + 1]]
    await _commit(state, clock, f"{service.name}#code", holder, writes)


async def declarations(state: State, service: str) -> dict[str, Declaration]:
    """Return what is declared of a service, by id."""
    page = await state.scan(namespace(service), count_max=10 * KEPT_MAX)
    return {entry.key: msgspec.msgpack.decode(entry.value, type=Declaration) for entry in page}


def types_known(known: Iterable[Declaration], now_us: int) -> frozenset[str]:
    """Return the types that any code knows which started not long ago."""
    since_us = now_us - int(CURRENT_SECONDS * MICROSECONDS)
    return frozenset(kind for each in known if each.last_us >= since_us for kind in each.types)


async def _commit(state: State, clock: Clock, consumer: str, holder: str, writes: list[Write]) -> None:
    until = clock.monotonic() + 2 * _LEASE_SECONDS
    # Others of the same code may declare it at this moment. Who never gets its turn works all the same.
    while clock.monotonic() < until:
        with suppress(ConflictError):
            lease, _ = await state.acquire(consumer, holder, lease_seconds=_LEASE_SECONDS)
            await state.commit(Commit(lease, Position(), writes))
            await state.release(lease)
            return
        await clock.sleep(_TURN_SECONDS)


async def _check_states(state: State, service: Service, known: Mapping[str, Declaration]) -> None:
    """Refuse states whose type has changed so that what is stored does not fit. Raises: InvalidInputError."""
    for name, kind in _states_of(service).items():
        if known and all(each.states.get(name) in {None, _written(kind)} for each in known.values()):
            continue
        for entry in await state.scan(namespace_of(service.name, name), count_max=_SAMPLE):
            try:
                msgspec.msgpack.decode(entry.value, type=kind)
            except msgspec.MsgspecError as error:
                raise InvalidInputError(
                    f"Cannot start service {service.name!r}: its state {name!r} is {_written(kind)} here, "
                    f"and a stored value is not: {describe(error)}. Name the new state otherwise, or let its "
                    f"type take both."
                ) from error


async def _check_views(state: State, service: Service, known: Mapping[str, Declaration]) -> None:
    """Refuse views whose stored rows have other columns than theirs. Raises: InvalidInputError."""
    plan = None
    for view in service.views:
        before = [each for each in known.values() if view.name in each.views]
        told = max(before, key=lambda each: each.last_us).views[view.name] if before else _kept(view)
        if told == _kept(view):
            continue
        plan = plan or await plan_of(state, service.name)
        for share in plan.shares():
            page = await state.scan(view_namespace(share.consumer(service.name), view.name), count_max=1)
            if page and not (told == _kept_once(view) and _holds_entries(view, page[0].value)):
                raise InvalidInputError(
                    f"Cannot start service {service.name!r}: its view {view.name!r} is stored with other "
                    f"columns or windows than it has here. Give it another name: it is then fed from the log."
                )


def _kept(view: View) -> str:
    """Return what decides how a view's rows are stored."""
    columns = [f"{name}={a.kind}({a.span or a.window})" for name, a in view.columns.items()]
    late = "" if view.lateness_us is None else f"; late by {view.lateness_us} us"
    return f"{','.join(kind.event_type for kind in view.on)}: {', '.join(columns)}{late}"


def _kept_once(view: View) -> str:
    """Return the same as it was told before it named windows and lateness: nothing is known of those."""
    columns = [f"{name}={a.kind}({a.window})" for name, a in view.columns.items()]
    return f"{','.join(kind.event_type for kind in view.on)}: {', '.join(columns)}"


def _holds_entries(view: View, row: bytes) -> bool:
    """Say whether a stored row is of a view with windows, and the view is one."""
    try:
        Entries.unpack(row)
    except msgspec.MsgspecError:
        return False
    return not view.is_running


def _states_of(service: Service) -> dict[str, object]:
    return {
        injection.source: injection.kind
        for handler in service.handlers
        for injection in handler.injections
        if isinstance(injection.source, str)
    }


def _written(kind: object) -> str:
    return kind.__qualname__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
