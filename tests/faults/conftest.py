"""What holds for the fault suite."""


def pytest_configure(config):
    config.addinivalue_line("markers", "faults: takes its time, and is run by 'make faults'")
