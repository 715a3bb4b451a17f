"""Where ports are, where nobody says."""

import pytest

from tropism.app.platform import Settings, read_settings

POSTGRES = "postgresql://shop@db/shop"


@pytest.mark.parametrize(
    ("variables", "queue"),
    [
        ({}, Settings().queue),
        ({"TROPISM_LOG": POSTGRES}, Settings().queue),
        ({"TROPISM_STATE": POSTGRES}, POSTGRES),
        ({"TROPISM_STATE": "kafka://broker"}, Settings().queue),
        ({"TROPISM_STATE": POSTGRES, "TROPISM_QUEUE": "memory:"}, "memory:"),
    ],
)
def test_queues_are_where_state_is_unless_told(tmp_path, variables, queue):
    """A deployment wholly on another store opens no embedded one beside it."""
    assert read_settings(tmp_path, variables).queue == queue


def test_a_file_says_so_too(tmp_path):
    """What tropism.toml sets counts as what variables set."""
    (tmp_path / "tropism.toml").write_text(f'state = "{POSTGRES}"\n', "utf-8")
    assert read_settings(tmp_path, {}).queue == POSTGRES
