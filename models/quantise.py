"""Quantises an exported model to int8 with your own frames, and reports how far it agrees with fp32.

Needs the extra `quantise`. `make quantise FRAMES=folder-or-video` runs it. Two thirds of the frames calibrate the
model, and the last third compares fp32, bf16 and int8. It writes `NAME-int8.xml`, its weights `NAME-int8.bin` and the
hashes of both beside `NAME.onnx`; with YOLO_PRECISION=int8 the worker uses them. The comparison is written to
`NAME.agreement.json`; with YOLO_PRECISION=auto the worker takes a precision only if it is good enough. What only the
boxes need is not quantised. `make agreement` compares what there is, quantises nothing and needs no extra.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from kcl_worker.errors import ModelError
from kcl_worker.model_files import quantised as quantised_of
from kcl_worker.vision import box_head as head
from kcl_worker.vision.agreement import Agreement, Record, hashes
from kcl_worker.vision.detections import Detections, Image
from kcl_worker.vision.export import Export
from kcl_worker.vision.letterbox import Letterbox
from kcl_worker.vision.openvino_detector import OpenVinoDetector, Precision, computes_bf16
from models.evaluate import iou
from producer.errors import PictureError, ProducerError
from producer.sources import open_source

HERE: Final = Path(__file__).parent
# NNCF's own recommendation for the number of samples.
DEFAULT_FRAMES: Final = 450


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="example: python -m models.quantise models/yolov8n.onnx --frames street.mp4 --frames photos/",
    )
    parser.add_argument("model", type=Path, help="an export: models/yolov8n.onnx")
    parser.add_argument(
        "--frames",
        action="append",
        required=True,
        metavar="SOURCE",
        help="what `producer send` takes; as they will come",
    )
    parser.add_argument("--number", type=int, default=DEFAULT_FRAMES, help=f"of frames (default: {DEFAULT_FRAMES})")
    parser.add_argument("--every", type=int, default=5, help="take each so many-th frame of a source (default: 5)")
    parser.add_argument("--confidence", type=float, default=0.5, help="threshold of the comparison (default: 0.5)")
    parser.add_argument(
        "--compare-only", action="store_true", help="quantise nothing; compare bf16, and int8 where it is there"
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON, and nothing else")
    args = parser.parse_args()
    try:
        frames = read(args.frames, args.number, args.every)
        if len(frames) < 6:
            sys.exit(f"error: --frames: {len(frames)} frames are too few; some hundred give a good result")
        calibration = [] if args.compare_only else [frame for number, frame in enumerate(frames) if number % 3]
        others = frames if args.compare_only else frames[::3]
        if calibration:
            quantise(args.model, calibration)
        compared = compare(args.model, others, args.confidence)
    except (ModelError, ProducerError) as error:
        sys.exit(f"error: {error}")
    written = compared.write(args.model)
    if args.json:
        model = str(quantised_of(args.model))
        print(json.dumps({"model": model, "agreement": [asdict(one) for one in compared.agreements]}))
        return
    if calibration:
        print(f"{quantised_of(args.model)}: calibrated on {len(calibration)} frames")
    print(f"{written}: on {len(others)} {'other ' if calibration else ''}frames, against fp32:")
    for one in compared.agreements:
        share = one.found / max(1, one.detections)
        print(
            f"  {one.precision}  {one.found} of {one.detections} found again ({share:.1%}), {one.more} more; "
            f"mean IoU {one.iou:.3f}; confidence differs by {one.confidence[0]:.3f}, at most {one.confidence[1]:.3f}"
        )
        if objection := one.objection():
            print(f"        YOLO_PRECISION=auto will not take it: {objection}")


def read(sources: Sequence[str], number: int, every: int) -> list[Image]:
    """Reads an equal number of frames from each source, if it has so many.

    Raises:
        ProducerError: If a source cannot be read.
    """
    share = -(-number // len(sources))
    frames: list[Image] = []
    for source in sources:
        pictures = islice(open_source(source).pictures(), 0, None, every)
        try:
            for picture in islice(pictures, share):
                try:
                    frames.append(picture.pixels())
                except PictureError as error:
                    print(f"left out: {error}", file=sys.stderr)
        except PictureError as error:  # a film's end is missing
            print(error, file=sys.stderr)
    return frames[:number]


def quantise(model_path: Path, frames: Sequence[Image]) -> Path:
    """Writes the quantised model beside its original.

    Args:
        frames: BGR, [height, width, 3], of any sizes.

    Raises:
        ModelError: If there is no such model.
    """
    import nncf

    nncf.set_log_level(logging.ERROR)
    export = Export.read(model_path)
    model = export.model
    fuse_silu(model)
    try:
        exact = head.box_branch(model)
    except ValueError as error:
        raise ModelError(f"{model_path}: {error}") from None

    def network_input(image: Image) -> Any:
        box = Letterbox.fit(image.shape[0], image.shape[1], export.size, export.stride, square=export.fixed)
        canvas = np.empty((*box.shape, 3), np.uint8)
        box.place(image, canvas)
        return np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None], np.float32) / 255

    quantised = nncf.quantize(
        model,
        nncf.Dataset(frames, network_input),
        # SiLU's outputs are not symmetric about zero.
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(frames),
        ignored_scope=nncf.IgnoredScope(names=exact, validate=False),
    )
    output = quantised_of(model_path)
    ov.save_model(quantised, output, compress_to_fp16=False)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in (output, output.with_suffix(".bin"))
    ]
    output.with_name(output.name + ".sha256").write_text("".join(lines))
    return output


def fuse_silu(model: ov.Model) -> None:
    """Fuses each x * sigmoid(x) into one Swish, in place.

    An ONNX export has two operations, and quantisation would insert its own between them. That is less exact, and the
    operations would no longer be part of the convolution before them, which costs a third of the int8 network's time.
    """
    for node in model.get_ops():
        if node.get_type_name() != "Multiply":
            continue
        for value, sigmoid in (node.input_values(), node.input_values()[::-1]):
            if sigmoid.get_node().get_type_name() == "Sigmoid" and sigmoid.get_node().input_value(0) == value:
                swish = ops.swish(value)
                swish.set_friendly_name(node.get_friendly_name())
                for target in node.output(0).get_target_inputs():
                    target.replace_source_output(swish.output(0))
                break


def compare(exported: Path, frames: Sequence[Image], confidence: float) -> Record:
    """Compares bf16, where this processor computes in it, and int8, where there is one, with fp32.

    Raises:
        ModelError: If a model cannot be read, or there is nothing to compare.
    """

    def found(model: Path, precision: Precision) -> list[Detections]:
        detector = OpenVinoDetector(model, confidence_threshold=confidence, precision=precision)
        return [detector.detect(frame) for frame in frames]

    models: dict[Precision, Path] = {}
    if computes_bf16(ov.Core()):
        models["bf16"] = exported
    else:
        print("bf16 is left out: this processor does not compute in it", file=sys.stderr)
    if (quantised := quantised_of(exported)).is_file():
        models["int8"] = quantised
    if not models:
        raise ModelError(f"there is nothing to compare: no {quantised.name}, and no bf16 on this processor")
    exact = found(exported, "fp32")
    return Record(
        files={name: digest for model in (exported, *models.values()) for name, digest in hashes(model).items()},
        frames=len(frames),
        threshold=confidence,
        agreements=tuple(agreement(precision, exact, found(model, precision)) for precision, model in models.items()),
    )


def agreement(precision: Precision, exact: Sequence[Detections], others: Sequence[Detections]) -> Agreement:
    """Matches the detections of each frame, most confident first."""
    overlaps: list[float] = []
    differences: list[float] = []
    for wanted, got in zip(exact, others, strict=True):
        overlap = iou(wanted.xyxy.astype(float), got.xyxy.astype(float))
        overlap[wanted.class_id[:, None] != got.class_id[None]] = 0
        for row in range(len(wanted)):
            best = int(overlap[row].argmax()) if len(got) else 0
            if len(got) and overlap[row, best] >= 0.5:
                overlaps.append(float(overlap[row, best]))
                differences.append(abs(float(wanted.confidence[row] - got.confidence[best])))
                overlap[:, best] = 0
    return Agreement(
        precision,
        detections=sum(map(len, exact)),
        found=len(overlaps),
        more=sum(map(len, others)) - len(overlaps),
        iou=round(float(np.mean(overlaps)) if overlaps else 0.0, 4),
        confidence=(round(float(np.mean(differences or [0])), 4), round(max(differences, default=0.0), 4)),
    )


if __name__ == "__main__":
    main()
