"""The pitfalls of the field that other tests prove, and those that nothing proves yet."""

ELSEWHERE = {
    "S6": (
        "a batch is not kept back until it is full",
        ["unit/runtime/test_lanes.py::test_a_hot_key_shares_batches_fairly"],
    ),
    "S8": (
        "a crash at every call of log and state",
        ["simulation/test_crash_sweep.py", "simulation/test_outbox.py"],
    ),
    "O2": ("gaps between offsets", ["unit/runtime/test_gaps.py"]),
    "O3": ("a commit that fails is made again", ["simulation/test_disturbances.py"]),
    "O4": ("cursors are exact, and part of the commit", ["property/test_cursor_laws.py"]),
    "O8": ("a dead letter is part of the commit that passes its event", ["simulation/test_weather.py"]),
    "P8": ("a dead letter that cannot be stored acknowledges nothing", ["simulation/test_weather.py"]),
    "P13": (
        "a store that refuses is asked again once a second, not in a storm",
        ["simulation/test_outbox.py"],
    ),
    "D3": ("an id that comes again after the log has forgotten it", ["simulation/test_outbox.py"]),
    "D6": ("a call that fails leaves nothing behind", ["simulation/test_weather.py"]),
    "D9": ("two processes on one database file", ["integration/test_sqlite_crash.py"]),
    "B4": (
        "a full disk: a real limit on SQLite, planted refusals in the simulation",
        ["integration/test_sqlite_bad_input.py::test_a_full_disk", "simulation/test_weather.py"],
    ),
    "B5": ("a torn write-ahead log", ["faults/test_power_loss.py"]),
    "B8": ("an event that is too large is refused where it is published", ["unit/runtime/test_handlers.py"]),
    "B11": ("secrets are never told", ["integration/test_nats.py", "integration/test_kafka.py"]),
}
"""By code: what is proved, and the files of the tests that do."""

NOT_APPLICABLE = {
    "P11": "there is no middleware whose order could skip a retry",
    "R3": "there is no pausing: partitions are not handed about, keys are divided by a plan",
    "R4": "as R3: state does not move when shares change",
    "R5": "as R3: a worker reads from its own cursor",
    "R9": "no broker's group membership is used: leases are kept in the state",
}

OPEN = {
    "O5": "a cursor older than what the broker has kept: there is no retention of ours yet",
    "P12": "dead letters are not bounded in number",
    "B10": "credentials that run out while a connection stands",
}
