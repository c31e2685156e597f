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
from consumer.web import command, pictures
from consumer.web.board import HISTORY_BYTES, Board
from contract.message import ResultMessage
from local.resources import REGION, Resources
from local.waiting import PATIENCE_SECONDS, wait_for
from tests.pictures import street_jpeg
from tests.unit.test_consumer import body, send, shortened

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
