"""What a checkup tells people."""

import pytest

from tropism.cli.checkup import ConsumerReport, Report
from tropism.cli.checkup_report import print_report


def test_what_came_too_late_is_told_by_view(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever has a view with a lateness learns how many events it left out."""
    consumer = ConsumerReport("selling", 0, None, 0, started=True, late={"hourly": 1200})
    print_report(Report(consumers=[consumer]))
    assert "late: 1,200 events came too late for view 'hourly' of 'selling'" in capsys.readouterr().out
