"""What an HTTP request says: CloudEvents 1.0, HTTP binding, in all three content modes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tropism.core.cloudevents import (
    ANY_FORMAT,
    BATCHED,
    STRUCTURED,
    Parts,
    from_header,
    is_json,
    media_type,
    parse,
    parse_batch,
)
from tropism.core.errors import InvalidInputError
from tropism.core.trace import TRACEPARENT, TRACESTATE, trace_of

PREFIX = "ce-"
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


class RefusedError(InvalidInputError):
    """A request that is answered with a status of its own."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Headers:
    """A request's headers, by lower-case name; where one comes twice, its values are joined as HTTP says."""

    values: Mapping[str, str]

    @classmethod
    def of(cls, pairs: Iterable[tuple[bytes, bytes]]) -> "Headers":
        """Return the headers of an ASGI scope. Raises: RefusedError if an attribute comes twice."""
        found: dict[str, str] = {}
        for raw_name, raw_value in pairs:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip(" \t")
            if name in found and name.startswith(PREFIX):
                raise RefusedError(
                    400, f"Cannot read a CloudEvent: header {name!r} comes twice. Send it once."
                )
            found[name] = f"{found[name]},{value}" if name in found else value
        return cls(found)

    def get(self, name: str, default: str = "") -> str:
        """Return a header's value."""
        return self.values.get(name, default)


def events_of(headers: Headers, body: bytes, count_max: int) -> list[Parts]:
    """Return the events of a request, taken apart, each with the trace that it or the request names.

    Raises: InvalidInputError; RefusedError, for a content type that nobody here can read.
    """
    content_type = headers.get("content-type")
    kind = media_type(content_type)
    if kind.startswith(ANY_FORMAT):
        found = _formatted(kind, content_type, body, count_max)
    elif any(name.startswith(PREFIX) for name in headers.values):
        found = [_binary(headers, content_type, body)]
    else:
        raise RefusedError(
            415,
            f"Cannot take a request of type {kind!r}: it is no CloudEvent. Send {STRUCTURED}.",
        )
    trace = trace_of({name: headers.get(name) for name in (TRACEPARENT, TRACESTATE)})
    return [_traced(parts, trace) for parts in found]


def _formatted(kind: str, content_type: str, body: bytes, count_max: int) -> list[Parts]:
    _check_charset(content_type)
    if kind == STRUCTURED:
        found = [parse(body)]
    elif kind == BATCHED:
        found = parse_batch(body, count_max)
    else:
        raise RefusedError(
            415, f"Cannot read format {kind!r}: only JSON is known here. Send {STRUCTURED} or {BATCHED}."
        )
    for parts in found:
        _check_data(parts.attributes.get("datacontenttype", ""))
    return found


def _binary(headers: Headers, content_type: str, body: bytes) -> Parts:
    attributes: dict[str, str] = {}
    for name, value in headers.values.items():
        if name.startswith(PREFIX):
            try:
                attributes[name.removeprefix(PREFIX)] = from_header(value)
            except ValueError as error:
                raise InvalidInputError(
                    f"Cannot read a CloudEvent: header {name!r} is not percent-encoded UTF-8 ({error}). "
                    f"Encode it as the HTTP binding of CloudEvents says."
                ) from None
    if "datacontenttype" in attributes:
        raise InvalidInputError(
            "Cannot read a CloudEvent: header 'ce-datacontenttype' is none of binary mode. "
            "Send Content-Type instead."
        )
    if content_type:
        attributes["datacontenttype"] = content_type
    _check_data(content_type)
    return Parts(attributes, body)


def _check_data(content_type: str) -> None:
    if not is_json(content_type):
        raise RefusedError(
            415,
            f"Cannot take data of type {media_type(content_type)!r}: the app's events are JSON. "
            f"Send application/json.",
        )
    _check_charset(content_type)


def _check_charset(content_type: str) -> None:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in _UTF8:
            raise RefusedError(415, "Cannot read a request: its charset is not UTF-8. Send UTF-8.")


def _traced(parts: Parts, trace: Mapping[str, str]) -> Parts:
    """Return an event with the trace that it names itself, or else the request; never an invalid one."""
    own = trace_of(parts.attributes)
    rest = {k: v for k, v in parts.attributes.items() if k not in {TRACEPARENT, TRACESTATE}}
    return Parts({**rest, **(own or trace)}, parts.data)
