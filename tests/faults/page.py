"""The tables of ``docs/reliability.md``, from the suite itself: ``python -m tests.faults.page`` writes them."""

import re
from pathlib import Path

from tests.faults.elsewhere import ELSEWHERE, NOT_APPLICABLE, OPEN
from tests.faults.scenarios import SCENARIOS
from tests.faults.sites import ENGINES

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def tables():
    """Return the generated parts of the page, by the name that marks their place."""
    return {"engines": engines(), "scenarios": scenarios(), "elsewhere": elsewhere(), "open": still_open()}


def engines():
    rows = [f"| {engine.name} | {engine.server} | {engine.real} |" for engine in ENGINES.values()]
    return ["| engine | what serves it in the suite | real server |", "|---|---|---|", *rows]


def scenarios():
    names = list(ENGINES)
    rows = [f"| what goes wrong, and what holds | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for scenario in SCENARIOS.values():
        cells = [_cell(scenario, ENGINES[name]) for name in names]
        rows.append(f"| {scenario.law} | {' | '.join(cells)} |")
    notes = [
        f"- `{scenario.name}` on {name}: {reason}."
        for scenario in SCENARIOS.values()
        for name, reason in scenario.deviations.items()
    ]
    return [*rows, "", *(notes or ["Known deviations: none."])]


def _cell(scenario, engine):
    if engine.name in scenario.deviations:
        return "deviates"
    return "holds" if scenario.runs_on(engine) else "-"


def elsewhere():
    rows = ["| what else is proved | where, under `tests/` |", "|---|---|"]
    for what, tests in ELSEWHERE.values():
        rows.append(f"| {what} | {', '.join(f'`{test}`' for test in tests)} |")
    return rows


def still_open():
    return [
        *(f"- Not proved: {reason}." for reason in OPEN.values()),
        *(f"- Cannot happen: {reason}." for reason in NOT_APPLICABLE.values()),
    ]


def written(text):
    """Return a page with its generated parts as they should be."""
    for name, lines in tables().items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = mark.sub(lambda found, lines=lines: found[1] + "\n".join(lines) + "\n" + found[2], text)
    return text


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
