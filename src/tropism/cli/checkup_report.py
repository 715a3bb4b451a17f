"""A checkup for people."""

from collections.abc import Iterator

from tropism.cli.checkup import Report
from tropism.cli.console import print_table


def print_report(report: Report) -> None:
    """Print what was found, problems last."""
    print(f"tropism {report.tropism}, Python {report.python}, app {report.app or '(none named)'}\n")
    _print_ports(report)
    print()
    _print_consumers(report)
    if report.needs:
        print()
        needs = ((each.need, each.by, each.how) for each in report.needs)
        print_table(("need", "of", "met"), needs, none="")
    for line in _remarks(report):
        print(f"\n{line}")
    print(f"\n{'All is well.' if report.ok else f'{len(report.problems)} to mend:'}")
    for problem in report.problems:
        print(f"- {problem}")


def _print_ports(report: Report) -> None:
    ports = ((n, p.url, "ok" if p.ok else "FAILED", p.adapter, p.owner) for n, p in report.ports.items())
    print_table(("port", "url", "", "adapter", "owned by"), ports, none="No ports were opened.")
    for name, port in report.ports.items():
        if port.durability:
            print(f"\n{name}: {port.durability}")
        if port.format:
            print(f"{name}: {port.format}.")


def _print_consumers(report: Report) -> None:
    consumers = (
        (c.name, c.behind, c.watermark, c.dead_letters, c.quarantined, "" if c.started else "never ran")
        for c in report.consumers
    )
    columns = ("consumer", "events behind", "reached", "dead letters", "quarantined", "")
    opened = all(port.ok for port in report.ports.values())
    none = "No consumer has run here." if opened else "Consumers are not known while a port is not open."
    print_table(columns, consumers, none=none)


def _remarks(report: Report) -> Iterator[str]:
    for consumer in report.consumers:
        for view, count in consumer.late.items():
            yield f"late: {count:,} events came too late for view {view!r} of {consumer.name!r}"
    for outbox in report.outboxes:
        yield f"outbox {outbox.name}: {outbox.waiting} events wait, {outbox.refused} were put aside"
    for extra, names in report.extras_missing.items():
        yield f"extra {extra!r} is not installed (lacks {', '.join(names)}): pip install 'tropism[{extra}]'"
    for name, limit in report.providers.items():
        told = [f"{limit.per_second:g} calls a second"] if limit.per_second is not None else []
        told += [f"{limit.in_flight} at a time"] if limit.in_flight is not None else []
        handlers = ", ".join(limit.handlers)
        yield f"provider {name!r}: {', '.join(told) or 'no limit'} a process, called by {handlers}"
    for emulation in report.emulations:
        yield f"emulated: {emulation}"
    for note in report.notes:
        yield f"note: {note}"
