"""``python -m bench NAME [--json]``: measure one thing against its peer, in turn, in this call."""

import argparse
import json
import sys
from importlib import import_module

NAMES = {
    "append": "records appended to the embedded log a second, against raw grouped SQLite commits of the same",
    "event-path": "input events of the flights a second, learned from too, against reading and storing",
    "gate-level": "wrong promotions where outcomes fail together, betting on blocks of time, against on each",
    "workers": "events that two workers handle a second, against one, on PostgreSQL and on Kafka",
    "queue": "messages sent, received and acknowledged a second, against raw SQLite doing the same",
    "decide": "decisions a second asked for one by one, against calling the predictor a row at a time",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=sorted(NAMES), help="what to measure; without it, all")
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    arguments = parser.parse_args()
    names = [arguments.name] if arguments.name else sorted(NAMES)
    found = {name: import_module(f"bench.{name.replace('-', '_')}").measure() for name in names}
    if arguments.json:
        print(json.dumps(found[arguments.name] if arguments.name else found))
        return
    for name, figures in found.items():
        print(f"{name}: ours {figures['ours']:,.0f} {figures['unit']}, peer {figures['peer']:,.0f}, ")
        print(f"  ratio {figures['ratio']:.2f}. {figures['method']}", file=sys.stdout)


if __name__ == "__main__":
    main()
