"""`make model`: ultralytics' export, run through our detector."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from kcl_worker.openvino_detector import OpenVinoDetector
from local.processes import MODEL_PYTHON, ROOT


@pytest.mark.model
@pytest.mark.timeout(400)
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


@pytest.mark.skipif(not MODEL_PYTHON.exists(), reason="the extra `model` is not installed: make setup-model")
def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(MODEL_PYTHON), "-m", "models.export", "--weights", str(tmp_path / "none.pt")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"error: --weights {tmp_path}/none.pt: no such file"]
