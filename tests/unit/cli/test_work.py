"""Work that a signal cancelled goes no further, also where it awaits nothing."""

import asyncio

import pytest

from tropism.cli.history import Row
from tropism.cli.importing import look_through
from tropism.cli.rows import RowError
from tropism.cli.work import finish


class Endless:
    """A table that ends only when nobody reads on."""

    def rows(self):
        for number in range(1, 1_000_000):
            yield Row(number, number, {}, "no row")


def test_looking_through_a_file_ends_when_it_is_cancelled():
    async def work():
        asyncio.current_task().cancel()
        look_through(Endless(), None)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(work())


def test_work_gives_what_came_of_it_and_raises_what_went_wrong():
    async def work(error=None):
        if error is not None:
            raise error
        return 3

    assert finish(work()) == 3
    with pytest.raises(RowError, match="no"):
        finish(work(RowError("no")))
