"""Network cameras, films and webcams: real RTSP and HTTP streams break off, fall silent and come back."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, cast

import av
import numpy as np
import pytest
import typer
from rich.console import Console

from contract import Frame
from local.processes import ROOT
from local.resources import Resources
from local.waiting import wait_for
from producer import camera, cli, mjpeg, video
from producer.camera import Camera
from producer.clock import HostClock
from producer.encoding import Encoder
from producer.errors import PictureError, SourceError, UnreachedError
from producer.lane import Lane
from producer.picture import Image, Picture, Source
from producer.progress import table
from producer.sources import open_source, source_name
from producer.video import NetworkCamera, VideoSource
from producer.webcam import Device, Webcam, devices
from tests import pictures, rtsp

FRAMES_EACH = 12
LEVELS = range(0, 240, 10)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "RECONNECT_CAP_SECONDS", 0.05)
    monkeypatch.setattr(video, "READ_TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(mjpeg, "TIMEOUT_SECONDS", 1.0)


@pytest.fixture(scope="module")
def film() -> bytes:
    return rtsp.film([rtsp.grey(level) for level in LEVELS], [Fraction(n, 25) for n in range(len(LEVELS))])


class Served(BaseHTTPRequestHandler):
    """Sends some pictures as Motion JPEG and closes the connection."""

    visits: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.visits.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(FRAMES_EACH):
            self.wait()
            jpeg = pictures.street_jpeg(64, 64, seed=number)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
            self.wfile.write(head + jpeg + b"\r\n")

    def wait(self) -> None:
        """Lets the next picture go."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server on a free port; gives its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def http_camera() -> Iterator[str]:
    Served.visits.clear()
    with serving(Served) as address:
        yield f"{address}/video.mjpg"


def levels(source: NetworkCamera, number: int) -> list[int]:
    """The brightness of a number of pictures."""
    film = source.pictures()
    found = [round(float(next(film).pixels().mean())) for _ in range(number)]
    film.close()  # type: ignore[attr-defined]
    return found


def test_an_http_camera_that_hangs_up_is_called_again(http_camera: str) -> None:
    source = open_source(http_camera)
    assert isinstance(source, NetworkCamera)
    assert source.live
    levels(source, 3 * FRAMES_EACH - 6)
    assert len(Served.visits) >= 3


def test_a_camera_that_is_away_at_first_is_called_again(http_camera: str) -> None:
    source = NetworkCamera(http_camera, None)
    assert source.away
    levels(source, 3)
    assert not source.away


@pytest.mark.parametrize(
    ("away", "says"),
    [
        ("http://127.0.0.1:9/video.mjpg", "door: http://127.0.0.1:9/…: cannot be opened as a video: "),
        ("97", "door: webcam 97: cannot be opened; "),
    ],
)
def test_a_camera_that_is_away_stops_no_other_source(
    resources: Resources, tmp_path: Path, away: str, says: str
) -> None:
    (tmp_path / "photo.jpg").write_bytes(pictures.street_jpeg(64, 64))
    sources = [away, "demo", str(tmp_path)]
    ids = ["--source-id", "door", "--source-id", "street", "--source-id", "photos"]
    command = [sys.executable, "-m", "producer", "send", *sources, *ids, "--limit", "3", "--fps", "0", "--json"]
    done = subprocess.run(command, env=resources.environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    sent = {name: counts["sent"] for name, counts in json.loads(done.stdout)["sources"].items()}
    assert sent == {"door": 0, "street": 3, "photos": 1}
    told, last = done.stderr.splitlines()
    assert told.startswith(says)
    assert told.endswith("; it is tried again")
    assert last == "error: door: never reached"


def test_a_film_that_is_none_ends_the_command_before_anything_is_sent(resources: Resources, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"no film")
    command = [sys.executable, "-m", "producer", "send", str(tmp_path / "film.mp4"), "demo"]
    done = subprocess.run(command, env=resources.environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    [line] = done.stderr.splitlines()
    assert "film.mp4: cannot be opened as a video" in line


class Hiccups(Camera):
    """A camera whose connections end as they are told to; after the last one it is gone."""

    def __init__(self, ends: list[str]) -> None:
        super().__init__()
        self._ends = iter(ends)

    def connection(self) -> Generator[Picture, None, None]:
        end = next(self._ends, "gone")
        if end == "gone":
            raise SourceError("no more")
        yield Picture(jpeg=pictures.street_jpeg(64, 64))
        if end == "breaks":
            raise SourceError("broken")


def test_a_camera_that_goes_and_comes_is_told_in_two_lines_and_hiccups_are_counted() -> None:
    told: list[str] = []
    source = Hiccups(["ends", "ends", "breaks", "gone", "gone", "ends", "breaks", "ends", "end"])
    source.tell = told.append
    with closing(source.pictures()) as film:  # type: ignore[type-var]
        for _ in range(7):
            next(film)
    assert source.reconnects == 6
    assert told == ["broken; it is tried again", told[-1]]
    assert re.fullmatch(r"it is back after \d+ s", told[-1])


def test_a_camera_that_stays_away_soon_after_it_was_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(camera, "QUIET_SECONDS", 0.2)
    source = Hiccups(["breaks", "breaks", *["gone"] * 50, "ends"])
    source.tell = told.append
    with closing(source.pictures()) as film:  # type: ignore[type-var]
        for _ in range(3):
            next(film)
    assert [line.partition(";")[0] for line in told[::2]] == ["broken", "no more"]
    assert [line[:10] for line in told[1::2]] == ["it is back"] * 2


def test_a_camera_that_is_away_at_the_end_is_said_by_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    lane = Lane("door", Hiccups(["breaks"]), Encoder(), wake=threading.Event())
    lane.start()
    wait_for(lambda: lane.away, "camera that is away")
    lane.request_stop()
    with pytest.raises(typer.Exit) as caught:
        cli._end([lane], None)
    assert caught.value.exit_code == 5
    assert capsys.readouterr().err == "error: door: away at the end\n"


@pytest.mark.parametrize(
    "source",
    ["", "~nobody-of-this-name/film.mp4", "a" * 300, "9" * 14, "film.mp4/in/a/film", "nul\0", "\udcff", "[", "٣"],
)
def test_what_is_no_source_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").write_bytes(b"no film")
    (tmp_path / "photo.jpg").write_bytes(pictures.street_jpeg(64, 64))
    source_name(source)
    with pytest.raises(SourceError):
        open_source(source)


def test_a_film_may_have_any_name_and_title(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = [rtsp.grey(level) for level in LEVELS]
    whole = rtsp.film(images, [Fraction(n, 25) for n in range(len(LEVELS))], "avi", title="a film's title")
    for name in ("12:30:05.avi", "file:x.avi", "ünïcode.avi", "\udcff.avi"):
        Path(name).write_bytes(whole.replace(b"a film's title", b"caf\xe9 \xff's title"))
        assert len(list(open_source(name).pictures())) == len(LEVELS), name


def test_a_scheme_may_be_in_capitals(http_camera: str) -> None:
    levels(cast("NetworkCamera", open_source(http_camera.replace("http", "HTTP", 1))), 3)


@pytest.mark.parametrize("scheme", ["srt", "nonsense"])
def test_a_protocol_that_nobody_reads_is_no_camera_that_is_away(scheme: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(f"{scheme}://127.0.0.1:9/")
    if scheme == "nonsense" or "has no srt" in str(caught.value):  # PyAV may be built with it
        assert not isinstance(caught.value, UnreachedError)


def test_a_webcam_is_opened_again_after_a_hiccup(monkeypatch: pytest.MonkeyPatch) -> None:
    class Capture:
        """Gives two pictures each time that it is opened; the second time it is not there."""

        opened = 0

        def __init__(self, index: int) -> None:
            Capture.opened += 1
            self._here, self._left = Capture.opened != 2, 2

        def isOpened(self) -> bool:  # noqa: N802
            return self._here

        def get(self, _: int) -> float:
            return 30.0

        def read(self) -> tuple[bool, Image | None]:
            self._left -= 1
            return (True, rtsp.grey(9)) if self._left >= 0 else (False, None)

        def release(self) -> None:
            pass

    monkeypatch.setattr("cv2.VideoCapture", Capture)
    told: list[str] = []
    source = Webcam(0)
    source.tell = told.append
    with closing(source.pictures()) as film:  # type: ignore[type-var]
        assert len([next(film) for _ in range(5)]) == 5
    assert source.reconnects == 2
    assert told == ["webcam 0: no more pictures; it is tried again", told[1]]


def test_an_mjpeg_camera_is_stamped_as_its_pictures_come() -> None:
    """FFmpeg would count 25 a second of a camera that says no rate."""
    allowed = threading.Semaphore(0)

    class Slow(Served):
        def wait(self) -> None:
            allowed.acquire()

    lane_clock = HostClock()
    with serving(Slow) as address:
        source = open_source(f"{address}/video.mjpg")
        lane = Lane("door", source, Encoder(), wake=threading.Event(), limit=FRAMES_EACH)
        lane.start()
        for _ in range(FRAMES_EACH):
            before = lane_clock.now()
            allowed.release()
            wait_for(lane.head, "picture")
            data = lane.head()
            assert data
            metadata = Frame.parse(data).metadata
            assert metadata
            assert before - 0.01 <= metadata.captured_at.timestamp() <= lane_clock.now() + 0.01
            lane.accept(len(data))


def test_an_away_camera_is_shown_as_such() -> None:
    lane = Lane("door", NetworkCamera("http://127.0.0.1:9/", None), Encoder(), wake=threading.Event())
    console = Console(file=io.StringIO(), width=120)
    console.print(table([lane], 1.0))
    assert "door (away)" in console.file.getvalue()  # type: ignore[attr-defined]


def test_an_rtsp_camera_is_read_over_tcp_and_called_again_when_it_hangs_up(film: bytes) -> None:
    with rtsp.camera(film) as served:
        source = open_source(served.url.replace("rtsp", "RTSP"))
        assert isinstance(source, NetworkCamera)
        assert source.native_fps == 25
        seen = levels(source, 2 * len(LEVELS) - 8)
        assert served.methods.count("PLAY") == 2
    first = seen[: seen.index(max(seen)) + 1]
    assert first == sorted(first)
    assert len(first) >= len(LEVELS) - 3  # a broken stream may lose its last pictures
    assert seen[len(first) :][0] < 20


def test_a_stream_of_which_nothing_can_be_decoded_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where its key frames are missing, or its codec is a new one."""
    monkeypatch.setattr(video, "LONGEST_WITHOUT_PICTURE_SECONDS", 0.2)

    class Undecodable:
        size = 1

        def decode(self) -> list[av.VideoFrame]:
            time.sleep(0.01)
            raise av.InvalidDataError(1, "undecodable")

    class Container:
        """Sends for ever."""

        streams = SimpleNamespace(
            video=[
                SimpleNamespace(
                    frames=0, index_entries=[], average_rate=None, guessed_rate=None, codec_context=SimpleNamespace()
                )
            ]
        )

        def demux(self, video: int) -> Iterator[Undecodable]:
            return repeat(Undecodable())

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

    source = NetworkCamera("rtsp://camera/live", Container())  # type: ignore[arg-type]
    with pytest.raises(UnreachedError) as caught:
        next(source.connection())
    assert str(caught.value) == "rtsp://camera/…: no picture that can be decoded comes for 0.2 seconds"


class Library(BaseHTTPRequestHandler):
    """Serves files, in the manners of several servers."""

    folder: ClassVar[Path]
    visits: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.visits.append(self.path)
        _, manner, name = self.path.split("/")
        data = (self.folder / name).read_bytes()
        first = 0
        if manner == "ranges" and (asked := re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))):
            first = int(asked[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        if manner != "unknown-length":
            self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(data[first : len(data) * 2 // 3] if manner == "hang-up" else data[first:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def library(tmp_path: Path) -> Iterator[str]:
    Library.folder = tmp_path
    with serving(Library) as address:
        yield address


@pytest.mark.parametrize("manner", ["ranges", "length", "unknown-length"])
@pytest.mark.parametrize("kind", ["mp4", "matroska"])
def test_a_film_over_http_ends_when_it_ends(tmp_path: Path, library: str, manner: str, kind: str) -> None:
    film = rtsp.film([rtsp.grey(10 * n) for n in range(20)], [Fraction(n, 25) for n in range(20)], kind)
    (tmp_path / "film").write_bytes(film)
    if kind == "mp4":
        write_fast_start(tmp_path / "film.mp4", film)
        (tmp_path / "film.mp4").rename(tmp_path / "film")
    source = open_source(f"{library}/{manner}/film")
    assert not source.live
    assert source.native_fps == 25
    assert len(list(source.pictures())) == 20
    assert [picture.seconds for picture in source.pictures()] == pytest.approx([n / 25 for n in range(20)])  # a loop


def test_a_film_whose_server_was_away_at_first_is_shown_at_its_pace_and_ends(tmp_path: Path, library: str) -> None:
    film = rtsp.film([rtsp.grey(10 * n) for n in range(20)], [Fraction(n, 25) for n in range(20)], "matroska")
    (tmp_path / "film").write_bytes(film)
    source = NetworkCamera(f"{library}/length/film", None)
    for _ in range(2):  # a loop
        began = time.monotonic()
        assert len(list(source.pictures())) == 20
        assert time.monotonic() - began >= 19 / 25
    assert not source.away


def test_a_cut_film_whose_server_was_away_at_first_says_what_is_missing(tmp_path: Path, library: str) -> None:
    film = rtsp.film([rtsp.grey(10 * n) for n in range(20)], [Fraction(n, 25) for n in range(20)], "matroska")
    (tmp_path / "film").write_bytes(film)
    number, error = read(NetworkCamera(f"{library}/hang-up/film", None))
    assert 5 < number < 20
    assert isinstance(error, PictureError)


def test_a_film_whose_server_hangs_up_gives_what_came(tmp_path: Path, library: str) -> None:
    film = rtsp.film([rtsp.grey(10 * n) for n in range(20)], [Fraction(n, 25) for n in range(20)], "matroska")
    (tmp_path / "film").write_bytes(film)
    source = open_source(f"{library}/hang-up/film")
    number, error = read(source)
    assert 5 < number < 20
    assert isinstance(error, PictureError)
    assert f"/…: {number} of " in str(error)
    assert "pictures can be decoded; it breaks off: " in str(error)


def test_an_http_camera_that_claims_a_length_is_a_camera(tmp_path: Path, library: str) -> None:
    jpeg = pictures.street_jpeg(64, 64)
    part = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode() + jpeg + b"\r\n"
    (tmp_path / "video.mjpg").write_bytes(part * FRAMES_EACH)
    Library.visits.clear()
    source = open_source(f"{library}/length/video.mjpg")
    assert isinstance(source, NetworkCamera)
    levels(source, 2 * FRAMES_EACH)
    assert len(Library.visits) >= 2


@pytest.mark.thorough
def test_the_command_ends_with_a_film_over_http(resources: Resources, tmp_path: Path, library: str) -> None:
    film = rtsp.film([rtsp.grey(10 * n) for n in range(9)], [Fraction(n, 25) for n in range(9)], "matroska")
    (tmp_path / "film.mkv").write_bytes(film)
    for options, sent in ((), 9), (("--loop", "--limit", "20"), 20):
        command = [sys.executable, "-m", "producer", "send", f"{library}/length/film.mkv", "--json", *options]
        done = subprocess.run(
            command, env=resources.environment(), cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout)["sent"] == sent


@pytest.mark.slow
def test_an_rtsp_camera_that_falls_silent_is_called_again(film: bytes) -> None:
    with rtsp.camera(film) as served:
        served.hang.set()
        source = open_source(served.url)
        assert isinstance(source, NetworkCamera)
        levels(source, len(LEVELS) + 5)
        assert served.methods.count("PLAY") == 2


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


def read(source: Source) -> tuple[int, SourceError | None]:
    """How many pictures a film gives, and what it says at its end."""
    number = 0
    try:
        for picture in source.pictures():
            picture.pixels()
            number += 1
    except SourceError as error:
        return number, error
    return number, None


def write_fast_start(path: Path, film: bytes) -> bytes:
    """Writes an MP4 whose index stands before its pictures, as on the web."""
    with av.open(io.BytesIO(film), "r") as source, av.open(str(path), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    return path.read_bytes()


def test_a_film_that_was_cut_gives_what_is_there_and_says_how_much_is_not(tmp_path: Path) -> None:
    noise = np.random.default_rng(1)
    images = [noise.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(20)]
    film = rtsp.film(images, [Fraction(n, 25) for n in range(20)], "mp4")
    whole = write_fast_start(tmp_path / "whole.mp4", film)
    assert read(open_source(str(tmp_path / "whole.mp4"))) == (20, None)
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    number, error = read(open_source(str(tmp_path / "cut.mp4")))
    assert 8 <= number <= 14
    assert isinstance(error, PictureError)
    assert error.number == 20 - number
    assert f"cut.mp4: {number} of 20 pictures can be decoded; the film is cut or damaged" in str(error)


def test_a_cut_film_as_somebody_met_it(cases: Path) -> None:
    number, error = read(open_source(str(cases / "truncated_half_faststart.mp4")))
    assert number == 14
    assert f"{number} of 30 pictures can be decoded" in str(error)


@pytest.mark.parametrize("kind", ["mp4", "mov", "avi", "matroska", "mpegts"])
def test_a_whole_film_says_nothing(tmp_path: Path, kind: str) -> None:
    (tmp_path / "film").write_bytes(
        rtsp.film([rtsp.grey(n) for n in range(9)], [Fraction(n, 25) for n in range(9)], kind)
    )
    assert read(open_source(str(tmp_path / "film"))) == (9, None)


def test_what_an_editor_left_out_of_a_film_is_not_missed(tmp_path: Path) -> None:
    film = rtsp.film([rtsp.grey(10 * n) for n in range(20)], [Fraction(n, 25) for n in range(20)], "mp4")
    place = film.index(b"elst") + 12  # duration and start of the first edit, in thousandths and in the stream's time
    duration, start = struct.unpack(">Ii", film[place : place + 8])
    edited = film[:place] + struct.pack(">Ii", duration // 2, start + 3200) + film[place + 8 :]
    (tmp_path / "film.mp4").write_bytes(edited)
    number, error = read(open_source(str(tmp_path / "film.mp4")))
    assert 8 <= number <= 16
    assert error is None


def test_the_command_sends_what_a_cut_film_has(resources: Resources, cases: Path) -> None:
    film = str(cases / "truncated_half_faststart.mp4")
    command = [sys.executable, "-m", "producer", "send", film, "--fps", "0", "--json"]
    done = subprocess.run(command, env=resources.environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert json.loads(done.stdout)["sent"] == 14
    line, _ = done.stderr.splitlines()
    assert "14 of 30 pictures" in line


def test_webcams_are_listed(tmp_path: Path) -> None:
    for node, index, name in (("video2", "0", "Door"), ("video0", "0", "Desk"), ("video1", "1", "Desk")):
        (tmp_path / node).mkdir()
        (tmp_path / node / "index").write_text(f"{index}\n")
        (tmp_path / node / "name").write_text(f"{name}\n")
    assert devices("linux", tmp_path) == [Device(0, "Desk"), Device(2, "Door")]
    assert devices("linux", tmp_path / "none") == []


def test_decoders_beside_each_other_share_the_cores(
    film: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    path = tmp_path / "film.ts"
    path.write_bytes(film)
    for number, threads in ((1, 0), (2, 2), (9, 1)):
        opened = cli._open_all({str(name): str(path) for name in range(number)}, 0, print)
        assert [source.threads for source in opened] == [threads] * number
        assert sum(1 for _ in opened[0].pictures()) == len(LEVELS)
    with av.open(str(path)) as container:
        video.Reading(container, "film", threads=2)
        assert container.streams.video[0].codec_context.thread_count == 2
