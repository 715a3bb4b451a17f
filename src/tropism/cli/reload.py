"""Noticing that source files changed, and what that means for the services."""

import asyncio
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import msgspec

from tropism.cli.child import COMMAND, child_environment
from tropism.cli.sources import source_files

POLL_SECONDS = 0.4
_PROBE_SECONDS_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Build:
    """The app's services as its source files are now: a digest of the files that each is made of."""

    app: str
    digests: dict[str, str]


class Sources:
    """The source files below this folder, by when they were written."""

    def __init__(self) -> None:
        self._seen = _stamps()

    async def wait_changed(self) -> list[str]:
        """Return the files that changed, once they have come to rest."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            now = await asyncio.to_thread(_stamps)
            if now == self._seen:
                continue
            while (later := await self._after_rest()) != now:
                now = later
            changed = {path for path, _ in self._seen.items() ^ now.items()}
            self._seen = now
            return sorted(str(path.relative_to(Path.cwd())) for path in changed)

    async def _after_rest(self) -> dict[Path, tuple[int, int]]:
        await asyncio.sleep(POLL_SECONDS / 4)
        return await asyncio.to_thread(_stamps)


def _stamps() -> dict[Path, tuple[int, int]]:
    found = {}
    for path in source_files(Path.cwd()):
        try:
            status = path.stat()
        except OSError:
            continue
        found[path] = (status.st_mtime_ns, status.st_size)
    return found


async def probe(app: str | None) -> Build | str:
    """Import the app in a process of its own, and return what it is made of, or what is wrong with it."""
    arguments = ["run", "--list", *(() if app is None else ("--app", app))]
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=child_environment(),
    )
    try:
        async with asyncio.timeout(_PROBE_SECONDS_MAX):
            output, errors = await process.communicate()
    except BaseException as error:
        process.kill()
        await process.wait()
        if not isinstance(error, TimeoutError):
            raise
        return f"Cannot load the app: importing it took more than {_PROBE_SECONDS_MAX:g} s. Mend it."
    if process.returncode:
        told = errors.decode("utf-8", "replace").strip().splitlines()
        return told[-1].removeprefix("tropism: ") if told else f"Cannot load the app: {process.returncode}."
    return await asyncio.to_thread(_build, output)


def _build(output: bytes) -> Build:
    found = msgspec.json.decode(output)
    files = {name for names in found["services"].values() for name in names}
    contents = {name: _digest(name) for name in files}
    digests = {
        service: blake2b("\n".join(f"{n} {contents[n]}" for n in names).encode(), digest_size=16).hexdigest()
        for service, names in found["services"].items()
    }
    return Build(found["app"], digests)


def _digest(name: str) -> str:
    try:
        return blake2b(Path(name).read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return Path(name).name
