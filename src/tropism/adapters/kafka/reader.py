"""A consumer in a thread of its own, from which pages are read."""

import asyncio
import queue
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from threading import Thread
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tropism.adapters.kafka import codes
from tropism.adapters.kafka.appending import settle
from tropism.adapters.kafka.errors import LOGGER, Complaints
from tropism.adapters.kafka.messages import stored_of
from tropism.adapters.kafka.topics import latest_of
from tropism.adapters.kafka.track import Page, Track
from tropism.core.envelope import Stored
from tropism.ports.log import Cursors, Partition

T = TypeVar("T")

LISTEN_SECONDS = 0.05
"""How long it listens for records before it looks whether it is wanted for something else."""

IDLE_SECONDS = 1.0
"""How often it lets the client do its chores, such as renewing a token, while nobody wants anything."""

HELD_BYTES_MAX = 4 * 1024 * 1024
"""With so much fetched of a partition that nobody asks for now, it fetches no more of it."""

TAKE_COUNT = 1000
_FRAME_BYTES = 200


class Reader:
    """Reads partitions from where it left them, without going back and forth.

    Everything about the consumer happens in its thread; pages go to the event loop as whole lists.
    ``at`` is where its readers stand, ``followed`` what was read on at least once, ``busy`` and ``watching``
    how many are at it, ``used`` when it was last: all of these are the loop's.
    """

    def __init__(
        self,
        consumer: Callable[[], Consumer],
        name: Callable[[str], str],
        news: Callable[[dict[Partition, int]], None],
        complaints: Complaints,
        timeout_seconds: float,
    ) -> None:
        self.at: dict[Partition, int] = {}
        self.followed: set[Partition] = set()
        self.busy = self.watching = 0
        self.used = 0
        self._consumer = consumer()
        self._name = name
        self._news = news
        self._complaints = complaints
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._tracks: dict[Partition, Track] = {}
        self._places: dict[tuple[str | None, int | None], tuple[Partition, Track]] = {}
        self._watched: Counter[Partition] = Counter()
        self._asked: Collection[Partition] = ()
        self._thread = Thread(target=self._run, name="tropism-kafka-reader", daemon=True)
        self._thread.start()

    # -- from the event loop ----------------------------------------------------------------------

    async def read(
        self, cursors: Cursors, count_max: int, without: Collection[str], least: Cursors
    ) -> dict[Partition, list[Stored]]:
        """Return what lies at cursors, up to an end no nearer than ``least`` says. Raises: KafkaException."""
        self.busy += 1
        try:
            return await self._call(lambda: self._read(cursors, count_max, without, least))
        finally:
            self.busy -= 1

    async def watch(self, cursors: Cursors) -> None:
        """Listen for records at cursors, and tell the news of them, until unwatched."""
        self.watching += 1
        await self._call(lambda: self._watch(cursors))

    def unwatch(self, partitions: Iterable[Partition]) -> None:
        """Listen no longer."""
        self.watching -= 1
        self._jobs.put(lambda: self._watched.subtract(partitions))

    async def close(self) -> None:
        """Give the connections back."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    async def _call(self, call: Callable[[], T]) -> T:
        future: asyncio.Future[Any] = self._loop.create_future()

        def run() -> None:
            try:
                found: object = call()
            except BaseException as error:  # noqa: BLE001 (it is raised where the call was made)
                found = error
            self._tell(settle, future, found)

        self._jobs.put(run)
        result: T = await future
        return result

    # -- in its thread ----------------------------------------------------------------------------

    def _tell(self, method: Callable[..., object], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(method, *arguments)

    def _run(self) -> None:
        told = False
        while True:
            # Adding up to nothing drops what is not watched any more.
            self._watched = +self._watched
            try:
                if self._watched and not told:
                    job = self._jobs.get_nowait()
                else:
                    # Told of news, whoever waits for it asks for it at once.
                    job = self._jobs.get(timeout=LISTEN_SECONDS if told else IDLE_SECONDS)
            except queue.Empty:
                told = not told and self._listen()
                continue
            told = False
            if job is None:
                break
            job()
        self._consumer.close()

    def _listen(self) -> bool:
        """Wait a while for what is watched, or let the client do its chores; say whether there was news."""
        self._asked = self._watched.keys()
        try:
            grown = self._take(LISTEN_SECONDS if self._watched else 0.0)
        except Exception as error:  # noqa: BLE001 (the thread must outlive what a record may do to it)
            # Whoever reads next is told; the client goes on trying by itself.
            LOGGER.info("Listening failed: %s.", type(error).__name__)
            return False
        return self._tell_of(grown)

    def _tell_of(self, partitions: Iterable[Partition]) -> bool:
        """Tell up to where there are records: what lies behind them may be none."""
        held = {each: self._tracks[each].held for each in partitions}
        ends = {each: records[-1].offset + 1 for each, records in held.items() if records}
        if ends:
            self._tell(self._news, ends)
        return bool(ends)

    def _watch(self, cursors: Cursors) -> None:
        # Counted first: who watches no longer takes away what was counted, also where the rest failed.
        self._watched.update(cursors.keys())
        self._place(cursors)
        self._tell_of(cursors)

    def _read(
        self, cursors: Cursors, count_max: int, without: Collection[str], least: Cursors
    ) -> dict[Partition, list[Stored]]:
        self._place(cursors)
        self._asked = cursors.keys()
        pages = {each: Page(self._tracks[each], count_max, without) for each in cursors}
        targets: dict[Partition, int] | None = None
        deadline = time.monotonic() + self._timeout_seconds
        while True:
            wanting = [each for each, page in pages.items() if not page.is_full()]
            if targets is not None and all(self._tracks[p].next >= targets.get(p, 0) for p in wanting):
                break
            if not wanting:
                break
            if self._take(0.0):
                continue
            if targets is None:
                # Only now: where there is plenty, nobody needs to know where it ends.
                ends = self._latest(wanting, deadline)
                targets = {each: max(ends.get(each, 0), least.get(each, 0)) for each in wanting}
                continue
            if time.monotonic() >= deadline:
                raise KafkaException(KafkaError(codes.TIMED_OUT))
            self._take(LISTEN_SECONDS)
        found = {each: page.finish() for each, page in pages.items()}
        return {each: page for each, page in found.items() if page}

    def _latest(self, partitions: Iterable[Partition], deadline: float) -> dict[Partition, int]:
        places = {(self._name(topic), number): (topic, number) for topic, number in partitions}
        return latest_of(self._consumer, places, max(0.1, deadline - time.monotonic()))

    def _place(self, cursors: Cursors) -> None:
        """Let partitions be fetched from their cursors on, those that are not already."""
        moved: dict[Partition, int] = {}
        resumed = []
        for partition, cursor in cursors.items():
            track = self._tracks.get(partition)
            if track is None or not track.covers(max(cursor, 0)):
                moved[partition] = max(cursor, 0)
                continue
            track.go_to(max(cursor, 0))
            if track.paused:
                track.paused = False
                resumed.append(self._there(partition))
        if resumed:
            self._consumer.resume(resumed)
        if moved:
            self._move(moved)

    def _move(self, cursors: Mapping[Partition, int]) -> None:
        # Asked to fetch from beyond the end, a consumer would begin anew.
        ends = self._latest(cursors, time.monotonic() + self._timeout_seconds)
        leaving = [self._there(partition) for partition in cursors if partition in self._tracks]
        if leaving:
            for partition in cursors:
                self._forget(partition)
            self._consumer.incremental_unassign(leaving)
        coming = []
        for partition, cursor in cursors.items():
            there = self._there(partition)
            there.offset = min(cursor, ends.get(partition, cursor))
            coming.append(there)
            track = self._tracks[partition] = Track(cursor)
            self._places[there.topic, there.partition] = partition, track
        self._consumer.incremental_assign(coming)

    def _forget(self, partition: Partition) -> None:
        self._tracks.pop(partition, None)
        self._places.pop((self._name(partition[0]), partition[1]), None)

    def _there(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._name(partition[0]), partition[1])

    def _take(self, seconds: float) -> set[Partition]:
        """Take in what has come, or comes within a while, and return the partitions that moved on."""
        messages = self._consumer.consume(TAKE_COUNT, 0)
        if not messages and seconds:
            # It waits for as many as it is asked for: one, and then what came along with it.
            messages = self._consumer.consume(1, seconds)
            if messages:
                messages += self._consumer.consume(TAKE_COUNT, 0)
        try:
            return self._put(messages)
        except BaseException:
            # What was handed over and not put is fetched again.
            self._consumer.unassign()
            self._tracks.clear()
            self._places.clear()
            raise

    def _put(self, messages: list[Message]) -> set[Partition]:
        """Move messages from a list to the tracks of their partitions, and return which these are."""
        moved: set[Partition] = set()
        last: tuple[str | None, int | None] = None, None
        found = None
        messages.reverse()
        while messages:
            # Let go of at once, their headers are none of the garbage collector's business.
            message = messages.pop()
            place = message.topic(), message.partition()
            if place != last:
                # They come in runs.
                last, found = place, self._places.get(place)
                moved.update(found[:1] if found is not None else ())
            error = message.error()
            if error is not None:
                self._note(error, found, message)
            elif found is not None and (message.offset() or 0) >= found[1].next:
                track = found[1]
                track.put(stored_of(message, found[0][0], track.known_us), len(message) + _FRAME_BYTES)
        self._hold_back(moved)
        return moved

    def _note(self, error: KafkaError, found: tuple[Partition, Track] | None, message: Message) -> None:
        if error.code() != codes.PARTITION_END:
            self._complaints.note(error)
        elif found is not None:
            # Up to here there is nothing more, though the last offsets may hold no record.
            found[1].next = max(found[1].next, message.offset() or 0)

    def _hold_back(self, partitions: Iterable[Partition]) -> None:
        """Fetch no more of what nobody asks for now and is large."""
        for partition in partitions:
            track = self._tracks[partition]
            if track.bytes > HELD_BYTES_MAX and not track.paused and partition not in self._asked:
                track.paused = True
                self._consumer.pause([self._there(partition)])
