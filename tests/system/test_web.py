"""The live page's server, as its process: API, frames, events, who is let in."""

from __future__ import annotations

import http.client
import json
import signal
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from consumer.web.board import HISTORY, MAX_CLASSES, MAX_SOURCES, Board
from consumer.web.openapi import DESCRIPTION
from contract.message import ResultMessage
from local.processes import Aws, Process
from local.resources import Resources
from local.waiting import PATIENCE_SECONDS, wait_for
from tests.pictures import street_jpeg
from tests.unit.test_consumer import body, send

HOSTILE = "<img src=x onerror=alert(1)>"


class Page:
    """`consumer web` on a random port."""

    def __init__(self, resources: Resources, *arguments: str) -> None:
        environment = resources.environment()
        self.process = Process("consumer", "web", "--port", "0", "--json", *arguments, env=environment)
        first = self.process.line()
        assert first, "no address"
        self.address: str = json.loads(first)["address"]

    def get(self, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        base, _, _ = self.address.partition("?")
        request = urllib.request.Request(urllib.parse.urljoin(base, path), headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers)

    def json(self, path: str) -> Any:
        status, content, _ = self.get(path)
        assert status == 200, content
        return json.loads(content)

    def wait_for_frames(self, number: int) -> None:
        wait_for(lambda: len(self.json("/api/detections?limit=500")["detections"]) >= number, "frames")


@contextmanager
def filled(resources: Resources) -> Iterator[Page]:
    """With three frames of two cameras, and one message that says it is elsewhere."""
    s3 = resources.client("s3")
    for number in range(3):
        key = f"frames/cam/2026-01-01/00/s-{number:09d}.jpg"
        s3.put_object(Bucket=resources.bucket, Key=key, Body=street_jpeg())
    seen = [{"class": HOSTILE, "conf": 0.9, "bbox": [0.1, 0.1, 0.2, 0.2]}]
    send(
        resources,
        body(0, bucket=resources.bucket),
        body(1, bucket=resources.bucket, summary=seen, detections_count=1),
        body(2, bucket=resources.bucket, source="yard"),
        body(3, bucket="somebody-elses"),
        "not a message",
    )
    made = Page(resources)
    made.wait_for_frames(4)
    yield made
    assert made.process.stop() == 0


@pytest.fixture(scope="module")
def page(aws: Aws) -> Iterator[Page]:
    """For tests that only read."""
    with filled(Resources.create(aws.url, f"t{uuid4().hex[:12]}")) as made:
        yield made


@pytest.fixture
def own_page(resources: Resources) -> Iterator[Page]:
    with filled(resources) as made:
        yield made


def schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": DESCRIPTION["components"]}


def test_the_api(page: Page) -> None:
    assert page.json("/openapi.json") == DESCRIPTION
    sources = page.json("/api/sources")["sources"]
    assert [source["name"] for source in sources] == ["cam", "yard"]
    for source in sources:
        jsonschema.validate(source, schema("Source"))
    assert page.json("/api/sources/yard/status")["frames"] == 1
    found = page.json("/api/detections?limit=500")["detections"]
    for one in found:
        jsonschema.validate(one, schema("Detection"))
        assert "bucket" not in one
    of_class = page.json("/api/detections?" + urllib.parse.urlencode({"class": HOSTILE}))["detections"]
    assert [one["frame_id"] for one in of_class] == ["cam/s/000000001"]
    assert len(page.json("/api/detections?source=yard")["detections"]) == 1
    latest = page.json("/api/detections?limit=1")["detections"][0]["frame_id"]
    older = [one["frame_id"] for one in page.json(f"/api/detections?before={latest}")["detections"]]
    assert sorted([latest, *older]) == [f"cam/s/{number:09d}" for number in range(4)]
    assert page.json("/api/frames/cam/s/000000002")["source"] == "yard"
    for path in ("/api/frames/cam/s/000000009", "/api/sources/none/status", "/frames/cam/s/000000009"):
        status, content, _ = page.get(path)
        assert status == 404
        jsonschema.validate(json.loads(content), schema("Error"))
    for limit in ("0", "501", "-1", "x", "9" * 5000):
        assert page.get(f"/api/detections?limit={limit}")[0] == 422


def test_frames_come_from_the_pipelines_bucket_alone(page: Page) -> None:
    status, content, headers = page.get("/frames/cam/s/000000001")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert content == street_jpeg()
    status, content, _ = page.get("/frames/cam/s/000000003")
    assert status == 502
    assert b"another bucket" in content
    assert page.get("/frames/..%2f..%2fetc/passwd")[0] == 404


def test_the_page_asks_nothing_of_others_and_runs_nothing_inline(page: Page) -> None:
    status, content, headers = page.get("/")
    assert status == 200
    assert b"http://" not in content
    assert b"https://" not in content
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"
    for name in ("page.js", "page.css", "icon.svg"):
        assert page.get(f"/static/{name}")[0] == 200
    assert page.get("/static/../command.py")[0] == 404


def test_another_name_for_this_machine_is_refused(page: Page) -> None:
    for host in ("attacker.example", "attacker.example:8000", "127.0.0.1.attacker.example", "[", ""):
        assert page.get("/api/sources", Host=host)[0] in (400, 421)
    for host in ("localhost", "127.0.0.1:9", "[::1]", "[::1]:8000"):
        assert page.get("/api/sources", Host=host)[0] == 200


def events(page: Page) -> Iterator[dict[str, Any]]:
    host = urllib.parse.urlparse(page.address).netloc
    connection = http.client.HTTPConnection(host, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/events")
    answer = connection.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")
    while line := answer.readline():
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def test_events_begin_with_what_there_is_and_go_on_with_what_comes(own_page: Page, resources: Resources) -> None:
    stream = events(own_page)
    first = next(stream)
    assert first["type"] == "sources"
    assert {source["name"] for source in first["sources"]} == {"cam", "yard"}
    send(resources, body(7, bucket=resources.bucket))
    came = next(event for event in stream if event["type"] == "result")
    assert came["result"]["frame_id"] == "cam/s/000000007"
    assert came["source"]["name"] == "cam"


def test_off_this_machine_a_token_is_needed(resources: Resources) -> None:
    page = Page(resources, "--host", "0.0.0.0")
    token = page.address.partition("?token=")[2]
    assert len(token) >= 32
    page.address = page.address.replace("0.0.0.0", "127.0.0.1")
    assert page.get("/api/sources")[0] == 401
    assert page.get("/api/sources", Authorization="Bearer wrong")[0] == 401
    assert page.get("/api/sources", Cookie="cv2kinesis=wrong")[0] == 401
    assert page.get("/api/sources", Authorization=f"Bearer {token}")[0] == 200
    assert page.get("/api/sources", Cookie=f"cv2kinesis={token}")[0] == 200
    host = urllib.parse.urlparse(page.address).netloc
    connection = http.client.HTTPConnection(host, timeout=PATIENCE_SECONDS)
    connection.request("GET", f"/?token={token}")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert "httponly" in answer.headers["set-cookie"].lower()
    page.process.process.send_signal(signal.SIGINT)
    assert page.process.wait() == 0


@pytest.mark.thorough
def test_what_cannot_be_served_is_one_line(resources: Resources, page: Page) -> None:
    port = urllib.parse.urlparse(page.address).port
    taken = Process("consumer", "web", "--port", str(port), env=resources.environment())
    assert taken.wait() == 1
    url = f"{resources.queue_url}-none"
    missing = Process("consumer", "web", "--port", "0", "--queue-url", url, env=resources.environment())
    assert missing.wait() == 3


def test_a_board_keeps_no_more_than_it_says() -> None:
    board = Board(lambda: 1.0)
    for number in range(HISTORY + 10):
        board.add(ResultMessage.model_validate_json(body(number, source=f"c{number}")))
    assert len(board.sources()) == MAX_SOURCES
    assert board.frame("cam/s/000000009") is None
    assert board.frame(f"cam/s/{HISTORY:09d}") is not None
    assert board.detections(source=None, class_name=None, before="gone", limit=5) == []


def test_ever_new_classes_do_not_pile_up() -> None:
    board = Board(lambda: 1.0)
    for number in range(3):
        seen = [{"class": f"c{number}-{place}", "conf": 0.5, "bbox": [0, 0, 1, 1]} for place in range(MAX_CLASSES)]
        board.add(ResultMessage.model_validate_json(body(number, summary=seen)))
        assert len(board._sources["cam"].classes) == MAX_CLASSES


@pytest.mark.thorough
def test_the_api_is_as_it_describes_itself_whatever_is_asked(page: Page) -> None:
    schema = schemathesis.openapi.from_url(urllib.parse.urljoin(page.address, "/openapi.json"))
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]
    assert len(operations) == sum(map(len, DESCRIPTION["paths"].values()))
    for operation in operations:

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            case.call_and_validate()

        holds()
