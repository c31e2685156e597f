from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcl_worker.errors import ModelError
from kcl_worker.vision import box_head as head
from kcl_worker.vision import nms
from kcl_worker.vision.detections import Image
from kcl_worker.vision.letterbox import Letterbox
from kcl_worker.vision.openvino_detector import MAX_COMPILED_SHAPES, OpenVinoDetector, _with_preprocessing
from kcl_worker.vision.split_head import SplitHead
from local.processes import ROOT
from producer.street import Street

DEMO_MODEL = ROOT / "models" / "street.onnx"


def photograph(reference: Path, name: str) -> Image:
    image = cv2.imread(str(reference / name))
    assert image is not None
    return np.asarray(image, np.uint8)


@pytest.mark.parametrize("confidence", [0.25, 0.5])
@pytest.mark.parametrize("rect", [True, False])
@pytest.mark.parametrize("name", ["bus.jpg", "zidane.jpg"])
def test_the_reference_is_reproduced(reference: Path, name: str, rect: bool, confidence: float) -> None:
    expected = json.loads((reference / "reference_detections.json").read_text())
    wanted = expected["images"][name][f"rect={rect},conf={confidence}"]
    detector = OpenVinoDetector(reference / "yolov8n.onnx", confidence_threshold=confidence, square=not rect)
    found = detector.detect(photograph(reference, name))
    assert [detector.class_names[number] for number in found.class_id] == [box["class"] for box in wanted]
    np.testing.assert_allclose(found.xyxy, [box["xyxy"] for box in wanted], atol=1)
    np.testing.assert_allclose(found.confidence, [box["confidence"] for box in wanted], atol=0.005)


def test_every_thread_finds_the_same(reference: Path) -> None:
    detector = OpenVinoDetector(reference / "yolov8n.onnx", confidence_threshold=0.25)
    bus, zidane = photograph(reference, "bus.jpg"), photograph(reference, "zidane.jpg")
    images = [zidane, bus, np.ascontiguousarray(zidane[:, ::-1]), zidane, bus] * 2
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(detector.detect, images))
    for image, found in zip(images, together, strict=True):
        alone = detector.detect(image)
        # Equal to the bit, because a replay must draw the same picture.
        np.testing.assert_array_equal(found.xyxy, alone.xyxy)
        np.testing.assert_array_equal(found.confidence, alone.confidence)


def test_the_boxes_of_all_cells_are_those_of_the_whole_network() -> None:
    [canvas] = np.asarray([Street(4, 640, 384).frame(2.0)], np.uint8)
    core = ov.Core()
    whole = core.compile_model(
        _with_preprocessing(core.read_model(DEMO_MODEL)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    output = whole({0: canvas[None]})[0][0]
    detector = OpenVinoDetector(DEMO_MODEL)
    logits, *maps = detector._infer(canvas[None])
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), output[4:], atol=1e-4)
    cells = np.arange(output.shape[1])  # including boxes at the edges, where a patch ends beyond the image
    assert isinstance(detector._head, SplitHead)
    boxes = detector._head.boxes.boxes(cells, maps, (384, 640))
    centre, size = output[:2].T, output[2:4].T
    np.testing.assert_allclose(boxes, np.concatenate((centre - size / 2, centre + size / 2), axis=1), atol=0.02)


@pytest.mark.parametrize("threshold", [0.0, 0.001, 0.5, 0.99, 1.0])
def test_candidates_are_above_the_threshold(threshold: float) -> None:
    logits = np.random.default_rng(7).normal(0, 4, (3, 500)).astype(np.float32)
    confidence = 1 / (1 + np.exp(-logits.max(axis=0)))
    found = head.select(logits, threshold, 400)
    assert len(found.cell) == min(400, int((confidence > threshold).sum()))
    np.testing.assert_allclose(found.confidence, np.sort(confidence)[::-1][: len(found.cell)], rtol=1e-5)
    np.testing.assert_array_equal(found.class_id, logits[:, found.cell].argmax(axis=0))


def test_another_head_is_refused(tmp_path: Path) -> None:
    value = ov.opset13.parameter([-1, 3, -1, -1], np.float32)
    model = ov.Model([ov.opset13.sigmoid(value)], [value])
    model.set_rt_info("{0: 'person'}", ["framework", "names"])
    model.set_rt_info("32", ["framework", "stride"])
    ov.save_model(model, tmp_path / "other.xml")
    with pytest.raises(ModelError, match=r"its output is .* are allowed"):
        OpenVinoDetector(tmp_path / "other.xml")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({0: "person"}, "its metadata names 1 classes, its network has 3, from 0 on"),
        ({0: "person", 1: "bicycle", 3: "car"}, "its metadata names 3 classes, its network has 3, from 0 on"),
        (dict.fromkeys(range(4), "person"), "its metadata names 4 classes, its network has 3, from 0 on"),
        ({0: "person", 1: "x" * 129, 2: "car"}, "class 1: 'x{40}': 1 to 128 printable characters are allowed"),
        ({0: "person", 1: "bicycle", 2: "c\uffff"}, r"class 2: 'c\\uffff': 1 to 128"),
    ],
)
def test_names_that_are_not_those_of_the_classes_are_refused(
    tmp_path: Path, names: dict[int, str], reason: str
) -> None:
    model = ov.Core().read_model(DEMO_MODEL)
    model.set_rt_info(str(names), ["framework", "names"])
    ov.save_model(model, tmp_path / "named.xml")
    with pytest.raises(ModelError, match=reason) as caught:
        OpenVinoDetector(tmp_path / "named.xml")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.skipif("BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"), reason="no bf16 here")
def test_bf16_finds_the_same_objects(reference: Path) -> None:
    bus = photograph(reference, "bus.jpg")
    exact = OpenVinoDetector(reference / "yolov8n.onnx").detect(bus)
    detector = OpenVinoDetector(reference / "yolov8n.onnx", precision="bf16")
    found = detector.detect(bus)
    assert detector.name == "yolov8n-bf16"
    assert found.class_id.tolist() == exact.class_id.tolist()
    np.testing.assert_allclose(found.confidence, exact.confidence, atol=0.03)
    assert not np.array_equal(found.confidence, exact.confidence)  # the arithmetic differs


def test_the_most_confident_detections_are_kept(reference: Path) -> None:
    bus = photograph(reference, "bus.jpg")
    all_of_them = OpenVinoDetector(reference / "yolov8n.onnx", confidence_threshold=0.25).detect(bus)
    two = OpenVinoDetector(reference / "yolov8n.onnx", confidence_threshold=0.25, max_detections=2).detect(bus)
    np.testing.assert_array_equal(two.confidence, all_of_them.confidence[:2])


@pytest.mark.slow
def test_ever_new_shapes_do_not_pile_up() -> None:
    detector = OpenVinoDetector(DEMO_MODEL)
    for height in range(64, 64 + 32 * (MAX_COMPILED_SHAPES + 3), 32):
        detector.detect(np.zeros((height, 640, 3), np.uint8))
    assert len(detector._compiled) == MAX_COMPILED_SHAPES


@pytest.mark.slow
@pytest.mark.thorough
def test_cameras_of_more_shapes_than_are_kept_do_not_mix_up() -> None:
    detector = OpenVinoDetector(DEMO_MODEL, confidence_threshold=0.2)
    cameras = [Street(4, 640, height).frame(2.0) for height in range(128, 128 + 64 * (MAX_COMPILED_SHAPES + 2), 64)]
    alone = [OpenVinoDetector(DEMO_MODEL, confidence_threshold=0.2).detect(image) for image in cameras]
    for _ in range(2):  # in the second round, each shape has been let go
        for image, wanted in zip(cameras, alone, strict=True):
            found = detector.detect(image)
            np.testing.assert_array_equal(found.xyxy, wanted.xyxy)


def test_extreme_shapes_are_detected_in() -> None:
    detector = OpenVinoDetector(DEMO_MODEL)
    for shape in ((1, 1, 3), (1, 4000, 3), (4000, 1, 3), (31, 33, 3)):
        found = detector.detect(np.zeros(shape, np.uint8))
        assert found.xyxy.shape == (len(found), 4)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        OpenVinoDetector(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match="not an ultralytics export"):
        OpenVinoDetector(tmp_path / "text.onnx")


@pytest.mark.parametrize("task", ["segment", "pose", "obb", "classify"])
def test_a_model_of_another_task_is_refused_by_its_name(tmp_path: Path, task: str) -> None:
    model = ov.Core().read_model(DEMO_MODEL)
    model.set_rt_info(task, ["framework", "task"])
    ov.save_model(model, tmp_path / "other.xml")
    with pytest.raises(ModelError, match=f"exported for the task '{task}'; only 'detect' gives boxes") as caught:
        OpenVinoDetector(tmp_path / "other.xml")
    assert len(str(caught.value).splitlines()) == 1


def test_a_model_without_metadata_is_refused_with_what_to_do(tmp_path: Path) -> None:
    value = ov.opset13.parameter([-1, 3, -1, -1], np.float32)
    ov.save_model(ov.Model([ov.opset13.sigmoid(value)], [value]), tmp_path / "bare.xml")
    with pytest.raises(ModelError, match="no metadata of ultralytics; export it with `make model"):
        OpenVinoDetector(tmp_path / "bare.xml")


def test_a_folder_without_its_weights_is_refused(tmp_path: Path) -> None:
    ov.save_model(ov.Core().read_model(DEMO_MODEL), tmp_path / "half.xml")
    (tmp_path / "half.bin").unlink()
    with pytest.raises(ModelError, match=r"half\.xml: ") as caught:
        OpenVinoDetector(tmp_path / "half.xml")
    assert len(str(caught.value).splitlines()) == 1


def test_a_model_that_is_not_the_one_exported_is_refused(tmp_path: Path) -> None:
    shutil.copy(DEMO_MODEL, tmp_path / "m.onnx")
    (tmp_path / "m.onnx.sha256").write_text("0" * 64 + "  m.onnx\n")
    with pytest.raises(ModelError, match="SHA-256"):
        OpenVinoDetector(tmp_path / "m.onnx")


def test_letterboxes_of_usual_cameras() -> None:
    assert Letterbox.fit(720, 1280, 640, 32).shape == (384, 640)
    assert Letterbox.fit(1080, 810, 640, 32).shape == (640, 480)
    assert Letterbox.fit(720, 1280, 640, 32, square=True).shape == (640, 640)


@given(st.integers(1, 5000), st.integers(1, 5000), st.booleans())
def test_a_letterbox_holds_its_image_and_brings_boxes_back(height: int, width: int, square: bool) -> None:
    box = Letterbox.fit(height, width, 640, 32, square=square)
    assert box.shape[0] % 32 == box.shape[1] % 32 == 0
    assert max(box.shape) == 640
    whole = np.array([[box.left, box.top, box.left + box.content[1], box.top + box.content[0]]], np.float32)
    # The tolerance is the rounding of the scaled image to whole pixels.
    np.testing.assert_allclose(box.restore(whole, height, width), [[0, 0, width, height]], atol=0.51 / box.scale + 1e-3)


boxes = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2)),
    max_size=30,
)


@given(boxes, st.integers(1, 30))
def test_suppression_is_that_of_the_definition(rows: list[tuple[int, int, int, int, int]], limit: int) -> None:
    xyxy = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in rows], np.float32).reshape(-1, 4)
    classes = np.array([row[4] for row in rows], np.int32)
    kept: list[int] = []
    for index in range(len(rows)):
        if all(classes[k] != classes[index] or iou(xyxy[k], xyxy[index]) <= nms.IOU_THRESHOLD for k in kept):
            kept.append(index)
    assert nms.suppress(xyxy, classes, limit).tolist() == kept[:limit]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    width = max(0.0, float(min(a[2], b[2]) - max(a[0], b[0])))
    height = max(0.0, float(min(a[3], b[3]) - max(a[1], b[1])))
    shared = width * height
    return shared / float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
