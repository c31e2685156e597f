"""The whole way of a frame, from the stream to S3 and SQS, compared with the pipeline as people first write it.

The embedded AWS shares the machine with both, so the comparison is in frames per second of CPU time; the embedded
AWS's own CPU time is also shown separately. Needs the extra `model`.

    python -m benchmarks.whole_way --int8 yolov8n-int8.xml
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks.engine import SHARED
from benchmarks.report import Row, show
from benchmarks.traffic import put, wait_for_results
from benchmarks.usage import cpu_seconds
from local.processes import MODEL_PYTHON, Aws, Process, Worker
from local.resources import Resources
from local.rig import parts

SHARDS: Final = 2
# Frames until the JVM has compiled the code that runs for each record.
WARM_UP: Final = 480
KINDS: Final = ("worker", "daemon", "record processor")


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds by kind of process, those of the embedded AWS, and the elapsed seconds."""

    mine: dict[str, float]
    service: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description="frames for a second of processor time, the whole way")
    parser.add_argument("--weights", type=Path, default=SHARED / "yolov8n.pt")
    parser.add_argument("--onnx", type=Path, default=SHARED / "yolov8n.onnx")
    parser.add_argument("--int8", type=Path, help="what `models.quantise` made of it; without it int8 is left out")
    parser.add_argument("--photograph", type=Path, default=SHARED / "zidane.jpg")
    parser.add_argument("--frames", type=int, default=480)
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    for path in (args.weights, args.onnx, args.photograph, MODEL_PYTHON):
        if not path.exists():
            parser.error(f"{path}: no such file")
    models = {f"cv2kinesis {precision}": its for precision, its in environments(args.onnx, args.int8).items()}
    costs: dict[str, list[Cost]] = {"a boto3 loop with ultralytics": [], **{name: [] for name in models}}
    jpegs = [args.photograph.read_bytes()]
    with tempfile.TemporaryDirectory() as folder, Aws(log=Path(folder) / "aws.log") as aws:
        for _ in range(args.repetitions):
            for name, measured in costs.items():
                resources = Resources.create(aws.url, f"w{uuid4().hex[:8]}", SHARDS)
                with ExitStack() as stack:
                    if name in models:
                        environment = resources.environment() | models[name]
                        process: Process = stack.enter_context(Worker(environment, Path(folder) / f"{uuid4().hex}.log"))
                    else:
                        environment = resources.environment()
                        process = stack.enter_context(
                            Process(
                                "benchmarks.naive", str(args.weights), env=environment, log=Path(folder) / "naive.log",
                                python=MODEL_PYTHON,
                            )
                        )  # fmt: skip
                    measured.append(cost(process, aws, resources, jpegs, args.frames))
    present(costs, args.frames)


def environments(onnx: Path, int8: Path | None) -> dict[str, dict[str, str]]:
    """A worker's variables for each precision."""
    models = {"fp32": {"YOLO_MODEL_PATH": str(onnx)}}
    if int8:
        exported = int8.with_name(int8.name.replace("-int8.xml", ".onnx"))
        models["int8"] = {"YOLO_MODEL_PATH": str(exported), "YOLO_PRECISION": "int8"}
    return models


def cost(process: Process, aws: Aws, resources: Resources, jpegs: Sequence[bytes], frames: int) -> Cost:
    """The cost of a number of frames after warming up; each source sees the JPEGs in turn."""
    put(resources, jpegs, WARM_UP)
    wait_for_results(resources, WARM_UP, lambda: process.alive)
    before, service, started = usage(process), cpu_seconds([aws.process.pid]), time.perf_counter()
    put(resources, jpegs, frames)
    wait_for_results(resources, frames, lambda: process.alive)
    seconds = time.perf_counter() - started
    after = usage(process)
    mine = {kind: after[kind] - before[kind] for kind in after}
    return Cost(mine, cpu_seconds([aws.process.pid]) - service, seconds)


def usage(process: Process) -> dict[str, float]:
    if isinstance(process, Worker):
        return {kind: cpu_seconds(pids) for kind, pids in parts(process).items()}
    return {"worker": cpu_seconds([process.process.pid])}


def present(costs: dict[str, list[Cost]], frames: int) -> None:
    """Prints the comparison, then where cv2kinesis spends its time."""
    speeds = [
        Row(name, [frames / sum(one.mine.values()) for one in measured], "frames/CPU s")
        for name, measured in costs.items()
    ]
    show(f"Whole way: {frames} frames 1280x720, stream to S3 and SQS", speeds, speeds[0])
    rates = [Row(name, [frames / one.seconds for one in measured], "frames/s") for name, measured in costs.items()]
    show("Whole way: the machine shared with the embedded AWS", rates, rates[0])
    for name, measured in costs.items():
        rows = [
            Row(kind, [1000 * one.mine[kind] / frames for one in measured], "CPU ms/frame")
            for kind in KINDS
            if kind in measured[0].mine
        ]
        rows.append(Row("embedded AWS", [1000 * one.service / frames for one in measured], "CPU ms/frame"))
        show(f"Where it goes: {name}", rows, rows[0])


if __name__ == "__main__":
    main()
