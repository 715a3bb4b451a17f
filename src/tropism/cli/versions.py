"""Showing what the registry says."""

from typing import Any

import msgspec

from tropism.app.platform import read_settings
from tropism.cli.console import print_json, print_table
from tropism.cli.later import instant_of
from tropism.cli.looking import open_to_look
from tropism.core.errors import InvalidInputError
from tropism.core.time import iso
from tropism.models.events import Rollout, Served
from tropism.models.registry import Registry, Step, Version, read_registries, read_registry

FIGURES = ("pairs", "champion_brier", "challenger_brier", "difference", "standard_error")


def parse_version(text: str) -> tuple[str, int]:
    """Return the model and number of ``NAME@N``. Raises: InvalidInputError."""
    name, at, number = text.rpartition("@")
    if not (at and name and number.isascii() and number.isdigit()):
        raise InvalidInputError(
            f"Cannot tell which version {text!r} means: it is not of the form NAME@N. "
            f"Write it like late-arrival@3; see 'tropism models list'."
        )
    return name, int(number)


async def print_list(*, json: bool) -> None:
    """Print the versions of all models."""
    async with open_to_look(read_settings()) as platform:
        found = await read_registries(platform.log)
    if json:
        print_json({"models": [_told(registry) for registry in found.values()]})
        return
    rows = (
        (
            f"{registry.model}@{version.number}",
            version.stage,
            version.reason,
            iso(version.requested_us),
            None if version.evidence is None else version.evidence.rows,
            _rounded(version.backtest.get("difference")),
            version.cause,
        )
        for registry in found.values()
        for version in registry.versions.values()
    )
    columns = ("version", "stage", "trained for", "asked", "rows", "backtest gain", "failure")
    print_table(columns, rows, none="No version yet.")


async def print_one(name: str, at: str | None, *, json: bool) -> None:
    """Print who decides, or one version."""
    instant_us = None if at is None else instant_of(at)
    if "@" in name and at is not None:
        raise InvalidInputError(
            f"Cannot show {name!r} at {at!r}: --at asks who of all versions decided then. "
            f"Name the model alone, or leave --at away."
        )
    async with open_to_look(read_settings()) as platform:
        if "@" in name:
            model, number = parse_version(name)
            registry = await read_registry(platform.log, model)
            _print_version(registry, registry.version(number), json=json)
            return
        registry = await read_registry(platform.log, name)
    rollout = registry.rollout if instant_us is None else registry.served_at(instant_us)
    if json:
        print_json({"model": name, "at": at, **_rollout(rollout)})
        return
    for role, version in _rollout(rollout).items():
        print(f"{role.replace('_', ' ') + ':':<14} {'-' if version is None else version}")


def _print_version(registry: Registry, version: Version, *, json: bool) -> None:
    told = _version(registry.model, version)
    if json:
        print_json({**told, "steps": [_step(step) for step in _steps_of(registry, version.number)]})
        return
    for name, value in told.items():
        if isinstance(value, dict):
            for inner, one in value.items():
                print(f"{name + ' ' + inner.replace('_', ' ') + ':':<34} {_cell(one)}")
        elif value is not None:
            print(f"{name.replace('_', ' ') + ':':<34} {value}")


async def print_history(name: str, *, json: bool) -> None:
    """Print the steps of a model's loop."""
    async with open_to_look(read_settings()) as platform:
        registry = await read_registry(platform.log, name)
    steps = [_step(step) for step in registry.steps]
    if json:
        print_json({"model": name, "steps": steps})
        return
    columns = ("time", "step", "version", "why", "by", "holds from")
    rows = (
        [step.get(key) for key in ("time", "step", "version", "why", "by", "effective_from")]
        for step in steps
    )
    print_table(columns, rows, none="No step yet.")


def _told(registry: Registry) -> dict[str, Any]:
    versions = [_version(registry.model, version) for version in registry.versions.values()]
    return {"name": registry.model, **_rollout(registry.rollout), "versions": versions}


def _version(model: str, version: Version) -> dict[str, Any]:
    return {
        "version": f"{model}@{version.number}",
        "stage": version.stage,
        "reason": version.reason,
        "requested": iso(version.requested_us),
        "trained": None if version.trained_us is None else iso(version.trained_us),
        "seconds": version.seconds,
        "failure": version.cause,
        "artifact": version.artifact,
        "evidence": None if version.evidence is None else msgspec.to_builtins(version.evidence),
        "backtest": version.backtest or None,
    }


def _rollout(rollout: Rollout) -> dict[str, Any]:
    return {
        "champion": _number(rollout.champion),
        "challenger": _number(rollout.challenger),
        "canary_share": rollout.canary_share,
        "previous": _number(rollout.previous),
    }


def _number(served: Served | None) -> int | None:
    return None if served is None else served.version


def _steps_of(registry: Registry, number: int) -> list[Step]:
    return [step for step in registry.steps if step.version == number]


def _step(step: Step) -> dict[str, Any]:
    event = step.event
    told: dict[str, Any] = {"time": iso(step.known_us), "step": step.kind, "version": step.version}
    told["why"] = getattr(event, "reason", None) or getattr(event, "cause", None) or _findings(event)
    told["by"] = getattr(event, "by", None)
    told["effective_from"] = iso(event.effective_from_us)
    told["evidence"] = getattr(event, "evidence", None)
    if not isinstance(told["evidence"], dict):
        told["evidence"] = None
    return told


def _findings(event: Any) -> str | None:
    found = getattr(event, "findings", None) or getattr(event, "features", None)
    return ", ".join(found) if found else None


def _rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:+.4f}"


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
