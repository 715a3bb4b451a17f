"""Replays: what they give, and what they leave alone."""

import pytest
from tests.simulation.replay_system import Paid, again, dump, lived, run, scratch, shop

from tropism.core.errors import ConflictError, InvalidInputError, NotFoundError


def test_the_same_code_tells_the_same_and_leaves_the_live_store_as_it_is():
    """A replay of the whole range by the code that lived it differs in nothing and writes nothing there."""

    async def check():
        async with lived() as t:
            before = dump(t.simulation.store)
            report = await again(t)
            assert dump(t.simulation.store) == before
            assert report.difference.total.same == 40
            assert report.difference.total.is_same
            assert report.failed == 0

    run(check())


def test_new_code_is_told_by_what_it_does_otherwise():
    """Changed content is shown by field; an output of another type is new, and the one it replaces missing."""

    async def check():
        async with lived() as t:
            report = await again(t, shop(extra=1))
            assert report.difference.total.changed == 40
            assert report.difference.examples[0].fields == {"times": (1, 2)}
            report = await again(t, shop(alarm_above=29))
            assert report.difference.by_type["mail.alarmed.v1"].changed == 10

    run(check())


def test_a_renamed_handler_tells_the_same_under_other_ids():
    """Ids derive from the handler's name: the same content of the same cause counts as moved."""

    async def check():
        async with lived() as t:
            report = await again(t, shop(thanks="salute"))
            assert report.difference.total.moved == 40
            assert report.difference.total.is_same

    run(check())
