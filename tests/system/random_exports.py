"""Exports a model of random weights in several forms, and writes what ultralytics finds with each.

Runs where ultralytics is: `random_exports.py yolo11n FOLDER PICTURE '{"fixed": {"imgsz": [640, 480]}}'`. Random weights
show equality: every cell gives another box, and a wrong one cannot be near by chance.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import torch
from ultralytics import YOLO

CONFIDENCE = 0.25
# Cells whose confidence is above that.
CANDIDATES = 60


def random_model(name: str, picture: np.ndarray) -> YOLO:
    """A model that finds some dozen objects in the picture, none of them for sure, with boxes of many sizes."""
    torch.manual_seed(1)
    model = YOLO(f"{name}.yaml")
    network, head = model.model, model.model.model[-1]
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight)
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    if isinstance(getattr(head, "dfl", None), torch.nn.Module) and hasattr(head.dfl, "conv"):
        bins = head.dfl.conv.weight
        bins.data[:] = torch.arange(float(bins.numel())).view(bins.shape)
    pixels = torch.from_numpy(cv2.resize(picture, (480, 640))[None, ..., ::-1].copy()).permute(0, 3, 1, 2) / 255
    given: dict[torch.nn.Module, torch.Tensor] = {}

    def keep(part: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        given[part] = output

    heads = {
        kind: [branch[-1] for branch in getattr(head, kind, None) or []]
        for kind in ("cv2", "cv3", "one2one_cv2", "one2one_cv3")
    }
    hooks = [last.register_forward_hook(keep) for level in heads.values() for last in level]
    with torch.no_grad():
        network.train()(torch.cat((pixels, pixels.flip(3))))  # normalises every layer
        network.eval()(pixels)
    for hook in hooks:
        hook.remove()
    for kind, level in heads.items():
        for last in level:
            if kind.endswith("cv3"):
                best = torch.cat([given[other].amax(1).flatten() for other in level]).topk(CANDIDATES).values
                scale, shift = 2 / (best[0] - best[-1]), math.log(CONFIDENCE / (1 - CONFIDENCE))
                centre = best[-1]
            else:
                scale, shift = (1.5 if head.reg_max > 1 else 0.5) / given[last].std(), 3.0
                centre = given[last].mean()
            last.weight.data *= scale
            last.bias.data = (last.bias.data - centre) * scale + shift
    return model


def in_fp32() -> None:
    """Has OpenVINO compute in fp32; ultralytics leaves it bfloat16, where the processor has it."""
    compile_model = ov.Core.compile_model

    def exact(core: ov.Core, model: object, device_name: str, config: dict[str, object]) -> ov.CompiledModel:
        return compile_model(core, model, device_name, config | {"INFERENCE_PRECISION_HINT": "f32"})

    ov.Core.compile_model = exact


def main() -> None:
    name, folder, picture, forms = sys.argv[1], Path(sys.argv[2]), cv2.imread(sys.argv[3]), json.loads(sys.argv[4])
    assert picture is not None
    in_fp32()
    weights = folder / f"{name}.pt"
    random_model(name, np.asarray(picture)).save(weights)
    for form, arguments in forms.items():
        (folder / form).mkdir()
        copy = shutil.copy(weights, folder / form)
        exported = YOLO(copy).export(**{"format": "onnx", "device": "cpu", "verbose": False} | arguments)
        [result] = YOLO(exported, task="detect").predict(
            picture, conf=CONFIDENCE, iou=0.7, imgsz=arguments.get("imgsz", 640), device="cpu", verbose=False
        )
        boxes = result.boxes
        found = {"xyxy": boxes.xyxy.tolist(), "confidence": boxes.conf.tolist(), "class_id": boxes.cls.int().tolist()}
        (folder / form / "found.json").write_text(json.dumps({"file": str(exported)} | found))


if __name__ == "__main__":
    main()
