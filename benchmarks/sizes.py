"""Throughput and memory of every model size and precision, on exports of the real architecture.

The weights are random, which takes the same time as trained weights. Needs the extras `model` and `quantise`. `--write`
writes the figures to benchmarks/measured.json, which `benchmarks.cost` reads.

    python -m benchmarks.sizes --sizes n s
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import openvino as ov

from benchmarks.engine import SHARED, ours
from benchmarks.report import Row, show
from kcl_worker.vision.cpu import thread_count
from kcl_worker.vision.memory import peak_resident
from local.processes import MODEL_PYTHON, QUANTISE_PYTHON, ROOT

SIZES: Final = ("n", "s", "m", "l", "x")
PRECISIONS: Final = ("fp32", "bf16", "int8")
MEASURED: Final = Path(__file__).parent / "measured.json"
# Approximate seconds of a measurement.
SECONDS: Final = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description="throughput and memory of all model sizes")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=SIZES)
    parser.add_argument("--photograph", type=Path, default=SHARED / "zidane.jpg")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {MEASURED.name}")
    parser.add_argument("--inside", nargs=2, metavar=("MODEL", "PRECISION"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        print(json.dumps(inside(Path(args.inside[0]), args.inside[1], args.photograph)))
        return
    for path in (args.photograph, MODEL_PYTHON, QUANTISE_PYTHON):
        if not path.exists():
            parser.error(f"{path}: no such file")
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for size in args.sizes:
            model = export(Path(name), f"yolov8{size}")
            for precision in PRECISIONS:
                file = model.with_name(f"{model.stem}-int8.xml") if precision == "int8" else model
                found[f"yolov8{size} {precision}"] = measure(file, precision, args.photograph)
    show(f"Engine, {thread_count()} cores, 1280x720", [Row(k, [v["rate"]], "frames/s") for k, v in found.items()])
    show("Most memory of the worker's process", [Row(k, [v["memory"]], "MiB") for k, v in found.items()])
    show("Likewise on one core", [Row(k, [v["memory_one_core"]], "MiB") for k, v in found.items()])
    if args.write:
        before = json.loads(MEASURED.read_text())["models"] if MEASURED.exists() else {}
        kept = {
            "date": str(datetime.now(UTC).date()),
            "processor": processor(),
            "cores": thread_count(),
            "models": before | found,
        }
        MEASURED.write_text(json.dumps(kept, indent=1) + "\n")


def processor() -> str:
    """The processor's name, with what it computes in besides fp32."""
    core = ov.Core()
    name = str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip()
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return f"{name} ({', '.join(sorted(one for one in able if one in ('BF16', 'FP16', 'INT8')))})"


def export(folder: Path, name: str) -> Path:
    """Exports a network of ultralytics' architecture with random weights, and quantises it."""
    model = folder / f"{name}.onnx"
    code = (
        f"from pathlib import Path; from models.export import export; export(Path('{name}.yaml'), Path({str(model)!r}))"
    )
    run([str(MODEL_PYTHON), "-c", code])
    run([str(QUANTISE_PYTHON), "-m", "models.quantise", str(model), "--frames", "demo", "--number", "9"])
    return model


def measure(model: Path, precision: str, photograph: Path) -> dict[str, float]:
    """Measures in separate processes, on all cores and on one core."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.sizes",
        "--photograph",
        str(photograph),
        "--inside",
        str(model),
        precision,
    ]
    every = json.loads(run(command))
    one = json.loads(run(["taskset", "-c", "0", *command]))
    return {"rate": every["rate"], "memory": every["memory"], "memory_one_core": one["memory"]}


def inside(model: Path, precision: Any, photograph: Path) -> dict[str, float]:
    """Gives frames a second and the peak memory in MiB."""
    jpegs = [photograph.read_bytes()] * 4
    run_all = ours(model, precision, jpegs)
    run_all()
    started = time.perf_counter()
    run_all()
    jpegs *= max(1, round(SECONDS / (time.perf_counter() - started)))
    started = time.perf_counter()
    run_all()
    rate = len(jpegs) / (time.perf_counter() - started)
    return {"rate": round(rate, 2), "memory": round(peak_resident() / 2**20, 1)}


def run(command: list[str]) -> str:
    """Gives a process's last line of output."""
    environment = os.environ | {"YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command[:6])}…: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return (done.stdout.strip().splitlines() or [""])[-1]


if __name__ == "__main__":
    main()
