"""The record processor as the daemon sees it: a process with the protocol on its standard streams."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kcl_worker import wire
from kcl_worker.wire import Kind, Outcome
from local.processes import ROOT


class Daemon:
    """Our part of the daemon and of the worker."""

    def __init__(self, folder: Path, checkpoint_seconds: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "s"))
        self._listener.listen()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kcl_worker.record_processor"],
            env=os.environ | {"CV2KINESIS_SOCKET": str(folder / "s"), "CHECKPOINT_SECONDS": checkpoint_seconds},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._listener.settimeout(20)
        self.worker, _ = self._listener.accept()
        self.worker.settimeout(20)
        self._stream = self.worker.makefile("rb")

    def tell(self, **action: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(action).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        while not (line := self.process.stdout.readline().strip()):
            assert self.process.poll() is None, "the record processor has gone"
        decoded: dict[str, Any] = json.loads(line)
        return decoded

    def received(self) -> tuple[Kind, bytes]:
        kind, length = self._stream.read(1)[0], int.from_bytes(self._stream.read(4), "big")
        return Kind(kind), self._stream.read(length)

    def start(self) -> None:
        self.tell(action="initialize", shardId="shardId-0", sequenceNumber=None, subSequenceNumber=0)
        assert self.received()[0] is Kind.HELLO
        assert self.answer() == {"action": "status", "responseFor": "initialize"}

    def batch(self, *numbers: int, outcomes: list[Outcome] | None = None) -> None:
        records = [
            {
                "action": "record",
                "data": base64.b64encode(b"frame").decode(),
                "partitionKey": "cam",
                "sequenceNumber": str(number),
                "subSequenceNumber": 0,
                "approximateArrivalTimestamp": 1_700_000_000_123,
            }
            for number in numbers
        ]
        self.tell(action="processRecords", records=records, millisBehindLatest=5)
        if outcomes is None:
            return
        kind, body = self.received()
        assert kind is Kind.BATCH
        assert wire.fields(body) == {"records": len(numbers), "millis_behind_latest": 5}
        for number in numbers:
            kind, body = self.received()
            header, data = wire.split_record(body)
            assert (kind, data) == (Kind.RECORD, b"frame")
            assert (header["sequence_number"], header["arrived_at_ms"]) == (str(number), 1_700_000_000_123)
        for place in reversed(range(len(outcomes))):  # in any order
            self.worker.sendall(wire.outcome(place, outcomes[place]))

    def ready(self) -> None:
        """What the worker answers before each checkpoint."""
        assert self.received() == (Kind.SAVING, b"{}")
        self.worker.sendall(wire.ready())

    def checkpoint(self, error: str | None = None, *, again: bool = False) -> str | None:
        """The place of the checkpoint that the record processor asks for."""
        if not again:
            self.ready()
        request = self.answer()
        assert request["action"] == "checkpoint"
        number = request["sequenceNumber"]
        self.tell(action="checkpoint", sequenceNumber=number, subSequenceNumber=0, error=error)
        place: str | None = number
        return place


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    yield from _daemon(tmp_path, "0")


@pytest.fixture
def lazy(tmp_path: Path) -> Iterator[Daemon]:
    """One that checkpoints on request alone."""
    yield from _daemon(tmp_path, "300")


def _daemon(folder: Path, checkpoint_seconds: str) -> Iterator[Daemon]:
    daemon = Daemon(folder, checkpoint_seconds)
    daemon.start()
    yield daemon
    daemon.process.kill()
    daemon.process.wait()
    for pipe in (daemon.process.stdin, daemon.process.stdout, daemon.process.stderr, daemon.worker):
        assert pipe
        pipe.close()


def done(action: str) -> dict[str, str]:
    return {"action": "status", "responseFor": action}


def test_a_checkpoint_stands_at_the_last_record_when_all_are_stored(daemon: Daemon) -> None:
    daemon.batch(1, 2, 3, outcomes=[Outcome.DURABLE, Outcome.QUARANTINED, Outcome.DURABLE])
    assert daemon.checkpoint() == "3"
    assert daemon.received() == (Kind.SAVED, b'{"sequence_number":"3"}')
    assert daemon.answer() == done("processRecords")


def test_a_checkpoint_never_passes_a_refused_record(daemon: Daemon) -> None:
    daemon.batch(1, 2, 3, outcomes=[Outcome.DURABLE, Outcome.REFUSED, Outcome.DURABLE])
    assert daemon.checkpoint() == "1"
    assert daemon.answer() == done("processRecords")
    # What the daemon still delivers is neither processed nor checkpointed …
    daemon.batch(4, 5)
    assert daemon.answer() == done("processRecords")
    daemon.tell(action="shutdownRequested")
    assert daemon.answer() == done("shutdownRequested")
    # … and a shard of which records were refused has not ended.
    daemon.tell(action="shardEnded")
    assert daemon.answer() == done("shardEnded")


def test_checkpoints_are_rare_but_one_comes_at_the_shutdown(lazy: Daemon) -> None:
    lazy.batch(1, outcomes=[Outcome.DURABLE])
    assert lazy.answer() == done("processRecords")
    lazy.batch(2, outcomes=[Outcome.DURABLE])
    assert lazy.answer() == done("processRecords")
    lazy.tell(action="shutdownRequested")
    assert lazy.checkpoint() == "2"
    assert lazy.answer() == done("shutdownRequested")


def test_the_end_of_a_shard_is_checkpointed(lazy: Daemon) -> None:
    lazy.batch(1, outcomes=[Outcome.DURABLE])
    assert lazy.answer() == done("processRecords")
    lazy.tell(action="shardEnded")
    assert lazy.checkpoint() is None  # the protocol's word for the end
    assert lazy.answer() == done("shardEnded")


def test_throttled_checkpoints_are_tried_again(daemon: Daemon) -> None:
    daemon.batch(1, outcomes=[Outcome.DURABLE])
    assert daemon.checkpoint("ThrottlingException") == "1"
    assert daemon.checkpoint("ThrottlingException", again=True) == "1"
    assert daemon.checkpoint(again=True) == "1"
    assert daemon.answer() == done("processRecords")


def test_after_a_lost_lease_nothing_is_checkpointed(daemon: Daemon) -> None:
    daemon.batch(1, outcomes=[Outcome.DURABLE])
    assert daemon.checkpoint("ShutdownException") == "1"
    assert daemon.answer() == done("processRecords")
    daemon.tell(action="leaseLost")
    assert daemon.answer() == done("leaseLost")
    daemon.tell(action="shutdownRequested")
    assert daemon.answer() == done("shutdownRequested")


def test_a_failure_ends_the_process_instead_of_passing_for_success(daemon: Daemon) -> None:
    daemon.batch(1, outcomes=[])
    daemon.worker.shutdown(socket.SHUT_RDWR)
    assert daemon.process.wait(20) == 1
    assert daemon.process.stderr
    line = json.loads(daemon.process.stderr.read().splitlines()[-1])
    assert line["level"] == "error"


def test_it_ends_with_the_daemon_and_ignores_its_signals(daemon: Daemon) -> None:
    daemon.process.send_signal(signal.SIGTERM)
    daemon.process.send_signal(signal.SIGINT)
    daemon.batch(1, outcomes=[Outcome.DURABLE])
    assert daemon.checkpoint() == "1"
    assert daemon.answer() == done("processRecords")
    assert daemon.process.stdin
    daemon.process.stdin.close()
    assert daemon.process.wait(20) == 0


def test_it_is_small(daemon: Daemon) -> None:
    daemon.batch(*range(20), outcomes=[Outcome.DURABLE] * 20)
    daemon.checkpoint()
    status = Path(f"/proc/{daemon.process.pid}/status")
    if not status.exists():
        pytest.skip("no /proc here to read the resident size from")
    resident = int(next(line for line in status.read_text().splitlines() if line.startswith("VmRSS")).split()[1])
    assert resident < 40 * 1024
