"""The agent of a container, which has the credentials of its task's role."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VARIABLE = "AWS_CONTAINER_CREDENTIALS_FULL_URI"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def agent(port: int) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", port), _Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        until = datetime.now(UTC) + timedelta(hours=1)
        role = {"AccessKeyId": "A", "SecretAccessKey": "B", "Token": "C", "Expiration": f"{until:%Y-%m-%dT%H:%M:%SZ}"}
        body = json.dumps(role).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
