"""Exports weights of YOLO detection models to the form of ONNX that the worker reads.

Needs the extra `model`. `make model SIZE=n` or `make model NAME=yolo11n` runs it. The export has a
dynamic batch, height and width, no NMS in the graph, and its class names and stride in its
metadata. It writes `NAME.onnx.sha256` beside `NAME.onnx`: `sha256sum -c` and the worker use it to
detect a changed file.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SIZES = ("n", "s", "m", "l", "x")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="example: python -m models.export --size s --weights ~/yolov8s.pt",
    )
    parser.add_argument("--size", choices=SIZES, default="n", help="of YOLOv8 (default: n)")
    parser.add_argument("--name", help="a model that ultralytics knows, such as yolo11n, instead of YOLOv8 of a size")
    parser.add_argument(
        "--weights",
        type=Path,
        help="a .pt file, which names the model unless --name does; without it ultralytics downloads its own",
    )
    parser.add_argument("--output", type=Path, help="default: models/NAME.onnx")
    args = parser.parse_args()
    if args.weights and not args.weights.is_file():
        sys.exit(f"error: --weights {args.weights}: no such file")
    name = args.name or (args.weights.stem if args.weights else f"yolov8{args.size}")
    weights = args.weights or Path(f"{name}.pt")
    output = args.output or HERE / f"{name}.onnx"
    export(weights, output)


def export(weights: Path, output: Path, *, half: bool = False) -> None:
    """Writes `output` and its hash beside it.

    Args:
        weights: A file of weights that ultralytics reads, or the name of weights that it downloads.
        output: The ONNX file to write.
        half: Whether to store the weights as fp16; the network still computes in fp32.
    """
    from ultralytics import YOLO

    with tempfile.TemporaryDirectory() as folder:
        # A copy, because ultralytics writes its export beside the weights.
        source = weights
        if weights.is_file():
            source = Path(shutil.copy(weights, folder))
        model = YOLO(source)
        exported = Path(model.export(format="onnx", dynamic=True, opset=17, simplify=True, imgsz=640, device="cpu"))
        if half:
            store_weights_as_fp16(exported)
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(exported, output)
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    output.with_name(output.name + ".sha256").write_text(f"{digest}  {output.name}\n")
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {len(model.names)} classes, sha256 {digest[:12]}…")


def store_weights_as_fp16(path: Path) -> None:
    """Halves the file: every large fp32 tensor becomes an fp16 one behind a cast to fp32."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    casts = []
    for tensor in list(model.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < 64:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.fp16")
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(half)
        casts.append(helper.make_node("Cast", [half.name], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    onnx.checker.check_model(model)
    onnx.save(model, path)


if __name__ == "__main__":
    main()
