"""What it saves to detect in fewer frames than come, and what it costs in detections: the worker's whole way of a frame
(parse, decode, detect, track, draw, encode, message), with sinks that keep nothing.

    python -m benchmarks.adaptive [--int8 yolov8n-int8.xml]

A street camera's film with the model given, and drawn streets with the demo model. The measure is F1 of the boxes (of
the same class, IoU 0.5) against detection in every frame.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.engine import SHARED
from benchmarks.report import Row, show
from benchmarks.way import Kept, Nowhere, send, worker_parts
from contract import Frame, Metadata, Position, embed
from contract.source_settings import SourceSettings
from kcl_worker.kcl.shards import ShardBoard
from kcl_worker.operating.metrics import Metrics
from kcl_worker.pipeline import Pipeline
from kcl_worker.settings import Settings
from kcl_worker.storing.event_sink import EventSink
from kcl_worker.vision import codec
from kcl_worker.vision.compute import Compute
from kcl_worker.vision.openvino_detector import Precision
from local.processes import ROOT
from models.evaluate import iou
from producer.picture import Image
from producer.street import Street

FPS: Final = 10
# As the producer makes JPEGs.
QUALITY: Final = 80
STREETS: Final = (0, 3, 7)
STREET_FRAMES: Final = 200
# Of the street that is mostly quiet.
MOVES: Final = range(80, 120)
EVERY: Final = "every frame"
PACES: Final[dict[str, dict[str, int]]] = {
    EVERY: {},
    "one in 2": {"every": 2},
    "one in 3": {"every": 3},
    "one in 4": {"every": 4},
    "one in 5": {"every": 5},
    "gate, one in 25 if still": {"every": 1, "every_still": 25},
    "one in 2, in 25 if still": {"every": 2, "every_still": 25},
}

WARM_UP: Final = 20
TRACKED: Final = SourceSettings(tracking=True)
# Across the picture at every tenth of it where somebody may pass.
LINES: Final = [
    *({"name": f"x{x}", "start": [x / 10, 0], "end": [x / 10, 1]} for x in range(2, 9)),
    *({"name": f"y{y}", "start": [0, y / 10], "end": [1, y / 10]} for y in range(3, 7)),
]
COUNTED: Final[dict[str, Any]] = {"store": "none", "lines": LINES}

Boxes = list[tuple[str, tuple[float, float, float, float]]]


@dataclass(frozen=True, slots=True)
class Run:
    """A film's way through the worker.

    Attributes:
        messages: One of each frame, in their order.
        events: One at each start, and one at each end.
        tracked: Frames that were not looked at.
        cpu_seconds: Of the process, on all cores together.
    """

    messages: list[dict[str, Any]]
    events: list[dict[str, Any]]
    tracked: int
    cpu_seconds: float

    @property
    def boxes(self) -> list[Boxes]:
        """Class and box of what each frame shows."""
        return [[(one["class"], tuple(one["bbox"])) for one in message["summary"]] for message in self.messages]

    @property
    def crossings(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Of each source and line, those in and out."""
        return {
            (message["source"], line["name"]): (line["in_total"], line["out_total"])
            for message in self.messages
            for line in message.get("lines", ())
        }

    @property
    def starts(self) -> Counter[tuple[str, str]]:
        """How many events each source's rule has started."""
        return Counter((event["source"], event["rule"]) for event in self.events if event["phase"] == "start")


def way(compute: Compute, settings: Settings, films: Mapping[str, list[bytes]], wanted: SourceSettings) -> Run:
    """Sends films through a pipeline, a shard each."""
    sink: Any = Nowhere()
    results: Any = Kept()
    events: Any = Kept()
    metrics = Metrics("bench", "bench", ShardBoard(), io.StringIO())
    pipeline = Pipeline(
        settings, compute, sink, results, sink, metrics, lambda source: wanted, events=EventSink(sink, events, None)
    )

    def records(name: str, jpegs: list[bytes]) -> Iterator[tuple[bytes, Position]]:
        for number, jpeg in enumerate(jpegs):
            yield jpeg, Position(name, str(1000 + number), name, BEGIN + timedelta(seconds=number / FPS))

    async def everything() -> None:
        await asyncio.gather(*(send(pipeline, name, records(name, jpegs)) for name, jpegs in films.items()))

    started = time.process_time()
    asyncio.run(everything())
    seconds = time.process_time() - started
    messages = sorted(results.messages, key=lambda message: (message["source"], message["frame_index"]))
    return Run(messages, events.messages, metrics.frames_tracked, seconds)


BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)


def film(source: str, images: Iterable[Image], quality: int = QUALITY) -> list[bytes]:
    """A camera's frames as records."""
    return [
        embed(
            jpeg_of(image, quality),
            Metadata(source, "s", number, BEGIN + timedelta(seconds=number / FPS)),
        )
        for number, image in enumerate(images)
    ]


def jpeg_of(image: Image, quality: int = QUALITY) -> bytes:
    """A picture as a camera sends it."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def images_of(path: Path) -> Iterator[Image]:
    """The pictures of a film."""
    video = cv2.VideoCapture(str(path))
    while True:
        read, image = video.read()
        if not read:
            return
        yield np.asarray(image, np.uint8)


def quiet(street: Street) -> Iterator[Image]:
    """A street in which nobody moves most of the time, with a sensor's noise."""
    random, moved = np.random.default_rng(0), 0
    for number in range(STREET_FRAMES):
        moved += number in MOVES
        noise = random.normal(0, 3, (street.height, street.width, 3))
        yield np.clip(street.frame(moved / FPS) + noise, 0, 255).astype(np.uint8)


def f1(found: list[Boxes], truth: list[Boxes]) -> float:
    """Of boxes of the same class with an IoU of 0.5 at least, each paired once, over all frames."""
    paired = sum(_paired(mine, theirs) for mine, theirs in zip(found, truth, strict=True))
    total = sum(map(len, found)) + sum(map(len, truth))
    return 2 * paired / total if total else 1.0


def _paired(mine: Boxes, theirs: Boxes) -> int:
    overlaps = iou(_corners(mine), _corners(theirs))
    pairs = [(one, other) for one, other in np.argwhere(overlaps >= 0.5) if mine[one][0] == theirs[other][0]]
    ones, others = set[int](), set[int]()
    for one, other in sorted(pairs, key=lambda pair: -overlaps[pair]):
        if one not in ones and other not in others:
            ones.add(one)
            others.add(other)
    return len(ones)


def _corners(boxes: Boxes) -> NDArray[np.float64]:
    """From x, y, width, height to x1 y1 x2 y2: [N, 4]."""
    sides = np.array([box for _, box in boxes], float).reshape(-1, 4)
    sides[:, 2:] += sides[:, :2]
    return sides


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="what it saves to detect in fewer frames than come")
    parser.add_argument("--onnx", type=Path, default=SHARED / "yolov8n.onnx", help="for the street camera's film")
    parser.add_argument("--int8", type=Path, help="what `models.quantise` made of it; without it int8 is left out")
    parser.add_argument("--film", type=Path, default=SHARED / "vtest.avi")
    parser.add_argument("--frames", type=int, help="of the film; default: all")
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    for path in (args.onnx, args.film):
        if not path.is_file():
            parser.error(f"{path}: no such file")
    street = film("street", islice(images_of(args.film), args.frames))
    drawn = {
        f"drawn-{seed}": film(f"drawn-{seed}", islice(Street(seed).frames(FPS), STREET_FRAMES)) for seed in STREETS
    }
    compare(args.film.name, args.onnx, "fp32", {"street": street}, args.repetitions)
    if args.int8:
        compare(args.film.name, args.int8, "int8", {"street": street}, args.repetitions)
    demo = ROOT / "models" / "street.onnx"
    compare("drawn streets", demo, "fp32", drawn, args.repetitions)
    still = {"quiet": film("quiet", quiet(Street(STREETS[0])))}
    compare("a drawn street that moves a fifth of the time", demo, "fp32", still, args.repetitions)


def compare(title: str, model: Path, precision: Precision, films: Mapping[str, list[bytes]], repetitions: int) -> None:
    """Shows the speed of each pace with frames stored and without, and how much the boxes agree."""
    settings, compute = worker_parts(model, precision)
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
                f"{name}: looks at {100 - 100 * its[0].tracked / frames:.0f} %, F1 {f1(its[0].boxes, truth):.3f}",
                [frames / run.cpu_seconds for run in its],
                "frames/CPU s",
            )
            for name, its in runs.items()
        ]
        show(f"{title}; {frames} frames, stored: {store}", rows, rows[0])
    counts = {
        name: way(compute, settings, films, SourceSettings.model_validate({**COUNTED, "detect": detect})).crossings
        for name, detect in PACES.items()
    }
    crossings = [Row(name, [float(apart(its, counts[EVERY]))], "crossings") for name, its in counts.items()]
    total = sum(map(sum, counts[EVERY].values()))
    show(f"{title}; crossings of {len(counts[EVERY])} lines that differ, of {total}", crossings)
    glances = []
    for _ in range(repetitions):
        started = time.process_time()
        for jpeg in parsed:
            codec.glance(jpeg)
        glances.append(1000 * (time.process_time() - started) / frames)
    show(f"{title}; a gate's glance", [Row("glance", glances, "CPU ms")])


def apart(one: Mapping[Any, tuple[int, int]], other: Mapping[Any, tuple[int, int]]) -> int:
    """By how many crossings two counts of the same lines differ."""
    return sum(abs(one[line][way] - other[line][way]) for line in other for way in (0, 1))


if __name__ == "__main__":
    main()
