"""`consumer events`: the index of events in the bucket."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consumer import events as reading
from consumer.bucket import Bucket
from consumer.errors import GoneError, RefusedError
from consumer.event_line import line
from consumer.events import Changes, EventIndex, Wanted
from consumer.moments import moment
from contract.event import EventMessage
from local.processes import Process
from local.resources import Resources
from tests.happenings import NOON, happening, store
from tests.unit.test_consumer import run

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def index_of(resources: Resources) -> EventIndex:
    return EventIndex(Bucket(resources.client("s3"), resources.bucket, attempts=1))


def listed(resources: Resources, *arguments: str) -> list[dict[str, Any]]:
    done = run(resources, "events", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(text) for text in done.stdout.splitlines()]


def test_events_are_listed_by_their_start_over_hours_sources_and_pages(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [
        store(resources, happening(resources.bucket, NOON + timedelta(minutes=17 * number), source=f"cam-{number % 3}"))
        for number in range(20)
    ]
    s3 = resources.client("s3")
    pages = []
    listing = s3.list_objects_v2

    def list_two(**request: Any) -> Any:
        pages.append(request)
        return listing(**request, MaxKeys=2)

    monkeypatch.setattr(s3, "list_objects_v2", list_two)
    index = EventIndex(Bucket(s3, resources.bucket))
    assert list(index.events(Wanted(NOON, NOON + DAY))) == made
    # Which hours there are, and their pages of two.
    assert 3 + 10 <= len(pages) <= 3 + 6 * 3
    of_one = [event for event in made[2:10] if event.source == "cam-1"]
    wanted = Wanted(parse(made[2]), parse(made[10]), source="cam-1")
    assert list(index.events(wanted)) == of_one


def parse(event: EventMessage) -> datetime:
    return datetime.fromisoformat(event.started_at)


@pytest.mark.thorough
def test_filters_and_times_of_the_command(resources: Resources) -> None:
    now = datetime.now(UTC)
    bucket = resources.bucket
    store(resources, happening(bucket, now - 3 * DAY, rule="old"))
    store(resources, happening(bucket, now - 2 * MINUTE, source="yard", rule="visitor", classes=["car"]))
    crossed: dict[str, Any] = {"event": "cross", "zone": None, "line": "gate", "direction": "in", "rule": "entrance"}
    store(resources, happening(bucket, now - MINUTE, seconds=None, **crossed))
    assert [event["rule"] for event in listed(resources)] == ["visitor", "entrance"]
    assert [event["rule"] for event in listed(resources, "--since", "7d", "--until", "24h")] == ["old"]
    for option, value, rule in (
        ("--source", "yard", "visitor"),
        ("--kind", "cross", "entrance"),
        ("--rule", "entrance", "entrance"),
        ("--zone", "gate", "entrance"),
        ("--zone", "step", "visitor"),
        ("--class", "car", "visitor"),
    ):
        assert [event["rule"] for event in listed(resources, option, value)] == [rule]
    shown = run(resources, "events").stdout.splitlines()
    assert "yard  visitor  appear step: car  4.0 s" in shown[0]
    assert "door  entrance  cross gate in: person  goes on" in shown[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "--since 'yesterday': a time such as 2026-01-01T12:00 in UTC, or 90m"),
        pytest.param(["--until", "9"], "--until '9': a time", marks=pytest.mark.thorough),
        pytest.param(["--follow", "--until", "1h"], "--until: --follow has no end", marks=pytest.mark.thorough),
    ],
)
def test_wrong_usage_is_one_line(resources: Resources, arguments: list[str], said: str) -> None:
    done = run(resources, "events", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_moments() -> None:
    assert moment("90m", NOON) == NOON - timedelta(minutes=90)
    assert moment("2026-01-01", NOON) == NOON.replace(hour=0)
    assert moment("2026-01-01T13:00+01:00", NOON) == NOON
    for text in ("", "5", "-5m", "9999999d", "2026-13-01"):
        with pytest.raises(ValueError, match="a time such as"):
            moment(text, NOON)
    with pytest.raises(ValueError, match="a time such as"):
        moment("999999d", NOON)
    for far, year in (("0485-03-11T14:07:46Z", 2000), ("9999-12-31", 8999)):
        assert moment(far, datetime(2026, 1, 1, tzinfo=UTC)).year == year


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no json", "no event"),
        (b"[]", "no event"),
        (b" " * (reading.MAX_EVENT_BYTES + 1), f"more than {reading.MAX_EVENT_BYTES} bytes"),
        ({"bucket": "somebody-elses"}, "another bucket"),
        ({"index_key": "events/2026-01-01/12/yard/0123456789abcdef.json"}, "says that it is"),
        ({"source": "yard"}, "says that it is"),
        ({"started_at": "2026-01-01T13:00:00.000000Z"}, "says that it is"),
        ({"event_id": "0123456789abcdee"}, "says that it is"),
        ({"snapshot_key": "events/2026-01-01/12/yard/0123456789abcdef.jpg"}, "does not lie beside it"),
        ({"snapshot_key": "state/secret.jpg"}, "no event: snapshot_key"),
    ],
)
def test_hostile_objects_are_refused_in_one_line_and_stop_no_other(
    resources: Resources, content: bytes | dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = store(resources, happening(resources.bucket))
    bad = happening(resources.bucket, source="door", rule="other", event_id="0123456789abcdef")
    if isinstance(content, dict):
        content = json.dumps(json.loads(bad.to_json()) | content).encode()
    resources.client("s3").put_object(Bucket=resources.bucket, Key=bad.index_key, Body=content)
    index = index_of(resources)
    assert list(index.events(Wanted(NOON, NOON + DAY))) == [good]
    [record] = caplog.records
    assert said in record.getMessage()
    assert bad.index_key in record.getMessage()
    assert "\n" not in record.getMessage()
    with pytest.raises(RefusedError):
        index.read(bad.index_key)


def test_keys_that_are_no_events_are_refused(resources: Resources, caplog: pytest.LogCaptureFixture) -> None:
    keys = ["events/2026-01-01/12/door/x.json", "events/2026-01-01/12/a.json", "events/2026-01-01/12/../0.json"]
    for key in keys:
        resources.client("s3").put_object(Bucket=resources.bucket, Key=key, Body=b"{}")
    assert list(index_of(resources).events(Wanted(NOON, NOON + DAY))) == []
    assert len(caplog.records) == len(keys)
    with pytest.raises(RefusedError, match="no event has such a key"):
        index_of(resources).read("state/x.json")


def test_an_hour_with_too_many_events_is_read_in_part(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reading, "MAX_OF_AN_HOUR", 3)
    for number in range(5):
        store(resources, happening(resources.bucket, NOON + number * MINUTE))
    store(resources, happening(resources.bucket, NOON + 61 * MINUTE))
    index = index_of(resources)
    for _ in range(2):
        assert len(list(index.events(Wanted(NOON, NOON + DAY)))) == 4
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["the first 3 events only"]


def test_an_event_is_found_by_its_id_or_its_key(resources: Resources) -> None:
    event = store(resources, happening(resources.bucket))
    index = index_of(resources)
    for name in (event.event_id, event.index_key):
        assert index.find(name, NOON - DAY, NOON + DAY) == event
    with pytest.raises(GoneError, match=r"event 0{16}: none has started since 2025-12-31 12:00 UTC"):
        index.find("0" * 16, NOON - DAY, NOON + DAY)


class Clock:
    now = NOON

    def __call__(self) -> datetime:
        return self.now


def test_changes_are_starts_and_ends_each_once(resources: Resources) -> None:
    clock = Clock()
    changes = Changes(index_of(resources), NOON, clock)
    store(resources, happening(resources.bucket, NOON - MINUTE))
    assert list(changes.look()) == []
    running = store(resources, happening(resources.bucket, NOON + MINUTE, seconds=None))
    clock.now = NOON + 2 * MINUTE
    assert list(changes.look()) == [running]
    assert list(changes.look()) == []
    # It ends hours later; its hour is looked at again for as long as it goes on.
    clock.now = NOON + timedelta(hours=3)
    ended = store(resources, happening(resources.bucket, NOON + MINUTE, seconds=3 * 3600))
    assert list(changes.look()) == [ended]
    clock.now += MINUTE
    store(resources, happening(resources.bucket, NOON + MINUTE, seconds=4 * 3600))
    assert list(changes.look()) == []
    # An event of the last minutes of an hour is told in the next one.
    clock.now = NOON + timedelta(hours=5, seconds=1)
    assert list(changes.look()) == []
    clock.now += timedelta(seconds=3)
    late = store(resources, happening(resources.bucket, NOON + timedelta(hours=4, minutes=59)))
    assert list(changes.look()) == [late]


def test_follow_prints_an_event_when_it_starts_and_when_it_ends(resources: Resources) -> None:
    now = datetime.now(UTC)
    with Process("consumer", "events", "--follow", "--since", "1m", env=resources.environment()) as following:
        store(resources, happening(resources.bucket, now, seconds=None))
        assert "goes on" in (following.line() or "")
        store(resources, happening(resources.bucket, now, seconds=2.5))
        assert "2.5 s" in (following.line() or "")
        following.process.send_signal(signal.SIGINT)
        assert following.wait() == 0


@pytest.mark.thorough
def test_a_missing_bucket_is_one_line(resources: Resources) -> None:
    done = run(resources, "events", "--bucket", "somebody-elses")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "NoSuchBucket" in done.stderr


@pytest.mark.parametrize("times", [("--since", "1h", "--until", "2h"), ("--since", "8000-01-01")])
@pytest.mark.thorough
def test_a_time_that_ends_before_it_begins_is_one_line(resources: Resources, times: tuple[str, ...]) -> None:
    done = run(resources, "events", *times)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --since: ")


@pytest.mark.thorough
def test_the_time_to_come_is_not_searched(resources: Resources) -> None:
    done = run(resources, "events", "--since", "1h", "--until", "8999-12-31")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_a_class_is_called_does_not_reach_the_terminal() -> None:
    event = happening("b", classes=["\x1b[2J<b>"])
    assert "\x1b" not in line(event).plain
    assert "<b>" in line(event).plain
