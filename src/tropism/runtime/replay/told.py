"""What a service told: outputs of the live one and of the replay, side by side in the replay's store."""

from collections.abc import Iterable, Sequence

import msgspec

from tropism.core.envelope import Record, Stored, derived_id
from tropism.core.event import topic_of
from tropism.ports.log import Log
from tropism.ports.state import State, Write
from tropism.runtime.dead import redrive_topic
from tropism.runtime.replay.pages import Keeper, records_in
from tropism.runtime.replay.span import Span, first_of_outputs

INPUTS = "replay/inputs"
ORIGINAL = "replay/original"
REPLAYED = "replay/replayed"

ORDINALS_MAX = 64
"""Up to which output of one call its original is found, where that came of a redriven event."""


class Told(msgspec.Struct, frozen=True, array_like=True):
    """An output, with what tells it apart beside its id."""

    type: str
    subject: str
    cause: str
    data: bytes


class _Again(msgspec.Struct, frozen=True, array_like=True):
    """A redriven event: of which one, when that was, for whom, and in which topic the first one lies."""

    of: str
    time_us: int
    handler: str
    topic: str = ""


async def keep_inputs(service: str, log: Log, span: Span, keeper: Keeper) -> None:
    """Keep the ids of the range's events, and of those of them that were redriven later."""
    for bounds in span.bounds:
        async for page in records_in(log, (bounds.topic, bounds.number), bounds.start, bounds.end):
            await keeper.put(Write(INPUTS, stored.record.id, b"") for stored in page)
    for where, end in (await log.ends([redrive_topic(service)])).items():
        async for page in records_in(log, where, 0, end):
            await keeper.put(_again(stored.record) for stored in page)


def _again(record: Record) -> Write:
    extensions = record.extensions or {}
    of, handler = extensions.get("redriveof", ""), extensions.get("redrivehandler", "")
    again = _Again(of, record.time_us, handler, topic_of(record.type))
    return Write(INPUTS, record.id, msgspec.msgpack.encode(again))


async def keep_told(
    service: str, log: Log, topics: Iterable[str], span: Span, namespace: str, state: State, keeper: Keeper
) -> None:
    """Keep, by id, what a service added to topics because of the range's events."""
    for where, end in (await log.ends(topics)).items():
        start = await first_of_outputs(log, where, end, span) if namespace == ORIGINAL else 0
        async for page in records_in(log, where, start, end):
            mine = [stored for stored in page if stored.record.source == service]
            await keeper.put(await _within(mine, span, namespace, state))


async def _within(page: Sequence[Stored], span: Span, namespace: str, state: State) -> list[Write]:
    """Return what is kept of a page: outputs whose cause lies in the range."""
    causes = [(stored.record.extensions or {}).get("causationid", "") for stored in page]
    # A copy under another key may have its topic before its id.
    known = await _inputs(state, {*causes, *(cause.partition("/")[2] for cause in causes)})
    again = {id: msgspec.msgpack.decode(value, type=_Again) for id, value in known.items() if value}
    firsts = await _inputs(state, {each.of for each in again.values()})
    writes: list[Write] = []
    for stored, cause in zip(page, causes, strict=True):
        redriven = again.get(cause)
        if redriven is not None and redriven.of in firsts:
            id = _first_id(stored.record.id, cause, redriven)
            writes.append(_write(namespace, id, redriven.of, stored.record))
        elif redriven is None and (
            cause in known or cause.partition("/")[2] in known or _is_timed(cause, span)
        ):
            writes.append(_write(namespace, stored.record.id, cause, stored.record))
    return writes


async def _inputs(state: State, ids: set[str]) -> dict[str, bytes]:
    asked = sorted(ids - {""})
    found = zip(asked, await state.get(INPUTS, asked), strict=True) if asked else ()
    return {id: value for id, value in found if value is not None}


def _write(namespace: str, id: str, cause: str, record: Record) -> Write:
    told = Told(record.type, record.subject, cause, record.data)
    return Write(namespace, id, msgspec.msgpack.encode(told))


def _is_timed(cause: str, span: Span) -> bool:
    """Say whether an output came of a tick, or of a state that expired, within the range."""
    kind, _, rest = cause.partition("/")
    moment = rest.rpartition("/")[2]
    if kind not in {"tick", "expired"} or not moment.lstrip("-").isdigit():
        return False
    return span.from_us < int(moment) <= span.until_us


def _first_id(id: str, cause: str, again: _Again) -> str:
    """Return which id an output of a redriven event would have, had the event been handled at once."""
    for ordinal in range(ORDINALS_MAX):
        # Where a handler takes events of several topics, the topic goes before the id.
        for among in ("", f"{again.topic}/"):
            if derived_id(f"{among}{cause}", again.handler, ordinal, again.time_us) == id:
                return derived_id(f"{among}{again.of}", again.handler, ordinal, again.time_us)
    return id
