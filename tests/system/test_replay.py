"""Yesterday's frames through another model, while the live pipeline goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from contract.message import ResultMessage
from local.processes import ROOT, Aws
from local.resources import Resources, aws_environment, client
from local.rig import drain
from local.services import Services
from local.waiting import wait_for
from stacks.config import Config
from stacks.sources import sources_path
from tests.pictures import with_metadata

FRAMES = 5


def command(aws: Aws, environment: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = aws_environment(aws.url) | {"ENVIRONMENT": environment.stem, "KCL_FAILOVER_SECONDS": "3"}
    env["PYTHONPATH"] = str(ROOT)
    return subprocess.run(
        [sys.executable, "-m", "stacks.cli", "replay", *arguments],
        env=env, cwd=environment.parent.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def environment(tmp_path: Path, name: str) -> Path:
    """An environment of the operator's own checkout, with a suffix that nothing else has."""
    shutil.copytree(ROOT / "stacks", tmp_path / "stacks")
    path = tmp_path / "environments" / f"{name[:12]}.toml"
    path.parent.mkdir()
    path.write_text(f'suffix = "-{path.stem}"\n')
    return path


@pytest.mark.thorough
def test_a_replay_touches_nothing_of_the_live_pipeline(aws: Aws, environment: Path) -> None:
    suffix = f"-{environment.stem}"
    stream, kinesis = f"cv2kinesis{suffix}", client("kinesis", aws.url)
    kinesis.create_stream(StreamName=stream, ShardCount=2)

    def put(session: str, number: int) -> None:
        for index in range(number):
            record = with_metadata("door", session, index)
            kinesis.put_record(StreamName=stream, Data=record, PartitionKey="door")

    hides = json.dumps({"privacy": {"masks": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}})
    name = f"{sources_path(Config.read(environment))}/door"
    client("ssm", aws.url).put_parameter(Name=name, Value=hides, Type="String")
    put("old", 3)
    moment = datetime.now(UTC) + timedelta(seconds=2)
    wait_for(lambda: datetime.now(UTC) > moment, "that moment")
    put("new", FRAMES)
    model = str(ROOT / "models" / "street.onnx")
    done = command(aws, environment, "--from", moment.replace(microsecond=0).isoformat(), "--model", model)
    assert done.returncode == 0, done.stderr
    assert f"replayed   {FRAMES} frames" in done.stdout
    queue = client("sqs", aws.url).get_queue_url(QueueName=f"processing-results{suffix}-replay")["QueueUrl"]
    bucket = f"processedframes-123456789012-eu-central-1{suffix}-replay"
    replayed = Resources(Services(aws.url), stream, bucket, queue, "", "")
    results = [ResultMessage.model_validate_json(body) for body in drain(replayed, queue)]
    assert [result.frame_id for result in results] == [f"door/new/{index:09d}" for index in range(FRAMES)]
    assert client("s3", aws.url).list_objects_v2(Bucket=bucket, Prefix="frames/")["KeyCount"] == FRAMES
    # What the source hides is in no replay either.
    assert all(result.hidden and result.hidden.masks == 1 for result in results)
    stored = client("s3", aws.url).get_object(Bucket=bucket, Key=results[0].key)["Body"].read()
    picture = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.max() < 12
    tables = client("dynamodb", aws.url).list_tables()["TableNames"]
    assert [table for table in tables if table.startswith(stream)] == []


@pytest.mark.thorough
def test_wrong_arguments_are_one_line(aws: Aws, environment: Path) -> None:
    for arguments, text in (
        (("--from", "yesterday", "--model", "x"), "--from 'yesterday': a time such as"),
        (("--from", "2026-01-01T00:00:00Z", "--model", "nowhere.onnx"), "--model nowhere.onnx: an exported model"),
    ):
        done = command(aws, environment, *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert text in done.stderr
