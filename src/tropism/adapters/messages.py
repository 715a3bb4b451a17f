"""What every queue checks about messages before it stores them."""

from collections.abc import Mapping, Sequence

from tropism.core.errors import InvalidInputError
from tropism.ports.queue import Message

BATCH_COUNT_MAX = 10_000
"""Messages sent or received in one call."""

DEDUP_SECONDS = 600.0
"""How long ids are remembered: longer than anybody repeats a send, short enough to be few."""

DELAY_SECONDS_MAX = 366 * 86_400.0
"""A delay or lease beyond a year is a mistake in its unit."""


def check_messages(queue: str, messages: Sequence[Message], *, bytes_max: int, count_max: int) -> None:
    """Refuse messages that a queue cannot keep.

    Raises: InvalidInputError naming the first such message, never its payload.
    """
    if len(messages) > count_max:
        raise InvalidInputError(
            f"Cannot send {len(messages)} messages to queue {queue!r}: at most {count_max} pass at once. "
            f"Send fewer at a time."
        )
    for message in messages:
        size = len(message.body)
        if size > bytes_max or (message.attributes and size + _size(message.attributes) > bytes_max):
            raise InvalidInputError(
                f"Cannot send message {message.id!r} to queue {queue!r}: it has "
                f"{size + _size(message.attributes or {})} bytes, more than {bytes_max}. "
                f"Put the payload into Blobs and its name into the message."
            )


def check_delay(queue: str, seconds: float, seconds_max: float = DELAY_SECONDS_MAX) -> None:
    """Refuse a delay below 0 or above what a queue can keep. Raises: InvalidInputError."""
    if not 0 <= seconds <= seconds_max:
        raise InvalidInputError(
            f"Cannot delay messages of queue {queue!r}: {seconds:g} seconds are not between 0 and "
            f"{seconds_max:g}. Choose a delay within that."
        )


def check_loan(queue: str, lease_seconds: float, count_max: int = 1) -> None:
    """Refuse to borrow nothing, or for no time. Raises: InvalidInputError."""
    if count_max < 1:
        raise InvalidInputError(
            f"Cannot receive {count_max} messages of queue {queue!r}: that is none. Ask for at least 1."
        )
    if not 0 < lease_seconds <= DELAY_SECONDS_MAX:
        raise InvalidInputError(
            f"Cannot borrow messages of queue {queue!r}: a lease of {lease_seconds:g} seconds is not "
            f"between 0 and {DELAY_SECONDS_MAX:g}. Choose one that a handler can keep."
        )


def _size(attributes: Mapping[str, str]) -> int:
    return sum(map(len, attributes)) + sum(map(len, attributes.values()))
