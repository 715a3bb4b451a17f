"""Asking a table whether a loop would pay: from a file to an answer."""

import asyncio
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tropism.core.errors import InvalidInputError, TropismError
from tropism.models.progress import Progress, Say
from tropism.models.rows import Train
from tropism.whatif.compare import Comparison, compare
from tropism.whatif.policy import policy_for
from tropism.whatif.replay import Replayed, replay
from tropism.whatif.story import Answer
from tropism.whatif.table import Roles, Table, read_table
from tropism.whatif.trainers import MODELS, trainer

WORKER_ROWS = 20_000
"""From so many rows on, the calendar's trainings are given to another process."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which file, what its columns say, and what learns."""

    path: Path
    roles: Roles
    model: str = "hist-gradient-boosting"
    seed: int = 0


async def ask(question: Question, say: Say = lambda _: None) -> Answer:
    """Replay a table, compare the loop with simpler ways, and return all that came of it.

    Raises: InvalidInputError, NotFoundError or NotSupportedError, saying what is wrong with table or model.
    """
    started = time.monotonic()
    say(Progress("reading"))
    table = await asyncio.to_thread(read_table, question.path, question.roles)
    train = trainer(question.model)
    policy = policy_for(len(table), timedelta(microseconds=table.span_us))
    replayed = await replay(table, train, policy, question.seed, say)
    comparison = await _compared(question, table, replayed, train, say)
    seconds = time.monotonic() - started
    return Answer(table, question.model, policy, question.seed, replayed, comparison, seconds)


async def _compared(
    question: Question, table: Table, replayed: Replayed, train: Train, say: Say
) -> Comparison:
    try:
        return await asyncio.to_thread(
            compare,
            table,
            replayed,
            train,
            question.seed,
            workers=_workers(len(table)),
            say=lambda name, done, total: say(Progress(name, done, total)),
        )
    except TropismError:
        raise
    except Exception as error:
        if question.model in MODELS:
            raise
        told = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
        raise InvalidInputError(
            f"Cannot use --model {question.model!r}: training or predicting raised {told}. Mend it."
        ) from error


def _workers(rows: int) -> int:
    return min(2, os.cpu_count() or 1) if rows >= WORKER_ROWS else 0
