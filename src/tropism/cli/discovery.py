"""Finding the app that a command is about."""

import importlib
import os
import sys
import tomllib
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from inspect import isfunction
from pathlib import Path
from types import ModuleType
from typing import Any

from tropism.app.app import App
from tropism.app.platform import read_settings
from tropism.cli.console import aside
from tropism.cli.extras import extra_of, told_missing
from tropism.core.codec import Codec
from tropism.core.errors import InvalidInputError, NotFoundError, NotSupportedError

DEFAULT_HELP = 'Write app = "module:attribute" in tropism.toml, pass --app, or set TROPISM_APP.'


def app_name(given: str | None, folder: Path = Path()) -> str | None:
    """Return what names the app: an option, before ``TROPISM_APP``, before ``tropism.toml``."""
    return given or os.environ.get("TROPISM_APP") or _configured(folder / "tropism.toml")


def _configured(path: Path) -> str | None:
    if not path.exists():
        return None
    # It reads the same file, and says what is wrong with it.
    read_settings(path.parent)
    found: str | None = tomllib.loads(path.read_text("utf-8")).get("app")
    return found


def load_app(given: str | None = None, *, prints: bool = False) -> App:
    """Import the app that is named, or that a named function returns, with the current folder importable.

    What it prints meanwhile goes to standard error, unless it ``prints`` for itself.

    Raises: InvalidInputError or NotFoundError, saying which part of the name is wrong.
    """
    with nullcontext() if prints else aside():
        return _load(given)


def _load(given: str | None) -> App:
    name = app_name(given)
    if name is None:
        raise NotFoundError(f"Cannot find the app: nothing names it. {DEFAULT_HELP}")
    module_name, colon, attribute = name.partition(":")
    if not (colon and module_name and attribute.isidentifier()):
        raise InvalidInputError(
            f"Cannot load app {name!r}: it is not of the form 'module:attribute'. "
            f"Write it like 'app:app', for the name app in app.py."
        )
    module = _import(name, module_name)
    app = getattr(module, attribute, None)
    if isfunction(app):
        app = _called(name, app)
    if isinstance(app, App):
        return app
    found = [key for key, value in vars(module).items() if isinstance(value, App)]
    fact = "has no such attribute" if app is None else f"has a {type(app).__name__} there, which is no App"
    remedy = f"Name one of {found}." if found else f"Compose one there: {attribute} = App(...)."
    raise InvalidInputError(f"Cannot load app {name!r}: module {module_name!r} {fact}. {remedy}")


def _import(name: str, module_name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise NotFoundError(
                f"Cannot load app {name!r}: there is no module {error.name!r} here. "
                f"Run this in the folder that holds it, or name another."
            ) from error
        extra = extra_of(error)
        if extra is not None:
            raise NotSupportedError(told_missing(f"load app {name!r}", error, extra)) from error
        raise _import_failed(name, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(name, error) from error


def _import_failed(name: str, error: BaseException) -> InvalidInputError:
    told = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
    where = "" if isinstance(error, SyntaxError) else place_of(error)
    return InvalidInputError(
        f"Cannot load app {name!r}: importing it raised {told}{where}. Mend it, then try again."
    )


def _called(name: str, function: Callable[[], Any]) -> Any:
    """Return what a function gives that composes the app."""
    try:
        return function()
    except Exception as error:
        told = f"{type(error).__name__}: {error}".rstrip(".")
        raise InvalidInputError(
            f"Cannot load app {name!r}: calling it raised {told}{place_of(error)}. "
            f"Name an App, or a function without arguments that returns one."
        ) from error


def place_of(error: BaseException) -> str:
    """Return where in the user's own code an exception came from."""
    here = str(Path.cwd())
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(here)]
    return f" (in {Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def types_of(app: App) -> Codec:
    """Return the codec of every event type that an app knows.

    Raises: InvalidInputError if one of its classes declares what cannot be.
    """
    from tropism.runtime.runtime import codec_of

    kept: list[Any] = [kind for view in app.views for kind in view.on]
    try:
        return codec_of(app.services, (*app.events, *kept))
    except (TypeError, ValueError) as error:  # such as a bound on a text's value
        raise InvalidInputError(
            f"Cannot use the event types of app {app.name!r}: {' '.join(str(error).split()).rstrip('.')}. "
            f"Mend the class."
        ) from error
