"""Training a version again, and comparing."""

import msgspec
import typer

from tropism.app.platform import open_platform, read_settings
from tropism.cli.console import print_json, say
from tropism.cli.discovery import load_app
from tropism.cli.versions import parse_version
from tropism.core.errors import InvalidInputError, NotFoundError
from tropism.models.events import Evidence
from tropism.models.model import Model
from tropism.models.registry import Registry, read_registry
from tropism.models.training import Made, job_of, spec_again
from tropism.ports.platform import Platform

COMPARED = ("code", "environment", "data")


async def reproduce(text: str, app: str | None, *, json: bool) -> None:
    """Train a version again from what its evidence names, and say whether it predicts the same."""
    name, number = parse_version(text)
    model = load_app(app).model(name)
    if not isinstance(model, Model):
        raise InvalidInputError(f"Cannot reproduce {text!r}: {name!r} is no trained model. Name another.")
    async with open_platform(read_settings()) as platform:
        before = _evidence(await read_registry(platform.log, name), number)
        started = platform.clock.monotonic()
        after = await _again(model, before, platform)
        seconds = platform.clock.monotonic() - started
    same = after.digest == before.digest
    changed = [part for part in COMPARED if getattr(after, part) != getattr(before, part)]
    if json:
        digests = {"recorded": before.digest, "now": after.digest}
        told = {"version": text, "reproduced": same, "digest": digests, "changed": changed}
        print_json({**told, "rows": after.rows, "seconds": seconds})
    else:
        say(_sentence(text, same=same, changed=changed, after=after, before=before))
    if not same:
        raise typer.Exit(1)


def _evidence(registry: Registry, number: int) -> Evidence:
    version = registry.version(number)
    if version.evidence is None:
        fact = f"it failed: {version.cause}" if version.cause else "it is not trained yet"
        raise NotFoundError(f"Cannot reproduce {registry.model}@{number}: {fact}. Name a trained version.")
    return version.evidence


async def _again(model: Model, evidence: Evidence, platform: Platform) -> Evidence:
    spec = await spec_again(model, platform.log, evidence)
    job = job_of(spec, timeout_seconds=model.policy.training_timeout_seconds)
    made = msgspec.msgpack.decode(await platform.compute.run(job), type=Made)
    if made.evidence is None:
        raise InvalidInputError(
            f"Cannot train {model.name!r} again: {made.cause} Restore the code that trained it."
        )
    return made.evidence


def _sentence(text: str, *, same: bool, changed: list[str], after: Evidence, before: Evidence) -> str:
    rows = f"{after.rows} rows, seed {after.seed}"
    if same:
        although = f", although {' and '.join(changed)} changed" if changed else ""
        return f"Reproduced {text}: {rows}, digest {after.digest[:16]}{although}."
    why = f"{' and '.join(changed)} changed" if changed else "chance beyond the seed, or another processor"
    digests = f"digest {after.digest[:16]} and not {before.digest[:16]}"
    return f"Not reproduced {text}: {rows}, {digests}. Cause: {why}."
