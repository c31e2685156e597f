"""`--from-outputs`: a deployment's outputs instead of variables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cloud.outputs import OutputsError, read
from local.processes import ROOT, Aws
from local.resources import aws_environment

OUTPUTS: dict[str, dict[str, object]] = {
    "KinesisStreamName": {"sensitive": False, "type": "string", "value": "frames-prod"},
    "SQSQueueURL": {"value": "https://sqs.eu-west-1.amazonaws.com/123456789012/results"},
    "Region": {"value": "eu-west-1"},
    "LoadBalancerURL": {"value": "http://x/health"},
}


def test_terraforms_form_and_plain_names_and_values(tmp_path: Path) -> None:
    path = tmp_path / "outputs.json"
    expected = {
        "KINESIS_STREAM_NAME": "frames-prod",
        "SQS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/results",
        "AWS_REGION": "eu-west-1",
    }
    for outputs in (OUTPUTS, {name: output["value"] for name, output in OUTPUTS.items()}):
        path.write_text(json.dumps(outputs))
        assert read(path) == expected


@pytest.mark.parametrize(
    "text",
    [
        None, "", "[]", "{}", '{"Other": 1}', '{"Region": 5}', '{"Region": {"sensitive": false}}',
        '{"Region": "a\\u0000b"}', '{"Region": "\\ud800"}', "[" * 200_000,
    ],
)  # fmt: skip
def test_another_file_is_refused_in_one_line(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "outputs.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OutputsError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "arguments", "named"),
    [("producer", ["send", "demo"], "frames-prod"), ("consumer", ["watch"], "123456789012/results")],
)
def test_the_clis_take_them_over_the_environment(
    aws: Aws, tmp_path: Path, module: str, arguments: list[str], named: str
) -> None:
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps(OUTPUTS))
    # Neither is there, so the error names it.
    env = aws_environment(aws.url) | {"KINESIS_STREAM_NAME": "other", "SQS_QUEUE_URL": "http://other"}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments, "--from-outputs", str(path)],
        env=env, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert f"{named}: no such " in done.stderr
    missing = subprocess.run(
        [sys.executable, "-m", module, *arguments, "--from-outputs", "nowhere.json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (missing.returncode, missing.stderr) == (
        2,
        "error: --from-outputs: nowhere.json: No such file or directory\n",
    )
