"""Runs the benchmarks one after the other: `make bench`, `make bench-quick`, `make processors`.

python -m benchmarks --quick
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.engine import SHARED
from local.processes import MODEL_PYTHON, QUANTISE_PYTHON, ROOT

# `benchmarks.sizes`, `benchmarks.adaptive`, `benchmarks.half_empty` (ten minutes each) and `benchmarks.cost` are not
# part of this run.
OTHERS: Final = ("latency", "start", "scaling", "quota", "producer")


def main() -> int:
    """Runs the benchmarks; gives the number that failed."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="all benchmarks, side by side where they compare")
    parser.add_argument("--quick", action="store_true", help="the engine only, in two minutes")
    parser.add_argument("--processors", action="store_true", help="each precision on kinds of processors, nothing else")
    parser.add_argument(
        "--data", type=Path, default=SHARED, help="with yolov8n.pt, yolov8n.onnx, zidane.jpg, vtest.avi"
    )
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="default: bench.json")
    args = parser.parse_args()
    for name in ("yolov8n.pt", "yolov8n.onnx", "zidane.jpg", "vtest.avi"):
        if not (args.data / name).is_file():
            parser.error(f"--data {args.data}: no {name} there")
    args.json.unlink(missing_ok=True)
    environment = os.environ | {"BENCH_JSON": str(args.json.resolve())}
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(shutil.copy(args.data / "yolov8n.onnx", folder))
        int8 = quantise(onnx, args.data)
        models = [
            "--weights",
            str(args.data / "yolov8n.pt"),
            "--onnx",
            str(onnx),
            *(["--int8", str(int8)] if int8 else []),
        ]
        commands = [[str(MODEL_PYTHON), "-m", "benchmarks.engine", *models, *(["--quick"] if args.quick else [])]]
        if args.processors:
            commands = [[str(MODEL_PYTHON), "-m", "benchmarks.processors", *models]]
        elif not args.quick:
            commands.append([sys.executable, "-m", "benchmarks.whole_way", *models])
            commands += [[sys.executable, "-m", f"benchmarks.{name}"] for name in OTHERS]
        for command in commands:
            print(f"▸ {command[2]}", flush=True)
            failed += subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0
    return failed


def quantise(onnx: Path, data: Path) -> Path | None:
    """Makes an int8 model, calibrated on the street camera and the photographs; None without the extra `quantise`."""
    if not QUANTISE_PYTHON.exists():
        print("int8 is left out: make setup-quantise")
        return None
    frames = ["--frames", str(data / "vtest.avi"), "--frames", str(data), "--number", "150"]
    subprocess.run([str(QUANTISE_PYTHON), "-m", "models.quantise", str(onnx), *frames], cwd=ROOT, check=True)
    return onnx.with_name(f"{onnx.stem}-int8.xml")


if __name__ == "__main__":
    sys.exit(main())
