"""How long a worker takes to its first result, where the time goes, and how much memory a task takes.

The first start is that of a new application: no tables, no leases. The embedded AWS answers at once, by TLS as AWS;
on AWS itself the creation of three tables adds some seconds to it. `--compare` takes turns with and without
the cache from which the image's JVM starts.

    python -m benchmarks.start --onnx yolov8n.onnx --compare --cpus 0.5
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import nullcontext
from datetime import datetime
from itertools import product
from pathlib import Path
from uuid import uuid4

import amazon_kclpy

from benchmarks.cgroup import NoCgroupsError, quota
from benchmarks.engine import SHARED
from benchmarks.report import Row, show
from benchmarks.usage import cpu_seconds, resident_mib
from local import tls
from local.processes import ROOT, Aws, Worker
from local.resources import Resources
from local.rig import parts as parts_of
from local.rig import send_streets

SHARDS = 4
# Enough cameras that every shard has some.
CAMERAS, FRAMES = 8, 3
KINDS = ("first start", "restart")
PARTS = (
    "model read and run once", "JVM up", "leases held (tables, assignment)", "first result",
    "CPU of the JVM until then",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="seconds to the first result, and memory")
    parser.add_argument("--onnx", type=Path, default=SHARED / "yolov8n.onnx")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--compare", action="store_true", help="with and without the JVM's cache")
    parser.add_argument("--cpus", type=float, help="a quota for the worker and all its processes; default: none")
    args = parser.parse_args()
    if not args.onnx.is_file():
        parser.error(f"{args.onnx}: no such file")
    starts: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    memory: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contenders = with_and_without(folder) if args.compare else {"": {}}
        tls.certify(folder)
        os.environ.update(tls.trust(folder))
        trust = tls.trust(folder) | {"JDK_JAVA_OPTIONS": " ".join(tls.java_trust(folder))}
        with Aws(log=folder / "aws.log", tls=folder) as aws:
            for _, (contender, changes) in product(range(args.repetitions), contenders.items()):
                resources = Resources.create(aws.url, f"b{uuid4().hex[:8]}", SHARDS)
                environment = resources.environment() | {"YOLO_MODEL_PATH": str(args.onnx)} | trust | changes
                for kind in KINDS:
                    produce(environment)
                    seconds, sizes = start(resources, environment, folder / f"{uuid4().hex}.log", args.cpus)
                    starts[kind, contender].append(seconds)
                    memory[contender].append(sizes)
    within = f", {args.cpus:g} CPU" if args.cpus else ""
    for kind in KINDS:
        table = {contender: starts[kind, contender] for contender in contenders}
        compare(f"{kind}: seconds since the process began, {SHARDS} shards{within}", table, "s")
    compare(f"Resident memory of a task that holds {SHARDS} shards{within}", memory, "MiB")


def start(
    resources: Resources, environment: dict[str, str], log: Path, cpus: float | None
) -> tuple[dict[str, float], dict[str, float]]:
    """Starts a worker, with a quota if one is given; gives seconds to its milestones, and sizes of its processes."""
    with quota(cpus) if cpus else nullcontext() as group:
        began = time.time()
        with Worker(environment, log) as worker:
            if group:
                group.add(worker.process.pid)
            seconds = parts(worker, resources, began)
            worker.wait_for_shards(SHARDS)
            return seconds, resident(worker)


def compare(title: str, measured: dict[str, list[dict[str, float]]], unit: str) -> None:
    """Shows one table, or one for each quantity with the contenders in turn."""
    names = next(iter(measured.values()))[0]
    if len(measured) == 1:
        [values] = measured.values()
        show(title, [Row(name, [one[name] for one in values], unit) for name in names])
        return
    for name in names:
        rows = [Row(contender, [one[name] for one in values], unit) for contender, values in measured.items()]
        show(f"{title}: {name}", rows, rows[0])


def with_and_without(folder: Path) -> dict[str, dict[str, str]]:
    """Two copies of KCL, the second with a cache made for it; what a worker's environment has to say for each."""
    changes = {}
    for name in ("without the cache", "from the cache"):
        path = folder / name.replace(" ", "-")
        ignored = shutil.ignore_patterns("*.aot")
        shutil.copytree(Path(amazon_kclpy.__file__).parent, path / "amazon_kclpy", ignore=ignored)
        changes[name] = {"PYTHONPATH": str(path)}
    made = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(path)))}
    subprocess.run([sys.executable, "-m", "local.aot"], cwd=ROOT, env=made, check=True)
    return changes


def produce(environment: dict[str, str]) -> None:
    """Puts some frames of each camera on the stream."""
    if send_streets(environment, CAMERAS, FRAMES):
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
    jvm_cpu = cpu_seconds(parts_of(worker)["daemon"])
    entries = [entry for entry in worker.log() if "time" in entry]
    times = {entry["message"]: moment(entry["time"]) - began for entry in reversed(entries)}
    # The daemon writes its first line when its JVM has loaded the library's classes.
    jvm = next(moment(entry["time"]) - began for entry in entries if entry["logger"].startswith("kcl."))
    worker.wait_for(lambda: receive() == CAMERAS * FRAMES, "every frame")
    return dict(zip(PARTS, (times["model loaded"], jvm, times["shard leased"], result, jvm_cpu), strict=True))


def moment(text: str) -> float:
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
    try:
        main()
    except NoCgroupsError as error:
        sys.exit(f"error: no cgroup: {error}")
