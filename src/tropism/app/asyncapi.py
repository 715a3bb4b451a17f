"""An app as an AsyncAPI 3.0 document: its topics, who takes and gives which events, and what these hold."""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tropism.app.app import App
from tropism.app.asyncapi_servers import Document, Wire, wire_of
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.runtime.cycles import cycles_of
from tropism.runtime.handler import Handler
from tropism.runtime.service import Service

VERSION = "3.0.0"

_PLAIN = re.compile(r"[^A-Za-z0-9._-]")


def asyncapi(app: App, log: str, *, version: str = "0.0.0") -> Document:
    """Return the AsyncAPI 3.0 document of an app whose log is at a URL; ``version`` is that of the app.

    Raises: InvalidInputError if an event's fields have no JSON Schema.
    """
    wire = wire_of(log)
    operations = _operations(app)
    kinds = _kinds(app, operations)
    schemas = _schemas(kinds)
    circles = [cycle.path for cycle in cycles_of(app.services)]
    return {
        "asyncapi": VERSION,
        "info": {"title": app.name, "version": version},
        "defaultContentType": "application/json",
        "servers": wire.servers,
        "channels": _channels(kinds, wire),
        "operations": {name: _operation(*said) for name, said in operations.items()},
        "components": {
            "messages": {_slug(kind.event_type): _message(kind, schemas, wire) for kind in kinds},
            "schemas": {**({} if wire.structured else {"CloudEventHeaders": wire.headers()}), **schemas.all},
        },
        **({"x-circles": circles} if circles else {}),
    }


# -- who does what --------------------------------------------------------------------------------

Said = tuple[str, str, Sequence[type[Event]], str, str]
"""An operation: its action, topic, events, what it does, and the service that does it."""


def _operations(app: App) -> dict[str, Said]:
    """Return the operations of an app by name: a handler receives, and sends, per topic; a view receives."""
    found: dict[str, Said] = {}
    for service in app.services:
        for handler in service.handlers:
            words = _first_sentence(handler.function)
            for action, kinds in (("receive", _taken(handler)), ("send", handler.emits)):
                found |= _by_topic(handler.name, action, kinds, words, service)
        for view in service.views:
            name = f"{service.name}.view.{view.name}"
            found |= _by_topic(name, "receive", view.on, f"Keeps the view {view.name}.", service)
    return found


def _taken(handler: Handler) -> Sequence[type[Event]]:
    return () if handler.every is not None or handler.expires is not None else handler.events


def _by_topic(
    name: str, action: str, kinds: Iterable[type[Event]], words: str, service: Service
) -> dict[str, Said]:
    topics: dict[str, list[type[Event]]] = {}
    for kind in kinds:
        topics.setdefault(kind.event_topic, []).append(kind)
    return {
        _slug(f"{name}.{action}" if len(topics) == 1 else f"{name}.{action}.{topic}"): (
            action,
            topic,
            some,
            words,
            service.name,
        )
        for topic, some in topics.items()
    }


def _operation(action: str, topic: str, kinds: Sequence[type[Event]], words: str, service: str) -> Document:
    channel = f"#/channels/{_slug(topic)}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        **({"summary": words} if words else {}),
        "tags": [{"name": service}],
        "messages": [{"$ref": f"{channel}/messages/{_slug(kind.event_type)}"} for kind in kinds],
    }


def _kinds(app: App, operations: Mapping[str, Said]) -> list[type[Event]]:
    """Return all types of events that an app has to do with, in order of name."""
    found = {kind: None for _, _, kinds, _, _ in operations.values() for kind in kinds}
    found |= dict.fromkeys((*app.events, *(kind for view in app.views for kind in view.on)))
    return sorted(found, key=lambda kind: kind.event_type)


def _channels(kinds: Sequence[type[Event]], wire: Wire) -> Document:
    topics: dict[str, list[type[Event]]] = {}
    for kind in kinds:
        topics.setdefault(kind.event_topic, []).append(kind)
    return {_slug(topic): _channel(topic, some, wire) for topic, some in topics.items()}


def _channel(topic: str, kinds: Sequence[type[Event]], wire: Wire) -> Document:
    names = [_slug(kind.event_type) for kind in kinds]
    return {
        "address": wire.address(topic),
        "title": topic,
        "description": "In order for each key; events of one key are in one partition.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        **({"parameters": wire.parameters} if wire.parameters else {}),
    }


# -- what events hold -----------------------------------------------------------------------------


class _Schemas:
    """The schemas of events, and of all that these are made of."""

    def __init__(self, kinds: Sequence[type[Event]], of: Sequence[Document], all: Document) -> None:
        self.all = all
        self._of = dict(zip(kinds, of, strict=True))

    def payload(self, kind: type[Event]) -> Document:
        """Return the schema of an event's data."""
        return self._of[kind]


def _schemas(kinds: Sequence[type[Event]]) -> _Schemas:
    try:
        of, parts = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"Cannot describe the app's events: {_told(error)}. Give their fields types of JSON."
        ) from error
    return _Schemas(
        kinds, [_draft7(each) for each in of], {name: _draft7(part) for name, part in parts.items()}
    )


def _told(error: Exception) -> str:
    """Return what an error is about: its last paragraph, on one line."""
    return " ".join(str(error).rpartition("\n\n")[2].split()).rstrip(".")


def _draft7(schema: Any) -> Any:
    """Return a schema as AsyncAPI reads it: tuples and discriminators are written otherwise there."""
    if isinstance(schema, list):
        return [_draft7(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _draft7(value) for name, value in schema.items() if name != "discriminator"}
    if "prefixItems" in found:
        rest = found.pop("items", True)
        found["items"] = found.pop("prefixItems")
        found["additionalItems"] = rest
    return found


def _message(kind: type[Event], schemas: _Schemas, wire: Wire) -> Document:
    words = _first_sentence(kind)
    key = {"bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}}}
    return {
        "name": kind.event_type,
        "title": kind.__name__,
        **({"summary": words} if words else {}),
        **wire.message(schemas.payload(kind)),
        **(key if wire.protocol == "kafka" and kind.event_key is not None else {}),
    }


def _first_sentence(thing: Any) -> str:
    """Return how something describes itself, where it does, in its first paragraph."""
    words = vars(thing).get("__doc__") if isinstance(thing, type) else getattr(thing, "__doc__", None)
    return " ".join(inspect.cleandoc(words).partition("\n\n")[0].split()) if words else ""


def _slug(text: str) -> str:
    """Return a text as a name that references may hold, other texts as other names."""
    return _PLAIN.sub(lambda found: f"_x{ord(found[0]):X}_", text)
