"""Opening adapters: what is said where one is missing, and what is never said."""

import asyncio
from importlib.metadata import EntryPoint

import pytest

from tropism.core.errors import NotSupportedError, TropismError
from tropism.ports import opening
from tropism.ports.opening import open_url, without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///./.tropism/tropism.db", "sqlite:///./.tropism/tropism.db"),
        ("postgresql://u@h:5432/d?schema=s", "postgresql://***@h:5432/d?schema=s"),
        ("nats://token@h:4222", "nats://***@h:4222"),
        ("postgresql://u:pw@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p@w/x?y@h/d", "postgresql://u:***@h/d"),
        ("nats://:pw@h:4222", "nats://:***@h:4222"),
        (
            "kafka://h:9092?sasl.username=u&sasl.password=pw&x=1",
            "kafka://h:9092?sasl.username=u&sasl.password=***&x=1",
        ),
        ("x://h?auth_token=pw", "x://h?auth_token=***"),
    ],
)
def test_passwords_are_not_shown(url, shown):
    """What may be a password in a URL is left out, the rest is shown."""
    assert without_secrets(url) == shown


def entry_points(module):
    return lambda **_: [EntryPoint("postgresql", f"{module}:open_it", opening.GROUP)]


@pytest.mark.parametrize(
    ("module", "extra"), [("tropism.adapters.postgres", "postgres"), ("acme.adapter", "postgresql")]
)
def test_a_missing_extra_is_named(monkeypatch, module, extra):
    """Where the adapter cannot be imported, the extra that brings its vendor is named, and no password."""

    def load(_):
        raise ModuleNotFoundError(name="psycopg")

    monkeypatch.setattr(opening, "entry_points", entry_points(module))
    monkeypatch.setattr(EntryPoint, "load", load)
    with pytest.raises(NotSupportedError, match="'psycopg', which is not installed") as caught:
        asyncio.run(open_url("postgresql://u:pw@h/d"))
    assert f"Run pip install 'tropism[{extra}]'." in str(caught.value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("url", ["nothing://u:pw@h/d", "://u:pw@h/d"])
def test_wrong_urls_are_shown_without_secrets(url):
    """An unknown or missing scheme is said without what may be a password."""
    with pytest.raises(TropismError, match="^Cannot open ") as caught:
        asyncio.run(open_url(url))
    assert "pw" not in str(caught.value)
