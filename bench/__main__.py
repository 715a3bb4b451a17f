"""``python -m bench NAME [--json] [--size N]``: measure one thing against its peer, in turn, in this call."""

import argparse
import inspect
import json
import signal
import sys
from importlib import import_module

from bench.figures import PeerMissingError

NAMES = {
    "append": "records appended to the embedded log a second, against raw grouped SQLite commits of the same",
    "consume-kafka": "events consumed from a full Kafka topic a second, against FastStream",
    "consume-nats": "events consumed from a full JetStream stream a second, against the raw client",
    "consume-postgres": "events consumed into state by key a second, effectively once, against raw psycopg",
    "decide": "decisions a second asked for one by one, against calling the predictor a row at a time",
    "decide-sqlite": "durable decisions a second, a handler call each, against FastStream on JetStream",
    "decide-sqlite-columnar": "durable decisions a second in columns, against FastStream in batches",
    "event-path": "input events of the flights a second, learned from too, against reading and storing",
    "gate-level": "wrong promotions where outcomes fail together, betting on blocks of time, against on each",
    "latency-sqlite": "milliseconds from publish to a handler's durable output, against one raw commit",
    "overhead": "processor time an event over the raw client's, on memory, SQLite and Kafka",
    "publish-sqlite": "durable publishes a second from 100 tasks, against raw commits of one record",
    "queue": "messages sent, received and acknowledged a second, against raw SQLite doing the same",
    "steps": "journaled steps a second, 64 at once, against DBOS on SQLite and raw grouped commits",
    "scale": "processor time an event in a long log, and among many services, against the smallest",
    "workers": "events that two workers handle a second, against one, on PostgreSQL and on Kafka",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=sorted(NAMES), help="what to measure; without it, all")
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    parser.add_argument("--size", type=int, help="how many events, where the bench lets that be chosen")
    arguments = parser.parse_args()
    if arguments.size is not None and (arguments.name is None or arguments.size < 1):
        parser.error("--size is a number from 1, and needs the name of a bench")
    # Ended from outside, it stops its servers too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    names = [arguments.name] if arguments.name else sorted(NAMES)
    found, missing = {}, []
    for name in names:
        try:
            found[name] = run(name, arguments.size)
        except PeerMissingError as error:
            missing.append(str(error))
    if arguments.json and found:
        print(json.dumps(found[arguments.name] if arguments.name else found))
    elif not arguments.json:
        tell(found)
    if missing:
        sys.exit("\n".join(missing))


def run(name: str, size: int | None) -> dict[str, object]:
    """Measure. Raises: PeerMissingError; SystemExit where a size is asked for that cannot be chosen."""
    measure = import_module(f"bench.{name.replace('-', '_')}").measure
    if size is None:
        return measure()
    if "size" not in inspect.signature(measure).parameters:
        sys.exit(f"Cannot measure {name!r} with --size: its size is fixed. Leave it out.")
    return measure(size)


def tell(found: dict[str, dict[str, object]]) -> None:
    for name, figures in found.items():
        print(f"{name}: ours {figures['ours']:,.1f} {figures['unit']}, peer {figures['peer']:,.1f}, ")
        print(f"  ratio {figures['ratio']:.2f}. {figures['method']}")


if __name__ == "__main__":
    main()
