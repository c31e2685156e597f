"""The worker's HTTP port under attack: it answers, and frames are not delayed."""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import suppress
from statistics import median

from contract.frame import parse_time
from contract.message import ResultMessage
from local.waiting import wait_for
from tests.faults.conftest import MakeRig, Report

CONNECTIONS = 200
# So many frames go through meanwhile, some six seconds of them.
ATTACKED_FRAMES = 50
BAD_REQUESTS = (
    b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 65536,
    b"POST /status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
    b"\x00" * 4096,
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /health HTTP/9.9\r\n\r\n",
    b"\r\n\r\n\r\n",
)


def slow_loris(port: int, over: threading.Event) -> None:
    """A request that never ends, a byte now and then."""
    while not over.is_set():
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: ")
            while not over.wait(0.5):
                connection.sendall(b"a")


def malformed(port: int, over: threading.Event, chance: random.Random) -> None:
    while not over.wait(0.02):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.settimeout(1)
            request = chance.choice(BAD_REQUESTS)
            connection.sendall(request[: chance.randint(1, len(request))])
            connection.recv(4096)


def latency(results: list[ResultMessage]) -> float:
    """The median of seconds from capture to outcome."""
    times = [(parse_time(r.processed_at) - parse_time(r.captured_at)).total_seconds() for r in results]
    assert len(times) > 20
    return median(times)


def test_frames_go_on_under_attack(rig: MakeRig, report: Report) -> None:
    stage = rig(shards=1)
    stage.fleet.scale(1)
    stage.send(cameras=2, frames=80, fps=4)
    stage.wait_for_outcomes(40)
    worker = stage.fleet.workers[0]
    port, over = worker.health_port(), threading.Event()
    attackers = [threading.Thread(target=slow_loris, args=(port, over)) for _ in range(CONNECTIONS)]
    attackers += [threading.Thread(target=malformed, args=(port, over, random.Random(n))) for n in range(4)]
    before = len(stage.results)
    for attacker in attackers:
        attacker.start()
    health: list[int] = []
    slowest = 0.0

    def ask() -> bool:
        started = time.monotonic()
        health.append(worker.get("/health")[0])
        nonlocal slowest
        slowest = max(slowest, time.monotonic() - started)
        stage.collect()
        return len(stage.results) >= before + ATTACKED_FRAMES

    try:
        wait_for(ask, f"{ATTACKED_FRAMES} frames under attack", stage.progress)
    finally:
        over.set()
        for attacker in attackers:
            attacker.join()
    attacked, after = latency(stage.results[before:]), len(stage.results)
    assert set(health) == {200}
    stage.wait_for_outcomes()
    calm = latency(stage.results[after:])
    findings = stage.audit()
    report(
        "200 slow-loris connections and malformed requests", findings,
        median_latency=round(calm, 3), under_attack=round(attacked, 3), slowest_health=round(slowest, 3),
    )  # fmt: skip
    assert findings.problems == []
    assert stage.fleet.exits == []
