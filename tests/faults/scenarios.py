"""What can go wrong, each as one function that is run on every engine where it can happen."""

import asyncio
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory import MemoryBlobs, MemoryCompute, MemoryStore
from tropism.core.errors import ConflictError
from tropism.ports.platform import Platform
from tropism.runtime.dead import dead_letters, redrive
from tropism.runtime.dividing import divide
from tropism.runtime.runtime import Runtime
from tropism.testing.ledger import TYPES, ledger

ACCOUNTS = ("a", "b", "c", "d", "e")


# -- workers that die -----------------------------------------------------------------------------


async def killed_at_work(site):
    """A worker killed again and again while events flow loses none, and has no effect twice."""
    async with _flowing(site):
        for life in range(3):
            worker = site.work(holder=f"worker {life}", lease_seconds=0.5)
            await _grown(site, 20)
            await worker.kill()
        site.work(holder="last", lease_seconds=0.5)
    await site.handled()


async def killed_by_an_event(site):
    """An event that kills its process is given up after its attempts, alone; the others come through."""
    site.conduct("die", "a")
    await site.post("b", "a", "c")
    for _ in range(12):
        worker = site.work()
        booked = asyncio.ensure_future(site.books("b/00000", "c/00000"))
        await asyncio.wait([asyncio.ensure_future(worker.ended()), booked], return_when="FIRST_COMPLETED")
        booked.cancel()
        await asyncio.wait([booked])
        if worker.is_alive:
            break
        assert worker.exit_code == 7
    history = await site.handled()
    assert [letter.record.id for letter in history.letters] == ["a/00000"]
    assert "died" in history.letters[0].cause or "died" in str(history.letters[0].history)


async def frozen_past_its_lease(site):
    """A worker that stood still past its lease finds itself fenced: what it had at hand has its effect once."""
    site.conduct("hold", "a")
    zombie = site.work(holder="zombie", lease_seconds=0.4)
    await site.post("a")
    await site.called("a/00000")
    zombie.freeze()
    site.work(holder="heir", lease_seconds=0.4)
    await _times(site, "a/00000", 2)
    site.conduct_all_well()
    await site.books("a/00000")
    zombie.thaw()
    await site.post(*ACCOUNTS, times=5)
    await site.handled()


async def blocked_past_its_lease(site):
    """A handler that blocks its process past the lease delays its events, and doubles none."""
    site.conduct("block", "a")
    site.work(holder="blocked", lease_seconds=0.4)
    await site.post("a")
    await site.called("a/00000")
    site.work(holder="heir", lease_seconds=0.4)
    await _times(site, "a/00000", 2)
    site.conduct_all_well()
    await site.post(*ACCOUNTS, times=5)
    await site.handled()


# -- workers that stop ----------------------------------------------------------------------------


async def stopped_while_it_works(site):
    """SIGTERM: what is under way is finished and committed once, then the process leaves."""
    site.conduct("hold", "a")
    worker = site.work()
    ids = await site.post(*ACCOUNTS)
    await site.called(*ids)
    worker.stop()
    site.conduct_all_well()
    assert await worker.ended() == 0
    assert await site.booked() == set(ids)
    site.work(holder="next")
    await site.handled()
    assert sorted(site.calls()) == sorted(ids)


async def stopped_with_no_time_left(site):
    """When the time to finish is over, what is unfinished is not acknowledged: the next worker does it."""
    site.conduct("hold", "a")
    worker = site.work(drain_seconds=0.2)
    await site.post("a", "b")
    await site.called("a/00000")
    await site.books("b/00000")
    worker.stop()
    assert await worker.ended() == 0
    assert "a/00000" not in await site.booked()
    site.conduct_all_well()
    site.work(holder="next")
    await site.handled()


async def told_twice_to_stop(site):
    """A second SIGTERM ends the process at once, and loses nothing."""
    site.conduct("hold", "a")
    worker = site.work(drain_seconds=600)
    await site.post("a", "b")
    await site.called("a/00000")
    worker.stop()
    worker.stop()
    while worker.is_alive:
        # Signals of one kind that come close together are one signal.
        worker.stop()
        await asyncio.sleep(0.05)
    assert await worker.ended() == 128 + signal.SIGTERM
    site.conduct_all_well()
    site.work()
    await site.handled()


async def stopped_between_attempts(site):
    """A worker that waits for its next attempt leaves within its bound, and the event is not lost."""
    site.conduct("raise", "a")
    worker = site.work(drain_seconds=0.3, retry_seconds=60)
    await site.post("a", "b")
    await site.called("a/00000")
    await site.books("b/00000")
    worker.stop()
    assert await worker.ended() == 0
    site.conduct_all_well()
    site.work(holder="next")
    await site.handled()


async def started_again_and_again(site):
    """Workers that come and go in quick succession lose nothing, also with none of them in between."""
    ids = await site.post(*ACCOUNTS, times=4)
    for life in range(4):
        worker = site.work(holder="same")
        if life % 2:
            worker.stop()
            await worker.ended()
        else:
            await worker.kill()
        ids += await site.post("a")
    site.work(holder="same")
    await site.handled()


async def many_at_once(site):
    """Several workers that begin on an empty store at the same moment agree on who does what."""
    for number in range(4):
        site.work(holder=f"worker {number}", lease_seconds=0.5)
    await site.post(*ACCOUNTS, times=8)
    await site.handled()


async def divided_under_load(site):
    """Workers that share the keys, killed, replaced, and divided anew while events flow: each effect once."""
    await _divide(site, 2)
    async with _flowing(site):
        pair = [site.work(holder=f"two {n}", share=(n, 2), lease_seconds=0.5) for n in range(2)]
        await _grown(site, 20)
        await pair[0].kill()
        pair[0] = site.work(holder="two 0", share=(0, 2), lease_seconds=0.5)
        await _grown(site, 20)
        for worker in pair:
            worker.stop()
        for worker in pair:
            await worker.ended()
        await _divide(site, 3)
        for number in range(3):
            site.work(holder=f"three {number}", share=(number, 3), lease_seconds=0.5)
    await site.handled()


# -- events that fail -----------------------------------------------------------------------------


async def one_key_waits(site):
    """While one key's event is under way, others are done and stay done over a crash; it is not passed over."""
    site.conduct("hold", "a")
    worker = site.work(lease_seconds=0.5)
    ids = await site.post("a", *ACCOUNTS[1:] * 5)
    await site.books(*ids[1:])
    await worker.kill()
    assert "a/00000" not in await site.booked()
    site.conduct_all_well()
    site.work(lease_seconds=0.5)
    await site.handled()
    assert all(site.calls().count(id) == 1 for id in ids[1:])


async def poison(site):
    """What cannot be read, does not fit, or always fails is given up once; what comes behind it goes on."""
    site.conduct("raise", "a")
    site.work()
    unreadable, unfit = site.next("b"), site.next("c")
    unreadable = msgspec.structs.replace(unreadable, data=b"\xff{")
    unfit = msgspec.structs.replace(unfit, data=b'{"account": 7}')
    await site.append([unreadable, unfit, site.next("a")])
    await site.post("b", "c", "d")
    history = await site.handled()
    assert sorted(letter.record.id for letter in history.letters) == ["a/00000", "b/00000", "c/00000"]
    assert {letter.attempts for letter in history.letters if letter.handler} == {5}


async def redriven(site):
    """A dead letter that is redriven after a mend is handled, once, whatever remembers its id."""
    site.conduct("raise", "a")
    site.work()
    await site.post("a", "b")
    (letter,) = (await site.handled()).letters
    site.conduct_all_well()
    clock = SystemClock()
    platform = Platform(site.log, site.state, MemoryBlobs(), MemoryCompute(), clock, MemoryStore().queue)
    await redrive(platform, [letter])
    deadline = time.monotonic() + 90
    while len(_booked(await site.history(), "a")) < 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    assert len(_booked(await site.history(), "a")) == 1
    assert await dead_letters(site.state) == []


async def hangs(site):
    """A call that does not end is ended at its time limit, again and again, and its event given up."""
    site.conduct("hold", "a")
    site.work(timeout_seconds=0.1)
    await site.post("a", "b")
    (letter,) = (await site.handled()).letters
    assert letter.record.id == "a/00000"
    assert "took longer than 0.1 s" in letter.cause


async def partly_failed_batch(site):
    """Of a batch only the failing rows are given up; the others come through, each key in order."""
    site.conduct("spoil", "a")
    await site.post(*ACCOUNTS, times=6)
    site.work()
    history = await site.handled()
    assert len(history.letters) == 6
    assert {letter.service for letter in history.letters} == {"notices"}


async def retried_across_a_crash(site):
    """Attempts made before a crash count after it."""
    site.conduct("raise", "a")
    worker = site.work(retry_seconds=0.2)
    await site.post("a")
    await _times(site, "a/00000", 2)
    await asyncio.sleep(0.1)
    await worker.kill()
    site.work()
    (letter,) = (await site.handled()).letters
    assert letter.attempts == 5
    assert 3 <= site.calls().count("a/00000") <= 6


# -- events that come twice, late, or by the thousand ---------------------------------------------


async def published_twice(site):
    """An event that is published again under its id, at once and later, by several, has its effect once."""
    records = [site.next(account) for _ in range(10) for account in ACCOUNTS]
    await site.append(records)
    site.work()
    await asyncio.gather(*(site.log.append(records[start:]) for start in (0, 20, 40)))
    await site.books(records[-1].id)
    await site.log.append(list(reversed(records)))
    await site.post(*ACCOUNTS)
    await site.handled()


async def published_before_anybody_listened(site):
    """A service that is new takes all there is, from the first event on; and nothing while it is away is lost."""
    await site.post(*ACCOUNTS, times=10)
    worker = site.work()
    await site.handled()
    worker.stop()
    await worker.ended()
    await site.post(*ACCOUNTS, times=10)
    site.work()
    await site.handled()


async def slow_consumer(site):
    """More events than may be in flight, and slow handlers: they wait in the log, and all come through."""
    worker = site.work(slow_seconds=0.01, in_flight_max=8, chunk=4, lease_seconds=0.5)
    await site.post(*ACCOUNTS, times=20, batch=100)
    await site.handled()
    assert worker.is_alive


async def slower_than_its_lease(site):
    """A call that takes longer than the lease keeps it: nobody takes over, and the call is made once."""
    site.conduct("hold", "a")
    site.work(holder="slow", lease_seconds=1.0)
    await site.post("a")
    await site.called("a/00000")
    site.work(holder="standby", lease_seconds=1.0)
    await asyncio.sleep(2.5)
    site.conduct_all_well()
    await site.handled()
    assert site.calls().count("a/00000") == 1


async def clocks_that_are_wrong(site):
    """Workers whose clocks are an hour apart follow each other: nothing is lost, doubled, or out of order."""
    await site.post(*ACCOUNTS, times=3)
    for life, ahead in enumerate((3600.0, -3600.0, 0.0)):
        worker = site.work(clock_ahead_seconds=ahead, lease_seconds=0.5)
        await site.books(f"e/{3 * life + 2:05}")
        await worker.kill()
        await site.post(*ACCOUNTS, times=3)
    site.work(lease_seconds=0.5)
    await site.handled()


# -- servers and networks -------------------------------------------------------------------------


async def server_killed(site):
    """Kill -9 of the server, twice, while events flow: all waits, goes on by itself, and nothing is lost."""
    site.work(lease_seconds=1.0)
    async with _flowing(site):
        for _ in range(2):
            await _grown(site, 20)
            await site.server.kill()
            await asyncio.sleep(0.1)
            await site.server.start()
    await site.handled()


async def server_restarted(site):
    """The server is stopped in order and started again while events flow: all waits, and goes on by itself."""
    site.work(lease_seconds=1.0)
    async with _flowing(site):
        await _grown(site, 20)
        await site.server.stop()
        await asyncio.sleep(0.1)
        await site.server.start()
        await _grown(site, 20)
    await site.handled()


async def server_and_worker_killed(site):
    """Both at once: whoever comes back finds all that was acknowledged."""
    worker = site.work(lease_seconds=0.5)
    async with _flowing(site):
        await _grown(site, 20)
        await asyncio.gather(site.server.kill(), worker.kill())
        await site.server.start()
        site.work(holder="next", lease_seconds=0.5)
    await site.handled()


async def network_cut(site):
    """Connections are ended and refused for a while: the worker goes on by itself when they are not."""
    site.work(lease_seconds=1.0)
    async with _flowing(site):
        for _ in range(2):
            await _grown(site, 10)
            await site.proxy.cut()
            await asyncio.sleep(0.3)
            await site.proxy.join()
    await site.handled()


async def answers_lost(site):
    """What was sent arrives and its answers do not, then the connection ends: asked again, it has one effect."""
    site.work(lease_seconds=1.0)
    async with _flowing(site):
        for _ in range(3):
            await _grown(site, 10)
            site.proxy.silence("down")
            await asyncio.sleep(0.2)
            await site.proxy.cut()
            await site.proxy.join()
    await site.handled()


async def half_open(site):
    """A connection that is silent, and not closed, is given up within a bound; a new one goes on."""
    site.work(lease_seconds=1.0)
    await site.post(*ACCOUNTS, times=2)
    await site.handled()
    site.proxy.silence()
    ids = await site.post(*ACCOUNTS, times=2)
    # The way to the server is dead for good; what is opened anew finds another.
    await asyncio.sleep(0.5)
    await site.proxy.renew()
    await site.books(*ids)
    await site.handled()


async def delivered_late(site):
    """What was sent on a connection that was given up arrives after all that followed it: it changes nothing."""
    worker = site.work(lease_seconds=1.0)
    await site.post(*ACCOUNTS, times=2)
    await site.handled()
    site.proxy.silence()
    ids = await site.post(*ACCOUNTS, times=2)
    await asyncio.sleep(0.5)
    await site.proxy.renew()
    await site.books(*ids)
    await site.books(*await site.post(*ACCOUNTS, times=2))
    site.proxy.release()
    await asyncio.sleep(0.5)
    await worker.kill()
    site.work(holder="next", lease_seconds=1.0)
    await site.post(*ACCOUNTS, times=2)
    await site.handled()


async def slow_network(site):
    """Where every answer takes long, all takes long, and nothing else happens."""
    site.proxy.delay_seconds = 0.02
    site.work(lease_seconds=2.0)
    await site.post(*ACCOUNTS, times=4)
    await site.handled()


async def disk_full(site):
    """Where the disk takes no more, nothing is acknowledged that is not stored; with room again, all goes on."""
    site.work(lease_seconds=1.0)
    await site.post(*ACCOUNTS, times=2)
    await site.handled()
    posting = await site.fill_disk()
    await site.make_room()
    await posting
    await site.handled()


@asynccontextmanager
async def _flowing(site):
    """Post all the while, and a little longer."""
    ends = False

    async def post():
        while not ends:
            await site.post(*ACCOUNTS)
            await asyncio.sleep(0.05)

    task = asyncio.ensure_future(post())
    try:
        yield
    finally:
        ends = True
        # One after the other: two who post to one account at the same time promise no order.
        await task
    await site.post(*ACCOUNTS)


async def _grown(site, count):
    """Wait until so many more postings are booked than now."""
    start = await site.count("books")
    deadline = time.monotonic() + 90
    while await site.count("books") < start + count:
        assert time.monotonic() < deadline, f"{start} of {len(site.published)} were booked, and no more"
        await asyncio.sleep(0.02)


async def _times(site, id, count):
    deadline = time.monotonic() + 90
    while site.calls().count(id) < count:
        assert time.monotonic() < deadline, site.calls()
        await asyncio.sleep(0.01)


def _booked(history, account):
    return {s.record.id for s in history.logs["books"] if s.record.subject == account}


async def _divide(site, count):
    clock = SystemClock()
    platform = Platform(site.log, site.state, MemoryBlobs(), MemoryCompute(), clock, MemoryStore().queue)
    runtime = Runtime(ledger(), platform, types=TYPES)
    await runtime.create_topics()
    for service in runtime.services:
        for _ in range(500):
            try:
                await divide(platform, service, count, holder="divider")
                break
            except ConflictError:
                # Whoever was killed keeps its lease until it has run out.
                await asyncio.sleep(0.02)
        else:
            raise AssertionError(f"{service} is never free")


@dataclass(frozen=True)
class Scenario:
    """One thing that goes wrong: what it needs of an engine, and where it is known to end otherwise."""

    run: object
    codes: str
    needs: str = ""
    deviations: dict = field(default_factory=dict)

    @property
    def name(self):
        return self.run.__name__

    @property
    def law(self):
        return " ".join(self.run.__doc__.split())

    def runs_on(self, engine):
        needs = {"processes": engine.processes, "server": engine.killable, "network": engine.network}
        return (not self.needs or needs[self.needs]) and engine.name not in self.deviations


FORGETS = (
    "noida keeps what it acknowledged in memory until it is told to stop, so kill -9 loses all of it; "
    "what the log makes of that is in `faults/test_kafka_forgets.py`, and Apache Kafka is not tried here"
)

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(killed_at_work, "S8 R6 D5 O1"),
        Scenario(killed_by_an_event, "P5", "processes"),
        Scenario(frozen_past_its_lease, "R1 R7 D8"),
        Scenario(blocked_past_its_lease, "F7", "processes"),
        Scenario(stopped_while_it_works, "S1 S4 S5"),
        Scenario(stopped_with_no_time_left, "S2 S3 S7"),
        Scenario(told_twice_to_stop, "S9", "processes"),
        Scenario(stopped_between_attempts, "R2"),
        Scenario(started_again_and_again, "O7 F6"),
        Scenario(many_at_once, "B9 R6"),
        Scenario(divided_under_load, "R1 R8"),
        Scenario(one_key_waits, "O1 P6 F3"),
        Scenario(poison, "P1 P2 P3 P7"),
        Scenario(redriven, "P9"),
        Scenario(hangs, "P4"),
        Scenario(partly_failed_batch, "P10"),
        Scenario(retried_across_a_crash, "P5 P6"),
        Scenario(published_twice, "D1 D2 D4"),
        Scenario(published_before_anybody_listened, "O6 F6 F4"),
        Scenario(slow_consumer, "F1 F2 B7"),
        Scenario(slower_than_its_lease, "F5 F2"),
        Scenario(clocks_that_are_wrong, "B6"),
        Scenario(server_restarted, "B1 O3", "server"),
        Scenario(server_killed, "B1 O3 D7", "server", {"kafka": FORGETS}),
        Scenario(server_and_worker_killed, "D5 D7", "server", {"kafka": FORGETS}),
        Scenario(network_cut, "B1 B2", "network"),
        Scenario(answers_lost, "B3", "network"),
        Scenario(half_open, "B2", "network"),
        Scenario(delivered_late, "B3", "network"),
        Scenario(slow_network, "B7", "network"),
    )
}
