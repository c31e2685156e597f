"""`make model`: ultralytics' export, run through our detector."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from kcl_worker.vision.openvino_detector import OpenVinoDetector
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


# A fixed size is the picture's: of a padded border's cells, which are all alike, chance says which comes first.
FORMS = {
    "dynamic": {"dynamic": True},
    "fixed": {"imgsz": [640, 480]},
    "fixed, with suppression": {"imgsz": [640, 480], "nms": True},
    "end to end": {"nms": False, "dynamic": True},
    "OpenVINO, fixed": {"format": "openvino", "imgsz": [640, 480]},
    "OpenVINO, fp16 weights": {"format": "openvino", "half": True, "dynamic": True},
}
# The smallest of each family. Others: `YOLO_NAMES="yolov8s yolov8m" pytest tests/system/test_export.py`.
NAMES = os.environ.get("YOLO_NAMES", "yolov8n yolov10n yolo11n yolo12n yolo26n").split()
# Of a deeper network rounding is larger, by the last letter of its name.
APART_PIXELS = {"l": 1.0, "x": 1.0}
ALONE_SHARE = {"x": 0.2}


@pytest.mark.parametrize("name", NAMES)
def test_what_ultralytics_finds_with_an_export_is_found(reference: Path, tmp_path: Path, name: str) -> None:
    script = ROOT / "tests" / "system" / "random_exports.py"
    picture = reference / "bus.jpg"
    done = subprocess.run(
        [str(MODEL_PYTHON), str(script), name, str(tmp_path), str(picture), json.dumps(FORMS)],
        cwd=tmp_path, env=os.environ | {"YOLO_AUTOINSTALL": "false"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    image = np.asarray(cv2.imread(str(picture)), np.uint8)
    for form in FORMS:
        wanted = json.loads((tmp_path / form / "found.json").read_text())
        detector = OpenVinoDetector(tmp_path / form / wanted["file"], confidence_threshold=0.25, max_detections=300)
        found = detector.detect(image)
        print(f"{name}, {form}: {type(detector._head).__name__}, {len(found)} objects of {len(wanted['confidence'])}")
        both = len(found) + len(wanted["confidence"])
        assert both > 20, form
        apart = np.abs(found.xyxy[:, None] - np.array(wanted["xyxy"])[None]).max(axis=2)
        apart[found.class_id[:, None] != np.array(wanted["class_id"])[None]] = np.inf
        # Boxes are up to 500 pixels wide, and the runtimes round in other places. Random weights find many objects that
        # are as likely as others: which of them suppression and the limit leave out may then differ.
        same = apart <= APART_PIXELS.get(name[-1], 0.2)
        alone = np.count_nonzero(~same.any(axis=0)) + np.count_nonzero(~same.any(axis=1))
        print(f"{alone} of {both} without a counterpart, the others within {apart[same].max():.4f} pixels")
        assert alone <= ALONE_SHARE.get(name[-1], 0.1) * both, form
        ours, theirs = np.nonzero(same)
        confidence = np.array(wanted["confidence"])[theirs]
        assert np.median(np.abs(found.confidence[ours] - confidence)) <= 0.001, form


def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(MODEL_PYTHON), "-m", "models.export", "--weights", str(tmp_path / "none.pt")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"error: --weights {tmp_path}/none.pt: no such file"]
