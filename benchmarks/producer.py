"""The producer's speed with ready JPEGs from folders, the embedded AWS's limit, and the speed of encoding.

A source's frames go one after the other, so that they stay in order; many sources go together. A shard takes 1 MiB and
1 000 records a second, so the benchmark's stream has as many shards as the sources need.

    python -m benchmarks.producer
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import cv2
import numpy as np

from benchmarks.report import Row, interleaved, show
from contract import Metadata
from local.processes import Aws
from local.resources import Resources
from producer.encoding import Encoder
from producer.picture import Picture
from producer.street import Street

SOURCES: Final = 120
SIZES: Final = {"320x180": (320, 180), "640x360": (640, 360), "1280x720": (1280, 720)}


def main() -> None:
    parser = argparse.ArgumentParser(description="frames a second of the producer")
    parser.add_argument("--frames", type=int, default=9600, help="of all sources (default: 9600)")
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    each = args.frames // SOURCES
    with tempfile.TemporaryDirectory() as name, Aws(log=Path(name) / "aws.log") as aws:
        for size, (width, height) in SIZES.items():
            folder = Path(name) / size
            jpegs = write(folder, width, height, each)
            rates: dict[str, list[float]] = {"embedded AWS alone": [], "producer": [], "cores": []}
            for _ in range(args.repetitions):
                # Enough that no shard is the limit.
                resources = Resources.create(aws.url, f"p{uuid4().hex[:8]}", 2 * SOURCES)
                rates["embedded AWS alone"].append(limit(resources, jpegs, each))
                rate, core = send(resources, folder)
                rates["producer"].append(rate)
                rates["cores"].append(core)
                # The embedded AWS keeps everything in memory.
                resources.client("kinesis").delete_stream(StreamName=resources.stream)
            rows = [Row(name, values, "frames/s") for name, values in rates.items() if name != "cores"]
            kilobytes = sum(map(len, jpegs)) / len(jpegs) / 1000
            show(f"Producer: ready JPEGs {size} of {kilobytes:.0f} KB, {SOURCES} folders", rows, rows[0])
            show("Its processor time", [Row("producer", rates["cores"], "cores for 1000 frames/s")])
    encode(args.repetitions)


def write(folder: Path, width: int, height: int, each: int) -> list[bytes]:
    """Writes JPEGs into a folder for each source."""
    jpegs = []
    for number in range(8):
        image = Street(number, width, height).frame(1.0)
        jpegs.append(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes())
    for source in range(SOURCES):
        (folder / f"s{source}").mkdir(parents=True)
        for number in range(each):
            (folder / f"s{source}" / f"{number:05}.jpg").write_bytes(jpegs[number % len(jpegs)])
    return jpegs


def limit(resources: Resources, jpegs: list[bytes], each: int) -> float:
    """Frames a second of the same requests, prepared in advance and sent one after the other."""
    kinesis: Any = resources.client("kinesis")
    batch = [{"Data": jpegs[number % len(jpegs)], "PartitionKey": f"s{number}"} for number in range(SOURCES)]
    started = time.perf_counter()
    for _ in range(each):
        kinesis.put_records(StreamName=resources.stream, Records=batch)
    return SOURCES * each / (time.perf_counter() - started)


def send(resources: Resources, folder: Path) -> tuple[float, float]:
    """Frames a second of `producer send`, and the cores that it needs for a thousand frames a second."""
    folders = [str(path) for path in sorted(folder.iterdir())]
    command = [sys.executable, "-m", "producer", "send", *folders, "--fps", "0", "--json"]
    before = cpu_of_children()
    done = subprocess.run(command, env=os.environ | resources.environment(), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit("error: the producer failed")
    summary = json.loads(done.stdout)
    sent, seconds = int(summary["sent"]), float(summary["seconds"])
    return sent / seconds, 1000 * (cpu_of_children() - before) / sent


def cpu_of_children() -> float:
    """CPU seconds of all child processes that have ended; asking a running process would slow it down."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def encode(repetitions: int) -> None:
    """Pictures a second of one thread, from pixels to a record's data."""
    picture = Picture(np.asarray(Street(1, 1280, 720).frame(1.0), np.uint8))
    metadata = Metadata("cam", "s", 0, datetime.now(UTC))
    encoder = Encoder()

    def run() -> int:
        for _ in range(200):
            assert encoder.encode(picture, metadata)
        return 200

    run()
    rows = interleaved({"one core encodes": run}, repetitions)
    show("Producer: pictures 1280x720 (four cameras at 15 frames/s are 60)", rows)


if __name__ == "__main__":
    main()
