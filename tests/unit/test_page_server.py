"""The live page's server within this process: what stalls, ends or piles up beside it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlparse

import pytest

from cloud.clients import client
from consumer.bucket import Bucket
from consumer.frames import Frames
from consumer.results import MessageHandler, ResultReader
from consumer.web import board as boards
from consumer.web import command, patience, pictures, shape_routes
from consumer.web.board import HISTORY_BYTES, Board
from contract.message import ResultMessage
from local.resources import REGION, Resources
from local.waiting import PATIENCE_SECONDS, wait_for
from tests.pictures import street_jpeg
from tests.unit.test_consumer import body, run, send, shortened

# More than the threads that a server has for everything.
MANY = 50


class Serving:
    """`consumer web` in a thread of this process.

    Attributes:
        ended: What has ended it.
    """

    def __init__(self, resources: Resources, s3: Any, handle: MessageHandler, token: str | None) -> None:
        self.stop = threading.Event()
        self.ended: BaseException | None = None
        self._address: list[str] = []
        reader = ResultReader(resources.client("sqs"), resources.queue_url)
        frames = Frames(s3, resources.bucket, attempts=1)

        origins = command.Origins(
            Bucket(resources.client("s3"), resources.bucket, attempts=1),
            resources.client("kinesis"),
            resources.client("ssm"),
        )

        def run() -> None:
            try:
                command.serve(
                    reader, self.stop, frames, dict, origins, host="127.0.0.1", port=0, token=token,
                    announce=self._address.append, handle=handle,
                )  # fmt: skip
            except BaseException as error:
                self.ended = error

        self.thread = threading.Thread(target=run)
        self.thread.start()
        wait_for(lambda: self._address or not self.thread.is_alive(), "address")

    @property
    def address(self) -> str:
        return self._address[0]

    def connect(self) -> socket.socket:
        made = socket.create_connection((urlparse(self.address).hostname, urlparse(self.address).port))
        made.settimeout(PATIENCE_SECONDS)
        return made

    def ask(self, path: str, *headers: tuple[str, str]) -> http.client.HTTPConnection:
        """Sends a request and waits for no answer."""
        connection = http.client.HTTPConnection(urlparse(self._address[0]).netloc, timeout=PATIENCE_SECONDS)
        connection.putrequest("GET", path)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        return connection

    def get(self, path: str, *headers: tuple[str, str]) -> tuple[int, bytes]:
        answer = self.ask(path, *headers).getresponse()
        return answer.status, answer.read()

    def events(self) -> Iterator[dict[str, Any]]:
        """Events from now on."""
        answer = self.ask("/events").getresponse()

        def read() -> Iterator[dict[str, Any]]:
            while line := answer.readline():
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

        events = read()
        assert next(events)["type"] == "sources"
        return events


def ignore(_: object, body: str) -> None:
    """Does nothing with a message."""


@contextmanager
def serving(
    resources: Resources, s3: Any = None, handle: MessageHandler = ignore, token: str | None = None
) -> Iterator[Serving]:
    made = Serving(resources, s3 or resources.client("s3"), handle, token)
    try:
        yield made
    finally:
        made.stop.set()
        made.thread.join(PATIENCE_SECONDS)
    assert not made.thread.is_alive()


def next_result(events: Iterator[dict[str, Any]]) -> dict[str, Any]:
    return next(event["result"] for event in events if event["type"] == "result")


def test_a_bucket_that_stalls_delays_its_pictures_alone(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PICTURE_SECONDS", 3600.0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    stalled = socket.create_server(("127.0.0.1", 0), backlog=MANY)  # it takes connections and never answers
    s3 = client("s3", REGION, endpoint_url=f"http://127.0.0.1:{stalled.getsockname()[1]}")
    with serving(resources, s3) as page:
        events = page.events()
        send(resources, body(0, bucket=resources.bucket))
        assert next_result(events)["frame_index"] == 0
        asked = [page.ask("/frames/cam/s/000000000") for _ in range(MANY)]
        # A long message waits for the bucket too.
        send(resources, shortened(resources, 1), body(2, bucket=resources.bucket))
        assert next_result(events)["frame_index"] == 2
        for path in ("/", "/static/page.js", "/api/sources", "/api/frames/cam/s/000000002"):
            assert page.get(path)[0] == 200
        for connection in asked:
            connection.close()
        stalled.close()


def test_a_picture_that_does_not_come_in_time_is_given_up(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stalled:
        def __init__(self) -> None:
            self.calls, self.gate = 0, threading.Event()

        def get_object(self, **_: str) -> Any:
            self.calls += 1
            self.gate.wait()
            raise ConnectionError

    monkeypatch.setattr(pictures, "PICTURE_SECONDS", 0.2)
    s3 = Stalled()
    with serving(resources, s3) as page:
        events = page.events()
        send(resources, body(0, bucket=resources.bucket))
        next_result(events)
        asked = [page.ask("/frames/cam/s/000000000") for _ in range(MANY)]
        assert {connection.getresponse().status for connection in asked} == {504}
        assert s3.calls == pictures.PICTURES_AT_ONCE  # those that were given up keep their turns
        s3.gate.set()


def test_long_messages_are_shown_whole(resources: Resources) -> None:
    with serving(resources) as page:
        events = page.events()
        send(resources, shortened(resources, 1))
        assert [item["class"] for item in next_result(events)["summary"]] == ["c0", "c1", "c2"]
        send(resources, shortened(resources, 2, frame_id="cam/s/another"))
        result = next_result(events)
        assert (result["detections_count"], result["summary"]) == (3, [])


def test_whatever_ends_the_reader_ends_the_server_with_its_reason(resources: Resources) -> None:
    def broken(_: object, body: str) -> None:
        raise BrokenPipeError(32, "the output is closed")

    with serving(resources, handle=broken) as page:
        send(resources, body(0))
        wait_for(lambda: not page.thread.is_alive(), "end")
        assert isinstance(page.ended, BrokenPipeError)


HUGE = "0" * 5000


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/api/detections?limit=1{HUGE}", 422),
        ("/api/detections?limit=00000000119999999", 422),
        ("/api/detections?limit=0", 422),
        ("/api/detections?limit=%D9%A3", 422),
        ("/api/detections?limit=200", 200),
        (f"/api/events?limit=1{HUGE}", 422),
        (f"/event-frames/2026-01-01/00/x/0123456789abcdef/1{HUGE}", 404),
        ("/event-frames/2026-01-01/00/x/0123456789abcdef/x", 404),
        (f"/api/events/2026-01-01/00/x/0123456789abcdef/frames?before=1{HUGE}", 404),
    ],
)
def test_numbers_are_read_as_far_as_anybody_needs(resources: Resources, path: str, status: int) -> None:
    with serving(resources) as page:
        assert page.get(path)[0] == status


def test_who_asks_for_nothing_is_hung_up_on(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(patience, "MAX_CONNECTIONS", 3)
    with serving(resources, token="t") as page:
        silent, halfway = page.connect(), page.connect()
        halfway.sendall(b"GET / HT")
        later = page.connect()
        later.sendall(b"GET /api/sources HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n")
        assert later.recv(1000).startswith(b"HTTP/1.1 200")
        later.sendall(b"GET / HT")  # the rest never comes
        assert page.connect().recv(1) == b""  # one too many
        assert [one.recv(1) for one in (silent, halfway)] == [b"", b""]
        while later.recv(1000):
            pass
        assert page.get("/api/sources", ("Authorization", "Bearer t"))[0] == 200


@pytest.mark.thorough
def test_who_listens_is_not_hung_up_on(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SILENT_SECONDS", 0.1)
    with serving(resources) as page:
        events = page.events()
        wait_for(lambda: next(events)["type"] == "queues", "word after the wait")  # every five seconds
        assert next(events)["type"] == "queues"


def test_a_body_that_does_not_come_is_given_up(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shape_routes, "BODY_SECONDS", 0.5)
    head = b"POST /api/sources/x/try HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: 100\r\n\r\n{"
    with serving(resources) as page:
        waiting, leaving = page.connect(), page.connect()
        for one in (waiting, leaving):
            one.sendall(head)
        leaving.close()
        assert waiting.recv(1000).startswith(b"HTTP/1.1 408")
    assert "Exception" not in caplog.text


def test_the_end_is_told_to_whoever_still_waits(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /api/sources/x/try HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with serving(resources) as page:
        waiting = page.connect()
        waiting.sendall(head + b"Content-Length: 100\r\n\r\n{")
        wait_for(lambda: page.get("/api/sources")[0] == 200, "server")
        page.stop.set()
        assert waiting.recv(1000).startswith(b"HTTP/1.1 503")
    assert "Exception" not in caplog.text


@pytest.mark.parametrize("host", ["ä..b", pytest.param("x" * 300, marks=pytest.mark.thorough)])
def test_no_name_of_a_host_is_told_in_a_line(resources: Resources, host: str) -> None:
    done = run(resources, "web", "--host", host, "--port", "0")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: --host {host}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--token", ""),
        *(
            pytest.param(*one, marks=pytest.mark.thorough)
            for one in (("--token", " "), ("--token", "ü"), ("--host", ""))
        ),
    ],
)
def test_what_opens_the_page_to_everyone_by_mistake_is_refused(resources: Resources, option: str, value: str) -> None:
    done = run(resources, "web", "--port", "0", option, value)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {option}: ")


def test_an_address_holds_its_token_whatever_is_in_it(resources: Resources) -> None:
    token = "a&b#c+d/%e"
    with serving(resources, token=token) as page:
        status, _ = page.get(urlparse(page.address)._replace(scheme="", netloc="").geturl())
        assert status == 303


@pytest.mark.parametrize(
    "cookies",
    [
        ["cv2kinesis={}"],
        ['session={{"user": [1, 2]}}; cv2kinesis={}'],
        ["theme=dark mode, wide; =; ;;cv2kinesis={}; a@b(c)=[d]"],
        ['cv2kinesis={}; broken="no end'],
        ["cv2kinesis=somebody-elses; cv2kinesis={}"],
        ["na\u00efve=\u00fc; cv2kinesis={}"],
        ["other=1", "cv2kinesis={}"],
    ],
)
def test_a_token_passes_beside_other_applications_cookies(resources: Resources, cookies: list[str]) -> None:
    token = "a;secret=%41 \u00e9"
    with serving(resources, token=token) as page:
        answer = page.ask("/?token=a%3Bsecret%3D%2541+%C3%A9").getresponse()
        assert answer.status == 303
        given = answer.headers["set-cookie"].split(";")[0].removeprefix("cv2kinesis=")
        assert page.get("/api/sources", *(("Cookie", cookie.format(given)) for cookie in cookies))[0] == 200
        assert page.get("/api/sources", *(("Cookie", cookie.format("wrong")) for cookie in cookies))[0] == 401


def long_message(number: int) -> ResultMessage:
    seen = [{"class": f"{place:0100}", "conf": 0.5, "bbox": [0.1, 0.2, 0.3, 0.4]} for place in range(500)]
    return ResultMessage.model_validate_json(body(number, summary=seen, detections_count=len(seen)))


@pytest.mark.thorough
async def test_what_is_kept_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 2 * 2**20
    monkeypatch.setattr(boards, "HISTORY_BYTES", limit)
    monkeypatch.setattr(boards, "BACKLOG_BYTES", limit)
    board = Board()
    with board.listen() as events:
        tracemalloc.start()
        try:
            for number in range(100):
                board.add(long_message(number))
                await asyncio.sleep(0)  # the browser's events arrive, and nobody takes them
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert used < 3 * limit  # history, backlog, and names of classes
        assert board.frame("cam/s/000000000") is None
        assert board.frame("cam/s/000000099") is not None
        first = json.loads(await events.get())["result"]["frame_index"]
        assert 50 < first < 100


def test_history_has_room_for_usual_results() -> None:
    board = Board()
    for number in range(boards.HISTORY):
        board.add(ResultMessage.model_validate_json(body(number)))
    assert board.frame("cam/s/000000000") is not None
    assert board._history_bytes < HISTORY_BYTES


def test_the_picture_of_the_past_is_still_found(resources: Resources) -> None:
    key = json.loads(body(3))["key"]
    resources.client("s3").put_object(Bucket=resources.bucket, Key=key, Body=street_jpeg())
    with serving(resources) as page:
        events = page.events()
        send(resources, body(3, bucket=resources.bucket), body(4, bucket=resources.bucket))
        next_result(events)
        next_result(events)
        assert page.get("/frames/cam/s/000000003") == (200, street_jpeg())
        status, content = page.get("/frames/cam/s/000000004")
        assert (status, b"NoSuchKey" in content) == (404, True)
