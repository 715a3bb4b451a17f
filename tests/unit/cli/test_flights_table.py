"""The table of the demo fits a plain terminal, and says why there is none."""

import pytest

from tropism.cli.flights_table import print_flights
from tropism.demo.flights.comparing import Way
from tropism.models.metrics import score

SUMMARY = {
    "events": 1_027_013,
    "decisions": 336_776,
    "outcomes": 327_346,
    "expired": 9_430,
    "promotions": 12,
    "rollbacks": 1,
    "events_per_second": None,
    "stages": {"load": 20.0, "run": 300.0, "training, of run": 100.0},
}


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)


def test_four_rows_on_a_plain_terminal(capsys):
    import numpy as np

    outputs = np.array([0.1, 0.9, 0.2, 0.7, 0.4] * 10)
    scores = score(outputs, (outputs > 0.5).astype(float))
    ways = [Way(name, outputs, scores, 48, 12) for name in ("static", "cron", "adaptive", "hindsight")]
    print_flights((*ways,), SUMMARY, "2013-02-01 to 2013-12-31")
    told = capsys.readouterr().out
    assert "scored on flights of 2013-02-01 to 2013-12-31" in told
    rows = [line for line in told.splitlines() if line.endswith(" 48         12")]
    assert [row.partition("  ")[0].split(" 1.0")[0] for row in rows] == [
        "static, January",
        "weekly cron",
        "Tropism",
        "best in hindsight",
    ]
    assert "event path 200.0 s, training 100.0 s" in " ".join(told.split())


def test_without_scores_the_reason_is_given(capsys):
    print_flights((), SUMMARY, "")
    assert "Nothing was scored: January is there to learn from" in " ".join(capsys.readouterr().out.split())
