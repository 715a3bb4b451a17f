"""What a ``kafka://`` URL says."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from tropism.adapters.confluent.topics import FORMATS, Topic, topics_of
from tropism.adapters.records import PARTITIONS_DEFAULT
from tropism.core.errors import InvalidInputError

_EXAMPLE = "kafka://localhost:9092?prefix=shop."
_FROM_ENVIRONMENT = ".env"

_OURS = {
    "acks",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "isolation.level",
    "request.required.acks",
    "transactional.id",
}
"""Settings on which the guarantees rest; they are not for a URL to change."""

_PRODUCER_ONLY = (
    "batch.",
    "compression.",
    "delivery.timeout",
    "linger.",
    "max.in.flight",
    "message.timeout",
    "partitioner",
    "queue.buffering",
    "request.timeout",
    "sticky.",
    "transaction.",
)
_CONSUMER_ONLY = ("auto.offset.reset", "check.crcs", "fetch.", "group.", "heartbeat.", "queued.", "session.")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a cluster is, which of its topics are ours, and what was set by the URL.

    ``formats`` are the topics that hold no JSON, by schemas of the ``registry``. ``settings``, ``url`` and
    ``registry`` may hold secrets: none of them is ever shown.
    """

    servers: str
    prefix: str = ""
    partitions: int = PARTITIONS_DEFAULT
    replication: int = -1
    creates: bool = True
    transactions: bool = False
    structured: bool = False
    timeout_seconds: float = 10.0
    formats: Mapping[str, Topic] = field(default_factory=dict)
    registry: str = field(default="", repr=False)
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    url: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """What may be shown of the URL, and tells one log from another."""
        return f"kafka://{self.servers}" + (f"?prefix={self.prefix}" if self.prefix else "")

    def producer_settings(self) -> dict[str, str]:
        """Return the settings of the URL that a producer understands."""
        return {k: v for k, v in self.settings.items() if not k.startswith(_CONSUMER_ONLY)}

    def consumer_settings(self) -> dict[str, str]:
        """Return the settings of the URL that a consumer understands."""
        return {k: v for k, v in self.settings.items() if not k.startswith(_PRODUCER_ONLY)}


def parse_address(url: str, environment: Mapping[str, str] | None = None) -> Address:
    """Return what a URL says.

    Raises: InvalidInputError if it says nothing usable; the text never repeats a setting's value.
    """
    split = urlsplit(url)
    servers = split.netloc
    if not servers or split.path.strip("/") or "@" in servers:
        raise InvalidInputError(
            f"Cannot open a {split.scheme}: URL: its host part is not a list of host:port alone. "
            f"Write it like {_EXAMPLE!r}, with a user as sasl.username."
        )
    given = _from_environment(
        dict(parse_qsl(split.query)), os.environ if environment is None else environment
    )
    refused = sorted(_OURS & given.keys())
    if refused:
        raise InvalidInputError(
            f"Cannot open 'kafka://{servers}': setting {refused[0]!r} is what its guarantees rest on. "
            f"Leave it out."
        )
    prefix = given.pop("prefix", "")
    formats = _formats(servers, given, prefix)
    return Address(
        servers,
        prefix=prefix,
        formats=formats,
        registry=given.pop("registry", ""),
        partitions=int(_number(servers, given, "partitions", PARTITIONS_DEFAULT, least=1)),
        replication=int(_number(servers, given, "replication", -1, least=-1)),
        creates=_one_of(servers, given, "create", ("adapter", "broker")) == "adapter",
        transactions=_one_of(servers, given, "transactions", ("false", "true")) == "true",
        structured=_one_of(servers, given, "mode", ("binary", "structured")) == "structured",
        timeout_seconds=_number(servers, given, "timeout_seconds", 10.0, least=0.1),
        settings=given,
        url=url,
    )


def _formats(servers: str, given: dict[str, str], prefix: str) -> dict[str, Topic]:
    """Return the topics that hold another format. Raises: InvalidInputError where the registry is missing."""
    listed = {name: given.pop(name) for name in FORMATS if name in given}
    found = topics_of(listed, given.pop("subjects", "topic"), prefix)
    if bool(found) != bool(given.get("registry")):
        raise InvalidInputError(
            f"Cannot open 'kafka://{servers}': topics in Avro or Protobuf and a registry go together. "
            f"Write both, like avro=orders&registry=http://localhost:8081."
        )
    return found


def _from_environment(given: dict[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return settings with those filled in of which the URL only says which variable holds them."""
    found = {}
    for name, value in given.items():
        if not name.endswith(_FROM_ENVIRONMENT):
            found[name] = value
        elif value in environment:
            found[name.removesuffix(_FROM_ENVIRONMENT)] = environment[value]
        else:
            raise InvalidInputError(
                f"Cannot set {name.removesuffix(_FROM_ENVIRONMENT)!r} of Kafka: the environment variable "
                f"{value!r}, which the URL names for it, is not set. Set it."
            )
    return found


def _number(servers: str, given: dict[str, str], name: str, default: float, *, least: float) -> float:
    text = given.pop(name, None)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = least - 1
    if not least <= number < 2**31 or (isinstance(default, int) and number != int(number)):
        raise InvalidInputError(
            f"Cannot open 'kafka://{servers}': {name} is {text!r}, no number from {least:g}. "
            f"Give a number, or leave it out for {default:g}."
        )
    return number


def _one_of(servers: str, given: dict[str, str], name: str, choices: tuple[str, str]) -> str:
    value = given.pop(name, choices[0])
    if value not in choices:
        raise InvalidInputError(
            f"Cannot open 'kafka://{servers}': {name} is {value!r}. Write one of {list(choices)}."
        )
    return value
