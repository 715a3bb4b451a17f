"""The AsyncAPI document of an app: valid, complete, without secrets, and the same in YAML."""

import json
import sys
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
import yaml
from tests.asyncapi_schema import validator

from tropism import App, Envelope, Event, Service, View, count, hours
from tropism.adapters.kafka.topics import kafka_name
from tropism.adapters.nats.address import Address
from tropism.adapters.nats.streams import Streams
from tropism.app.asyncapi import asyncapi
from tropism.app.webhook import webhook
from tropism.cli.yaml import yaml_of
from tropism.core.errors import InvalidInputError
from tropism.demo.flights.app import flights_app

SECRET = "t0psecret"  # noqa: S105 (it is looked for where none may be)
URLS = [
    "sqlite:///./.tropism/tropism.db",
    "memory:",
    f"postgresql://u:{SECRET}@db.example:5432/shop?password={SECRET}",
    f"kafka://a:9092,b:9092?prefix=shop.&sasl.password={SECRET}&security.protocol=SASL_SSL",
    "kafka://a:9092?mode=structured",
    f"nats://u:{SECRET}@n:4222,m:4222?token={SECRET}",
    "nats://n:4222?mode=structured&prefix=shop",
]


class Card(msgspec.Struct, tag="card"):
    number: str


class Cash(msgspec.Struct, tag="cash"):
    coins: tuple[int, str]


class Paid(Event, type="orders.paid.v1", key="order"):
    """An order was paid.

    In one way or another.
    """

    order: str
    amount: Annotated[float, msgspec.Meta(gt=0)]
    at: datetime
    how: Card | Cash
    note: str | None = None
    size: Literal["s", "m"] = "s"
    more: dict[str, Any] = {}


class Shipped(Event, type="parcels.shipped_ü.v1", key="order"):
    order: str


class Returned(Event, type="orders.returned.v1", key="order"):
    order: str


def shop():
    service = Service("shop")

    @service.on(Paid, Returned)
    async def ship(event: Envelope[Paid | Returned]) -> Shipped | None:
        """Ship what was paid."""

    @service.on(Shipped)
    async def regret(shipped: Shipped) -> Returned | None: ...

    by_order = View("by-order", Paid, by=lambda paid: paid.order, window=hours(1), n=count())
    hook = webhook("hook", Shipped, url="https://h.example/x")
    return App("shop", services=[service, hook], views=[by_order])


def problems(document):
    return [f"{error.instance_path}: {error.message}" for error in validator().iter_errors(document)]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("app", [shop(), flights_app(), App("empty")], ids=lambda app: app.name)
def test_the_document_is_valid_by_the_official_schema(app, url):
    """Whatever log is configured, and without its secrets; every reference leads somewhere."""
    document = json.loads(msgspec.json.encode(asyncapi(app, url, version="1.2.3")))
    assert problems(document) == []
    assert SECRET not in json.dumps(document)
    for pointer in references(document):
        found = document
        for part in pointer.removeprefix("#/").split("/"):
            found = found[part]


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_schema_refuses_what_is_wrong():
    """The check above would notice."""
    document = asyncapi(shop(), URLS[0])
    assert problems({**document, "asyncapi": "2.0.0"})
    assert problems({**document, "operations": {"x": {"action": "publish"}}})


def test_operations_say_what_each_handler_takes_and_gives():
    """One operation for each topic; a webhook and a view receive as well; docstrings are summaries."""
    document = asyncapi(shop(), URLS[0])
    said = {
        name: (each["action"], [m["$ref"].rpartition("/")[2] for m in each["messages"]])
        for name, each in document["operations"].items()
    }
    assert said == {
        "shop.ship.receive": ("receive", ["orders.paid.v1", "orders.returned.v1"]),
        "shop.ship.send": ("send", ["parcels.shipped__xFC_.v1"]),
        "shop.regret.receive": ("receive", ["parcels.shipped__xFC_.v1"]),
        "shop.regret.send": ("send", ["orders.returned.v1"]),
        "hook.send.receive": ("receive", ["parcels.shipped__xFC_.v1"]),
    }
    assert document["operations"]["shop.ship.receive"]["summary"] == "Ship what was paid."
    assert document["components"]["messages"]["orders.paid.v1"]["summary"] == "An order was paid."
    assert document["x-circles"] == ["orders.returned.v1 -> parcels.shipped_ü.v1 -> orders.returned.v1"]


@pytest.mark.parametrize(
    ("url", "hosts", "protocol", "address"),
    [
        (URLS[3], ["a:9092", "b:9092"], "kafka-secure", "shop.orders"),
        (URLS[5], ["n:4222", "m:4222"], "nats", "tropism.log.orders.{partition}"),
        (URLS[2], ["db.example:5432"], "postgresql", "orders"),
    ],
)
def test_servers_and_addresses_are_those_of_the_log(url, hosts, protocol, address):
    document = asyncapi(shop(), url)
    assert [server["host"] for server in document["servers"].values()] == hosts
    assert {server["protocol"] for server in document["servers"].values()} == {protocol}
    assert document["channels"]["orders"]["address"] == address


@pytest.mark.parametrize("topic", ["orders", "my_orders", "a_x2F_b", "ü", "a-b"])
def test_addresses_are_the_names_that_the_adapters_use(topic):
    kind = type("Odd", (Event,), {}, type=f"{topic}.odd.v1")
    app = App("odd", events=[kind])
    (channel,) = asyncapi(app, "kafka://a:1?prefix=p.")["channels"].values()
    assert channel["address"] == kafka_name("p.", topic)
    (channel,) = asyncapi(app, "nats://a:1?prefix=p")["channels"].values()
    subject = Streams(Address(("a:1",), prefix="p"), None).stream((topic, 0)).subject
    assert channel["address"].replace("{partition}", "0") == subject


@pytest.mark.parametrize(
    ("url", "prefix", "kind"),
    [
        (URLS[3], "ce_", "content-type"),
        (URLS[5], "ce-", "ce-datacontenttype"),
        (URLS[0], "ce-", "content-type"),
    ],
)
def test_headers_are_those_of_the_binding(url, prefix, kind):
    headers = asyncapi(shop(), url)["components"]["schemas"]["CloudEventHeaders"]
    assert headers["required"] == [f"{prefix}{name}" for name in ("specversion", "id", "source", "type")]
    assert kind in headers["properties"]


def test_in_structured_mode_the_payload_is_the_whole_event():
    message = asyncapi(shop(), URLS[4])["components"]["messages"]["orders.paid.v1"]
    assert message["contentType"] == "application/cloudevents+json"
    assert message["payload"]["properties"]["data"] == {"$ref": "#/components/schemas/Paid"}
    assert "headers" not in message


def test_fields_that_no_schema_can_tell_are_refused():
    class Odd(Event, type="odd.odd.v1"):
        what: complex

    with pytest.raises(InvalidInputError, match=r"^Cannot describe the app's events: .*\.$"):
        asyncapi(App("odd", events=[Odd]), URLS[0])


@pytest.mark.parametrize(
    "document",
    [
        {
            "a": {
                "b": [1, 2.5, None, True, "x: y", "no", "", "2024-01-01", "- x", "#c", "ü\n\u2028"],
                "c": {},
                "d": [],
            }
        },
        [{"a": [{"b": [[1], [2, [3]]]}], "c": "'"}, [], {}, "~", "1e3", "0x1", "Null"],
        asyncapi(shop(), URLS[3]),
        {},
        [],
        "x",
    ],
)
def test_yaml_says_the_same(document):
    """What a reader of YAML makes of it is the document."""
    assert yaml.safe_load(yaml_of(document)) == json.loads(msgspec.json.encode(document))


def test_the_command_prints_it(tmp_path, monkeypatch, capsys):
    """YAML on standard output; with --json, one JSON document; with the servers of the settings."""
    from tropism.cli.main import main

    (tmp_path / "described.py").write_text("from tropism import App\napp = App('shop')\n", "utf-8")
    (tmp_path / "tropism.toml").write_text(f'app = "described:app"\nlog = "{URLS[5]}"\n', "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    documents = []
    for more in ([], ["--json"]):
        monkeypatch.setattr("sys.argv", ["tropism", "asyncapi", "--app-version", "2.0.0", *more])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code
        documents.append(yaml.safe_load(capsys.readouterr().out))
    assert documents[0] == documents[1]
    assert documents[0]["info"] == {"title": "shop", "version": "2.0.0"}
    assert SECRET not in str(documents)
    sys.modules.pop("described")
