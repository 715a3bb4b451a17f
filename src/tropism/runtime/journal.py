"""What the steps of unfinished calls gave, kept so that no step is repeated."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

import msgspec

from tropism.core.envelope import Envelope, Record
from tropism.core.event import topic_of
from tropism.ports.state import State, Write

PAGE = 1000


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a step gave: its encoded result, None where that could not be encoded.

    ``arguments`` is a digest of what it was called with.
    """

    arguments: bytes
    result: bytes | None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Kept)


class Journal:
    """The steps of one worker's unfinished calls, by ``scope``: a handler and the event it handles.

    What is added becomes durable with the worker's next commit, under its fence: whatever steps ended while
    the commit before ran share it. What a call had added is deleted by the commit that finishes it. A dead
    letter keeps its steps, for it may be redriven.
    """

    def __init__(self, service: str, state: State) -> None:
        self._namespace = namespace_of(service)
        self._state = state
        self._open: dict[str, dict[str, Kept]] = {}
        self._stored: set[str] = set()
        self._added: dict[str, Write] = {}
        self._committing: dict[str, Write] = {}
        # Who waits for the next commit, and for the one under way.
        self._turns: list[asyncio.Future[None]] = []
        self._turns_committing: list[asyncio.Future[None]] = []
        self._running: dict[str, list[asyncio.Future[None]] | None] = {}

    def attach(self, touch: Callable[[], object]) -> None:
        """Say how to ask for a commit: before the first step is added."""
        self._touch = touch

    async def load(self) -> None:
        """Learn of which calls the lease's holder before has kept steps."""
        after: str | None = None
        while page := await self._state.scan(self._namespace, after=after, count_max=PAGE):
            self._stored.update(entry.key.rpartition("/")[0] for entry in page)
            after = page[-1].key

    def recalls(self, scope: str) -> bool:
        """Say whether something was kept of a call before that must be recalled."""
        return scope in self._stored

    async def recall(self, scope: str) -> None:
        """Make readable what was kept of a call before."""
        if scope in self._stored:
            found = await rows_of(self._state, self._namespace, scope)
            kept = {key.rpartition("/")[2]: _DECODER.decode(value) for key, value in found.items()}
            self._stored.discard(scope)
            self._open[scope] = kept | self._open.get(scope, {})

    def find(self, scope: str, step: str) -> Kept | None:
        """Return what a step of a call gave, durable or about to be."""
        return self._open.get(scope, {}).get(step)

    def add(self, scope: str, step: str, kept: Kept) -> None:
        """Keep what a step gave, from the next commit on."""
        key = f"{scope}/{step}"
        opened = self._open.get(scope)
        if opened is None:
            opened = self._open[scope] = {}
        opened[step] = kept
        if not self._added:
            self._touch()
        self._added[key] = Write(self._namespace, key, _ENCODER.encode(kept))

    def uncommitted(self, scope: str, step: str) -> asyncio.Future[None] | None:
        """Return what is done when a step that was added is durable; None where it is.

        To cancel it harms nobody else.
        """
        key = f"{scope}/{step}"
        if key in self._added:
            return _turn(self._turns)
        return _turn(self._turns_committing) if key in self._committing else None

    def begun(self, scope: str, step: str) -> asyncio.Future[None] | None:
        """Begin a step; or return what is done when the call of it that an earlier attempt left has ended."""
        key = f"{scope}/{step}"
        if key not in self._running:
            self._running[key] = None
            return None
        waiting = self._running[key]
        if waiting is None:
            waiting = self._running[key] = []
        return _turn(waiting)

    def end(self, scope: str, step: str) -> None:
        """Let others begin a step."""
        waiting = self._running.pop(f"{scope}/{step}")
        if waiting is not None:
            _wake(waiting)

    def finish(self, scope: str) -> list[Write]:
        """Return what deletes the steps of a call, for the commit that finishes it."""
        writes = []
        for step in self._open.pop(scope, ()):
            key = f"{scope}/{step}"
            # What nobody waited for may not have been taken by a commit yet: it never is, then.
            if self._added.pop(key, None) is None:
                writes.append(Write(self._namespace, key, None))
        return writes

    def set_aside(self, scope: str) -> None:
        """Note that a call was given up: its steps stay in the store, for when its event is redriven."""
        if self._open.pop(scope, None):
            self._stored.add(scope)

    def writes(self) -> list[Write]:
        """Return what the next commit adds."""
        if not self._added and not self._turns:
            return []
        self._committing, self._added = self._added, {}
        self._turns_committing, self._turns = self._turns, []
        return list(self._committing.values())

    def note_commit(self) -> None:
        """Note that what the last commit added is durable."""
        if self._turns_committing or self._committing:
            done, self._turns_committing, self._committing = self._turns_committing, [], {}
            _wake(done)


def _turn(waiting: list[asyncio.Future[None]]) -> asyncio.Future[None]:
    """Return one's turn: a future each, so that to be cancelled concerns nobody else."""
    turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting.append(turn)
    return turn


def _wake(waiting: Iterable[asyncio.Future[None]]) -> None:
    for turn in waiting:
        if not turn.done():
            turn.set_result(None)


def namespace_of(service: str) -> str:
    """Return where a service keeps the steps of unfinished calls."""
    return f"{service}/steps"


def scope_of(handler: str, event: Envelope[object] | Record) -> str:
    """Return what names the steps of a handler's call: redriven, an event finds those of its first life."""
    first = (event.extensions or {}).get("redriveof", event.id)
    return f"{handler}/{topic_of(event.type)}/{first}"


async def rows_of(state: State, namespace: str, scope: str) -> Mapping[str, bytes]:
    """Return what is stored of a call's steps, by key."""
    found: dict[str, bytes] = {}
    prefix, after = f"{scope}/", None
    while page := await state.scan(namespace, prefix=prefix, after=after, count_max=PAGE):
        # An id may go on with a slash, a step's name may not.
        found.update({e.key: e.value for e in page if "/" not in e.key[len(prefix) :]})
        after = page[-1].key
    return found


async def forget_steps(state: State, service: str, scope: str) -> list[Write]:
    """Return what deletes all that is stored of a call's steps."""
    namespace = namespace_of(service)
    return [Write(namespace, key, None) for key in await rows_of(state, namespace, scope)]
