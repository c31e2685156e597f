"""The page's server on events: list, pictures, frames, films, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from contract.event import EventMessage
from contract.frame import format_time
from contract.message import SkippedMessage, TallyMessage
from local.resources import Resources
from local.waiting import wait_for
from tests.happenings import NOON, happening, send_frame, store, store_frame
from tests.pictures import street_jpeg
from tests.system.test_web import Page, schema
from tests.unit.test_clips import grey
from tests.unit.test_consumer import body, send

SECOND = timedelta(seconds=1)


@pytest.fixture
def page(resources: Resources) -> Iterator[Page]:
    made = Page(resources)
    yield made
    assert made.process.stop() == 0


def address(event: EventMessage) -> str:
    return event.index_key.removeprefix("events/").removesuffix(".json")


def listed(page: Page, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.json(f"/api/events{query}")["events"]
    return found


def test_the_list(page: Page, resources: Resources) -> None:
    now, bucket = datetime.now(UTC), resources.bucket
    old = store(resources, happening(bucket, NOON))
    new = [store(resources, happening(bucket, now - number * SECOND)) for number in range(3)]
    # It looks for new ones every other second.
    wait_for(lambda: [one["path"] for one in listed(page)] == [address(event) for event in new], "events")
    for one in listed(page):
        jsonschema.validate(one, schema("Event"))
    assert page.json("/api/events?limit=2")["more"]
    assert [one["path"] for one in listed(page, "?since=2026-01-01T11:00:00Z&until=2026-01-01T13:00:00Z")] == [
        address(old)
    ]
    assert listed(page, "?kind=cross") == listed(page, "?class=car") == listed(page, "?zone=gate") == []
    assert len(listed(page, "?zone=step&class=person&source=door&rule=visitor&kind=appear")) == 3
    assert page.json(f"/api/events/{address(old)}")["event_id"] == old.event_id
    for query in ("since=x", "kind=x", "limit=0", "limit=2001", "until=12"):
        assert page.get(f"/api/events?{query}")[0] == 422
    for path in ("2026-01-01/12/door/0123456789abcdef", "2026-01-01/12/..%2f/x", "2026-01-01/12/door/x"):
        for route in ("/api/events/{}", "/event-pictures/{}", "/api/events/{}/frames", "/api/events/{}/clip"):
            assert page.get(route.format(path))[0] == 404


def test_pictures_frames_and_film_of_stored_frames(page: Page, resources: Resources, tmp_path: Path) -> None:
    event = store(resources, happening(resources.bucket, NOON), street_jpeg(seed=9))
    for fifth in range(21):
        store_frame(resources, event, fifth / 5, grey(10 * fifth))
    status, picture, headers = page.get(f"/event-pictures/{address(event)}")
    assert (status, picture, headers["content-type"]) == (200, street_jpeg(seed=9), "image/jpeg")
    found = page.json(f"/api/events/{address(event)}/frames?before=0&after=0")
    assert (found["from"], len(found["frames"]), found["frames"][5]) == ("bucket", 21, format_time(NOON + SECOND))
    assert page.get(f"/event-frames/{address(event)}/5?before=0&after=0")[1] == grey(50)
    assert page.get(f"/event-frames/{address(event)}/21?before=0&after=0")[0] == 404
    assert page.get(f"/api/events/{address(event)}/frames?before=61")[0] == 422
    assert page.get(f"/api/events/{address(event)}/frames?boxes=2")[0] == 422
    status, film, headers = page.get(f"/api/events/{address(event)}/clip")
    assert (status, headers["content-type"]) == (200, "video/mp4")
    assert 'filename="door-visitor-2026-01-01T12.00.00.mp4"' in headers["content-disposition"]
    (tmp_path / "film.mp4").write_bytes(film)
    assert cv2.VideoCapture(str(tmp_path / "film.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 21
    no_picture = store(resources, happening(resources.bucket, NOON, source="yard", snapshot_key=None))
    assert page.get(f"/event-pictures/{address(no_picture)}")[0] == 404


def test_frames_of_the_stream_with_boxes_and_without_what_is_hidden(page: Page, resources: Resources) -> None:
    event = store(resources, happening(resources.bucket, datetime.now(UTC) - 5 * SECOND, seconds=1))
    for fifth in range(6):
        send_frame(resources, event, fifth / 5, grey(200))
    seen = [{"class": "person", "conf": 0.9, "bbox": [0.25, 0.25, 0.5, 0.5]}]
    send(resources, body(0, frame_id=event.first_frame_id, source="door", key=None, summary=seen))
    page.wait_for_frames(1)

    def frame(boxes: int) -> Any:
        status, jpeg, _ = page.get(f"/event-frames/{address(event)}/0?before=0&after=0&boxes={boxes}")
        return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if status == 200 else status

    assert page.json(f"/api/events/{address(event)}/frames")["from"] == "stream"
    assert frame(1).std() > 5
    assert frame(0).std() < 1
    resources.configure("door", json.dumps({"privacy": {"masks": [[[0, 0], [1, 0], [1, 0.5]]]}}))
    other = f"/event-frames/{address(event)}/0?before=1&after=1&boxes=0"
    masked = cv2.imdecode(np.frombuffer(page.get(other)[1], np.uint8), cv2.IMREAD_COLOR)
    assert masked is not None
    assert masked[10, 300].max() < 12
    resources.configure("door", json.dumps({"privacy": {"blur": ["person"]}}))
    for route in ("frames?before=2", "clip?before=2"):
        status, content, _ = page.get(f"/api/events/{address(event)}/{route}")
        assert (status, "its settings hide person" in json.loads(content)["error"]) == (403, True)


def test_a_source_whose_frames_are_tallied_is_not_silent(page: Page, resources: Resources) -> None:
    tally = TallyMessage(
        tally_id="yard/s/000000000", source="yard", stream_name="x", shard_id="shardId-000000000000",
        minute=format_time(NOON), first_frame_id="yard/s/000000000", last_frame_id="yard/s/000000299", first_index=0,
        last_index=299, frames=300, frames_with_detections=2, stored=0, classes={"person": 2}, zones={}, lines={},
        worst_latency_ms=5, sent_at=format_time(NOON),
    )  # fmt: skip
    send(resources, tally.to_json(), tally.to_json(), body(1, source="cam"))
    wait_for(lambda: len(page.json("/api/sources")["sources"]) == 2, "sources")
    page.wait_for_frames(1)
    status = page.json("/api/sources/yard/status")
    assert (status["frames"], status["classes"], status["latest_picture_id"]) == (300, {"person": 2}, "")
    skipped = SkippedMessage(
        frame_id="yard/s/000000300", frame_index=300, source="yard", stream_name="x", shard_id="shardId-000000000000",
        sequence_number="1", captured_at=format_time(NOON), arrived_at=format_time(NOON), skipped_at=format_time(NOON),
        age_seconds=99,
    )  # fmt: skip
    send(resources, skipped.to_json())
    wait_for(lambda: page.json("/api/sources/yard/status")["skipped"] == 1, "the skipped frame")
    assert page.json("/api/sources/yard/status")["frames"] == 300
    assert [page.process.line() for _ in range(3)] == [tally.to_json(), body(1, source="cam"), skipped.to_json()]
