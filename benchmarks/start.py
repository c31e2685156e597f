"""How long a worker takes to its first result, where the time goes, and how much memory a task takes.

The first start is that of a new application: no tables, no leases. The embedded AWS answers at once;
on AWS itself the creation of three tables adds some seconds to it.

    python -m benchmarks.start --onnx yolov8n.onnx
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from benchmarks.engine import SHARED
from benchmarks.report import Row, show
from benchmarks.usage import resident_mib
from local.processes import Aws, Process, Worker
from local.resources import Resources
from local.rig import parts as parts_of

SHARDS = 4
# Enough cameras that every shard has some.
CAMERAS, FRAMES = 8, 3
PARTS = (
    "model read and run once", "JVM up", "leases held (tables, assignment)", "first result",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="seconds to the first result, and memory")
    parser.add_argument("--onnx", type=Path, default=SHARED / "yolov8n.onnx")
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    if not args.onnx.is_file():
        parser.error(f"{args.onnx}: no such file")
    starts: dict[str, list[dict[str, float]]] = {"first start": [], "restart": []}
    memory: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder, Aws(log=Path(folder) / "aws.log") as aws:
        for _ in range(args.repetitions):
            resources = Resources.create(aws.url, f"b{uuid4().hex[:8]}", SHARDS)
            environment = resources.environment() | {"YOLO_MODEL_PATH": str(args.onnx)}
            for kind, measured in starts.items():
                produce(resources, environment)
                began = time.time()
                with Worker(environment, Path(folder) / f"{uuid4().hex}.log") as worker:
                    measured.append(parts(worker, resources, began))
                    if kind == "restart":
                        worker.wait_for_shards(SHARDS)
                        memory.append(resident(worker))
    for kind, measured in starts.items():
        rows = [Row(part, [one[part] for one in measured], "s") for part in PARTS]
        show(f"{kind}: seconds since the process began, {SHARDS} shards", rows)
    rows = [Row(name, [one[name] for one in memory], "MiB") for name in memory[0]]
    show(f"Resident memory of a task that holds {SHARDS} shards", rows)


def produce(resources: Resources, environment: dict[str, str]) -> None:
    """Puts some frames of each camera on the stream."""
    cameras = [f"demo:{number}" for number in range(CAMERAS)]
    with Process(
        "producer", "send", *cameras, "--limit", str(FRAMES), "--fps", "0", "--json", env=environment
    ) as producer:
        if producer.wait():
            raise SystemExit("the producer failed")


def parts(worker: Worker, resources: Resources, began: float) -> dict[str, float]:
    """Seconds from the start of the process to each milestone."""
    received = 0

    def receive() -> int:
        nonlocal received
        sqs = resources.client("sqs")
        messages = sqs.receive_message(QueueUrl=resources.queue_url, WaitTimeSeconds=1).get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=resources.queue_url, ReceiptHandle=message["ReceiptHandle"])
        received += len(messages)
        return received

    worker.wait_for(receive, "result")
    result = time.time() - began
    entries = [entry for entry in worker.log() if "time" in entry]
    times = {entry["message"]: seconds(entry["time"]) - began for entry in reversed(entries)}
    # The daemon writes its first line when its JVM has loaded the library's classes.
    jvm = next(seconds(entry["time"]) - began for entry in entries if entry["logger"].startswith("kcl."))
    worker.wait_for(lambda: receive() == CAMERAS * FRAMES, "every frame")
    return dict(zip(PARTS, (times["model loaded"], jvm, times["shard leased"], result), strict=True))


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def resident(worker: Worker) -> dict[str, float]:
    """Memory in MiB by kind of process; for record processors, of each."""
    sizes = {kind: [resident_mib([pid]) for pid in pids] for kind, pids in parts_of(worker).items()}
    return {
        "worker": sizes["worker"][0],
        "JVM": sizes["daemon"][0],
        "record processor, the largest": max(sizes["record processor"]),
        "all": sum(sum(values) for values in sizes.values()),
    }


if __name__ == "__main__":
    main()
