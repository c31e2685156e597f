"""`consumer quarantine`: look, save, send again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from contract.message import QuarantineMessage
from local.processes import ROOT
from local.resources import Resources

TIME = "2026-01-01T00:00:00.000000Z"


@pytest.fixture
def bad(resources: Resources) -> list[QuarantineMessage]:
    """Two records in quarantine, one of them announced twice."""
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


def consumer(resources: Resources, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "consumer", "quarantine", *arguments],
        env=resources.environment(), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def on_the_stream(resources: Resources) -> list[bytes]:
    kinesis = resources.client("kinesis")
    iterator = kinesis.get_shard_iterator(
        StreamName=resources.stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return [record["Data"] for record in kinesis.get_records(ShardIterator=iterator)["Records"]]


@pytest.mark.slow
def test_listing_leaves_all_where_it_is(resources: Resources, bad: list[QuarantineMessage]) -> None:
    for _ in range(2):
        listed = consumer(resources, "list", "--json")
        assert listed.returncode == 0, listed.stderr
        assert {json.loads(line)["frame_id"] for line in listed.stdout.splitlines()} == {n.frame_id for n in bad}
    assert "not_jpeg" in consumer(resources, "list").stdout


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
def test_a_record_that_has_expired_stays_announced(resources: Resources, bad: list[QuarantineMessage]) -> None:
    resources.client("s3").delete_object(Bucket=bad[1].bucket, Key=bad[1].key)
    done = consumer(resources, "redrive", bad[1].frame_id)
    assert done.returncode == 1
    assert f"s3://{bad[1].bucket}/{bad[1].key}: NoSuchKey" in done.stderr
    assert len(consumer(resources, "list", "--json").stdout.splitlines()) == 2
