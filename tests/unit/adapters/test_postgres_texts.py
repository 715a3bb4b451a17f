"""Texts that PostgreSQL has no characters for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tropism.adapters.postgres.texts import behind, check_indexed, encoded, kept, plain
from tropism.core.errors import InvalidInputError

texts = st.text(st.sampled_from("\0\1\2\3a\ud7ff\ue000\U0010ffff"), max_size=6)


@given(texts)
def test_kept_texts_come_back(text):
    """What is kept has no NUL, and is read as what it was."""
    assert "\0" not in kept(text)
    assert plain(kept(text)) == text
    assert encoded(["a", text]) == [b"a", kept(text).encode()]


@given(texts, texts)
def test_kept_texts_sort_and_begin_as_they_did(one, other):
    """Order by code points, equality and prefixes are those of the texts themselves."""
    assert (kept(one) < kept(other)) == (one < other)
    assert (kept(one) == kept(other)) == (one == other)
    assert kept(one).startswith(kept(other)) == one.startswith(other)
    assert (encoded([one]) < encoded([other])) == (one < other)


@given(texts, texts)
def test_what_lies_behind_a_prefix(prefix, text):
    """A text begins with a prefix where it lies from the prefix up to what is behind it."""
    stop = behind(prefix)
    within = prefix <= text and (stop is None or text < stop)
    assert within == text.startswith(prefix)


def test_lone_surrogates_are_refused():
    """They are no Unicode."""
    with pytest.raises(InvalidInputError, match="lone surrogate"):
        encoded(["a", "\ud800"])


def test_long_texts_are_refused_by_indexes():
    """Beyond what an index takes, with the remedy."""
    check_indexed(encoded(["\u00e9" * 1000]), "an event id")
    with pytest.raises(InvalidInputError, match="an event id of 2002 bytes.*Use a shorter one"):
        check_indexed(encoded(["\u00e9" * 1001]), "an event id")
