"""What becomes known of a flight, and when."""

from tropism.core.event import Event

LATE_MINUTES = 15.0
"""A flight that arrives later than this after its schedule is late."""


class FlightScheduled(Event, type="flights.scheduled.v1", key="flight_id"):
    """A flight is due to leave now. Local times are minutes of the day at the origin and destination."""

    flight_id: str
    carrier: str
    origin: str
    destination: str
    aircraft: str | None
    scheduled_us: int
    minute_of_day: int
    weekday: int
    arrival_minute: int
    block_minutes: float
    distance: float


class FlightDeparted(Event, type="flights.departed.v1", key="flight_id"):
    """A flight has left, so many minutes after its schedule; more than half leave early."""

    flight_id: str
    carrier: str
    origin: str
    destination: str
    aircraft: str | None
    scheduled_us: int
    delay_minutes: float


class FlightLanded(Event, type="flights.landed.v1", key="flight_id"):
    """A flight has arrived at its gate, so many minutes after its schedule."""

    flight_id: str
    carrier: str
    origin: str
    destination: str
    aircraft: str | None
    delay_minutes: float
    departure_delay_minutes: float
    duration_minutes: float


class FlightCancelled(Event, type="flights.cancelled.v1", key="flight_id"):
    """A flight will not leave."""

    flight_id: str
    carrier: str
    origin: str
    destination: str
    scheduled_us: int


class WeatherObserved(Event, type="weather.observed.v1", key="origin"):
    """What an airport's weather station measured: Fahrenheit, miles, miles per hour, inches, millibar."""

    origin: str
    temperature: float | None
    dew_point: float | None
    humidity: float | None
    wind_direction: float | None
    wind_speed: float | None
    precipitation: float | None
    pressure: float | None
    visibility: float | None


class PassengersWarned(Event, type="warnings.passengers.v1", key="flight_id"):
    """Passengers are told that their flight will probably be late."""

    flight_id: str
    probability: float


def is_late(landed: FlightLanded) -> float:
    """Return 1.0 if a flight arrived late, else 0.0."""
    return 1.0 if landed.delay_minutes > LATE_MINUTES else 0.0
