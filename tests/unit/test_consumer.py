from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cloud.clients import client
from consumer.bucket import Bucket
from consumer.errors import AccessError, ConsumerError, GoneError, RefusedError
from consumer.frames import Frames
from consumer.results import Remembered, ResultReader
from consumer.watch import line
from contract.frame import parse_time
from contract.message import ResultMessage, SkippedMessage, TallyMessage
from local.processes import ROOT
from local.resources import REGION, Resources
from local.waiting import wait_for
from tests.pictures import png, street_jpeg
from tests.strangers import answering, http
from tests.unit.test_message import RESULT


def body(number: int, **changes: Any) -> str:
    names = {
        "frame_id": f"cam/s/{number:09d}",
        "key": f"frames/cam/2026-01-01/00/s-{number:09d}.jpg",
        "frame_index": number,
    }
    return json.dumps(RESULT | names | changes)


def send(resources: Resources, *bodies: str) -> None:
    for text in bodies:
        resources.client("sqs").send_message(QueueUrl=resources.queue_url, MessageBody=text)


def run(resources: Resources, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "consumer", *arguments],
        env=resources.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [[], pytest.param(["--json"], marks=pytest.mark.thorough)])
def test_what_finds_no_room_stays_on_the_queue(resources: Resources, arguments: list[str]) -> None:
    send(resources, body(0))
    command = [sys.executable, "-m", "consumer", "watch", "--limit", "1", *arguments]
    with open("/dev/full", "w") as full:
        environment = resources.environment()
        done = subprocess.run(command, env=environment, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr == b"error: standard output: No space left on device\n"
    assert left(resources) == 1


def left(resources: Resources) -> int:
    """The number of messages on the queue, including those that a consumer has received."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = resources.client("sqs").get_queue_attributes(QueueUrl=resources.queue_url, AttributeNames=names)
    return sum(int(value) for value in attributes["Attributes"].values())


def test_watch_prints_a_line_a_frame_and_deletes_the_messages(resources: Resources) -> None:
    send(resources, *(body(number) for number in range(23)))
    done = run(resources, "watch", "--limit", "23")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 23
    assert "cam/s/000000000" in lines[0]
    assert "1 person 0.87" in lines[0]
    assert left(resources) == 0


def test_watch_json_prints_the_messages_as_they_came(resources: Resources) -> None:
    bodies = [body(number, extra={"a": [1]}) for number in range(3)]
    send(resources, *bodies)
    assert run(resources, "watch", "--json", "--limit", "3").stdout.splitlines() == bodies


@pytest.mark.thorough
def test_a_frame_that_comes_twice_is_shown_once(resources: Resources) -> None:
    send(resources, body(1), body(1, processed_at="2026-01-02T00:00:00.000000Z"), body(2))
    done = run(resources, "watch", "--json", "--idle-exit", "1")
    assert [json.loads(text)["frame_index"] for text in done.stdout.splitlines()] == [1, 2]
    assert left(resources) == 0


def test_hostile_messages_stay_on_the_queue_and_are_told_of(resources: Resources) -> None:
    send(resources, "no json", "[]", body(1, key="frames/../../x.jpg"), body(2))
    done = run(resources, "watch", "--json", "--idle-exit", "1")
    assert done.returncode == 0
    assert [json.loads(text)["frame_index"] for text in done.stdout.splitlines()] == [2]
    assert done.stderr.count("left on the queue") == 3
    assert "Traceback" not in done.stderr
    assert left(resources) == 3


HOSTILE = "x\x1b[2J\x1b]0;mine\x07\nerror: forged\u2028\x9b31m"


def test_what_strangers_write_is_one_plain_line(resources: Resources) -> None:
    summary = [{"class": HOSTILE, "conf": 0.5, "bbox": [0, 0, 1, 1]}]
    refused = body(
        3, bucket="somebody-elses", frame_id=f"{HOSTILE}3", whole_key=f"frames/cam/2026-01-01/00/s-{3:09d}.json"
    )
    malformed = body(4, zones=[{"name": "x", "count": 0, "classes": {HOSTILE: -1}}])
    send(resources, body(1, frame_id=HOSTILE), body(2, summary=summary), refused, malformed)
    done = run(resources, "watch", "--idle-exit", "0", "--bucket", resources.bucket)
    assert done.returncode == 0, done.stderr
    told = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    assert len(told) == 4
    assert all(line.isprintable() for line in told)


def test_json_is_a_line_a_message_and_nothing_that_a_terminal_obeys(resources: Resources) -> None:
    message = json.loads(body(1)) | {"addition": "red \x9b31m, erased \x7f, backwards \u202e, a tag \U000e0041, é, 狗"}
    sent = json.dumps(message, indent="\t", ensure_ascii=False).replace("\n", "\r\n")
    send(resources, sent)
    [line] = run(resources, "watch", "--json", "--idle-exit", "0").stdout.splitlines()
    assert json.loads(line) == message
    assert line.isprintable()
    assert r"red \u009b31m, erased \u007f, backwards \u202e, a tag \udb40\udc41, é, 狗" in line


@pytest.mark.parametrize(("value", "status"), [pytest.param("inf", 0, marks=pytest.mark.thorough), ("nan", 2)])
def test_how_long_to_wait(resources: Resources, value: str, status: int) -> None:
    send(resources, body(1))
    done = run(resources, "watch", "--limit", "1", "--idle-exit", value)
    assert done.returncode == status
    assert "Traceback" not in done.stderr


@pytest.mark.thorough
def test_save_refuses_what_would_be_in_another_files_way(resources: Resources, tmp_path: Path) -> None:
    out = tmp_path / "out"
    keys = ["frames/x/a.jpg", "frames/x/a.json/b.jpg", "frames/y/c.json/d.jpg", "frames/y/c.jpg", "frames/z/e.jpg"]
    for number, key in enumerate(keys):
        result = body(number, bucket=resources.bucket, key=key)
        resources.client("s3").put_object(Bucket=resources.bucket, Key=key, Body=street_jpeg())
        send(resources, result)
    done = run(resources, "save", str(out), "--idle-exit", "0", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["refused"] == 2
    assert done.stderr.count("another frame's file is in its way") == 2
    assert (out / "z" / "e.jpg").read_bytes() == street_jpeg()


@pytest.mark.parametrize("answer", ["[]", '{"Messages":"abc"}', '{"Messages":[{}]}', '{"Messages":[3]}'])
def test_somebody_else_than_aws_is_told_of_in_a_line(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with answering(http(answer)) as url:
        sqs = client("sqs", REGION, endpoint_url=url)
        reader = ResultReader(sqs, "https://sqs.eu-central-1.amazonaws.com/1/q")
        with pytest.raises(ConsumerError, match="what answers there is not AWS"):
            reader.run(lambda *_: None, threading.Event(), idle_seconds=0)


def store(resources: Resources, number: int, content: bytes) -> ResultMessage:
    """Stores what a message points at; gives the message."""
    result = ResultMessage.model_validate_json(body(number, bucket=resources.bucket))
    resources.client("s3").put_object(Bucket=resources.bucket, Key=result.key, Body=content)
    return result


def test_save_goes_on_past_what_is_gone_and_takes_the_pipelines_pictures_alone(
    resources: Resources, tmp_path: Path
) -> None:
    for number in (0, 3):
        store(resources, number, street_jpeg(seed=number))
    store(resources, 1, png())
    send(
        resources,
        body(0, bucket=resources.bucket),
        body(1, bucket=resources.bucket),  # no JPEG
        body(2, bucket="somebody-elses"),
        body(4, bucket=resources.bucket),  # its frame has expired
        body(5, bucket=resources.bucket, key=None),  # nobody wanted its picture
        body(3, bucket=resources.bucket),
    )
    done = run(resources, "save", str(tmp_path / "out"), "--limit", "4", "--json")
    assert done.returncode == 0, done.stderr
    counts = {"saved": 2, "gone": 1, "unstored": 1, "refused": 2, "skipped": 0, "tallied": 0}
    assert json.loads(done.stdout) == counts
    assert "2 frames saved to" in done.stderr
    assert "1 were gone" in done.stderr
    folder = tmp_path / "out" / "cam" / "2026-01-01" / "00"
    names = ["s-000000000.jpg", "s-000000000.json", "s-000000003.jpg", "s-000000003.json", "s-000000004.json"]
    names.append("s-000000005.json")
    assert sorted(path.name for path in folder.iterdir()) == names
    assert (folder / "s-000000003.jpg").read_bytes() == street_jpeg(seed=3)
    assert json.loads((folder / "s-000000004.json").read_text())["frame_index"] == 4
    assert left(resources) == 2


@pytest.mark.thorough
def test_a_bucket_that_is_missing_ends_save_and_leaves_the_messages(resources: Resources, tmp_path: Path) -> None:
    send(resources, body(1, bucket="no-such-bucket-here"))
    done = run(resources, "save", str(tmp_path), "--limit", "1", "--bucket", "no-such-bucket-here")
    assert done.returncode == 1
    assert "NoSuchBucket" in done.stderr
    assert left(resources) == 1


def test_an_object_is_taken_for_a_frame_only_if_it_is_one(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.frames.MAX_PICTURE_BYTES", len(street_jpeg()))
    frames = Frames(resources.client("s3"), resources.bucket)
    for number, content in enumerate((b"", b"\xff\xd8<script>", png(), street_jpeg() + b" ")):
        with pytest.raises(RefusedError, match=f"s3://{resources.bucket}/frames/cam/"):
            frames.picture(store(resources, number, content))
    assert frames.picture(store(resources, 9, street_jpeg())) == street_jpeg()


def test_who_may_not_list_the_bucket_is_told_what_is_gone_by_what_was_read_before() -> None:
    class Closed:
        """S3 for a caller without `s3:ListBucket`; it has one frame."""

        def get_object(self, Bucket: str, Key: str) -> Any:  # noqa: N803
            if "000000001" in Key:
                return {"Body": io.BytesIO(street_jpeg())}
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject")

        def list_objects_v2(self, **request: str) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "ListObjectsV2")

    frames = Frames(Closed(), RESULT["bucket"])
    gone, there = (ResultMessage.model_validate_json(body(number)) for number in (0, 1))
    with pytest.raises(AccessError):
        frames.picture(gone)
    frames.picture(there)
    with pytest.raises(GoneError):
        frames.picture(gone)


def test_who_may_list_a_prefix_is_told_what_is_gone_by_the_list() -> None:
    there, forbidden = "frames/there", "frames/there.json"

    class Open:
        """S3 for a caller who may list `frames/*`; HEAD has no other code than its status."""

        def list_objects_v2(self, Bucket: str, Prefix: str) -> Any:  # noqa: N803
            found = [name for name in (there, forbidden) if name.startswith(Prefix)]
            contents = [{"Key": name, "ETag": "", "LastModified": datetime.now(UTC)} for name in found]
            return {"Contents": contents} if contents else {}

        def head_object(self, Bucket: str, Key: str) -> Any:  # noqa: N803
            if Key == there:
                return {"Metadata": {}}
            raise ClientError({"Error": {"Code": "403"}}, "HeadObject")

    bucket = Bucket(Open(), "bucket")
    for gone in ("frames/gone", "frames/the"):
        with pytest.raises(GoneError):
            bucket.metadata(gone)
    bucket.metadata(there)
    with pytest.raises(AccessError):
        bucket.metadata(forbidden)


TIME = "2026-01-01T00:02:05.000000Z"
TALLY = TallyMessage(
    tally_id="door/s/000000300", source="door", stream_name="x", shard_id="shardId-000000000000", minute=TIME,
    first_frame_id="door/s/000000300", last_frame_id="door/s/000000599", first_index=300, last_index=599, frames=280,
    frames_with_detections=12, stored=0, classes={"person": 12}, zones={}, lines={"gate": (2, 1)}, worst_latency_ms=5,
    sent_at=TIME,
).to_json()  # fmt: skip
SKIPPED = SkippedMessage(
    frame_id="cam/s/000000009", frame_index=9, source="cam", stream_name="x", shard_id="shardId-000000000000",
    sequence_number="1", captured_at=TIME, arrived_at=TIME, skipped_at=TIME, age_seconds=99,
).to_json()  # fmt: skip


@pytest.mark.thorough
def test_messages_of_frames_without_a_result_are_shown_once_before_they_are_deleted(resources: Resources) -> None:
    bodies = [body(1), TALLY, SKIPPED, TALLY, SKIPPED, body(2)]
    send(resources, *bodies)
    done = run(resources, "watch", "--json", "--limit", "2", "--idle-exit", "5")
    assert done.stdout.splitlines() == [bodies[0], TALLY, SKIPPED, bodies[-1]]
    assert left(resources) == 0
    send(resources, TALLY, SKIPPED)
    done = run(resources, "watch", "--idle-exit", "1")
    assert done.stdout.splitlines() == [
        "00:02:05.000  door  280 frames counted, 12 with detections: 12 person",
        "00:02:05.000  cam/s/000000009  skipped, 99.00 s old",
    ]
    assert left(resources) == 0


@pytest.mark.thorough
def test_save_counts_frames_without_a_result(resources: Resources, tmp_path: Path) -> None:
    send(resources, TALLY, SKIPPED, TALLY)
    done = run(resources, "save", str(tmp_path), "--idle-exit", "1", "--json")
    assert json.loads(done.stdout) == {"saved": 0, "gone": 0, "unstored": 0, "refused": 0, "skipped": 1, "tallied": 280}
    assert "1 were skipped by the worker, 280 are in tallies alone" in done.stderr
    assert left(resources) == 0


def test_what_cannot_be_shown_stays_on_the_queue(resources: Resources) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError

    send(resources, TALLY)
    with pytest.raises(BrokenPipeError):
        ResultReader(resources.client("sqs"), resources.queue_url, fail).run(fail, threading.Event())
    assert left(resources) == 1


def shortened(resources: Resources, number: int, **stored: Any) -> str:
    """A message that was too long for the queue, and its whole in the bucket."""
    seen = [{"class": f"c{place}", "conf": 0.5, "bbox": [0, 0, 1, 1]} for place in range(3)]
    whole = ResultMessage.model_validate_json(body(number, bucket=resources.bucket, summary=seen, detections_count=3))
    short = whole.shortened(str(whole.key))
    text = json.dumps(json.loads(whole.to_json()) | stored)
    resources.client("s3").put_object(Bucket=resources.bucket, Key=short.whole_key, Body=text.encode())
    return short.to_json()


def test_a_message_that_was_too_long_for_the_queue_is_read_from_the_bucket(resources: Resources) -> None:
    gone = json.loads(shortened(resources, 2)) | {"key": "frames/cam/gone.jpg", "whole_key": "frames/cam/gone.json"}
    send(
        resources,
        shortened(resources, 1),
        json.dumps(gone),
        shortened(resources, 3, frame_id="cam/s/another"),
        shortened(resources, 4, schema_version=9),
    )
    done = run(resources, "watch", "--json", "--idle-exit", "1")
    assert done.returncode == 0, done.stderr
    came = [json.loads(text) for text in done.stdout.splitlines()]
    assert [(one["frame_index"], one["detections_count"], len(one["summary"])) for one in came] == [
        (1, 3, 3),
        (2, 3, 0),
    ]
    assert done.stderr.count("left on the queue") == 2
    assert "3 objects" in line(ResultMessage.model_validate(came[1])).plain


def test_errors_are_one_line_and_a_status(resources: Resources, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments, status, text in (
        (("watch", "--queue-url", resources.queue_url + "-none"), 3, "no such queue"),
        (("save", str(tmp_path / "file" / "x")), 5, "file"),
    ):
        done = run(resources, *arguments)
        assert done.returncode == status, done.stderr
        [written] = done.stderr.splitlines()
        assert written.startswith("error: ")
        assert text in written


def test_ctrl_c_ends_it_in_good_order(resources: Resources) -> None:
    consumer = subprocess.Popen(
        [sys.executable, "-m", "consumer", "watch", "--json"],
        env=resources.environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    send(resources, body(1))
    assert consumer.stdout
    assert json.loads(consumer.stdout.readline())["frame_index"] == 1
    consumer.send_signal(signal.SIGINT)
    _, errors = consumer.communicate()
    assert consumer.returncode == 0
    assert errors == ""
    wait_for(lambda: left(resources) == 0, "empty queue", lambda: left(resources))


def test_a_line_says_what_how_fast_and_how_old() -> None:
    result = ResultMessage.model_validate_json(body(7, summary=[], detections_count=0))
    text = line(result, parse_time(result.captured_at) + timedelta(seconds=1.5)).plain
    assert "cam/s/000000007" in text
    assert "1.50 s" in text
    assert text.endswith("nothing")
    assert "Infinity" not in line(result, datetime.now(UTC)).plain


def test_memory_of_frame_ids_is_bounded() -> None:
    seen = Remembered(3)
    for number in range(5):
        seen.add(str(number))
    assert [str(number) in seen for number in range(5)] == [False, False, True, True, True]


@pytest.mark.parametrize("command", ["watch", "save"])
def test_help_has_examples(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "consumer", command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "Example" in done.stdout
    assert "Exit status" in done.stdout


def test_a_short_line_names_the_frame_by_source_and_number() -> None:
    result = ResultMessage.model_validate_json(body(17))
    text = line(result, parse_time(result.captured_at) + timedelta(seconds=1.5), short=True).plain
    assert text.split() == ["cam", "#17", f"{result.inference_ms:.1f}", "ms", "1.50", "s", "1", "person", "0.87"]
    long = result.model_copy(update={"source": "x" * 128})
    assert "xxx… #17 " in line(long, short=True).plain
    # A plain JPEG has no number.
    plain = result.model_copy(update={"frame_index": None})
    assert "#" not in line(plain, short=True).plain
