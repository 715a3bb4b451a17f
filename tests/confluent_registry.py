"""Our own stand-in for a Confluent Schema Registry: as much of its interface as its clients and ours ask for.

It is no registry to rely on: it checks no compatibility, and keeps schemas in memory as they were sent.
"""

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit
from uuid import NAMESPACE_URL, uuid5


class StandInRegistry(ThreadingHTTPServer):
    """Answers on a port of its own until closed; ``asked`` is what it was asked, ``down`` what it answers then."""

    daemon_threads = True

    def __init__(self, login=None):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.login = login
        self.schemas = []
        self.subjects = {}
        self.asked = []
        self.down = None
        self._thread = Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def register(self, subject, schema, type="AVRO", references=()):
        """Add a schema under a subject, and return its id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        told = {"schema": text, "schemaType": type, "references": list(references)}
        if told not in self.schemas:
            self.schemas.append(told)
        id = self.schemas.index(told) + 1
        versions = self.subjects.setdefault(subject, [])
        if id not in versions:
            versions.append(id)
        return id

    def told(self, subject, id):
        """Return what is told of a schema under a subject."""
        return {
            "subject": subject,
            "version": self.subjects[subject].index(id) + 1,
            "id": id,
            "guid": str(uuid5(NAMESPACE_URL, str(id))),
            **self.schemas[id - 1],
        }

    def close(self):
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Answers(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self._answer(None)

    def do_POST(self):
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body):
        server = self.server
        path = urlsplit(self.path).path
        server.asked.append(path)
        login = base64.b64encode((server.login or "").encode()).decode()
        if server.down is not None:
            self._send(*server.down)
        elif server.login is not None and self.headers.get("Authorization") != f"Basic {login}":
            self._send(401, {"error_code": 401, "message": "no"})
        else:
            try:
                self._send(200, self._found([unquote(part) for part in path.strip("/").split("/")], body))
            except (KeyError, IndexError, ValueError):
                self._send(404, {"error_code": 40401, "message": "not found"})

    def _found(self, parts, body):
        server = self.server
        if parts == ["schemas", "types"]:
            return ["AVRO", "PROTOBUF"]
        if parts[:2] == ["schemas", "ids"]:
            id = int(parts[2])
            if not 0 < id <= len(server.schemas):
                raise KeyError(id)
            return {"id": id, "guid": str(uuid5(NAMESPACE_URL, str(id))), **server.schemas[id - 1]}
        subject = parts[1]
        if body is not None:
            references = body.get("references") or ()
            id = server.register(subject, body["schema"], body.get("schemaType") or "AVRO", references)
            return server.told(subject, id)
        ids = server.subjects[subject]
        number = len(ids) if parts[3] == "latest" else int(parts[3])
        return server.told(subject, ids[number - 1])

    def _send(self, code, document):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
