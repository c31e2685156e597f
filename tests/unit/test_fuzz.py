"""Hostile bytes at every input: each gives an answer or the one allowed error within a short time.

FUZZ_INPUTS (10 000) is the number of inputs; `make fuzz` takes 200 000. A failed test prints the seed.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg

from contract import Frame, FrameError, Position, identify
from contract.jpeg import MAX_SCANS, MAX_SEGMENTS
from contract.message import QuarantineMessage, ResultMessage, SkippedMessage
from kcl_worker.errors import SettingsError
from kcl_worker.kcl import wire
from kcl_worker.kcl.shards import ShardBoard
from kcl_worker.kcl.wire import Kind, WireError
from kcl_worker.operating.health import HealthServer, State
from kcl_worker.operating.metrics import Metrics
from kcl_worker.settings import Settings
from kcl_worker.vision.memory import peak_resident
from local.waiting import PATIENCE_SECONDS
from tests import pictures
from tests.unit.test_audit import RESULTS, frame, notice, skip
from tests.unit.test_worker_parts import settings

INPUTS = int(os.environ.get("FUZZ_INPUTS", "10000"))
INTERESTING = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xC0, 0xC4, 0xD8, 0xD9, 0xDA, 0xDD, 0xE1, 0xFE, 0xFF)


@pytest.fixture
def chance() -> random.Random:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    return random.Random(seed)


def mutated(chance: random.Random, corpus: list[bytes], number: int, limit: int = 4096) -> Iterator[bytes]:
    """Inputs made from good ones: changed, cut, repeated and spliced bytes, and wild sizes."""
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


def rearranged(chance: random.Random, corpus: list[bytes], number: int) -> Iterator[bytes]:
    """JPEGs whose segments are doubled, left out, put elsewhere, hidden in others, with anything between them."""
    parts = [part for jpeg in corpus for part in segments(jpeg)[1:-1]]
    frames = [part for part in parts if part[1] in (0xC0, 0xC2)]
    sizes = [size.to_bytes(2, "big") for size in (0, 1, 16, 64, 4000, 9000, 65500)]
    for _ in range(number):
        *head, scan = segments(chance.choice(corpus))
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(1, len(head) + 1)
            other = chance.choice(chance.choice((parts, frames)))
            if other in frames:
                other = other[:5] + chance.choice(sizes) + chance.choice(sizes) + other[9:]
            match chance.randrange(6):
                case 0:
                    head[place:place] = [other]
                case 1:
                    del head[place : place + 1]
                case 2:
                    head[place:place] = [chance.choice((b"\xff", b"\x00", chance.randbytes(chance.randint(1, 8))))]
                case 3:
                    head[place:place] = [bytes((0xFF, chance.choice((*INTERESTING, chance.randrange(256)))))]
                case 4:
                    # A segment, or what is none, whose length covers another.
                    marker = chance.choice((*INTERESTING, chance.randrange(256)))
                    head[place:place] = [bytes((0xFF, marker)) + (len(other) + 2).to_bytes(2, "big") + other]
                case _:
                    # The same, and another behind it that a reader meets who has skipped the marker alone.
                    over = b"\xff\xe4" + (len(other) + 2).to_bytes(2, "big")
                    marker = chance.choice((*INTERESTING, chance.randrange(256)))
                    cover = bytes((0xFF, marker)) + (len(other) + 2 + len(over)).to_bytes(2, "big")
                    head[place:place] = [cover + other + over, chance.choice(parts)]
        yield b"".join((*head, scan))


def segments(jpeg: bytes) -> list[bytes]:
    """A good JPEG in parts: SOI, each segment of its header, and all from the first scan on."""
    parts, position = [jpeg[:2]], 2
    while jpeg[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
        parts.append(jpeg[position:end])
        position = end
    return [*parts, jpeg[position:]]


@pytest.mark.parametrize("make", [mutated, rearranged])
def test_the_decoder_sees_the_size_that_the_parser_sees(
    chance: random.Random, make: Callable[[random.Random, list[bytes], int], Iterator[bytes]]
) -> None:
    corpus = [pictures.street_jpeg(64, 64), pictures.progressive(), pictures.cmyk(), pictures.grey()]
    both, apart = 0, list[tuple[int, ...]]()
    for data in make(chance, corpus, INPUTS):
        try:
            parsed = Frame.parse(data)
            height, width, *_ = simplejpeg.decode_jpeg_header(data, strict=False)
        except (ValueError, KeyError):  # the decoder's; FrameError is one
            continue
        both += 1
        if (parsed.width, parsed.height) != (width, height):
            apart.append((parsed.width, parsed.height, width, height))
    assert both > INPUTS // 100
    assert not apart, f"{len(apart)} of {both}: {apart[:3]}"


def test_what_opencv_decodes_has_the_size_that_the_parser_sees(chance: random.Random) -> None:
    # Turned by an orientation, so that OpenCV is asked; small, for these are decoded.
    corpus = [pictures.rotated(), pictures.rotated().replace(b"Exif", b"Fixe"), pictures.cmyk()]
    decoded = 0
    for inputs in (mutated(chance, corpus, INPUTS // 20, 2**16), rearranged(chance, corpus, INPUTS // 20)):
        for data in inputs:
            try:
                parsed = Frame.parse(data, max_pixels=2**20)
            except FrameError:
                continue
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            if image is not None:
                decoded += 1
                assert sorted(image.shape[:2]) == sorted((parsed.width, parsed.height))
    assert decoded


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
        # Whatever a record claims, its outcome stays below its prefix.
        for key, prefix in ((identity.key, "frames/"), (identity.quarantine_key, "quarantine/")):
            assert key.startswith(prefix)
            assert not {"..", ".", ""} & set(key.split("/"))
            assert key.isascii()
    assert good  # some inputs are still frames, otherwise nothing behind the parser was tested


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
        except ValueError:  # pydantic's error
            continue
        # A consumer makes paths from keys.
        assert ".." not in getattr(message, "key", "").split("/")


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


async def test_the_local_sockets_protocol(chance: random.Random) -> None:
    class Connection:
        """Collects what is sent."""

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
async def test_requests_to_health_and_status(chance: random.Random) -> None:
    board = ShardBoard()
    state = State("yolov8n", daemon_alive=lambda: True)
    server = HealthServer(settings(), state, board, Metrics("s", "app", board, io.StringIO()))
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
    inputs = mutated(chance, corpus, INPUTS // 3, limit=512)  # each is a connection
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
            answer = await asyncio.wait_for(ask(data), PATIENCE_SECONDS)
            if answer.startswith(b"HTTP/1.1 "):
                statuses.add(answer[9:12])

    for data in corpus:
        await asyncio.wait_for(ask(data), PATIENCE_SECONDS)
    before = peak_resident()
    await asyncio.gather(*(attack() for _ in range(8)))
    assert {b"200", b"400", b"404", b"405"} <= statuses
    assert statuses <= {b"200", b"400", b"404", b"405", b"431", b"501"}  # 501: an unknown Transfer-Encoding
    assert peak_resident() - before < 64 * 2**20
    assert json.loads((await ask(health)).rpartition(b"\r\n\r\n")[2]) == {"status": "ok"}
    service.cancel()
    with suppress(asyncio.CancelledError):
        await service
