"""Network cameras, films and webcams: real RTSP and HTTP streams that break off, fall silent and come back."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from producer import video
from producer.errors import SourceError
from producer.sources import open_source
from producer.video import NetworkCamera, StreamClock, VideoSource
from producer.webcam import Device, devices
from tests import pictures, rtsp

FRAMES_EACH = 12
LEVELS = range(0, 240, 10)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "RECONNECT_CAP_SECONDS", 0.05)
    monkeypatch.setattr(video, "READ_TIMEOUT_SECONDS", 1.0)


@pytest.fixture(scope="module")
def film() -> bytes:
    return rtsp.film([rtsp.grey(level) for level in LEVELS], [Fraction(n, 25) for n in range(len(LEVELS))])


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
def http_camera() -> Iterator[str]:
    Camera.visits.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/video.mjpg"
        server.shutdown()
        thread.join()


def levels(source: NetworkCamera, number: int) -> list[int]:
    """How bright so many pictures are."""
    film = source.pictures()
    found = [round(float(next(film).pixels().mean())) for _ in range(number)]
    film.close()  # type: ignore[attr-defined]
    return found


def test_an_http_camera_that_hangs_up_is_called_again(http_camera: str) -> None:
    source = open_source(http_camera)
    assert isinstance(source, NetworkCamera)
    assert source.live
    levels(source, 3 * FRAMES_EACH - 6)
    assert len(Camera.visits) >= 3


def test_an_rtsp_camera_is_read_over_tcp_and_called_again_when_it_hangs_up(film: bytes) -> None:
    with rtsp.camera(film) as camera:
        source = open_source(camera.url)
        assert isinstance(source, NetworkCamera)
        assert source.native_fps == 25
        seen = levels(source, 2 * len(LEVELS) - 8)
        assert camera.methods.count("PLAY") == 2
    first = seen[: seen.index(max(seen)) + 1]
    assert first == sorted(first)
    assert len(first) >= len(LEVELS) - 3  # a broken stream's last pictures may be lost in it
    assert seen[len(first) :][0] < 20


@pytest.mark.slow
def test_an_rtsp_camera_that_falls_silent_is_called_again(film: bytes) -> None:
    with rtsp.camera(film) as camera:
        camera.hang.set()
        source = NetworkCamera(camera.url)
        levels(source, len(LEVELS) + 5)
        assert camera.methods.count("PLAY") == 2


@pytest.mark.parametrize("url", ["http://user:secret@127.0.0.1:9/video.mjpg", "rtsp://user:secret@127.0.0.1:9/live"])
def test_a_camera_that_is_not_there_is_named_without_its_password(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(url)
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:9" in str(caught.value)


def test_a_films_pictures_carry_its_times(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1, 10), Fraction(1, 2), Fraction(6, 10), Fraction(2)]
    (tmp_path / "film.mkv").write_bytes(rtsp.film([rtsp.grey(50 * n) for n in range(5)], times, "matroska"))
    source = open_source(str(tmp_path / "film.mkv"))
    assert isinstance(source, VideoSource)
    assert [picture.seconds for picture in source.pictures()] == pytest.approx([float(time) for time in times])
    assert len(list(source.pictures())) == 5  # and again


def test_a_file_that_breaks_off_gives_what_is_there(tmp_path: Path, film: bytes) -> None:
    (tmp_path / "cut.ts").write_bytes(film[: len(film) // 2])
    assert 3 < len(list(open_source(str(tmp_path / "cut.ts")).pictures())) < len(LEVELS)
    (tmp_path / "noise.mp4").write_bytes(random.Random(1).randbytes(5000))
    with pytest.raises(SourceError, match=r"noise\.mp4: cannot be opened as a video"):
        open_source(str(tmp_path / "noise.mp4"))


def test_times_of_a_stream_are_even_though_the_network_is_not() -> None:
    clock, delays, epoch = StreamClock(), random.Random(2), 1_700_000_000.0
    taken = [
        clock.captured_at(5.0 + n / 10, epoch + n / 10 + 0.02 + delays.expovariate(20)).timestamp() - epoch - n / 10
        for n in range(1200)
    ]
    assert 0.02 <= max(taken[100:]) < 0.05  # of delays that reach 0.3 s
    assert max(taken[100:590]) - min(taken[100:590]) < 0.01


def test_a_streams_clock_is_followed_when_it_drifts_and_when_it_jumps() -> None:
    clock, epoch = StreamClock(), 1_700_000_000.0
    late = [epoch + n - clock.captured_at(n * 0.9999, epoch + n).timestamp() for n in range(10_000)]
    assert 0 <= max(late) < 0.02  # a second in three hours, were it not followed
    again = clock.captured_at(0.0, epoch + 20_000).timestamp()
    assert again == pytest.approx(epoch + 20_000)
    assert clock.captured_at(None, epoch + 20_001).timestamp() == epoch + 20_001


def test_webcams_are_listed(tmp_path: Path) -> None:
    for node, index, name in (("video2", "0", "Door"), ("video0", "0", "Desk"), ("video1", "1", "Desk")):
        (tmp_path / node).mkdir()
        (tmp_path / node / "index").write_text(f"{index}\n")
        (tmp_path / node / "name").write_text(f"{name}\n")
    assert devices("linux", tmp_path) == [Device(0, "Desk"), Device(2, "Door")]
    assert devices("linux", tmp_path / "none") == []
