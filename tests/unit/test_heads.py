"""Networks that run whole: what they find is what the split network of the same weights finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from kcl_worker.errors import ModelError
from kcl_worker.vision.detections import Image
from kcl_worker.vision.openvino_detector import OpenVinoDetector
from kcl_worker.vision.whole_head import EndToEndHead, WholeHead
from local.processes import ROOT
from producer.street import Street

DEMO_MODEL = ROOT / "models" / "street.onnx"
ROWS = np.zeros((1, 300, 6), np.float32)
ROWS[0, :4] = [[10, 20, 110, 220, 0.4, 1], [30, 30, 60, 60, 0.9, 2], [31, 30, 60, 60, 0.8, 2], [0, 0, 9, 9, 0.05, 0]]


@pytest.fixture
def picture() -> Image:
    return np.asarray(Street(4, 640, 384).frame(2.0), np.uint8)


def saved(model: ov.Model, path: Path, **metadata: object) -> Path:
    """A model's file with ultralytics' metadata."""
    for key, value in ({"names": {0: "person", 1: "car", 2: "bicycle"}, "stride": 32} | metadata).items():
        model.set_rt_info(str(value), ["framework", key])
    ov.save_model(model, path, compress_to_fp16=False)
    return path


def whole_network() -> ov.Model:
    """The demo model, whose head cannot be recognised any more."""
    model = ov.Core().read_model(DEMO_MODEL)
    output = model.get_results()[0].input_value(0)
    return ov.Model([ops.add(output, np.float32(0))], model.get_parameters())


def end_to_end_network(rows: np.ndarray = ROWS, size: int = 640) -> ov.Model:
    """A network of three classes that finds the same in any picture."""
    picture = ops.parameter([1, 3, size, size], np.float32)
    scores = ops.sigmoid(ops.reshape(ops.reduce_mean(picture, [2, 3], True), [1, 3, 1], False))
    nothing = ops.multiply(ops.reduce_sum(scores, [1], True), np.float32(0))
    return ov.Model([ops.add(ops.constant(rows), nothing)], [picture])


def test_a_head_that_is_not_recognised_costs_time_and_nothing_else(
    tmp_path: Path, picture: Image, caplog: pytest.LogCaptureFixture
) -> None:
    split = OpenVinoDetector(DEMO_MODEL, confidence_threshold=0.05).detect(picture)
    assert not caplog.records
    detector = OpenVinoDetector(saved(whole_network(), tmp_path / "whole.xml"), confidence_threshold=0.05)
    assert isinstance(detector._head, WholeHead)
    [line] = caplog.messages
    assert line.startswith("whole runs as the whole network: its boxes are computed for all cells")
    found = detector.detect(picture)
    assert len(found) == len(split) > 3
    np.testing.assert_allclose(found.xyxy, split.xyxy, atol=0.02)
    np.testing.assert_allclose(found.confidence, split.confidence, atol=1e-5)
    np.testing.assert_array_equal(found.class_id, split.class_id)


def test_what_suppresses_by_itself_is_read_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    detector = OpenVinoDetector(saved(end_to_end_network(), tmp_path / "own.xml"), confidence_threshold=0.3)
    assert isinstance(detector._head, EndToEndHead)
    [line] = caplog.messages
    assert line.startswith("own runs as the whole network: it suppresses or selects by itself")
    found = detector.detect(np.zeros((1280, 640, 3), np.uint8))  # half as large, with 160 pixels at the left
    np.testing.assert_allclose(found.xyxy, [[0, 60, 0, 120], [0, 60, 0, 120], [0, 40, 0, 440]])
    np.testing.assert_allclose(found.confidence, [0.9, 0.8, 0.4])
    assert found.class_id.tolist() == [2, 2, 1]  # no second suppression
    assert len(detector.detect(np.zeros((640, 640, 3), np.uint8), 0.04)) == 4
    assert len(detector.detect(np.zeros((640, 640, 3), np.uint8), 0.0)) == 4  # rows of zeros are none
    few = OpenVinoDetector(tmp_path / "own.xml", confidence_threshold=0.3, max_detections=1)
    np.testing.assert_allclose(few.detect(np.zeros((640, 640, 3), np.uint8)).confidence, [0.9])


def selecting_network() -> ov.Model:
    """A network of any size that selects the brightest 300 cells of a picture by itself."""
    picture = ops.parameter([-1, 3, -1, -1], np.float32)
    levels = [ops.avg_pool(picture, [s, s], [0, 0], [0, 0], [s, s], True) for s in (8, 16, 32)]
    scores = ops.sigmoid(ops.concat([ops.reshape(level, [0, 3, -1], True) for level in levels], 2))
    best = ops.topk(ops.reduce_max(scores, [1], False), np.int32(300), 1, "max", "value").output(0)
    return ov.Model([ops.concat([ops.unsqueeze(best, 2)] * 6, 2)], [picture])


@pytest.mark.parametrize(
    ("size", "height", "width", "shape"),
    [
        (128, 720, 1280, (128, 128)),  # 96x128 has 252 cells
        (320, 720, 1280, (192, 320)),
        (320, 100, 1600, (320, 320)),  # 32x320 has 210 cells
        (640, 100, 1600, (64, 640)),
        (640, 10, 1600, (32, 640)),
    ],
)
def test_a_picture_with_fewer_cells_than_detections_is_padded(
    tmp_path: Path, size: int, height: int, width: int, shape: tuple[int, int]
) -> None:
    detector = OpenVinoDetector(saved(selecting_network(), tmp_path / "own.xml"), image_size=size)
    assert len(detector.detect(np.full((height, width, 3), 255, np.uint8))) > 0
    assert list(detector._compiled)[-1] == shape


def test_a_size_with_fewer_cells_than_detections_is_refused(tmp_path: Path) -> None:
    file = saved(selecting_network(), tmp_path / "own.xml")
    with pytest.raises(ModelError, match=r"own\.xml: image size 96x96: it cannot run at this size: .*300") as caught:
        OpenVinoDetector(file, image_size=96)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("shape", [(1, 300, 7), (1, 6, 9)])
def test_other_outputs_are_refused_with_what_is_allowed(tmp_path: Path, shape: tuple[int, ...]) -> None:
    file = saved(end_to_end_network(np.zeros(shape, np.float32)), tmp_path / "other.xml")
    with pytest.raises(ModelError, match=r"its output is \[1,\d+,\d\]; \[N,4\+classes,cells\] and \[N,detections,6\]"):
        OpenVinoDetector(file)


def test_as_many_detections_as_rows_of_a_cell_are_not_taken_for_one(tmp_path: Path) -> None:
    rows = ROWS[:, :7]  # four and three classes
    detector = OpenVinoDetector(saved(end_to_end_network(rows), tmp_path / "seven.xml"), confidence_threshold=0.3)
    assert len(detector.detect(np.zeros((640, 640, 3), np.uint8))) == 3
