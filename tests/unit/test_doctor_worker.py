"""What `doctor` makes of whoever answers at a worker's address."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from doctor.worker import worker
from tests.strangers import answering, http

WELL: Final[dict[str, Any]] = {
    "healthy": True, "problem": None, "model": "street", "frames": 3, "waiting": [],
    "shards": [{"millis_behind_latest": 1500}, {"millis_behind_latest": 0}], "unowned_shards": None,
}  # fmt: skip
UNOWNED = {"shard_id": "shardId-7", "seconds": 90, "why": "it is free"}


@pytest.mark.parametrize(
    ("changed", "verdict", "says"),
    [
        ({}, "well", "model street, 2 shards, 3 frames, 2 s behind"),
        ({"shards": [{"millis_behind_latest": None}]}, "well", "how far behind, nobody knows"),
        ({"shards": [{"millis_behind_latest": 61_000}]}, "unsure", "61 s behind"),
        ({"healthy": False, "problem": "it stands still"}, "wrong", "unhealthy: it stands still"),
        (
            {"healthy": False, "problem": "the model is not loaded yet", "model": None, "shards": []},
            "wrong",
            "no model yet, 0 shards, 3 frames, 0 s behind; unhealthy: the model is not loaded yet",
        ),
        ({"unowned_shards": [UNOWNED]}, "wrong", "nobody reads 1 shards of the stream: shardId-7 for 90 s, it is free"),
        ({"waiting": [{"service": "s3", "seconds": 11}]}, "wrong", "it has waited for s3 for 11 s"),
    ],
)
def test_a_worker(changed: dict[str, Any], verdict: str, says: str) -> None:
    with answering(http(json.dumps(WELL | changed))) as url:
        found = worker(f"{url}/")
    assert (found.hop, found.verdict) == ("worker", verdict)
    assert found.says.endswith(says)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (http("[]"), "is no worker"),
        (http("{}"), "is no worker"),
        (http("<html>"), "is no worker"),
        (http(json.dumps(WELL | {"shards": [None]})), "is no worker"),
        (http("[" * 100_000), "is no worker"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer"),
        (b"", "does not answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "is no worker"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "does not answer"),
    ],
)
def test_a_stranger(answer: bytes, says: str) -> None:
    with answering(answer) as url:
        found = worker(url)
    assert found.verdict == "wrong"
    assert says in found.says


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:x", "http://[::1", "http://a b", "file:///etc", "127.0.0.1:8080", "x"]
)
def test_no_address(url: str) -> None:
    found = worker(url)
    assert found.verdict == "wrong"
    assert "does not answer" in found.says
