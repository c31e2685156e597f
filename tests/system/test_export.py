"""`make model`: ultralytics' export, run through our detector."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest

from kcl_worker.vision.letterbox import Letterbox
from kcl_worker.vision.openvino_detector import OpenVinoDetector
from kcl_worker.vision.split_head import SplitHead
from local.processes import MODEL_PYTHON, ROOT

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not MODEL_PYTHON.exists(), reason="the extra `model` is not installed: make setup-model"),
]


@pytest.mark.model
@pytest.mark.skipif(not MODEL_PYTHON.exists(), reason="the extra `model` is not installed: make setup-model")
def test_exported_weights_find_what_the_reference_found(reference: Path, tmp_path: Path) -> None:
    output = tmp_path / "yolov8n.onnx"
    arguments = ["--size", "n", "--weights", str(reference / "yolov8n.pt"), "--output", str(output)]
    done = subprocess.run(
        [str(MODEL_PYTHON), "-m", "models.export", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "80 classes" in done.stdout
    subprocess.run(["sha256sum", "-c", "yolov8n.onnx.sha256"], cwd=tmp_path, check=True, capture_output=True)

    detector = OpenVinoDetector(output, confidence_threshold=0.25)
    assert (detector.name, len(detector.class_names)) == ("yolov8n", 80)
    expected = json.loads((reference / "reference_detections.json").read_text())["images"]
    for name in ("bus.jpg", "zidane.jpg"):
        image = cv2.imread(str(reference / name))
        assert image is not None
        found = detector.detect(np.asarray(image, np.uint8))
        wanted = expected[name]["rect=True,conf=0.25"]
        assert [detector.class_names[number] for number in found.class_id] == [box["class"] for box in wanted]
        np.testing.assert_allclose(found.xyxy, [box["xyxy"] for box in wanted], atol=1)
        np.testing.assert_allclose(found.confidence, [box["confidence"] for box in wanted], atol=0.005)


RANDOM_MODEL = """
import sys
import torch
from ultralytics import YOLO
torch.manual_seed(1)
model = YOLO(f"{sys.argv[1]}.yaml")
for part in model.model.modules():
    if isinstance(part, torch.nn.Conv2d):
        torch.nn.init.kaiming_normal_(part.weight)
        if part.bias is not None:
            torch.nn.init.normal_(part.bias)
    if isinstance(part, torch.nn.BatchNorm2d):
        part.running_var.fill_(2.0)
bins = model.model.model[-1].dfl.conv.weight
bins.data[:] = torch.arange(float(bins.numel())).view(bins.shape)
model.save(sys.argv[2])
"""


@pytest.mark.parametrize("name", ["yolo11n", "yolo12n", "yolov10n"])
def test_boxes_of_other_families_are_those_of_the_whole_network(reference: Path, tmp_path: Path, name: str) -> None:
    """Random weights: every cell gives another box, and a wrong one cannot be near by chance."""
    weights, output = tmp_path / f"{name}.pt", tmp_path / f"{name}.onnx"
    for arguments in (
        ["-c", RANDOM_MODEL, name, str(weights)],
        ["-m", "models.export", "--name", name, "--weights", str(weights), "--output", str(output)],
    ):
        done = subprocess.run([str(MODEL_PYTHON), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    image = cv2.imread(str(reference / "bus.jpg"))
    assert image is not None
    detector = OpenVinoDetector(output)
    height, width, _ = image.shape
    box = Letterbox.fit(height, width, 640, 32)
    canvas = np.empty((1, *box.shape, 3), np.uint8)
    box.place(np.asarray(image, np.uint8), canvas[0])
    logits, *maps = detector._infer(canvas)
    cells = np.argsort(-logits.max(axis=0))[:300].astype(np.intp)
    assert isinstance(detector._head, SplitHead)
    found = detector._head.boxes.boxes(cells, maps, box.shape)

    core = ov.Core()
    network = core.compile_model(core.read_model(output), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    whole = network([canvas[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255])[0][0]
    centre, size = whole[:2, cells].T, whole[2:4, cells].T
    assert found.std(axis=0).min() > 10
    np.testing.assert_allclose(found, np.hstack([centre - size / 2, centre + size / 2]), atol=0.02)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits[:, cells])), whole[4:, cells], atol=1e-5)


def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(MODEL_PYTHON), "-m", "models.export", "--weights", str(tmp_path / "none.pt")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"error: --weights {tmp_path}/none.pt: no such file"]
