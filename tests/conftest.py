"""What holds for all tests."""

import os

import pytest
from hypothesis import settings
from tests.servers import stop_servers

# How long an example takes says more about the machine than about the law. Where a change is judged, the
# examples are the same in every run; at a desk they are new ones each time.
settings.register_profile("tropism", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("tropism")


@pytest.fixture(scope="session", autouse=True)
def _servers_stop_at_the_end():
    """Stop the servers that were started, however the session ends."""
    yield
    stop_servers()
