"""The embedded AWS's faults, seen by a real client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, ReadTimeoutError

from local.faults import Fault, FaultControl
from local.processes import Aws
from local.resources import REGION, Resources
from local.waiting import PATIENCE_SECONDS


@pytest.fixture
def faults(aws: Aws) -> Iterator[FaultControl]:
    control = FaultControl(aws.url)
    yield control
    control.clear()


def once(aws: Aws, service: str, timeout: float = PATIENCE_SECONDS) -> Any:
    """A client that tries once."""
    config = Config(retries={"total_max_attempts": 1}, read_timeout=timeout)
    return boto3.client(
        service,
        endpoint_url=aws.url,
        region_name=REGION,
        config=config,
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )


@pytest.mark.parametrize(
    ("kind", "service", "code"),
    [
        ("throttle", "s3", "SlowDown"),
        ("throttle", "sqs", "RequestThrottled"),
        ("throttle", "kinesis", "ProvisionedThroughputExceededException"),
        ("expired", "s3", "ExpiredToken"),
        ("expired", "dynamodb", "ExpiredTokenException"),
        ("error", "s3", "500"),
        ("error", "dynamodb", "500"),
    ],
)
def test_errors_come_in_the_services_own_form(
    aws: Aws, faults: FaultControl, kind: str, service: str, code: str
) -> None:
    call = {"s3": "list_buckets", "sqs": "list_queues", "kinesis": "list_streams", "dynamodb": "list_tables"}[service]
    faults.add(Fault(kind, service))
    with pytest.raises(ClientError) as caught:
        getattr(once(aws, service), call)()
    assert caught.value.response["Error"]["Code"] == code
    # Other services work, and so does this one afterwards.
    other = {"s3": "sqs"}.get(service, "s3")
    getattr(once(aws, other), {"sqs": "list_queues", "s3": "list_buckets"}[other])()
    faults.clear()
    getattr(once(aws, service), call)()


def test_connections_end_and_answers_are_late(aws: Aws, faults: FaultControl) -> None:
    faults.add(Fault("reset", "sqs"))
    with pytest.raises((HTTPClientError, ClientError)):
        once(aws, "sqs").list_queues()
    faults.clear()
    faults.add(Fault("slow", "sqs", delay=1.5))
    with pytest.raises(ReadTimeoutError):
        once(aws, "sqs", timeout=0.5).list_queues()
    once(aws, "sqs").list_queues()


def test_batches_are_taken_in_part(faults: FaultControl, resources: Resources) -> None:
    faults.add(Fault("partial"))
    records = [{"Data": str(n).encode(), "PartitionKey": "k"} for n in range(4)]
    answer = resources.client("kinesis").put_records(StreamName=resources.stream, Records=records)
    assert answer["FailedRecordCount"] == 2
    assert ["ErrorCode" in record for record in answer["Records"]] == [True, False, True, False]
    entries = [{"Id": str(n), "MessageBody": f"m{n}"} for n in range(3)]
    sent = resources.client("sqs").send_message_batch(QueueUrl=resources.queue_url, Entries=entries)
    assert [entry["Id"] for entry in sent["Failed"]] == ["0", "2"]
    assert [entry["Id"] for entry in sent["Successful"]] == ["1"]
    faults.clear()
    [message] = resources.client("sqs").receive_message(QueueUrl=resources.queue_url)["Messages"]
    assert message["Body"] == "m1"


def test_a_fault_ends_by_itself_and_requests_are_counted(aws: Aws, faults: FaultControl) -> None:
    before = faults.requests().get("sqs:ListQueues", 0)
    faults.add(Fault("error", "sqs", seconds=0.3))
    sqs, failures = once(aws, "sqs"), 0
    for _ in range(10_000):
        try:
            sqs.list_queues()
            break
        except ClientError:
            failures += 1
    else:
        pytest.fail("it never ended")
    assert failures > 0
    assert faults.requests()["sqs:ListQueues"] == before + failures + 1
