"""The engine against `ultralytics`, on the same photographs and the same cores.

All contenders do the same work: a JPEG in, boxes and an annotated JPEG out. cv2kinesis runs the worker's own pipeline
with sinks that keep nothing, so it makes the messages too. The run also measures the bounds: the network alone, and the
machine's multiply-adds. Needs the extra `model`; int8 needs a quantised model beside the export.

    python -m benchmarks.engine --weights yolov8n.pt --onnx yolov8n.onnx photo.jpg…
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks import ceiling
from benchmarks.report import Row, interleaved, show
from benchmarks.way import Nowhere, send, worker_parts
from contract import Position
from contract.source_settings import DEFAULT, SourceSettings
from kcl_worker.kcl.shards import ShardBoard
from kcl_worker.operating.metrics import Metrics
from kcl_worker.pipeline import Pipeline
from kcl_worker.vision.cpu import thread_count
from kcl_worker.vision.openvino_detector import Precision

SHARED: Final = Path(__file__).parent.parent.parent / "shared" / "data"
SHARDS: Final = 2
BATCH: Final = 8
BASE: Final = "ultralytics predict, one at a time"


def ours(model: Path, precision: Precision, jpegs: list[bytes], wanted: SourceSettings = DEFAULT) -> Callable[[], int]:
    """The worker's pipeline, with sources of these settings."""
    settings, compute = worker_parts(model, precision)

    async def everything() -> int:
        sink: Any = Nowhere()
        metrics = Metrics("bench", "bench", ShardBoard(), io.StringIO())
        pipeline = Pipeline(settings, compute, sink, sink, sink, metrics, lambda source: wanted)
        now = datetime.now(UTC)
        shards = {f"shardId-{number}": jpegs[number::SHARDS] for number in range(SHARDS)}
        await asyncio.gather(
            *(
                send(pipeline, shard, [(jpeg, Position(shard, str(n), "bench", now)) for n, jpeg in enumerate(mine)])
                for shard, mine in shards.items()
            )
        )
        return metrics.frames

    return lambda: asyncio.run(everything())


def ultralytics(
    model: Path, jpegs: list[bytes], *, rect: bool = True, batch: int = 1, every_core: bool = False
) -> Callable[[], int]:
    """`predict`, `.plot()` and an encoder.

    Args:
        every_core: torch gets as many threads as there are cores; ultralytics by itself leaves one core out.
    """
    import torch
    from ultralytics import YOLO
    from ultralytics.utils import NUM_THREADS

    network = YOLO(model, task="detect")

    def run() -> int:
        if network.predictor:
            torch.set_num_threads(thread_count() if every_core else NUM_THREADS)
        for start in range(0, len(jpegs), batch):
            images = [
                cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in jpegs[start : start + batch]
            ]
            for result in network.predict(
                images, conf=0.5, iou=0.7, max_det=100, device="cpu", rect=rect, verbose=False
            ):
                cv2.imencode(".jpg", result.plot(), [cv2.IMWRITE_JPEG_QUALITY, 85])
        return len(jpegs)

    return run


@contextmanager
def ultralytics_exports(weights: Path) -> Iterator[dict[str, Path]]:
    """What `yolo export` makes from the weights for other runtimes."""
    from ultralytics import YOLO

    with tempfile.TemporaryDirectory() as folder:
        model = YOLO(shutil.copy(weights, folder))
        yield {
            "ONNX": Path(model.export(format="onnx", dynamic=True, verbose=False)),
            # OpenVINO by default computes in bf16 where the processor supports it.
            "OpenVINO, bf16": Path(model.export(format="openvino", dynamic=True, verbose=False)),
        }


def main() -> None:
    os.environ["YOLO_AUTOINSTALL"] = "false"
    parser = argparse.ArgumentParser(description="the engine against ultralytics")
    parser.add_argument("--weights", type=Path, default=SHARED / "yolov8n.pt")
    parser.add_argument("--onnx", type=Path, default=SHARED / "yolov8n.onnx")
    parser.add_argument("--int8", type=Path, help="what `models.quantise` made of it; without it int8 is left out")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--quick", action="store_true", help="in two minutes: no exports, fewer repetitions")
    parser.add_argument("photographs", type=Path, nargs="*", default=[SHARED / "zidane.jpg"])
    args = parser.parse_args()
    missing = [path for path in (args.weights, args.onnx, *args.photographs) if not path.is_file()]
    if missing:
        parser.error(f"{missing[0]}: no such file")
    photographs = [path.read_bytes() for path in args.photographs]
    jpegs = [photographs[number % len(photographs)] for number in range(args.frames)]
    if args.quick:
        compare(args, jpegs, {})
    else:
        with ultralytics_exports(args.weights) as exports:
            compare(args, jpegs, exports)


def compare(args: argparse.Namespace, jpegs: list[bytes], exports: dict[str, Path]) -> None:
    """Runs all contenders and shows their figures."""
    frames = len(jpegs)
    contenders = {
        BASE: ultralytics(args.weights, jpegs),
        "ultralytics predict, one at a time, every core": ultralytics(args.weights, jpegs, every_core=True),
        f"ultralytics predict, {BATCH} at a time": ultralytics(args.weights, jpegs, batch=BATCH),
        "ultralytics predict, square": ultralytics(args.weights, jpegs, rect=False),
    }
    contenders |= {f"ultralytics on its export, {name}": ultralytics(path, jpegs) for name, path in exports.items()}
    operations = ceiling.operations(args.onnx)
    contenders |= {
        "cv2kinesis fp32": ours(args.onnx, "fp32", jpegs),
        "cv2kinesis bf16": ours(args.onnx, "bf16", jpegs),
        "network alone, ONNX Runtime fp32": ceiling.raw_onnxruntime(args.onnx, frames),
        "network alone, OpenVINO fp32": ceiling.raw_openvino(args.onnx, "f32", frames),
        "network alone, OpenVINO bf16": ceiling.raw_openvino(args.onnx, "bf16", frames),
        "machine's multiply-adds, fp32": ceiling.peak("f32", operations),
        "machine's multiply-adds, bf16": ceiling.peak("bf16", operations),
        "machine's multiply-adds, int8": ceiling.peak("int8", operations),
    }
    if args.int8:
        contenders["cv2kinesis int8"] = ours(args.int8, "int8", jpegs)
        contenders["network alone, OpenVINO int8"] = ceiling.raw_openvino(args.int8, "f32", frames)
    else:
        print("int8 is left out: no --int8 (make setup-quantise)")
    for run in contenders.values():
        run()
    rows = interleaved(contenders, 3 if args.quick else args.repetitions)
    by_name = {row.name: row for row in rows}
    work = [row for row in rows if row.name.startswith(("ultralytics", "cv2kinesis"))]
    show(f"Engine: JPEG in, message and annotated JPEG out; {frames} frames a repetition", work, by_name[BASE])
    for precision in ("fp32", "bf16", "int8"):
        group = [row for row in rows if row.name.endswith(precision)]
        base: Row | None = by_name.get(f"network alone, OpenVINO {precision}")
        if base:
            show(f"Engine against its bounds, {precision}; {operations / 1e9:.2f} GFLOP a frame", group, base)


if __name__ == "__main__":
    main()
