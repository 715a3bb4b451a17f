import base64
import hashlib
import re

from tropism.web.page import Column, Header, Row, Tile, ledger, page, score_table
from tropism.web.svg import text

EVIL = '<script>alert("x")</script>'
COLUMNS = (Column("AUC", 3, "higher"), Column("Log loss", 3, "lower"), Column("Trainings", 0))


def best(rows):
    wide = score_table(COLUMNS, rows).split('class="scores narrow"')[0]
    return re.findall(r'class="best">([^<]*)<', wide)


def row(name, *values, **more):
    return Row(name, "leaf", values, **more)


def test_the_best_of_each_column_stands_out_and_counts_do_not():
    assert best([row("a", 0.7, 0.4, 1), row("b", 0.8, 0.5, 2)]) == ["0.400", "0.800"]


def test_values_that_read_alike_are_equally_good():
    assert best([row("a", 0.8001, 0.5, 1), row("b", 0.8004, 0.6, 2)]) == ["0.800", "0.500", "0.800"]


def test_a_row_aside_is_never_the_best():
    assert best([row("a", 0.7, 0.5, 1), row("b", 0.6, 0.6, 1), row("c", 0.9, 0.1, 1, aside=True)]) == [
        "0.700",
        "0.500",
    ]


def test_what_is_absent_is_a_dash_and_never_the_best():
    table = score_table(COLUMNS, [row("a", None, float("nan"), 0), row("b", 0.8, 0.5, None)])
    assert table.count("not computed") == 2 * 2 * 3
    assert ">–<" in table
    assert best([row("a", None, None, None), row("b", 0.8, 0.5, 1)]) == []  # nothing to be better than
    assert "0.000" not in table


def test_a_page_escapes_all_it_is_told():
    header = Header(EVIL, EVIL, EVIL, (Tile(EVIL, EVIL, EVIL),), (EVIL, "yes"))
    body = [score_table([Column(EVIL)], [row(EVIL, 1.0)]), ledger(EVIL, [EVIL], [[EVIL]]), text(EVIL)]
    made = page(EVIL, header, body, [(EVIL, EVIL)])
    assert EVIL not in made
    assert made.count("<script>") == 1


def test_the_policy_admits_exactly_the_script_of_the_page():
    made = page("t", Header("s", "v"), [], [])
    script = made.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#x27;sha256-{digest}&#x27;" in made
    assert "default-src &#x27;none&#x27;" in made
