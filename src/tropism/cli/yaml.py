"""YAML for people: mappings, lists and plain values, whose texts are quoted as JSON where they must be."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*\Z")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"})
"""What older readers take for something else than text."""


def yaml_of(document: Any) -> str:
    """Return a document of mappings, lists, texts, numbers, truths and None as YAML."""
    return "\n".join(_lines(document, 0)) + "\n"


def _lines(value: Any, depth: int) -> Iterator[str]:
    indent = "  " * depth
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _entry(f"{indent}{_scalar(str(name))}:", inner, depth)
    elif isinstance(value, list) and value:
        for inner in value:
            first, *rest = _lines(inner, depth + 1)
            yield f"{indent}- {first.lstrip()}"
            yield from rest
    else:
        yield f"{indent}{_scalar(value)}"


def _entry(head: str, inner: Any, depth: int) -> Iterator[str]:
    if isinstance(inner, dict | list) and inner:
        yield head
        yield from _lines(inner, depth + 1)
    else:
        yield f"{head} {_scalar(inner)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.match(value) and value.lower() not in _WORDS:
        return value
    return msgspec.json.encode(value).decode()
