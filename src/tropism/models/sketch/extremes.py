"""The lower and the higher of two extremes, either of which may be absent."""


def lowest(one: float | None, other: float | None) -> float | None:
    """Give the lower of two extremes; None only if both are."""
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def highest(one: float | None, other: float | None) -> float | None:
    """Give the higher of two extremes; None only if both are."""
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)
