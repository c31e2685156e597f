"""`consumer quarantine`: look, save, send again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from consumer import quarantine
from consumer.bucket import Bucket
from consumer.errors import AccessError, ConsumerError, GoneError, RefusedError
from consumer.quarantine import Quarantine
from consumer.quarantine_cli import _redriven, _table
from contract.message import QuarantineMessage
from local.processes import ROOT
from local.resources import Resources

TIME = "2026-01-01T00:00:00.000000Z"


@pytest.fixture
def bad(resources: Resources) -> list[QuarantineMessage]:
    """Two records in quarantine, one of which was announced twice."""
    notices = []
    for index, record in enumerate((b"not a picture", b"\xff\xd8cut")):
        notice = QuarantineMessage(
            bucket=resources.bucket, key=f"quarantine/door/2026-01-01/00/s1-{index:09d}.bin", reason="not_jpeg",
            detail="begins with 6e 6f", frame_id=f"door/s1/{index:09d}", source="door", size=len(record),
            stream_name=resources.stream, shard_id="shardId-000000000000", sequence_number=str(index), arrived_at=TIME,
            quarantined_at=TIME,
        )  # fmt: skip
        resources.client("s3").put_object(Bucket=notice.bucket, Key=notice.key, Body=record)
        for _ in range(2 - index):
            resources.client("sqs").send_message(QueueUrl=resources.quarantine_url, MessageBody=notice.to_json())
        notices.append(notice)
    return notices


def consumer(resources: Resources, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "consumer", "quarantine", *arguments],
        env=resources.environment() | environment, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def on_the_stream(resources: Resources) -> list[bytes]:
    kinesis = resources.client("kinesis")
    iterator = kinesis.get_shard_iterator(
        StreamName=resources.stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return [record["Data"] for record in kinesis.get_records(ShardIterator=iterator)["Records"]]


@pytest.mark.slow
@pytest.mark.thorough
def test_listing_leaves_all_where_it_is(resources: Resources, bad: list[QuarantineMessage]) -> None:
    for _ in range(2):
        listed = consumer(resources, "list", "--json")
        assert listed.returncode == 0, listed.stderr
        assert {json.loads(line)["frame_id"] for line in listed.stdout.splitlines()} == {n.frame_id for n in bad}
    assert "not_jpeg" in consumer(resources, "list").stdout


def test_what_a_stranger_wrote_is_listed_as_it_is(bad: list[QuarantineMessage]) -> None:
    hostile = bad[0].model_copy(update={"detail": "source 'front[/door] [red]x': refused"})
    console = Console(width=300, record=True)
    console.print(_table([hostile, hostile.model_copy(update={"frame_id": "\x1b[2J\nforged"})]))
    shown = console.export_text()
    assert hostile.detail in shown
    assert "\x1b" not in shown
    assert "�[2J�forged" in shown


@pytest.mark.slow
def test_a_record_is_shown_and_saved(resources: Resources, bad: list[QuarantineMessage], tmp_path: Path) -> None:
    shown = consumer(resources, "show", bad[0].frame_id, "--save", str(tmp_path / "record"))
    assert json.loads(shown.stdout) == json.loads(bad[0].to_json())
    assert (tmp_path / "record").read_bytes() == b"not a picture"
    missing = consumer(resources, "show", "nobody/s/0")
    assert (missing.returncode, missing.stderr) == (1, "error: nobody/s/0: not in quarantine\n")
    nowhere = consumer(resources, "show", bad[0].frame_id, "--save", "/nowhere/record")
    assert (nowhere.returncode, nowhere.stderr) == (5, "error: /nowhere/record: No such file or directory\n")


@pytest.mark.slow
def test_redriven_records_are_on_the_stream_and_no_longer_in_quarantine(
    resources: Resources, bad: list[QuarantineMessage]
) -> None:
    assert consumer(resources, "redrive").returncode == 2
    one = consumer(resources, "redrive", bad[0].frame_id)
    assert (one.returncode, one.stdout) == (0, f"{bad[0].frame_id}\n")
    assert on_the_stream(resources) == [b"not a picture"]
    rest = consumer(resources, "redrive", "--all")
    assert (rest.returncode, rest.stdout) == (0, f"{bad[1].frame_id}\n")
    assert on_the_stream(resources) == [b"not a picture", b"\xff\xd8cut"]
    assert consumer(resources, "list").stdout == "nothing is in quarantine\n"
    assert resources.client("s3").list_objects_v2(Bucket=resources.bucket)["KeyCount"] == 0


@pytest.mark.slow
@pytest.mark.thorough
def test_all_are_redriven_in_the_order_of_their_sources(resources: Resources, bad: list[QuarantineMessage]) -> None:
    sqs = resources.client("sqs")
    sqs.purge_queue(QueueUrl=resources.quarantine_url)
    for notice in reversed(bad):
        sqs.send_message(QueueUrl=resources.quarantine_url, MessageBody=notice.to_json())
    assert consumer(resources, "redrive", "--all").stdout.split() == [notice.frame_id for notice in bad]
    assert on_the_stream(resources) == [b"not a picture", b"\xff\xd8cut"]


@pytest.mark.slow
@pytest.mark.thorough
def test_a_record_that_has_expired_stays_announced_and_stops_no_other(
    resources: Resources, bad: list[QuarantineMessage]
) -> None:
    resources.client("s3").delete_object(Bucket=bad[0].bucket, Key=bad[0].key)
    done = consumer(resources, "redrive", "--all")
    assert (done.returncode, done.stdout) == (1, f"{bad[1].frame_id}\n")
    assert done.stderr == f"error: s3://{bad[0].bucket}/{bad[0].key}: NoSuchKey\n1 of 2 stay in quarantine\n"
    [left] = consumer(resources, "list", "--json").stdout.splitlines()
    assert json.loads(left)["frame_id"] == bad[0].frame_id


@pytest.mark.slow
@pytest.mark.thorough
def test_a_record_whose_bytes_were_not_kept_stays_as_it_is_and_is_told_of(
    resources: Resources, bad: list[QuarantineMessage], tmp_path: Path
) -> None:
    resources.client("s3").put_object(Bucket=bad[0].bucket, Key=bad[0].key, Body=b"")
    told = f"error: {bad[0].frame_id}: its bytes were not kept: there is nothing to send again\n"
    shown = consumer(resources, "show", bad[0].frame_id, "--save", str(tmp_path / "record"))
    assert (shown.returncode, shown.stderr, list(tmp_path.iterdir())) == (1, told, [])
    done = consumer(resources, "redrive", "--all")
    assert (done.returncode, done.stdout) == (1, f"{bad[1].frame_id}\n")
    assert done.stderr == told + "1 of 2 stay in quarantine\n"
    assert on_the_stream(resources) == [b"\xff\xd8cut"]
    assert in_the_bucket(resources) == {bad[0].key: b""}
    [left] = consumer(resources, "list", "--json").stdout.splitlines()
    assert json.loads(left) == json.loads(bad[0].to_json())


@pytest.mark.slow
@pytest.mark.thorough
def test_a_record_whose_stream_is_gone_stays_and_stops_no_other(
    resources: Resources, bad: list[QuarantineMessage]
) -> None:
    elsewhere = bad[0].model_copy(update={"stream_name": f"{resources.stream}-before"})
    sqs = resources.client("sqs")
    sqs.purge_queue(QueueUrl=resources.quarantine_url)
    for notice in (elsewhere, bad[1]):
        sqs.send_message(QueueUrl=resources.quarantine_url, MessageBody=notice.to_json())
    # Who names the stream sends to no other; who names none sends them where they came from.
    done = consumer(resources, "redrive", bad[0].frame_id)
    refused = f"error: {bad[0].frame_id} is said to be of another stream than {resources.stream}\n"
    assert (done.returncode, done.stderr) == (1, refused + "1 of 1 stay in quarantine\n")
    done = consumer(resources, "redrive", "--all", KINESIS_STREAM_NAME="")
    assert (done.returncode, done.stdout) == (1, f"{bad[1].frame_id}\n")
    told = f"error: {bad[0].frame_id}: its stream {resources.stream}-before is not there any more\n"
    assert done.stderr == told + "1 of 2 stay in quarantine\n"
    assert bad[0].key in in_the_bucket(resources)
    [left] = consumer(resources, "list", "--json").stdout.splitlines()
    assert json.loads(left) == json.loads(elsewhere.to_json())


@pytest.mark.thorough
def test_a_record_that_no_stream_takes_stays_and_stops_no_other(
    resources: Resources, bad: list[QuarantineMessage]
) -> None:
    impossible = bad[0].model_copy(update={"source": ""})  # no partition key
    sqs = resources.client("sqs")
    sqs.purge_queue(QueueUrl=resources.quarantine_url)
    for notice in (impossible, bad[1]):
        sqs.send_message(QueueUrl=resources.quarantine_url, MessageBody=notice.to_json())
    done = consumer(resources, "redrive", "--all")
    assert (done.returncode, done.stdout) == (1, f"{bad[1].frame_id}\n")
    assert "PartitionKey" in done.stderr
    assert done.stderr.count("\n") == 2


def test_collecting_ends_where_the_first_come_back(
    resources: Resources, bad: list[QuarantineMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "HOLD_SECONDS", 0)
    sqs, kinesis, s3 = (resources.client(service) for service in ("sqs", "kinesis", "s3"))
    with Quarantine(sqs, kinesis, resources.quarantine_url, Bucket(s3, resources.bucket)).hold() as held:
        assert set(held) == {notice.frame_id for notice in bad}


def test_an_empty_record_is_sent_again(resources: Resources, bad: list[QuarantineMessage]) -> None:
    empty = bad[1].model_copy(update={"size": 0, "reason": "empty"})
    resources.client("sqs").purge_queue(QueueUrl=resources.quarantine_url)
    resources.client("sqs").send_message(QueueUrl=resources.quarantine_url, MessageBody=empty.to_json())
    resources.client("s3").put_object(Bucket=empty.bucket, Key=empty.key, Body=b"")
    redrive_all(resources, lambda _: None)
    assert on_the_stream(resources) == [b""]


class Limited:
    """S3 for a caller with the policy of quarantine: of what is not there, it says that it is forbidden.

    Args:
        forbidden: Keys that the caller may not read, though they are there.
    """

    def __init__(self, s3: Any, *forbidden: str) -> None:
        self._s3, self._forbidden = s3, forbidden

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def get_object(self, **request: str) -> Any:
        if request["Key"] in self._forbidden:
            raise denied("GetObject")
        try:
            return self._s3.get_object(**request)
        except ClientError:
            raise denied("GetObject") from None

    def copy_object(self, **request: Any) -> Any:
        try:
            return self._s3.copy_object(**request)
        except ClientError:
            raise denied("CopyObject") from None


def denied(operation: str) -> ClientError:
    return ClientError({"Error": {"Code": "AccessDenied"}}, operation)


def redrive_limited(resources: Resources, *forbidden: str) -> list[bool]:
    s3 = Limited(resources.client("s3"), *forbidden)
    bucket, stream = Bucket(s3, resources.bucket), resources.client("kinesis")
    quarantine = Quarantine(resources.client("sqs"), stream, resources.quarantine_url, bucket)
    with quarantine.hold() as held:
        return [_redriven(quarantine, held[frame_id]) for frame_id in sorted(held)]


def test_who_may_only_list_prefixes_is_stopped_by_no_record_that_has_expired(
    resources: Resources, bad: list[QuarantineMessage]
) -> None:
    resources.client("s3").delete_object(Bucket=bad[0].bucket, Key=bad[0].key)
    assert redrive_limited(resources) == [False, True]
    assert on_the_stream(resources) == [b"\xff\xd8cut"]


def test_who_may_only_list_prefixes_finds_the_records_of_a_redrive_that_was_killed(
    resources: Resources, bad: list[QuarantineMessage]
) -> None:
    s3 = resources.client("s3")
    for notice in bad:
        source = {"Bucket": notice.bucket, "Key": notice.key}
        s3.copy_object(Bucket=notice.bucket, Key=notice.key.replace("quarantine/", "redriven/"), CopySource=source)
        s3.delete_object(**source)
    assert redrive_limited(resources) == [True, True]
    assert (in_the_bucket(resources), waiting_notices(resources)) == ({}, 0)


def test_a_record_that_is_there_and_forbidden_ends_a_redrive(
    resources: Resources, bad: list[QuarantineMessage]
) -> None:
    with pytest.raises(AccessError, match="AccessDenied"):
        redrive_limited(resources, bad[1].key)  # though another was read before
    assert bad[1].key in in_the_bucket(resources)


def test_what_expires_while_it_is_redriven_is_gone(resources: Resources) -> None:
    with pytest.raises(GoneError):
        Bucket(Limited(resources.client("s3")), resources.bucket).copy("quarantine/x", "redriven/x")


class Stream:
    """Kinesis with something that happens when a record comes."""

    def __init__(self, kinesis: Any, then: Callable[[bytes], None]) -> None:
        self._kinesis, self._then = kinesis, then

    def put_record(self, **record: Any) -> Any:
        answer = self._kinesis.put_record(**record)
        self._then(record["Data"])
        return answer


def redrive_all(resources: Resources, then: Callable[[bytes], None]) -> None:
    stream = Stream(resources.client("kinesis"), then)
    bucket = Bucket(resources.client("s3"), resources.bucket)
    quarantine = Quarantine(resources.client("sqs"), stream, resources.quarantine_url, bucket)
    with quarantine.hold() as held:
        for one in held.values():
            quarantine.redrive(one)


def in_the_bucket(resources: Resources) -> dict[str, bytes]:
    s3 = resources.client("s3")
    found = s3.list_objects_v2(Bucket=resources.bucket).get("Contents", [])
    return {one["Key"]: s3.get_object(Bucket=resources.bucket, Key=one["Key"])["Body"].read() for one in found}


def waiting_notices(resources: Resources) -> int:
    name = "ApproximateNumberOfMessages"
    answer = resources.client("sqs").get_queue_attributes(QueueUrl=resources.quarantine_url, AttributeNames=[name])
    return int(answer["Attributes"][name])


def test_what_is_quarantined_again_at_once_keeps_its_bytes(resources: Resources, bad: list[QuarantineMessage]) -> None:
    def quarantine_again(data: bytes) -> None:
        notice = bad[0] if data == b"not a picture" else bad[1]
        resources.client("s3").put_object(Bucket=notice.bucket, Key=notice.key, Body=data)
        resources.client("sqs").send_message(QueueUrl=resources.quarantine_url, MessageBody=notice.to_json())

    redrive_all(resources, quarantine_again)
    assert in_the_bucket(resources) == {bad[0].key: b"not a picture", bad[1].key: b"\xff\xd8cut"}
    assert waiting_notices(resources) == 2  # the new ones
    redrive_all(resources, lambda _: None)
    assert (in_the_bucket(resources), waiting_notices(resources)) == ({}, 0)


def test_a_record_that_the_stream_does_not_take_stays_in_quarantine(
    resources: Resources, bad: list[QuarantineMessage]
) -> None:
    def refuse(_: bytes) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "PutRecord")

    before, notices = in_the_bucket(resources), waiting_notices(resources)
    with pytest.raises(ConsumerError, match="AccessDeniedException"):
        redrive_all(resources, refuse)
    assert before.items() <= in_the_bucket(resources).items()
    assert waiting_notices(resources) == notices


def test_a_redrive_that_was_killed_is_done_again(resources: Resources, bad: list[QuarantineMessage]) -> None:
    def die(_: bytes) -> None:
        raise KeyboardInterrupt

    for _ in bad:  # each time at another record, or the same
        with pytest.raises(KeyboardInterrupt):
            redrive_all(resources, die)
    redrive_all(resources, lambda _: None)
    assert set(on_the_stream(resources)) == {b"not a picture", b"\xff\xd8cut"}
    assert (in_the_bucket(resources), waiting_notices(resources)) == ({}, 0)


def test_records_of_another_bucket_are_left_alone(resources: Resources, bad: list[QuarantineMessage]) -> None:
    quarantine = Quarantine(
        resources.client("sqs"),
        resources.client("kinesis"),
        resources.quarantine_url,
        Bucket(resources.client("s3"), "another"),
    )
    with quarantine.hold() as held:
        for one in held.values():
            with pytest.raises(RefusedError, match="another bucket"):
                quarantine.redrive(one)
    assert on_the_stream(resources) == []
    assert len(in_the_bucket(resources)) == 2
