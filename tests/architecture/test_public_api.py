"""The public names: whoever changes them changes this list, and says so in the changelog."""

import tropism

PUBLIC = [
    "App",
    "Batch",
    "BusyError",
    "Decider",
    "Envelope",
    "Event",
    "Expired",
    "Model",
    "Outcome",
    "Output",
    "Policy",
    "Provider",
    "RefusedError",
    "Reader",
    "Retry",
    "Service",
    "State",
    "Step",
    "Steps",
    "Tick",
    "TropismError",
    "View",
    "age",
    "count",
    "days",
    "hours",
    "last",
    "mean",
    "minutes",
    "seconds",
    "total",
    "use",
]


def test_the_public_names_are_these() -> None:
    """Nothing public comes or goes by accident."""
    assert sorted(tropism.__all__) == sorted(PUBLIC)
    assert all(hasattr(tropism, name) for name in PUBLIC)
