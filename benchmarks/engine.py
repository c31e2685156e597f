"""The engine against `ultralytics predict`, on the same photographs and the same cores.

Both do the same work: a JPEG in, boxes and an annotated JPEG out. Ours is the worker's own pipeline
with sinks that keep nothing, so messages are made as well. Needs the extra `model`.

    python -m benchmarks.engine --weights yolov8n.pt --onnx yolov8n.onnx photo.jpg…
"""

from __future__ import annotations

import argparse
import asyncio
import io
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from benchmarks.report import Row, show
from contract import Position
from kcl_worker.batcher import Batcher
from kcl_worker.flow import Turns
from kcl_worker.metrics import Metrics
from kcl_worker.openvino_detector import OpenVinoDetector
from kcl_worker.pipeline import Pipeline, Record
from kcl_worker.settings import Settings
from kcl_worker.shards import ShardBoard

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
SHARDS = 2
# Records of each shard in flight, as the gateway allows.
WINDOW = 8


class Nowhere:
    """A bucket and a queue that keep nothing."""

    async def put(self, key: str, body: bytes, content_type: str) -> None:
        pass

    def enqueue(self, body: str) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


class Contender(Protocol):
    """Whatever can be timed."""

    name: str

    def run(self, jpegs: list[bytes]) -> None:
        """Does the work for each JPEG."""


class Ours:
    """The worker's pipeline."""

    name = "cv2kinesis, fp32"

    def __init__(self, onnx: Path) -> None:
        self._detector = OpenVinoDetector(onnx)
        self._settings = Settings(
            kinesis_stream_name="bench", s3_bucket_name="bench", sqs_queue_url="http://bench", yolo_model_path=onnx
        )

    def run(self, jpegs: list[bytes]) -> None:
        asyncio.run(self._run(jpegs))

    async def _run(self, jpegs: list[bytes]) -> None:
        sink: Any = Nowhere()
        batcher = Batcher(self._detector)
        metrics = Metrics("bench", ShardBoard(), io.StringIO())
        pipeline = Pipeline(self._settings, self._detector, batcher, sink, sink, sink, metrics)
        service = asyncio.create_task(batcher.run())
        await asyncio.gather(*(self._shard(pipeline, number, jpegs[number::SHARDS]) for number in range(SHARDS)))
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)
        assert metrics.frames == len(jpegs)

    @staticmethod
    async def _shard(pipeline: Pipeline, shard: int, jpegs: list[bytes]) -> None:
        window, turns = asyncio.Semaphore(WINDOW), Turns()

        async def one(record: Record) -> None:
            async with window:
                await pipeline.process(record)

        now = datetime.now(UTC)
        records = [
            Record(jpeg, Position(f"shardId-{shard}", str(number), "bench", now), turns.next())
            for number, jpeg in enumerate(jpegs)
        ]
        await asyncio.gather(*(one(record) for record in records))


class Ultralytics:
    """`predict`, `.plot()` and an encoder, one frame at a time."""

    name = "ultralytics predict + plot + encode"

    def __init__(self, weights: Path) -> None:
        from ultralytics import YOLO

        self._model = YOLO(weights)

    def run(self, jpegs: list[bytes]) -> None:
        for jpeg in jpegs:
            image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            [result] = self._model.predict(image, conf=0.5, iou=0.7, max_det=100, device="cpu", verbose=False)
            cv2.imencode(".jpg", result.plot(), [cv2.IMWRITE_JPEG_QUALITY, 85])


class InferenceAlone:
    """The ceiling: the compiled network on ready pixels, nothing around it."""

    name = "the network alone (ceiling)"

    def __init__(self, onnx: Path) -> None:
        self._detector = OpenVinoDetector(onnx)
        self._batch = np.zeros((1, 384, 640, 3), np.uint8)

    def run(self, jpegs: list[bytes]) -> None:
        with ThreadPoolExecutor(self._detector.parallelism) as threads:
            list(threads.map(lambda _: self._detector._infer((384, 640), self._batch), jpegs))


def main() -> None:
    parser = argparse.ArgumentParser(description="the engine against ultralytics")
    parser.add_argument("--weights", type=Path, default=SHARED / "yolov8n.pt")
    parser.add_argument("--onnx", type=Path, default=SHARED / "yolov8n.onnx")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("photographs", type=Path, nargs="*", default=[SHARED / "zidane.jpg"])
    args = parser.parse_args()
    missing = [path for path in (args.weights, args.onnx, *args.photographs) if not path.is_file()]
    if missing:
        parser.error(f"{missing[0]}: no such file")
    photographs = [path.read_bytes() for path in args.photographs]
    jpegs = [photographs[number % len(photographs)] for number in range(args.frames)]
    contenders: list[Contender] = [Ultralytics(args.weights), Ours(args.onnx), InferenceAlone(args.onnx)]
    for contender in contenders:
        contender.run(jpegs[:8])
    speeds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(args.repetitions):
        for contender in contenders:
            started = time.perf_counter()
            contender.run(jpegs)
            speeds[contender.name].append(len(jpegs) / (time.perf_counter() - started))
    rows = [Row(name, values, "frames/s") for name, values in speeds.items()]
    show(f"Engine: JPEG in, message and annotated JPEG out; {args.frames} frames", rows, rows[0])


if __name__ == "__main__":
    main()
