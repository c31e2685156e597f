"""What `make drift` says: changed by others, or not deployed yet."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from local.processes import Aws
from local.resources import client
from stacks.drift import report
from tests.infra.conftest import Synth, Terraform


@pytest.mark.thorough
def test_what_others_have_changed_is_told_from_what_is_not_deployed(
    synth: Synth, terraform: Callable[[str], Terraform], aws: Aws
) -> None:
    synth({"suffix": "-drift"})
    stack = terraform("test")
    stack.init()
    stack.apply("-target=aws_sqs_queue.results", "-target=aws_dynamodb_table.leases")
    sqs = client("sqs", aws.url)
    url = sqs.get_queue_url(QueueName="processing-results-drift")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})
    planned = stack.run("plan", "-input=false", "-no-color", "-detailed-exitcode", "-out=drift", check=False)
    assert planned.returncode == 2
    text = report(json.loads(stack.run("show", "-json", "drift").stdout), "test")
    assert "~ aws_sqs_queue.results  (visibility_timeout_seconds)" in text
    assert text.partition("not by Terraform:")[2].split("\n\n")[1] == "- `aws_sqs_queue.results`"
    assert "+ aws_kinesis_stream.stream" in text
