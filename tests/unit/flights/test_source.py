"""The year's facts come in the order in which they became known."""

from collections import Counter

import msgspec
import pytest

from tropism.core.time import iso, parse_iso
from tropism.demo.flights.source import FIRST_US, _first_after, _zone, data_folder, flight_records

UNTIL = parse_iso("2013-01-04")


@pytest.fixture(scope="module")
def records():
    return flight_records(data_folder(), UNTIL)


def test_facts_are_in_order_of_time_and_id(records):
    places = [(record.time_us, record.id) for record in records]
    assert places == sorted(places)
    assert len({record.id for record in records}) == len(records)
    assert all(record.time_us < UNTIL for record in records)
    assert records[0].time_us == FIRST_US


def test_every_flight_has_its_own_key(records):
    scheduled = [r for r in records if r.type == "flights.scheduled.v1"]
    assert len({r.subject for r in scheduled}) == len(scheduled) > 2000


def test_the_first_flight_left_two_minutes_late_and_landed_eleven_minutes_late(records):
    """UA1545 to Houston: scheduled 5:15 in New York, arrival 8:19 in Houston, both in winter time."""
    mine = {r.type: r for r in records if "UA1545-000000" in r.subject}
    assert iso(mine["flights.scheduled.v1"].time_us) == "2013-01-01T10:15:00Z"
    assert iso(mine["flights.departed.v1"].time_us) == "2013-01-01T10:17:00Z"
    assert iso(mine["flights.landed.v1"].time_us) == "2013-01-01T14:30:00Z"


def test_a_flight_to_an_unlisted_airport_lands_in_atlantic_time(records):
    """B6 725 to San Juan, which airports.csv does not list, is due at 10:50 four hours behind UTC."""
    landed = [msgspec.json.decode(r.data) for r in records if r.type == "flights.landed.v1"]
    caribbean = [flight for flight in landed if flight["destination"] in {"SJU", "BQN", "STT", "PSE"}]
    assert caribbean
    assert all(150 < flight["duration_minutes"] < 330 for flight in caribbean)


def test_a_cancellation_is_known_two_hours_after_the_schedule(records):
    scheduled = {r.subject: r.time_us for r in records if r.type == "flights.scheduled.v1"}
    cancelled = [r for r in records if r.type == "flights.cancelled.v1"]
    assert cancelled
    assert {r.time_us - scheduled[r.subject] for r in cancelled} == {7_200_000_000}


def test_nothing_lands_before_it_left(records):
    left = {r.subject: r.time_us for r in records if r.type == "flights.departed.v1"}
    landed = [r for r in records if r.type == "flights.landed.v1"]
    assert all(r.time_us > left[r.subject] for r in landed)


def test_clocks_that_change_in_between_are_allowed_for():
    """On 10 March 2013 New York's clocks went from 1:59 to 3:00: 4:00 came three hours after 0:00."""
    midnight = parse_iso("2013-03-10T05:00:00Z") // 60_000_000
    assert _first_after(midnight, 4 * 60, _zone("America/New_York")) - midnight == 180


def test_all_kinds_of_facts_are_there(records):
    assert set(Counter(record.type for record in records)) == {
        "flights.scheduled.v1",
        "flights.departed.v1",
        "flights.landed.v1",
        "flights.cancelled.v1",
        "weather.observed.v1",
    }
