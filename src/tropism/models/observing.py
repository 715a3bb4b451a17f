"""What versions see and say, window by window, in constant memory."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from tropism.core.time import MICROSECONDS, to_us
from tropism.models.events import DecisionMade, ModelObserved
from tropism.models.rows import number_of, rows_of
from tropism.models.sketch.categories import Categories
from tropism.models.sketch.features import FeatureSketch
from tropism.models.sketch.histogram import Histogram
from tropism.models.sketch.latency import LatencySketch

REFERENCES_KEPT = 16
"""How many versions a worker can open a window for: those that acted last."""

OUTPUT_EDGES = tuple(step / 20 for step in range(1, 20))


class _Window(msgspec.Struct):
    """One version in one window."""

    version: int
    start_us: int
    features: FeatureSketch
    outputs: Histogram
    latency: LatencySketch


class _Stored(msgspec.Struct):
    """What a restart takes back."""

    windows: list[_Window]
    references: dict[int, FeatureSketch]


class Observer:
    """Sketches of the decisions of one worker, per acting version and window of time."""

    def __init__(self, model: str, service: str, names: tuple[str, ...], window: timedelta) -> None:
        self._model = model
        self._service = service
        self._names = names
        self._window_us = to_us(window)
        self._references: dict[int, FeatureSketch] = {}
        self._windows: dict[tuple[int, int], _Window] = {}

    def learn(self, version: int, reference: FeatureSketch) -> None:
        """Take note of how the rows that a version was trained on looked."""
        self._references.pop(version, None)
        self._references[version] = reference.emptied()
        if len(self._references) > REFERENCES_KEPT:
            del self._references[next(iter(self._references))]

    def observe(self, decisions: Sequence[DecisionMade], until_us: int) -> list[ModelObserved]:
        """Count decisions into their windows; return the windows that have ended by an instant."""
        window_us = self._window_us
        places = [(made.decided_us - made.decided_us % window_us, made.version) for made in decisions]
        # In the order of their first decision; mostly there is one.
        for place in dict.fromkeys(places):
            if place[1] in self._references or place in self._windows:
                whole = places.count(place) == len(places)
                self._count(
                    place,
                    decisions
                    if whole
                    else [m for m, at in zip(decisions, places, strict=True) if at == place],
                )
        ended = sorted(p for p in self._windows if p[0] + self._window_us <= until_us)
        return [self._observed(self._windows.pop(place)) for place in ended]

    def _count(self, place: tuple[int, int], group: Sequence[DecisionMade]) -> None:
        start_us, version = place
        window = self._windows.get(place) or self._open(version, start_us)
        self._windows[place] = _Window(
            version,
            start_us,
            self._seen(window.features, [made.features for made in group]),
            window.outputs.observe([made.output for made in group]),
            window.latency.observe_counted(_latencies(group)),
        )

    def _seen(self, sketch: FeatureSketch, features: Sequence[list[Any]]) -> FeatureSketch:
        """Return a sketch after feature rows: it is counted while a commit is made, so nothing may raise."""
        try:
            return sketch.observe(rows_of(self._names, features).columns)
        except Exception:  # noqa: BLE001 (a feature may hold anything, and one value must not stop a service)
            return sketch.observe(_usable(sketch, features))

    def _open(self, version: int, start_us: int) -> _Window:
        outputs = Histogram(
            edges=OUTPUT_EDGES, counts=(0,) * (len(OUTPUT_EDGES) + 1), missing=0, low=None, high=None
        )
        reference = self._references[version] = self._references.pop(version)  # the latest to act, last
        return _Window(version, start_us, reference, outputs, LatencySketch())

    def _observed(self, window: _Window) -> ModelObserved:
        return ModelObserved(
            model=self._model,
            version=window.version,
            service=self._service,
            start_us=window.start_us,
            end_us=window.start_us + self._window_us,
            features=window.features,
            outputs=window.outputs,
            latency=window.latency,
        )

    def pack(self) -> bytes:
        """Return what a restart needs."""
        return msgspec.msgpack.encode(_Stored(list(self._windows.values()), self._references))

    def unpack(self, data: bytes) -> None:
        """Take back what was packed."""
        stored = msgspec.msgpack.decode(data, type=_Stored)
        self._references = stored.references
        self._windows = {(window.start_us, window.version): window for window in stored.windows}


def _latencies(group: Sequence[DecisionMade]) -> dict[float, int]:
    """Return how many decisions took how many seconds: those of one call took the same."""
    counted = Counter([made.latency_us for made in group])
    return {latency_us / MICROSECONDS: count for latency_us, count in counted.items()}


def _usable(sketch: FeatureSketch, features: Sequence[list[Any]]) -> list[list[Any]]:
    """Return rows as columns that a sketch can count: what is no number is missing, no category another."""
    width = len(sketch.features)
    rows = [row if len(row) == width else [None] * width for row in features]
    return [
        [_category(row[n]) if isinstance(each, Categories) else number_of(row[n]) for row in rows]
        for n, each in enumerate(sketch.features)
    ]


def _category(value: Any) -> Any:
    return value if value is None or isinstance(value, str | float) else True
