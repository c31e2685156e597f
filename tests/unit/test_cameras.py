"""Network cameras: a real HTTP stream that breaks off and comes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from producer import sources
from producer.errors import SourceError
from producer.sources import CameraSource, open_source
from tests import pictures

FRAMES_EACH = 12


class Camera(BaseHTTPRequestHandler):
    """Sends some pictures as Motion JPEG and hangs up."""

    visits: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.visits.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(FRAMES_EACH):
            jpeg = pictures.street_jpeg(64, 64, seed=number)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
            self.wfile.write(head + jpeg + b"\r\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def camera() -> Iterator[str]:
    Camera.visits.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/video.mjpg"
        server.shutdown()
        thread.join()


def test_a_camera_that_hangs_up_is_called_again(camera: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "RECONNECT_CAP_SECONDS", 0.05)
    source = open_source(camera)
    assert isinstance(source, CameraSource)
    assert source.live
    film = source.pictures()
    shapes = {next(film).pixels().shape for _ in range(3 * FRAMES_EACH - 6)}
    film.close()  # type: ignore[attr-defined]
    assert shapes == {(64, 64, 3)}
    assert len(Camera.visits) >= 3


def test_a_camera_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(SourceError) as caught:
        open_source("http://user:secret@127.0.0.1:9/video.mjpg")
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:9" in str(caught.value)
