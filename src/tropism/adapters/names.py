"""What may name a blob, and what may stand under it: the same rules for every adapter."""

from hashlib import sha256

from tropism.core.errors import ConflictError, InvalidInputError, NotFoundError

_NAME_BYTES_MAX = 900
_SEGMENT_BYTES_MAX = 200
_DIGEST_CHARACTERS = 64


def check_blob_name(name: str) -> None:
    """Refuse names that a folder or an object store could not keep, or that point elsewhere.

    Raises: InvalidInputError.
    """
    segments = name.split("/")
    bad = any(segment in ("", ".", "..") or not _storable(segment) for segment in segments)
    if bad or len(name.encode()) > _NAME_BYTES_MAX:
        raise InvalidInputError(
            f"Cannot use blob name {name!r}: it has an empty, '.', '..', unprintable or too long segment. "
            f"Write it like 'models/sha256/ab12'."
        )


def is_intact(name: str, data: bytes) -> bool:
    """Return whether bytes are what their name says, where it says: ``.../sha256/<digest>``."""
    *_, kind, digest = ("", *name.split("/"))
    addressed = kind == "sha256" and len(digest) == _DIGEST_CHARACTERS
    return not addressed or sha256(data).hexdigest() == digest


def check_content(name: str, data: bytes) -> None:
    """Refuse bytes that are not what their name says. Raises: InvalidInputError."""
    if not is_intact(name, data):
        raise InvalidInputError(
            f"Cannot put blob {name!r}: its bytes have another SHA-256. Name it by its content's digest."
        )


def other_bytes(name: str) -> ConflictError:
    """Return what putting other bytes under a name raises."""
    return ConflictError(
        f"Cannot put blob {name!r}: other bytes stand there. Choose another name, or delete it first."
    )


def no_blob(name: str) -> NotFoundError:
    """Return what getting an absent name raises."""
    return NotFoundError(f"Cannot get blob {name!r}: there is none. List the names to see what is there.")


def _storable(segment: str) -> bool:
    # Printable text has no lone surrogates and no control characters.
    return segment.isprintable() and "\\" not in segment and len(segment.encode()) <= _SEGMENT_BYTES_MAX
