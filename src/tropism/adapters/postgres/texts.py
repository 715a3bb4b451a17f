"""Texts as PostgreSQL can keep them: every decision about what they may hold is here.

PostgreSQL takes no NUL in a text. It is kept as two characters, and so is the one that marks this, such that
what is kept sorts, and begins with its prefixes, as the texts themselves do: U+0000 becomes U+0001 U+0001,
and U+0001 becomes U+0001 U+0002. Lone surrogates are no Unicode, and refused.
"""

from collections.abc import Sequence

from tropism.core.errors import InvalidInputError

INDEXED_BYTES_MAX = 2_000
"""Of ids, keys and names, in UTF-8: an index of PostgreSQL takes no entry of more than 2,704 bytes."""

_MARK, _NUL_KEPT, _MARK_KEPT = "\1", "\1\1", "\1\2"
_LAST = chr(0x10FFFF)


def kept(text: str) -> str:
    """Return how a text is kept: as it is, but for the characters U+0000 and U+0001."""
    if "\0" in text or _MARK in text:
        return text.replace(_MARK, _MARK_KEPT).replace("\0", _NUL_KEPT)
    return text


def plain(text: str) -> str:
    """Return the text that is kept so."""
    if _MARK in text:
        return text.replace(_NUL_KEPT, "\0").replace(_MARK_KEPT, _MARK)
    return text


def encoded(texts: Sequence[str]) -> list[bytes]:
    """Return texts as they are kept, in UTF-8. Raises: InvalidInputError for a lone surrogate."""
    try:
        joined = "".join(texts)
        if "\0" in joined or _MARK in joined:
            return [kept(text).encode() for text in texts]
        return [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            "Cannot keep a text in PostgreSQL: it has a lone surrogate, which is no Unicode. Pass valid text."
        ) from error


def check_indexed(texts: Sequence[bytes], what: str) -> None:
    """Refuse texts that an index cannot take. Raises: InvalidInputError."""
    size = max(map(len, texts), default=0)
    if size > INDEXED_BYTES_MAX:
        raise InvalidInputError(
            f"Cannot keep {what} of {size} bytes in PostgreSQL: its indexes take {INDEXED_BYTES_MAX}. "
            f"Use a shorter one, such as a digest of it."
        )


def behind(prefix: str) -> str | None:
    """Return the first text behind all that begin so, in order of code points; None if there is none."""
    rest = prefix.rstrip(_LAST)
    if not rest:
        return None
    # No character follows U+D7FF up to the surrogates' end: they are in no valid text.
    following = 0xE000 if rest[-1] == "\ud7ff" else ord(rest[-1]) + 1
    return rest[:-1] + chr(following)
