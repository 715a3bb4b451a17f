"""Which topics hold which format, as a URL says it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from tropism.adapters.confluent.payloads import Format
from tropism.core.errors import InvalidInputError, NotSupportedError

FORMATS = {"avro": "AVRO", "protobuf": "PROTOBUF"}
SUBJECTS = ("topic", "topic-record", "record")
"""How subjects are named: by the topic, by topic and event type, or by event type."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic in a format; ``event_type`` is what its messages are that do not say it themselves."""

    name: str
    format: str
    event_type: str = ""
    subjects: str = "topic"


def subject_of(topic: Topic, event_type: str) -> str:
    """Return under which subject an event's schema is registered. Source: Confluent's name strategies."""
    if topic.subjects == "record":
        return event_type
    return f"{topic.name}-{event_type}" if topic.subjects == "topic-record" else f"{topic.name}-value"


def topics_of(given: Mapping[str, str], subjects: str, prefix: str) -> dict[str, Topic]:
    """Return topics by their own names, of lists such as ``orders:orders.paid.v1,payments``.

    Raises: InvalidInputError if a topic is named twice, or a type that is not of its topic.
    """
    if subjects not in SUBJECTS:
        raise InvalidInputError(
            f"Cannot name subjects by {subjects!r}: there is no such way. Write one of {list(SUBJECTS)}."
        )
    found: dict[str, Topic] = {}
    for format, listed in given.items():
        for each in filter(None, listed.split(",")):
            name, _, event_type = each.partition(":")
            if name in found or (event_type and not event_type.startswith(f"{name}.")):
                raise InvalidInputError(
                    f"Cannot read topic {name!r} as {format}: it is named twice, or {event_type!r} is not "
                    f"of it. Write it like {format}=orders:orders.paid.v1,payments."
                )
            found[name] = Topic(f"{prefix}{name}", FORMATS[format], event_type, subjects)
    return found


def formats_of(topics: Mapping[str, Topic]) -> list[Format]:
    """Return the formats that topics need. Raises: NotSupportedError if the extra of one is missing."""
    found = []
    for name, type in FORMATS.items():
        if any(topic.format == type for topic in topics.values()):
            try:
                module = import_module(f"tropism.adapters.confluent.{name}")
            except ImportError as error:
                raise NotSupportedError(
                    f"Cannot read topics as {name}: {error.name!r} is not installed. "
                    f"Run pip install 'tropism[{name}]'."
                ) from error
            found.append(getattr(module, type))
    return found
