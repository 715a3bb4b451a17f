"""The files of a new app."""

import re
from importlib.resources import files
from pathlib import Path

from tropism.core.errors import ConflictError, InvalidInputError

_FILES = {
    "app.py": "app.py.txt",
    "tests/test_app.py": "test_app.py.txt",
    "tropism.toml": "tropism.toml.txt",
    "pytest.ini": "pytest.ini.txt",
    ".gitignore": "gitignore.txt",
}


def write_app(name: str, parent: Path = Path()) -> list[Path]:
    """Write a new app, and return its files.

    Raises: InvalidInputError for a name that cannot be one; ConflictError where something is in the way.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name):
        raise InvalidInputError(
            f"Cannot make app {name!r}: a name begins with a letter and holds at most 64 letters, digits, "
            f"'-' and '_'. Choose one such as 'my-shop'."
        )
    folder = parent / name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        fact = "a folder that is not empty" if folder.is_dir() else "a file"
        raise ConflictError(
            f"Cannot make app {name!r}: {str(folder)!r} is {fact}. Choose another name, or move it away."
        )
    written = []
    try:
        for path, template in _FILES.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            text = files("tropism.cli").joinpath("templates", template).read_text("utf-8")
            target.write_text(text.replace("$NAME", name), "utf-8")
            written.append(target)
    except OSError as error:
        raise InvalidInputError(
            f"Cannot make app {name!r}: {error.strerror} ({error.filename!r}). Make the folder writable."
        ) from error
    return written
