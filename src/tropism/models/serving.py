"""Deciding: features as of the event, one prediction for all who ask at once, and a record of each."""

import asyncio
from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any, Protocol

from tropism.core.envelope import Envelope
from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.core.event import Event
from tropism.models.artifact import Version
from tropism.models.asking import Asked, Decision, Group, acting_of, groups_of, made_of, one_made
from tropism.models.events import DecisionMade, ModelObserved, Served
from tropism.models.foresight import Foresight, are_same
from tropism.models.loading import Loader
from tropism.models.model import Model
from tropism.models.observing import Observer
from tropism.models.rollouts import Rollouts
from tropism.models.rows import rows_of, schema_of
from tropism.runtime.inject import Site, Subject
from tropism.runtime.patience import patiently

AWAY = UnavailableError("Cannot load a version: blobs do not answer. It is tried again every second.")
"""What stands for a version that is being waited for."""


class Decider(Protocol):
    """A model, as a handler is given it."""

    async def __call__(self, event: Any) -> Decision:
        """Decide on the event at hand; neighbours that ask at the same time share one prediction."""
        ...

    async def each(self, events: Sequence[Any]) -> Sequence[Decision]:
        """Decide on events of the batch at hand, each as of its own moment."""
        ...


class _Decide:
    """A model as of the events of one call. Who asks twice about one event is told the same."""

    __slots__ = ("_answers", "_decider", "_places", "_subject")

    def __init__(self, decider: "OpenedDecider", subject: Subject) -> None:
        self._decider = decider
        self._subject = subject
        self._places: dict[int, int] | None = None
        self._answers: dict[int, Decision] = {}

    async def __call__(self, event: Any) -> Decision:
        envelopes = self._subject.envelopes
        if len(envelopes) == 1 and event is envelopes[0].data:
            known = self._answers.get(0) or self._decider.ask_foreseen(self._subject)
            if known is not None:
                self._answers[0] = known
                return known
        return (await self.each((event,)))[0]

    async def each(self, events: Sequence[Any]) -> Sequence[Decision]:
        envelopes = self._subject.envelopes
        if not self._answers and _are_all(events, envelopes):
            decisions = await self._decider.ask(self._subject, range(len(envelopes)))
            self._answers.update(enumerate(decisions))
            return decisions
        if self._places is None:
            self._places = {id(e.data): index for index, e in enumerate(envelopes)}
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
        self._schema = schema_of(model.feature_names)
        self._loader = Loader(site.platform.blobs, observer)
        self._rollouts = Rollouts(model, site)
        self._waiting: list[Asked] = []
        self._flushing: asyncio.Task[None] | None = None
        self._late: dict[Served, list[Asked]] = {}
        self._fetching: set[asyncio.Task[None]] = set()
        self._foresight = Foresight()

    def bind(self, subject: Subject) -> Decider:
        """Return the model as of the events of one call."""
        return _Decide(self, subject)

    def ask(self, subject: Subject, indices: Sequence[int]) -> asyncio.Future[Sequence[Decision]]:
        """Return the decisions to come on some events of a call."""
        loop = asyncio.get_running_loop()
        began = self._site.platform.clock.monotonic()
        envelopes = [subject.envelopes[index] for index in indices]
        as_of_us = [subject.as_of_us[index] for index in indices]
        rows = self._rows(envelopes, as_of_us)
        groups = groups_of(self._rollouts.of_many(envelopes, as_of_us))
        acting: list[tuple[Served | None, str]] = [(None, "none")] * len(rows)
        for group in groups:
            subjects = [envelopes[place].subject for place in group.places]
            found = acting_of(self._model.name, group.rollout, subjects)
            for place, actor in zip(group.places, found, strict=True):
                acting[place] = actor
        asked = Asked(subject, indices, rows, acting, groups, began, loop.create_future())
        self._enqueue((asked,))
        return asked.answer

    def foresee(self, envelopes: Sequence[Envelope[Any]], as_of_us: Sequence[int]) -> None:
        """Find out now what versions say of events that are about to be handled.

        What fails here is left to the handler's own call, which is then told why.
        """
        if not self._foresight.is_worth_it(len(envelopes)):
            return
        kind = self._model.decides_on
        if not all(isinstance(envelope.data, kind) for envelope in envelopes):
            fit = [place for place, envelope in enumerate(envelopes) if isinstance(envelope.data, kind)]
            envelopes, as_of_us = [envelopes[place] for place in fit], [as_of_us[place] for place in fit]
        self._foresee(envelopes, as_of_us, again=True)

    def _foresee(self, envelopes: Sequence[Envelope[Any]], as_of_us: Sequence[int], *, again: bool) -> None:
        if not envelopes:
            return
        try:
            rows = self._rows(envelopes, as_of_us)
            for group in groups_of(self._rollouts.at(as_of_us)):
                if self._is_foreseen(group, rows):
                    self._foresight.keep(envelopes, rows, group)
                elif again:
                    self._foresight.put_off(envelopes, as_of_us, group)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 (features and predictors may raise anything, also in extensions)
            return

    def _is_foreseen(self, group: Group, rows: Sequence[tuple[Any, ...]]) -> bool:
        """Let all versions of a group say something of its rows; say whether they could."""
        some = rows_of(self._model.feature_names, [rows[place] for place in group.places])
        for arm in group.arms:
            version = self._loader.loaded(arm)
            if version is None:
                return False
            group.said[arm] = version.predict(some)
        return True

    def ask_foreseen(self, subject: Subject) -> Decision | None:
        """Return the decision on the event of a call, if what it is to say is known by now."""
        envelope, as_of_us = subject.envelopes[0], subject.as_of_us[0]
        foreseen = self._foresight.take(envelope)
        if foreseen is None:
            return None
        monotonic = self._site.platform.clock.monotonic
        began = monotonic()
        rollout = self._rollouts.of_one(envelope.id, as_of_us)
        if rollout is not foreseen.rollout:
            return None
        # In event time, features as of a moment are what they are; live, views may have moved on.
        (row,) = self._rows((envelope,), (as_of_us,)) if self._site.live else (foreseen.row,)
        if row is not foreseen.row and not are_same(row, foreseen.row):
            return None
        (acting,) = acting_of(self._model.name, rollout, (envelope.subject,))
        latency_us = int((monotonic() - began) * 1e6)
        said, at = foreseen.said, foreseen.at
        made = one_made(self._model, self._schema, envelope, as_of_us, row, acting, said, at, latency_us)
        if not isinstance(made, DecisionMade):
            return None
        subject.enlist((0,), (made,))
        return Decision(made.output, made.act, made.version, made.arm)

    def _rows(self, envelopes: Sequence[Envelope[Any]], as_of_us: Sequence[int]) -> list[tuple[Any, ...]]:
        """Return the features of events, each as of its moment."""
        features = self._model.features
        if not self._model.feature_views:
            return [features(envelope.data) for envelope in envelopes]
        readers_at = self._readers.at
        return [
            features(envelope.data, **readers_at(at_us, envelope.subject))
            for envelope, at_us in zip(envelopes, as_of_us, strict=True)
        ]

    def _enqueue(self, several: Sequence[Asked]) -> None:
        self._waiting.extend(several)
        if self._flushing is None:
            # Its turn comes after all handlers that are ready now have asked.
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

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
            if late := self._foresight.taken_up():
                self._foresee(*zip(*late, strict=True), again=False)
        except Exception as error:  # noqa: BLE001 (whoever asked is told)
            for asked in waiting:
                if not asked.answer.done():
                    asked.answer.set_exception(error)

    async def _found(self, waiting: Sequence[Asked]) -> dict[Served, Version | Exception]:
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

    def _is_late(self, asked: Asked, found: Mapping[Served, Version | Exception]) -> bool:
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

    def _predict(self, ready: Sequence[Asked], found: Mapping[Served, Version | Exception]) -> None:
        """Let every version that is wanted say something of all rows that want it, in one call."""
        wanted: dict[Served, list[tuple[Asked, Group]]] = {}
        for asked in ready:
            for group in asked.groups:
                for arm in group.arms:
                    wanted.setdefault(arm, []).append((asked, group))
        for served, askers in wanted.items():
            version = found[served]
            if isinstance(version, UnavailableError):
                continue  # it is not asked: that blobs are away says nothing of it
            rows = [asked.rows[place] for asked, group in askers for place in group.places]
            outputs, start = self._said(version, rows), 0
            for _, group in askers:
                stop = start + len(group.places)
                group.said[served] = outputs[start:stop]
                start = stop
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

    def _answer(self, asked: Asked) -> None:
        if asked.answer.done():
            return
        latency_us = int((self._site.platform.clock.monotonic() - asked.asked) * 1e6)
        made = made_of(self._model, self._schema, asked, latency_us)
        if isinstance(made, Exception):
            asked.answer.set_exception(made)
            return
        asked.subject.enlist(asked.indices, made)
        asked.answer.set_result([Decision(e.output, e.act, e.version, e.arm) for e in made])

    def commit(
        self, enlisted: Sequence[Event], frontier_us: int | None
    ) -> tuple[Mapping[str, bytes | None], Sequence[tuple[int, Event]]]:
        """Count the decisions being committed into their windows, and publish the windows that ended."""
        made = [event for event in enlisted if isinstance(event, DecisionMade)]
        self._rollouts.forget(made)
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


def _are_all(events: Sequence[Any], envelopes: Sequence[Envelope[Any]]) -> bool:
    """Say whether events are those of a call, one by one and in order."""
    return len(events) == len(envelopes) and all(map(is_, events, [e.data for e in envelopes]))


def _unknown(event: Any) -> InvalidInputError:
    return InvalidInputError(
        f"Cannot decide on {type(event).__name__!r}: it is not the event that the handler was called with. "
        f"Pass that event itself."
    )
