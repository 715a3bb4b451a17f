import random
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tropism.web import flights_report, whatif_card
from tropism.web.charts import Band, CalibrationPoint, HeatRow, Span
from tropism.web.facts import History, Quality, Scores, Step
from tropism.web.flights_report import Calibration, FlightsReport, KeyFigures, Latency
from tropism.web.whatif_card import WhatIfCard

EVIL = '<script>alert("x")</script>'
VOID = {"meta", "link", "br"}


class Balanced(HTMLParser):
    """Fails where elements are not closed in their order; counts them."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.seen = {}

    def handle_starttag(self, tag, attrs):
        self.seen[tag] = self.seen.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.seen[tag] = self.seen.get(tag, 0) + 1


def parsed(page):
    found = Balanced()
    found.feed(page)
    found.close()
    assert not found.open
    return found.seen


EMPTY_REPORT = FlightsReport(KeyFigures(0, 0, 0, 0), ())
EMPTY_CARD = WhatIfCard("t", 0, 0, None, None, "logistic", ())


@pytest.fixture(params=["year", "empty", "card", "empty card"])
def made(request, flights, card):
    """Render a report or a card, with values and without."""
    return {
        "year": lambda: flights_report.render(flights()),
        "empty": lambda: flights_report.render(EMPTY_REPORT),
        "card": lambda: whatif_card.render(card()),
        "empty card": lambda: whatif_card.render(EMPTY_CARD),
    }[request.param]


def test_a_page_asks_nothing_of_anybody(made):
    page = made()
    assert not re.search(
        r"https?:|//[a-z]|@import|\burl\(|\bsrc=|\bfetch\b|XMLHttp|<iframe|<object|<embed",
        page.replace("http://www.w3.org/2000/svg", ""),
    )
    assert re.findall(r'href="([^"]*)"', page) == ["data:,"]


def test_same_values_same_bytes(made):
    assert made().encode() == made().encode()


def test_every_element_is_closed(made):
    assert parsed(made())["h1"] == 1


def test_a_year_is_light_enough_to_mail(flights, card):
    assert len(flights_report.render(flights()).encode()) < 600_000
    assert len(whatif_card.render(card()).encode()) < 200_000


def test_a_year_shows_all_its_parts(flights):
    page = flights_report.render(flights())
    assert parsed(page)["svg"] > 30
    for words in ("336,776", "9,430", "2 min 51 s", "26,412"):
        assert words in page.replace("\u00a0", " ")
    for words in (
        "sha256:5e1f6c0c",
        "tropism demo flights --seed 7",
        "Tropism 0.1.0",
        "v13",
        "Nemo",
        "rolled back",
    ):
        assert words in page
    assert page.count("No values yet") == 0


def test_what_is_absent_is_shown_as_absent(flights):
    rows = (Scores("static"), Scores("cron"), Scores("tropism"), Scores("hindsight"))
    page = flights_report.render(replace(flights(), rows=rows, histories=(), latency=Latency()))
    assert page.count('aria-label="not computed"') == 2 * 4 * 7
    assert "No decision is scored yet" in page
    assert "What learning adds" not in page
    assert page.count("No values yet") == 2 * 4  # three charts of quality, one of latency
    assert "No outcome is known yet" in flights_report.render(EMPTY_REPORT)


def test_a_storm_after_the_last_week_is_not_in_the_legend(flights):
    year = flights()
    assert ">storm<" in flights_report.render(year)
    late = tuple(replace(band, start_us=2**52, end_us=2**52 + 1) for band in year.storms)
    assert ">storm<" not in flights_report.render(replace(year, storms=late, versions=()))


def test_names_from_a_users_table_are_text(flights, card):
    point = Quality(0, 9, 0.5, 0.5, 0.5, 0.5)
    report = FlightsReport(
        KeyFigures(1, 1, 1, 0, 0.1, 10.0), (Scores("tropism", 0.7),), (History("tropism", (point,)),),
        (Step(0, "promoted", 1, EVIL, EVIL, ((EVIL, 1.0),)),), (Band(0, 1, EVIL),), (HeatRow(EVIL, ((0, 0.3),)),),
        (Calibration("tropism", (CalibrationPoint(0.5, 0.5, 1),)),), Latency(), (Span(EVIL, "shadow", 0, 1, EVIL),),
        ((EVIL, 1.0),), EVIL, 7, EVIL, EVIL,
    )  # fmt: skip
    for page in (
        flights_report.render(report),
        whatif_card.render(replace(card(), table=EVIL, model=EVIL, command=EVIL, steps=report.steps)),
    ):
        assert EVIL not in page
        assert parsed(page)["script"] == 1


def test_the_least_drifting_of_very_many_features_are_left_out_and_counted(flights):
    rows = tuple(HeatRow(f"feature {k}", ((0, k / 100),)) for k in range(60))
    page = flights_report.render(replace(flights(), drift=rows))
    assert "The 20 features that drifted least are not shown." in page
    assert ">feature 59<" in page
    assert ">feature 3<" not in page


@pytest.mark.parametrize(
    ("loop", "cron", "says"),
    [
        (0.775, 0.774, "0.046 above the model that never learned again, and level with weekly retraining (+0.001), on 9 trainings instead of 48."),
        (0.775, 0.760, "and 0.015 above weekly retraining, on 9 trainings instead of 48."),
        (0.715, 0.774, "0.014 below the model that never learned again, and 0.059 below weekly retraining, on 9 trainings instead of 48."),
    ],
)  # fmt: skip
def test_the_verdict_says_what_came_of_it(loop, cron, says, flights):
    rows = (Scores("static", 0.729), Scores("cron", cron, trainings=48), Scores("tropism", loop, trainings=9))
    assert flights_report.verdict(replace(flights(), rows=rows)).endswith(says)


def test_the_verdict_says_only_what_is_known(flights):
    said = flights_report.verdict(replace(flights(), rows=(Scores("tropism", 0.7),)))
    assert said == "Tropism reached an AUC of 0.700; there is nothing yet to compare with."


def history(row, losses, outcomes=500):
    return History(row, tuple(Quality(k, outcomes, log_loss=loss) for k, loss in enumerate(losses)))


def judged(card, static, loop, **more):
    return whatif_card.verdict(
        replace(card(), histories=(history("static", static, **more), history("tropism", loop, **more)))
    )


def noisy(level, slope, weeks=40, noise=0.01, seed=1):
    chance = random.Random(seed)
    return [level + slope * k + chance.gauss(0, noise) for k in range(weeks)]


def test_a_clear_gain_is_a_yes(card):
    found = judged(card, noisy(0.5, 0.002), noisy(0.5, 0, seed=2))
    assert found.answer == "yes"
    assert found.sentence.startswith("Yes: learning on lowers log loss by 8.")
    assert "and raises AUC by 0.054" in found.sentence


def test_a_clear_loss_is_a_no(card):
    found = judged(card, noisy(0.5, 0), noisy(0.5, 0.002, seed=2))
    assert found.answer == "no"
    assert found.sentence.startswith("No: learning on raises log loss by")


def test_the_same_quality_is_a_no(card):
    found = judged(card, noisy(0.5, 0, noise=0.001), noisy(0.5, 0, noise=0.001, seed=2))
    assert found.answer == "no"
    assert "stays about as good" in found.sentence


def test_much_noise_is_too_close_to_tell(card):
    found = judged(card, noisy(0.5, 0, noise=0.1, seed=3), noisy(0.5, 0, noise=0.1, seed=4))
    assert found.answer == "unclear"
    assert found.sentence.startswith("Too close to tell")


@pytest.mark.parametrize(("weeks", "outcomes"), [(0, 500), (1, 500), (5, 500), (40, 3)])
def test_little_data_is_too_little_to_tell(weeks, outcomes, card):
    found = judged(card, noisy(0.9, 0, weeks), noisy(0.1, 0, weeks), outcomes=outcomes)
    assert found.answer == "unclear"
    assert found.sentence.startswith("Too little data")


def test_losses_that_are_not_known_do_not_count(card):
    found = judged(card, [None] * 40, [0.1] * 40)
    assert found.sentence.startswith("Too little data")


def test_a_naive_guess_that_is_as_good_is_told(card):
    scores = (Scores("no-change", accuracy=0.9), Scores("static", 0.6), Scores("tropism", 0.7, accuracy=0.85))
    found = whatif_card.verdict(replace(card(), scores=scores))
    assert "Careful: repeating the last label is right in 90.0\u00a0% of cases" in found.detail


def test_the_calendar_is_compared_too(card):
    assert (
        "Training by the calendar comes to about the same with 40 trainings."
        in whatif_card.verdict(card()).detail
    )


def test_chance_alone_is_seldom_taken_for_a_gain(card):
    answers = [
        judged(card, noisy(0.5, 0, noise=0.03, seed=2 * k), noisy(0.5, 0, noise=0.03, seed=2 * k + 1)).answer
        for k in range(400)
    ]
    assert answers.count("yes") <= 20  # 2.5 % by the range's definition
