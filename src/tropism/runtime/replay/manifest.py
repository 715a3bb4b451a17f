"""What a replay is: kept in its own store, so that it can go on after an interruption."""

import msgspec

from tropism.core.errors import ConflictError, NotSupportedError
from tropism.ports.state import State, Write
from tropism.runtime.replay.span import Span

NAMESPACE = "replay"
CONSUMER = "replay"
"""Who holds the lease while a replay is made ready, and compared."""

FORMAT = 1
_KEY = "manifest"


class Asked(msgspec.Struct, frozen=True):
    """What was asked for, as it was said: the same words go on with the same replay.

    ``code`` tells the code from any other: another one is another replay.
    """

    service: str
    start: str = "start"
    until: str = ""
    state: str = "empty"
    app: str = ""
    code: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """A replay: what was asked for, which range of the log that is, and whether all was made ready."""

    asked: Asked
    span: Span
    ready: bool = False
    format: int = FORMAT


async def read_manifest(state: State) -> Manifest | None:
    """Return what replay a store holds, None where it holds none.

    Raises: NotSupportedError for that of a newer Tropism.
    """
    data = (await state.get(NAMESPACE, [_KEY]))[0]
    if data is None:
        return None
    found = msgspec.msgpack.decode(data)
    if found["format"] > FORMAT:
        raise NotSupportedError(
            f"Cannot go on with this replay: its format is {found['format']}, this Tropism knows {FORMAT}. "
            f"Discard it with 'tropism replay discard', or upgrade Tropism."
        )
    return msgspec.msgpack.decode(data, type=Manifest)


def check_same(known: Asked, asked: Asked, name: str) -> None:
    """Refuse to go on with another replay. Raises: ConflictError saying what differs."""
    for field in Asked.__struct_fields__:
        before, now = getattr(known, field), getattr(asked, field)
        if before != now:
            told = (
                "its code has changed since" if field == "code" else f"its {field} is {before!r}, not {now!r}"
            )
            raise ConflictError(
                f"Cannot go on with replay {name!r}: {told}. Run 'tropism replay discard {name}', or choose "
                f"another name with --into."
            )


def manifest_write(manifest: Manifest) -> Write:
    """Return the write that keeps a manifest."""
    return Write(NAMESPACE, _KEY, msgspec.msgpack.encode(manifest))
