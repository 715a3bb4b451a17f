"""What a cursor stores says exactly what is unfinished, and what views lack."""

from hypothesis import given
from hypothesis import strategies as st

from tropism.runtime.cursor import Fed, Place, Progress

STEPS = st.lists(st.tuples(st.sampled_from(["read", "finish", "drop", "restart"]), st.integers(0, 5)))


@given(STEPS)
def test_after_every_restart_just_the_unfinished_events_are_open(steps):
    """Events are read in order, finished or passed over in any; a restart reads again from where it says."""
    done: set[int] = set()
    read = 0
    progress = Progress(Place())
    for step, number in steps:
        if step == "read":
            progress.read(range(read, read + number + 1))
            read += number + 1
        elif step == "restart":
            progress = Progress(progress.place())
            assert set(range(progress.taken)) <= done
            read = progress.taken
        else:
            open_ = [offset for offset in range(read) if offset in progress.open]
            if open_:
                offset = open_[number % len(open_)]
                done.add(offset)
                progress.finish([offset]) if step == "finish" else progress.drop([offset])
        assert all((offset in progress.open) == (offset not in done) for offset in range(read))


@given(st.sets(st.integers(0, 30)), st.integers(0, 31), st.sets(st.integers(0, 30)))
def test_views_lack_what_is_left_and_what_comes_after(left, to, later):
    """What a store of views was fed stays fed, though a restart reads it again."""
    fed = Fed(Place(to, sorted(offset for offset in left if offset < to)))
    lacking = {offset for offset in range(40) if fed.lacks(offset)}
    assert lacking == {offset for offset in range(40) if offset >= to or offset in left}
    again = Fed(fed.place(35, later))
    assert {offset for offset in range(40) if again.lacks(offset)} == (later & lacking) | set(range(35, 40))
