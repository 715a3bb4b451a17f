"""Deciding: features as of the event, one prediction for all who ask at once, and a record of each."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.core.event import Event
from tropism.core.partition import partition_of
from tropism.models.artifact import Version
from tropism.models.events import DecisionMade, ModelObserved, Rollout, Served
from tropism.models.loading import Loader
from tropism.models.model import Model
from tropism.models.observing import Observer
from tropism.models.rows import rows_of, schema_of
from tropism.runtime.inject import Site, Subject
from tropism.runtime.patience import patiently

NONE = Rollout()

AWAY = UnavailableError("Cannot load a version: blobs do not answer. It is tried again every second.")
"""What stands for a version that is being waited for."""

JOURNAL_KEPT = 65_536
"""How many undecided events a worker remembers the rollout of."""


class Decision(msgspec.Struct, frozen=True):
    """What a model says about an input: its output, and whether its policy acts on it.

    ``output`` is None while no version is trained; then ``act`` is False.
    """

    output: float | None
    act: bool
    version: int
    arm: str


class Decider(Protocol):
    """A model, as a handler is given it."""

    async def __call__(self, event: Any) -> Decision:
        """Decide on the event at hand; neighbours that ask at the same time share one prediction."""
        ...

    async def each(self, events: Sequence[Any]) -> Sequence[Decision]:
        """Decide on events of the batch at hand, each as of its own moment."""
        ...


class _Asked:
    """Rows of one call to decide on, and where the answers go."""

    __slots__ = ("acting", "answer", "asked", "indices", "rollouts", "rows", "said", "subject")

    def __init__(
        self, subject: Subject, indices: list[int], asked: float, answer: asyncio.Future[list[Decision]]
    ) -> None:
        self.subject = subject
        self.indices = indices
        self.asked = asked
        self.answer = answer
        self.rows: list[tuple[Any, ...]] = []
        self.rollouts: list[Rollout] = []
        self.acting: list[tuple[Served | None, str]] = []
        """A row, the version that acts, and its arm."""
        self.said: list[dict[int, float | Exception]] = []
        """A row, per version that was asked, its output, or why it gave none."""

    def wanted(self) -> dict[Served, bool]:
        """Return the versions that are to say something, and whether one of them acts."""
        arms: dict[Served, bool] = {}
        before: Rollout | None = None
        for rollout, (actor, _) in zip(self.rollouts, self.acting, strict=True):
            if rollout is not before:
                before = rollout
                for arm in (rollout.champion, rollout.challenger, rollout.previous):
                    if arm is not None:
                        arms.setdefault(arm, False)
            if actor is not None:
                arms[actor] = True
        return arms


class _Decide:
    """A model as of the events of one call. Who asks twice about one event is told the same."""

    __slots__ = ("_answers", "_decider", "_places", "_subject")

    def __init__(self, decider: "OpenedDecider", subject: Subject) -> None:
        self._decider = decider
        self._subject = subject
        self._places: dict[int, int] | None = None
        self._answers: dict[int, Decision] = {}

    async def __call__(self, event: Any) -> Decision:
        return (await self.each((event,)))[0]

    async def each(self, events: Sequence[Any]) -> Sequence[Decision]:
        if self._places is None:
            self._places = {id(e.data): index for index, e in enumerate(self._subject.envelopes)}
        indices = [self._index(event) for event in events]
        fresh = [index for index in dict.fromkeys(indices) if index not in self._answers]
        if fresh:
            decisions = await self._decider.ask(self._subject, fresh)
            self._answers.update(zip(fresh, decisions, strict=True))
        return [self._answers[index] for index in indices]

    def _index(self, event: Any) -> int:
        index = (self._places or {}).get(id(event))
        if index is None:
            raise _unknown(event)
        return index


class OpenedDecider:
    """A model at work in one worker."""

    def __init__(self, model: Model, site: Site, observer: Observer) -> None:
        self._model = model
        self._site = site
        self._observer = observer
        self._readers = site.readers(model.feature_views)
        self._packed: Any = None
        self._current = NONE
        self._schema = schema_of(model.feature_names)
        self._loader = Loader(site.platform.blobs, observer)
        self._rollouts: dict[str, Rollout] = {}
        self._journal: dict[str, Rollout] = {}
        self._waiting: list[_Asked] = []
        self._flushing: asyncio.Task[None] | None = None
        self._late: dict[Served, list[_Asked]] = {}
        self._fetching: set[asyncio.Task[None]] = set()

    def bind(self, subject: Subject) -> Decider:
        """Return the model as of the events of one call."""
        return _Decide(self, subject)

    def ask(self, subject: Subject, indices: list[int]) -> asyncio.Future[list[Decision]]:
        """Return the decisions to come on some events of a call."""
        loop = asyncio.get_running_loop()
        asked = _Asked(subject, indices, self._site.platform.clock.monotonic(), loop.create_future())
        features, readers_at = self._model.features, self._readers.at
        for index in indices:
            envelope, as_of_us = subject.envelopes[index], subject.as_of_us[index]
            readers = readers_at(as_of_us, envelope.subject)
            asked.rows.append(features(envelope.data, **readers))
            rollout = self._rollout(envelope.id, as_of_us)
            asked.rollouts.append(rollout)
            asked.acting.append(self._acting(rollout, envelope.subject))
        self._enqueue((asked,))
        return asked.answer

    def _enqueue(self, several: Sequence[_Asked]) -> None:
        self._waiting.extend(several)
        if self._flushing is None:
            # Its turn comes after all handlers that are ready now have asked.
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    def _rollout(self, event_id: str, as_of_us: int) -> Rollout:
        """Return who decides on an event; live, that is who did at its first attempt."""
        if not self._site.live:
            return self._rollout_at(as_of_us)
        known = self._journal.get(event_id)
        if known is None:
            known = self._journal[event_id] = self._rollout_at(as_of_us)
            if len(self._journal) > JOURNAL_KEPT:
                del self._journal[next(iter(self._journal))]
        return known

    def _rollout_at(self, as_of_us: int) -> Rollout:
        packed = self._site.reader(self._model.rollouts, as_of_us, None)(self._model.name).rollout
        if packed is None:
            return NONE
        if packed is self._packed:
            return self._current
        known = self._rollouts.get(key := repr(packed))
        if known is None:
            champion, challenger, previous, share = packed
            known = self._rollouts[key] = Rollout(
                _served(champion), _served(challenger), share, _served(previous)
            )
        self._packed, self._current = packed, known
        return known

    async def _flush(self) -> None:
        there = 0
        while there < len(self._waiting):
            # As long as others join, one more turn: they may be about to be called.
            there = len(self._waiting)
            await asyncio.sleep(0)
        waiting, self._waiting, self._flushing = self._waiting, [], None
        try:
            found = await self._found(waiting)
            if self._late or any(isinstance(each, UnavailableError) for each in found.values()):
                waiting = [asked for asked in waiting if not self._is_late(asked, found)]
            self._predict(waiting, found)
        except Exception as error:  # noqa: BLE001 (whoever asked is told)
            for asked in waiting:
                if not asked.answer.done():
                    asked.answer.set_exception(error)

    async def _found(self, waiting: Sequence[_Asked]) -> dict[Served, Version | Exception]:
        """Return the versions that are wanted, or why they cannot be loaded."""
        wanted: dict[Served, bool] = {}
        for asked in waiting:
            for served, acts in asked.wanted().items():
                wanted[served] = acts or wanted.get(served, False)
        as_of_us = waiting[0].subject.as_of_us[waiting[0].indices[0]]
        return {
            served: AWAY if served in self._late else await self._loader.find(served, as_of_us, acts=acts)
            for served, acts in wanted.items()
        }

    def _is_late(self, asked: _Asked, found: Mapping[Served, Version | Exception]) -> bool:
        """Put a call aside if a version that it must have is away. Say whether it is.

        In event time it must have all: what is on record may not depend on when blobs answer. Live, those
        that do not act go without.
        """
        for served, acts in asked.wanted().items():
            if (self._site.live and not acts) or not isinstance(found[served], UnavailableError):
                continue
            if served not in self._late:
                self._late[served] = []
                task = asyncio.get_running_loop().create_task(self._fetch(served))
                self._fetching.add(task)
                task.add_done_callback(self._fetching.discard)
            self._late[served].append(asked)
            return True
        return False

    async def _fetch(self, served: Served) -> None:
        """Wait until a version can be loaded, or proves broken, and take up the calls that need it."""
        late, clock = self._late[served], self._site.platform.clock

        async def load() -> None:
            if all(asked.answer.done() for asked in late):
                return
            found = await self._loader.find(served, late[0].subject.as_of_us[0], acts=True)
            if isinstance(found, UnavailableError):
                self._site.excuse()
                raise found

        await patiently(clock, load)
        del self._late[served]
        if again := [asked for asked in late if not asked.answer.done()]:
            self._enqueue(again)

    def _predict(self, ready: Sequence[_Asked], found: Mapping[Served, Version | Exception]) -> None:
        """Let every version that is wanted say something of all rows that want it, in one call."""
        wanted: dict[Served, tuple[list[tuple[Any, ...]], list[dict[int, float | Exception]]]] = {}
        for asked in ready:
            for row, rollout in zip(asked.rows, asked.rollouts, strict=True):
                said: dict[int, float | Exception] = {}
                asked.said.append(said)
                for arm in (rollout.champion, rollout.challenger, rollout.previous):
                    if arm is not None:
                        rows, slots = wanted.setdefault(arm, ([], []))
                        rows.append(row)
                        slots.append(said)
        for served, (rows, slots) in wanted.items():
            version = found[served]
            if isinstance(version, UnavailableError):
                continue  # it is not asked: that blobs are away says nothing of it
            for said, output in zip(slots, self._said(version, rows), strict=True):
                said[served.version] = output
        for asked in ready:
            self._answer(asked)

    def _said(
        self, version: Version | Exception, rows: Sequence[tuple[Any, ...]]
    ) -> Sequence[float | Exception]:
        """Return an output a row, or why there is none: a row that fails harms none beside it."""
        if isinstance(version, Exception):
            return [version] * len(rows)
        try:
            return version.predict(rows_of(self._model.feature_names, rows))
        except Exception as error:  # noqa: BLE001 (a predictor may raise anything; whom it acts for is told)
            if len(rows) == 1:
                return [error]
        middle = len(rows) // 2
        return [*self._said(version, rows[:middle]), *self._said(version, rows[middle:])]

    def _acting(self, rollout: Rollout, subject: str) -> tuple[Served | None, str]:
        if rollout.challenger is not None and rollout.canary_share > 0:
            # By its number, not by its bytes: those may differ between two equal trainings.
            place = partition_of(f"{self._model.name}@{rollout.challenger.version}/{subject}", 10_000)
            if place < rollout.canary_share * 10_000:
                return rollout.challenger, "canary"
        return rollout.champion, "champion" if rollout.champion is not None else "none"

    def _answer(self, asked: _Asked) -> None:
        if asked.answer.done():
            return
        latency_us = int((self._site.platform.clock.monotonic() - asked.asked) * 1e6)
        decisions: list[Decision] = []
        made: list[DecisionMade] = []
        for place in range(len(asked.indices)):
            event = self._made(asked, place, latency_us)
            if isinstance(event, Exception):
                asked.answer.set_exception(event)
                return
            made.append(event)
            decisions.append(Decision(event.output, event.act, event.version, event.arm))
        for index, event in zip(asked.indices, made, strict=True):
            asked.subject.enlist(index, event)
        asked.answer.set_result(decisions)

    def _made(self, asked: _Asked, place: int, latency_us: int) -> DecisionMade | Exception:
        index, model = asked.indices[place], self._model
        envelope, (acting, arm) = asked.subject.envelopes[index], asked.acting[place]
        number = 0 if acting is None else acting.version
        output: float | None = None
        others: dict[str, float | None] = {}
        for version, each in asked.said[place].items():
            checked = _checked(model.name, version, each, asked.rollouts[place])
            if version != number:
                others[str(version)] = None if isinstance(checked, Exception) else checked
            elif isinstance(checked, Exception):
                return checked
            else:
                output = checked
        return DecisionMade(
            model=model.name,
            subject=envelope.subject,
            input_id=envelope.id,
            decided_us=asked.subject.as_of_us[index],
            version=number,
            arm=arm,
            output=output,
            act=output is not None and output >= model.policy.act_at,
            schema=self._schema,
            features=list(asked.rows[place]),
            others=others,
            latency_us=latency_us,
        )

    def commit(
        self, enlisted: Sequence[Event], frontier_us: int | None
    ) -> tuple[Mapping[str, bytes | None], Sequence[tuple[int, Event]]]:
        """Count the decisions being committed into their windows, and publish the windows that ended."""
        made = [event for event in enlisted if isinstance(event, DecisionMade)]
        for decision in made:
            self._journal.pop(decision.input_id, None)
        now_us = self._site.platform.clock.now_us() if frontier_us is None else frontier_us
        windows: list[ModelObserved] = self._observer.observe(made, now_us)
        if not made and not windows:
            return {}, ()
        return {"observer": self._observer.pack()}, [(window.end_us, window) for window in windows]


async def open_decider(model: Model, site: Site) -> OpenedDecider:
    """Return a model at work, with what it had observed before a restart."""
    observer = Observer(model.name, site.service, model.feature_names, model.policy.window)
    stored: bytes | None = await site.stored("observer")
    if stored is not None:
        observer.unpack(stored)
    return OpenedDecider(model, site, observer)


def _served(packed: list[Any] | None) -> Served | None:
    return None if packed is None else Served(packed[0], packed[1])


def _checked(model: str, version: int, said: float | Exception, rollout: Rollout) -> float | Exception:
    if isinstance(said, Exception) or (math.isfinite(said) and 0.0 <= said <= 1.0):
        return said
    return InvalidInputError(
        f"Cannot decide with {model}@{version}: its output is {said!r}, which is no probability. "
        + _remedy(model, version, rollout)
    )


def _remedy(model: str, version: int, rollout: Rollout) -> str:
    """Return which order lets another version decide."""
    if rollout.champion is None or rollout.champion.version != version:
        return f"End its canary with 'tropism models rollback {model}'."
    if rollout.canary_share == 0 and rollout.previous is not None:
        return f"Roll it back with 'tropism models rollback {model}'."
    return f"Let another one decide with 'tropism models promote {model}@N'."


def _unknown(event: Any) -> InvalidInputError:
    return InvalidInputError(
        f"Cannot decide on {type(event).__name__!r}: it is not the event that the handler was called with. "
        f"Pass that event itself."
    )
