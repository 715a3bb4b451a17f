"""Trace context as events carry it: what W3C Trace Context level 1 counts as valid, and nothing more.

No span is made here: whoever traces finds what the sender sent, and who does not is not in the way.
"""

import re
from collections.abc import Mapping

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
STATE_MEMBERS_MAX = 32

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z")
_SIMPLE, _TENANT, _SYSTEM = (
    r"[a-z][a-z0-9_*/-]{0,255}",
    r"[a-z0-9][a-z0-9_*/-]{0,240}",
    r"[a-z][a-z0-9_*/-]{0,13}",
)
_MEMBER = re.compile(rf"({_SIMPLE}|{_TENANT}@{_SYSTEM})=([ -+\--<>-~]{{0,255}}[!-+\--<>-~])\Z")


def is_traceparent(text: str) -> bool:
    """Say whether a text is a valid ``traceparent``, of this version or a later one."""
    found = _PARENT.match(text)
    if found is None:
        return False
    version, trace, parent, _, more = found.groups()
    # Of later versions, the first four fields are known and there may be others.
    return (
        version != "ff"
        and not (version == "00" and more)
        and trace.strip("0") != ""
        and parent.strip("0") != ""
    )


def is_tracestate(text: str) -> bool:
    """Say whether a text is a valid ``tracestate``: at most 32 members, none of them twice."""
    members = [member.strip(" \t") for member in text.split(",")]
    matches = [_MEMBER.match(member) for member in members if member]
    keys = [match[1] for match in matches if match is not None]
    return 0 < len(matches) == len(keys) == len(set(keys)) <= STATE_MEMBERS_MAX


def trace_of(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return the valid trace context among attributes: nothing without a valid parent, whatever its state."""
    parent, state = attributes.get(TRACEPARENT, ""), attributes.get(TRACESTATE, "")
    if not is_traceparent(parent):
        return {}
    return {TRACEPARENT: parent, TRACESTATE: state} if is_tracestate(state) else {TRACEPARENT: parent}
