"""Speed of each precision on kinds of processors that Fargate may give, as far as this one can play them.

A process for each kind is kept from instructions that the kind does not have, and all take turns. What is capped is
what oneDNN computes for OpenVINO and torch, convolutions and products of matrices, which are nearly all of the time.
OpenVINO's own operations are not capped, and ONNX Runtime cannot be. bfloat16 is measured on the processor as it is
alone: where OpenVINO believes in instructions that oneDNN is kept from, its figures mean nothing. Needs the extra
`model`. `make processors` runs it with a model that it quantises.

    python -m benchmarks.processors --onnx yolov8n.onnx --int8 yolov8n-int8.xml --weights yolov8n.pt
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any, Final

import openvino as ov

from benchmarks import ceiling
from benchmarks.engine import SHARED, ours, ultralytics
from benchmarks.report import Row, show
from kcl_worker.vision.openvino_detector import computes_bf16

# https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html
CAP: Final = "ONEDNN_MAX_CPU_ISA"
KINDS: Final = {
    "as it is": {},
    "AVX-512 with VNNI": {CAP: "AVX512_CORE_VNNI"},
    "AVX-512 without VNNI": {CAP: "AVX512_CORE"},
    # torch has operations and a library of Intel's besides.
    "AVX2": {CAP: "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
BASE: Final = "ultralytics predict"


def main() -> None:
    parser = argparse.ArgumentParser(description="each precision on kinds of processors")
    parser.add_argument("--weights", type=Path, default=SHARED / "yolov8n.pt")
    parser.add_argument("--onnx", type=Path, default=SHARED / "yolov8n.onnx")
    parser.add_argument("--int8", type=Path, required=True, help="what `models.quantise` made of it")
    parser.add_argument("--photograph", type=Path, default=SHARED / "zidane.jpg")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    missing = [path for path in (args.weights, args.onnx, args.int8, args.photograph) if not path.is_file()]
    if missing:
        parser.error(f"{missing[0]}: no such file")
    if args.inside:
        inside(args)
        return
    command = [sys.executable, "-m", "benchmarks.processors", "--inside", *sys.argv[1:]]
    with ExitStack() as stack:
        kinds: dict[str, subprocess.Popen[str]] = {}
        for kind, variables in KINDS.items():
            process = subprocess.Popen(
                command, env=os.environ | variables, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            kinds[kind] = stack.enter_context(process)
            stack.callback(process.kill)
            _turn(process)  # warm, which nothing else is to slow down
        turns: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
        for _ in range(args.repetitions):
            for kind, process in kinds.items():
                turns[kind].append(_turn(process))
    for kind, found in turns.items():
        rows = [Row(name, [one[name] for one in found], "frames/CPU s") for name in found[0]]
        show(f"{kind}: JPEG in, message and annotated JPEG out", rows, rows[0])


def inside(args: argparse.Namespace) -> None:
    """Runs every contender once for each line of standard input, and answers with frames a CPU second."""
    answers = sys.stdout
    with redirect_stdout(sys.stderr):
        jpegs = [args.photograph.read_bytes()] * args.frames
        contenders: dict[str, Callable[[], int]] = {
            BASE: ultralytics(args.weights, jpegs),
            "cv2kinesis fp32": ours(args.onnx, "fp32", jpegs),
            "cv2kinesis int8": ours(args.int8, "int8", jpegs),
            "OpenVINO, the whole network alone, fp32": ceiling.raw_openvino(args.onnx, "f32", args.frames),
            "OpenVINO, the whole network alone, int8": ceiling.raw_openvino(args.int8, "f32", args.frames),
        }
        if CAP not in os.environ and computes_bf16(ov.Core()):
            contenders["cv2kinesis bf16"] = ours(args.onnx, "bf16", jpegs)
        for _ in sys.stdin:
            speeds = {}
            for name, run in contenders.items():
                started = time.process_time()
                frames = run()
                speeds[name] = frames / (time.process_time() - started)
            print(json.dumps(speeds), file=answers, flush=True)


def _turn(process: subprocess.Popen[str]) -> Any:
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        sys.exit(f"error: a process ended with status {process.wait()}")
    return json.loads(answer)


if __name__ == "__main__":
    main()
