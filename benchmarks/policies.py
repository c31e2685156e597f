"""What a worker saves of a frame that nobody wants to see: the same pictures under different policies.

    python -m benchmarks.policies [--model yolov8n.onnx] [--precision int8]

A street camera's frames with the model given, or drawn streets with the demo model; sinks keep nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2

from benchmarks.engine import SHARED, ours
from benchmarks.report import Row, show
from contract.source_settings import SourceSettings
from local.processes import ROOT

FRAMES: Final = 150
REPETITIONS: Final = 5
RULE: Final = {"name": "visitor", "kind": "appear", "classes": ["person"]}
POLICIES: Final[dict[str, dict[str, object]]] = {
    "all stored, all announced": {},
    "tracked, all stored": {"tracking": True},
    "nothing stored, all announced": {"store": "none"},
    "nothing stored, detections announced": {"store": "none", "announce": "detections"},
    "events told, nothing else": {"store": "none", "announce": "events", "events": [RULE]},
    "events told, their frames stored": {"store": "events", "announce": "events", "events": [RULE]},
}


def cpu_milliseconds(run: Callable[[], int]) -> float:
    """Of a frame, on all cores together."""
    started = time.process_time()
    frames = run()
    return (time.process_time() - started) * 1000 / frames


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "street.onnx")
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), default="fp32")
    parser.add_argument("--film", type=Path, default=SHARED / "vtest.avi")
    args = parser.parse_args()
    jpegs = film(args.film)
    runs = {
        name: ours(args.model, args.precision, jpegs, SourceSettings.model_validate(policy))
        for name, policy in POLICIES.items()
    }
    values: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPETITIONS):
        for name, run in runs.items():
            values[name].append(cpu_milliseconds(run))
    rows = [Row(name, found, "CPU ms a frame") for name, found in values.items()]
    show(f"policies, {args.model.stem} {args.precision}, {os.cpu_count()} cores", rows, rows[0])


def film(path: Path) -> list[bytes]:
    """Frames of a film as JPEGs."""
    video = cv2.VideoCapture(str(path))
    jpegs: list[bytes] = []
    while len(jpegs) < FRAMES:
        read, image = video.read()
        if not read:
            raise SystemExit(f"--film {path}: {len(jpegs)} frames; {FRAMES} are needed")
        jpegs.append(cv2.imencode(".jpg", image)[1].tobytes())
    return jpegs


if __name__ == "__main__":
    main()
