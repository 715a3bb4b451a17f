"""A run has its folder to itself, and takes nobody else's."""

import subprocess
import sys

import pytest

from tropism.core.errors import ConflictError, InvalidInputError
from tropism.demo.flights.folder import Manifest, held


def manifest(seed=0):
    return Manifest(until_us=1, seed=seed, policy="None")


def test_an_interrupted_run_goes_on_and_any_other_begins_anew(tmp_path):
    folder = tmp_path / "run"

    def entered(seed):
        with held(folder, manifest(seed)):
            found = (folder / "flights.db").exists()
            (folder / "flights.db").write_text("")
            (folder / "blobs").mkdir(exist_ok=True)
            if seed == 9:
                raise KeyboardInterrupt
            return found

    with pytest.raises(KeyboardInterrupt):
        entered(9)
    with pytest.raises(KeyboardInterrupt):
        assert entered(9)
    assert [entered(1), entered(1), entered(2)] == [False, False, False]


def test_files_of_something_else_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConflictError, match="it holds files of something else"), held(tmp_path, manifest()):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("name", "manifest_text"),
    [
        ("thesis.txt", '{"until_us":1,"seed":0,"policy":"None"}'),  # a file beside ours
        ("blobs.txt", '{"until_us":1,"seed":0,"policy":"None"}'),
        ("flights.db", '{"name":"a run of something else"}'),  # a file of our names, of somebody else's run
        ("flights.db", "torn"),
    ],
)
def test_only_a_folder_that_a_run_made_is_emptied(tmp_path, name, manifest_text):
    (tmp_path / "run.json").write_text(manifest_text)
    (tmp_path / name).write_text("years of work")
    with pytest.raises(ConflictError, match="it holds files of something else"), held(tmp_path, manifest(5)):
        pass
    assert (tmp_path / name).read_text() == "years of work"
    assert (tmp_path / "run.json").read_text() == manifest_text


def test_a_link_to_elsewhere_is_not_followed(tmp_path):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    with held(folder, manifest()):
        pass
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("years of work")
    (folder / "blobs").symlink_to(elsewhere)
    with pytest.raises(ConflictError, match="something else"), held(folder, manifest()):
        pass
    assert (elsewhere / "thesis.txt").exists()


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConflictError, match="it is a file"), held(tmp_path / "file", manifest()):
        pass
    with (
        pytest.raises(InvalidInputError, match="Choose another --folder"),
        held(tmp_path / "file" / "x", manifest()),
    ):
        pass


def test_a_second_process_is_refused_and_harms_nothing(tmp_path):
    folder = tmp_path / "run"
    program = (
        "import sys; from pathlib import Path; from tropism.demo.flights.folder import Manifest, held\n"
        "with held(Path(sys.argv[1]), Manifest(2, 0, '')): pass"
    )
    with held(folder, manifest()):
        (folder / "flights.db").write_text("")
        done = subprocess.run(
            [sys.executable, "-c", program, str(folder)],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        assert "another process runs there. Choose another --folder." in done.stderr
        assert (folder / "flights.db").exists()
