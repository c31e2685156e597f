"""`consumer clip`: the seconds around an event as a film."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from consumer.bucket import Bucket
from consumer.clips import film, stored
from consumer.clips.clipper import Stream, shots_of
from consumer.clips.film import rate, write_film
from consumer.clips.shots import MAX_SECONDS, Shots, Window
from consumer.clips.stored import stored_shots
from consumer.errors import DiskError, GoneError, RefusedError, UnreachableError
from consumer.source_settings import SourceParameters
from contract.event import EventMessage
from contract.identity import frame_key
from local.processes import ROOT
from local.resources import Resources
from local.services import Services
from tests.happenings import NOON, happening, send_frame, store, store_frame
from tests.pictures import encode
from tests.unit.test_consumer import run

SECOND = timedelta(seconds=1)


def grey(level: int, size: tuple[int, int] = (320, 180)) -> bytes:
    """A picture of one grey."""
    return encode(Image.new("RGB", size, (level, level, level)))


def levels(path: Path) -> list[int]:
    """The grey of each frame of a film, to the next ten."""
    return [round(float(image.mean()), -1) for image in images(path)]  # type: ignore[misc]


def images(path: Path) -> list[Any]:
    capture = cv2.VideoCapture(str(path))
    found: list[Any] = []
    while True:
        more, image = capture.read()
        if not more:
            return found
        found.append(image)


def clip(resources: Resources, event: EventMessage, path: Path, *arguments: str) -> Any:
    done = run(resources, "clip", event.index_key, "-o", str(path), "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(resources: Resources, event: EventMessage, path: Path, *arguments: str) -> str:
    done = run(resources, "clip", event.index_key, "-o", str(path), *arguments)
    assert done.returncode == 1
    assert not list(path.parent.iterdir())
    [line] = done.stderr.splitlines()
    return line


@pytest.mark.thorough
def test_a_film_of_stored_frames_keeps_their_times(resources: Resources, tmp_path: Path) -> None:
    event = store(resources, happening(resources.bucket, NOON + timedelta(minutes=59, seconds=58)))
    # Five a second, a pause of two seconds in which the hour ends, and ten more.
    times = [-9.0, -1.0, -0.8, -0.6, 1.4, 1.6, 1.8, 2.0, 5.0, 9.0]
    for place, seconds in enumerate(times):
        store_frame(resources, event, seconds, grey(20 * place + 20))
    store_frame(resources, event, 1.2, grey(250), session="another")
    made = clip(resources, event, tmp_path / "visit.mp4", "--before", "1", "--after", "1")
    assert made == {
        "event_id": event.event_id, "from": "bucket", "frames": 8, "gone": 0, "refused": 0, "seconds": 6.2, "fps": 5,
    }  # fmt: skip
    seen = levels(tmp_path / "visit.mp4")
    assert len(seen) == 31
    assert [seen.count(level) for level in range(40, 200, 20)] == [1, 1, 10, 1, 1, 1, 15, 1]
    # An id is looked for.
    done = run(resources, "clip", event.event_id, "-o", str(tmp_path / "b.mp4"), "--since", "2025-12-31")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'b.mp4'}: 10.2 s, 9 frames from the bucket\n")


@pytest.mark.thorough
def test_frames_that_are_not_stored_come_from_the_stream(resources: Resources, tmp_path: Path) -> None:
    event = store(resources, happening(resources.bucket, datetime.now(UTC) - 5 * SECOND))
    for seconds in range(-4, 9):
        send_frame(resources, event, seconds, grey(20 * seconds + 80))
    send_frame(resources, event.model_copy(update={"source": "yard"}), 0, grey(0))
    resources.client("kinesis").put_record(StreamName=resources.stream, Data=b"no frame", PartitionKey="door")
    made = clip(resources, event, tmp_path / "visit.mp4", "--before", "2", "--after", "2")
    assert (made["from"], made["frames"], made["fps"]) == ("stream", 9, 1)
    assert levels(tmp_path / "visit.mp4") == list(range(40, 220, 20))
    # Stored frames have boxes; those of the stream have none.
    for fifth in range(21):
        store_frame(resources, event, fifth / 5, grey(0))
    assert clip(resources, event, tmp_path / "boxes.mp4")["from"] == "bucket"
    assert clip(resources, event, tmp_path / "none.mp4", "--no-boxes")["from"] == "stream"


def test_what_a_source_hides_is_in_no_film(resources: Resources, tmp_path: Path) -> None:
    event = store(resources, happening(resources.bucket, datetime.now(UTC) - 5 * SECOND, seconds=1))
    for fifth in range(6):
        send_frame(resources, event, fifth / 5, grey(200))
    masks = {"privacy": {"masks": [[[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]]}}
    resources.configure("door", json.dumps(masks))
    clip(resources, event, tmp_path / "visit.mp4")
    seen = images(tmp_path / "visit.mp4")
    assert len(seen) == 6
    for image in seen:
        assert image[45:135, 80:240].max() < 12  # black, as far as a film's codec knows it
        assert image[:, :60].min() > 180
    (tmp_path / "visit.mp4").unlink()
    for privacy in ({"blur": ["person"]}, {"fill": ["face"]}, {**masks["privacy"], "blur": ["person"]}):
        resources.configure("door", json.dumps({"privacy": privacy}))
        assert "its settings hide" in refused(resources, event, tmp_path / "visit.mp4")
    resources.configure("door", "{}")
    said = refused(resources, event, tmp_path / "visit.mp4", "--source-defaults", '{"privacy": {"blur": ["person"]}}')
    assert "its settings hide person" in said
    resources.configure("door", '{"privacy": {"blurr": ["person"]}}')
    assert "privacy.blurr: no such setting" in refused(resources, event, tmp_path / "visit.mp4", "--no-boxes")
    done = run(resources, "clip", event.index_key, "-o", str(tmp_path / "x.mp4"), "--sources-path", "")
    assert "need --stream and --sources-path" in done.stderr


def test_settings_that_cannot_be_read_may_hide_anything(resources: Resources) -> None:
    event = happening(resources.bucket, datetime.now(UTC) - 5 * SECOND)
    send_frame(resources, event, 0, grey(200))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    ssm = Services(f"http://127.0.0.1:{port}").client("ssm")
    for sources, error in (
        (SourceParameters(ssm, "/x", attempts=1), UnreachableError),
        (SourceParameters(resources.client("ssm"), resources.sources_path), None),
    ):
        stream = Stream(resources.client("kinesis"), resources.stream, sources)
        if error:
            with pytest.raises(error):
                stream.shots(event, Window.around(event, 1, 1), boxes=True)
        else:
            assert len(stream.shots(event, Window.around(event, 1, 1), boxes=True)) == 1


@pytest.mark.thorough
def test_wrong_usage_is_one_line(resources: Resources, tmp_path: Path) -> None:
    done = run(resources, "clip", "0" * 16, "-o", "visit.avi")
    assert (done.returncode, done.stderr) == (2, "error: --output visit.avi: a name that ends in .mp4 is needed\n")
    event = store(resources, happening(resources.bucket))
    assert "none of its frames is stored" in refused(resources, event, tmp_path / "visit.mp4")
    store_frame(resources, event, 0, grey(0))
    done = run(resources, "clip", event.index_key, "-o", "/nowhere/visit.mp4")
    assert (done.returncode, done.stderr) == (5, "error: /nowhere/visit.mp4: No such file or directory\n")


def test_a_plain_jpegs_frames_are_found_too(resources: Resources) -> None:
    """They are named by shard and sequence number, and say when they arrived."""
    now, shard = datetime.now(UTC).replace(microsecond=0), "shardId-000000000000"
    sequence = 49600000000000000000000000000000000000000000000000000002
    first, last = (f"door/{shard}/{sequence + number}" for number in (0, 2))
    event = happening(resources.bucket, now, seconds=60, first_frame_id=first, last_frame_id=last)
    keys = [frame_key(f"door/{shard}/{sequence + number}", now) for number in range(3)]
    for key in keys:
        resources.client("s3").put_object(Bucket=resources.bucket, Key=key, Body=grey(0))
    shots = stored_shots(Bucket(resources.client("s3"), resources.bucket), event, Window.around(event, 5, 5))
    assert len(shots) == 3


def test_a_session_is_listed_near_the_event_alone(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    event = happening(resources.bucket, NOON + timedelta(minutes=10))
    for seconds in (-400, 0, 4, 400):
        store_frame(resources, event, seconds, grey(0))
    bucket = Bucket(resources.client("s3"), resources.bucket)
    asked: list[str] = []
    metadata = bucket.metadata

    def note(key: str) -> dict[str, str]:
        asked.append(key)
        return metadata(key)

    monkeypatch.setattr(bucket, "metadata", note)
    assert len(stored_shots(bucket, event, Window.around(event, 1, 1))) == 2
    assert len(set(asked)) == 2


@pytest.mark.parametrize("name", ["frame_id", "first_frame_id", "last_frame_id"])
def test_an_event_that_names_no_frame_is_refused(resources: Resources, name: str) -> None:
    event = happening(resources.bucket)
    changed = event.model_copy(update={name: "../../state/x"})
    if name == "frame_id":
        changed = event.model_copy(update={"best": event.best.model_copy(update={name: "x" * 500})})
    bucket = Bucket(resources.client("s3"), resources.bucket)
    with pytest.raises(RefusedError, match="not a frame's id"):
        stored_shots(bucket, changed, Window.around(event, 1, 1))


class Drawn(Shots):
    """Pictures at times; None for one that is gone."""

    origin = "bucket"

    def __init__(self, pictures: dict[float, bytes | None]) -> None:
        super().__init__([NOON + SECOND * at for at in pictures])
        self._pictures = list(pictures.values())

    def picture(self, number: int) -> bytes:
        picture = self._pictures[number]
        if picture is None:
            raise GoneError("gone")
        return picture


def without_tables(jpeg: bytes) -> bytes:
    """Its segments are right, and no decoder makes a picture of it."""
    start = jpeg.index(b"\xff\xdb")
    return jpeg[:start] + jpeg[start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big") :]


@pytest.mark.parametrize("with_av", [True, False])
def test_a_film_of_either_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_av: bool) -> None:
    if not with_av:
        monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / "film.mp4"
    pictures = {
        0.0: grey(40), 0.2: None, 0.4: grey(120), 0.6: grey(200, (161, 91)), 0.8: b"no picture", 1.0: grey(200),
        1.2: without_tables(grey(80)),
    }  # fmt: skip
    made = write_film(path, Drawn(pictures))
    assert (made.frames, made.gone, made.refused, made.fps, made.seconds) == (4, 1, 2, 5, 1.2)
    assert levels(path) == [40, 40, 120, 200, 200, 200]
    assert list(tmp_path.iterdir()) == [path]
    codec = path.read_bytes()
    assert (b"avc1" in codec, b"mp4v" in codec) == (with_av, not with_av)


@pytest.mark.parametrize("with_av", [True, False])
@pytest.mark.parametrize("size", [(64, 6000), (6000, 64), (2, 2), (1, 1)])
def test_a_film_of_any_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_av: bool, size: tuple[int, int]
) -> None:
    if not with_av:
        monkeypatch.setitem(sys.modules, "av", None)
    try:
        write_film(tmp_path / "film.mp4", Drawn({0.0: grey(40, size), 1.0: grey(80, size)}))
    except DiskError as error:  # an encoder may need more
        assert "film.mp4: " in str(error)
    else:
        assert max(images(tmp_path / "film.mp4")[0].shape) <= 1920


@pytest.mark.parametrize("with_av", [True, False])
@pytest.mark.thorough
def test_a_film_that_finds_no_room_is_not_there(tmp_path: Path, with_av: bool) -> None:
    code = f"""
import resource, sys
{"" if with_av else "sys.modules['av'] = None"}
from pathlib import Path
import numpy as np
from PIL import Image
from consumer.clips.film import write_film
from consumer.errors import DiskError
from tests.pictures import encode
from tests.unit.test_clips import Drawn
noise = np.random.default_rng(1).integers(0, 255, (90, 160, 3), np.uint8)
shots = Drawn({{at / 10: encode(Image.fromarray(np.roll(noise, 7 * at, 0))) for at in range(20)}})
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    write_film(Path("{tmp_path}/film.mp4"), shots)
except DiskError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
    )  # fmt: skip
    assert done.stdout.startswith(f"{tmp_path}/film.mp4: "), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_film_of_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(GoneError, match="none of the frames"):
        write_film(tmp_path / "film.mp4", Drawn({0.0: None}))
    with pytest.raises(RefusedError, match="not_jpeg"):
        write_film(tmp_path / "film.mp4", Drawn({0.0: b"GIF", 1.0: None}))
    assert list(tmp_path.iterdir()) == []


def test_the_rate_is_the_usual_one() -> None:
    def at(*seconds: float) -> list[datetime]:
        return [NOON + SECOND * second for second in seconds]

    assert rate(at(0)) == 1
    assert rate(at(0, 0.2, 0.4, 60, 60.2)) == 5
    assert rate(at(0, 0, 0)) == film.MAX_FPS
    assert rate(at(0, 60)) == 1


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.000000Z"])
def test_an_event_at_the_end_of_time_has_a_window(at: str) -> None:
    window = Window.around(happening("b").model_copy(update={"started_at": at, "ended_at": at}), 60, 60)
    assert window.since <= window.until


def test_a_long_event_gives_its_beginning() -> None:
    event = happening("b", seconds=3600)
    window = Window.around(event, 5, 5)
    assert (window.until - window.since).total_seconds() == MAX_SECONDS
    assert happening("b", seconds=None).ended_at is None
    assert Window.around(happening("b", seconds=None), 0, 2).until == NOON + 3 * SECOND


def test_the_stream_is_asked_only_if_it_is_needed(resources: Resources) -> None:
    event = happening(resources.bucket)
    for fifth in range(21):
        store_frame(resources, event, fifth / 5, grey(0))
    bucket = Bucket(resources.client("s3"), resources.bucket)

    def never() -> Any:
        raise AssertionError("asked")

    shots = shots_of(bucket, never, event, Window.around(event, 0, 0), boxes=True)
    assert len(shots) == 21
    assert np.array_equal(np.diff([at.timestamp() for at in shots.times]).round(3), [0.2] * 20)
    assert isinstance(shots, stored.StoredShots)
    assert shots.picture(0) == grey(0)
    assert io.BytesIO(shots.picture(20)).read(2) == b"\xff\xd8"
