"""The sequential tests run where numpy is not installed."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "betting",
        "mcnemar",
        "alarm",
        "discovery",
        "special",
        "sketch.moments",
        "sketch.latency",
        "sketch.distinct",
        "sketch.categories",
    ],
)
def test_importing_a_sequential_module_does_not_import_numpy(module):
    code = f"import sys, tropism.models.{module}; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
