"""What becomes of calls that fail: counted durably, and in the end given up."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from tropism.core.codec import Codec, record_of
from tropism.core.errors import RefusedError, UnavailableError, plain
from tropism.ports.clock import Clock
from tropism.runtime.cursor import Cursor
from tropism.runtime.dead import DeadLetter, cause_of, letter_id, write_of
from tropism.runtime.work import Delivery

DIED = "The process died while handling this event alone."

EVIDENCE_BYTES_MAX = 65_536

HISTORY_MAX = 20
"""So many of the last failed attempts are told in full; of those before, only the kind of error."""

GaveUp = Callable[[DeadLetter, Exception], None]
"""Told of every dead letter, and of what goes to quarantine, with the error that was the last straw."""


class Attempts:
    """Counts the failed calls of one worker, and writes dead letters."""

    def __init__(
        self,
        service: str,
        cursor: Cursor,
        codec: Codec,
        clock: Clock,
        *,
        touch: Callable[[], None],
        gave_up: GaveUp,
    ) -> None:
        self._service = service
        self._cursor = cursor
        self._codec = codec
        self._clock = clock
        self._touch = touch
        self._gave_up = gave_up

    def charge(self, deliveries: Iterable[Delivery]) -> None:
        """Count an attempt before it is made: if it kills the process, it has been counted."""
        for delivery in deliveries:
            if delivery.name is not None and not self.is_spent(delivery):
                delivery.errors.append(DIED)
                delivery.charged = True
                self._cursor.failures[delivery.name] = delivery.errors
        self._touch()

    def failed(self, delivery: Delivery) -> None:
        """Count an attempt that failed and will be repeated."""
        if delivery.attempts > HISTORY_MAX:
            # Every commit stores the history, and who is tried again for a year has failed very often.
            told = delivery.errors[-HISTORY_MAX - 1]
            delivery.errors[-HISTORY_MAX - 1] = told.partition(":")[0]
        if delivery.name is not None:
            self._cursor.failures[delivery.name] = delivery.errors
            self._touch()

    def is_spent(self, delivery: Delivery) -> bool:
        """Say whether the attempts were used up before a restart."""
        retry = delivery.handler.retry
        died = delivery.errors.count(DIED)
        return not delivery.charged and (died >= retry.attempts or delivery.attempts >= retry.attempts_max)

    def bury(self, delivery: Delivery, error: Exception) -> None:
        """Put an event among the dead letters, with the commit that takes the cursor past it.

        What the handler refused goes to quarantine.
        """
        letter = self._letter(delivery, error)
        delivery.item.writes.append(write_of(letter))
        self._gave_up(letter, error)

    def _letter(self, delivery: Delivery, error: Exception) -> DeadLetter:
        item, handler = delivery.item, delivery.handler
        envelope = item.envelope
        record = item.record or record_of(
            envelope.data, self._codec.encode(envelope.data), id=envelope.id, time_us=envelope.time_us
        )
        return DeadLetter(
            id=letter_id(envelope, handler.name, {kind.event_topic for kind in handler.events}),
            service=self._service,
            handler=handler.name,
            cause=cause_of(error),
            history=list(delivery.errors),
            attempts=delivery.attempts,
            failed_us=self._clock.now_us(),
            record=record,
            evidence=evidence_of(error) if isinstance(error, RefusedError) else None,
        )


def evidence_of(error: RefusedError) -> dict[str, Any]:
    """Return the evidence of a refusal as it is kept: what cannot be, or is too much, only by its type."""
    kept: dict[str, Any] = {}
    room = EVIDENCE_BYTES_MAX
    for key, value in error.evidence.items():
        name = plain(str(key))
        try:
            data = msgspec.json.encode(value)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
            data = b""
        if 0 < len(data) <= room:
            kept[name] = msgspec.json.decode(data)
            room -= len(data)
        else:
            kept[name] = f"<{type(value).__qualname__}>"
    return kept


def spent(delivery: Delivery) -> UnavailableError:
    """Return why an event is given up whose attempts were used up before a restart."""
    return UnavailableError(
        f"Cannot finish handler {delivery.handler.name!r}: {delivery.attempts} attempts were used up, "
        f"the last of them when the process died while handling this event alone. "
        f"Mend the handler, then redrive the event."
    )
