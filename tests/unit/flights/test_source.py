"""The year's facts come in the order in which they became known."""

import zipfile
from collections import Counter

import msgspec
import pytest

from tropism.core.codec import Codec
from tropism.core.event import key_of
from tropism.core.time import iso, parse_iso
from tropism.demo.flights.source import (
    EVENTS,
    FIRST_US,
    _first_after,
    _zone,
    data_folder,
    fact_days,
    flight_records,
)

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


def test_every_record_fits_the_type_that_it_says(records):
    """Facts are encoded unchecked, a million of them: here they are read."""
    codec = Codec(EVENTS)
    for record in records:
        event = codec.decode(record)
        assert (type(event).event_topic, key_of(event)) == (record.topic, record.subject)


FLIGHTS = """year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance
2013,1,31,2359,2359,-14,430,435,-5,B6,1,N1,JFK,BQN,200,1576
2013,10,1,NA,600,NA,NA,800,NA,UA,2,N2,EWR,IAH,NA,1400
2013,2,1,500,515,-15,900,830,30,AA,3,,LGA,ORD,100,733
"""
WEATHER = """origin,temp,dewp,humid,wind_dir,wind_speed,precip,pressure,visib,time_hour
LGA,40,30,60,270,NA,0,NA,10,2013-02-01T08:00:00Z
EWR,40,30,60,270,10,0,1012,10,2013-02-01T08:00:00Z
JFK,40,30,60,270,10,0,1012,10,2013-12-01T08:00:00Z
"""


@pytest.fixture
def folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", FLIGHTS)
    (tmp_path / "weather.csv").write_text(WEATHER)
    (tmp_path / "airports.csv").write_text("faa,name,tzone\nIAH,x,America/Chicago\nORD,y,America/Chicago\n")
    return tmp_path


ORDERED = [
    "departed/000000",
    "scheduled/000000",
    "weather/000000",
    "weather/000001",
    "landed/000000",
    "departed/000002",
    "scheduled/000002",
    "landed/000002",
    "scheduled/000001",
    "cancelled/000001",
    "weather/000002",
]


def test_facts_are_in_their_order_though_the_file_has_october_behind_january(folder):
    """Days come one after the other, what is known across midnight and the last weather included."""
    assert [record.id for record in flight_records(folder)] == ORDERED
    days = list(fact_days(folder))
    assert [record.id for records in days for record in records] == ORDERED
    assert max(map(len, days)) < len(ORDERED)


@pytest.mark.parametrize("place", range(len(ORDERED)))
def test_what_became_known_before_an_instant_is_the_same_beginning(folder, place):
    until_us = flight_records(folder)[place].time_us
    before = [record for record in flight_records(folder) if record.time_us < until_us]
    assert flight_records(folder, until_us) == before
