"""What a client does when a service calls its signature or its token expired."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cloud.clients import client
from cloud.clock import clock
from cloud.credentials import credentials as chain
from cloud.errors import Kind, classify
from local.faults import Fault, FaultControl
from local.processes import Aws
from local.resources import REGION

CALLS = {"s3": "list_buckets", "sqs": "list_queues", "kinesis": "list_streams", "dynamodb": "list_tables"}


@pytest.fixture
def faults(aws: Aws) -> Iterator[FaultControl]:
    control = FaultControl(aws.url)
    yield control
    control.clear()
    clock.learn(formatdate(usegmt=True))


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file with the credentials of this process, and nothing else that has any."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    chain.forget()  # those that other tests have found
    write(file, "old")
    yield file
    chain.forget()


def write(file: Path, key: str) -> None:
    file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = x\n")


def call(aws: Aws, service: str, made: Any = None) -> None:
    made = made or client(service, REGION, endpoint_url=aws.url)
    getattr(made, CALLS[service])()


@pytest.mark.parametrize("seconds", [3600, -86400])
@pytest.mark.parametrize("service", CALLS)
def test_calls_are_signed_with_the_services_clock_once_it_is_known(
    aws: Aws, faults: FaultControl, credentials: Path, service: str, seconds: int
) -> None:
    faults.add(Fault("skewed", service, delay=seconds))
    before = sum(faults.requests().values())
    for _ in range(3):
        call(aws, service)  # each client is new, the clock is this process's
    assert sum(faults.requests().values()) - before == 4  # one was refused
    assert abs(clock.skew.total_seconds() - seconds) < 60
    # Somebody sets this machine's clock right, which to us looks as if the services' had changed.
    faults.clear()
    faults.add(Fault("skewed", service, delay=0))
    call(aws, service)
    assert clock.skew == timedelta()


def test_a_token_that_has_expired_is_read_again(aws: Aws, faults: FaultControl, credentials: Path) -> None:
    made = client("sqs", REGION, endpoint_url=aws.url)
    call(aws, "sqs", made)
    faults.add(Fault("expired", key="old"))
    with pytest.raises(ClientError) as caught:
        call(aws, "sqs", made)  # nobody has renewed it
    assert classify(caught.value) is Kind.EXPIRED
    write(credentials, "new")
    call(aws, "sqs", made)
    assert clock.skew == timedelta()


def test_other_refusals_are_not_tried_again(aws: Aws, faults: FaultControl, credentials: Path) -> None:
    faults.add(Fault("throttle", "sqs"))
    before = faults.requests().get("sqs:ListQueues", 0)
    with pytest.raises(ClientError):
        call(aws, "sqs")
    assert faults.requests()["sqs:ListQueues"] == before + 1
