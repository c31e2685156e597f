"""Two producers under one name are told by `doctor` and by the page."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from consumer.web.board import OVERLAP_SECONDS, Board
from contract import Metadata, embed
from contract.message import ResultMessage
from doctor.latest import latest
from doctor.place import Place
from doctor.sources import sources, take_turns
from local.resources import Resources
from tests import pictures


@pytest.mark.parametrize(
    ("sessions", "shared"), [("", False), ("aaa", False), ("aabb", False), ("aabbcc", False), ("aba", True)]
)
def test_sessions_take_turns_or_follow_one_another(sessions: str, shared: bool) -> None:
    assert take_turns(sessions) == shared


def test_doctor_tells_of_producers_that_share_a_name(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in resources.environment().items():
        monkeypatch.setenv(name, value)
    place, kinesis = Place.from_environment(), resources.client("kinesis")

    def put(source: str, session: str) -> None:
        data = embed(pictures.street_jpeg(64, 64), Metadata(source, session, 0, datetime.now(UTC)))
        kinesis.put_record(StreamName=resources.stream, PartitionKey=source, Data=data)

    for session in "ab":
        put("door", session)
        put("desk", "c")
    kinesis.put_record(StreamName=resources.stream, PartitionKey="plain", Data=pictures.street_jpeg(64, 64))
    assert sources(latest(place)).says == "2 sources of the last 5 minutes, a producer each"
    put("door", "a")
    found = sources(latest(place))
    assert found.verdict == "unsure"
    assert found.says.startswith("several producers send as door at a time")


def result(session: str, index: int) -> ResultMessage:
    now = "2026-01-01T00:00:00.000000Z"
    return ResultMessage(
        bucket="b", key="frames/door/2026-01-01/00/k.jpg", frame_index=index, detections_count=0, summary=(),
        timestamp=now, stream_name="s", frame_id=f"door/{session}/{index:09d}", source="door", captured_at=now,
        processed_at=now,
        shard_id="shardId-000000000000", sequence_number="1", image_width=1, image_height=1, model="m",
        inference_ms=1.0, lag_ms=0, zones=None, lines=None,
    )  # fmt: skip


def test_the_page_tells_of_producers_that_share_a_name_and_not_of_one_that_was_started_again() -> None:
    now = [0.0]
    board = Board(lambda: now[0])

    def senders(sessions: str) -> int:
        now[0] += 1
        for session in sessions:
            board.add(result(session, int(now[0])))
        status = board.source("door")
        assert status
        return int(status["senders"])

    for sessions in ["a", "a", "ba", "b", "b", "b"]:  # a queue keeps no order
        assert senders(sessions) == 1
    for _ in range(int(OVERLAP_SECONDS) + 1):
        assert senders("bc") == 1
    assert senders("bc") == 2
    for number in range(100):
        senders(chr(1000 + number))
    assert senders("d") == 1
