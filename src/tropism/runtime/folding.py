"""Columns read from the entries of a window: what each takes from an event, and makes of all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor, isfinite
from typing import Any

import msgspec

from tropism.core.time import MICROSECONDS, to_us
from tropism.runtime.view import Aggregate
from tropism.runtime.windows import Entry

SUMMED = frozenset({"total", "mean", "minimum", "maximum", "quantile"})


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and where in an entry's values its own stand."""

    aggregate: Aggregate
    at: int
    ttl_us: int | None

    def fold(self, entries: Sequence[Entry], as_of_us: int) -> Any:
        """Return what the column says of entries, in order of time."""
        return FOLDS[self.aggregate.kind](self, entries, as_of_us)


def columns_of(aggregates: Sequence[Aggregate]) -> list[Column]:
    """Return where the values of columns stand."""
    found, at = [], 0
    for a in aggregates:
        found.append(Column(a, at, None if a.ttl is None else to_us(a.ttl)))
        at += (a.value is not None) + (a.denominator is not None)
    return found


def taken(aggregates: Sequence[Aggregate]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what takes the values of all columns from an event, or raises."""
    takers: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = []
    for a in aggregates:
        if a.value is not None:
            takers.append((a.value, _checks(a.kind)))
        if a.denominator is not None:
            takers.append((a.denominator, _finite))

    def take(event: Any) -> tuple[Any, ...]:
        return tuple([check(value(event)) for value, check in takers])

    return take


def _checks(kind: str) -> Callable[[Any], Any]:
    if kind in SUMMED or kind == "ratio":
        return _finite
    return _plain if kind == "distinct" else _storable


def _finite(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not isfinite(number):
        raise ValueError(f"{number} cannot be summed or compared")
    return number


def _plain(value: Any) -> Any:
    if value is not None and not isinstance(value, str | int | float | bool):
        raise ValueError(
            f"a {type(value).__name__} cannot be told apart from others; give a text or a number"
        )
    return _storable(value)


def _storable(value: Any) -> Any:
    msgspec.msgpack.encode(value)
    return value


def _values(column: Column, entries: Sequence[Entry]) -> list[Any]:
    at = column.at
    return [value for entry in entries if (value := entry.values[at]) is not None]


def _count(_: Column, entries: Sequence[Entry], __: int) -> int:
    return len(entries)


def _total(column: Column, entries: Sequence[Entry], _: int) -> float:
    return sum(_values(column, entries), 0.0)


def _mean(column: Column, entries: Sequence[Entry], _: int) -> float | None:
    values = _values(column, entries)
    return sum(values, 0.0) / len(values) if values else None


def _minimum(column: Column, entries: Sequence[Entry], _: int) -> float | None:
    return min(_values(column, entries), default=None)


def _maximum(column: Column, entries: Sequence[Entry], _: int) -> float | None:
    return max(_values(column, entries), default=None)


def _first(column: Column, entries: Sequence[Entry], _: int) -> Any:
    return entries[0].values[column.at] if entries else None


def _last(column: Column, entries: Sequence[Entry], as_of_us: int) -> Any:
    if not entries or (column.ttl_us is not None and as_of_us - entries[-1].time_us > column.ttl_us):
        return None
    return entries[-1].values[column.at]


def _age(_: Column, entries: Sequence[Entry], as_of_us: int) -> float | None:
    return (as_of_us - entries[-1].time_us) / MICROSECONDS if entries else None


def _distinct(column: Column, entries: Sequence[Entry], _: int) -> int:
    return len(set(_values(column, entries)))


def _quantile(column: Column, entries: Sequence[Entry], _: int) -> float | None:
    values = sorted(_values(column, entries))
    if not values:
        return None
    place = (column.aggregate.q or 0.0) * (len(values) - 1)
    below = floor(place)
    above = min(below + 1, len(values) - 1)
    return float(values[below] + (values[above] - values[below]) * (place - below))


def _ratio(column: Column, entries: Sequence[Entry], _: int) -> float | None:
    at = column.at
    pairs = [(e.values[at], e.values[at + 1]) for e in entries]
    both = [(n, d) for n, d in pairs if n is not None and d is not None]
    denominator = sum((d for _, d in both), 0.0)
    return sum((n for n, _ in both), 0.0) / denominator if denominator else None


def _each(column: Column, entries: Sequence[Entry], _: int) -> list[tuple[int, Any]]:
    return [(entry.time_us, entry.values[column.at]) for entry in entries]


FOLDS: dict[str, Callable[[Column, Sequence[Entry], int], Any]] = {
    "count": _count,
    "total": _total,
    "mean": _mean,
    "minimum": _minimum,
    "maximum": _maximum,
    "first": _first,
    "last": _last,
    "age": _age,
    "distinct": _distinct,
    "quantile": _quantile,
    "ratio": _ratio,
    "each": _each,
}
