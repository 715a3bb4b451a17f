"""Which files of the user's own code a service is made of."""

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tropism.app.app import App
from tropism.runtime.service import Service

_SKIPPED = {"__pycache__", "node_modules", "site-packages"}


def source_files(folder: Path) -> Iterator[Path]:
    """Yield the Python files below a folder, without environments and hidden folders.

    A folder that vanishes meanwhile, or that may not be read, has none.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return
    for path in paths:
        if path.name.startswith(".") or path.name in _SKIPPED or path.is_symlink():
            continue
        if path.is_dir():
            if not _is_environment(path):
                yield from source_files(path)
        elif path.suffix == ".py":
            yield path


def _is_environment(folder: Path) -> bool:
    try:
        return (folder / "pyvenv.cfg").exists()
    except OSError:  # it may not be looked into
        return True


def files_of_services(app: App) -> dict[str, list[Path]]:
    """Return, per service, its handlers' files and what those import, as far as they lie below this folder.

    The file that composes the app counts for every service; where files are not found out, all of them do.
    """
    folder = Path.cwd()
    graph = _Imports(folder)
    composing = graph.files_naming(app)
    everything = list(source_files(folder))
    found: dict[str, list[Path]] = {}
    for service in app.services:
        own = graph.closure(_files_of(service, folder))
        found[service.name] = sorted({*own, *composing}) if own and composing else everything
    return found


def _files_of(service: Service, folder: Path) -> set[Path]:
    codes = (getattr(handler.function, "__code__", None) for handler in service.handlers)
    files = {Path(code.co_filename).resolve() for code in codes if code is not None}
    return {file for file in files if file.is_relative_to(folder)}


class _Imports:
    """Who imports whom, read from the sources: what was imported may have changed since."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[Path, set[Path]] = {}

    def files_naming(self, app: App) -> set[Path]:
        """Return the files whose modules hold the app itself."""
        found: set[Path] = set()
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if not file or all(value is not app for value in vars(module).values()):
                continue
            if Path(file).resolve().is_relative_to(self._folder):
                found.add(Path(file).resolve())
        return found

    def closure(self, files: Iterable[Path]) -> set[Path]:
        """Return files with all that they import, directly or not."""
        found: set[Path] = set()
        waiting = list(files)
        while waiting:
            file = waiting.pop()
            if file not in found:
                found.add(file)
                waiting.extend(self._imports(file))
        return found

    def _imports(self, file: Path) -> set[Path]:
        known = self._known.get(file)
        if known is None:
            names = _names_in(file, self._folder)
            paths = (self._path(name) for name in names)
            known = self._known[file] = {path for path in paths if path is not None}
        return known

    def _path(self, name: str) -> Path | None:
        # Packages count by their __init__, which importing a module in them runs.
        base = self._folder.joinpath(*name.split("."))
        for candidate in (base.with_suffix(".py"), base / "__init__.py"):
            if candidate.is_file():
                return candidate.resolve()
        return None


def _names_in(file: Path, folder: Path) -> Iterator[str]:
    """Yield every module name that a file may import, with the packages around it."""
    package = ".".join(file.relative_to(folder).parent.parts)
    try:
        parsed = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # nothing imported it, or the app would not have been loaded
    for node in ast.walk(parsed):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            dotted = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(dotted, package or None) if node.level else dotted
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: count + 1]) for count in range(len(parts)))
