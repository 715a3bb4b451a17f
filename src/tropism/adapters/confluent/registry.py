"""A client of a Confluent Schema Registry: two requests, from threads that may wait."""

import base64
import json
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from tropism.core.errors import InvalidInputError, NotFoundError, UnavailableError

ANSWER_BYTES_MAX = 16 * 1024 * 1024
SCHEMAS_MAX = 10_000
"""So many schemas are remembered by id, those that were used last."""

_ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"
_UNAUTHORIZED = (401, 403)
_LATER = (408, 429)
_NOT_FOUND = 404
_NO_ID = (400, 422)
"""What some registries answer to an id that none of theirs can be: anybody may write one into a message."""
_OWN_FAULT = 500


class Reference(NamedTuple):
    """A schema that another one builds upon, under the name by which it does."""

    name: str
    subject: str
    version: int


class Registered(NamedTuple):
    """A schema as the registry has it: Protobuf as a descriptor in base64, others as text."""

    id: int
    type: str
    text: str
    references: tuple[Reference, ...] = ()


class SchemaRegistry:
    """Schemas by id and by subject: one by id never changes, the newest of a subject is asked for once.

    A login in the URL is sent to that server only, and never shown.

    Raises: InvalidInputError if the URL is none.
    """

    def __init__(self, url: str, timeout_seconds: float = 5.0) -> None:
        split = urlsplit(url)
        try:
            host, port = split.hostname, split.port
        except ValueError:
            host = port = None
        if split.scheme not in {"http", "https"} or not host:
            raise InvalidInputError(
                "Cannot use the schema registry of the URL: it is no http:// or https:// address. "
                "Write it like registry=http://localhost:8081."
            )
        place = f"[{host}]" if ":" in host else host
        netloc = place if port is None else f"{place}:{port}"
        self.name = urlunsplit((split.scheme, netloc, split.path.rstrip("/"), "", ""))
        login = f"{unquote(split.username or '')}:{unquote(split.password or '')}"
        self._login = base64.b64encode(login.encode()).decode() if split.username else ""
        self._timeout_seconds = timeout_seconds
        self._by_id: OrderedDict[int, Registered] = OrderedDict()
        self._newest: dict[str, Registered] = {}
        self._lock = Lock()

    def by_id(self, id: int) -> Registered:
        """Return the schema of an id. Raises: NotFoundError, UnavailableError, InvalidInputError."""
        with self._lock:
            if id in self._by_id:
                self._by_id.move_to_end(id)
                return self._by_id[id]
        found = self._registered(self._get(f"/schemas/ids/{id}?format=serialized"), id)
        with self._lock:
            self._by_id[id] = found
            if len(self._by_id) > SCHEMAS_MAX:
                self._by_id.popitem(last=False)
        return found

    def newest(self, subject: str) -> Registered:
        """Return the newest schema of a subject, as of when it was first asked for. Raises: as ``by_id``."""
        found = self._newest.get(subject)
        if found is None:
            found = self._newest[subject] = self.version(subject, "latest")
        return found

    def version(self, subject: str, version: int | str) -> Registered:
        """Return a version of a subject. Raises: as ``by_id``."""
        path = f"/subjects/{quote(subject, safe='')}/versions/{version}?format=serialized"
        return self._registered(self._get(path))

    def check(self) -> None:
        """Ask it anything. Raises: UnavailableError, or InvalidInputError if it refuses the login."""
        self._get("/schemas/types")

    def _get(self, path: str) -> Any:
        request = Request(self.name + path, headers={"Accept": _ACCEPT})  # noqa: S310 (http and https alone)
        if self._login:
            # A redirect to another server does not take it along.
            request.add_unredirected_header("Authorization", f"Basic {self._login}")
        try:
            with urlopen(request, timeout=self._timeout_seconds) as answer:  # noqa: S310 (as above)
                data = answer.read(ANSWER_BYTES_MAX + 1)
        except HTTPError as error:
            with error:
                raise self._refused(path, error.code) from None
        except (URLError, OSError, ValueError) as error:
            raise self._silent(type(getattr(error, "reason", error)).__name__) from None
        if len(data) > ANSWER_BYTES_MAX:
            raise self._silent(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        try:
            return json.loads(data)
        except ValueError:
            raise self._silent("an answer that is no JSON") from None

    def _refused(self, path: str, code: int) -> Exception:
        if code in _UNAUTHORIZED:
            return InvalidInputError(
                f"Cannot use schema registry {self.name!r}: it refuses the login ({code}). "
                f"Put user and password into its URL, or mend them."
            )
        if code == _NOT_FOUND or (code in _NO_ID and path.startswith("/schemas/ids/")):
            what = unquote(path.partition("?")[0])
            return NotFoundError(
                f"Cannot find {what!r} in schema registry {self.name!r}. Register the schema there."
            )
        if code >= _OWN_FAULT or code in _LATER:
            return self._silent(f"status {code}")
        return InvalidInputError(
            f"Cannot use schema registry {self.name!r}: it answers {code}. Mend the address."
        )

    def _silent(self, fact: str) -> UnavailableError:
        return UnavailableError(
            f"Cannot reach schema registry {self.name!r}: {fact}. Start it, or mend the address."
        )

    def _registered(self, answer: Any, id: int = 0) -> Registered:
        try:
            references: Sequence[dict[str, Any]] = answer.get("references") or ()
            return Registered(
                int(answer.get("id") or id),
                str(answer.get("schemaType") or "AVRO"),
                str(answer["schema"]),
                tuple(Reference(str(r["name"]), str(r["subject"]), int(r["version"])) for r in references),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            # Something before it may answer in its place: events wait for the registry itself.
            raise self._silent("an answer that is no schema") from None
