"""Breaking one method of an adapter: how saboteurs are made."""

from contextlib import asynccontextmanager


def sabotaged(make, break_it):
    """Return a factory of what ``make`` makes, with methods replaced by what ``break_it`` returns."""

    @asynccontextmanager
    async def factory():
        adapter = make()
        for name, method in break_it(adapter).items():
            part, _, attribute = name.rpartition(".")
            setattr(getattr(adapter, part) if part else adapter, attribute, method)
        yield adapter

    return factory
