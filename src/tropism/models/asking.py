"""What is asked of a model in one call: rows, who is to say something of them, and what they said."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import msgspec

from tropism.core.envelope import Envelope
from tropism.core.errors import InvalidInputError
from tropism.core.partition import partition_of
from tropism.models.events import DecisionMade, Rollout, Served
from tropism.models.model import Model
from tropism.runtime.inject import Subject

Said = Sequence[float | Exception]
"""An output a row, or why there is none."""


class Decision(msgspec.Struct, frozen=True):
    """What a model says about an input: its output, and whether its policy acts on it.

    ``output`` is None while no version is trained; then ``act`` is False.
    """

    output: float | None
    act: bool
    version: int
    arm: str


class Group:
    """Rows of one call that one rollout holds for, by their places in it."""

    __slots__ = ("places", "rollout", "said")

    def __init__(self, rollout: Rollout, places: Sequence[int]) -> None:
        self.rollout = rollout
        self.places = places
        self.said: dict[Served, Said] = {}
        """What versions say of the rows; who is not here was not asked."""

    def outputs(self) -> list[tuple[int, str, Said]]:
        """Return what the versions say, with their numbers, also as text: always in the same order."""
        arms = [(arm.version, self.said.get(arm)) for arm in self.arms]
        return [(version, str(version), said) for version, said in arms if said is not None]

    @property
    def arms(self) -> tuple[Served, ...]:
        """The versions that are to say something."""
        return arms_of(self.rollout)


class Asked:
    """Rows of one call to decide on, and where the answers go."""

    __slots__ = ("acting", "answer", "asked", "groups", "indices", "rows", "subject")

    def __init__(
        self,
        subject: Subject,
        indices: Sequence[int],
        rows: list[tuple[Any, ...]],
        acting: list[tuple[Served | None, str]],
        groups: Sequence[Group],
        asked: float,
        answer: "asyncio.Future[Sequence[Decision]]",
    ) -> None:
        self.subject = subject
        self.indices = indices
        self.rows = rows
        self.acting = acting
        """A row, the version that acts, and its arm."""
        self.groups = groups
        self.asked = asked
        self.answer = answer

    def wanted(self) -> dict[Served, bool]:
        """Return the versions that are to say something, and whether one of them acts."""
        arms = {arm: False for group in self.groups for arm in group.arms}
        arms.update((actor, True) for actor, _ in dict.fromkeys(self.acting) if actor is not None)
        return arms


def arms_of(rollout: Rollout) -> tuple[Served, ...]:
    """Return the versions that are to say something under a rollout, each once."""
    arms = (rollout.champion, rollout.challenger, rollout.previous)
    return tuple(dict.fromkeys(arm for arm in arms if arm is not None))


def groups_of(rollouts: Sequence[Rollout]) -> list[Group]:
    """Return rows by their rollouts: mostly there is one."""
    first = rollouts[0]
    if all(rollout is first for rollout in rollouts):
        return [Group(first, range(len(rollouts)))]
    places: dict[int, tuple[Rollout, list[int]]] = {}
    for place, rollout in enumerate(rollouts):
        places.setdefault(id(rollout), (rollout, []))[1].append(place)
    return [Group(rollout, some) for rollout, some in places.values()]


def acting_of(model: str, rollout: Rollout, subjects: Iterable[str]) -> list[tuple[Served | None, str]]:
    """Return, for subjects, the version that acts, and its arm."""
    champion = rollout.champion, "champion" if rollout.champion is not None else "none"
    challenger, share = rollout.challenger, rollout.canary_share * 10_000
    if challenger is None or share <= 0:
        return [champion for _ in subjects]
    canary = challenger, "canary"
    # By its number, not by its bytes: those may differ between two equal trainings.
    name = f"{model}@{challenger.version}/"
    return [canary if partition_of(name + each, 10_000) < share else champion for each in subjects]


def made_of(model: Model, schema: str, asked: Asked, latency_us: int) -> list[DecisionMade] | Exception:
    """Return the decisions of a call, or why the first row that has none has none."""
    if len(asked.groups) == 1:
        together = _made_together(model, schema, asked, asked.groups[0], latency_us)
        if together is not None:
            return together
    found: dict[int, DecisionMade | Exception] = {}
    subject = asked.subject
    for group in asked.groups:
        said = group.outputs()
        for at, place in enumerate(group.places):
            index = asked.indices[place]
            envelope, as_of_us = subject.envelopes[index], subject.as_of_us[index]
            row, acting = asked.rows[place], asked.acting[place]
            one = one_made(model, schema, envelope, as_of_us, row, acting, said, at, latency_us)
            if not isinstance(one, DecisionMade):
                one = unsound(model.name, acting[0], one, group.rollout)
            found[place] = one
    made: list[DecisionMade] = []
    for place in sorted(found):
        event = found[place]
        if isinstance(event, Exception):
            return event
        made.append(event)
    return made


def _made_together(
    model: Model, schema: str, asked: Asked, group: Group, latency_us: int
) -> list[DecisionMade] | None:
    """Return the decisions of a call whose rows all have one acting version, and only sound outputs.

    None if it is no such call. A row at a time, each decision costs twice as much.
    """
    acting = asked.acting[0]
    outputs = None if acting[0] is None else group.said.get(acting[0])
    if outputs is None or asked.acting.count(acting) != len(asked.acting):
        return None
    others = [(name, said) for version, name, said in group.outputs() if version != _number(acting)]
    if len(others) + 1 != len(group.said) or not all(map(_are_sound, group.said.values())):
        return None
    names = [name for name, _ in others]
    told = zip(*(said for _, said in others), strict=True) if others else repeat(())
    name, act_at, number, arm = model.name, model.policy.act_at, _number(acting), acting[1]
    subject, indices = asked.subject, asked.indices
    envelopes, as_of_us = subject.envelopes, subject.as_of_us
    return [
        DecisionMade(
            name,
            envelopes[index].subject,
            envelopes[index].id,
            as_of_us[index],
            number,
            arm,
            output,  # type: ignore[arg-type]  # sound, so a number
            output >= act_at,  # type: ignore[operator]
            schema,
            list(row),
            dict(zip(names, each, strict=True)) if names else {},
            latency_us,
        )
        for index, output, row, each in zip(indices, outputs, asked.rows, told, strict=False)
    ]


def _number(acting: tuple[Served | None, str]) -> int:
    return 0 if acting[0] is None else acting[0].version


def _are_sound(outputs: Said) -> bool:
    """Say whether all outputs are probabilities."""
    return all(isinstance(each, float) and 0.0 <= each <= 1.0 for each in outputs)


def one_made(
    model: Model,
    schema: str,
    envelope: Envelope[Any],
    as_of_us: int,
    row: tuple[Any, ...],
    acting: tuple[Served | None, str],
    said: Sequence[tuple[int, str, Said]],
    at: int,
    latency_us: int,
) -> DecisionMade | float | Exception:
    """Return the decision on a row, or what the acting version says that is no output."""
    number = _number(acting)
    output: float | None = None
    others: dict[str, float | None] = {}
    for version, name, outputs in said:
        each = outputs[at]
        # Infinite, and what is no number, is outside.
        sound = each if isinstance(each, float) and 0.0 <= each <= 1.0 else None
        if version != number:
            others[name] = sound
        elif sound is None:
            return each
        else:
            output = sound
    return DecisionMade(
        model.name,
        envelope.subject,
        envelope.id,
        as_of_us,
        number,
        acting[1],
        output,
        output is not None and output >= model.policy.act_at,
        schema,
        list(row),
        others,
        latency_us,
    )


def unsound(model: str, acting: Served | None, said: float | Exception, rollout: Rollout) -> Exception:
    """Return why a version's output cannot be used."""
    if isinstance(said, Exception):
        return said
    version = 0 if acting is None else acting.version
    return InvalidInputError(
        f"Cannot decide with {model}@{version}: its output is {said!r}, which is no probability. "
        + _remedy(model, version, rollout)
    )


def _remedy(model: str, version: int, rollout: Rollout) -> str:
    """Return which order lets another version decide."""
    if rollout.champion is None or rollout.champion.version != version:
        return f"End its canary with 'tropism models rollback {model}'."
    if rollout.canary_share == 0 and rollout.previous is not None:
        return f"Roll it back with 'tropism models rollback {model}'."
    return f"Let another one decide with 'tropism models promote {model}@N'."
