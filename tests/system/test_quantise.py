"""`make quantise`: a model made int8 with frames of its own, and what that costs in precision."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import openvino as ov
import pytest

from kcl_worker.errors import ModelError
from kcl_worker.vision.openvino_detector import OpenVinoDetector, Precision, computes_bf16
from kcl_worker.vision.precision import choose
from local.processes import QUANTISE_PYTHON, ROOT
from models.drawings import drawing, held_out
from models.evaluate import mean_average_precision
from producer.street import CLASSES

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(
        not QUANTISE_PYTHON.exists(), reason="the extra `quantise` is not installed: make setup-quantise"
    ),
]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(QUANTISE_PYTHON), "-m", "models.quantise", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def precision_of(model: Path, precision: Precision) -> float:
    """mAP50-95 on held-out drawings."""
    detector = OpenVinoDetector(model, confidence_threshold=0.001, max_detections=300, precision=precision)
    pairs = [(detector.detect(image), labels) for image, labels in held_out(120)]
    return float(mean_average_precision(pairs, len(CLASSES)).mean())


def test_less_precision_costs_less_than_a_point(tmp_path: Path) -> None:
    for name in ("street.onnx", "street.onnx.sha256"):
        shutil.copy(ROOT / "models" / name, tmp_path)
    (tmp_path / "frames").mkdir()
    # Drawings of the training, none of those that are measured on: half of them as images, half as a film.
    for seed in range(60):
        cv2.imwrite(str(tmp_path / "frames" / f"{seed:04}.jpg"), drawing(seed)[0])
    film, images = tmp_path / "film.avi", [drawing(seed)[0] for seed in range(60, 120)]
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    for image in images:
        writer.write(image)
    writer.release()
    model = tmp_path / "street.onnx"
    done = run(model, "--frames", tmp_path / "frames", "--frames", film, "--every", "1", "--number", "120", "--json")
    assert done.returncode == 0, done.stderr
    *others, int8 = json.loads(done.stdout.splitlines()[-1])["agreement"]
    native_bf16 = computes_bf16(ov.Core())
    assert [one["precision"] for one in others] == ["bf16"] * native_bf16
    assert int8["precision"] == "int8"
    assert int8["found"] > 0.95 * int8["detections"] > 100

    quantised = tmp_path / "street-int8.xml"
    subprocess.run(["sha256sum", "-c", "street-int8.xml.sha256"], cwd=tmp_path, check=True, capture_output=True)
    exact = precision_of(model, "fp32")
    points = {"bf16": precision_of(model, "bf16"), "int8": precision_of(quantised, "int8")}
    print(f"mAP50-95: fp32 {exact:.4f}, {points}")
    assert all(abs(exact - other) < 0.01 for other in points.values())

    # `auto` may take both by what was recorded, and measures them.
    choice = choose(model)
    print(choice)
    assert set(choice.milliseconds) == {"fp32", "int8"} | ({"bf16"} if native_bf16 else set())
    # The same comparison without calibration says the same again, and is recorded.
    record = tmp_path / "street.agreement.json"
    recorded = record.read_bytes()
    record.unlink()
    done = run(model, "--frames", film, "--every", "1", "--compare-only")
    assert done.returncode == 0, done.stderr
    assert "int8" in done.stdout
    assert json.loads(record.read_text())["files"] == json.loads(recorded)["files"]

    weights = tmp_path / "street-int8.bin"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"street-int8\.bin: missing, or its SHA-256"):
        OpenVinoDetector(quantised, precision="int8")


def test_errors_are_one_line(tmp_path: Path) -> None:
    for arguments, text in (
        ((tmp_path / "none.onnx", "--frames", "demo"), "no such model"),
        ((ROOT / "models" / "street.onnx", "--frames", tmp_path), "no images there"),
    ):
        done = run(*arguments, "--number", "9")
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert text in done.stderr
