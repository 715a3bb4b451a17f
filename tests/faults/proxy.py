"""A network that can be cut: a proxy between us and a server."""

import asyncio
import contextlib

CHUNK = 65536


class Proxy:
    """Passes bytes on between clients and one server, as long as it is told to.

    ``cut`` ends all connections and refuses new ones. ``silence`` takes what is sent and passes nothing
    also when they have gone, and hands it over when it is released. ``word`` and ``other`` are as
    long as each other: one is replaced by the other in what the server says, such as where it is.
    """

    def __init__(self, server, *, word=b"", other=b""):
        self._open_server = server
        self._word, self._other = word, other
        self._links = set()
        self._listener = None
        self._passes = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._silent = []
        self.port = 0
        self.delay_seconds = 0.0

    async def open(self):
        for way in self._passes.values():
            way.set()
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def cut(self):
        """Refuse new connections, and end those there are."""
        self._listener.close()
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def join(self):
        """Let all through again."""
        await self.open()

    def silence(self, *ways):
        for way in ways or ("up", "down"):
            self._passes[way].clear()

    async def renew(self):
        """Let new connections through; those there are stay silent until they are released."""
        self._silent.append(self._passes)
        self._passes = {"up": asyncio.Event(), "down": asyncio.Event()}
        for way in self._passes.values():
            way.set()

    def release(self):
        """Hand over what was kept back, long after whoever sent it has gone."""
        for passes in self._silent:
            for way in passes.values():
                way.set()

    async def close(self):
        if self._listener is not None:
            await self.cut()

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._links.add(task)
        try:
            await self._link(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(task)
            writer.close()

    async def _link(self, reader, writer):
        server_reader, server_writer = await self._open_server()
        try:
            ways = [
                asyncio.ensure_future(self._pump(reader, server_writer, "up")),
                asyncio.ensure_future(self._pump(server_reader, writer, "down")),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            with contextlib.suppress(OSError):
                server_writer.close()

    async def _pump(self, reader, writer, way):
        passes = self._passes[way]
        while data := await reader.read(CHUNK):
            await passes.wait()
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            if way == "down" and self._word:
                data = data.replace(self._word, self._other)
            writer.write(data)
            await writer.drain()
