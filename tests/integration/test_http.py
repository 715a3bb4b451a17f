"""CloudEvents over HTTP, in and out, between real processes."""

import http.client
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cloudevents.core.bindings.http import from_http_event
from tests.cloud_events import batch, binary, message_of, official, structured

from tropism.adapters.http.serving import listen
from tropism.core.errors import UnavailableError

APP = """
from tropism import App, Event, Service
from tropism.app.webhook import webhook
class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
    amount: float
class Charged(Event, type="charges.charged.v1", key="order"):
    order: str
till = Service("till")
@till.on(Paid)
async def charge(paid: Paid) -> Charged:
    return Charged(order=paid.order)
hook = webhook("hook", Charged, url="URL", token_variable="HOOK_TOKEN")
app = App("shop", services=[till, hook])
"""
TALK = """
from tropism import App, Event, Service
class A(Event, type="talk.a.v1", key="k"):
    k: str
class B(Event, type="talk.b.v1", key="k"):
    k: str
s = Service("s")
@s.on(A)
async def again(a: A) -> B:
    return B(k=a.k)
@s.on(B)
async def back(b: B) -> A:
    return A(k=b.k)
app = App("talk", services=[s])
"""
CIRCLE = "talk.a.v1 -> talk.b.v1 -> talk.a.v1"
ROOT = Path(__file__).parents[2]
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Receiver(BaseHTTPRequestHandler):
    """Asks for a pause once, then takes what comes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append((dict(self.headers.items()), body))
        refused = len(self.server.requests) == 1
        self.send_response(429 if refused else 204)
        if refused:
            self.send_header("retry-after", "0")
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def shop(folder, receiver):
    folder.write("shop.py", APP.replace("URL", f"http://127.0.0.1:{receiver.server_port}/hooks"))
    folder.write("tropism.toml", 'app = "shop:app"\n')
    return folder


def started(shop, *more, **variables):
    running = shop.start("run", "--http", "127.0.0.1:0", *more, HOOK_TOKEN="t0ken", **variables)  # noqa: S106
    running.wait_for("Taking CloudEvents at")
    running.port = int(re.search(r"http://127\.0\.0\.1:(\d+)/events", running.text)[1])
    return running


def post(running, headers, body):
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    try:
        connection.request("POST", "/events", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_what_was_answered_survives_a_kill_and_reaches_the_other_side(shop, receiver):
    """202, then kill -9: the next process handles each event, and posts what came of it, with its trace."""
    first = started(shop)
    sent = [official({"order": f"o{n}", "amount": n}, id=str(n), traceparent=TRACE) for n in range(6)]
    assert post(first, *binary(sent[0])) == (202, {"accepted": 1, "new": 1})
    assert post(first, *structured(sent[1])) == (202, {"accepted": 1, "new": 1})
    assert post(first, *batch(*sent)) == (202, {"accepted": 6, "new": 4})
    first.process.kill()
    first.process.wait()
    second = started(shop)
    assert post(second, *binary(sent[0])) == (202, {"accepted": 1, "new": 0})
    wanted = {f"o{n}" for n in range(6)}

    def taken():
        return {json.loads(body)["order"] for _, body in receiver.requests[1:]}

    shop.wait_until(lambda: taken() == wanted)
    assert second.stop() == 0
    assert "Traceback" not in second.text
    for headers, body in receiver.requests:
        event = from_http_event(message_of(headers, body))
        assert (event.get_type(), event.get_source()) == ("charges.charged.v1", "till")
        assert headers["authorization"] == "Bearer t0ken"
        assert event.get_extension("traceparent") == TRACE
    ids = [from_http_event(message_of(*each)).get_id() for each in receiver.requests]
    assert len(set(ids)) == 6


def test_the_example_is_a_bridge(folder, receiver):
    """What is posted to the example is billed at the other side."""
    folder.write("http_bridge.py", (ROOT / "examples" / "http_bridge.py").read_text("utf-8"))
    folder.write("tropism.toml", 'app = "http_bridge:app"\n')
    running = started(folder, BILLING_URL=f"http://127.0.0.1:{receiver.server_port}/events")
    assert post(running, *binary(official(type="orders.placed.v1")))[0] == 202
    folder.wait_until(lambda: len(receiver.requests) == 2)
    assert json.loads(receiver.requests[1][1]) == {"order": "o1", "amount": 2.5}
    assert running.stop() == 0


def test_a_real_server_bounds_what_it_reads(shop):
    """Headers and bodies beyond their bounds, and what is no HTTP, are refused; the server goes on."""
    running = started(shop, TROPISM_HTTP_TOKEN="s3cret")  # noqa: S106
    headers, body = binary(official())
    assert post(running, headers, body)[0] == 401
    headers["authorization"] = "Bearer s3cret"
    with socket.create_connection(("127.0.0.1", running.port), 30) as raw:
        raw.sendall(b"POST /events HTTP/1.1\r\nhost: x\r\nce-x: " + b"x" * 200_000 + b"\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 4")
    with socket.create_connection(("127.0.0.1", running.port), 30) as raw:
        raw.sendall(b"\x00\xff nonsense\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection(("127.0.0.1", running.port), 30) as raw:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        raw.sendall(f"POST /events HTTP/1.1\r\nhost: x\r\n{head}content-length: 9999999\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 413")
    assert post(running, headers, body) == (202, {"accepted": 1, "new": 1})
    assert running.stop() == 0
    assert "s3cret" not in running.text
    assert "Traceback" not in running.text


def test_circles_are_told_at_start_and_by_the_doctor(folder):
    """Unless a budget is declared, which says that they are meant."""
    folder.write("talk.py", TALK)
    folder.write("tropism.toml", 'app = "talk:app"\n')
    running = folder.start("run")
    running.wait_for("Ready:")
    assert running.stop() == 0
    assert f"Note: Events may go round in a circle: {CIRCLE} (by s.again, s.back)." in running.text
    report = folder.run("doctor", "--json").json
    assert [note for note in report["notes"] if CIRCLE in note]
    assert CIRCLE in folder.run("doctor").out
    folder.write("talk.py", TALK.replace("services=[s]", "services=[s], hops_max=5"))
    assert folder.run("doctor", "--json").json["notes"] == []


def test_where_it_cannot_or_should_not_listen_it_does_not_start(shop):
    """No address, one that is taken, one that others reach without a token, a type nobody knows."""
    for arguments, word in (
        (["--http", "8080"], "host:port"),
        (["--http", "0.0.0.0:0"], "TROPISM_HTTP_TOKEN is not set"),
        (["--http", "127.0.0.1:0", "--http-accept", "no.such.v1"], "does not know it"),
    ):
        done = shop.run("run", *arguments, code=1)
        assert word in done.err
        assert done.err.startswith("tropism: Cannot ")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UnavailableError, match="in use"):
        listen(*taken.getsockname())
