from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kcl_worker.errors import SettingsError
from kcl_worker.settings import Settings
from local.processes import ROOT
from stacks import reference

REQUIRED = {
    "KINESIS_STREAM_NAME": "cv2kinesis",
    "S3_BUCKET_NAME": "processedframes-1",
    "SQS_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/1/q",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)


def test_the_defaults_are_the_contracts() -> None:
    settings = Settings.from_environment()
    assert (settings.confidence_threshold, settings.max_detections) == (0.5, 100)
    assert settings.yolo_model_size == "n"
    assert settings.model_path == ROOT / "models" / "yolov8n.onnx"


@pytest.mark.parametrize("size", ["m", "yolov8m", "YOLOv8m"])
def test_model_sizes_in_all_their_forms(monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv("YOLO_MODEL_SIZE", size)
    assert Settings.from_environment().model_path.name == "yolov8m.onnx"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("CONFIDENCE_THRESHOLD", "1.5", "less than or equal to 1"),
        ("CONFIDENCE_THRESHOLD", "high", "valid number"),
        ("MAX_DETECTIONS", "0", "greater than or equal to 1"),
        ("YOLO_MODEL_SIZE", "q", "'n', 's', 'm', 'l' or 'x'"),
        ("S3_BUCKET_NAME", "UPPER", "pattern"),
        ("SQS_QUEUE_URL", "queue", "pattern"),
        (
            "SQS_QUEUE_URL",
            "https://sqs.eu-central-1.amazonaws.com/1/q.fifo",
            "a FIFO queue; a standard queue is needed",
        ),
        ("QUARANTINE_QUEUE_URL", "http://127.0.0.1:1/1/q.fifo", "a FIFO queue; a standard queue is needed"),
        ("SHUTDOWN_GRACE_SECONDS", "600", "less than or equal to 110"),
        ("YOLO_IMAGE_SIZE", "100", "multiple of 32"),
        ("KCL_PROPERTIES", "maxLeasesForWorker=ten", "maxLeasesForWorker = 'ten': a whole number is needed"),
        ("KCL_PROPERTIES", "maxRecords=3000000000", "'3000000000': a whole number is needed, up to 2147483647"),
        ("KCL_PROPERTIES", "workerMetricsEMAAlpha=half", "workerMetricsEMAAlpha = 'half': a number is needed"),
        ("KCL_PROPERTIES", "leaseTablePitrEnabled=yes", "leaseTablePitrEnabled = 'yes': true or false is needed"),
        ("KCL_PROPERTIES", "failoverTimeMillis=1;maxRecords", "'maxRecords' is not `name = value`"),
        (
            "KCL_PROPERTIES",
            "failoverTimeMilis=1",
            "failoverTimeMilis is no property of the daemon; is it failoverTimeMillis?",
        ),
        (
            "KCL_PROPERTIES",
            "fanout.consumerName=x",
            "fanout.consumerName is no property of the daemon; is it fanoutConfig?",
        ),
        ("KCL_PROPERTIES", "q=1", "q is no property of the daemon, see MultiLangDaemonConfiguration"),
        ("KCL_PROPERTIES", "tableName=other", "tableName follows the worker's own settings"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment()
    text = str(caught.value)
    assert text.startswith(f"{name}='{value}': ")
    assert allowed in text
    assert "\n" not in text


def test_a_worker_without_settings_says_so_in_one_line_and_ends_with_2() -> None:
    environment = {name: value for name, value in os.environ.items() if name.upper() not in REQUIRED}
    done = subprocess.run(
        [sys.executable, "-m", "kcl_worker"], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "KINESIS_STREAM_NAME is not set" in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("variable", ["AWS_PROFILE", pytest.param("AWS_ENDPOINT_URL", marks=pytest.mark.thorough)])
def test_settings_of_the_sdk_that_cannot_be_used_end_the_worker_in_one_line(variable: str) -> None:
    wrong = {variable: "nowhere", "YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx")}
    environment = os.environ | REQUIRED | wrong
    done = subprocess.run(
        [sys.executable, "-m", "kcl_worker"], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    last = json.loads(done.stderr.splitlines()[-1])
    assert "nowhere" in last["message"]
    assert "Traceback" not in done.stderr


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    environment = os.environ | REQUIRED | {"YOLO_MODEL_PATH": str(tmp_path / "none.onnx"), "HEALTH_PORT": "0"}
    environment |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    done = subprocess.run(
        [sys.executable, "-m", "kcl_worker"], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 10
    assert "none.onnx: no such model" in done.stderr.splitlines()[-1]


def test_the_reference_is_what_the_code_says() -> None:
    text = reference.PAGE.read_text()
    assert reference.page(text) == text, "out of date: make reference"
    assert "None |" not in text  # a field without a description
