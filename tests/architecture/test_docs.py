"""What README and docs say runs, and leads somewhere."""

import asyncio
import re
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)|src=\"([^\"]+)\"")


@pytest.mark.parametrize(
    "page", [p for p in PAGES if BLOCK.search(p.read_text("utf-8"))], ids=lambda p: p.name
)
def test_code_blocks_run_from_top_to_bottom(page, monkeypatch):
    text = page.read_text("utf-8")
    # Signatures are read with the names of their module: it has to be one.
    module = types.ModuleType(f"docs_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for found in BLOCK.finditer(text):
        # Errors then point into the page.
        code = "\n" * text.count("\n", 0, found.start(1)) + found[1]
        exec(compile(code, str(page), "exec"), vars(module))  # noqa: S102 (the repository's own pages)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files_that_exist(page):
    for link, source in LINK.findall(page.read_text("utf-8")):
        target = link or source
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


def test_readme_is_short_and_opens_with_the_two_commands():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 150
    assert lines[3].startswith("make demo")
    assert "pip install" in lines[4]
    assert "tropism new" in lines[4]


def test_readme_shows_the_example_as_it_is():
    example = (ROOT / "examples" / "registration.py").read_text("utf-8")
    assert f"```python\n{example}```" in (ROOT / "README.md").read_text("utf-8")
    assert sum(1 for line in example.splitlines() if line.strip()) <= 25


def test_the_example_lets_three_services_react(monkeypatch):
    """Each of B, C and D reacts to the event that A emits, once."""
    from tropism import testing

    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import registration as example

    async def check():
        async with testing.run(example.app) as t:
            request = example.SignUp(email="ada@example.org")
            await t.publish(request)
            await t.advance(seconds=1)
            registered = t.only(example.UserRegistered)
            assert registered.caused_by(request)
            assert t.only(example.WelcomeSent).caused_by(registered)
            assert t.only(example.ProfileCreated).event.name == "ada"
            assert t.state("analytics", "count", "ada@example.org") == 1

    asyncio.run(check())
    monkeypatch.delitem(sys.modules, "registration")
