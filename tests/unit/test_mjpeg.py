"""Motion JPEG: junk costs the parts that it hits, and a picture goes on as it came."""

from __future__ import annotations

import base64
import hashlib
import io
import queue
import random
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import ClassVar, Final
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from local.waiting import PATIENCE_SECONDS
from producer import camera, mjpeg
from producer.errors import UnreachedError
from producer.mjpeg import JpegFinder
from producer.sources import open_source
from producer.video import NetworkCamera
from tests import pictures

JPEGS: Final = [pictures.street_jpeg(64, 64, seed=number) for number in range(10)]
EVERY: Final = 5


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "RECONNECT_CAP_SECONDS", 0.05)
    monkeypatch.setattr(mjpeg, "TIMEOUT_SECONDS", 1.0)


def found(data: bytes, chunk: int = 1000) -> list[bytes]:
    finder = JpegFinder()
    return [jpeg for at in range(0, len(data), chunk) for jpeg in finder.feed(data[at : at + chunk])]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(JPEGS), st.binary(max_size=300).filter(lambda junk: b"\xff" not in junk))),
    st.integers(1, 5000),
)
def test_pictures_are_found_whatever_stands_between_them(parts: list[tuple[bytes, bytes]], chunk: int) -> None:
    assert found(b"".join(junk + jpeg for jpeg, junk in parts), chunk) == [jpeg for jpeg, _ in parts]


def test_a_cut_picture_costs_itself_wherever_it_is_cut() -> None:
    for end in range(len(JPEGS[0])):
        data = b"--x\r\n\r\n" + JPEGS[0][:end] + b"\r\n--x\r\n\r\n" + JPEGS[1] + JPEGS[2]
        came = found(data)
        assert came[-1] == JPEGS[2], end
        assert came[-2].endswith(JPEGS[1][2:]), end  # within a header, the cut one may become a part of its header


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from([b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xda", b"\xff", b"\0", b"\xff\xe0\xff\xff", b"x"]))
)
def test_any_junk_is_got_over(junk: list[bytes]) -> None:
    seen = found(b"".join(junk) + b"".join(JPEGS) * 20)
    assert seen.count(JPEGS[-1]) >= 5


@pytest.mark.parametrize("between", [b"", b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n"])
@pytest.mark.parametrize("chunk", [7, 1000])
def test_a_camera_that_leaves_the_ends_out_is_read_all_the_same(between: bytes, chunk: int) -> None:
    data = b"".join(between + jpeg[:-2] for jpeg in JPEGS)
    assert found(data, chunk) == JPEGS[3:-1]  # the last one's end shows in the next


def test_a_cut_picture_gets_no_end_where_others_have_one() -> None:
    cut = JPEGS[0][: len(JPEGS[0]) // 2]
    assert found(JPEGS[1] + cut * 10 + JPEGS[2]) == [JPEGS[1], JPEGS[2]]


def test_a_thumbnails_end_is_not_its_pictures() -> None:
    thumbnail = JPEGS[1]
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = JPEGS[0][:2] + segment + JPEGS[0][2:]
    assert found(whole + JPEGS[2], 7) == [whole, JPEGS[2]]


def test_pictures_in_several_passes_and_with_restarts_are_whole() -> None:
    made = []
    for options in ({"progressive": True}, {"restart_marker_blocks": 2}):
        buffer = io.BytesIO()
        Pillow.open(io.BytesIO(JPEGS[0])).save(buffer, "JPEG", **options)
        made.append(buffer.getvalue())
    assert found(b"junk".join(made), 100) == made


def test_a_picture_without_an_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mjpeg, "MAX_BYTES", 100_000)
    finder = JpegFinder()
    for data in (JPEGS[0][:-2], *[bytes(1000)] * 500):
        assert not list(finder.feed(data))
        assert len(finder._data) < 110_000
    assert list(finder.feed(JPEGS[1])) == [JPEGS[1]]


class Served(BaseHTTPRequestHandler):
    """A camera; each fifth part is wrong in the way that its path names."""

    visits: ClassVar[list[str]] = []
    said: ClassVar[list[str]] = []
    ends: ClassVar[threading.Event]

    def do_GET(self) -> None:
        self.visits.append(self.path)
        manner = self.path.partition("?")[0].strip("/")
        if manner == "moved":
            self.send_response(302)
            self.send_header("Location", self.path.partition("?")[2] or "/whole")
            self.end_headers()
            return
        if manner in ("basic", "digest", "strange") and not self._may(manner):
            return
        self.send_response(200)
        if manner != "unnamed":
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            if manner == "nothing":
                return
            while manner == "busy" and not self.ends.wait(0.05):
                self.wfile.write(b"--frame\r\n\r\nbusy\r\n")
            for number in count():
                if manner == "silent" and number == 2 * EVERY:
                    self.ends.wait()
                    return
                self.wfile.write(self._part(manner if number % EVERY == 2 else "", JPEGS[number % len(JPEGS)]))
        except ConnectionError:
            pass

    def _part(self, wrong: str, jpeg: bytes) -> bytes:
        length = {"short": 5, "long": 10**6}.get(wrong, len(jpeg))
        boundary = "" if wrong == "unbounded" else "--frame\r\n"
        body = {"cut": jpeg[: len(jpeg) // 2], "text": b"busy"}.get(wrong, jpeg)
        after = {"junk": random.Random(1).randbytes(300).replace(b"\xff", b""), "alive": b"\r\n" * 9}.get(wrong, b"")
        return (
            f"{boundary}Content-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n".encode() + body + b"\r\n" + after
        )

    def _may(self, manner: str) -> bool:
        said = self.headers.get("Authorization", "")
        self.said.append(said)
        if manner == "basic" and said == "Basic " + base64.b64encode(b"user:p@ss:w%rd").decode():
            return True
        if manner == "digest" and said:
            values = dict(re.findall(r'(\w+)="?([^",]*)"?', said))
            first, second = (
                hashlib.md5(text.encode()).hexdigest() for text in ("user:cam:p@ss:w%rd", f"GET:{self.path}")
            )
            right = hashlib.md5(f"{first}:{values['nonce']}:{second}".encode()).hexdigest()
            if values["response"] == right:
                return True
        self.send_response(401)
        way = {"digest": 'Digest realm="cam", nonce="n0"', "basic": 'Basic realm="cam"'}.get(manner, "Handshake")
        self.send_header("WWW-Authenticate", way)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served() -> Iterator[str]:
    Served.visits.clear()
    Served.said.clear()
    Served.ends = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Served) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        Served.ends.set()
        server.shutdown()
        thread.join()


def seen(url: str, number: int) -> tuple[NetworkCamera, list[bytes]]:
    source = open_source(url)
    assert isinstance(source, NetworkCamera)
    with closing(source.pictures()) as film:  # type: ignore[type-var]
        return source, [next(film).jpeg or b"" for _ in range(number)]


@pytest.mark.parametrize("wrong", ["whole", "junk", "alive", "short", "long", "unbounded", "cut", "text", "unnamed"])
def test_junk_costs_its_parts_and_not_the_connection(served: str, wrong: str) -> None:
    source, came = seen(f"http://{served}/{wrong}", 40)
    lost = wrong in ("cut", "text")
    assert came == [JPEGS[n % len(JPEGS)] for n in range(100) if not (lost and n % EVERY == 2)][:40]
    assert source.reconnects == 0
    assert len(Served.visits) == (3 if wrong == "unnamed" else 1)  # what it is shows in its bytes alone


@pytest.mark.parametrize("way", ["basic", "digest", "moved", "moved?/basic", "moved?/digest"])
def test_credentials_and_redirections(served: str, way: str) -> None:
    _, came = seen(f"http://user:p%40ss%3Aw%25rd@{served}/{way}", 3)
    assert came == JPEGS[:3]


@pytest.mark.parametrize("way", ["basic", "digest"])
def test_no_other_host_gets_the_password(served: str, way: str) -> None:
    other = f"http://localhost:{served.rpartition(':')[2]}/{way}"
    with pytest.raises(UnreachedError, match="401 Unauthorized"):
        open_source(f"http://user:p%40ss%3Aw%25rd@{served}/moved?{other}")
    assert Served.said == [""]


@pytest.mark.parametrize(
    ("asked", "gets"),
    [
        ("https://camera:443/elsewhere", True),
        ("http://camera/live", False),
        ("http://camera:443/live", False),
        ("https://camera:8443/live", False),
        ("https://camera.example/live", False),
    ],
)
def test_a_password_is_for_its_scheme_host_and_port(asked: str, gets: bool) -> None:
    passwords = mjpeg._Passwords(urlsplit("https://user:secret@camera/live"))
    assert passwords.find_user_password("any", asked) == (("user", "secret") if gets else (None, None))


def test_an_unknown_way_to_log_in_is_no_way_to_log_in(served: str) -> None:
    with pytest.raises(UnreachedError, match="401 Unauthorized"):
        open_source(f"http://user:secret@{served}/strange")


def test_letters_of_any_language_in_a_url(served: str) -> None:
    seen(f"http://{served}/Straße 1%20a?größe=1&x=%C3%9F", 1)
    assert Served.visits == ["/Stra%C3%9Fe%201%20a?gr%C3%B6%C3%9Fe=1&x=%C3%9F"]


def test_a_url_that_urllib_does_not_take_is_left_to_ffmpeg() -> None:
    assert mjpeg.open_motion_jpeg(f"http://{'ä' * 70}/live") is None


def test_a_wrong_password_is_said_without_it(served: str) -> None:
    with pytest.raises(UnreachedError) as caught:
        open_source(f"http://user:secret@{served}/digest?token=secret")
    text = str(caught.value)
    assert text.startswith(f"http://{served}/…: cannot be opened as a video: the server answers 401 Unauthorized")
    assert "secret" not in text


def test_a_camera_that_falls_silent_is_called_again_and_that_is_told(served: str) -> None:
    told: list[str] = []
    source = open_source(f"http://{served}/silent")
    source.tell = told.append
    with closing(source.pictures()) as film:  # type: ignore[type-var]
        came = [next(film).jpeg for _ in range(2 * EVERY + 3)]
    assert came == [*JPEGS, *JPEGS[:3]]
    assert source.reconnects == 1
    assert told == [f"http://{served}/…: breaks off: nothing comes for 1 seconds; it is tried again", told[1]]
    assert re.fullmatch(r"it is back after \d+ s", told[1])


@pytest.mark.parametrize(
    ("way", "why"),
    [("nothing", "no pictures come"), ("busy", "no whole picture comes for 0.5 seconds")],
)
def test_a_camera_that_answers_without_pictures_is_away(
    served: str, monkeypatch: pytest.MonkeyPatch, way: str, why: str
) -> None:
    monkeypatch.setattr(mjpeg, "LONGEST_WITHOUT_PICTURE_SECONDS", 0.5)
    source, told = open_source(f"http://{served}/{way}"), queue.Queue[str]()
    source.tell = told.put
    threading.Thread(target=lambda: next(iter(source.pictures())), daemon=True).start()
    assert told.get(timeout=PATIENCE_SECONDS) == f"http://{served}/…: {why}; it is tried again"
    assert source.away
