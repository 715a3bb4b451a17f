"""A short run of the flights with a policy that trains early, for tests that kill it."""

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path

from tropism.core.time import days, parse_iso
from tropism.demo.flights import run
from tropism.demo.flights.app import FlightFeatures
from tropism.demo.flights.results import read_results
from tropism.models.policy import Gate, Policy, RolloutPlan

QUICK = Policy(
    first_after=600,
    max_age=days(1),
    growth=None,
    cooldown=days(1),
    degradation=None,
    trainings_max=6,
    budget=days(30),
    drift=None,
    quality=None,
    gate=Gate(margin=0.05, block=timedelta(hours=2), block_outcomes_min=10, bound=0.2, outcomes_min=50),
    rollout=RolloutPlan(canary=timedelta(hours=6), watch=timedelta(days=1), harm_margin=0.05),
    review=timedelta(hours=3),
    allowance=timedelta(hours=3),
)


async def main(folder: str, until: str, speed: str, processes: str) -> None:
    options = run.FlightsOptions(
        Path(folder),
        parse_iso(until),
        seed=7,
        speed=float(speed) or None,
        policy=QUICK,
        processes=int(processes),
    )
    async with run.opened(options) as opened:
        end_us = await run.load(opened.platform, options, lambda _: None)
        print("loaded", flush=True)
        await run.run(opened, run.system(options), end_us, options, lambda _: None)
        results = await read_results(opened.platform.log, FlightFeatures._fields)
    kinds = [step.type for step in results.steps]
    summary = {
        "decisions": len(results.rows),
        "subjects": results.subjects,
        "outcomes": results.outcomes,
        "expired": results.expired,
        "promotions": kinds.count("models.promoted.v1"),
        "trainings": kinds.count("training.trained.v1"),
        "digest": results.digest,
    }
    print(json.dumps(summary), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
