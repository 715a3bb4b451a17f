"""Appending to one stream: in order, each batch wholly or not at all, and nothing twice.

Every batch names the sequence that it must follow, so the server refuses it where another writer was
faster. That is what makes ``known_us`` exact: a writer knows the record in front of its own. It also keeps
order and ids through every retry: what is sent again follows what is there now, or is there already.
"""

import asyncio
import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

from nats.aio.msg import Msg

from tropism.adapters.nats.headers import ID, TIMES, stored, times
from tropism.adapters.nats.link import NOBODY, Link, Session
from tropism.adapters.nats.streams import ATOMIC_SINCE, Stream
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError, UnavailableError

BATCH_COUNT_MAX = 1000
"""So many messages a server takes in one atomic batch."""

IN_FLIGHT_MAX = 40
"""So many single batches are asked at a time; a server takes 50 a stream."""

KNOWN_BEFORE_US = -(2**63)
DUPLICATE, OTHER_SEQUENCE, TOO_LARGE, UNKNOWN_STREAM = 10201, 10071, 10054, 10059
IMPOSSIBLE = str(2**62)
RETRY_SECONDS = 0.1
FASTER_MAX = 2


@dataclass(slots=True)
class Draft:
    """A record with its headers, ready to be sent but for what the place in the stream adds."""

    record: Record
    headers: dict[str, str]


@dataclass(slots=True)
class Wanted:
    """Drafts of one call to append, and the future of how many of them were new."""

    drafts: list[Draft]
    done: "asyncio.Future[int]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Writer:
    """Appends to one stream; calls that come while a batch is under way go together in the next one."""

    def __init__(
        self,
        stream: Stream,
        link: Link,
        *,
        atomic: bool,
        timeout_seconds: float,
        stored: Callable[[int], None],
        gone: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._link = link
        self._atomic = atomic
        self._timeout_seconds = timeout_seconds
        self._stored = stored
        self._gone = gone
        self._waiting: list[Wanted] = []
        self._working: asyncio.Task[None] | None = None
        self._last: int | None = None
        self._known_us = KNOWN_BEFORE_US
        # What may have been stored by a call whose answer was lost: found there, it counts as new.
        self._unsure: set[str] = set()

    def append(self, drafts: list[Draft]) -> "asyncio.Future[int]":
        """Return the future of how many drafts were new. It may raise UnavailableError."""
        wanted = Wanted(drafts)
        self._waiting.append(wanted)
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return wanted.done

    async def wait_settled(self) -> None:
        """Return when nothing is under way."""
        if self._working is not None:
            await asyncio.wait([self._working])

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._append(self._take())
        finally:
            self._working = None

    def _take(self) -> list[Wanted]:
        """Return the calls that go together: at least one, and no more than fit into a batch."""
        taken, total = [self._waiting.pop(0)], 0
        total = len(taken[0].drafts)
        while self._waiting and total + len(self._waiting[0].drafts) <= BATCH_COUNT_MAX:
            total += len(self._waiting[0].drafts)
            taken.append(self._waiting.pop(0))
        return taken

    async def _append(self, taken: list[Wanted]) -> None:
        by_id: dict[str, Draft] = {}
        first: dict[str, Wanted] = {}
        for wanted in taken:
            for draft in wanted.drafts:
                by_id.setdefault(draft.record.id, draft)
                first.setdefault(draft.record.id, wanted)
        counts = {id(wanted): 0 for wanted in taken}
        drafts = list(by_id.values())
        try:
            for start in range(0, len(drafts), BATCH_COUNT_MAX):
                for new in await self._persist(drafts[start : start + BATCH_COUNT_MAX]):
                    counts[id(first[new.record.id])] += 1
        except Exception as error:  # noqa: BLE001 (whatever it was, the callers are who must know)
            for wanted in taken:
                if not wanted.done.done():
                    wanted.done.set_exception(error)
            return
        for wanted in taken:
            if not wanted.done.done():
                wanted.done.set_result(counts[id(wanted)])

    async def _persist(self, drafts: list[Draft]) -> list[Draft]:
        """Store a batch, trying again within a bound, and return what of it was new."""
        self._unsure.clear()
        until = asyncio.get_running_loop().time() + self._timeout_seconds
        new: list[Draft] = []
        for tries in count():
            try:
                session = await self._link.session()
                stored, left = await self._try(session, drafts)
                new += stored
                if not left:
                    return new
                if tries > FASTER_MAX and len(left) == len(drafts):
                    # Others were faster, again and again: let them end.
                    await asyncio.sleep(RETRY_SECONDS / 10)
                drafts = left
            except UnavailableError:
                self._last = None
                if asyncio.get_running_loop().time() > until:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
        return new

    async def _try(self, session: Session, drafts: list[Draft]) -> tuple[list[Draft], list[Draft]]:
        """Send what is left of a batch once; return what of it is new, and what is left then."""
        if self._last is None:
            await self._learn(session)
        whole = self._atomic and session.version >= ATOMIC_SINCE
        if len(drafts) > 1 and not whole:
            # One after another: there is no other way to keep their order if one of them fails.
            stored, left = await self._send(session, drafts[:1])
            return stored, left + drafts[1:]
        return await self._send(session, drafts)

    async def _send(self, session: Session, drafts: list[Draft]) -> tuple[list[Draft], list[Draft]]:
        last, known_us = self._last or 0, self._known_us
        messages = []
        for draft in drafts:
            known_us = max(known_us, draft.record.time_us)
            messages.append({**draft.headers, TIMES: times(draft.record, known_us)})
        messages[0]["Nats-Expected-Last-Sequence"] = str(last)
        # Until the answer is here, nobody knows whether it happened.
        self._last = None
        unsure = {draft.record.id for draft in drafts}
        try:
            reply = await self._publish(session, drafts, messages)
        except UnavailableError:
            self._unsure |= unsure
            raise
        match self._code(session, drafts, reply):
            case 0 if reply.get("duplicate"):
                self._last = last
                return self._already(drafts), []
            case 0:
                self._last, self._known_us = int(reply["seq"]), known_us
                self._stored(self._last)
                return drafts, []
            case code if code == DUPLICATE:
                self._last = last
                fresh = await self._fresh(session, drafts)
                ids = {draft.record.id for draft in fresh}
                return self._already([draft for draft in drafts if draft.record.id not in ids]), fresh
            case _:
                return [], drafts

    def _already(self, drafts: Sequence[Draft]) -> list[Draft]:
        return [draft for draft in drafts if draft.record.id in self._unsure]

    async def _publish(
        self, session: Session, drafts: Sequence[Draft], messages: list[dict[str, str]]
    ) -> dict[str, Any]:
        """Send messages, more than one of them as an atomic batch, and return the answer to the last."""
        subject, final = self._stream.subject, len(messages)
        if final > 1:
            batch = uuid4().hex[:16]
            for number, headers in enumerate(messages, 1):
                headers["Nats-Batch-Id"] = batch
                headers["Nats-Batch-Sequence"] = str(number)
            messages[-1]["Nats-Batch-Commit"] = "1"
            for draft, headers in zip(drafts[:-1], messages, strict=False):
                await session.publish(subject, draft.record.data, headers)
        return self._answer(session, await session.ask(subject, drafts[-1].record.data, messages[-1]))

    async def _fresh(self, session: Session, drafts: list[Draft]) -> list[Draft]:
        """Return what of a batch is not stored, in order, without storing anything.

        A batch of one that must follow an impossible sequence cannot be stored; but of an id that is known
        the server says so first.
        """
        fresh: list[Draft] = []
        for start in range(0, len(drafts), IN_FLIGHT_MAX):
            some = drafts[start : start + IN_FLIGHT_MAX]
            replies = await asyncio.gather(*(self._probe(session, draft) for draft in some))
            for draft, reply in zip(some, replies, strict=True):
                if self._code(session, [draft], reply) != DUPLICATE:
                    fresh.append(draft)
        return fresh

    async def _probe(self, session: Session, draft: Draft) -> dict[str, Any]:
        headers = {
            ID: draft.headers[ID],
            "Nats-Expected-Last-Sequence": IMPOSSIBLE,
            "Nats-Batch-Id": uuid4().hex[:16],
            "Nats-Batch-Sequence": "1",
            "Nats-Batch-Commit": "1",
        }
        return self._answer(session, await session.ask(self._stream.subject, b"", headers))

    def _answer(self, session: Session, reply: Msg) -> dict[str, Any]:
        if reply.data:
            answer: dict[str, Any] = json.loads(reply.data)
            return answer
        if (reply.headers or {}).get("Status") == NOBODY:
            # Its stream was deleted, or the server is not ready: look again before the next try.
            self._gone()
        raise session.unavailable(f"stream {self._stream.name!r} does not answer")

    def _code(self, session: Session, drafts: Sequence[Draft], reply: dict[str, Any]) -> int:
        """Return what the server objects to, 0 if nothing. Raises: InvalidInputError; UnavailableError."""
        error = reply.get("error")
        if error is None:
            return 0
        code = int(error.get("err_code", 0))
        if code == TOO_LARGE:
            raise InvalidInputError(
                f"Cannot append event {drafts[0].record.id!r} or one with it: the server says "
                f"{error.get('description')!r}. Put the payload into Blobs and its name into the event."
            )
        if code not in {DUPLICATE, OTHER_SEQUENCE}:
            raise session.unavailable(str(error.get("description")))
        return code

    async def _learn(self, session: Session) -> None:
        """Read where the stream ends, and what the log knew then."""
        info = await session.api(f"STREAM.INFO.{self._stream.name}")
        if "error" in info:
            if info["error"].get("err_code") == UNKNOWN_STREAM:
                self._gone()
            raise session.unavailable(str(info["error"].get("description")))
        last = int(info["state"]["last_seq"])
        if last:
            found = await session.api(f"STREAM.MSG.GET.{self._stream.name}", {"seq": last})
            if "message" in found:
                self._known_us = max(self._known_us, _known_us(found["message"]))
        self._last = last


def _known_us(message: Mapping[str, Any]) -> int:
    """Return when the log knew a stored message, as the server gives it, whoever put it there."""
    lines = re.split(r"\r\n", b64decode(message.get("hdrs", "")).decode("utf-8", "replace"))
    pairs = (line.partition(":") for line in lines[1:] if line)
    headers = {name: value.strip() for name, _, value in pairs}
    place = {"Nats-Sequence": str(message["seq"]), "Nats-Stream": "", "Nats-Time-Stamp": message["time"]}
    data = b64decode(message.get("data", ""))
    return stored("", 0, {**headers, **place}, data, known_us=KNOWN_BEFORE_US).known_us
