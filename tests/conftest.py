"""What holds for all tests."""

import os

from hypothesis import settings

# How long an example takes says more about the machine than about the law. Where a change is judged, the
# examples are the same in every run; at a desk they are new ones each time.
settings.register_profile("tropism", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("tropism")
