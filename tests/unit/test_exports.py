"""What a model's file says of itself is obeyed, or refused in one line."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset13 as ops

from kcl_worker.errors import ModelError
from kcl_worker.vision.export import MAX_METADATA, Export
from kcl_worker.vision.openvino_detector import OpenVinoDetector
from local.processes import ROOT
from models import export
from producer.street import Street

DEMO_MODEL = ROOT / "models" / "street.onnx"


# Twenty levels of nine aliases each.
BILLION = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(20))


def saved(path: Path, model: ov.Model | None = None, **metadata: object) -> Path:
    """A file of the demo model with other metadata."""
    model = model or ov.Core().read_model(DEMO_MODEL)
    for key, value in metadata.items():
        model.set_rt_info(str(value), ["framework", key])
    ov.save_model(model, path, compress_to_fp16=False)
    return path


def of_size(*shape: int) -> ov.Model:
    model = ov.Core().read_model(DEMO_MODEL)
    model.reshape(shape)
    return model


def refused(path: Path, **arguments: int) -> str:
    """The one line with which a model is refused."""
    with pytest.raises(ModelError) as caught:
        OpenVinoDetector(path, image_size=arguments.get("image_size"))
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# -- size


def test_a_network_of_one_size_runs_at_it(tmp_path: Path) -> None:
    picture = np.asarray(Street(4, 640, 384).frame(2.0), np.uint8)
    file = saved(tmp_path / "wide.xml", of_size(1, 3, 384, 640), names={0: "person", 1: "car", 2: "bicycle"}, stride=32)
    found = OpenVinoDetector(file, confidence_threshold=0.3).detect(picture)
    wanted = OpenVinoDetector(DEMO_MODEL, confidence_threshold=0.3).detect(picture)
    np.testing.assert_allclose(found.xyxy, wanted.xyxy, atol=0.02)
    # Upright pictures lie in it with their height as the limit.
    upright = OpenVinoDetector(file)
    upright.detect(np.zeros((1280, 720, 3), np.uint8))
    assert list(upright._compiled) == [(384, 640)]


def test_a_network_of_one_size_takes_no_other(tmp_path: Path) -> None:
    file = saved(tmp_path / "small.xml", of_size(1, 3, 320, 320), names={0: "a", 1: "b", 2: "c"}, stride=32)
    assert f"{file}: image size 640: it was exported for 320x320 alone; leave the size out" in refused(
        file, image_size=640
    )
    OpenVinoDetector(file, image_size=320)


def test_a_network_of_any_size_runs_at_the_size_of_its_export_or_the_wanted_one(tmp_path: Path) -> None:
    for imgsz, wanted, shape in (
        ("[320, 320]", None, (192, 320)),
        ("[384, 640]", None, (384, 640)),
        ("320", None, (192, 320)),
        ("[320, 320]", 640, (384, 640)),
    ):
        detector = OpenVinoDetector(saved(tmp_path / "any.xml", imgsz=imgsz), image_size=wanted)
        detector.detect(np.zeros((720, 1280, 3), np.uint8))
        assert list(detector._compiled) == [shape]
    file = saved(tmp_path / "coarse.xml", stride=64)
    assert "image size 672: a multiple of its stride, 64, is allowed" in refused(file, image_size=672)


@pytest.mark.parametrize("imgsz", ["[640]", "big", "[0, 640]", "[640, 1000000]", "['a', 'b']", "None"])
def test_sizes_that_are_none_are_refused(tmp_path: Path, imgsz: str) -> None:
    assert "its metadata's 'imgsz'" in refused(saved(tmp_path / "odd.xml", imgsz=imgsz))


@pytest.mark.parametrize("stride", ["0", "-32", "wide", "[32]"])
def test_strides_that_are_none_are_refused(tmp_path: Path, stride: str) -> None:
    assert "its metadata's 'stride'" in refused(saved(tmp_path / "odd.xml", stride=stride))


def test_batches_and_other_pictures_are_refused(tmp_path: Path) -> None:
    names = {0: "a", 1: "b", 2: "c"}
    file = saved(tmp_path / "four.xml", of_size(4, 3, 320, 320), names=names, stride=32)
    assert "it takes 4 pictures at a time; export it with batch=1 or dynamic=True" in refused(file)
    grey = ops.parameter([1, 1, 320, 320], np.float32)
    file = saved(tmp_path / "grey.xml", ov.Model([ops.sigmoid(grey)], [grey]), names=names, stride=32)
    assert "it takes [1,1,320,320]; a network for pictures of three colours takes [N,3,H,W]" in refused(file)


# -- arithmetic


def test_a_network_for_fp16_arithmetic_is_computed_in_fp32(tmp_path: Path) -> None:
    model = ov.Core().read_model(DEMO_MODEL)
    [parameter], [result] = model.get_parameters(), model.get_results()
    parameter.set_element_type(ov.Type.f16)
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant" and node.get_output_element_type(0) == ov.Type.f32:
            node.output(0).replace(ops.constant(node.data.astype(np.float16)).output(0))
        elif node.get_type_name() == "Convert" and node.get_output_element_type(0) == ov.Type.f32:
            node.set_destination_type(ov.Type.f16)
    model.validate_nodes_and_infer_types()
    assert result.get_output_element_type(0) == ov.Type.f16
    detector = OpenVinoDetector(saved(tmp_path / "half.xml", model), confidence_threshold=0.1)
    picture = np.asarray(Street(4, 1280, 720).frame(2.0), np.uint8)
    wanted = OpenVinoDetector(DEMO_MODEL, confidence_threshold=0.1).detect(picture)  # its weights are fp16 as well
    found = detector.detect(picture)
    assert len(found) > 3
    np.testing.assert_allclose(found.xyxy, wanted.xyxy, atol=0.3)
    np.testing.assert_allclose(found.confidence, wanted.confidence, atol=0.002)


# -- OpenVINO's form


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export in OpenVINO's form: the metadata lie beside the network."""
    folder = tmp_path / "mine_openvino_model"
    folder.mkdir()
    model = ov.Core().read_model(DEMO_MODEL)
    bare = ov.Model(model.get_results(), model.get_parameters())
    ov.save_model(bare, folder / "mine.xml")
    names = {0: "person", 1: "a 'b', \"c\"", 2: "велосипед"}
    values = {"task": "detect", "stride": 32, "imgsz": [320, 320], "names": names}
    (folder / "metadata.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return folder


def test_a_folder_is_read_with_its_metadata(folder: Path) -> None:
    for path in (folder, folder / "mine.xml"):
        detector = OpenVinoDetector(path)
        assert (detector.name, detector._size) == ("mine", (320, 320))
        assert detector.class_names == ("person", "a 'b', \"c\"", "велосипед")


def test_a_folder_without_its_files_is_refused(folder: Path) -> None:
    shutil.copy(folder / "mine.xml", folder / "other.xml")
    assert "a folder with one .xml file is allowed, it holds 2" in refused(folder)
    (folder / "other.xml").unlink()
    (folder / "mine.bin").unlink()
    assert "mine.xml has no weights beside it: mine.bin" in refused(folder)
    (folder / "mine.xml").unlink()
    assert "a folder with one .xml file is allowed, it holds 0" in refused(folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "it has no metadata of ultralytics"),
        ("task: [", "metadata.yaml is no YAML without aliases"),
        ("\xff", "metadata.yaml is no YAML without aliases"),
        ("!!python/object/apply:os.getcwd []", "metadata.yaml is no YAML without aliases"),
        ("date: 2026-13-45", "metadata.yaml is no YAML without aliases"),
        ("{[1]: a}", "metadata.yaml is no YAML without aliases"),
        (BILLION, "metadata.yaml is no YAML without aliases"),
        ("- a list", "it has no metadata of ultralytics"),
        ("task: pose\nnames: {0: a}", "exported for the task 'pose'"),
        ("x" * (MAX_METADATA + 1), f"{MAX_METADATA} are allowed"),
    ],
)
def test_metadata_that_cannot_be_used_are_refused(folder: Path, text: str | None, reason: str) -> None:
    (folder / "metadata.yaml").unlink()
    if text is not None:
        (folder / "metadata.yaml").write_text(text, encoding="latin-1")
    assert reason in refused(folder)


# -- hashes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "word\n",
        "0 street.xml\n",
        f"{'0' * 64} \n",
        f"{'0' * 64}  ../street.xml\n",
        f"{'0' * 64}  a\0b\n",
        "\xff",
    ],
)
def test_a_file_of_hashes_that_holds_none_is_refused(tmp_path: Path, text: str) -> None:
    file = saved(tmp_path / "street.xml")
    beside = tmp_path / "street.xml.sha256"
    beside.write_text(text, encoding="latin-1")
    with pytest.raises(ModelError) as caught:
        Export.read(file)
    assert str(caught.value) == f"{beside}: lines as `sha256sum` writes them are allowed; export the model again"


def test_empty_lines_between_hashes_are_none(tmp_path: Path) -> None:
    file = saved(tmp_path / "street.xml")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (tmp_path / "street.xml.sha256").write_text(f"\n{digest}  street.xml\n\n{digest} *street.xml\n")
    assert Export.read(file).name == "street"


# -- class names


@pytest.mark.parametrize(
    "names",
    [
        {0: "it's", 1: 'the "big" one', 2: "a, b: {c}"},
        {0: "back\\slash", 1: "{0: 'x'}", 2: "# no comment"},
        {0: "人", 1: "عربي", 2: "हिन्दी"},
        {0: "می‌خواهم", 1: "👩‍🚒", 2: "e\u0301"},
        {0: "person", 1: "person", 2: "person"},
        {2: "c", 0: "a", 1: "b"},
        {0: "x" * 128, 1: " padded ", 2: "0"},
    ],
)
def test_names_are_those_of_the_export(tmp_path: Path, names: dict[int, str]) -> None:
    detector = OpenVinoDetector(saved(tmp_path / "named.xml", names=names))
    assert detector.class_names == tuple(names[number] for number in range(3))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({0: "a", 1: "b"}, "its metadata names 2 classes, its network has 3, from 0 on"),
        ({0: "a", 1: "b", 2: "c", 3: "d"}, "its metadata names 4 classes, its network has 3, from 0 on"),
        ({1: "a", 2: "b", 3: "c"}, "its metadata names 3 classes, its network has 3, from 0 on"),
        ({"0": "a", "1": "b", "2": "c"}, "its metadata names 3 classes, its network has 3, from 0 on"),
        ({}, "its metadata names 0 classes"),
        ({0: "", 1: "b", 2: "c"}, "class 0: '': 1 to 128 printable characters are allowed"),
        ({0: "a", 1: "  ", 2: "c"}, "class 1: '  ': 1 to 128"),
        ({0: "a", 1: "\u200d", 2: "c"}, "class 1: '\\u200d': 1 to 128"),
        ({0: "a", 1: "b\nc", 2: "c"}, "class 1: 'b\\nc': 1 to 128"),
        ({0: "a", 1: "\u202eb", 2: "c"}, "class 1: '\\u202eb': 1 to 128"),
        ({0: "a", 1: None, 2: "c"}, "class 1: None: a text is allowed"),
        (["a", "b", "c"], "its metadata's 'names' are ['a', 'b', 'c']; {0: 'person', 1: …} is allowed"),
        ("nobody", "its metadata's 'names' are 'nobody'; {0: 'person', 1: …} is allowed"),
        ("__import__('os').getcwd()", "{0: 'person', 1: …} is allowed"),
        ("{[1]: 'a'}", "{0: 'person', 1: …} is allowed"),
        ("[" * 5000, "{0: 'person', 1: …} is allowed"),
        ("{0: 'a'" + " " * MAX_METADATA + "}", f"{MAX_METADATA} are allowed"),
    ],
)
def test_names_that_are_none_are_refused(tmp_path: Path, names: object, reason: str) -> None:
    assert reason in refused(saved(tmp_path / "named.xml", names=names))


@given(st.lists(st.text(min_size=1, max_size=128), min_size=3, max_size=3))
def test_any_names_are_right_or_refused(names: list[str]) -> None:
    value = ops.parameter([1, 3, 32, 32], np.float32)
    model = ov.Model([ops.sigmoid(value)], [value])
    model.set_rt_info(str(dict(enumerate(names))), ["framework", "names"])
    export = Export("any", model, 32, (640, 640), False)
    try:
        assert export.class_names(3) == tuple(names)
    except ValueError as error:
        assert "printable characters are allowed" in str(error)
        assert len(str(error).splitlines()) == 1


# -- make model


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], "yolov8n"),
        (["--size", "m"], "yolov8m"),
        (["--name", "yolo11n"], "yolo11n"),
        (["--size", "n", "--weights", "mine.pt"], "mine"),
        (["--size", "n", "--weights", "mine.pt", "--name", "door"], "door"),
    ],
)
def test_own_weights_never_take_another_models_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], name: str
) -> None:
    outputs: list[Path] = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.pt").touch()
    monkeypatch.setattr(export, "export", lambda weights, output: outputs.append(output))
    monkeypatch.setattr(sys, "argv", ["export", *arguments])
    export.main()
    assert outputs == [ROOT / "models" / f"{name}.onnx"]
