"""A frame's way through the worker on the embedded AWS, with a detector whose detections are fixed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

from contract import Frame, Metadata, Position, embed
from contract.identity import CAPTURED_AT
from contract.message import QuarantineMessage, ResultMessage
from contract.source_settings import DEFAULT, SourceSettings
from kcl_worker.budget import Budget
from kcl_worker.errors import ServiceError, SettingsError
from kcl_worker.held import HeldMemory
from kcl_worker.kcl import wire
from kcl_worker.kcl.gateway import Gateway
from kcl_worker.kcl.shard_order import Turns
from kcl_worker.kcl.shards import ShardBoard
from kcl_worker.kcl.wire import WINDOW, Kind
from kcl_worker.leased_shard import LeasedShard
from kcl_worker.operating.metrics import Metrics
from kcl_worker.pipeline import Pipeline
from kcl_worker.record import Outcome, Place, Record, Turn
from kcl_worker.settings import Settings
from kcl_worker.storing.caller import Caller
from kcl_worker.storing.event_sink import EventSink
from kcl_worker.storing.sinks import FrameStore, MessageQueue, StateStore
from kcl_worker.vision.compute import SPARE_THREADS, Compute
from kcl_worker.vision.detections import Detections, Image
from kcl_worker.vision.detector import Detector
from local.resources import Resources
from local.waiting import PATIENCE_SECONDS
from tests import pictures

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHARD = "shardId-000000000000"


class Oracle(Detector):
    """Finds one cat in the upper left quarter of every image, and counts how many images it had at once."""

    name, class_names, parallelism = "oracle", ("cat",), 2

    def __init__(self) -> None:
        self.busy = self.most = 0
        self.gate = threading.Event()
        self.gate.set()

    def detect(
        self, image: Image, confidence_threshold: float | None = None, max_detections: int | None = None
    ) -> Detections:
        self.busy += 1
        self.most = max(self.most, self.busy)
        self.gate.wait()
        self.busy -= 1
        return self._cat(*image.shape[:2])

    @staticmethod
    def _cat(height: int, width: int) -> Detections:
        box = np.array([[0, 0, width / 2, height / 2]], np.float32)
        return Detections(box, np.array([0.75], np.float32), np.array([0], np.int32))


def settings_for(resources: Resources, **changes: Any) -> Settings:
    values = {
        "kinesis_stream_name": resources.stream,
        "s3_bucket_name": resources.bucket,
        "sqs_queue_url": resources.queue_url,
        "quarantine_queue_url": resources.quarantine_url,
    }
    return Settings(**values | changes)


@asynccontextmanager
async def running(
    resources: Resources,
    sqs: Any = None,
    settings_of: Callable[[str], SourceSettings] = lambda source: DEFAULT,
    memory: Budget | None = None,
    detector: Oracle | None = None,
    states: StateStore | None = None,
    held: HeldMemory | None = None,
    anything_hidden: Callable[[], bool] = lambda: False,
    **changes: Any,
) -> AsyncIterator[tuple[LeasedShard, Oracle, Metrics]]:
    """A pipeline with everything that has to run for it."""
    settings, caller, oracle = settings_for(resources, **changes), Caller(), detector or Oracle()
    metrics = Metrics(settings.kinesis_stream_name, "app", ShardBoard(), StringIO())
    sqs = sqs or resources.client("sqs")
    results = MessageQueue(sqs, settings.sqs_queue_url, caller)
    quarantined = MessageQueue(sqs, settings.quarantine_queue_url, caller)
    events = MessageQueue(sqs, resources.events_url, caller)
    frames = FrameStore(resources.client("s3"), settings.s3_bucket_name, caller)
    pipeline = Pipeline(
        settings,
        Compute(oracle, settings.jpeg_quality, settings.confidence_threshold),
        frames,
        results,
        quarantined,
        metrics,
        settings_of,
        states,
        memory,
        events=EventSink(frames, events, None),
        held=held,
        anything_hidden=anything_hidden,
    )
    services = [asyncio.create_task(queue.run()) for queue in (results, quarantined, events)]
    try:
        yield pipeline.begin(SHARD), oracle, metrics
    finally:
        for service in services:
            service.cancel()
        outcomes = await asyncio.gather(*services, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome


def record(data: bytes, number: int = 1, turns: Turns | None = None) -> Record:
    position = Position(SHARD, str(number), "cam_1", NOW)
    return Record(data, position, (turns or Turns()).next())


def frame(number: int) -> bytes:
    return embed(pictures.street_jpeg(), Metadata("cam", "s", number, NOW))


def messages(resources: Resources, url: str) -> list[str]:
    sqs, bodies = resources.client("sqs"), []
    while received := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        bodies += [message["Body"] for message in received]
        for message in received:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return bodies


def stored(resources: Resources, key: str) -> bytes:
    body: bytes = resources.client("s3").get_object(Bucket=resources.bucket, Key=key)["Body"].read()
    return body


async def test_a_frame_is_stored_then_announced(resources: Resources) -> None:
    async with running(resources) as (pipeline, _, metrics):
        assert await pipeline.process(record(frame(17))) is Outcome.DURABLE
    [body] = messages(resources, resources.queue_url)
    result = ResultMessage.model_validate_json(body)
    assert (result.frame_id, result.frame_index) == ("cam/s/000000017", 17)
    assert json.loads(body)["summary"] == [{"class": "cat", "conf": 0.75, "bbox": [0.0, 0.0, 0.5, 0.5]}]
    assert result.timestamp == result.processed_at
    assert (result.image_width, result.image_height) == (320, 180)
    assert stored(resources, str(result.key)).startswith(b"\xff\xd8")
    assert (metrics.frames, metrics.detections, metrics.quarantined) == (1, 1, 0)


async def test_a_stored_frame_says_when_it_was_captured(resources: Resources) -> None:
    """Its key does not; films keep time by it."""
    async with running(resources) as (pipeline, _, _):
        await pipeline.process(record(frame(17)))
    [body] = messages(resources, resources.queue_url)
    told = json.loads(body)
    found = resources.client("s3").head_object(Bucket=resources.bucket, Key=told["key"])
    assert found["Metadata"][CAPTURED_AT] == told["captured_at"]


async def test_a_replay_writes_the_same_object_and_the_same_frame_id(resources: Resources) -> None:
    async with running(resources) as (pipeline, _, _):
        await pipeline.process(record(frame(1)))
        key = "frames/cam/2026-01-01/00/s-000000001.jpg"
        first = stored(resources, key)
        await pipeline.process(record(frame(1), number=2))
    assert stored(resources, key) == first
    ids = {ResultMessage.model_validate_json(body).frame_id for body in messages(resources, resources.queue_url)}
    assert ids == {"cam/s/000000001"}


async def test_a_frame_that_has_aged_since_it_was_processed_is_not_skipped(resources: Resources) -> None:
    """As after a kill: frames behind the last checkpoint come again."""
    bad = embed(pictures.street_jpeg().replace(b"\xff\xdb", b"\xff\xec"), Metadata("cam", "s", 2, NOW))
    async with running(resources) as (shard, _, _):
        await shard.process(record(frame(1)))
        await shard.process(record(bad, number=2))
    messages(resources, resources.queue_url), messages(resources, resources.quarantine_url)
    async with running(resources, lag_policy="skip-stale", max_frame_age_seconds=60) as (shard, _, metrics):
        turns = Turns()
        again = [record(data, number, turns) for number, data in enumerate((frame(1), bad, frame(3)), 1)]
        outcomes = [await shard.process(one) for one in again]
    assert outcomes == [Outcome.DURABLE, Outcome.QUARANTINED, Outcome.DURABLE]
    said = [json.loads(body) for body in messages(resources, resources.queue_url)]
    assert [(one["frame_index"], one.get("kind")) for one in said] == [(1, None), (3, "skipped")]
    [notice] = messages(resources, resources.quarantine_url)
    assert json.loads(notice)["frame_id"] == "cam/s/000000002"
    assert (metrics.frames, metrics.quarantined, metrics.skipped) == (1, 1, 1)


async def test_a_plain_jpeg_is_known_by_its_position(resources: Resources) -> None:
    async with running(resources) as (pipeline, _, _):
        assert await pipeline.process(record(pictures.street_jpeg(), number=42)) is Outcome.DURABLE
    [body] = messages(resources, resources.queue_url)
    result = ResultMessage.model_validate_json(body)
    assert result.frame_id == "cam_1/shardId-000000000000/42"
    assert (result.frame_index, result.captured_at) == (None, "2026-01-01T00:00:00.000000Z")


GOOD = {
    "grey": pictures.grey,
    "cmyk": pictures.cmyk,
    "progressive": pictures.progressive,
    "rotated": pictures.rotated,
    "a megabyte": pictures.big,
}
BAD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty": ("empty", lambda: b""),
    "text": ("not_jpeg", lambda: b"hello"),
    "png": ("not_jpeg", pictures.png),
    "truncated": ("truncated", lambda: pictures.street_jpeg()[:3000]),
    "huge": ("too_many_pixels", lambda: pictures.resized_header(pictures.street_jpeg(), 65535, 65535)),
    "no tables": ("undecodable", lambda: pictures.street_jpeg().replace(b"\xff\xdb", b"\xff\xec")),
    "metadata not json": ("bad_metadata", lambda: pictures.with_comment(pictures.street_jpeg(), b'{"v":1,"source":x')),
    "metadata not utf-8": (
        "bad_metadata",
        lambda: pictures.with_comment(pictures.street_jpeg(), b'{"v":1,"source":"\xff"}'),
    ),
    "metadata 64 KB": (
        "bad_metadata",
        lambda: pictures.with_comment(pictures.street_jpeg(), b'{"v":1,"source":' + b"{" * 65_000),
    ),
    "metadata escapes": (
        "bad_metadata",
        lambda: pictures.with_comment(
            pictures.street_jpeg(),
            b'{"v":1,"source":"../../x","session":"s","index":0,"captured_at":"2026-01-01T00:00:00.000000Z"}',
        ),
    ),
}


@pytest.mark.parametrize("kind", GOOD)
async def test_unusual_frames_are_processed(resources: Resources, kind: str) -> None:
    async with running(resources) as (pipeline, _, _):
        assert await pipeline.process(record(GOOD[kind]())) is Outcome.DURABLE


@pytest.mark.parametrize("kind", BAD)
async def test_bad_records_are_quarantined_with_reason_and_bytes(resources: Resources, kind: str) -> None:
    reason, make = BAD[kind]
    async with running(resources) as (pipeline, _, metrics):
        assert await pipeline.process(record(make())) is Outcome.QUARANTINED
        assert await pipeline.process(record(frame(1), number=2)) is Outcome.DURABLE
    [body] = messages(resources, resources.quarantine_url)
    notice = QuarantineMessage.model_validate_json(body)
    assert notice.reason == reason
    assert notice.key.startswith("quarantine/cam_1/")
    assert stored(resources, notice.key) == make()
    assert metrics.quarantined == 1


async def test_a_frame_that_cannot_fit_is_too_large_and_others_pass(resources: Resources) -> None:
    memory = Budget(16 * 2**20)
    async with running(resources, memory=memory) as (pipeline, _, _):
        heavy = record(pictures.heavy(1600, 1200))
        assert await pipeline.process(heavy) is Outcome.QUARANTINED
        assert await pipeline.process(record(frame(1), number=2)) is Outcome.DURABLE
    [body] = messages(resources, resources.quarantine_url)
    notice = QuarantineMessage.model_validate_json(body)
    assert notice.reason == "too_large"
    assert notice.detail == "1600x1200 pixels, decoded in 23 MiB: this task has 16 MiB for frames"
    assert stored(resources, notice.key) == heavy.data
    assert memory.used == 0


async def test_heavy_frames_of_any_number_of_shards_are_decoded_one_after_another(resources: Resources) -> None:
    memory = Budget(30 * 2**20)  # for one of them and a light one
    async with running(resources, memory=memory) as (pipeline, oracle, _):
        oracle.gate.clear()
        shards = [Turns() for _ in range(6)]
        heavy = [record(pictures.heavy(1600, 1200), n, turns) for n, turns in enumerate(shards)]
        work = [asyncio.create_task(pipeline.process(one)) for one in heavy]
        while not oracle.busy:
            await asyncio.sleep(0.01)
        assert (memory.waiting, oracle.busy) == (5, 1)
        oracle.gate.set()
        assert set(await asyncio.gather(*work)) == {Outcome.DURABLE}
        assert (oracle.most, memory.used) == (1, 0)


async def test_announcements_keep_the_order_of_the_shard(resources: Resources) -> None:
    turns = Turns()
    async with running(resources) as (pipeline, _, _):
        # Large frames first, because they take longest.
        work = [record(pictures.street_jpeg(1280, 720) if n < 3 else pictures.grey(), n, turns) for n in range(12)]
        await asyncio.gather(*(pipeline.process(one) for one in work))
    numbers = [json.loads(body)["sequence_number"] for body in messages(resources, resources.queue_url)]
    assert numbers == [str(n) for n in range(12)]


class FlakySqs:
    """An SQS that first refuses entries in every way, then takes them."""

    def __init__(self, sqs: Any, failures: int) -> None:
        self._sqs, self.failures, self.calls = sqs, failures, 0

    def get_queue_attributes(self, **names: Any) -> Any:
        return self._sqs.get_queue_attributes(**names)

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> Any:  # noqa: N803
        self.calls += 1
        if self.calls > self.failures:
            return self._sqs.send_message_batch(QueueUrl=QueueUrl, Entries=Entries)
        if self.calls % 2:
            raise ClientError({"Error": {"Code": "ServiceUnavailable"}}, "SendMessageBatch")
        first, *rest = Entries
        if rest:
            self._sqs.send_message_batch(QueueUrl=QueueUrl, Entries=rest)
        return {"Failed": [{"Id": first["Id"], "SenderFault": False, "Code": "InternalError"}]}


async def test_what_sqs_refuses_is_sent_again_and_nothing_twice(resources: Resources) -> None:
    flaky = FlakySqs(resources.client("sqs"), failures=4)
    async with running(resources, flaky) as (pipeline, _, _):
        outcomes = await asyncio.gather(*(pipeline.process(record(frame(n), n)) for n in range(25)))
    assert set(outcomes) == {Outcome.DURABLE}
    ids = [json.loads(body)["frame_index"] for body in messages(resources, resources.queue_url)]
    assert sorted(ids) == list(range(25))
    assert flaky.calls > 4


async def test_a_message_that_sqs_calls_malformed_ends_the_worker() -> None:
    class Refusing:
        def get_queue_attributes(self, **_: Any) -> Any:
            return {"Attributes": {}}

        def send_message_batch(self, **_: Any) -> Any:
            return {"Failed": [{"Id": "0", "SenderFault": True, "Code": "InvalidMessageContents"}]}

    queue = MessageQueue(Refusing(), "https://queue", Caller())
    queue.enqueue("body")
    with pytest.raises(ServiceError, match="InvalidMessageContents"):
        await queue.run()


def allow_messages(resources: Resources, size: int) -> None:
    """Sets the queue's limit."""
    resources.client("sqs").set_queue_attributes(
        QueueUrl=resources.queue_url, Attributes={"MaximumMessageSize": str(size)}
    )


class Crowd(Oracle):
    """Finds a thousand cats with a long name."""

    class_names = ("\u00fc" * 128,)

    @staticmethod
    def _cat(height: int, width: int) -> Detections:
        box = np.array([[0, 0, width / 3, height / 3]], np.float32).repeat(1000, axis=0)
        return Detections(box, np.full(1000, 0.75, np.float32), np.zeros(1000, np.int32))


async def test_a_message_over_the_queues_limit_is_stored_whole_and_sent_short(resources: Resources) -> None:
    allow_messages(resources, 256 * 1024)
    zone = SourceSettings.parse('{"zones": [{"name": "door", "polygon": [[0, 0], [1, 0], [1, 1], [0, 1]]}]}')
    async with running(resources, settings_of=lambda _: zone, detector=Crowd()) as (pipeline, _, metrics):
        assert await pipeline.process(record(frame(1))) is Outcome.DURABLE
        assert await pipeline.process(record(pictures.png(), number=2)) is Outcome.QUARANTINED
        assert await pipeline.process(record(frame(3), number=3)) is Outcome.DURABLE
    first, _ = messages(resources, resources.queue_url)
    short = ResultMessage.model_validate_json(first)
    assert (short.detections_count, short.summary) == (1000, ())
    assert [(zone.count, zone.classes) for zone in short.zones or ()] == [(1000, {})]
    assert short.whole_key == "frames/cam/2026-01-01/00/s-000000001.json"
    text = stored(resources, short.whole_key)
    assert len(text) > 256 * 1024
    whole = ResultMessage.model_validate_json(text)
    assert whole.shortened(str(whole.key)) == short
    assert {item.class_name for item in whole.summary} == {"\u00fc" * 128}
    assert len(whole.summary) == metrics.detections / 2 == 1000


async def test_a_queue_that_takes_a_mebibyte_gets_the_whole_message(resources: Resources) -> None:
    allow_messages(resources, 2**20)
    async with running(resources, detector=Crowd()) as (pipeline, _, _):
        outcomes = await asyncio.gather(*(pipeline.process(record(frame(n), n)) for n in range(4)))
    assert set(outcomes) == {Outcome.DURABLE}
    came = [json.loads(body) for body in messages(resources, resources.queue_url)]
    assert [len(one["summary"]) for one in came] == [1000] * 4  # each a third of what a batch may hold


async def test_batches_are_split_by_bytes(resources: Resources) -> None:
    for limit in (256 * 1024, 2**20):
        allow_messages(resources, limit)
        queue = MessageQueue(resources.client("sqs"), resources.queue_url, Caller())
        sending = asyncio.create_task(queue.run())
        bodies = [chr(0x4E00 + n) * (limit // 3 // (1 + n % 3)) for n in range(12)]  # three bytes each
        assert all([await queue.fits(body) for body in bodies])
        await asyncio.gather(*map(queue.enqueue, bodies))
        sending.cancel()
        assert sorted(messages(resources, resources.queue_url)) == sorted(bodies)


@pytest.mark.parametrize(
    ("ending", "attributes", "reason"),
    [
        ("q.fifo", {"FifoQueue": "true"}, "a FIFO queue; a standard queue is needed"),
        ("q", {"MaximumMessageSize": "1024"}, "its MaximumMessageSize is 1024; at least 16384 are needed"),
    ],
)
async def test_a_queue_that_cannot_be_used_is_refused(
    resources: Resources, ending: str, attributes: dict[str, str], reason: str
) -> None:
    sqs = resources.client("sqs")
    url = sqs.create_queue(QueueName=f"{resources.stream}-{ending}", Attributes=attributes)["QueueUrl"]
    with pytest.raises(SettingsError, match=reason):
        await MessageQueue(sqs, url, Caller()).run()


async def test_a_role_that_may_not_look_at_the_queue_sends_below_the_default_limit(resources: Resources) -> None:
    class Closed(FlakySqs):
        def get_queue_attributes(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetQueueAttributes")

    async with running(resources, Closed(resources.client("sqs"), 0), detector=Crowd()) as (pipeline, _, _):
        assert await pipeline.process(record(frame(1))) is Outcome.DURABLE
    [body] = messages(resources, resources.queue_url)
    assert json.loads(body)["summary"] == []


async def test_a_missing_bucket_ends_the_worker(resources: Resources) -> None:
    async with running(resources, s3_bucket_name="there-is-no-such-bucket") as (pipeline, _, _):
        with pytest.raises(ServiceError, match="NoSuchBucket"):
            await pipeline.process(record(frame(1)))


async def test_few_more_frames_are_computed_at_once_than_the_detector_can() -> None:
    oracle = Oracle()
    compute = Compute(oracle, 85, 0.5)
    oracle.gate.clear()
    waiting = [asyncio.create_task(compute.picture(Frame.parse(frame(number)))) for number in range(8)]
    limit = oracle.parallelism + SPARE_THREADS
    while oracle.busy < limit:
        await asyncio.sleep(0.01)
    oracle.gate.set()
    pictures_made = await asyncio.gather(*waiting)
    assert oracle.most == limit
    assert all((picture.width, picture.height, len(picture.detections)) == (320, 180, 1) for picture in pictures_made)


async def test_a_failing_detector_fails_the_frame(resources: Resources) -> None:
    async with running(resources) as (pipeline, oracle, _):
        oracle.detect = lambda *_: 1 / 0  # type: ignore[assignment, method-assign]
        with pytest.raises(ZeroDivisionError):
            await pipeline.process(record(frame(1)))


class Work:
    """The work on a shard's records in a test."""

    def __init__(self, process: Callable[[Record], Awaitable[Outcome]]) -> None:
        self._process = process

    async def process(self, record: Record) -> Outcome:
        return await self._process(record)

    def is_due(self, now: float) -> bool:
        return False

    async def rest(self, turn: Callable[[], Turn], now: float) -> None: ...

    def close(self) -> None: ...

    async def finish(self) -> None: ...

    async def save(self) -> Place | None:
        """Says what the tests look for."""
        return "17", 3


class Shard:
    """A record processor's side of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *numbers: int) -> None:
        self.writer.write(wire.message(Kind.BATCH, {"records": len(numbers), "millis_behind_latest": 9}))
        for place, number in enumerate(numbers):
            header = {"number": place, "sequence_number": str(number), "sub_sequence_number": 0}
            header |= {"partition_key": "k", "arrived_at_ms": 0}
            here, there = socket.socketpair()
            with here, there:
                wire.send_record(here, header, b"data")
                self.writer.write(there.recv(65536))

    async def outcome(self) -> tuple[int, Outcome]:
        data = await asyncio.wait_for(self.reader.readexactly(10), PATIENCE_SECONDS)
        return int.from_bytes(data[5:9], "big"), Outcome(data[9])


@asynccontextmanager
async def gateway_with(
    process: Callable[[Record], Awaitable[Outcome]], folder: Path, memory: Budget | None = None
) -> AsyncIterator[tuple[Gateway, ShardBoard, Shard, asyncio.Task[None]]]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "g"))
    listener.listen()
    board = ShardBoard()
    gateway = Gateway(listener, lambda shard_id: Work(process), board, memory)
    service = asyncio.create_task(gateway.serve())
    reader, writer = await asyncio.open_unix_connection(folder / "g")
    writer.write(wire.message(Kind.HELLO, {"shard_id": "shardId-7", "sequence_number": None}))
    try:
        yield gateway, board, Shard(reader, writer), service
    finally:
        writer.close()
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)


async def test_a_shard_has_at_most_a_window_in_flight_and_drains(tmp_path: Path) -> None:
    in_flight, most = 0, 0
    release = asyncio.Event()

    async def process(one: Record) -> Outcome:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await release.wait()
        in_flight -= 1
        return Outcome.DURABLE

    async with gateway_with(process, tmp_path) as (gateway, board, shard, _):
        shard.send(*range(WINDOW + 4))
        while in_flight < WINDOW:
            await asyncio.sleep(0.01)
        [held] = board.held()
        assert (held.shard_id, held.pending, held.millis_behind_latest) == ("shardId-7", WINDOW + 4, 9)
        # They arrived in 1970.
        assert (len(held.at_work), (held.lag(board.clock()) or 0) > 50 * 365 * 86_400_000) == (WINDOW, True)
        gateway.drain()
        release.set()
        outcomes = dict([await shard.outcome() for _ in range(WINDOW + 4)])
        # Records in flight are finished, later ones are refused.
        assert [outcomes[n] for n in range(WINDOW)] == [Outcome.DURABLE] * WINDOW
        assert [outcomes[n] for n in range(WINDOW, WINDOW + 4)] == [Outcome.REFUSED] * 4
        assert most == WINDOW
        shard.writer.close()
        await asyncio.wait_for(gateway.deserted(), PATIENCE_SECONDS)
        assert board.held() == []


async def test_the_place_of_a_checkpoint_is_said_while_records_are_at_work(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def process(one: Record) -> Outcome:
        await release.wait()
        return Outcome.DURABLE

    async with gateway_with(process, tmp_path) as (_, _, shard, _):
        shard.send(*range(WINDOW))
        shard.writer.write(wire.message(Kind.SAVING, {}))
        answer = wire.ready(("17", 3))
        assert await asyncio.wait_for(shard.reader.readexactly(len(answer)), PATIENCE_SECONDS) == answer
        release.set()
        assert {(await shard.outcome())[1] for _ in range(WINDOW)} == {Outcome.DURABLE}


async def test_a_checkpoint_stands_before_what_is_at_work(resources: Resources) -> None:
    turns = Turns()
    async with running(resources) as (shard, oracle, _):
        assert await shard.save() is None
        await shard.process(record(frame(1), 1, turns))
        oracle.gate.clear()
        work = [asyncio.create_task(shard.process(record(frame(n), n, turns))) for n in (2, 3)]
        while not oracle.busy:
            await asyncio.sleep(0.01)
        assert await shard.save() == ("1", 0)
        oracle.gate.set()
        await asyncio.gather(*work)
        assert await shard.save() == ("3", 0)


async def test_a_peer_whose_process_is_not_known_is_not_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def process(one: Record) -> Outcome:
        return Outcome.DURABLE

    killed: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: killed.append(arguments))
    async with gateway_with(process, tmp_path) as (gateway, _, shard, _):
        shard.send(1)
        await shard.outcome()
        gateway.kill_processors()
    assert killed == [(os.getpid(), signal.SIGKILL)]  # in this test, the peer is we
    killed.clear()
    monkeypatch.delattr(socket, "SO_PEERCRED")
    (tmp_path / "g").unlink(missing_ok=True)  # Python 3.13 has removed it already
    async with gateway_with(process, tmp_path) as (gateway, _, shard, _):
        shard.send(1)
        await shard.outcome()
        gateway.kill_processors()
    assert killed == []  # above all not -1, which is everybody


async def test_an_error_of_the_pipeline_ends_the_gateway(tmp_path: Path) -> None:
    async def process(one: Record) -> Outcome:
        raise ServiceError("the bucket is gone")

    async with gateway_with(process, tmp_path) as (_, _, shard, service):
        shard.send(1)
        with pytest.raises(ServiceError, match="gone"):
            await asyncio.wait_for(service, PATIENCE_SECONDS)


# As `Shard.send` makes them: the length of a header, the header, four bytes.
RECORD_BYTES = 4 + 96 + 4


async def test_records_of_all_shards_share_the_gateways_memory(tmp_path: Path) -> None:
    release, taken = asyncio.Event(), list[int]()

    async def process(one: Record) -> Outcome:
        taken.append(len(one.data))
        await release.wait()
        return Outcome.DURABLE

    memory = Budget(3 * RECORD_BYTES)
    async with gateway_with(process, tmp_path, memory) as (_, board, shard, _):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "g")
        writer.write(HELLO)
        other = Shard(reader, writer)
        for one in (shard, other):
            one.send(*range(WINDOW))
        while not memory.waiting:
            await asyncio.sleep(0.01)
        assert (len(taken), memory.used) == (3, memory.capacity)
        # Who leaves does not keep what it has.
        writer.close()
        release.set()
        outcomes = dict([await shard.outcome() for _ in range(WINDOW)])
        assert list(outcomes.values()) == [Outcome.DURABLE] * WINDOW
        shard.writer.close()
        while board.held():
            await asyncio.sleep(0.01)
        assert (memory.used, memory.waiting) == (0, 0)


HELLO = wire.message(Kind.HELLO, {"shard_id": "shardId-8", "sequence_number": None})


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\xff" * 100,
        wire.message(Kind.BATCH, {}),
        wire.message(Kind.HELLO, {"shard_id": 7}),
        HELLO + b"\x03\x00\x00\xff\xffcut",
        HELLO + wire.message(Kind.BATCH, {"records": "many"}),
        HELLO + wire.message(Kind.BATCH, {"records": -1, "millis_behind_latest": 0}),
        HELLO + wire.message(Kind.SAVED, {}),
        HELLO + wire.message(Kind.RECORD, {}),
        HELLO + bytes([Kind.RECORD]) + (6).to_bytes(4, "big") + (2).to_bytes(4, "big") + b"{}",
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_dropped_alone(tmp_path: Path, nonsense: bytes) -> None:
    async def process(one: Record) -> Outcome:
        return Outcome.DURABLE

    async with gateway_with(process, tmp_path) as (_, _, shard, _):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "g")
        writer.write(nonsense)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
        writer.close()
        shard.send(1)
        assert await shard.outcome() == (0, Outcome.DURABLE)


async def test_what_is_remembered_of_a_source_is_found_again(resources: Resources) -> None:
    store = StateStore(resources.client("s3"), resources.bucket, "app", Caller())
    assert await store.get("door") is None
    await store.put("door", "first")
    await store.put("door", "second")
    assert await store.get("door") == "second"
    assert await store.get("yard") is None
    [stored] = resources.client("s3").list_objects_v2(Bucket=resources.bucket)["Contents"]
    assert stored["Key"] == "state/app/door.json"
    with pytest.raises(ServiceError, match="NoSuchBucket"):
        await StateStore(resources.client("s3"), "there-is-no-such-bucket", "app", Caller()).get("door")


async def test_a_source_gets_what_it_asks_for(resources: Resources) -> None:
    corner = {"name": "corner", "polygon": [[0, 0], [0.5, 0], [0.5, 0.6], [0, 0.6]]}
    across = {"name": "across", "start": [0, 0.9], "end": [1, 0.9]}
    wanted = SourceSettings.model_validate({"zones": [corner], "lines": [across]})
    turns = Turns()
    async with running(resources, settings_of=lambda source: wanted) as (pipeline, _, _):
        for number in range(3):
            one = record(frame(number), number, turns)
            await pipeline.process(Record(one.data, one.position, one.turn, lag_ms=7))
    results = sorted(
        (ResultMessage.model_validate_json(body) for body in messages(resources, resources.queue_url)),
        key=lambda result: result.frame_index or 0,
    )
    assert [(zone.name, zone.count, zone.classes) for zone in results[0].zones or ()] == [("corner", 1, {"cat": 1})]
    assert [line.model_dump(by_alias=True) for line in results[0].lines or ()] == [
        {"name": "across", "in": 0, "out": 0, "in_total": 0, "out_total": 0}
    ]
    first, second, third = (result.summary[0].track_id for result in results)
    assert first is None
    assert second == third is not None
    assert results[0].lag_ms == 7


async def test_classes_and_threshold_of_a_source() -> None:
    compute = Compute(Oracle(), 85, 0.5)
    for text, number in (
        ("{}", 1),
        ('{"confidence_threshold": 0.8}', 0),
        ('{"classes": ["dog"]}', 0),
        ('{"classes": ["cat"], "tracking": true}', 1),
    ):
        picture = await compute.picture(Frame.parse(frame(1)), SourceSettings.parse(text))
        assert len(picture.detections) == number
