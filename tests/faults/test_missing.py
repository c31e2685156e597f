"""What is missing, closed or of the wrong kind ends the worker with a status of its own and one clear line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from doctor.leases import leases
from doctor.place import Place
from local.faults import Fault, FaultControl
from local.permissions import enforcement
from local.processes import Aws, Worker
from local.resources import Resources, client
from local.rig import QUICK

RESOURCE_STATUS = 12


def worker(resources: Resources, folder: Path, **changes: str) -> Worker:
    return Worker(resources.environment() | QUICK | changes, folder / "worker.log")


def put(resources: Resources, jpeg: bytes) -> None:
    resources.client("kinesis").put_record(StreamName=resources.stream, Data=jpeg, PartitionKey="door")


def last_words(worker: Worker) -> str:
    """The line with the exit status; it is the only one of its kind."""
    [entry] = [entry for entry in worker.log() if "exit_status" in entry]
    assert "\n" not in entry["message"]
    assert "Traceback" not in entry["message"]
    return str(entry["message"])


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("KINESIS_STREAM_NAME", "nobody", "stream nobody: ResourceNotFoundException"),
        pytest.param(
            "S3_BUCKET_NAME", "nobodys-bucket", "s3 get s3://nobodys-bucket/state/", marks=pytest.mark.thorough
        ),
        pytest.param("SQS_QUEUE_URL", "URL/nobody", "/nobody: ", marks=pytest.mark.thorough),
    ],
)
def test_something_missing(
    resources: Resources, jpeg: bytes, tmp_path: Path, variable: str, value: str, text: str
) -> None:
    put(resources, jpeg)
    value = value.replace("URL", resources.queue_url.rpartition("/")[0])
    with worker(resources, tmp_path, **{variable: value}) as started:
        assert started.wait() == RESOURCE_STATUS
        assert text in last_words(started)


@pytest.mark.thorough
def test_a_stream_that_is_deleted_while_it_is_read(resources: Resources, jpeg: bytes, tmp_path: Path) -> None:
    put(resources, jpeg)
    with worker(resources, tmp_path) as started:
        started.wait_for(lambda: started.get("/status")[1]["frames"], "a frame")
        resources.client("kinesis").delete_stream(StreamName=resources.stream)
        assert started.wait() == RESOURCE_STATUS
        assert f"stream {resources.stream}: " in last_words(started)


@pytest.mark.thorough
def test_a_stream_that_is_deleted_and_made_again(
    resources: Resources, jpeg: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(resources, jpeg)
    put(resources, jpeg)
    with worker(resources, tmp_path) as started:
        started.wait_for(lambda: started.get("/status")[1]["frames"] == 2, "two frames")
    kinesis = resources.client("kinesis")
    kinesis.delete_stream(StreamName=resources.stream)
    kinesis.create_stream(StreamName=resources.stream, ShardCount=1)
    put(resources, jpeg)
    for name, value in resources.environment().items():
        monkeypatch.setenv(name, value)
    finding = leases(Place.from_environment())
    assert finding.verdict == "wrong"
    assert f"they are of a stream {resources.stream} that was made at " in finding.says
    with worker(resources, tmp_path) as started:
        started.wait_for(lambda: started.get("/status")[1]["frames"] == 1, "the frame of the new stream")
        told = [entry for entry in started.log() if "made again" in entry["message"]]
        assert [(entry["message"], entry["removed"]) for entry in told] == [
            ("the stream was made again: its leases begin anew", 1)
        ]


def test_a_lease_table_that_is_somebody_elses(resources: Resources, tmp_path: Path) -> None:
    resources.client("dynamodb").create_table(
        TableName=resources.stream,
        KeySchema=[{"AttributeName": "other", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "other", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with worker(resources, tmp_path) as started:
        assert started.wait() == RESOURCE_STATUS
        assert last_words(started) == f"table {resources.stream}: its key is not leaseKey; KCL did not make it"


@pytest.mark.thorough
def test_a_role_without_rights(aws: Aws, resources: Resources, tmp_path: Path) -> None:
    with worker(resources, tmp_path, **nobody(aws)) as started, enforcement(aws.url):
        assert started.wait() == RESOURCE_STATUS
        assert f"stream {resources.stream}: AccessDeniedException" in last_words(started)


def nobody(aws: Aws) -> dict[str, str]:
    """Credentials of a role without a policy."""
    iam: Any = client("iam", aws.url)
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
    arn = iam.create_role(RoleName="nobody", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    given = client("sts", aws.url).assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }


@pytest.mark.thorough
def test_secrets_never_reach_the_log(aws: Aws, resources: Resources, jpeg: bytes, tmp_path: Path) -> None:
    put(resources, jpeg)
    secrets = {"AWS_SECRET_ACCESS_KEY": "s3cr3t-of-the-worker", "AWS_SESSION_TOKEN": "t0ken-of-the-worker"}
    with worker(resources, tmp_path, LOG_LEVEL="DEBUG", **secrets) as started:
        started.wait_for(lambda: started.get("/status")[1]["frames"] == 1, "a frame")
        FaultControl(aws.url).add(Fault("error", "s3", seconds=2))
        put(resources, jpeg)
        started.wait_for(lambda: started.get("/status")[1]["frames"] == 2, "another frame")
        assert started.stop() == 0
    log = (tmp_path / "worker.log").read_text()
    assert "s3 put" in log  # errors were told
    assert not any(secret in log for secret in secrets.values())
