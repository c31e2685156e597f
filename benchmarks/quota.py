"""The engine under a CPU quota like that of a Fargate task of 0.5 or 1 vCPU: does it get its share of the speed?

python -m benchmarks.quota --onnx yolov8n.onnx
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.cgroup import NoCgroupsError, quota
from benchmarks.engine import SHARED, ours
from benchmarks.report import Row, show
from kcl_worker.vision.cpu import thread_count
from local.processes import ROOT

QUOTAS: Final = (0.5, 1.0)
USED_UP: Final = "Periods in which the quota was used up"


def main() -> None:
    parser = argparse.ArgumentParser(description="the engine under a processor quota")
    parser.add_argument("--onnx", type=Path, default=SHARED / "yolov8n.onnx")
    parser.add_argument("--photograph", type=Path, default=SHARED / "zidane.jpg")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        print(json.dumps(inside(args)))
        return
    cores = thread_count()
    full = "no quota"
    rates: dict[str, list[float]] = {full: [], **{f"{cpus:g} CPU": [] for cpus in QUOTAS}}
    shares: dict[str, list[float]] = {f"{cpus:g} CPU": [] for cpus in QUOTAS}
    command = [sys.executable, "-m", "benchmarks.quota", "--inside"]
    command += ["--onnx", str(args.onnx), "--photograph", str(args.photograph)]
    for _ in range(args.repetitions):
        with quota(cores) as group:
            rates[full].append(json.loads(group.run([*command, "--frames", str(args.frames)], ROOT))["rate"])
        for cpus in QUOTAS:
            frames = max(16, round(args.frames * cpus / cores))
            with quota(cpus) as group:
                found = json.loads(group.run([*command, "--frames", str(frames)], ROOT))
                assert found["threads"] == max(1, round(cpus)), "threads do not follow the quota"
                rates[f"{cpus:g} CPU"].append(found["rate"])
                shares[f"{cpus:g} CPU"].append(100 * group.throttled())
    show(f"Engine under a quota, of {cores} cores", [Row(name, values, "frames/s") for name, values in rates.items()])
    base = Row(full, [100.0] * args.repetitions, "%")
    proportional = [
        Row(
            name,
            [100 * rate / every / (cpus / cores) for rate, every in zip(rates[name], rates[full], strict=True)],
            "%",
        )
        for cpus, name in zip(QUOTAS, shares, strict=True)
    ]
    show("Of the proportional part", proportional, base)
    show(USED_UP, [Row(name, values, "%") for name, values in shares.items()])


def inside(args: argparse.Namespace) -> dict[str, float]:
    """Runs in the group; prints frames a second after warming up."""
    jpegs = [args.photograph.read_bytes()] * args.frames
    run = ours(args.onnx, "fp32", jpegs)
    run()
    started = time.perf_counter()
    run()
    return {"rate": len(jpegs) / (time.perf_counter() - started), "threads": thread_count()}


if __name__ == "__main__":
    try:
        main()
    except NoCgroupsError as error:
        sys.exit(f"error: no cgroup: {error}")
