"""The audit finds each way in which something can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit import Accepted, Inbox, examine, read_ledger
from contract.message import QuarantineMessage, ResultMessage, SkippedMessage
from local.resources import Resources
from producer.ledger import Ledger
from tests.pictures import with_metadata

TIME = "2026-01-01T00:00:00.000000Z"


def frame(index: int, source: str = "door") -> Accepted:
    place = f"{source}/2026-01-01/00/s-{index:09d}"
    return Accepted(
        f"{source}/s/{index:09d}", source, index, f"frames/{place}.jpg", f"quarantine/{place}.bin", f"hash{index}"
    )


def result(of: Accepted, **changes: Any) -> ResultMessage:
    values: dict[str, Any] = {
        "bucket": "b", "key": of.key, "frame_index": of.index, "detections_count": 0, "summary": (), "timestamp": TIME,
        "stream_name": "s", "frame_id": of.frame_id, "source": of.source, "captured_at": TIME, "processed_at": TIME,
        "shard_id": "shard", "sequence_number": "1", "image_width": 1, "image_height": 1, "model": "m",
        "inference_ms": 1.0,
    }  # fmt: skip
    return ResultMessage(**{**values, **changes})


def notice(of: Accepted) -> QuarantineMessage:
    return QuarantineMessage(
        bucket="b", key=of.quarantine_key, reason="undecodable", detail="", frame_id=of.frame_id, source=of.source,
        size=1, stream_name="s", shard_id="shard", sequence_number="1", arrived_at=TIME, quarantined_at=TIME,
    )  # fmt: skip


def skip(of: Accepted) -> SkippedMessage:
    return SkippedMessage(
        frame_id=of.frame_id, frame_index=of.index, source=of.source, stream_name="s", shard_id="shard",
        sequence_number="1", captured_at=TIME, arrived_at=TIME, skipped_at=TIME, age_seconds=1,
    )  # fmt: skip


FRAMES = [frame(index) for index in range(4)]
OBJECTS = {accepted.key: accepted.sha256 for accepted in FRAMES}
RESULTS = [result(accepted, processed_at=f"2026-01-01T00:00:0{n}.000000Z") for n, accepted in enumerate(FRAMES)]


def at(of: ResultMessage, second: int) -> ResultMessage:
    return of.model_copy(update={"processed_at": f"2026-01-01T00:00:{second:02d}.000000Z"})


def test_each_frame_with_one_outcome_is_clean_and_duplicates_are_counted() -> None:
    findings = examine(FRAMES, OBJECTS, [*RESULTS, RESULTS[1]])
    assert findings.clean
    assert (findings.accepted, findings.stored, findings.announced, findings.duplicates) == (4, 4, 4, 1)


def test_quarantined_and_skipped_frames_are_outcomes_too() -> None:
    objects = OBJECTS | {FRAMES[3].quarantine_key: "hash3"}
    del objects[FRAMES[3].key], objects[FRAMES[2].key]
    findings = examine(FRAMES, objects, RESULTS[:2], [notice(FRAMES[3])], [skip(FRAMES[2])])
    assert findings.problems == []
    assert (findings.quarantined, findings.skipped, findings.announced) == (1, 1, 2)


def test_a_frame_that_was_skipped_and_then_came_younger_has_one_outcome() -> None:
    late = [at(one, 30 + n) for n, one in enumerate(RESULTS)]
    findings = examine(FRAMES, OBJECTS, late, skipped=[skip(FRAMES[2])])
    assert findings.problems == []
    assert (findings.announced, findings.skipped, findings.duplicates) == (4, 0, 1)
    # The other way round it would have two.
    after = skip(FRAMES[2]).model_copy(update={"skipped_at": "2026-01-01T00:01:00.000000Z"})
    assert examine(FRAMES, OBJECTS, late, skipped=[after]).problems == ["door/s/000000002: result and skipped"]


def test_a_message_that_was_too_long_lies_beside_its_frame() -> None:
    short = result(FRAMES[0], detections_count=2).shortened(FRAMES[0].key)
    findings = examine(FRAMES, OBJECTS | {str(short.whole_key): "hash0"}, [short, *RESULTS[1:]])
    assert findings.problems == []


Case = tuple[Callable[[], Any], str]
CASES: dict[str, Case] = {
    "no message": (lambda: examine(FRAMES, OBJECTS, RESULTS[1:]), "door/s/000000000: lost"),
    "no object": (
        lambda: examine(FRAMES, {k: v for k, v in OBJECTS.items() if k != FRAMES[0].key}, RESULTS),
        "result without its object",
    ),
    "another record's object": (
        lambda: examine(FRAMES, OBJECTS | {FRAMES[0].key: "other"}, RESULTS),
        "made of another record",
    ),
    "an object too many": (lambda: examine(FRAMES, OBJECTS | {"frames/door/x.jpg": "h"}, RESULTS), "no accepted frame"),
    "both outcomes": (lambda: examine(FRAMES, OBJECTS, RESULTS, [notice(FRAMES[0])]), "result and notice"),
    "both objects": (
        lambda: examine(FRAMES, OBJECTS | {FRAMES[0].quarantine_key: "hash0"}, RESULTS),
        "000000000: both",
    ),
    "a frame that nobody sent": (lambda: examine(FRAMES[1:], OBJECTS, RESULTS), "never accepted"),
    "another key in the message": (
        lambda: examine(FRAMES, OBJECTS, [result(FRAMES[0], key=FRAMES[1].key), *RESULTS[1:]]),
        "its message names",
    ),
    "another count in the message": (
        lambda: examine(FRAMES, OBJECTS, [result(FRAMES[0], detections_count=2), *RESULTS[1:]]),
        "2 detections, 0 listed",
    ),
    "a whole message that is not stored": (
        lambda: examine(
            FRAMES, OBJECTS, [result(FRAMES[0], detections_count=2).shortened(FRAMES[0].key), *RESULTS[1:]]
        ),
        "its whole message frames/door/2026-01-01/00/s-000000000.json is not stored",
    ),
    "out of order": (
        lambda: examine(FRAMES, OBJECTS, [RESULTS[0], at(RESULTS[1], 2), at(RESULTS[2], 1), RESULTS[3]]),
        "000000001: after 2",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_found(case: str) -> None:
    make, text = CASES[case]
    findings = make()
    assert not findings.clean
    assert any(text in problem for problem in findings.problems), findings.problems


def test_a_queue_that_delivers_in_another_order_is_no_disorder() -> None:
    assert examine(FRAMES, OBJECTS, RESULTS[::-1]).clean


def test_frames_that_come_again_after_a_lease_has_moved_are_no_disorder() -> None:
    again = [at(result, 10 + n) for n, result in enumerate(RESULTS[1:])]
    assert examine(FRAMES, OBJECTS, [*RESULTS[:3], *again]).clean


def test_sources_and_sessions_have_an_order_of_their_own() -> None:
    other = [replace(frame(index, "desk"), sha256=f"hash{index}") for index in range(2)]
    objects = OBJECTS | {accepted.key: accepted.sha256 for accepted in other}
    assert examine([*FRAMES, *other], objects, [*RESULTS, *(result(accepted) for accepted in other)]).clean


def test_the_producers_ledger_says_where_each_frame_will_lie(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    record = with_metadata("door", "s1", 7)
    with Ledger(path, pytest.fail) as ledger:
        ledger(record, "shardId-000000000000", "42")
    with path.open("a") as file:
        file.write('{"frame_id": "cut by a ki')
    [accepted] = read_ledger(path)
    assert accepted.frame_id == "door/s1/000000007"
    assert accepted.key.startswith("frames/door/")
    assert accepted.key.endswith("/s1-000000007.jpg")
    assert json.loads(path.read_text().splitlines()[0])["index"] == 7


def test_a_frame_of_which_the_producer_had_no_answer_may_have_an_outcome() -> None:
    *taken, last = FRAMES
    frames = [*taken, replace(last, answered=False)]
    findings = examine(frames, OBJECTS, RESULTS)
    assert (findings.problems, findings.accepted) == ([], len(FRAMES))
    without = {key: digest for key, digest in OBJECTS.items() if key != last.key}
    findings = examine(frames, without, RESULTS[:-1])
    assert (findings.problems, findings.accepted) == ([], len(taken))
    stored = {last.key: last.sha256}
    assert examine([frames[-1]], stored, []).problems == [f"{last.frame_id}: lost: no message of any kind"]
    assert examine(frames, without, RESULTS).problems == [f"{last.frame_id}: result without its object {last.key}"]


def test_the_ledger_tells_what_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger(path, pytest.fail) as ledger:
        ledger(with_metadata("door", "s1", 7), "shardId-000000000000", "42")
        ledger.unanswered(with_metadata("door", "s1", 8))
    assert [(frame.index, frame.answered) for frame in read_ledger(path)] == [(7, True), (8, False)]


def test_the_inbox_takes_its_own_and_leaves_the_rest(resources: Resources) -> None:
    sqs, queue = resources.client("sqs"), resources.queue_url
    mine = [result(frame(1)), skip(frame(2))]
    others = [result(frame(1, "gate")).to_json(), '{"source":"door","kind":"strange"}', '"door"', '"door" {']
    for body in [*(message.to_json() for message in mine), *others]:
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    taken: list[ResultMessage | SkippedMessage] = []
    with Inbox(sqs, queue, "door") as inbox:
        while len(taken) < len(mine):
            taken += inbox.take()
        assert inbox.take(0) == []
    assert sorted(taken, key=lambda message: message.frame_id) == mine
    assert left_on(sqs, queue, len(others)) == set(others)


def test_the_inbox_gives_back_all_but_what_somebody_else_has_taken_meanwhile(resources: Resources) -> None:
    sqs, queue = resources.client("sqs"), resources.queue_url
    for number in range(3):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))
    with Inbox(sqs, queue, "door") as inbox:
        handles = inbox._others
        while len(handles) < 3:
            inbox.take()
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=handles[0])
    left = left_on(sqs, queue, 2)
    assert len(left) == 2
    assert left < {"0", "1", "2"}


def left_on(sqs: Any, queue: str, number: int) -> set[str]:
    """The bodies of so many messages that can be received."""
    left: set[str] = set()
    while len(left) < number:
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        left |= {message["Body"] for message in answer.get("Messages", [])}
    return left
