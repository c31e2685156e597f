"""The embedded SQS, where stock moto differs from the service."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.core.utils import unix_time_millis
from moto.sqs.models import Message

from local.messages import Messages
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


def send(sqs: Any, url: str, *bodies: str, **options: Any) -> None:
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body, **options)


def test_limits_count_bytes(resources: Resources) -> None:
    sqs, url = resources.client("sqs"), resources.queue_url
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"MaximumMessageSize": "2048"})
    send(sqs, url, "\u00fc" * 1024)
    with pytest.raises(ClientError, match="shorter than 2048 bytes"):
        send(sqs, url, "\u00fc" * 1025)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"MaximumMessageSize": str(2**20)})
    entries = [{"Id": str(number), "MessageBody": "\u00fc" * 2**18} for number in range(3)]
    sqs.send_message_batch(QueueUrl=url, Entries=entries[:2])
    with pytest.raises(ClientError, match="BatchRequestTooLong"):
        sqs.send_message_batch(QueueUrl=url, Entries=entries)


def receive(sqs: Any, url: str, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sqs.receive_message(QueueUrl=url, **{"MaxNumberOfMessages": 10, **options}).get(
        "Messages", []
    )
    return found


def counts(sqs: Any, url: str) -> tuple[int, int, int]:
    """Visible, delayed, in flight."""
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    names = ("", "Delayed", "NotVisible")
    visible, delayed, flying = (int(attributes[f"ApproximateNumberOfMessages{name}"]) for name in names)
    return visible, delayed, flying


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return [message["Body"] for message in messages]


def test_what_is_received_is_in_flight_until_it_is_deleted(resources: Resources) -> None:
    sqs, url = resources.client("sqs"), resources.queue_url
    send(sqs, url, *map(str, range(12)))
    assert counts(sqs, url) == (12, 0, 0)
    first = receive(sqs, url)
    assert bodies(first) == list(map(str, range(10)))
    assert counts(sqs, url) == (2, 0, 10)
    assert bodies(receive(sqs, url)) == ["10", "11"]
    assert receive(sqs, url) == []
    entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(first)]
    for _ in range(2):  # deleting again is no error
        assert len(sqs.delete_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 10
    assert counts(sqs, url) == (0, 0, 2)


def test_what_is_not_deleted_is_visible_again_after_its_time_and_every_handle_of_it_counts(
    resources: Resources,
) -> None:
    sqs, url = resources.client("sqs"), resources.queue_url
    send(sqs, url, "a", "b")
    [first, _] = receive(sqs, url, VisibilityTimeout=1)
    again = receive(sqs, url, WaitTimeSeconds=20, AttributeNames=["ApproximateReceiveCount"])
    assert bodies(again) == ["a", "b"]
    assert [message["Attributes"]["ApproximateReceiveCount"] for message in again] == ["2", "2"]
    assert first["ReceiptHandle"] != again[0]["ReceiptHandle"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    assert counts(sqs, url) == (0, 0, 1)


def test_visibility_is_changed_both_ways(resources: Resources) -> None:
    sqs, url = resources.client("sqs"), resources.queue_url
    send(sqs, url, "a", "b")
    [a, b] = receive(sqs, url)
    for message in (b, a):
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert counts(sqs, url) == (2, 0, 0)
    assert bodies(receive(sqs, url, VisibilityTimeout=0)) == ["a", "b"]  # in the order of their sending
    [a] = receive(sqs, url, MaxNumberOfMessages=1)
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=a["ReceiptHandle"], VisibilityTimeout=1)
    assert bodies(receive(sqs, url)) == ["b"]
    assert bodies(receive(sqs, url, WaitTimeSeconds=20)) == ["a"]
    for name, value in (("ReceiptHandle", "none"), ("VisibilityTimeout", 43200)):
        options = {"ReceiptHandle": a["ReceiptHandle"], "VisibilityTimeout": 1, name: value}
        with pytest.raises(sqs.exceptions.ClientError, match=r"ReceiptHandleIsInvalid|beyond the limit"):
            sqs.change_message_visibility(QueueUrl=url, **options)


def test_a_delayed_message_comes_when_its_time_has_come(resources: Resources) -> None:
    sqs, url = resources.client("sqs"), resources.queue_url
    send(sqs, url, "later", DelaySeconds=1)
    send(sqs, url, "now")
    assert bodies(receive(sqs, url)) == ["now"]
    assert counts(sqs, url) == (0, 1, 1)
    assert bodies(receive(sqs, url, WaitTimeSeconds=20)) == ["later"]


def test_a_receiver_waits_for_a_message_and_no_longer(resources: Resources) -> None:
    sqs, url = resources.client("sqs"), resources.queue_url
    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(receive, sqs, url, WaitTimeSeconds=20, MaxNumberOfMessages=1) for _ in range(3)]
        send(sqs, url, "a", "b", "c")
        found = [body for one in waiting for body in bodies(one.result())]
    assert sorted(found) == ["a", "b", "c"]  # each to one receiver


def test_what_was_received_too_often_goes_to_the_dead_letters(resources: Resources) -> None:
    sqs, url, dead = resources.client("sqs"), resources.queue_url, resources.quarantine_url
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": redrive})
    send(sqs, url, "bad", "good")
    for number in ("1", "2"):
        [bad] = receive(sqs, url, MaxNumberOfMessages=1, AttributeNames=["ApproximateReceiveCount"])
        assert (bad["Body"], bad["Attributes"]["ApproximateReceiveCount"]) == ("bad", number)
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=bad["ReceiptHandle"], VisibilityTimeout=0)
    assert bodies(receive(sqs, url, MaxNumberOfMessages=1)) == ["good"]
    assert (counts(sqs, url), counts(sqs, dead)) == ((0, 0, 1), (1, 0, 0))
    [buried] = receive(sqs, dead, AttributeNames=["ApproximateReceiveCount"])
    assert (buried["Body"], buried["Attributes"]["ApproximateReceiveCount"]) == ("bad", "3")


def test_a_fifo_queue_keeps_the_order_within_a_group(resources: Resources) -> None:
    sqs = resources.client("sqs")
    url = sqs.create_queue(QueueName=f"{resources.stream}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    for number, group in enumerate("aabba"):
        name = f"{group}{number}"
        send(sqs, url, name, MessageGroupId=group, MessageDeduplicationId=name)
        send(sqs, url, name, MessageGroupId=group, MessageDeduplicationId=name)  # a duplicate is not taken
    [first] = receive(sqs, url, MaxNumberOfMessages=1)
    assert first["Body"] == "a0"
    # While one of a group is in flight, the others of that group wait.
    assert bodies(receive(sqs, url)) == ["b2", "b3"]
    assert receive(sqs, url) == []
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    [first] = receive(sqs, url, MaxNumberOfMessages=1)
    assert first["Body"] == "a0"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    assert bodies(receive(sqs, url)) == ["a1", "a4"]


def test_an_answer_has_the_attributes_that_were_asked_for_and_the_message_keeps_all(resources: Resources) -> None:
    sqs, url = resources.client("sqs"), resources.queue_url
    attributes = {name: {"DataType": "String", "StringValue": name} for name in ("a.x", "a.y", "b")}
    send(sqs, url, "m", MessageAttributes=attributes)
    for asked, expected in ((["b"], {"b"}), (["a.*"], {"a.x", "a.y"}), ([], set()), (["All"], set(attributes))):
        [message] = receive(sqs, url, VisibilityTimeout=0, MessageAttributeNames=asked)
        assert set(message.get("MessageAttributes", {})) == expected


def test_what_is_purged_or_over_its_retention_is_gone() -> None:
    queue = Messages()
    old, new = Message("1", "old"), Message("2", "new")
    for message in (old, new):
        message.mark_sent()
        queue.append(message)
    sent: Any = old
    sent.sent_timestamp -= 61_000
    assert queue.take(10, 30, retention=60, fifo=False) == [new]
    assert queue.count() == (0, 0, 1)


def test_purging_forgets_what_is_in_flight(resources: Resources) -> None:
    sqs, url = resources.client("sqs"), resources.queue_url
    send(sqs, url, "a", "b")
    [taken] = receive(sqs, url, MaxNumberOfMessages=1)
    sqs.purge_queue(QueueUrl=url)
    assert counts(sqs, url) == (0, 0, 0)
    with pytest.raises(sqs.exceptions.ReceiptHandleIsInvalid):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=taken["ReceiptHandle"])


def test_a_message_is_found_without_a_look_at_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time is measured: what is counted is how often the clock is asked, which moto did for every message."""
    queue, asked = Messages(), 0
    for number in range(20_000):
        message = Message(str(number), "")
        message.mark_sent()
        queue.append(message)

    def clock() -> float:
        nonlocal asked
        asked += 1
        return float(unix_time_millis())

    monkeypatch.setattr("local.messages.unix_time_millis", clock)
    taken = queue.take(10, 30, retention=60, fifo=False)
    queue.change_visibility(taken[0], 60)
    queue.remove(taken[1])
    assert queue.count() == (19_990, 0, 9)
    assert len(taken) == 10
    assert asked < 50
