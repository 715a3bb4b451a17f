"""A module that is missing names the extra that brings it."""

import pytest

from tropism.cli.extras import extra_of, told_missing


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [
        ("numpy", "whatif", "models"),
        ("sklearn.ensemble", "models", "models"),
        ("numpy", "demo", "demo"),
        ("pyarrow.parquet", "events", "parquet"),
        ("requests", "run", None),
        (None, "run", None),
    ],
)
def test_the_extra_of_a_module(module, command, extra):
    assert extra_of(ImportError("no", name=module), command) == extra


def test_the_words():
    told = told_missing("run 'tropism whatif'", ImportError("no", name="numpy"), "models")
    assert told == "Cannot run 'tropism whatif': 'numpy' is not installed. Run pip install 'tropism[models]'."
