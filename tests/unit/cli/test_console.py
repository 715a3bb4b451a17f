"""Reports go to standard output, everything else to standard error."""

import io
import re
import sys

import pytest

from tropism.cli import console, dev


def test_a_pipe_gets_every_column_whole(capsys):
    console.print_table(("a", "b"), [("x" * 300, None), (1, "[bold]")], none="nothing")
    out = capsys.readouterr().out.splitlines()
    assert out[1] == f"{'x' * 300}  -"
    assert out[2].split() == ["1", "[bold]"]


def test_an_empty_table_prints_nothing(capsys):
    console.print_table(("a",), [], none="nothing")
    assert capsys.readouterr() == ("", "nothing\n")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stdin", "yes", "agreed"),
    [
        (Terminal("y\n"), False, True),
        (Terminal("\n"), False, False),
        (Terminal("no\n"), False, False),
        (Terminal(""), True, True),
        (io.StringIO("y\n"), False, False),
    ],
)
def test_only_a_terminal_is_asked(monkeypatch, stdin, yes, agreed):
    monkeypatch.setattr(sys, "stdin", stdin)
    assert console.confirm("Discard?", yes=yes) is agreed


def test_a_terminal_gets_a_table_that_fits(monkeypatch):
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", "40")
    console.print_table(("a",), [("word " * 30,)], none="")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert max(map(len, shown.splitlines())) <= 40


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("2K", 2048), ("512M", 2**29), ("1GiB", 2**30), ("3mb", 3 << 20)]
)
def test_sizes(text, size):
    assert dev._bytes(text) == size
