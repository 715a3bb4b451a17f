"""Every bench that needs no server does its work at a small size, and tells what it must."""

import asyncio
import json
from pathlib import Path

import pytest
from bench import __main__ as command
from bench import deciding, latency_sqlite, overhead, publish_sqlite, scale
from bench.disk import quantile
from bench.facts import KEYS, customers, orders, records
from bench.figures import PeerMissingError, figures, in_turn, needs
from bench.running import Tally

TOLD = {"ours", "peer", "ratio", "unit", "method"}


@pytest.fixture(autouse=True)
def _one_small_round(monkeypatch):
    for module in (latency_sqlite, overhead, publish_sqlite, scale):
        monkeypatch.setattr(module, "ROUNDS", 1)
    monkeypatch.setattr(publish_sqlite, "RAW_COMMITS", 3)
    monkeypatch.setattr(latency_sqlite, "COMMITS", 4)
    monkeypatch.setattr(scale, "SAMPLE", 20)
    monkeypatch.setattr(scale, "SHORTEST", 50)
    monkeypatch.setattr(scale, "SERVICES", (1, 3))
    monkeypatch.setattr(deciding, "TREES", 3)
    monkeypatch.setattr(deciding, "TRAINING_ROWS", 200)
    deciding.trained.cache_clear()
    yield
    deciding.trained.cache_clear()


@pytest.mark.parametrize(
    "measure",
    [
        lambda: publish_sqlite.measure(200),
        lambda: latency_sqlite.measure(30),
        lambda: overhead.measure(300, stores=("memory", "sqlite")),
        lambda: scale.measure(100),
    ],
    ids=["publish-sqlite", "latency-sqlite", "overhead", "scale"],
)
def test_a_bench_tells_ours_its_peer_and_their_ratio(measure):
    """What is printed as one JSON object holds both figures, above 0, their ratio, unit and method."""
    found = json.loads(json.dumps(measure()))
    assert found.keys() >= TOLD
    assert found["ours"] > 0
    assert found["peer"] > 0


def test_durable_decisions_are_all_made_by_the_version():
    """The service that is measured decides on every event by the promoted version, and the log holds that."""
    from bench import decide_sqlite, decide_sqlite_columnar

    for module in (decide_sqlite, decide_sqlite_columnar):
        spent = asyncio.run(decide_sqlite.ours(module.asking, deciding.asked(40)))
        assert spent.count == 40


def test_keys_come_as_often_as_zipf_says():
    """The most frequent key is the first, with about an eleventh of the events; many others come as well."""
    found = customers(20_000)
    first = found.count("customer-0000") / len(found)
    assert 0.09 < first < 0.13
    assert KEYS // 2 < len(set(found)) <= KEYS


def test_facts_repeat_and_have_the_size_that_is_told():
    """The same seed gives the same records; a payload has about 200 bytes."""
    made = records(orders(50))
    assert made == records(orders(50))
    assert all(170 <= len(record.data) <= 230 for record in made)


def test_rounds_go_in_turn():
    """Ours and the peer alternate, so that a slow moment of the machine meets both."""
    order = []
    sides = {"ours": lambda n: order.append("ours") or n, "peer": lambda n: order.append("peer") or n}
    assert in_turn(3, **sides) == {"ours": 1, "peer": 1}
    assert order == ["ours", "peer"] * 3


def test_a_ratio_above_one_is_better_also_where_less_is():
    """Twice as fast is 2, and half the latency is 2."""
    assert figures(20.0, 10.0, "events/s", "")["ratio"] == 2
    assert figures(5.0, 10.0, "ms", "", lower_is_better=True)["ratio"] == 2


def test_a_missing_peer_is_named():
    """Without what it is measured against, a bench says which package to install."""
    with pytest.raises(PeerMissingError, match=r"needs 'no_such_package', which is not installed"):
        needs("consume-kafka", "json", "no_such_package")


def test_the_command_tells_a_missing_peer(monkeypatch, capsys):
    """It ends with that sentence and an exit code, and prints no figures."""

    def missing(name, size):
        raise PeerMissingError(f"Cannot measure {name!r}: its peer is missing.")

    monkeypatch.setattr(command, "run", missing)
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["bench", "overhead", "--json"])
    with pytest.raises(SystemExit, match="Cannot measure 'overhead'"):
        command.main()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("arguments", [["--size", "5"], ["append", "--size", "0"], ["append", "--size", "5"]])
def test_a_size_that_cannot_be_chosen_is_refused(monkeypatch, arguments):
    """A size needs a bench that has one, and is at least 1."""
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    with pytest.raises(SystemExit):
        command.main()


def test_every_bench_can_be_found():
    """Each name of the command is a module that measures."""
    for name in command.NAMES:
        source = Path(command.__file__).with_name(f"{name.replace('-', '_')}.py")
        assert "def measure(" in source.read_text("utf-8")


def test_a_tally_starts_with_the_first_call():
    """What goes before the first call, such as starting up, is not counted."""
    tally = Tally(3)
    assert tally.started == 0
    tally.begin()
    started = tally.started
    tally.add(2)
    assert not tally.full.is_set()
    tally.add()
    assert tally.full.is_set()
    assert tally.started == started


def test_quantiles_are_values_that_were_seen():
    """Of a hundred values, the p99 is the last but none, and the median the one in the middle."""
    values = [float(n) for n in range(100)]
    assert quantile(values, 0.99) == 99
    assert quantile(values, 0.5) == 50
    assert quantile([7.0], 0.99) == 7
