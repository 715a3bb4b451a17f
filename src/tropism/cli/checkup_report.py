"""A checkup for people."""

from tropism.cli.checkup import Report
from tropism.cli.console import print_table


def print_report(report: Report) -> None:
    """Print what was found, problems last."""
    print(f"tropism {report.tropism}, Python {report.python}, app {report.app or '(none named)'}\n")
    ports = ((n, p.url, "ok" if p.ok else "FAILED", p.adapter, p.owner) for n, p in report.ports.items())
    print_table(("port", "url", "", "adapter", "owned by"), ports, none="No ports were opened.")
    for name, port in report.ports.items():
        if port.durability:
            print(f"\n{name}: {port.durability}")
    print()
    consumers = (
        (c.name, c.behind, c.watermark, c.dead_letters, c.quarantined, "" if c.started else "never ran")
        for c in report.consumers
    )
    columns = ("consumer", "events behind", "reached", "dead letters", "quarantined", "")
    opened = all(port.ok for port in report.ports.values())
    none = "No consumer has run here." if opened else "Consumers are not known while a port is not open."
    print_table(columns, consumers, none=none)
    for extra, names in report.extras_missing.items():
        print(
            f"\nextra {extra!r} is not installed (lacks {', '.join(names)}): pip install 'tropism[{extra}]'"
        )
    for name, limit in report.providers.items():
        told = [f"{limit.per_second:g} calls a second"] if limit.per_second is not None else []
        told += [f"{limit.in_flight} at a time"] if limit.in_flight is not None else []
        handlers = ", ".join(limit.handlers)
        print(f"\nprovider {name!r}: {', '.join(told) or 'no limit'} a process, called by {handlers}")
    for emulation in report.emulations:
        print(f"\nemulated: {emulation}")
    print(f"\n{'All is well.' if report.ok else f'{len(report.problems)} to mend:'}")
    for problem in report.problems:
        print(f"- {problem}")
