"""One self-contained page: nothing on it comes from elsewhere, and the page itself forbids that."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from tropism.web.layout import Tone
from tropism.web.svg import EMPTY, Markup, join, tag, text
from tropism.web.words import ABSENT, decimal, finite

_MARK = Markup(
    '<svg viewBox="0 0 26 26" aria-hidden="true"><g class="t-leaf" fill="none" stroke="var(--leaf)" '
    'stroke-width="2" stroke-linecap="round"><path d="M13 24C13 17 10 14 5.5 12.5"/>'
    '<path d="M13 24C13 13 16 8 22 4.5"/></g><g fill="var(--leaf)">'
    '<path d="M23.5 3C17 2.5 13.6 5.4 13.8 11C19.5 11.4 23 8.6 23.5 3z"/>'
    '<path d="M2.5 10.5C2.8 14.6 5.6 16.8 10.4 16.3C10.4 12.2 7.6 9.8 2.5 10.5z"/></g></svg>'
)


@dataclass(frozen=True, slots=True)
class Tile:
    """A key figure: its name, its value as words, and a smaller word behind it."""

    name: str
    value: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """What a page says first: whose it is, its verdict in one sentence, and a second sentence."""

    subject: str
    verdict: str
    lead: str = ""
    tiles: tuple[Tile, ...] = ()
    badge: tuple[str, str] | None = None  # words, and yes, no or unclear


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of scores. ``better`` says which way is good, None that neither is."""

    name: str
    digits: int = 3
    better: Literal["higher", "lower"] | None = None
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of scores; one that is ``aside`` could not have been had, and is never the best."""

    name: str
    tone: Tone
    values: tuple[float | None, ...]
    hero: bool = False
    aside: bool = False


def section(heading: str, read: str, *body: Markup) -> Markup:
    """Return a part of a page: a heading, one sentence on how to read it, and what it shows."""
    return tag("section", tag("h2", text(heading)), tag("p", text(read), class_="read"), *body)


def note(words: str) -> Markup:
    """Return a remark under a figure."""
    return tag("p", text(words), class_="note")


def score_table(columns: Sequence[Column], rows: Sequence[Row]) -> Markup:
    """Return rows of scores, the best of each column set apart; on a phone, rows become columns."""
    cells = [
        [_cell(column, row.values[k], _best(column, rows, k, row)) for k, column in enumerate(columns)]
        for row in rows
    ]
    heads = [_column_name(each) for each in columns]
    wide = [
        _table_row(tag("th", _swatch(row), text(row.name), scope="row"), cells[k], _row_class(row))
        for k, row in enumerate(rows)
    ]
    narrow = [
        _table_row(tag("th", head, scope="row"), [row[k] for row in cells], None)
        for k, head in enumerate(heads)
    ]
    tones = [tag("th", text(row.name), scope="col", class_=f"t-{row.tone}") for row in rows]
    return tag(
        "div",
        _table([tag("th", head, scope="col") for head in heads], wide, "scores wide"),
        _table(tones, narrow, "scores narrow"),
    )


def ledger(summary: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """Return a table that opens on demand; its last column may be long."""
    body = [
        tag(
            "tr",
            *(tag("td", text(each)) for each in row[:-1]),
            *(tag("td", text(each), class_="wide-cell") for each in row[-1:]),
        )
        for row in rows
    ]
    head = tag("thead", tag("tr", *(tag("th", text(each), scope="col") for each in heads)))
    table = tag("div", tag("table", head, tag("tbody", *body)), class_="ledger", tabindex="0")
    return tag("details", tag("summary", text(summary)), table)


def page(
    title: str,
    header: Header,
    sections: Sequence[Markup],
    footer: Sequence[tuple[str, str]],
    *,
    card: bool = False,
) -> str:
    """Return a whole page. ``footer`` holds names and what they stand for; a card is narrower, and framed."""
    script = _asset("hover.js")
    body = join([_top(header), tag("main", *sections), _foot(footer), Markup(f"<script>{script}</script>")])
    inner = tag("div", body, class_="card") if card else body
    return "".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            tag("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">',
            tag("title", text(title)),
            f"<style>{_asset('page.css')}</style></head>\n<body>{inner}</body></html>\n",
        ]
    )


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


@lru_cache
def _asset(name: str) -> str:
    return files("tropism.web").joinpath("assets", name).read_text(encoding="utf-8")


def _top(header: Header) -> Markup:
    eyebrow = tag(
        "div", _MARK, tag("span", tag("b", text("Tropism")), text(f"  {header.subject}")), class_="eyebrow"
    )
    badge = tag("span", text(header.badge[0]), class_=f"badge {header.badge[1]}") if header.badge else EMPTY
    lead = tag("p", text(header.lead), class_="lead") if header.lead else EMPTY
    tiles = tag("dl", *(_tile(each) for each in header.tiles), class_="tiles") if header.tiles else EMPTY
    return tag("header", eyebrow, badge, tag("h1", text(header.verdict)), lead, tiles, class_="top")


def _tile(tile: Tile) -> Markup:
    unit = tag("small", text(tile.unit)) if tile.unit else EMPTY
    return tag("div", tag("dt", text(tile.name)), tag("dd", text(tile.value), unit))


def _foot(footer: Sequence[tuple[str, str]]) -> Markup:
    pairs = [tag("dt", text(name)) + tag("dd", tag("code", text(value))) for name, value in footer]
    return tag("footer", tag("dl", join(Markup(each) for each in pairs)), class_="foot")


def _table(heads: Sequence[Markup], rows: Sequence[Markup], look: str) -> Markup:
    head = tag("thead", tag("tr", tag("th", text("")), *heads))
    return tag("table", head, tag("tbody", *rows), class_=look)


def _table_row(head: Markup, cells: Sequence[Markup], look: str | None) -> Markup:
    return tag("tr", head, *cells, class_=look)


def _row_class(row: Row) -> str | None:
    return "hero" if row.hero else "aside" if row.aside else None


def _swatch(row: Row) -> Markup:
    return tag("span", class_=f"swatch t-{row.tone}")


def _column_name(column: Column) -> Markup:
    if column.better is None:
        return text(column.name)
    arrow, words = ("↑", "higher is better") if column.better == "higher" else ("↓", "lower is better")
    return join([text(column.name), Markup("&nbsp;"), tag("span", text(arrow), class_="arrow", title=words)])


def _cell(column: Column, value: float | None, best: bool) -> Markup:
    if finite(value) is None:
        return tag(
            "td", tag("span", text(ABSENT), class_="absent", title="not computed", aria_label="not computed")
        )
    words = text(_written(column, value))
    return tag("td", tag("strong", words, class_="best") if best else words)


def _written(column: Column, value: float | None) -> str:
    known = finite(value)
    if known is None:
        return ABSENT
    return f"{decimal(known * 100, 1)}\u00a0%" if column.percent else decimal(known, column.digits)


def _best(column: Column, rows: Sequence[Row], k: int, row: Row) -> bool:
    """Say whether a row's value, as it is shown, is the best of its column: equal words are equally good."""
    known = [value for each in rows if not each.aside and (value := finite(each.values[k])) is not None]
    own = finite(row.values[k])
    if column.better is None or row.aside or own is None or len(known) < 2:
        return False
    top = max(known) if column.better == "higher" else min(known)
    return _written(column, own) == _written(column, top)
