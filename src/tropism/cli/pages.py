"""Pages that commands write: a place that will not do is refused before the work is done."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tropism.cli.console import say
from tropism.core.errors import InvalidInputError


def check_place(page: Path, *, what: str, option: str, read: Iterable[Path] = ()) -> None:
    """Refuse a place that cannot be written to, or that is a file to be read, and change nothing yet."""
    check_apart(page, read, what=what, option=option)
    if page.is_file() and not os.access(page, os.W_OK):
        raise _cannot(page, "you may not write to it", what, option)
    there = next(parent for parent in page.absolute().parents if parent.exists())
    if page.is_dir() or not there.is_dir() or not os.access(there, os.W_OK):
        fact = "it is a folder" if page.is_dir() else f"{str(there)!r} is no folder that may be written to"
        raise _cannot(page, fact, what, option)


def check_apart(page: Path, read: Iterable[Path], *, what: str, option: str) -> None:
    """Refuse to write over what is read, under whatever name. Raises: InvalidInputError."""
    for path in read:
        if _are_same(page, path):
            raise _cannot(page, f"it is {str(path)!r} itself, which would be lost", what, option)


def _are_same(page: Path, path: Path) -> bool:
    try:
        return page.samefile(path)
    except OSError:
        return False  # one of them is not there


def write_page(page: Path, text: str, *, what: str, option: str) -> None:
    """Write a page. Raises: InvalidInputError."""
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, "utf-8")
    except OSError as error:
        raise _cannot(page, error.strerror or str(error), what, option) from error


def serve_page(page: Path) -> None:
    """Serve a page, and nothing beside it, to this machine until Ctrl-C."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    body = page.read_bytes()

    class OnePage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path in {"/", f"/{quote(page.name)}"}
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            if known:
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: whoever looks at the page sees that it is served."""

    with HTTPServer(("127.0.0.1", 0), OnePage) as server:
        say(f"report at http://127.0.0.1:{server.server_address[1]}/{quote(page.name)}; Ctrl-C ends")
        server.serve_forever()


def _cannot(page: Path, fact: str, what: str, option: str) -> InvalidInputError:
    return InvalidInputError(f"Cannot write the {what} {str(page)!r}: {fact}. Choose another {option}.")
