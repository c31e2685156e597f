"""The events that the page keeps at hand, and those that it reads when they are asked for."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest

from consumer.bucket import Bucket
from consumer.errors import GoneError
from consumer.events import EventIndex, Wanted
from consumer.web import happenings
from consumer.web.happenings import Happenings, entry
from local.resources import Resources
from local.waiting import wait_for
from tests.happenings import NOON, happening, store

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ALL = Wanted(NOON - 3 * DAY, NOON + DAY)


class Running:
    """Happenings that look for new events in a thread, at a standing clock."""

    def __init__(self, resources: Resources) -> None:
        self.told: list[dict[str, Any]] = []
        self.reads: list[str] = []
        index = EventIndex(Bucket(resources.client("s3"), resources.bucket, attempts=1))
        self._read = index.read
        index.read = self._count  # type: ignore[method-assign]
        self.happenings = Happenings(index, lambda text: self.told.append(json.loads(text)), lambda: NOON + MINUTE)
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self.happenings.run, args=[self.stop])

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join()

    def _count(self, key: str) -> Any:
        self.reads.append(key)
        return self._read(key)

    def wait_until_at_hand(self, since: datetime) -> None:
        wait_for(lambda: self.happenings._since <= since, "events at hand")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(happenings, "LOOK_SECONDS", 0.05)


def test_a_day_is_at_hand_and_older_events_are_read_when_they_are_asked_for(resources: Resources) -> None:
    ages = [2 * DAY, timedelta(hours=30), timedelta(hours=20), 5 * MINUTE]
    made = [store(resources, happening(resources.bucket, NOON - age)) for age in ages]
    with Running(resources) as running:
        running.wait_until_at_hand(NOON - timedelta(hours=23))
        assert running.told == []  # what was there is no news
        before = len(running.reads)
        assert running.happenings.latest(ALL, 2) == [made[3], made[2]]
        assert len(running.reads) == before
        assert running.happenings.latest(ALL, 10) == made[::-1]
        assert len(running.reads) == before + 2
        one = Wanted(ALL.since, ALL.until, rule="other")
        assert running.happenings.latest(one, 10) == []
        # One that starts, and ends, is told each time.
        store(resources, happening(resources.bucket, NOON, seconds=None))
        wait_for(lambda: len(running.told) == 1, "start")
        ended = store(resources, happening(resources.bucket, NOON))
        wait_for(lambda: len(running.told) == 2, "end")
        assert [told["event"]["phase"] for told in running.told] == ["start", "end"]
        assert running.happenings.get(running.told[0]["event"]["path"]) == ended
        with pytest.raises(GoneError):
            running.happenings.get("2026-01-01/12/door/0123456789abcdef")


def test_more_events_than_there_is_room_for_are_read_again(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(happenings, "MAX_EVENTS", 3)
    made = [store(resources, happening(resources.bucket, NOON - number * MINUTE)) for number in range(6)]
    with Running(resources) as running:
        running.wait_until_at_hand(NOON - 2 * MINUTE)
        assert len(running.happenings._events) == 3
        assert running.happenings.latest(ALL, 10) == made


def test_a_bucket_that_cannot_be_read_is_told_of_until_it_can(resources: Resources) -> None:
    s3 = resources.client("s3")
    missing = EventIndex(Bucket(s3, "missing-" + resources.bucket, attempts=1))
    found, stop = Happenings(missing, lambda text: None, lambda: NOON), threading.Event()
    thread = threading.Thread(target=found.run, args=[stop])
    thread.start()
    wait_for(lambda: "NoSuchBucket" in found.problem, "problem")
    s3.create_bucket(
        Bucket="missing-" + resources.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    wait_for(lambda: not found.problem, "recovery")
    stop.set()
    thread.join()


def test_what_the_page_is_told_does_not_say_where_objects_lie() -> None:
    told = json.dumps(entry(happening("a-bucket")))
    assert "a-bucket" not in told
    assert "_key" not in told
