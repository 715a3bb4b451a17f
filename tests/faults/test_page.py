"""What ``docs/reliability.md`` says is what the suite runs."""

from pathlib import Path

from tests.faults.elsewhere import ELSEWHERE, NOT_APPLICABLE, OPEN
from tests.faults.page import PAGE, tables, written
from tests.faults.scenarios import SCENARIOS

TESTS = Path(__file__).parents[1]
COUNTS = {"S": 9, "O": 8, "R": 9, "P": 13, "D": 9, "B": 11, "F": 7}
"""How many pitfalls of each family are known."""


def test_the_page_says_what_the_suite_runs():
    """Its tables are those of the suite; where not, 'python -m tests.faults.page' writes them."""
    text = PAGE.read_text("utf-8")
    assert all(f"<!-- {name} -->" in text for name in tables())
    assert text == written(text)


def test_every_known_pitfall_is_proved_or_said_to_be_open():
    """Each is in a scenario, in another test, impossible here, or among what is open; and never both."""
    known = {f"{family}{number}" for family, count in COUNTS.items() for number in range(1, count + 1)}
    proved = {code for scenario in SCENARIOS.values() for code in scenario.codes.split()} | set(ELSEWHERE)
    assert proved | set(NOT_APPLICABLE) | set(OPEN) == known
    assert not proved & {*NOT_APPLICABLE, *OPEN}


def test_tests_that_are_named_exist():
    """A file that is said to prove something is there, and so is the test where one is named."""
    for _, tests in ELSEWHERE.values():
        for test in tests:
            path, _, name = test.partition("::")
            text = (TESTS / path).read_text("utf-8")
            assert not name or f"def {name}(" in text, test
