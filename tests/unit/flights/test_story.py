"""What is told of a run adds up."""

from tropism.demo.flights.story import parts_of


def test_every_second_is_counted_once():
    stages = {"load": 4.0, "run": 25.0, "read back": 1.0, "baselines": 0.0, "training, of run": 9.5}
    parts = parts_of(stages)
    assert dict(parts)["event path"] == 15.5
    assert sum(seconds for _, seconds in parts) == 30.0
    assert [name for name, _ in parts] == ["load", "event path", "training", "read back", "baselines"]
