"""Where an app's log is, in AsyncAPI's words: servers, addresses and headers, by protocol.

A URL's user, password and settings are never told: only hosts, and what the names of channels begin with.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from tropism.core.cloudevents import JSON, STRUCTURED

Document = dict[str, Any]

_ATTRIBUTES: Mapping[str, tuple[str, str]] = {
    "specversion": ("", "Version of CloudEvents."),
    "id": ("", "With the source, what makes it this event and no other."),
    "source": ("uri-reference", "Who says so: a service of the app, or whoever sent it."),
    "type": ("", "The type of the event."),
    "subject": ("", "Its key: events of one key are in order."),
    "time": ("date-time", "When it became known."),
    "causationid": ("", "The id of the event whose handling produced it."),
    "traceparent": ("", "W3C Trace Context."),
    "tracestate": ("", "W3C Trace Context."),
    "hops": ("", "How many events in a row led to it, where that is counted."),
}
_ODD = re.compile(r"[^A-Za-z0-9._-]|_(?=x)")
_REQUIRED = ("specversion", "id", "source", "type")


@dataclass(frozen=True, slots=True)
class Wire:
    """How events travel: on which servers, at which addresses, with which names of attributes."""

    servers: Document
    address: Callable[[str], str]
    prefix: str = "ce-"
    content_type: str = "content-type"
    structured: bool = False
    parameters: Document = field(default_factory=dict)
    protocol: str = ""

    def message(self, payload: Document) -> Document:
        """Return what a message of a payload looks like, without its name."""
        if self.structured:
            return {"contentType": STRUCTURED, "payload": _envelope(payload)}
        return {
            "contentType": JSON,
            "headers": {"$ref": "#/components/schemas/CloudEventHeaders"},
            "payload": payload,
        }

    def headers(self) -> Document:
        """Return the schema of the headers of every message in binary mode."""
        named = {f"{self.prefix}{name}": schema for name, schema in _attributes().items()}
        named[self.content_type] = {"type": "string", "const": JSON}
        required = [f"{self.prefix}{name}" for name in _REQUIRED]
        return {"type": "object", "required": required, "properties": named}


def wire_of(url: str) -> Wire:
    """Return how events travel on the log of a URL."""
    split = urlsplit(url)
    said = dict(parse_qsl(split.query))
    make = {"kafka": _kafka, "nats": _nats}.get(split.scheme)
    if make is not None:
        return make(_hosts(url), said)
    return Wire({"log": _embedded(split.scheme, url)}, str, protocol=split.scheme)


def _kafka(hosts: list[str], said: Mapping[str, str]) -> Wire:
    secure = "SSL" in said.get("security.protocol", "").upper()
    protocol = "kafka-secure" if secure else "kafka"
    prefix = said.get("prefix", "")
    return Wire(
        _servers(hosts, protocol),
        lambda topic: _kafka_name(prefix, topic),
        prefix="ce_",
        structured=said.get("mode") == "structured",
        protocol="kafka",
    )


def _kafka_name(prefix: str, topic: str) -> str:
    """Return a topic's name at the brokers: what they do not allow in one stands there as its code."""
    return prefix + _ODD.sub(lambda found: f"_x{ord(found[0]):X}_", topic)


def _nats_token(topic: str) -> str:
    """Return a topic as a part of a subject: what may not stand there is encoded."""
    return quote(topic, safe="").replace(".", "%2E").replace("~", "%7E").replace("%", "=")


def _nats(hosts: list[str], said: Mapping[str, str]) -> Wire:
    prefix = said.get("prefix", "tropism")
    partition = {"partition": {"description": "The number of the partition.", "default": "0"}}
    return Wire(
        _servers(hosts, "nats"),
        lambda topic: f"{prefix}.log.{_nats_token(topic)}.{{partition}}",
        content_type="ce-datacontenttype",
        structured=said.get("mode") == "structured",
        parameters=partition,
        protocol="nats",
    )


def _hosts(url: str) -> list[str]:
    """Return the hosts of a URL, several where commas part them, without who connects."""
    return urlsplit(url).netloc.rpartition("@")[2].split(",")


def _servers(hosts: list[str], protocol: str) -> Document:
    names = ["log"] if len(hosts) == 1 else [f"log{number}" for number in range(1, len(hosts) + 1)]
    return {
        name: {"host": host, "protocol": protocol, "description": "Where the app's log is."}
        for name, host in zip(names, hosts, strict=True)
    }


def _embedded(scheme: str, url: str) -> Document:
    """Return a database that serves as the log: messages are its rows."""
    split = urlsplit(url)
    host = split.netloc.rpartition("@")[2] or "localhost"
    described = "A database whose rows are the events: attributes in columns, not in headers."
    path = {"pathname": f"/{split.path.lstrip('/')}"} if split.path.strip("/") else {}
    return {"host": host, **path, "protocol": scheme or "memory", "description": described}


def _attributes() -> Document:
    return {
        name: {
            "type": "string",
            **({"const": "1.0"} if name == "specversion" else {}),
            **({"format": shape} if shape else {}),
            "description": words,
        }
        for name, (shape, words) in _ATTRIBUTES.items()
    }


def _envelope(payload: Document) -> Document:
    properties = {**_attributes(), "datacontenttype": {"type": "string", "const": JSON}, "data": payload}
    return {"type": "object", "required": [*_REQUIRED, "data"], "properties": properties}
