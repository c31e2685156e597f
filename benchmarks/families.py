"""Speed of one size of YOLOv8, YOLO11, YOLO26 and others, in fp32 and int8, and what running the whole network costs.

The networks are exports of the real architecture with random weights, which take the same time as trained weights.
Processor time is measured, which depends less on what else the machine does. Needs the extras `model` and `quantise`.

    python -m benchmarks.families --models yolov8n yolo11n yolo26n
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from benchmarks.engine import SHARED, ours
from benchmarks.report import Row, show
from benchmarks.sizes import export
from kcl_worker.vision.cpu import thread_count
from kcl_worker.vision.openvino_detector import Precision
from local.processes import MODEL_PYTHON, QUANTISE_PYTHON

MODELS: Final = ("yolov8n", "yolo11n", "yolo26n")


def main() -> None:
    parser = argparse.ArgumentParser(description="speed of YOLO's families")
    parser.add_argument("--models", nargs="+", default=MODELS, help="names that ultralytics has an architecture for")
    parser.add_argument("--photograph", type=Path, default=SHARED / "zidane.jpg")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--frames", type=int, default=24)
    args = parser.parse_args()
    for path in (args.photograph, MODEL_PYTHON, QUANTISE_PYTHON):
        if not path.exists():
            parser.error(f"{path}: no such file")
    jpegs = [args.photograph.read_bytes()] * args.frames
    contenders: dict[str, Callable[[], int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models:
            model = export(Path(folder), name)
            variants: dict[str, tuple[Path, Precision]] = {
                "fp32": (model, "fp32"),
                "fp32, the whole network": (whole(model), "fp32"),
                "int8": (model.with_name(f"{name}-int8.xml"), "int8"),
            }
            contenders |= {f"{name} {how}": ours(*variant, jpegs) for how, variant in variants.items()}
        for run in contenders.values():
            run()
        rows = [Row(name, [], "frames/CPU s") for name in contenders]
        for _ in range(args.repetitions):
            for row in rows:
                started = time.process_time()
                frames = contenders[row.name]()
                row.values.append(frames / (time.process_time() - started))
    title = f"Engine, {thread_count()} cores, 1280x720: JPEG in, message and annotated JPEG out"
    show(title, rows, rows[0])
    for name in args.models:
        alike = [row for row in rows if row.name.startswith(f"{name} ")]
        show(f"{name} against its own fp32", alike, alike[0])


def whole(model: Path) -> Path:
    """A copy whose head is not recognised, so that it runs as the whole network."""
    network = ov.Core().read_model(model)
    output = ops.add(network.get_results()[0].input_value(0), np.float32(0))
    unknown = ov.Model([output], network.get_parameters())
    for key in ("names", "stride", "task"):
        unknown.set_rt_info(network.get_rt_info(["framework", key]).value, ["framework", key])
    file = model.with_name(f"{model.stem}-whole.xml")
    ov.save_model(unknown, file, compress_to_fp16=False)
    return file


if __name__ == "__main__":
    main()
