"""Hostile bytes at every place where bytes come in: an answer or the one allowed error, soon, whatever comes.

FUZZ_INPUTS (20 000) is how many; `make fuzz` takes 200 000. The seed is printed when a test fails.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import resource
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from contract import Frame, FrameError, Position, identify
from contract.frame import MAX_SCANS, MAX_SEGMENTS
from contract.message import QuarantineMessage, ResultMessage, SkippedMessage
from kcl_worker import wire
from kcl_worker.errors import SettingsError
from kcl_worker.health import HealthServer, State
from kcl_worker.metrics import Metrics
from kcl_worker.settings import Settings
from kcl_worker.shards import ShardBoard
from kcl_worker.wire import Kind, WireError
from tests import pictures
from tests.unit.test_audit import RESULTS, frame, notice, skip
from tests.unit.test_worker_parts import settings

INPUTS = int(os.environ.get("FUZZ_INPUTS", "20000"))
INTERESTING = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xC0, 0xC4, 0xD8, 0xD9, 0xDA, 0xDD, 0xE1, 0xFE, 0xFF)


@pytest.fixture
def chance() -> random.Random:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    return random.Random(seed)


def mutated(chance: random.Random, corpus: list[bytes], number: int, limit: int = 4096) -> Iterator[bytes]:
    """Inputs made of good ones: bytes changed, cut, repeated, spliced, and sizes gone wild."""
    for _ in range(number):
        data = bytearray(chance.choice(corpus)[:limit])
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(data) + 1)
            match chance.randrange(7):
                case 0 if data:
                    data[place % len(data)] = chance.choice(INTERESTING)
                case 1 if data:
                    data[place % len(data)] ^= 1 << chance.randrange(8)
                case 2:
                    del data[place : place + chance.randint(1, 64)]
                case 3:
                    data[place:place] = chance.randbytes(chance.randint(1, 16))
                case 4:
                    data[place:place] = data[: chance.randint(1, 256)]
                case 5:
                    other = chance.choice(corpus)
                    data[place:] = other[min(place, len(other)) : limit]
                case _:
                    data[place : place + 4] = struct.pack(">I", chance.choice((0, 1, 2**16, 2**31 - 1, 2**32 - 1)))
        yield bytes(data)


@pytest.mark.timeout(600)
def test_records(chance: random.Random) -> None:
    corpus = [
        pictures.street_jpeg(64, 64), pictures.progressive(), pictures.rotated(), pictures.cmyk(), pictures.png(),
        pictures.with_metadata("door", "s1", 7), pictures.with_comment(pictures.street_jpeg(64, 64), b"{" * 900),
    ]  # fmt: skip
    position = Position("shardId-000000000000", "42", "../../etc/passwd", pictures.NOON)
    good = 0
    for data in mutated(chance, corpus, INPUTS):
        try:
            parsed = Frame.parse(data)
        except FrameError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 1000
            continue
        good += 1
        identity = identify(parsed.metadata, position)
        # Whatever a record says, its outcome stays below its prefix.
        for key, prefix in ((identity.key, "frames/"), (identity.quarantine_key, "quarantine/")):
            assert key.startswith(prefix)
            assert not {"..", ".", ""} & set(key.split("/"))
            assert key.isascii()
    assert good  # some of them are still frames, or nothing behind the parser was tried


def test_bombs_are_refused_before_they_cost_anything() -> None:
    jpeg = pictures.street_jpeg(64, 64)
    start = jpeg.index(b"\xff\xda")
    scan = jpeg[start:-2]
    for data, text in (
        (pictures.resized_header(jpeg, 65535, 65535), "too_many_pixels: 65535x65535"),
        (jpeg[:2] + b"\xff\xfe\x00\x04ab" * 170_000 + jpeg[2:], f"more than {MAX_SEGMENTS} segments"),
        (jpeg[:2] + (b"\xff\xfe\xff\xff" + b"x" * 65533) * 15, "truncated"),
        (jpeg[:2] + b"\xff" * 2**20, "truncated"),
        (jpeg[:-2] + scan * MAX_SCANS + jpeg[-2:], f"at most {MAX_SCANS}"),
        (b"\xff\xd8\xff\xfe\x04\x02" + b"[" * 1024, "truncated"),
    ):
        with pytest.raises(FrameError, match=text):
            Frame.parse(data)


@pytest.mark.parametrize("model", [ResultMessage, QuarantineMessage, SkippedMessage])
@pytest.mark.timeout(600)
def test_messages(chance: random.Random, model: type[Any]) -> None:
    corpus = [message.to_json().encode() for message in (*RESULTS, notice(frame(1)), skip(frame(2)))] + [
        b'{"a":' * 500,
        b"[" * 5000,
        b'{"frame_id":"\\ud800"}',
        b"1e999",
        b"NaN",
    ]
    for data in mutated(chance, corpus, INPUTS // 3):
        try:
            message = model.model_validate_json(data)
        except ValueError:  # pydantic's
            continue
        # A consumer makes paths of keys.
        assert ".." not in getattr(message, "key", "").split("/")


@pytest.mark.timeout(600)
def test_settings(chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"KINESIS_STREAM_NAME": "s", "S3_BUCKET_NAME": "bucket", "SQS_QUEUE_URL": "http://x/q"}
    fields = [name.upper() for name in Settings.model_fields]
    values = [
        "",
        "0",
        "-1",
        "1e9",
        "nan",
        "inf",
        "yolov8m",
        "x" * 5000,
        "a\nb",
        "a b",
        "\u2603",
        "[]",
        "{}",
        "../..",
        "true",
    ]
    for _ in range(INPUTS // 20):
        chosen = {chance.choice(fields): chance.choice(values) for _ in range(chance.randint(1, 4))}
        with monkeypatch.context() as patch:
            for name, value in (good | chosen).items():
                patch.setenv(name, value)
            try:
                Settings.from_environment()
            except SettingsError as error:
                assert "\n" not in str(error)


@pytest.mark.timeout(600)
async def test_the_local_sockets_protocol(chance: random.Random) -> None:
    class Connection:
        """Takes what is sent."""

        data = b""

        def sendall(self, data: bytes) -> None:
            self.data += data

    header = {"number": 1, "sequence_number": "42", "sub_sequence_number": 0, "partition_key": "k", "arrived_at_ms": 1}
    record: Any = Connection()
    wire.send_record(record, header, pictures.street_jpeg(64, 64)[:200])
    corpus = [
        wire.message(Kind.HELLO, {"shard_id": "s", "sequence_number": "1"}),
        record.data,
        wire.message(Kind.BATCH, {"records": 3, "millis_behind_latest": 0}),
    ]
    for data in mutated(chance, corpus, INPUTS // 2, limit=512):
        reader = asyncio.StreamReader(limit=2**16)
        reader.feed_data(data)
        reader.feed_eof()
        try:
            while (received := await wire.read(reader)) is not None:
                kind, body = received
                if kind is Kind.RECORD:
                    wire.split_record(body)
                else:
                    wire.fields(body)
        except (WireError, asyncio.IncompleteReadError):
            continue


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_requests_to_health_and_status(chance: random.Random) -> None:
    board = ShardBoard()
    state = State("yolov8n", daemon_alive=lambda: True)
    server = HealthServer(settings(), state, board, Metrics("s", board, io.StringIO()))
    service = asyncio.create_task(server.run())
    health = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    corpus = [
        health,
        b"HEAD /status HTTP/1.0\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\nabc",
        b"GET /status?a=%00%ff HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00",
        b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nHTTP2-Settings: AAA\r\n\r\n",
    ]
    inputs = mutated(chance, corpus, INPUTS, limit=512)
    statuses: set[bytes] = set()

    async def ask(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            writer.write(data)
            writer.write_eof()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def attack() -> None:
        for data in inputs:
            answer = await asyncio.wait_for(ask(data), 60)
            if answer.startswith(b"HTTP/1.1 "):
                statuses.add(answer[9:12])

    for data in corpus:
        await asyncio.wait_for(ask(data), 60)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await asyncio.gather(*(attack() for _ in range(8)))
    assert {b"200", b"400", b"404", b"405"} <= statuses
    assert statuses <= {b"200", b"400", b"404", b"405", b"431", b"501"}  # 501: an unknown Transfer-Encoding
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
    assert json.loads((await ask(health)).rpartition(b"\r\n\r\n")[2]) == {"status": "ok"}
    service.cancel()
    with suppress(asyncio.CancelledError):
        await service
