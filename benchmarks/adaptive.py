"""What it saves to detect in fewer frames than come, and what it costs in detections: the worker's whole way of a frame
(parse, decode, detect, track, draw, encode, message), with sinks that keep nothing.

    python -m benchmarks.adaptive [--model yolov8n.onnx] [--precision int8]

A street camera's film with the model given, and drawn streets with the demo model. The measure is F1 of the boxes (of
the same class, IoU 0.5) against detection in every frame.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.engine import SHARED, WINDOW, Nowhere
from benchmarks.report import Row, show
from contract import Frame, Metadata, Position, embed
from contract.source_settings import SourceSettings
from kcl_worker.kcl.shard_order import Turns
from kcl_worker.kcl.shards import ShardBoard
from kcl_worker.operating.metrics import Metrics
from kcl_worker.pipeline import Pipeline
from kcl_worker.record import Record
from kcl_worker.settings import Settings
from kcl_worker.vision import codec
from kcl_worker.vision.compute import Compute
from kcl_worker.vision.openvino_detector import OpenVinoDetector, Precision
from local.processes import ROOT
from producer.picture import Image
from producer.street import Street

FPS: Final = 10
# As the producer makes JPEGs.
QUALITY: Final = 80
STREETS: Final = (0, 3, 7)
STREET_FRAMES: Final = 300
EVERY: Final = "detected in every frame"
PACES: Final[dict[str, dict[str, int]]] = {
    EVERY: {},
    "one in 2": {"every": 2},
    "one in 3": {"every": 3},
    "one in 4": {"every": 4},
    "one in 5": {"every": 5},
    "gate: each that moves, else one in 25": {"every": 1, "every_still": 25},
    "gate: one in 2, else one in 25": {"every": 2, "every_still": 25},
}

WARM_UP: Final = 20
TRACKED: Final = SourceSettings(tracking=True)

Boxes = list[tuple[str, tuple[float, float, float, float]]]


class Kept(Nowhere):
    """A queue that keeps its messages."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def enqueue(self, body: str) -> asyncio.Future[None]:
        self.messages.append(json.loads(body))
        return super().enqueue(body)


@dataclass(frozen=True, slots=True)
class Run:
    """A film's way through the worker.

    Attributes:
        messages: One of each frame, in their order.
        tracked: Frames that were not looked at.
        cpu_seconds: Of the process, on all cores together.
    """

    messages: list[dict[str, Any]]
    tracked: int
    cpu_seconds: float

    @property
    def boxes(self) -> list[Boxes]:
        """Class and box of what each frame shows."""
        return [[(one["class"], tuple(one["bbox"])) for one in message["summary"]] for message in self.messages]


def way(compute: Compute, settings: Settings, films: Mapping[str, list[bytes]], wanted: SourceSettings) -> Run:
    """Sends films through a pipeline, a shard each."""
    queue = Kept()
    sink: Any = Nowhere()
    results: Any = queue
    metrics = Metrics("bench", "bench", ShardBoard(), io.StringIO())
    pipeline = Pipeline(settings, compute, sink, results, sink, metrics, lambda source: wanted)

    async def shard(name: str, jpegs: list[bytes]) -> None:
        window, turns, work = asyncio.Semaphore(WINDOW), Turns(), pipeline.begin(name)

        async def one(record: Record) -> None:
            await work.process(record)
            window.release()

        async with asyncio.TaskGroup() as frames:
            for number, jpeg in enumerate(jpegs):
                await window.acquire()
                position = Position(name, str(1000 + number), name, BEGIN + timedelta(seconds=number / FPS))
                frames.create_task(one(Record(jpeg, position, turns.next())))

    async def everything() -> None:
        await asyncio.gather(*(shard(name, jpegs) for name, jpegs in films.items()))

    started = time.process_time()
    asyncio.run(everything())
    seconds = time.process_time() - started
    messages = sorted(queue.messages, key=lambda message: (message["source"], message["frame_index"]))
    return Run(messages, metrics.frames_tracked, seconds)


BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)


def film(source: str, images: Iterable[Image], quality: int = QUALITY) -> list[bytes]:
    """A camera's frames as records."""
    return [
        embed(
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes(),
            Metadata(source, "s", number, BEGIN + timedelta(seconds=number / FPS)),
        )
        for number, image in enumerate(images)
    ]


def images_of(path: Path) -> Iterator[Image]:
    """The pictures of a film."""
    video = cv2.VideoCapture(str(path))
    while True:
        read, image = video.read()
        if not read:
            return
        yield np.asarray(image, np.uint8)


def f1(found: list[Boxes], truth: list[Boxes]) -> float:
    """Of boxes of the same class with an IoU of 0.5 at least, each paired once, over all frames."""
    paired = sum(_paired(mine, theirs) for mine, theirs in zip(found, truth, strict=True))
    total = sum(map(len, found)) + sum(map(len, truth))
    return 2 * paired / total if total else 1.0


def _paired(mine: Boxes, theirs: Boxes) -> int:
    overlaps = sorted(
        (
            (overlap, one, other)
            for one, (its_class, box) in enumerate(mine)
            for other, (other_class, other_box) in enumerate(theirs)
            if its_class == other_class and (overlap := _iou(box, other_box)) >= 0.5
        ),
        reverse=True,
    )
    ones, others = set[int](), set[int]()
    for _, one, other in overlaps:
        if one not in ones and other not in others:
            ones.add(one)
            others.add(other)
    return len(ones)


def _iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    return both / (a[2] * a[3] + b[2] * b[3] - both) if both else 0.0


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="what it saves to detect in fewer frames than come")
    parser.add_argument("--model", type=Path, default=SHARED / "yolov8n.onnx", help="for the street camera's film")
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), default="fp32")
    parser.add_argument("--film", type=Path, default=SHARED / "vtest.avi")
    parser.add_argument("--frames", type=int, help="of the film; default: all")
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    for path in (args.model, args.film):
        if not path.is_file():
            parser.error(f"{path}: no such file")
    street = film("street", islice(images_of(args.film), args.frames))
    drawn = {
        f"drawn-{seed}": film(f"drawn-{seed}", islice(Street(seed).frames(FPS), STREET_FRAMES)) for seed in STREETS
    }
    compare(args.film.name, args.model, args.precision, {"street": street}, args.repetitions)
    compare("drawn streets", ROOT / "models" / "street.onnx", "fp32", drawn, args.repetitions)


def compare(title: str, model: Path, precision: Precision, films: Mapping[str, list[bytes]], repetitions: int) -> None:
    """Shows the speed of each pace with frames stored and without, and how much the boxes agree."""
    settings = Settings(
        kinesis_stream_name="bench", s3_bucket_name="bench", sqs_queue_url="http://bench", yolo_model_path=model
    )
    compute = Compute(
        OpenVinoDetector(model, precision=precision), settings.jpeg_quality, settings.confidence_threshold
    )
    frames = sum(map(len, films.values()))
    parsed = [Frame.parse(jpeg) for jpegs in films.values() for jpeg in jpegs]
    title = f"{title}, {model.stem} {precision}, {os.cpu_count()} cores"
    way(compute, settings, {name: jpegs[:WARM_UP] for name, jpegs in films.items()}, TRACKED)
    for store in ("all", "none"):
        runs: dict[str, list[Run]] = {name: [] for name in PACES}
        for _ in range(repetitions):
            for name, detect in PACES.items():
                wanted = SourceSettings.model_validate({"tracking": True, "store": store, "detect": detect})
                runs[name].append(way(compute, settings, films, wanted))
        truth = runs[EVERY][0].boxes
        rows = [
            Row(
                f"{name} (detected in {100 - 100 * its[0].tracked / frames:.0f} %): F1 {f1(its[0].boxes, truth):.3f}",
                [frames / run.cpu_seconds for run in its],
                "frames/CPU s",
            )
            for name, its in runs.items()
        ]
        show(f"{title}; {frames} frames, stored: {store}", rows, rows[0])
    glances = []
    for _ in range(repetitions):
        started = time.process_time()
        for jpeg in parsed:
            codec.glance(jpeg)
        glances.append(1000 * (time.process_time() - started) / frames)
    show(f"{title}: a glance", [Row("gate", glances, "CPU ms a frame")])


if __name__ == "__main__":
    main()
