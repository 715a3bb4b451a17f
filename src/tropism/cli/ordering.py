"""Giving a model's loop orders, and waiting for what comes of them."""

import asyncio
import getpass
import uuid
from dataclasses import dataclass

import msgspec

from tropism.app.platform import open_platform, read_settings
from tropism.cli.console import print_json, say
from tropism.cli.discovery import load_app
from tropism.cli.versions import parse_version
from tropism.core.codec import record_of
from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.models.events import (
    OrderRefused,
    PromotionOrdered,
    RollbackOrdered,
    TrainingFailed,
    TrainingOrdered,
    TrainingRequested,
    VersionTrained,
)
from tropism.models.registry import TOPICS, Registry, Step, read_registries, read_registry
from tropism.ports.log import Log
from tropism.ports.platform import Platform

Order = PromotionOrdered | RollbackOrdered | TrainingOrdered


@dataclass(frozen=True, slots=True)
class Waiting:
    """Whether to wait for what comes of an order, and how long."""

    wanted: bool
    timeout_seconds: float


async def promote(text: str, by: str | None, waiting: Waiting, *, json: bool) -> None:
    """Order a promotion. Raises: NotFoundError for an unknown model or version."""
    name, number = parse_version(text)
    async with open_platform(read_settings()) as platform:
        registry = await read_registry(platform.log, name)
        if registry.version(number).artifact is None:
            raise InvalidInputError(
                f"Cannot promote {text!r}: it is {registry.version(number).stage}. Name a trained version."
            )
        await _order(platform, PromotionOrdered(model=name, version=number, by=_who(by)), waiting, json=json)


async def roll_back(name: str, by: str | None, waiting: Waiting, *, json: bool) -> None:
    """Order a rollback. Raises: NotFoundError for an unknown model."""
    async with open_platform(read_settings()) as platform:
        await read_registry(platform.log, name)
        await _order(platform, RollbackOrdered(model=name, by=_who(by)), waiting, json=json)


async def train(name: str, app: str | None, by: str | None, waiting: Waiting, *, json: bool) -> None:
    """Order a training. Raises: InvalidInputError for a model that neither the log nor the app knows."""
    async with open_platform(read_settings()) as platform:
        if name not in await read_registries(platform.log):
            load_app(app).model(name)
        await _order(platform, TrainingOrdered(model=name, by=_who(by)), waiting, json=json)


def _who(by: str | None) -> str:
    if by:
        return by
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "someone"


async def _order(platform: Platform, order: Order, waiting: Waiting, *, json: bool) -> None:
    id, now_us = uuid.uuid4().hex, platform.clock.now_us()
    data = msgspec.json.encode(order)
    await platform.log.append([record_of(order, data, id=id, time_us=now_us, source="/tropism/cli")])
    told: dict[str, object] = {
        "order": id,
        "type": type(order).event_type,
        "model": order.model,
        "by": order.by,
    }
    if not waiting.wanted:
        where = f"see 'tropism models history {order.model}'"
        _report({**told, "done": None}, f"Ordered. The running app carries it out; {where}.", json=json)
        return
    step = await _answer(platform.log, order, id, waiting)
    if isinstance(step.event, OrderRefused | TrainingFailed):
        raise InvalidInputError(f"Cannot carry out the order for {order.model!r}: {step.event.cause}")
    told |= {"done": step.kind, "version": step.version}
    _report(told, f"{step.kind}: {order.model}@{step.version}.", json=json)


def _report(told: dict[str, object], sentence: str, *, json: bool) -> None:
    if json:
        print_json(told)
    else:
        say(sentence)


async def _answer(log: Log, order: Order, id: str, waiting: Waiting) -> Step:
    """Return the step that an order led to. Raises: UnavailableError if none came in time."""
    model, found = order.model, _trained if isinstance(order, TrainingOrdered) else _caused
    try:
        async with asyncio.timeout(waiting.timeout_seconds):
            while True:
                ends = await log.ends(TOPICS)
                registry = (await read_registries(log)).get(model, Registry(model))
                step = found(registry, id)
                if step is not None:
                    return step
                await log.wait_beyond(ends)
    except TimeoutError as error:
        raise UnavailableError(
            f"Cannot say what came of the order for {model!r}: nothing did within "
            f"{waiting.timeout_seconds:g} s. Start the app with 'tropism run', which carries it out."
        ) from error


def _caused(registry: Registry, id: str) -> Step | None:
    return next((step for step in registry.steps if step.cause_id == id), None)


def _trained(registry: Registry, id: str) -> Step | None:
    """Return how the training ended that an order led to."""
    request = _caused(registry, id)
    if request is None or not isinstance(request.event, TrainingRequested):
        return request
    ends = (step for step in registry.steps if isinstance(step.event, VersionTrained | TrainingFailed))
    return next((step for step in ends if step.version == request.version), None)
