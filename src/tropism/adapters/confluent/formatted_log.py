"""A log some of whose topics hold Avro or Protobuf, where everybody else sees JSON."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import msgspec

from tropism.adapters.confluent.formatted_state import FormattedState
from tropism.adapters.confluent.framing import framed, unframed
from tropism.adapters.confluent.payloads import Format, Misfit, Payloads
from tropism.adapters.confluent.registry import SCHEMAS_MAX, SchemaRegistry
from tropism.adapters.confluent.topics import Topic, subject_of
from tropism.core.envelope import Record, Stored
from tropism.core.errors import InvalidInputError, NotFoundError
from tropism.ports.capabilities import Capabilities
from tropism.ports.log import Cursors, Log, Partition
from tropism.ports.state import State

LOGGER = logging.getLogger("tropism")

_CONTENT = "datacontenttype"
_JSON = ("", "application/json")


class CheckedLog(Log, Protocol):
    """A log, and the state beside it, that can be asked whether it answers, and closed."""

    @property
    def state(self) -> State:
        """The state of the same store."""
        ...

    async def check(self) -> None:
        """Ask it anything."""
        ...

    async def close(self) -> None:
        """Give all connections back."""
        ...


class FormattedLog:
    """A ``Log`` whose records of some topics are stored in another format than JSON, behind a schema's id.

    It writes by the newest schema of the subject, and registers none: whoever owns the schemas says what they
    hold. What it cannot decode is given as it is stored: it becomes a dead letter and holds up nothing.
    """

    def __init__(
        self,
        log: CheckedLog,
        topics: Mapping[str, Topic],
        formats: Iterable[Format],
        registry: SchemaRegistry,
    ) -> None:
        self._log = log
        self._topics = topics
        self._formats = {format.type: format for format in formats}
        self._kinds = {format.content_type: format for format in formats}
        self._registry = registry
        self._opened: dict[int, Payloads | None] = {}
        # A store opened without these formats would commit outputs as JSON: that is another domain.
        told = ", ".join(f"{name} in {topic.format}" for name, topic in sorted(topics.items()))
        domain = f"{log.capabilities.commit_domain} ({told})"
        self._capabilities = replace(log.capabilities, check=self._check, commit_domain=domain)

    @property
    def capabilities(self) -> Capabilities:
        """What the log can do: it also says, before an output is committed, whether it fits its schema."""
        return self._capabilities

    async def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create topics."""
        await self._log.create_topics(topics)

    async def append(self, records: Sequence[Record]) -> int:
        """Append records, in their topics' formats. Raises: InvalidInputError if one does not fit."""
        return await self._log.append(await self._all_encoded(records))

    @property
    def state(self) -> FormattedState:
        """The state of the same cluster, which commits outputs in the same formats."""
        return FormattedState(self._log.state, self._capabilities.commit_domain, self._all_encoded)

    async def read(
        self, cursors: Cursors, *, count_max: int, without: Collection[str] = ()
    ) -> Mapping[Partition, Sequence[Stored]]:
        """Return records as JSON. Raises: UnavailableError while the registry does not tell a schema."""
        pages = await self._log.read(cursors, count_max=count_max, without=without)
        if not any(self._is_ours(stored.record) for page in pages.values() for stored in page):
            return pages
        # Each schema that is not there is asked for once a page, not once a record.
        missing: set[int] = set()
        return await asyncio.to_thread(
            lambda: {w: [self._decoded(stored, missing) for stored in page] for w, page in pages.items()}
        )

    async def ends(self, topics: Iterable[str]) -> Mapping[Partition, int]:
        """Return ends."""
        return await self._log.ends(topics)

    async def wait_beyond(self, ends: Cursors) -> None:
        """Wait for records."""
        await self._log.wait_beyond(ends)

    async def check(self) -> None:
        """Ask both. Raises: UnavailableError, InvalidInputError."""
        await self._log.check()
        await asyncio.to_thread(self._ask)

    async def close(self) -> None:
        """Give all connections back."""
        await self._log.close()

    def _ask(self) -> None:
        self._registry.check()
        for topic in self._topics.values():
            if topic.subjects == "topic":
                # Asked for now, it keeps no output waiting later; it may be registered yet.
                with suppress(NotFoundError):
                    self._registry.newest(subject_of(topic, ""))

    # -- writing ----------------------------------------------------------------------------------

    async def _all_encoded(self, records: Sequence[Record]) -> Sequence[Record]:
        if not any(record.topic in self._topics for record in records):
            return records
        return await asyncio.to_thread(lambda: [self._encoded(record) for record in records])

    def _check(self, record: Record) -> None:
        """Refuse a record that its schema has no place for. It waits for the registry once a subject."""
        self._encoded(record)

    def _encoded(self, record: Record) -> Record:
        topic = self._topics.get(record.topic)
        if topic is None or (record.extensions or {}).get(_CONTENT, "") not in _JSON:
            return record
        try:
            data = self._framed(topic, record)
        except Misfit as error:
            raise InvalidInputError(
                f"Cannot append event {record.id!r} of type {record.type!r} as {topic.format}: {error}. "
                f"Register a schema that has a place for it, then start again."
            ) from error
        kind = self._formats[topic.format].content_type
        extensions = {**(record.extensions or {}), _CONTENT: kind}
        return msgspec.structs.replace(record, data=data, extensions=extensions)

    def _framed(self, topic: Topic, record: Record) -> bytes:
        subject = subject_of(topic, record.type)
        registered = self._registry.newest(subject)
        payloads = self._payloads(registered.id)
        if payloads is None or registered.type != topic.format:
            raise Misfit(f"the schema of subject {subject!r} is {registered.type}, or cannot be used")
        try:
            value = msgspec.json.decode(record.data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Misfit("its data is no JSON") from None
        return framed(registered.id, payloads.encode(value, record.type))

    # -- reading ----------------------------------------------------------------------------------

    def _is_ours(self, record: Record) -> bool:
        return record.topic in self._topics or (record.extensions or {}).get(_CONTENT) in self._kinds

    def _decoded(self, stored: Stored, missing: set[int]) -> Stored:
        record = stored.record
        if not self._is_ours(record) or record.data[:1] != b"\0":
            return stored
        try:
            schema_id, payload = unframed(record.data)
            payloads = None if schema_id in missing else self._payloads(schema_id)
            if payloads is None:
                missing.add(schema_id)
                return stored
            name, value = payloads.decode(payload)
            data = msgspec.json.encode(value)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            LOGGER.warning("Cannot decode event %r of topic %r: %s.", record.id, record.topic, error)
            return stored
        extensions = {k: v for k, v in (record.extensions or {}).items() if k != _CONTENT}
        found = msgspec.structs.replace(
            record, type=self._type_of(record, name), data=data, extensions=extensions or None
        )
        return Stored(stored.partition, stored.offset, stored.known_us, found)

    def _type_of(self, record: Record, name: str) -> str:
        """Return an event's type: its own, or of another product's message, the topic's or the record's."""
        topic = self._topics.get(record.topic)
        if topic is None or record.type != f"{record.topic}.unknown.v1":
            return record.type
        return topic.event_type or (name if name.startswith(f"{record.topic}.") else record.type)

    def _payloads(self, schema_id: int) -> Payloads | None:
        """Return what decodes by a schema; None where there is no such schema, or it cannot be used."""
        if schema_id in self._opened:
            return self._opened[schema_id]
        found: Payloads | None = None
        try:
            registered = self._registry.by_id(schema_id)
            format = self._formats.get(registered.type)
            if format is not None:
                found = format.open(registered, self._registry)
            else:
                LOGGER.warning("The URL names no topic in %s, the format of %d.", registered.type, schema_id)
        except NotFoundError as error:
            # It may be registered yet, so it is asked for again.
            LOGGER.warning("%s", error)
            return None
        except ValueError as error:
            LOGGER.warning("Cannot use schema %d of registry %r: %s.", schema_id, self._registry.name, error)
        self._opened[schema_id] = found
        if len(self._opened) > SCHEMAS_MAX:
            # Those that were opened first are opened again, should they be wanted.
            self._opened.pop(next(iter(self._opened)), None)
        return found
