"""A writer and a critic who never agree: their circle is found, counted, and ended. Run it with Python."""

import asyncio

from tropism import App, Event, Service, testing


class Drafted(Event, type="essays.drafted.v1", key="essay"):
    essay: str
    version: int


class Criticised(Event, type="essays.criticised.v1", key="essay"):
    essay: str
    version: int


writer, critic = Service("writer"), Service("critic", hops_max=20)


@writer.on(Criticised)
async def write(criticised: Criticised) -> Drafted:
    return Drafted(essay=criticised.essay, version=criticised.version + 1)


@critic.on(Drafted)
async def criticise(drafted: Drafted) -> Criticised:
    return Criticised(essay=drafted.essay, version=drafted.version)


app = App("essays", services=[writer, critic])


async def main() -> list[str]:
    """Return the causes of what was given up."""
    async with testing.run(app, live=True) as t:
        await t.publish(Drafted(essay="on loops", version=1))
        await t.advance(minutes=1)
        return [letter.cause for letter in t.dead_letters()]


if __name__ == "__main__":
    for cause in asyncio.run(main()):
        print(cause)  # noqa: T201 (it is what this program is for)
