"""Rounds in turn, and what is told of them."""

import statistics
from collections.abc import Callable
from importlib.util import find_spec


class PeerMissingError(Exception):
    """A bench cannot compare: what it measures against is not installed."""


def needs(name: str, *packages: str) -> None:
    """Refuse to measure without a peer. Raises: PeerMissingError."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise PeerMissingError(
            f"Cannot measure {name!r}: its peer needs {missing[0]!r}, which is not installed. "
            f"Run pip install 'tropism[test]'."
        )


def in_turn(rounds: int, **sides: Callable[[int], float]) -> dict[str, float]:
    """Run every side once a round, and return the median of each."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, run in sides.items():
            found[name].append(run(number))
    return {name: statistics.median(values) for name, values in found.items()}


def figures(
    ours: float, peer: float, unit: str, method: str, *, lower_is_better: bool = False, **more: object
) -> dict[str, object]:
    """Return the one object that a bench reports; a ratio above 1 is better than the peer."""
    ratio = peer / ours if lower_is_better else ours / peer
    return {"ours": ours, "peer": peer, "ratio": ratio, "unit": unit, "method": method, **more}
