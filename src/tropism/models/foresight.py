"""What versions say of events that wait for their turn, found together before each of them is asked about.

Events of one key are handled one after the other, so beside a busy key each prediction would be of a row or
two. But a prediction depends on the version and the row alone: those of events that wait may be made at once,
and kept until the handler asks. Then what it asks for must be what was foreseen, to the last bit, or it is
predicted anew.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from tropism.core.envelope import Envelope
from tropism.models.asking import Group, Said
from tropism.models.events import Rollout

KEPT = 16_384
"""For how many events at most something is kept: more than a worker has in flight."""

AT_ONCE = 1_024
"""Of what was put off, so much is found out at a time."""

JUDGED_AFTER = 8_192
"""After how many events it shows whether handlers ask about them at all."""

ASKED_SHARE_MIN = 0.25
"""If they ask about fewer, nothing is foreseen."""

_PLAIN = frozenset({float, int, bool, str, type(None)})
_encode = msgspec.msgpack.Encoder().encode


class Foreseen(NamedTuple):
    """What is known of an event: its row, and what versions say of rows, among which it has a place."""

    envelope: Envelope[Any]
    row: tuple[Any, ...]
    rollout: Rollout
    said: Sequence[tuple[int, str, Said]]
    at: int


class Foresight:
    """What is foreseen in one worker, for each event until it is asked about."""

    def __init__(self) -> None:
        # By identity: ids are unique with their source only. An envelope that is kept is no other one.
        self._found: dict[int, Foreseen] = {}
        self._put_off: dict[int, tuple[Envelope[Any], int]] = {}
        self._offered = self._asked = 0

    def is_worth_it(self, count: int) -> bool:
        """Take note that so many events are about to be handled; say whether they will be asked about."""
        worth = self._offered < JUDGED_AFTER or self._asked >= ASKED_SHARE_MIN * self._offered
        self._offered += count
        if self._offered > 2 * JUDGED_AFTER:
            self._offered //= 2
            self._asked //= 2
        return worth

    def keep(self, envelopes: Sequence[Envelope[Any]], rows: Sequence[tuple[Any, ...]], group: Group) -> None:
        """Keep what was found of the events of a group."""
        rollout, said = group.rollout, group.outputs()
        for at, place in enumerate(group.places):
            envelope = envelopes[place]
            self._found[id(envelope)] = Foreseen(envelope, rows[place], rollout, said, at)
        while len(self._found) > KEPT:
            del self._found[next(iter(self._found))]

    def put_off(self, envelopes: Sequence[Envelope[Any]], as_of_us: Sequence[int], group: Group) -> None:
        """Take note of events whose versions are not at hand yet: they are when the first is answered."""
        for place in group.places:
            self._put_off[id(envelopes[place])] = envelopes[place], as_of_us[place]
        while len(self._put_off) > KEPT:
            del self._put_off[next(iter(self._put_off))]

    def taken_up(self) -> list[tuple[Envelope[Any], int]]:
        """Return, once, some events that were put off and that nobody has asked about since."""
        some = list(islice(self._put_off, AT_ONCE)) if self._put_off else ()
        return [self._put_off.pop(key) for key in some]

    def take(self, envelope: Envelope[Any]) -> Foreseen | None:
        """Return what was found of an event that is asked about now, the first time."""
        self._asked += 1
        if self._put_off:
            self._put_off.pop(id(envelope), None)
        return self._found.pop(id(envelope), None)


def are_same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Say whether two rows are equal to the last bit: 1 is not True, nor 0.0 the same as -0.0."""
    if not (_PLAIN.issuperset(map(type, one)) and _PLAIN.issuperset(map(type, other))):
        return False
    try:
        return _encode(one) == _encode(other)
    except (TypeError, ValueError, OverflowError):
        return False
