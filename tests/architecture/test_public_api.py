"""The public names: whoever changes them changes this list, and says so in the changelog."""

import tropism

PUBLIC = [
    "App",
    "join_as_of",
    "Batch",
    "Closed",
    "Cancel",
    "Decider",
    "Envelope",
    "Event",
    "Expired",
    "join_interval",
    "Later",
    "Model",
    "Outcome",
    "Output",
    "Policy",
    "Reader",
    "Retry",
    "Service",
    "State",
    "Tick",
    "TropismError",
    "View",
    "age",
    "count",
    "create_outbox",
    "create_outbox_async",
    "days",
    "distinct",
    "first",
    "event",
    "delayed",
    "hours",
    "last",
    "maximum",
    "mean",
    "minimum",
    "minutes",
    "quantile",
    "ratio",
    "publish_in",
    "publish_in_async",
    "scheduled",
    "seconds",
    "session",
    "sliding",
    "total",
    "tumbling",
    "upcasts",
    "use",
]


def test_the_public_names_are_these() -> None:
    """Nothing public comes or goes by accident."""
    assert sorted(tropism.__all__) == sorted(PUBLIC)
    assert all(hasattr(tropism, name) for name in PUBLIC)
