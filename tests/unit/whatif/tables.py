"""Small tables of known nature."""

import csv
import math
import random


def write_stream(path, rows=1200, *, drift=None, seed=1, minutes=10, **more):
    """A table whose label follows two of three numbers and a category; from ``drift`` on, the other way."""
    chance = random.Random(seed)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["when", "id", "known", "a", "b", "noise", "kind", "label", *more])
        for number in range(rows):
            a, b, noise = (round(chance.gauss(0, 1), 4) for _ in range(3))
            kind = chance.choice("xyz")
            sign = -1 if drift is not None and number >= drift * rows else 1
            logit = sign * (2.5 * a - 1.5 * b) + (1.0 if kind == "x" else 0.0)
            label = int(chance.random() < 1 / (1 + math.exp(-logit)))
            when = 1_600_000_000 + number * minutes * 60
            extra = [value(number, label) for value in more.values()]
            out.writerow([when, f"r{number}", when + 1800, a, b, noise, kind, label, *extra])
    return path
