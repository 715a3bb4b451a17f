"""A new app is written once, under a name that can be one."""

import pytest

from tropism.cli.scaffold import write_app
from tropism.core.errors import ConflictError, InvalidInputError


@pytest.mark.parametrize("name", ["9lives", "../up", "a b", "", "a/b", "-x", "ü", "x" * 65])
def test_other_names_are_refused(tmp_path, name):
    with pytest.raises(InvalidInputError, match="a name begins with a letter"):
        write_app(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConflictError, match="is a file"):
        write_app("taken", tmp_path)
    (tmp_path / "empty").mkdir()
    assert write_app("empty", tmp_path)
    with pytest.raises(ConflictError, match="not empty"):
        write_app("empty", tmp_path)


def test_the_name_is_the_apps(tmp_path):
    write_app("shop", tmp_path)
    assert 'App("shop"' in (tmp_path / "shop" / "app.py").read_text()
    assert "$NAME" not in (tmp_path / "shop" / "app.py").read_text()
