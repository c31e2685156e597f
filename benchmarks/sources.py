"""What a source costs producer, workers and page: one fleet, ever more cameras of small pictures.

Two workers share eight shards and the embedded AWS shares the machine, so the cameras are many and slow: all together
they send RATE frames a second. Settings of a source track what it shows, so the workers remember each.

    python -m benchmarks.sources --sources 1 50 200
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks.report import Row, show
from benchmarks.scaling import held
from benchmarks.usage import cpu_seconds, resident_mib
from local.processes import ROOT, Aws, Process, Worker
from local.resources import Resources
from local.rig import parts
from local.waiting import wait_for

SHARDS: Final = 8
WORKERS: Final = 2
# Frames a second of all sources.
RATE: Final = 16.0
WIDTH: Final = 320
# Of each source.
FRAMES: Final = 3
KINDS: Final = ("producer", "worker", "daemon", "record processor", "page")


def main() -> None:
    parser = argparse.ArgumentParser(description="memory, threads and processor time by the number of sources")
    parser.add_argument("--sources", type=int, nargs="+", default=[1, 50, 200])
    parser.add_argument("--onnx", type=Path, default=ROOT / "models" / "street.onnx")
    args = parser.parse_args()
    measured = {}
    with tempfile.TemporaryDirectory() as folder, Aws(log=Path(folder) / "aws.log") as aws:
        for number in args.sources:
            measured[number] = measure(aws, Path(folder), args.onnx, number)
    for what, unit in (("memory", "MiB"), ("threads", "threads"), ("cpu", "CPU ms/frame")):
        for kind in KINDS:
            rows = [Row(f"{number} sources", [one[what][kind]], unit) for number, one in measured.items()]
            show(f"{what} of {kind}s, all together", rows, rows[0])


def measure(aws: Aws, folder: Path, onnx: Path, sources: int) -> dict[str, dict[str, float]]:
    """Starts a fleet on a new stream, sends each source's frames, and looks at everybody before the last are through.

    Returns:
        By what is measured and kind of process.
    """
    resources = Resources.create(aws.url, f"s{uuid4().hex[:8]}", SHARDS)
    names = [f"camera-{number}" for number in range(sources)]
    for name in names:
        resources.configure(name, json.dumps({"tracking": True}))
    environment = resources.environment() | {
        "YOLO_MODEL_PATH": str(onnx),
        "KCL_PROPERTIES": f"maxLeasesForWorker = {SHARDS // WORKERS}",
    }
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(environment, folder / f"{uuid4().hex}.log")) for _ in range(WORKERS)]
        wait_for(lambda: sum(map(held, workers)) >= SHARDS, "leases", lambda: sum(map(held, workers)))
        page = stack.enter_context(Process("consumer", "web", "--json", "--port", "0", env=environment))
        assert page.line()
        streets = [part for number, name in enumerate(names) for part in (f"demo:{number}", "--source-id", name)]
        before = {kind: cpu_seconds(pids) for kind, pids in everybody(workers, page).items()}
        producer = stack.enter_context(
            Process(
                "producer", "send", *streets, "--fps", str(RATE / sources), "--width", str(WIDTH), "--limit",
                str(max(FRAMES, 150 // sources)), "--json", env=environment, log=folder / "producer.log",
            )
        )  # fmt: skip
        last: dict[str, dict[str, float]] = {}

        def done() -> bool:
            if producer.alive:
                people = everybody(workers, page) | {"producer": [producer.process.pid]}
                last["memory"] = {kind: resident_mib(pids) for kind, pids in people.items()}
                last["threads"] = {kind: float(sum(map(threads, pids))) for kind, pids in people.items()}
                last["cpu"] = {kind: cpu_seconds(pids) - before.get(kind, 0.0) for kind, pids in people.items()}
                time.sleep(0.5)
            return not producer.alive

        wait_for(done, "the producer", lambda: last.get("cpu"))
        frames = json.loads(producer.line() or "{}")["sent"]
        last["cpu"] = {kind: 1000 * seconds / frames for kind, seconds in last["cpu"].items()}
        return last


def everybody(workers: list[Worker], page: Process) -> dict[str, list[int]]:
    """Process ids by kind."""
    fleet = [parts(worker) for worker in workers]
    return {kind: [pid for one in fleet for pid in one[kind]] for kind in fleet[0]} | {"page": [page.process.pid]}


def threads(pid: int) -> int:
    """Threads of a process."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return 0


if __name__ == "__main__":
    main()
