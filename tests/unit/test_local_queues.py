"""The embedded SQS, where stock moto departs from the service."""

from __future__ import annotations

import json

from local.resources import Resources


def test_a_policy_outlives_a_change_of_another_attribute(resources: Resources) -> None:
    sqs, url = resources.client("sqs"), resources.queue_url
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (json.loads(attributes["Policy"]), attributes["VisibilityTimeout"]) == (json.loads(policy), "77")


def test_a_redrive_policy_comes_back_as_it_was_set(resources: Resources) -> None:
    sqs, url = resources.client("sqs"), resources.queue_url
    found = sqs.get_queue_attributes(QueueUrl=resources.quarantine_url, AttributeNames=["QueueArn"])
    redrive = json.dumps(
        {"deadLetterTargetArn": found["Attributes"]["QueueArn"], "maxReceiveCount": 5}, separators=(",", ":")
    )
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": redrive})
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]
    assert attributes["RedrivePolicy"] == redrive
