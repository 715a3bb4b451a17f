"""Requests to real servers that misbehave, and what is said where the extra is missing."""

import asyncio
import sys
from contextlib import asynccontextmanager, suppress

import pytest
from tests.cloud_events import Paid

from tropism import App, testing
from tropism.adapters.http.client import ANSWER_BYTES_MAX, HttpPost
from tropism.adapters.http.serving import address_of, is_loopback, listen
from tropism.app.webhook import webhook
from tropism.cli.ingress import wanted_by
from tropism.core.errors import InvalidInputError, NotSupportedError, UnavailableError

HOST = "127.0.0.1"


@asynccontextmanager
async def answering(*answers):
    """A server that answers each request of a connection with the next text, then hangs up."""
    left = list(answers)
    seen = []

    async def serve(reader, writer):
        while left:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            seen.append(head + await reader.readexactly(length))
            writer.write(left.pop(0))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}/hooks?key=s3cret"
    post = HttpPost(url, HOST, {"authorization": "Bearer t"}, timeout_seconds=5, count_max=2)
    try:
        yield post, seen
    finally:
        await post.close()
        server.close()
        await server.wait_closed()


def answered(*answers):
    """Post once for each answer; return what came of it, and what the server saw."""

    async def run():
        async with answering(*answers) as (post, seen):
            return [await post({"ce-id": "1"}, b"{}") for _ in answers], seen

    return asyncio.run(run())


def test_a_request_has_its_headers_and_its_body():
    (answer,), (request,) = answered(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
    assert (answer.status, answer.retry_after) == (202, "")
    head = request.lower()
    assert head.startswith(b"post /hooks?key=s3cret http/1.1")
    assert b"\r\nce-id: 1\r\n" in head
    assert b"\r\nauthorization: bearer t\r\n" in head
    assert request.endswith(b"\r\n\r\n{}")


def test_no_redirect_is_followed_and_retry_after_is_handed_on():
    moved = b"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    busy = b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n"
    answers, seen = answered(moved, busy)
    assert [(answer.status, answer.retry_after) for answer in answers] == [(307, ""), (503, "7")]
    assert len(seen) == 2


def test_cookies_are_not_kept():
    """Who answers cannot make later requests carry, or grow by, what it says."""
    sets = b"HTTP/1.1 204 Fine\r\nset-cookie: a=b; path=/\r\ncontent-length: 0\r\n\r\n"
    _, seen = answered(sets, sets)
    assert all(b"cookie" not in request.lower() for request in seen)


def test_an_endless_answer_is_not_read_to_its_end():
    large = b"x" * (ANSWER_BYTES_MAX + 10)
    (answer,), _ = answered(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n" + large)
    assert answer.status == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [(b"HTTP/1.1 202 Accepted\r\ncontent-length: 900\r\n\r\n", 202), (b"HTTP/1.1 202", None)],
)
def test_an_answer_byte_by_byte_is_given_up_in_time(head, status):
    """However little at a time comes, all of it has one bound; what the status said by then counts."""

    async def run():
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            with suppress(ConnectionError):
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.01)
            writer.close()
            gone.set()

        gone = asyncio.Event()
        server = await asyncio.start_server(serve, HOST, 0)
        url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}/"
        post = HttpPost(url, HOST, {}, timeout_seconds=0.2, count_max=1)
        try:
            return await asyncio.wait_for(post({}, b""), 30)
        finally:
            await post.close()
            await gone.wait()
            server.close()
            await server.wait_closed()

    if status is None:
        with pytest.raises(UnavailableError, match="TimeoutError"):
            asyncio.run(run())
    else:
        assert asyncio.run(run()).status == status


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nx"]
)
def test_what_is_no_answer_is_told_without_the_url(answer):
    with pytest.raises(UnavailableError, match=r"^Cannot reach '127.0.0.1': .*\.$") as raised:
        answered(answer)
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_nobody_there_is_told_so():
    async def run():
        with listen(HOST, 0) as closed:
            port = closed.getsockname()[1]
        post = HttpPost(f"http://{HOST}:{port}/", HOST, {}, timeout_seconds=5, count_max=1)
        try:
            await post({}, b"")
        finally:
            await post.close()

    with pytest.raises(UnavailableError, match="ConnectError"):
        asyncio.run(run())


def test_without_the_extra_both_ways_say_what_to_install(monkeypatch):
    app = App("shop", services=[webhook("hook", Paid, url="https://h.example/")])
    for module in ("tropism.adapters.http.client", "tropism.adapters.http.serving"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.setitem(sys.modules, "uvicorn", None)

    async def run():
        async with testing.run(app) as t:
            await t.advance(seconds=1)

    with pytest.raises(NotSupportedError, match=r"pip install 'tropism\[http\]'"):
        asyncio.run(run())
    with pytest.raises(NotSupportedError, match=r"pip install 'tropism\[http\]'"):
        wanted_by(app, "127.0.0.1:0", None, open_to_all=False)


def test_addresses_are_of_the_form_host_and_port():
    assert address_of("127.0.0.1:8080") == ("127.0.0.1", 8080)
    assert address_of("[::1]:0") == ("::1", 0)
    for text in ("8080", ":8080", "h:", "h:x", "h:70000", ""):
        with pytest.raises(InvalidInputError, match="host:port"):
            address_of(text)
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.1", "shop.example")))  # noqa: S104
