"""What simpler ways to decide would have done on the same rows, with the same information.

All of them play by the loop's rules: at an instant, whatever was known by then may be learned from, and what
was learned decides rows strictly after it. So `static`, `cron` and the loop differ in when they train, and in
nothing else. Only `hindsight` breaks the rules, on purpose: it says how much there was to gain.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from multiprocessing import get_context, parent_process
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.models.metrics import log_loss
from tropism.models.rows import Train, TrainingRows

FOLDS = 4
"""Into how many parts `hindsight` splits the periods."""

_NEVER_US = 2**62

Progress = Callable[[int, int], None]
"""Is told how many trainings are done, of how many."""


class Decided(NamedTuple):
    """A way to decide, on every row: its output, nan where it had no model yet, and what that cost.

    Shapes: as many outputs as rows, in their order.
    """

    outputs: NDArray[np.float64]
    trainings: int


class _Task(NamedTuple):
    """One model: the rows it learns from, and the rows it decides, by index."""

    learn: NDArray[np.int64]
    decide: NDArray[np.int64]
    seed: int


def no_change(rows: TrainingRows) -> Decided:
    """Repeat the last outcome that was known strictly before each decision.

    Its outputs are 0 and 1, which say nothing of how sure it is: take accuracy from them, not log loss.
    """
    order, known = _order(rows)
    place = np.searchsorted(known, rows.decided_us, side="left") - 1
    last = rows.outcomes[order[np.maximum(place, 0)]] if len(order) else np.zeros(len(rows))
    return Decided(np.where(place >= 0, last, np.nan), 0)


def prequential(
    rows: TrainingRows,
    train: Train,
    schedule: Sequence[int],
    seed: int,
    *,
    window_us: int | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> Decided:
    """Train at every scheduled instant on what is known by then, and decide what comes after it.

    An instant at which fewer than two different outcomes are known trains nothing: the model before stays.
    ``window_us`` forgets what was known longer ago. With ``workers``, so many processes share the trainings:
    ``train`` must then be a function of a module. The same rows, schedule and seed give the same outputs.

    Shapes: rows in any order; an outcome that never comes is nan, and its row is decided all the same.
    Raises: UnavailableError if a worker dies.
    """
    order, known = _order(rows)
    at_instant = {at: order[_range(known, at, window_us)] for at in sorted(set(schedule))}
    instants = [at for at, learn in at_instant.items() if _differ(rows.outcomes[learn])]
    tasks: list[_Task] = []
    for number, (at, until) in enumerate(pairwise([*instants, _NEVER_US]), 1):
        learn = at_instant[at]
        decide = np.flatnonzero((rows.decided_us > at) & (rows.decided_us <= until))
        tasks.append(_Task(learn, decide, seed_of(seed, number)))
    return _decided(rows, train, tasks, workers, progress)


def hindsight(
    rows: TrainingRows,
    train: Train,
    schedule: Sequence[int],
    seed: int,
    *,
    others: Sequence[NDArray[np.float64]] = (),
    workers: int = 0,
    progress: Progress | None = None,
) -> Decided:
    """Return what nobody could have had: the best choice of every period, made after it, from the future too.

    For each period between two scheduled instants, that of these is taken which had the lowest log loss on
    this very period: a model of all other periods, those after it among them (cross-fitted in four parts); a
    model of this period alone (cross-fitted in two halves of alternating stretches); and ``others``, such as
    the outputs of `prequential`. No model ever decides a row that it learned from, so that what it shows is
    something to be learned, and not to be memorised. Rows up to the first instant have nan.
    """
    place = np.searchsorted(np.array(sorted(set(schedule)), dtype=np.int64), rows.decided_us, side="left")
    usable, _ = _order(rows)
    everywhere = _decided(rows, train, _of_the_rest(rows, place, usable, seed), workers, progress)
    here = _decided(rows, train, _of_itself(rows, place, usable, seed), workers, progress)
    candidates = [everywhere.outputs, here.outputs, *others]
    outputs = np.full(len(rows), np.nan)
    for period in range(1, int(place.max(initial=0)) + 1):
        mine = place == period
        losses = [_loss(each[mine], rows.outcomes[mine]) for each in candidates]
        outputs[mine] = candidates[losses.index(min(losses))][mine]
    return Decided(outputs, everywhere.trainings + here.trainings)


def after_outcomes(rows: TrainingRows, count: int) -> int | None:
    """Return the instant by which so many outcomes are known, None if they never are."""
    _, known = _order(rows)
    return int(known[count - 1]) if 1 <= count <= len(known) else None


def every_us(first_us: int, period_us: int, until_us: int) -> list[int]:
    """Return an instant and all those that follow it in equal steps, up to another."""
    return list(range(first_us, until_us + 1, period_us))


def every_share(rows: TrainingRows, share: float) -> list[int]:
    """Return the instants by which each further share of all outcomes is known, the last row's left out.

    Raises: InvalidInputError unless 0 < share < 1.
    """
    if not 0.0 < share < 1.0:
        raise InvalidInputError(
            f"Cannot retrain after every {share!r} of the outcomes: it is no share. Choose 0 < share < 1."
        )
    _, known = _order(rows)
    steps = int(np.ceil(1.0 / share - 1e-9))
    places = sorted({int(len(known) * share * step) for step in range(1, steps)} - {0})
    return sorted({int(known[place - 1]) for place in places})


def seed_of(seed: int, number: int) -> int:
    """Return the seed of the n-th training."""
    return crc32(f"{seed}/{number}".encode())


def _order(rows: TrainingRows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that have an outcome, in the order in which it became known, and when that was."""
    usable = np.flatnonzero(~np.isnan(rows.outcomes))
    order = usable[np.argsort(rows.known_us[usable], kind="stable")]
    return order, rows.known_us[order]


def _range(known: NDArray[np.int64], at_us: int, window_us: int | None) -> slice:
    """Return what may be learned from at an instant."""
    start = 0 if window_us is None else int(np.searchsorted(known, at_us - window_us, side="right"))
    return slice(start, int(np.searchsorted(known, at_us, side="right")))


def _differ(outcomes: NDArray[np.float64]) -> bool:
    return bool(np.any(outcomes != outcomes[0])) if len(outcomes) else False


def _of_the_rest(
    rows: TrainingRows, place: NDArray[np.int64], usable: NDArray[np.int64], seed: int
) -> list[_Task]:
    """Return a model a fold of periods, each of all the other folds."""
    folds = min(FOLDS, int(place.max(initial=0)) + 1)
    tasks = []
    for fold in range(folds):
        mine = place % folds == fold
        learn = usable[~mine[usable]]
        if _differ(rows.outcomes[learn]):
            tasks.append(_Task(learn, np.flatnonzero(mine), seed_of(seed, fold + 1)))
    return tasks


def _of_itself(
    rows: TrainingRows, place: NDArray[np.int64], usable: NDArray[np.int64], seed: int
) -> list[_Task]:
    """Return two models a period, each of every other stretch of it: ten stretches, in order of decision."""
    tasks = []
    for period in range(1, int(place.max(initial=0)) + 1):
        mine = np.flatnonzero(place == period)
        mine = mine[np.argsort(rows.decided_us[mine], kind="stable")]
        half = np.arange(len(mine)) * 10 // max(len(mine), 1) % 2
        for side in (0, 1):
            learn = usable[np.isin(usable, mine[half != side])]
            if _differ(rows.outcomes[learn]):
                tasks.append(_Task(learn, mine[half == side], seed_of(seed, period)))
    return tasks


def _loss(outputs: NDArray[np.float64], outcomes: NDArray[np.float64]) -> float:
    known = ~np.isnan(outcomes)
    if np.any(np.isnan(outputs[known])):
        return float("inf")
    found = log_loss(outputs[known], outcomes[known])
    return float("inf") if found is None else found


def _decided(
    rows: TrainingRows, train: Train, tasks: Sequence[_Task], workers: int, progress: Progress | None
) -> Decided:
    outputs = np.full(len(rows), np.nan)
    with _running(_arrays(rows), train, workers if len(tasks) > 1 else 0) as run:
        for done, (task, found) in enumerate(zip(tasks, run(tasks), strict=True), 1):
            outputs[task.decide] = found
            if progress is not None:
                progress(done, len(tasks))
    return Decided(outputs, len(tasks))


def _arrays(rows: TrainingRows) -> TrainingRows:
    """Return the rows with every column an array, the values as they are."""
    columns: list[Any] = [_array(column) for column in rows.columns]
    return TrainingRows(rows.names, columns, rows.outcomes, rows.decided_us, rows.known_us)


def _array(column: Any) -> NDArray[Any]:
    if isinstance(column, np.ndarray):
        return column
    array = np.empty(len(column), dtype=object)
    array[:] = column
    return array


def _take(rows: TrainingRows, places: NDArray[np.int64]) -> TrainingRows:
    columns: list[Any] = [np.asarray(column)[places] for column in rows.columns]
    return TrainingRows(
        rows.names, columns, rows.outcomes[places], rows.decided_us[places], rows.known_us[places]
    )


def _run(rows: TrainingRows, train: Train, task: _Task) -> NDArray[np.float64]:
    predictor = train(_take(rows, task.learn), task.seed)
    if not len(task.decide):
        return np.empty(0)
    return np.asarray(predictor.predict(_take(rows, task.decide).rows), dtype=np.float64)


_given: dict[str, Any] = {}
"""In a worker process: what all its tasks share."""


def _give(rows: TrainingRows, train: Train) -> None:
    # Ctrl-C reaches all processes of a terminal: the one that asked decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _given["rows"], _given["train"] = rows, train


def _leave_with_parent() -> None:
    """Leave as soon as the process is gone that asked, however it went: nobody takes what comes of it."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_given(task: _Task) -> NDArray[np.float64]:
    return _run(_given["rows"], _given["train"], task)


@contextmanager
def _running(
    rows: TrainingRows, train: Train, workers: int
) -> Iterator[Callable[[Sequence[_Task]], Iterator[NDArray[np.float64]]]]:
    """Give a function that runs tasks here, or in processes that got the rows once."""
    if workers < 1:
        yield partial(map, partial(_run, rows, train))
        return
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415 (seldom wanted)
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415 (as above)

    context = get_context("forkserver")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_give, initargs=(rows, train))
    try:
        yield partial(pool.map, _run_given)
    except BrokenProcessPool as error:
        raise UnavailableError(
            "Cannot train: a process died, perhaps for want of memory. Use fewer workers."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
