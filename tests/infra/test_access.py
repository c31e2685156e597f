"""Producers and consumers with the policies that a deployment gives out, and with nothing else, under enforced IAM."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.message import QuarantineMessage
from contract.metrics import PRODUCERS
from local.permissions import enforcement
from local.processes import ROOT, Aws
from local.resources import aws_environment, client
from tests.infra.conftest import ACCOUNT, Synth, Terraform
from tests.infra.privileges import Call, allowed
from tests.infra.test_apply import role, user
from tests.pictures import street_jpeg
from tests.unit.test_message import RESULT

REGION = "eu-central-1"
# What the policies name, without the rest of the stack.
TARGETS = (
    "aws_kinesis_stream.stream", "aws_sqs_queue.results", "aws_sqs_queue.events", "aws_sqs_queue.quarantine",
    "aws_s3_bucket.frames",
)  # fmt: skip
VALUES = {"suffix": "-access"}
SOURCES = "/cv2kinesis-access/sources"
TIME = "2026-01-01T00:00:00.000000Z"
# Of the records in quarantine, those whose bytes are left.
REDRIVEN = ["door/s1/000000001", "door/s1/000000002"]


def test_the_policies_name_this_deployment_and_nothing_else(synth: Synth) -> None:
    stack = synth(VALUES, account=ACCOUNT)
    found = {name: output for name, output in stack["output"].items() if name.endswith("Policy")}
    assert found.keys() == {f"{name}Policy" for name in ("Producer", "Consumer", "Clip", "Configure", "Quarantine")}
    for name in found:
        document = stack["data"]["aws_iam_policy_document"][f"access-{name.removesuffix('Policy').lower()}"]
        for statement in document["statement"]:
            assert statement.get("effect", "Allow") == "Allow"
            assert not any("*" in action for action in statement["actions"])
            if statement["actions"] == ["cloudwatch:PutMetricData"]:
                [limit] = statement["condition"]
                assert (limit["variable"], limit["values"]) == ("cloudwatch:namespace", [PRODUCERS])
            else:
                assert all("-access" in resource for resource in statement["resources"])


def test_a_record_goes_aside_with_its_tags_and_what_is_gone_is_not_listed(synth: Synth) -> None:
    # The embedded AWS copies tags without a right to. Where there are tags, S3 asks for both:
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
    document = synth(VALUES, account=ACCOUNT)["data"]["aws_iam_policy_document"]["access-quarantine"]
    statements = {statement["sid"]: statement for statement in document["statement"]}
    assert {"s3:GetObjectTagging", "s3:PutObjectTagging"} <= set(statements["MoveRecords"]["actions"])
    [limit] = statements["FindRecords"]["condition"]
    assert statements["FindRecords"]["actions"] == ["s3:ListBucket"]
    assert (limit["variable"], limit["values"]) == ("s3:prefix", ["quarantine/*", "redriven/*"])
    moved = {resource.partition("/")[2] for resource in statements["MoveRecords"]["resources"]}
    assert moved == set(limit["values"])


def test_with_a_key_of_their_own_they_use_it_through_what_they_call(synth: Synth) -> None:
    documents = synth(VALUES | {"encryption": {"key": "own"}}, account=ACCOUNT)["data"]["aws_iam_policy_document"]
    for name, services in {"producer": ["kinesis"], "consumer": ["s3", "sqs"], "clip": ["kinesis"]}.items():
        [use] = [s for s in documents[f"access-{name}"]["statement"] if s["sid"] == "UseKey"]
        assert use["condition"][0]["values"] == [f"{service}.eu-central-1.amazonaws.com" for service in services]


def test_every_output_says_what_it_is(synth: Synth, tmp_path: Path) -> None:
    synth({"github": {"repository": "owner/cv2kinesis"}}, account=ACCOUNT)
    for path in (tmp_path / "cdktf.out/stacks").glob("*/cdk.tf.json"):
        outputs = json.loads(path.read_text())["output"]
        assert outputs
        assert [name for name, output in outputs.items() if not output.get("description")] == []


@pytest.mark.thorough
def test_the_clis_work_with_their_policies_alone(
    synth: Synth, terraform: Callable[[str], Terraform], aws: Aws, tmp_path: Path
) -> None:
    synth(VALUES)
    stack = terraform("test")
    stack.init()
    stack.apply(*(f"-target={target}" for target in TARGETS))
    stack.apply("-refresh-only")  # outputs of what is not a target
    outputs = {name: output["value"] for name, output in json.loads(stack.run("output", "-json").stdout).items()}
    (tmp_path / "outputs.json").write_text(json.dumps(outputs))
    administrator = user(aws, "administrator", "*")
    credentials = {
        who: role(aws, administrator, f"access-{who}", json.loads(outputs[f"{who}Policy"])["Statement"])
        for who in ("Producer", "Consumer", "Clip", "Configure", "Quarantine")
    }

    def cli(who: str, module: str, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments, "--from-outputs", str(tmp_path / "outputs.json")],
            cwd=ROOT, env=aws_environment(aws.url) | credentials[who], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr + done.stdout
        return done.stdout

    frame = announce(aws, outputs)
    with enforcement(aws.url):
        cli("Producer", "producer", "send", "demo", "--limit", "3", "--source-id", "gate")
        cli("Consumer", "consumer", "save", str(tmp_path / "saved"), "--limit", "2", "--idle-exit", "60")
        assert len(list((tmp_path / "saved").rglob("*.json"))) == 2
        assert [path.read_bytes() for path in (tmp_path / "saved").rglob("*.jpg")] == [frame]
        assert "door" in cli("Quarantine", "consumer", "quarantine", "list")
        assert cli("Quarantine", "consumer", "quarantine", "redrive", "--all", status=1).split() == REDRIVEN
        for who, calls in wanted(outputs).items():
            refused = {call.name for call in calls if not allowed(aws, REGION, credentials[who], call)}
            assert (who, refused) == (who, set())
        for who, calls in forbidden(outputs).items():
            assert (who, {call.name for call in calls if allowed(aws, REGION, credentials[who], call)}) == (who, set())
    assert on_the_stream(aws, outputs) == 3 + len(REDRIVEN)


def announce(aws: Aws, outputs: dict[str, str]) -> bytes:
    """What a worker leaves, and what of it is left: a result whose frame has expired, one with its frame; notices of a
    record that has expired, of one that a redrive had put aside when it was killed, and of one that is there.

    Returns:
        The frame.
    """
    s3, sqs, bucket, frame = client("s3", aws.url), client("sqs", aws.url), outputs["S3BucketName"], street_jpeg()
    s3.put_object(Bucket=bucket, Key="frames/cam/2026-01-01/00/s-000000001.jpg", Body=frame)
    for number in range(2):
        name = {"frame_id": f"cam/s/{number:09d}", "key": f"frames/cam/2026-01-01/00/s-{number:09d}.jpg"}
        result = RESULT | {"bucket": bucket, "frame_index": number} | name
        sqs.send_message(QueueUrl=outputs["SQSQueueURL"], MessageBody=json.dumps(result))
    for number, prefix in enumerate((None, "redriven", "quarantine")):
        place = f"door/2026-01-01/00/s1-{number:09d}.bin"
        notice = QuarantineMessage(
            bucket=bucket, key=f"quarantine/{place}", reason="not_jpeg", detail="x", size=3,
            frame_id=f"door/s1/{number:09d}", source="door", stream_name=outputs["KinesisStreamName"],
            shard_id="shardId-000000000000", sequence_number="1", arrived_at=TIME, quarantined_at=TIME,
        )  # fmt: skip
        if prefix:
            s3.put_object(Bucket=bucket, Key=f"{prefix}/{place}", Body=b"bad")
        sqs.send_message(QueueUrl=outputs["QuarantineQueueURL"], MessageBody=notice.to_json())
    s3.put_object(Bucket=bucket, Key="events/x", Body=b"")
    return frame


def on_the_stream(aws: Aws, outputs: dict[str, str]) -> int:
    kinesis, stream = client("kinesis", aws.url), outputs["KinesisStreamName"]
    iterator = kinesis.get_shard_iterator(
        StreamName=stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return len(kinesis.get_records(ShardIterator=iterator)["Records"])


def wanted(outputs: dict[str, str]) -> dict[str, list[Call]]:
    """Calls besides those that the CLIs make above."""
    stream, bucket, events = outputs["KinesisStreamName"], outputs["S3BucketName"], outputs["EventsQueueURL"]
    parameter = f"{SOURCES}/door"

    def records(kinesis: Any) -> None:
        [shard] = kinesis.list_shards(StreamName=stream)["Shards"]
        place = {"StreamName": stream, "ShardId": shard["ShardId"], "ShardIteratorType": "LATEST"}
        kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**place)["ShardIterator"])

    settings = Call("ssm", "read settings", lambda c: c.get_parameter(Name=parameter))
    put = {"Name": parameter, "Value": "{}", "Type": "String", "Overwrite": True}
    return {
        "Consumer": [
            Call("sqs", "take events", lambda c: c.receive_message(QueueUrl=events, VisibilityTimeout=0)),
            Call("s3", "find events", lambda c: c.list_objects_v2(Bucket=bucket, Prefix="events/2026-01-01/")),
            Call("s3", "find frames", lambda c: c.list_objects_v2(Bucket=bucket, Prefix="frames/cam/2026-01-01/")),
            Call("s3", "read an event", lambda c: c.get_object(Bucket=bucket, Key="events/x")),
        ],
        "Clip": [Call("kinesis", "read the stream", records), settings],
        "Configure": [Call("ssm", "write settings", lambda c: c.put_parameter(**put)), settings],
    }


def forbidden(outputs: dict[str, str]) -> dict[str, list[Call]]:
    """Calls that each might try with the others' rights."""
    stream, bucket = outputs["KinesisStreamName"], outputs["S3BucketName"]
    results, quarantine = outputs["SQSQueueURL"], outputs["QuarantineQueueURL"]
    send = Call("kinesis", "send", lambda c: c.put_record(StreamName=stream, Data=b"x", PartitionKey="x"))
    take = Call("sqs", "take results", lambda c: c.receive_message(QueueUrl=results, VisibilityTimeout=0))
    notices = Call("sqs", "take notices", lambda c: c.receive_message(QueueUrl=quarantine, VisibilityTimeout=0))
    announce = Call("sqs", "announce", lambda c: c.send_message(QueueUrl=results, MessageBody="x"))
    look = Call("s3", "read a frame", lambda c: c.get_object(Bucket=bucket, Key="frames/x"))
    write = Call("s3", "write a frame", lambda c: c.put_object(Bucket=bucket, Key="frames/x", Body=b""))
    bad = Call("s3", "read quarantine", lambda c: c.get_object(Bucket=bucket, Key="quarantine/x"))
    state = Call("s3", "read the worker's state", lambda c: c.get_object(Bucket=bucket, Key="state/x"))
    listing = Call("s3", "list the bucket", lambda c: c.list_objects_v2(Bucket=bucket))
    frames = Call("s3", "list frames", lambda c: c.list_objects_v2(Bucket=bucket, Prefix="frames/"))
    hidden = Call("s3", "list quarantine", lambda c: c.list_objects_v2(Bucket=bucket, Prefix="quarantine/"))
    put = {"Name": "/cv2kinesis-access/SECRET", "Value": "x", "Type": "String", "Overwrite": True}
    parameter = Call("ssm", "write another parameter", lambda c: c.put_parameter(**put))
    settings = Call("ssm", "write settings", lambda c: c.put_parameter(**put | {"Name": f"{SOURCES}/door"}))
    raw = Call(
        "kinesis",
        "read the stream",
        lambda c: c.get_shard_iterator(StreamName=stream, ShardId="shardId-000000000000", ShardIteratorType="LATEST"),
    )
    read = Call("kinesis", "describe another", lambda c: c.describe_stream_summary(StreamName="other"))
    return {
        "Producer": [take, notices, announce, look, write, bad, state, read, raw, settings],
        "Consumer": [send, notices, announce, write, bad, state, read, raw, listing, hidden, settings],
        "Clip": [send, take, notices, announce, look, write, bad, listing, settings],
        "Configure": [send, take, notices, look, write, raw, listing, parameter],
        "Quarantine": [take, announce, look, write, state, read, listing, frames],
    }
