"""`YOLO_PRECISION=auto`: what may be taken, what is, and what is said of it."""

from __future__ import annotations

import logging
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import openvino as ov
import pytest

from benchmarks import bill, ceiling, cost
from kcl_worker import wiring
from kcl_worker.errors import ModelError
from kcl_worker.model_files import quantised as quantised_of
from kcl_worker.settings import Settings
from kcl_worker.vision import precision as auto
from kcl_worker.vision.agreement import Agreement, Record, beside, hashes
from kcl_worker.vision.openvino_detector import Precision
from local.processes import ROOT
from stacks.config import Config

GOOD = Agreement("int8", detections=189, found=189, more=0, iou=0.984, confidence=(0.012, 0.074))


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    for name in ("street.onnx", "street.onnx.sha256"):
        shutil.copy(ROOT / "models" / name, tmp_path)
    return tmp_path / "street.onnx"


@pytest.fixture
def quantised(exported: Path) -> Path:
    """The same network where a quantised one would lie: its operations have the same names."""
    path = quantised_of(exported)
    ov.save_model(ov.Core().read_model(exported), path, compress_to_fp16=False)
    return path


def record(exported: Path, *agreements: Agreement) -> None:
    files = hashes(exported)
    if quantised_of(exported).is_file():
        files |= hashes(quantised_of(exported))
    Record(files, frames=26, threshold=0.5, agreements=agreements or (GOOD, replace(GOOD, precision="bf16"))).write(
        exported
    )


def settings_of(exported: Path, precision: Literal["auto", "fp32"] = "auto") -> Settings:
    return Settings(
        kinesis_stream_name="s",
        s3_bucket_name="bucket",
        sqs_queue_url="http://q",
        yolo_model_path=exported,
        yolo_precision=precision,
    )


@pytest.mark.parametrize(
    ("milliseconds", "taken"),
    [
        ({}, "fp32"),
        ({"fp32": 10.0}, "fp32"),
        ({"fp32": 10.0, "bf16": 6.0, "int8": 5.0}, "int8"),
        ({"fp32": 10.0, "bf16": 5.0, "int8": 6.0}, "bf16"),
        ({"fp32": 10.0, "int8": 14.0}, "fp32"),
        ({"fp32": 10.0, "int8": 9.6}, "fp32"),  # not worth a difference
        ({"fp32": 10.0, "int8": 9.4}, "int8"),
    ],
)
def test_the_fastest_is_taken(milliseconds: dict[Precision, float], taken: str) -> None:
    assert auto.fastest(milliseconds) == taken


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({}, ""),
        ({"detections": 100, "found": 95, "more": 5}, ""),
        ({"found": 170}, "misses 10.1% of fp32's detections and has 0.0% more; 5% may be"),
        ({"more": 19}, "has 10.1% more"),
        ({"iou": 0.7}, "overlap fp32's by 0.700; 0.9 is needed"),
        ({"detections": 29, "found": 29}, "recorded on 29 detections; 60 are needed"),
        ({"detections": 0, "found": 0, "iou": 0.0}, "recorded on 0 detections"),
    ],
)
def test_agreement_that_is_not_good_enough_is_named(changes: dict[str, float], objection: str) -> None:
    said = replace(GOOD, **changes).objection()  # type: ignore[arg-type]
    assert objection in said
    assert bool(said) == bool(objection)


def test_only_what_agrees_by_its_record_may_be_taken(exported: Path, quantised: Path) -> None:
    def allowed(*, native_bf16: bool = True) -> tuple[set[Precision], dict[Precision, str]]:
        files, left_out = auto.allowed(exported, native_bf16=native_bf16)
        return set(files), left_out

    nothing = "there is no street.agreement.json, which `make quantise` writes"
    assert allowed() == (set(), {"bf16": nothing, "int8": nothing})
    record(exported)
    assert allowed() == ({"bf16", "int8"}, {})
    assert allowed(native_bf16=False) == ({"int8"}, {"bf16": "this processor does not compute in it"})
    record(exported, GOOD)
    assert allowed() == ({"int8"}, {"bf16": "its agreement with fp32 was not recorded"})
    record(exported, replace(GOOD, found=100), replace(GOOD, precision="bf16"))
    assert allowed()[0] == {"bf16"}

    record(exported)
    quantised.with_suffix(".bin").write_bytes(b"of other frames")
    assert allowed() == ({"bf16"}, {"int8": "its agreement was recorded of another street-int8.bin"})
    quantised.unlink()
    assert allowed()[1] == {"int8": "there is no street-int8.xml, which `make quantise` makes"}
    exported.with_name("street.onnx.sha256").unlink()
    exported.write_bytes(b"trained again")
    assert allowed()[1]["bf16"] == "its agreement was recorded of another street.onnx"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no JSON", "street.agreement.json: its text: Invalid JSON"),
        ("{}", "street.agreement.json: files: Field required"),
        ("[" * 90_000, "street.agreement.json: its text: Invalid JSON"),
    ],
)
def test_a_file_that_is_no_record_is_none(exported: Path, text: str, problem: str) -> None:
    beside(exported).write_text(text)
    files, left_out = auto.allowed(exported, native_bf16=True)
    assert not files
    assert left_out["bf16"].startswith(problem)
    assert len(left_out["bf16"].splitlines()) == 1


def test_without_a_choice_nothing_is_measured(exported: Path) -> None:
    choice = auto.choose(exported)
    assert (choice.precision, choice.milliseconds) == ("fp32", {})
    assert choice.reason == "all others are left out"


def test_what_may_be_taken_is_measured(exported: Path, quantised: Path) -> None:
    record(exported, GOOD)
    choice = auto.choose(exported)
    assert set(choice.milliseconds) == {"fp32", "int8"}
    assert all(taken > 0 for taken in choice.milliseconds.values())
    assert choice.precision == auto.fastest(choice.milliseconds)
    assert set(choice.left_out) == {"bf16"}


@pytest.mark.parametrize("problem", ["cut", "of another network"])
def test_a_quantised_model_that_cannot_be_run_stops_nothing(exported: Path, quantised: Path, problem: str) -> None:
    model = ov.Core().read_model(exported)
    for node in model.get_ops():
        if node.get_type_name() == "Convolution":
            node.set_friendly_name(f"other {node.get_friendly_name()}")
    ov.save_model(model, quantised, compress_to_fp16=False)
    if problem == "cut":
        quantised.write_text(quantised.read_text()[:1000])
    record(exported, GOOD)
    choice = auto.choose(exported)
    assert choice.precision == "fp32"
    assert "street-int8.xml" in choice.left_out["int8"]
    assert ("it was not made of street.onnx" in choice.left_out["int8"]) == (problem == "of another network")
    assert len(choice.left_out["int8"].splitlines()) == 1


def test_when_time_is_over_nothing_more_is_prepared(
    exported: Path, quantised: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(exported, GOOD)
    monkeypatch.setattr(auto, "BUDGET_SECONDS", 0.0)
    choice = auto.choose(exported)
    assert (choice.precision, list(choice.milliseconds)) == ("fp32", ["fp32"])
    assert choice.left_out["int8"] == "the 0 seconds were over"


def test_networks_take_turns_until_time_is_over() -> None:
    order: list[str] = []
    runs: dict[Precision, Callable[[], object]] = {
        "fp32": lambda: order.append("fp32"),
        "int8": lambda: order.append("int8"),
    }
    least = auto.least_milliseconds(runs, auto.Deadline(0))
    assert order == ["fp32", "int8"]  # one turn, whatever the time
    assert all(0 <= taken < 1000 for taken in least.values())
    order.clear()
    auto.least_milliseconds(runs, auto.Deadline(60))
    assert order == ["fp32", "int8"] * auto.TURNS


def test_a_model_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        wiring.load_detector(settings_of(tmp_path / "none.onnx"))


def test_the_worker_says_what_it_takes_and_why(
    exported: Path, quantised: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same network under both names is never faster by enough, unless nothing less than all is worth it."""
    record(exported, GOOD)
    monkeypatch.setattr(auto, "WORTH", 100.0)
    with caplog.at_level(logging.INFO):
        settings, detector = wiring.load_detector(settings_of(exported))
    [line] = [one for one in caplog.records if "YOLO_PRECISION" in one.message]
    assert line.message == "YOLO_PRECISION=auto takes int8: the fastest of those that may be taken"
    said = line.__dict__
    assert set(said["ms_of_first_third"]) == {"fp32", "int8"}
    assert set(said["left_out"]) == {"bf16"}
    # What suspicious frames are computed with, in another process, is the same.
    assert (settings.yolo_precision, settings.model_path) == ("int8", quantised)
    assert detector.name == "street-int8"
    assert pickle.loads(pickle.dumps(wiring.detector_of(settings)))().name == detector.name


def test_a_named_precision_is_taken_unmeasured(exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        settings, detector = wiring.load_detector(settings_of(exported, "fp32"))
    assert (settings.yolo_precision, detector.name) == ("fp32", "street")
    assert not [one for one in caplog.records if "YOLO_PRECISION" in one.message]


@pytest.mark.parametrize("int8", [False, True])
def test_the_machines_limit_counts_its_multiply_adds(int8: bool) -> None:
    form = ceiling._convolutions(8, 6, 10, int8=int8)
    assert form.operations == 2 * sum(auto.convolutions(form.model).values()) == 2 * ceiling.LAYERS * 8 * 8 * 9 * 60


def test_a_bill_counts_on_no_processor() -> None:
    measured, prices = cost.load()
    traffic = bill.Traffic(cameras=100)

    def total(precision: str) -> float:
        config = Config.of({"service": {"precision": precision}})
        return bill.bill(config, traffic, measured, cost.of_region(prices, config.region)).total

    assert total("auto") == total("fp32") > total("int8")
