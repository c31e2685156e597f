"""What a source costs producer, workers and page: one fleet, ever more films of small pictures.

Two workers share eight shards and the embedded AWS shares the machine, so the sources are many and slow: all together
they send RATE frames a second. Each plays a film of its own decoder, as a camera does, and is tracked, so that the
workers remember it. Shown is the most that was seen.

    python -m benchmarks.sources --sources 1 50 200
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from uuid import uuid4

import av
import cv2
import numpy as np

from benchmarks.report import Row, show
from benchmarks.scaling import held
from benchmarks.usage import cpu_seconds, resident_mib
from local.processes import ROOT, Aws, Process, Worker
from local.resources import Resources
from local.rig import parts
from local.waiting import wait_for
from producer.street import Street

SHARDS: Final = 8
WORKERS: Final = 2
# Frames a second of all sources.
RATE: Final = 16.0
WIDTH, HEIGHT = 320, 180
FILM: Final = "film.mp4"
# Of each source, at the least; of all, at the least.
FRAMES, ALL_FRAMES = 3, 150
WHAT: Final = {"memory": "MiB", "threads": "threads", "cpu": "CPU ms/frame"}
KINDS: Final = ("producer", "worker", "daemon", "record processor", "page")


def main() -> None:
    parser = argparse.ArgumentParser(description="memory, threads and processor time by the number of sources")
    parser.add_argument("--sources", type=int, nargs="+", default=[1, 50, 200])
    parser.add_argument("--onnx", type=Path, default=ROOT / "models" / "street.onnx")
    args = parser.parse_args()
    measured = {}
    with tempfile.TemporaryDirectory() as folder, Aws(log=Path(folder) / "aws.log") as aws:
        make_film(Path(folder) / FILM)
        for number in args.sources:
            measured[number] = measure(aws, Path(folder), args.onnx, number)
    for what, unit in WHAT.items():
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
        films = [part for name in names for part in (str(folder / FILM), "--source-id", name)]
        before = {kind: cpu_seconds(pids) for kind, pids in everybody(workers, page).items()}
        producer = stack.enter_context(
            Process(
                "producer", "send", *films, "--fps", str(RATE / sources), "--loop", "--limit",
                str(max(FRAMES, ALL_FRAMES // sources)), "--json", env=environment, log=folder / "producer.log",
            )
        )  # fmt: skip
        most: dict[str, dict[str, float]] = {what: dict.fromkeys(KINDS, 0.0) for what in WHAT}

        def done() -> bool:
            people = everybody(workers, page) | {"producer": [producer.process.pid]}
            for kind in KINDS:
                pids = people[kind]
                used = cpu_seconds(pids) - before.get(kind, 0.0)
                now = {"memory": resident_mib(pids), "threads": float(sum(map(threads, pids))), "cpu": used}
                for what, value in now.items():
                    most[what][kind] = max(most[what][kind], value)
            return not producer.alive

        wait_for(done, "the producer", lambda: most["cpu"]["producer"])
        frames = json.loads(producer.line() or "{}")["sent"]
        return most | {"cpu": {kind: 1000 * seconds / frames for kind, seconds in most["cpu"].items()}}


def make_film(path: Path) -> None:
    """Writes a minute of a drawn street as H.264."""
    street = Street()
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=1, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for second in range(60):
            picture = cv2.resize(street.frame(float(second)), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(
                np.uint8
            )
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        file.mux(stream.encode())


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
