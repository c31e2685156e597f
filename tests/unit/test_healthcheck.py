"""The health check that ECS runs in the container."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from local.processes import ROOT


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def check(port: int) -> int:
    environment = os.environ | {"HEALTH_PORT": str(port)}
    command = [sys.executable, "-m", "kcl_worker.operating.healthcheck"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False).returncode


def test_a_worker_that_is_well_or_not_or_not_there(server: HTTPServer) -> None:
    server.status = 200  # type: ignore[attr-defined]
    assert check(server.server_port) == 0
    server.status = 503  # type: ignore[attr-defined]
    assert check(server.server_port) == 1
    assert check(9) == 1
