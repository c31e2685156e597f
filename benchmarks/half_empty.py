"""What a frame costs a worker where the scene is empty half of the time, and its settings leave out what nobody needs.

Sixteen cameras see a street as `--film` shows it, enlarged to 1280x720, and then as long the street without its people:
the film's median, with a sensor's noise. Worker, daemon and embedded AWS are processes of their own, and the kernel
counts their processor time.

    python -m benchmarks.half_empty --int8 yolov8n-int8.xml
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import cv2
import numpy as np

from benchmarks.adaptive import images_of, jpeg_of
from benchmarks.engine import SHARED
from benchmarks.report import Row, show
from benchmarks.traffic import SOURCES
from benchmarks.whole_way import KINDS, SHARDS, Cost, cost, environments
from contract import Frame
from kcl_worker.vision import codec
from kcl_worker.vision.openvino_detector import OpenVinoDetector
from local.processes import Aws, Worker
from local.resources import Resources
from producer.picture import Image

# Frames of each half, three seconds long.
HALF: Final = 30
WIDTH, HEIGHT = 1280, 720
# Standard deviation, in steps of 255.
NOISE: Final = 2.0
# The median is that of one frame in so many.
STEP: Final = 13
STORED: Final[dict[str, Any]] = {"store": "detections"}
WANTED: Final[dict[str, dict[str, Any]]] = {
    "all stored": {},
    "with detections stored": STORED,
    "the same, one look in 2": STORED | {"detect": {"every": 2}},
    "the same, one in 25 if still": STORED | {"detect": {"every_still": 25}},
    "the same, one in 2, in 25 if still": STORED | {"detect": {"every": 2, "every_still": 25}},
}


def scene(film: Path) -> tuple[list[bytes], list[bytes]]:
    """JPEGs with people and without, as many of each."""
    people, sampled = [], []
    for number, image in enumerate(images_of(film)):
        if number < HALF:
            people.append(jpeg_of(_enlarged(image)))
        if number % STEP == 0:
            sampled.append(_enlarged(image))
    median = np.median(sampled, axis=0)
    random = np.random.default_rng(0)
    noisy = [np.clip(median + random.normal(0, NOISE, median.shape), 0, 255).astype(np.uint8) for _ in range(HALF)]
    return people, list(map(jpeg_of, noisy))


def _enlarged(image: Image) -> Image:
    """A picture's lower part, of 16 to 9: a car is parked above."""
    rows = image.shape[1] * HEIGHT // WIDTH
    return np.asarray(cv2.resize(image[-rows:], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)


def occupied(model: Path, jpegs: list[bytes]) -> float:
    """The share of pictures in which a network finds anything."""
    detector = OpenVinoDetector(model)
    return sum(len(detector.detect(codec.decode(Frame.parse(jpeg)))) > 0 for jpeg in jpegs) / len(jpegs)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="what a frame costs where the scene is empty half of the time")
    parser.add_argument("--onnx", type=Path, default=SHARED / "yolov8n.onnx")
    parser.add_argument("--int8", type=Path, help="what `models.quantise` made of it; without it int8 is left out")
    parser.add_argument("--film", type=Path, default=SHARED / "vtest.avi")
    parser.add_argument("--frames", type=int, default=2 * HALF * SOURCES, help="of all cameras (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    for path in (args.onnx, args.film):
        if not path.is_file():
            parser.error(f"{path}: no such file")
    people, nobody = scene(args.film)
    shares = [occupied(args.onnx, half) for half in (people, nobody)]
    if shares != [1, 0]:
        raise SystemExit(
            f"error: something is found in {shares[0]:.0%} and {shares[1]:.0%} of the halves, not in 100% and 0%"
        )
    with tempfile.TemporaryDirectory() as folder, Aws(log=Path(folder) / "aws.log") as aws:
        for precision, model in environments(args.onnx, args.int8).items():
            costs: dict[str, list[Cost]] = {name: [] for name in WANTED}
            for _ in range(args.repetitions):
                for name, settings in WANTED.items():
                    resources = Resources.create(aws.url, f"h{uuid4().hex[:8]}", SHARDS)
                    wanted = {"SOURCE_DEFAULTS": json.dumps({"tracking": True, **settings})}
                    environment = resources.environment() | model | wanted
                    with Worker(environment, Path(folder) / f"{uuid4().hex}.log") as worker:
                        costs[name].append(cost(worker, aws, resources, people + nobody, args.frames))
            for kind in KINDS:
                rows = [
                    Row(name, [1000 * one.mine[kind] / args.frames for one in measured], "CPU ms/frame")
                    for name, measured in costs.items()
                ]
                show(f"Empty half of the time, {precision}: {kind}", rows, rows[0])


if __name__ == "__main__":
    main()
