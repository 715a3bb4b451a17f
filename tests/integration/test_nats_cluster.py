"""The log on three NATS servers, of which one dies."""

import asyncio
from contextlib import ExitStack, asynccontextmanager
from uuid import uuid4

import pytest
from tests.nats_server import NatsServer, free_port

from tropism.adapters.local.clock import SystemClock
from tropism.adapters.nats import open_nats
from tropism.runtime.patience import patiently
from tropism.testing.checks import run_checks
from tropism.testing.log import LOG_CHECKS, read_all, record


@pytest.fixture
def cluster(tmp_path):
    ports = [free_port() for _ in range(3)]
    routes = [f"nats-route://127.0.0.1:{port}" for port in ports]
    with ExitStack() as stack:
        servers = []
        for number, port in enumerate(ports):
            folder = tmp_path / str(number)
            folder.mkdir()
            cluster = {"name": "c", "listen": f"127.0.0.1:{port}", "routes": routes}
            server = NatsServer(folder, server_name=f"n{number}", cluster=cluster)
            servers.append(stack.enter_context(server))
        yield servers


@pytest.mark.slow
def test_three_servers_keep_every_law_and_outlive_one_of_them(cluster):
    """Streams of three replicas are read as they were appended, and nothing acknowledged dies with a server."""
    servers = ",".join(server.url.removeprefix("nats://") for server in cluster)
    clock = SystemClock()

    @asynccontextmanager
    async def opened():
        options = f"replicas=3&timeout_seconds=10&prefix={uuid4().hex[:12]}"
        # Three servers that have just begun take a while to agree on a leader.
        log = await patiently(clock, lambda: open_nats(f"nats://{servers}?{options}"))
        try:
            yield log
        finally:
            await log.close()

    async def check():
        report = await run_checks(opened, LOG_CHECKS)
        assert report.ok, report.failures
        async with opened() as log:
            records = [record(f"{n:04}", f"k{n % 9}") for n in range(600)]
            await log.append(records[:300])
            cluster[0].kill()
            for start in range(300, 600, 20):
                await patiently(clock, lambda start=start: log.append(records[start : start + 20]))
            pages = await patiently(clock, lambda: read_all(log))
            for page in pages.values():
                for subject in {stored.record.subject for stored in page}:
                    ids = [stored.record.id for stored in page if stored.record.subject == subject]
                    assert ids == sorted(ids), subject
            assert sorted(s.record.id for page in pages.values() for s in page) == [r.id for r in records]

    asyncio.run(check())
