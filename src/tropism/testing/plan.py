"""What a seed stands for: which system, of how many processes, in which weather."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

from tropism.testing.weather import KINDS

Mode = Literal["one", "standby", "spread", "shares"]
"""One process; several that compete for every service; services spread, or keys shared, over several."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A system and its weather."""

    seed: int
    mode: Mode
    live: bool
    nodes: int
    apart: bool
    dedup: bool
    partitions: int
    chunk: int
    in_flight_max: int
    lease_seconds: float
    keeps_names: bool
    restarts: bool
    mishaps: float
    publishers: int
    accounts: int
    count: int
    odds: Mapping[str, float]

    def __str__(self) -> str:
        """Say it in a line."""
        time = "live" if self.live else "event time"
        stores = "one store" if not self.apart else "log and state apart"
        ids = "" if self.dedup else ", ids unknown to the log"
        return (
            f"{self.mode}, {time}, {self.nodes} processes, {stores}{ids}, {self.partitions} partitions, "
            f"chunk {self.chunk}, {self.publishers} publishers of {self.count}"
        )


def plan_of(seed: int) -> Plan:
    """Return what a seed stands for: the same, whatever else has been drawn."""
    chance = Random(f"plan {seed}")  # noqa: S311 (chance that repeats is the point)
    live = chance.random() < 0.7
    mode: Mode = chance.choice(["one", "standby", "spread", "shares"] if live else ["one", "spread"])
    apart = chance.random() < 0.5
    # Where a kind of fault hides another, only some seeds without it find that one.
    fierce = chance.choice([0.3, 1.0, 2.0, 4.0])
    odds = {kind: odds * fierce for kind, odds in KINDS.items() if chance.random() < 0.7}
    return Plan(
        seed=seed,
        mode=mode,
        live=live,
        nodes=1 if mode == "one" else chance.choice([2, 3]),
        apart=apart,
        dedup=not apart or chance.random() < 0.5,
        partitions=chance.choice([3, 4, 6]),
        chunk=chance.choice([1, 3, 16, 1024]),
        in_flight_max=chance.choice([4, 64, 4096]),
        lease_seconds=chance.choice([3.0, 15.0]),
        keeps_names=chance.random() < 0.5,
        restarts=chance.random() < 0.5,
        mishaps=chance.choice([0.0, 1.0, 1.0, 2.0]),
        publishers=chance.choice([1, 2, 3]),
        accounts=chance.choice([1, 3, 6]),
        count=chance.choice([12, 30, 60]),
        odds=odds,
    )
