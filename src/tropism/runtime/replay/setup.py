"""Making a replay ready: where its workers begin, with which state, and what resources did then."""

from collections.abc import Sequence

import msgspec

from tropism.ports.log import Log
from tropism.ports.platform import Platform
from tropism.ports.state import Commit, Position, State, Write
from tropism.runtime.call import namespace_of
from tropism.runtime.cursor import Cursor, Place, name_of
from tropism.runtime.handler import Handler
from tropism.runtime.replay.manifest import CONSUMER, Manifest, manifest_write
from tropism.runtime.replay.pages import HOLDER, LEASE_SECONDS, Keeper, entries_in, keeping, records_in
from tropism.runtime.replay.prepared import Recording, recorded_namespace, recordings_of
from tropism.runtime.replay.scratch import Scratch
from tropism.runtime.replay.span import Span, first_of_outputs
from tropism.runtime.service import Service


async def make_ready(
    manifest: Manifest, services: Sequence[Service], platform: Platform, scratch: Scratch
) -> None:
    """Write all that a replay begins with. What is begun anew after an interruption is the same."""
    service, span = services[0], manifest.span
    state = scratch.state
    async with keeping(state, CONSUMER) as keeper:
        await keeper.put([manifest_write(manifest)])
        if manifest.asked.state == "live":
            await _copy_states(service, platform.state, keeper)
        for recording in recordings_of(service):
            await _keep_recorded(recording, service.name, platform.log, span, keeper)
        for each in services:
            await _begin(each, span, state, rebuilt=manifest.asked.state == "rebuilt")
        await keeper.put([manifest_write(msgspec.structs.replace(manifest, ready=True))])


async def _begin(service: Service, span: Span, state: State, *, rebuilt: bool) -> None:
    """Put a worker's cursor at the beginning: views are fed what lies before, handlers are not called."""
    lease, _ = await state.acquire(service.name, HOLDER, lease_seconds=LEASE_SECONDS)
    places = {name_of(where): Place(0 if rebuilt else at) for where, at in span.starts.items()}
    await state.commit(Commit(lease, Position(msgspec.msgpack.encode(Cursor(places=places)))))
    await state.release(lease)


async def _copy_states(service: Service, live: State, keeper: Keeper) -> None:
    for name in state_names(service.handlers):
        namespace = namespace_of(service.name, name)
        async for entry in entries_in(live, namespace):
            await keeper.put([Write(namespace, entry.key, entry.value, entry.expires_us)])


async def _keep_recorded(recording: Recording, service: str, log: Log, span: Span, keeper: Keeper) -> None:
    """Keep what a resource did for this service."""
    namespace = recorded_namespace(recording.name)
    for where, end in (await log.ends(recording.topics)).items():
        start = await first_of_outputs(log, where, end, span)
        async for page in records_in(log, where, start, end):
            mine = [stored.record for stored in page if stored.record.source == service]
            found = [entry for record in mine if (entry := recording.entry(record)) is not None]
            await keeper.put(Write(namespace, key, value) for key, value in found)


def state_names(handlers: Sequence[Handler]) -> list[str]:
    """Return the names of the states that handlers are given."""
    names = (i.source for handler in handlers for i in handler.injections if isinstance(i.source, str))
    return list(dict.fromkeys(names))
