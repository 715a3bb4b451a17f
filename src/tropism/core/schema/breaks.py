"""What a change of a schema breaks: where, and why."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Break:
    """A document that one side may write, and the other cannot read: at ``path``, for a ``reason``.

    ``kind`` says what would mend it: required, type, value, unknown, or bound.
    """

    path: str
    kind: str
    reason: str
