"""Deciding: features as of the event, one prediction for all who ask at once, and a record of each."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from tropism.core.envelope import Envelope
from tropism.core.errors import CorruptError, InvalidInputError, NotFoundError
from tropism.core.event import Event
from tropism.core.partition import partition_of
from tropism.models.artifact import Version, load_version
from tropism.models.events import DecisionMade, ModelObserved, Rollout, Served
from tropism.models.model import Model
from tropism.models.observing import Observer
from tropism.models.rows import rows_of, schema_of
from tropism.runtime.inject import Site, Subject

NONE = Rollout()

VERSIONS_KEPT = 8
"""How many loaded versions a worker keeps: those of the rollout at hand, and of some before it."""

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

    async def __call__(self, event: Event) -> Decision:
        """Decide on the event at hand; neighbours that ask at the same time share one prediction."""
        ...


@dataclass(slots=True)
class _Request:
    """One row to decide on, and where its answer goes."""

    subject: Subject
    index: int
    row: tuple[Any, ...]
    rollout: Rollout
    asked: float
    answer: asyncio.Future[Decision]
    said: dict[int, float | Exception] = field(default_factory=dict)
    """Per version, its output, or why it gave none."""

    @property
    def envelope(self) -> Envelope[Any]:
        return self.subject.envelopes[self.index]


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
        self._versions: dict[str, Version] = {}
        self._rollouts: dict[str, Rollout] = {}
        self._journal: dict[str, Rollout] = {}
        self._waiting: list[_Request] = []
        self._flushing: asyncio.Task[None] | None = None

    def bind(self, subject: Subject) -> Decider:
        """Return the model as of the events of one call. Who asks twice about one event is told the same."""
        answers: dict[int, asyncio.Future[Decision]] = {}
        places = {id(envelope.data): index for index, envelope in enumerate(subject.envelopes)}

        async def decide(event: Event) -> Decision:
            index = places.get(id(event))
            if index is None:
                raise _unknown(event)
            if index not in answers:
                answers[index] = self._ask(subject, index)
            return await answers[index]

        return decide

    def _ask(self, subject: Subject, index: int) -> asyncio.Future[Decision]:
        envelope, as_of_us = subject.envelopes[index], subject.as_of_us[index]
        readers = self._readers.at(as_of_us, envelope.subject)
        loop = asyncio.get_running_loop()
        request = _Request(
            subject,
            index,
            self._model.features(envelope.data, **readers),
            self._rollout(envelope.id, as_of_us),
            self._site.platform.clock.monotonic(),
            loop.create_future(),
        )
        self._waiting.append(request)
        if self._flushing is None:
            # Its turn comes after all handlers that are ready now have asked.
            self._flushing = loop.create_task(self._flush())
        return request.answer

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
        requests, self._waiting, self._flushing = self._waiting, [], None
        try:
            await self._predict(requests)
        except Exception as error:  # noqa: BLE001 (whoever asked is told)
            for request in requests:
                if not request.answer.done():
                    request.answer.set_exception(error)

    async def _predict(self, requests: Sequence[_Request]) -> None:
        wanted: dict[str, tuple[Served, list[_Request]]] = {}
        for request in requests:
            rollout = request.rollout
            for arm in (rollout.champion, rollout.challenger, rollout.previous):
                if arm is not None:
                    wanted.setdefault(arm.artifact, (arm, []))[1].append(request)
        for served, asking in wanted.values():
            for request, said in zip(asking, await self._outputs(served, asking), strict=True):
                request.said[served.version] = said
        for request in requests:
            self._answer(request)

    async def _outputs(self, served: Served, requests: Sequence[_Request]) -> Sequence[float | Exception]:
        """Return what a version says of each row; why it cannot be loaded concerns only whom it acts for."""
        try:
            version = await self._version(served)
        except (CorruptError, NotFoundError, InvalidInputError) as error:
            return [error] * len(requests)
        return self._said(version, [request.row for request in requests])

    def _said(self, version: Version, rows: Sequence[tuple[Any, ...]]) -> Sequence[float | Exception]:
        """Return an output a row, or why there is none: a row that fails harms none beside it."""
        try:
            return version.predict(rows_of(self._model.feature_names, rows))
        except Exception as error:  # noqa: BLE001 (a predictor may raise anything; whom it acts for is told)
            if len(rows) == 1:
                return [error]
        middle = len(rows) // 2
        return [*self._said(version, rows[:middle]), *self._said(version, rows[middle:])]

    async def _version(self, served: Served) -> Version:
        known = self._versions.pop(served.artifact, None)
        if known is None:
            known = await load_version(self._site.platform.blobs, served.artifact)
            self._observer.learn(served.version, known.reference)
        self._versions[served.artifact] = known
        if len(self._versions) > VERSIONS_KEPT:
            del self._versions[next(iter(self._versions))]
        return known

    def _acting(self, request: _Request) -> tuple[Served | None, str]:
        rollout = request.rollout
        if rollout.challenger is not None and rollout.canary_share > 0:
            # By its number, not by its bytes: those may differ between two equal trainings.
            place = partition_of(
                f"{self._model.name}@{rollout.challenger.version}/{request.envelope.subject}", 10_000
            )
            if place < rollout.canary_share * 10_000:
                return rollout.challenger, "canary"
        return rollout.champion, "champion" if rollout.champion is not None else "none"

    def _answer(self, request: _Request) -> None:
        if request.answer.done():
            return
        acting, arm = self._acting(request)
        number = 0 if acting is None else acting.version
        said = {v: _checked(self._model.name, v, output) for v, output in request.said.items()}
        output = said.get(number)
        if isinstance(output, Exception):
            request.answer.set_exception(output)
            return
        act = output is not None and output >= self._model.policy.act_at
        latency_us = int((self._site.platform.clock.monotonic() - request.asked) * 1e6)
        others: dict[str, float] = {
            str(v): o for v, o in said.items() if v != number and not isinstance(o, Exception)
        }
        request.subject.enlist(
            request.index,
            DecisionMade(
                model=self._model.name,
                subject=request.envelope.subject,
                input_id=request.envelope.id,
                decided_us=request.subject.as_of_us[request.index],
                version=number,
                arm=arm,
                output=output,
                act=act,
                schema=self._schema,
                features=list(request.row),
                others=others,
                latency_us=latency_us,
            ),
        )
        request.answer.set_result(Decision(output, act, number, arm))

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


def _checked(model: str, version: int, said: float | Exception) -> float | Exception:
    if isinstance(said, Exception) or (math.isfinite(said) and 0.0 <= said <= 1.0):
        return said
    return InvalidInputError(
        f"Cannot decide with {model}@{version}: its output is {said!r}, which is no probability. "
        f"Roll it back with 'tropism models rollback {model}'."
    )


def _unknown(event: Event) -> InvalidInputError:
    return InvalidInputError(
        f"Cannot decide on {type(event).__name__!r}: it is not the event that the handler was called with. "
        f"Pass that event itself."
    )
