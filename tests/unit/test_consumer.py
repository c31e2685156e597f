from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from consumer.results import Remembered
from consumer.watch import line
from contract.frame import parse_time
from contract.message import ResultMessage
from local.processes import ROOT
from local.resources import Resources
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
        timeout=60,
        check=False,
    )


def left(resources: Resources) -> int:
    """Messages on the queue, those in somebody's hands included."""
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


def test_save_writes_frames_and_messages(resources: Resources, tmp_path: Path) -> None:
    for number in range(3):
        key = f"frames/cam/2026-01-01/00/s-{number:09d}.jpg"
        resources.client("s3").put_object(Bucket=resources.bucket, Key=key, Body=b"picture %d" % number)
    send(resources, *(body(number, bucket=resources.bucket) for number in range(3)))
    done = run(resources, "save", str(tmp_path / "out"), "--limit", "3")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out" / "cam" / "2026-01-01" / "00"
    assert (folder / "s-000000002.jpg").read_bytes() == b"picture 2"
    assert json.loads((folder / "s-000000002.json").read_text())["frame_index"] == 2
    assert sorted(path.suffix for path in folder.iterdir()) == [".jpg"] * 3 + [".json"] * 3


def test_what_cannot_be_handled_stays_on_the_queue(resources: Resources, tmp_path: Path) -> None:
    send(resources, body(1, bucket=resources.bucket))  # its frame is not there
    done = run(resources, "save", str(tmp_path), "--limit", "1")
    assert done.returncode == 1
    assert "NoSuchKey" in done.stderr
    assert left(resources) == 1


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
    _, errors = consumer.communicate(timeout=30)
    assert consumer.returncode == 0
    assert errors == ""
    deadline = time.monotonic() + 10
    while left(resources) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left(resources) == 0


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
