"""What this machine offers by itself: files, processes, and its clock."""

from pathlib import Path
from urllib.parse import parse_qs

from tropism.adapters.local.blobs import FileBlobs
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.local.compute import ProcessCompute
from tropism.core.errors import InvalidInputError

__all__ = ["FileBlobs", "ProcessCompute", "SystemClock", "open_file", "open_process"]


async def open_file(url: str) -> FileBlobs:
    """Open ``file:./relative/folder`` or ``file:/absolute/folder``, made where it is missing.

    Raises: InvalidInputError for a wrong URL or a folder that cannot be written to.
    """
    folder = url.removeprefix("file:")
    if not url.startswith("file:") or not folder or folder.startswith("//"):
        raise InvalidInputError(f"Cannot open {url!r}: it names no folder. Write 'file:./.tropism/blobs'.")
    return await FileBlobs.open(Path(folder))


async def open_process(url: str = "process:") -> ProcessCompute:
    """Open ``process:``, or ``process:?preload=numpy,sklearn.linear_model`` to import these only once.

    Raises: InvalidInputError for other options.
    """
    scheme, _, query = url.partition("?")
    options = parse_qs(query, keep_blank_values=True)
    if scheme != "process:" or options.keys() - {"preload"}:
        raise InvalidInputError(
            f"Cannot open {url!r}: it has options that no process takes. "
            f"Write 'process:' or 'process:?preload=numpy'."
        )
    modules = ",".join(options.get("preload", ())).split(",")
    return ProcessCompute(preload=[module for module in modules if module])
