"""Frames a second and memory by the number of shards and workers, all on one machine.

python -m benchmarks.scaling --onnx yolov8n.onnx
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks.engine import SHARED
from benchmarks.report import Row, show
from benchmarks.traffic import put, wait_for_results
from benchmarks.usage import resident_mib
from local.processes import Aws, Worker
from local.resources import Resources
from local.rig import parts
from local.waiting import wait_for

SHARDS: Final = (1, 2, 4, 8)
WORKERS: Final = (1, 2)
WARM_UP: Final = 32
KINDS: Final = ("worker", "daemon", "record processor")


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of all workers together."""

    rate: float
    memory: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description="frames a second against shards and workers")
    parser.add_argument("--onnx", type=Path, default=SHARED / "yolov8n.onnx")
    parser.add_argument("--photograph", type=Path, default=SHARED / "zidane.jpg")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--repetitions", type=int, default=1)
    args = parser.parse_args()
    for path in (args.onnx, args.photograph):
        if not path.is_file():
            parser.error(f"{path}: no such file")
    grid = [(shards, workers) for workers, shards in product(WORKERS, SHARDS) if shards >= workers]
    results: dict[tuple[int, int], list[Measured]] = {place: [] for place in grid}
    with tempfile.TemporaryDirectory() as folder, Aws(log=Path(folder) / "aws.log") as aws:
        for _ in range(args.repetitions):
            for (shards, workers), runs in results.items():
                runs.append(measure(aws, Path(folder), args, shards, workers))
    names = {(shards, workers): f"{shards} shards, {workers} workers" for shards, workers in grid}
    rates = [Row(names[place], [run.rate for run in runs], "frames/s") for place, runs in results.items()]
    show("Throughput, the machine shared with the embedded AWS", rates, rates[0])
    for kind in KINDS:
        rows = [Row(names[place], [run.memory[kind] for run in runs], "MiB") for place, runs in results.items()]
        show(f"Resident memory: {kind}, all together", rows)


def measure(aws: Aws, folder: Path, args: argparse.Namespace, shards: int, workers: int) -> Measured:
    """Starts workers on a new stream and has them process frames."""
    resources = Resources.create(aws.url, f"g{uuid4().hex[:8]}", shards)
    environment = resources.environment() | {
        "YOLO_MODEL_PATH": str(args.onnx),
        "KCL_PROPERTIES": f"maxLeasesForWorker = {-(-shards // workers)}",
    }
    with ExitStack() as stack:
        running = [stack.enter_context(Worker(environment, folder / f"{uuid4().hex}.log")) for _ in range(workers)]

        def leased() -> int:
            return sum(held(worker) for worker in running)

        wait_for(lambda: leased() >= shards, "leases", leased)

        def alive() -> bool:
            return all(worker.alive for worker in running)

        put(resources, [args.photograph.read_bytes()], WARM_UP)
        wait_for_results(resources, WARM_UP, alive)
        started = time.perf_counter()
        put(resources, [args.photograph.read_bytes()], args.frames)
        wait_for_results(resources, args.frames, alive)
        seconds = time.perf_counter() - started
        memory = dict.fromkeys(KINDS, 0.0)
        for worker in running:
            found = parts(worker)
            for kind in KINDS:
                memory[kind] += resident_mib(found[kind])
    return Measured(args.frames / seconds, memory)


def held(worker: Worker) -> int:
    """The number of shards that a worker holds."""
    return len(worker.get("/status")[1]["shards"])


if __name__ == "__main__":
    main()
