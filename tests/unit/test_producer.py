from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from hypothesis import given
from hypothesis import strategies as st

from cloud.errors import may_have_arrived
from contract import Frame, Metadata
from local.faults import Fault, FaultControl
from local.processes import ROOT, Aws
from local.resources import REGION, Resources
from local.waiting import PATIENCE_SECONDS, wait_for
from producer import Producer, sender
from producer import kinesis as kinesis_calls
from producer.encoding import Encoder
from producer.errors import AccessError, PictureError, ProducerError, SourceError, StreamError, UnreachableError
from producer.kinesis import connect
from producer.knock import Knock, _same_aws
from producer.lane import QUEUE_FRAMES, Lane
from producer.motion import ChangeGate
from producer.pacing import HASH_KEYS, Pacer, Shard, TokenBucket, open_shards, spread
from producer.picture import Picture, Source
from producer.sender import FIRST_ATTEMPTS, MAX_REQUEST_BYTES, Sender
from producer.sources import DemoSource, ImageSource, as_numbered, open_source, source_name
from producer.video import VideoSource
from tests import pictures

HALF = 2**127


class Pictures(Source):
    """A number of small pictures, live or not."""

    def __init__(self, number: int, live: bool = False, pause: float = 0) -> None:
        self.number, self.live, self._pause = number, live, pause

    def pictures(self) -> Iterator[Picture]:
        for _ in range(self.number):
            time.sleep(self._pause)
            yield Picture(jpeg=pictures.street_jpeg(64, 64))


class Kinesis:
    """Records what it takes; refuses what it is told to refuse."""

    def __init__(self, refuse: Any = lambda number, entry: False) -> None:
        self.requests: list[list[dict[str, Any]]] = []
        self.taken: list[tuple[str, int]] = []
        self._refuse = refuse

    def list_shards(self, **_: Any) -> dict[str, Any]:
        whole = {"StartingHashKey": "0", "EndingHashKey": str(2 * HALF - 1)}
        return {"Shards": [{"ShardId": "s", "HashKeyRange": whole, "SequenceNumberRange": {}}]}

    def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        self.requests.append(Records)
        results = []
        for entry in Records:
            if self._refuse(len(self.requests), entry):
                results.append({"ErrorCode": "ProvisionedThroughputExceededException"})
                continue
            metadata = Frame.parse(entry["Data"]).metadata
            assert metadata
            self.taken.append((metadata.source, metadata.index))
            results.append({"SequenceNumber": "1", "ShardId": "s"})
        return {"FailedRecordCount": 0, "Records": results}


def answer(code: str, status: int) -> ClientError:
    """A service's answer that is an error."""
    return ClientError(
        {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutRecords"
    )


def lanes_of(*sources: Source, limit: int | None = None) -> tuple[list[Lane], threading.Event]:
    wake = threading.Event()
    lanes = [Lane(f"cam-{number}", source, Encoder(), wake=wake, limit=limit) for number, source in enumerate(sources)]
    for lane in lanes:
        lane.start()
    return lanes, wake


def test_each_source_keeps_its_order_through_refusals() -> None:
    random = np.random.default_rng(1)
    kinesis = Kinesis(lambda number, entry: random.random() < 0.3)
    lanes, wake = lanes_of(Pictures(40), Pictures(40), Pictures(40))
    Sender(kinesis, "s", lanes, wake).run()
    for lane in lanes:
        assert [index for source, index in kinesis.taken if source == lane.source_id] == list(range(40))
        assert lane.counts.sent == lane.counts.captured == 40
        assert lane.counts.throttled > 0
        assert lane.counts.dropped == 0
    for request in kinesis.requests:
        assert len({entry["PartitionKey"] for entry in request}) == len(request)
        assert sum(len(entry["Data"]) for entry in request) <= MAX_REQUEST_BYTES


def test_sources_that_do_not_fit_a_request_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "MAX_ENTRIES", 2)
    kinesis = Kinesis()
    lanes, wake = lanes_of(*(Pictures(20) for _ in range(10)))
    Sender(kinesis, "s", lanes, wake).run()
    half = Counter(source for source, _ in kinesis.taken[:100])
    assert len(kinesis.taken) == 200
    assert min(half[lane.source_id] for lane in lanes) >= 5


def test_a_request_that_fails_is_sent_again() -> None:
    class Failing(Kinesis):
        def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
            if len(self.requests) < 3:
                self.requests.append([])
                raise ClientError({"Error": {"Code": "InternalFailure"}}, "PutRecords")
            return super().put_records(StreamName, Records)

    kinesis = Failing()
    lanes, wake = lanes_of(Pictures(3))
    Sender(kinesis, "s", lanes, wake).run()
    assert [index for _, index in kinesis.taken] == [0, 1, 2]


def test_a_service_that_stays_away_ends_the_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "BACKOFF_CAP_SECONDS", 0.05)

    class Away(Kinesis):
        def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
            self.requests.append([])
            raise ClientError({"Error": {"Code": "ServiceUnavailable", "Message": "away"}}, "PutRecords")

    kinesis = Away()
    lanes, wake = lanes_of(Pictures(1))
    with pytest.raises(Exception, match="ServiceUnavailable"):
        Sender(kinesis, "s", lanes, wake).run()
    assert len(kinesis.requests) == FIRST_ATTEMPTS
    assert UnreachableError.exit_status == 6


def test_credentials_that_stay_expired_are_told_and_soon_end_the_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "BACKOFF_CAP_SECONDS", 0.05)
    monkeypatch.setattr(sender, "EXPIRED_PATIENCE_SECONDS", 0.5)

    class Expiring(Kinesis):
        def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
            if len(self.requests) < 2:
                return super().put_records(StreamName, Records)
            self.requests.append([])
            raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "no"}}, "PutRecords")

    kinesis, told = Expiring(), list[str]()
    lanes, wake = lanes_of(Pictures(3))
    with pytest.raises(AccessError, match="log in again"):
        Sender(kinesis, "s", lanes, wake, tell=told.append).run()
    assert len(kinesis.requests) > 3  # some time was given
    assert told == [
        "stream s: ExpiredToken: no; log in again, or set this machine's clock; it is tried again for 0.5 s"
    ]


@pytest.mark.parametrize("hanging", ["put_records", "list_shards"])
def test_no_answer_is_waited_for_when_there_is_no_more_time(hanging: str) -> None:
    """Neither another request's after one that ends the run, nor the list of shards'."""
    asked, go_on = threading.Event(), threading.Event()

    class Hanging(Kinesis):
        listed = 0

        def list_shards(self, **options: Any) -> dict[str, Any]:
            self.listed += 1
            if self.listed > 1:
                asked.set()
                go_on.wait()
            return super().list_shards(**options)

        def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
            if hanging == "list_shards":
                results = super().put_records(StreamName, Records)["Records"]
                return {"Records": [result | {"ShardId": "new"} for result in results]}
            self.requests.append(Records)
            if len(self.requests) == 1:
                go_on.wait()
            asked.set()
            raise answer("AccessDeniedException", 400)

    lanes, wake = lanes_of(Pictures(3), Pictures(3))
    noted = list[bytes]()
    sending = Sender(Hanging(), "s", lanes, wake, unanswered=noted.append)
    ended = threading.Event()

    def run() -> None:
        with suppress(AccessError):
            sending.run()
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    assert asked.wait(PATIENCE_SECONDS)
    assert not ended.wait(0.3)
    sending.finish_within(0.1)
    came = ended.wait(5)
    waiting = [lane for lane in lanes if lane.unanswered]
    go_on.set()
    assert came
    # Of the one request that hangs nobody knows; the other was refused.
    assert len(waiting) == (hanging == "put_records")
    assert noted == [lane.head() for lane in waiting]


@pytest.mark.parametrize(
    ("error", "arrived"),
    [
        (ReadTimeoutError(endpoint_url=""), True),
        (ConnectionClosedError(endpoint_url=""), True),
        (answer("InternalFailure", 500), True),
        (EndpointConnectionError(endpoint_url=""), False),
        (ConnectTimeoutError(endpoint_url=""), False),
        (NoCredentialsError(), False),
        (answer("AccessDeniedException", 400), False),
    ],
)
def test_what_may_have_arrived(error: Exception, arrived: bool) -> None:
    assert may_have_arrived(error) == arrived


def test_a_live_source_drops_its_oldest_frames_and_counts_them() -> None:
    lanes, _ = lanes_of(Pictures(QUEUE_FRAMES + 20, live=True))
    [lane] = lanes
    wait_for(lambda: not lane.capturing, "end of the source", lambda: lane.counts.captured)
    assert lane.counts.dropped == 20
    kept = []
    while (data := lane.head()) is not None:
        metadata = Frame.parse(data).metadata
        assert metadata
        kept.append(metadata.index)
        lane.accept(len(data))
    assert kept == [0, *range(21, QUEUE_FRAMES + 20)]


def test_a_file_waits_for_room_and_drops_nothing() -> None:
    lanes, wake = lanes_of(Pictures(QUEUE_FRAMES * 3))
    counts = lanes[0].counts
    wait_for(lambda: counts.captured >= QUEUE_FRAMES, "full queue", lambda: counts.captured)
    assert counts.captured <= QUEUE_FRAMES + 1
    kinesis = Kinesis()
    Sender(kinesis, "s", lanes, wake).run()
    assert len(kinesis.taken) == QUEUE_FRAMES * 3


def test_a_stop_does_not_wait_for_a_source_that_hangs() -> None:
    hanging, go_on = threading.Event(), threading.Event()

    class Hanging(Source):
        live = True

        def pictures(self) -> Iterator[Picture]:
            yield Picture(jpeg=pictures.street_jpeg(64, 64))
            hanging.set()
            go_on.wait()
            yield Picture(jpeg=pictures.street_jpeg(64, 64))

    kinesis = Kinesis()
    [lane], wake = lanes_of(Hanging())
    assert hanging.wait(PATIENCE_SECONDS)
    lane.request_stop()
    Sender(kinesis, "s", [lane], wake).run()
    go_on.set()
    assert kinesis.taken == [("cam-0", 0)]
    assert lane.counts.captured == lane.counts.sent == 1


def test_a_bucket_lets_its_rate_pass() -> None:
    bucket, now, passed = TokenBucket(100, 0.0), 0.0, 0
    while now < 10:
        wait = bucket.wait(30, now)
        if wait <= 0:
            bucket.take(30, now)
            passed += 30
        now += max(wait, 0.001)
    assert 1000 <= passed <= 1130  # ten seconds' worth and one burst


def test_a_frame_larger_than_a_seconds_worth_passes_and_is_paid_for() -> None:
    bucket = TokenBucket(100, 0.0)
    assert bucket.wait(250, 0.0) == 0
    bucket.take(250, 0.0)
    assert bucket.wait(100, 0.0) == pytest.approx(2.5)


def test_shards_are_paced_apart() -> None:
    pacer = Pacer([Shard("a", 0, HALF - 1), Shard("b", HALF, 2 * HALF - 1)], 0.0)
    for _ in range(3):
        pacer.take(0, 1_000_000, 0.0)
    assert pacer.wait(HALF - 1, 1000, 0.0) > 1
    assert pacer.wait(HALF, 1000, 0.0) == 0


def test_hash_keys_go_where_kinesis_puts_them(resources: Resources) -> None:
    kinesis = resources.client("kinesis")
    kinesis.split_shard(StreamName=resources.stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(HALF))
    shards = open_shards(kinesis, resources.stream)
    assert [shard.shard_id for shard in shards] == ["shardId-000000000001", "shardId-000000000002"]
    pacer = Pacer(shards, 0.0)
    for key in [0, HALF - 1, HALF, HASH_KEYS - 1, *spread([f"camera {number}" for number in range(20)]).values()]:
        answer = kinesis.put_record(
            StreamName=resources.stream, PartitionKey="a camera", ExplicitHashKey=str(key), Data=b"x"
        )
        assert answer["ShardId"] == pacer.shard_of(key)


def encode(encoder: Encoder, picture: Picture) -> Frame | None:

    data = encoder.encode(picture, Metadata("cam", "s", 0, datetime.now(UTC)))
    if data is None:
        return None
    assert len(data) + len("cam") <= encoder.max_bytes
    return Frame.parse(data)


def test_jpeg_files_stay_as_they_are() -> None:
    jpeg = pictures.progressive()
    frame = encode(Encoder(), Picture(jpeg=jpeg))
    assert frame
    assert frame.jpeg.endswith(jpeg[2:])


def test_a_picture_of_too_many_pixels_is_shrunk() -> None:
    large = pictures.street_jpeg(320, 180)
    for picture in (Picture(jpeg=large), Picture(np.zeros((180, 320, 3), np.uint8))):
        for encoder in (Encoder(max_pixels=20_000), Encoder(max_pixels=20_000, width=300)):
            frame = encode(encoder, picture)
            assert frame
            assert 19_000 < frame.width * frame.height <= 20_000
            assert frame.width / frame.height == pytest.approx(16 / 9, rel=0.02)
    frame = encode(Encoder(max_pixels=20_000, width=100), Picture(jpeg=large))
    assert frame
    assert frame.width == 100


@pytest.mark.parametrize("shape", [(70_000, 1), (70_000, 8), (8, 70_000)])
def test_a_picture_longer_than_a_jpeg_can_be_is_shrunk(shape: tuple[int, int]) -> None:
    frame = encode(Encoder(), Picture(np.zeros((*shape, 3), np.uint8)))
    assert frame
    assert max(frame.width, frame.height) <= 65_500


def test_a_picture_that_nobody_decodes_is_broken() -> None:
    with pytest.raises(PictureError):
        encode(Encoder(), Picture(jpeg=pictures.resized_header(pictures.street_jpeg(), 65535, 65535)))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is not here, which takes nothing")
def test_a_ledger_that_cannot_be_written_is_said_once_and_ends_nothing(resources: Resources) -> None:
    done = run(resources, "demo", "--limit", "5", "--fps", "0", "--ledger", "/dev/full", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["sent"] == 5
    [line] = done.stderr.splitlines()
    assert line == "--ledger /dev/full: No space left on device; frames from here on are sent but not in it"


def test_width_scales_down_but_never_up() -> None:
    picture = Picture(jpeg=pictures.street_jpeg(320, 180))
    small, large = encode(Encoder(width=160), picture), encode(Encoder(width=1000), picture)
    assert small
    assert large
    assert (small.width, small.height) == (160, 90)
    assert (large.width, large.height) == (320, 180)


def test_a_frame_over_the_limit_loses_quality_then_size() -> None:
    noise = Picture(np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8))
    whole = encode(Encoder(), noise)
    assert whole
    coarser = encode(Encoder(max_bytes=len(whole.jpeg) // 2), noise)
    assert coarser
    assert (coarser.width, coarser.height) == (800, 600)
    smaller = encode(Encoder(max_bytes=len(whole.jpeg) // 20), noise)
    assert smaller
    assert smaller.width < 800
    assert encode(Encoder(max_bytes=2000), noise) is None


def test_sources_are_told_apart(tmp_path: Path, jpeg: bytes) -> None:
    (tmp_path / "b.jpg").write_bytes(jpeg)
    (tmp_path / "a.png").write_bytes(pictures.png())
    (tmp_path / "notes.txt").write_text("no image")
    video = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 64))
    for level in range(5):
        writer.write(np.full((64, 64, 3), level * 50, np.uint8))
    writer.release()
    assert isinstance(open_source("demo"), DemoSource)
    assert isinstance(open_source("demo:7"), DemoSource)
    folder = open_source(str(tmp_path))
    assert isinstance(folder, ImageSource)
    assert [picture.jpeg is None for picture in folder.pictures()] == [True, False]  # a.png, b.jpg
    assert len(list(open_source(f"{tmp_path}/*.jpg").pictures())) == 1
    film = open_source(str(video))
    assert isinstance(film, VideoSource)
    assert film.native_fps == 25
    assert [round(float(picture.pixels().mean()), -1) for picture in film.pictures()] == [0, 50, 100, 150, 200]
    for text in ("missing.mp4", str(tmp_path / "notes.txt"), "97", "rtsp://127.0.0.1:9/x", f"{tmp_path}/*.gif"):
        with pytest.raises(SourceError):
            open_source(text)


def sent(source: Source, **options: Any) -> tuple[list[bytes], Lane, list[str]]:
    """What comes of a source: its frames' data, its lane, and what was told."""
    told: list[str] = []
    kinesis, wake = Kinesis(), threading.Event()
    lane = Lane("cam", source, Encoder(), wake=wake, tell=told.append, **options)
    lane.start()
    Sender(kinesis, "s", [lane], wake).run()
    return [entry["Data"] for request in kinesis.requests for entry in request], lane, told


@pytest.mark.parametrize("loop", [False, True])
def test_broken_pictures_are_named_and_counted_and_the_others_sent(tmp_path: Path, loop: bool) -> None:
    whole = {number: pictures.street_jpeg(64, 64, seed=number) for number in (1, 2, 3)}
    (tmp_path / "1.jpg").write_bytes(whole[1])
    (tmp_path / "2.jpg").write_bytes(whole[2][:100])
    (tmp_path / "3.jpg").write_bytes(whole[3])
    (tmp_path / "4.jpg").write_bytes(b"")
    (tmp_path / "5.png").write_bytes(b"no picture")
    (tmp_path / "6.jpg").mkdir()
    (tmp_path / "7.jpg").symlink_to(tmp_path / "1.jpg")
    source = open_source(str(tmp_path))
    (tmp_path / "7.jpg").unlink()  # gone before it is its turn
    data, lane, told = sent(source, loop=loop, limit=6)
    passes = 3 if loop else 1
    assert [jpeg[-500:] for jpeg in data] == [whole[1][-500:], whole[3][-500:]] * passes
    assert [Frame.parse(jpeg).metadata.index for jpeg in data] == list(range(2 * passes))  # type: ignore[union-attr]
    assert lane.error is None
    assert lane.complete
    assert lane.counts.captured == lane.counts.sent == 2 * passes
    assert lane.counts.broken >= 4
    for name, line in zip(("2.jpg", "4.jpg", "5.png", "7.jpg"), told, strict=True):
        assert line.startswith(f"cam: {tmp_path}/{name}: ")


def test_a_folder_without_a_good_picture_ends_though_it_is_looped(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"")
    data, lane, told = sent(open_source(str(tmp_path)), loop=True, gate=ChangeGate())
    assert (data, lane.counts.broken, len(told)) == ([], 1, 1)


def test_the_command_names_and_counts_broken_pictures(resources: Resources, cases: Path) -> None:
    done = run(resources, str(cases / "one broken jpeg among good"), "--fps", "0", "--json")
    assert done.returncode == 5
    counts = json.loads(done.stdout)["sources"]["one-broken-jpeg-among-good"]
    assert (counts["sent"], counts["captured"], counts["broken"]) == (3, 3, 2)
    second, fourth, last = done.stderr.splitlines()
    assert "img2.jpg: 100 bytes that cannot be decoded as an image" in second
    assert "img4.jpg: an empty file" in fourth
    assert last == "error: 2 pictures cannot be read: they are named above"


def names_of(source: Source) -> list[str]:
    return [Path(picture.name).name for picture in source.pictures()]


def test_pictures_come_as_people_number_them(tmp_path: Path, cases: Path) -> None:
    names = ["a.jpg", "a1.jpg", "a2.jpg", "a9b1.png", "a9b10.jpg", "a10.jpg", "a010.jpg", "a100.jpg", "b.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    expected = ["a.jpg", "a1.jpg", "a2.jpg", "a9b1.png", "a9b10.jpg", "a010.jpg", "a10.jpg", "a100.jpg", "b.jpg"]
    assert names_of(open_source(str(tmp_path))) == expected
    assert names_of(open_source(f"{tmp_path}/*.*")) == expected
    natural = [f"frame{number}.jpg" for number in (1, 2, 9, 10, 11, 100)]
    assert names_of(open_source(str(cases / "folder natural"))) == natural


@given(st.lists(st.text("a1059.²٣", min_size=1, max_size=6), max_size=6))
def test_any_names_can_be_sorted(names: list[str]) -> None:
    paths = [Path("x", name) for name in names]
    there = sorted(paths, key=as_numbered)
    paths.reverse()
    assert sorted(paths, key=as_numbered) == there


def test_folders_with_characters_of_patterns_in_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "photos [2024]" / "day * ?"
    folder.mkdir(parents=True)
    (folder / "ä ö [1].jpg").write_bytes(b"")
    (tmp_path / "photos 2").mkdir()
    (tmp_path / "photos 2" / "2.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    for root in ("", f"{tmp_path}/"):
        for text in ("photos [2024]/day * ?/ä ö [1].jpg", "photos [2024]/day * ?", "photos [2024]/*/*.jpg"):
            assert names_of(open_source(root + text)) == ["ä ö [1].jpg"]
        assert names_of(open_source(f"{root}photos [2024]/**/*.jpg")) == ["ä ö [1].jpg"]
        assert names_of(open_source(f"{root}photos [0-9]/*.jpg")) == ["2.jpg"]


def test_names_are_made_of_sources() -> None:
    assert source_name("demo:3") == "demo-3"
    assert source_name("0") == "webcam-0"
    assert source_name("films/the street.mp4") == "the-street"
    assert source_name("photos/*.jpg") == "source"


def run(resources: Resources, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "producer", "send", *arguments],
        env=resources.environment() | env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def frames_on(resources: Resources) -> list[Frame]:
    kinesis = resources.client("kinesis")
    iterator = kinesis.get_shard_iterator(
        StreamName=resources.stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return [Frame.parse(record["Data"]) for record in kinesis.get_records(ShardIterator=iterator)["Records"]]


def test_the_command_sends_several_sources(resources: Resources, tmp_path: Path, jpeg: bytes) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg)
    done = run(resources, "demo", str(tmp_path / "photo.jpg"), "--limit", "3", "--fps", "0", "--loop", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["sent"] == 6
    assert {name: counts["sent"] for name, counts in summary["sources"].items()} == {"demo": 3, "photo": 3}
    sent = [frame.metadata for frame in frames_on(resources)]
    assert sorted((m.source, m.index) for m in sent if m) == [(s, i) for s in ("demo", "photo") for i in range(3)]
    assert {m.session for m in sent if m} == {c["session"] for c in summary["sources"].values()}


@pytest.mark.slow
@pytest.mark.thorough
def test_errors_are_one_line_and_a_status(resources: Resources, tmp_path: Path) -> None:
    for arguments, status, text in (
        (("missing.mp4",), 5, "missing.mp4: no such file"),
        (("demo", "--stream", "nobody"), 3, "stream nobody: no such stream"),
        (("demo", "--source-id", "../x"), 2, "--source-id"),
        (("demo", "demo", "--source-id", "a"), 2, "1 times --source-id for 2 SOURCEs"),
        (("demo", "--endpoint-url", "http://127.0.0.1:9"), 6, "stream"),
        (("demo", "--endpoint-url", "foo"), 2, "Invalid endpoint: foo"),
        (("demo", "--region", "eu central"), 2, "eu central"),
    ):
        done = run(resources, *arguments)
        assert done.returncode == status, done.stderr
        [line] = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert text in line


def test_without_credentials_it_says_so(resources: Resources, tmp_path: Path) -> None:
    env = resources.environment() | {"HOME": str(tmp_path)}
    del env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]
    done = subprocess.run(
        [sys.executable, "-m", "producer", "send", "demo"],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert done.stderr.startswith("error: no AWS credentials")


def sending(resources: Resources) -> subprocess.Popen[str]:
    """A producer that has sent a frame and goes on."""
    producer = subprocess.Popen(
        [sys.executable, "-m", "producer", "send", "demo", "--fps", "20", "--json"],
        env=resources.environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: frames_on(resources) or producer.poll() is not None, "frame on the stream")
    return producer


def test_ctrl_c_sends_what_is_queued_and_says_that_the_file_is_not_finished(resources: Resources) -> None:
    producer = sending(resources)
    os.kill(producer.pid, signal.SIGINT)
    output, errors = producer.communicate()
    assert producer.returncode == 130, errors
    summary = json.loads(output)
    counts = summary["sources"]["demo"]
    assert 0 < summary["sent"] <= len(frames_on(resources)) <= counts["captured"]
    assert counts["captured"] == counts["sent"] + counts["unsent"]
    assert "Traceback" not in errors


def test_the_summary_is_printed_whatever_ends_the_run(resources: Resources) -> None:
    producer = sending(resources)
    resources.client("kinesis").delete_stream(StreamName=resources.stream)
    output, errors = producer.communicate()
    assert producer.returncode == 3, errors
    assert json.loads(output)["sent"] > 0
    assert "no such stream" in errors


@pytest.mark.thorough
def test_a_wrong_clock_neither_ends_the_run_nor_shows_in_the_frames(aws: Aws, resources: Resources) -> None:
    """As of a Pi after a power cut: the service says what time it is."""
    control, producer = FaultControl(aws.url), sending(resources)
    try:
        control.add(Fault("skewed", "kinesis", "PutRecords", delay=3600))
        later = datetime.now(UTC) + timedelta(minutes=59)

        def corrected() -> bool:
            return any(frame.metadata and frame.metadata.captured_at > later for frame in frames_on(resources))

        wait_for(lambda: corrected() or producer.poll() is not None, "frame with the service's time")
        producer.send_signal(signal.SIGINT)
        output, errors = producer.communicate()
    finally:
        control.clear()
    assert producer.returncode == 130, errors
    assert json.loads(output)["sent"] > 0
    assert "this machine's clock is off by -3" in errors


@pytest.fixture
def kinesis_of_environment(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in resources.environment().items():
        monkeypatch.setenv(name, value)
    return connect(None, REGION)


def test_a_producer_that_begins_tells_a_pipeline_that_sleeps(resources: Resources, kinesis_of_environment: Any) -> None:
    told: list[str] = []
    lanes, wake = lanes_of(Pictures(20))
    with Knock(kinesis_of_environment, resources.stream, told.append) as knock:
        Sender(kinesis_of_environment, resources.stream, lanes, wake, flowing=knock.flowing).run()
    now = datetime.now(UTC)
    [point] = resources.client("cloudwatch").get_metric_statistics(
        Namespace="cv2kinesis/producers", MetricName="ProducersStarted", Period=3600, Statistics=["Sum"],
        Dimensions=[{"Name": "StreamName", "Value": resources.stream}],
        StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1),
    )["Datapoints"]  # fmt: skip
    assert (point["Sum"], told) == (1, [])


def test_a_knock_comes_again_after_a_pause_and_one_that_fails_is_told(
    kinesis_of_environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    with Knock(kinesis_of_environment, "s", told.append) as refused:
        monkeypatch.setattr(refused._cloudwatch, "put_metric_data", denied)
        for pause in (0, 200, 0, 301):
            refused._last -= pause
            refused.flowing()
            assert refused._thread
            refused._thread.join()
    assert (
        told
        == ["a pipeline that sleeps wakes a minute later, as CloudWatch was not told: AccessDenied: not allowed"] * 2
    )


def test_an_address_of_cloudwatch_that_cannot_be_used_stops_no_frame(
    resources: Resources, kinesis_of_environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:99999")
    told: list[str] = []
    lanes, wake = lanes_of(Pictures(20))
    with Knock(kinesis_of_environment, resources.stream, told.append) as knock:
        Sender(kinesis_of_environment, resources.stream, lanes, wake, flowing=knock.flowing).run()
    [line] = told
    assert line.startswith("a pipeline that sleeps wakes a minute later, as CloudWatch was not told: Invalid endpoint")
    assert len(list(frames_on(resources))) == 20


def denied(**_: Any) -> None:
    raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not allowed"}}, "PutMetricData")


@pytest.mark.parametrize(
    ("kinesis", "cloudwatch", "same"),
    [
        ("https://kinesis.eu-central-1.amazonaws.com", "https://monitoring.eu-central-1.amazonaws.com", True),
        ("https://vpce-1.kinesis.eu-west-1.vpce.amazonaws.com", "https://monitoring.eu-west-1.amazonaws.com", True),
        ("http://127.0.0.1:4567", "http://127.0.0.1:4567", True),
        ("http://kinesis.local:4567", "https://monitoring.eu-central-1.amazonaws.com", False),
        ("http://amazonaws.com.evil.example", "https://monitoring.eu-central-1.amazonaws.com", False),
    ],
)
def test_no_other_cloud_is_told(kinesis: str, cloudwatch: str, same: bool) -> None:
    assert _same_aws(kinesis, cloudwatch) is same


@pytest.mark.parametrize("shards", [1, 2, 3, 4, 8, 100])
@pytest.mark.parametrize("cameras", [1, 3, 4, 8, 1000])
def test_sources_are_spread_evenly_over_any_number_of_shards(cameras: int, shards: int) -> None:
    ends = [HASH_KEYS * number // shards for number in range(shards + 1)]
    pacer = Pacer([Shard(str(n), ends[n], ends[n + 1] - 1) for n in range(shards)], 0.0)
    for trial in range(20):
        keys = spread([f"camera-{trial}-{number}" for number in range(cameras)]).values()
        load = Counter(map(pacer.shard_of, keys))
        assert max(load.values()) - min(load[str(n)] for n in range(shards)) <= 1
        assert len(load) == min(cameras, shards)


def test_one_source_goes_where_its_partition_key_would(resources: Resources) -> None:
    kinesis = resources.client("kinesis")
    kinesis.split_shard(StreamName=resources.stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(HALF))
    pacer = Pacer(open_shards(kinesis, resources.stream), 0.0)
    for number in range(20):
        camera = f"camera {number}"
        answer = kinesis.put_record(StreamName=resources.stream, PartitionKey=camera, Data=b"x")
        assert answer["ShardId"] == pacer.shard_of(spread([camera])[camera])


def test_a_resharding_is_followed_and_keeps_each_source_in_order(resources: Resources) -> None:
    kinesis = resources.client("kinesis")
    way: dict[str, list[str]] = defaultdict(list)

    def accepted(record: bytes, shard: str, _: str) -> None:
        if not way:
            kinesis.split_shard(StreamName=resources.stream, ShardToSplit=shard, NewStartingHashKey=str(HALF))
        metadata = Frame.parse(record).metadata
        assert metadata
        way[metadata.source].append(shard)

    lanes, wake = lanes_of(*(Pictures(10) for _ in range(6)))
    Sender(kinesis, resources.stream, lanes, wake, accepted).run()
    children = []
    for shards in way.values():
        # If a source's frames went to both children, KCL would read them out of order, because it reads both at once.
        [child] = set(shards) - {"shardId-000000000000"}
        children.append(child)
    assert Counter(children) == {"shardId-000000000001": 3, "shardId-000000000002": 3}


def test_a_program_sends_its_own_pictures(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in resources.environment().items():
        monkeypatch.setenv(name, value)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with Producer(resources.stream, ["door", "yard"], region=REGION) as producer:
        for level in range(40):
            producer.send("door", np.full((32, 32, 3), level, np.uint8))
        producer.send("yard", pictures.street_jpeg(64, 64), captured_at=at)
    assert (producer.sent("door"), producer.sent("yard")) == (40, 1)
    frames = [frame.metadata for frame in frames_on(resources)]
    assert [frame.index for frame in frames if frame and frame.source == "door"] == list(range(40))
    assert [frame.captured_at for frame in frames if frame and frame.source == "yard"] == [at]


@pytest.mark.parametrize(
    ("sources", "says"),
    [("door", "a list of names is needed, not the name 'door'"), (["door", "the yard"], "the yard")],
)
def test_a_program_hears_at_once_of_names_that_no_camera_has(sources: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Producer("cv2kinesis", sources, region=REGION)


def test_a_closed_producer_takes_no_pictures(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in resources.environment().items():
        monkeypatch.setenv(name, value)
    with Producer(resources.stream, ["door"], region=REGION) as producer:
        producer.send("door", pictures.street_jpeg(64, 64))
    with pytest.raises(ProducerError, match="closed"):
        producer.send("door", pictures.street_jpeg(64, 64))
    assert producer.sent("door") == 1


def test_a_program_hears_what_is_wrong(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in resources.environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StreamError, match="nobody: no such stream"):
        Producer("nobody", ["door"], region=REGION)
    producer = Producer(resources.stream, ["door", "desk"], region=REGION)
    with pytest.raises(ValueError, match="a time with a time zone is needed"):
        producer.send("door", b"", datetime(2026, 1, 1))
    producer.send("door", b"no picture")
    with pytest.raises(KeyError):
        producer.send("nobody", b"")

    def refused() -> bool:
        try:
            producer.send("door", pictures.street_jpeg(64, 64))
        except SourceError:
            return True
        return False

    wait_for(refused, "the picture's error")
    at = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    producer.send("desk", pictures.street_jpeg(64, 64), at)
    with pytest.raises(SourceError, match="cannot be decoded"):
        producer.close()
    assert producer.sent("desk") == 1  # what is wrong with one source stops no other
    [desk] = [frame.metadata for frame in frames_on(resources) if frame.metadata and frame.metadata.source == "desk"]
    assert desk.captured_at == at


def test_a_service_that_answers_with_errors_is_asked_again_and_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinesis_calls, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(kinesis_calls, "BACKOFF_BASE_SECONDS", 0.01)
    answers = ["ServiceUnavailable", "LimitExceededException"]

    def work() -> str:
        if answers:
            raise ClientError({"Error": {"Code": answers.pop()}}, "DescribeStreamSummary")
        return "done"

    assert kinesis_calls.call("cameras", work) == "done"
    for code, kind in (("InternalFailure", UnreachableError), ("AccessDeniedException", AccessError)):
        with pytest.raises(kind, match=code):
            kinesis_calls.call("cameras", partial(_raise, code))


def _raise(code: str) -> None:
    raise ClientError({"Error": {"Code": code}}, "DescribeStreamSummary")


@pytest.mark.thorough
def test_the_automatic_rate_and_the_list_are_commands(resources: Resources) -> None:
    done = run(resources, "demo", "--limit", "3", "--fps", "auto", "--json")
    assert json.loads(done.stdout)["sent"] == 3
    assert "--fps fast: a number from 0 to 1000, or auto" in run(resources, "demo", "--fps", "fast").stderr
    listed = subprocess.run(
        [sys.executable, "-m", "producer", "list", "--json"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert isinstance(json.loads(listed.stdout), list)
