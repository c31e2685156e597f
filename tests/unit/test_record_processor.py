"""The record processor as the daemon sees it: a process that speaks the protocol on its standard streams."""

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

from kcl_worker.kcl import wire
from kcl_worker.kcl.wire import WINDOW, Kind
from kcl_worker.record import Outcome
from local.processes import ROOT
from local.waiting import PATIENCE_SECONDS


class Daemon:
    """The test's side of the daemon and of the worker."""

    def __init__(self, folder: Path, checkpoint_seconds: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "s"))
        self._listener.listen()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kcl_worker.kcl.record_processor"],
            env=os.environ | {"CV2KINESIS_SOCKET": str(folder / "s"), "CHECKPOINT_SECONDS": checkpoint_seconds},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._listener.settimeout(PATIENCE_SECONDS)
        self.worker, _ = self._listener.accept()
        self.worker.settimeout(PATIENCE_SECONDS)
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
        for first in range(0, len(numbers), WINDOW):
            for number in numbers[first : first + WINDOW]:
                kind, body = self.received()
                header, data = wire.split_record(body)
                assert (kind, data) == (Kind.RECORD, b"frame")
                assert (header["sequence_number"], header["arrived_at_ms"]) == (str(number), 1_700_000_000_123)
            self.settle(dict(enumerate(outcomes[first : first + WINDOW], first)))

    def settle(self, outcomes: dict[int, Outcome]) -> None:
        """Gives records their outcomes, the last one first: they come in any order."""
        for place, outcome in reversed(outcomes.items()):
            self.worker.sendall(wire.outcome(place, outcome))

    def ready(self, stored: str | None, *, ended: bool = False) -> None:
        """Answers as the worker does before each checkpoint, the one at the shard's end included."""
        assert self.received() == (Kind.SAVING, b'{"ended":true}' if ended else b"{}")
        self.worker.sendall(wire.ready((stored, 0) if stored else None))

    def checkpoint(self, stored: str | None = None, error: str | None = None) -> str | None:
        """The sequence number of the checkpoint that the record processor asks for.

        Args:
            stored: What the worker says first, when it is asked up to which record all are stored.
        """
        if stored:
            self.ready(stored)
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
    """A record processor that checkpoints on request only."""
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


def test_a_checkpoint_stands_where_the_worker_says(daemon: Daemon) -> None:
    daemon.batch(1, 2, 3, outcomes=[Outcome.DURABLE, Outcome.QUARANTINED, Outcome.DURABLE])
    assert daemon.checkpoint(stored="3") == "3"
    assert daemon.received() == (Kind.SAVED, b'{"sequence_number":"3"}')
    assert daemon.answer() == done("processRecords")


def test_a_batch_is_checkpointed_while_it_is_at_work(daemon: Daemon) -> None:
    daemon.batch(1, 2, 3, 4, outcomes=[])
    for place in (2, 0):
        daemon.settle({place: Outcome.DURABLE})
        if place == 2:  # the first is still at work
            daemon.ready(None)
    assert daemon.checkpoint(stored="1") == "1"
    assert daemon.received()[0] is Kind.SAVED
    # Outcomes may come while the worker stores what belongs to the checkpoint.
    daemon.settle({1: Outcome.QUARANTINED})
    assert daemon.received() == (Kind.SAVING, b"{}")
    daemon.settle({3: Outcome.DURABLE})
    daemon.worker.sendall(wire.ready(("3", 0)))
    assert daemon.checkpoint() == "3"
    assert daemon.received()[0] is Kind.SAVED
    assert daemon.checkpoint(stored="4") == "4"
    assert daemon.answer() == done("processRecords")


def test_a_checkpoint_may_stand_within_an_aggregated_record(daemon: Daemon) -> None:
    daemon.batch(1, outcomes=[Outcome.DURABLE])
    assert daemon.received()[0] is Kind.SAVING
    daemon.worker.sendall(wire.ready(("1", 7)))
    assert daemon.answer() == {"action": "checkpoint", "sequenceNumber": "1", "subSequenceNumber": 7}


def test_the_worker_reads_at_any_time_because_few_records_are_on_their_way(daemon: Daemon) -> None:
    daemon.batch(*range(WINDOW + 2))
    kinds = [daemon.received()[0] for _ in range(1 + WINDOW)]
    assert kinds == [Kind.BATCH, *[Kind.RECORD] * WINDOW]
    daemon.settle({0: Outcome.DURABLE})
    assert daemon.received()[0] is Kind.RECORD  # one for one
    assert daemon.checkpoint(stored="0") == "0"


def test_nothing_is_checkpointed_twice(daemon: Daemon) -> None:
    daemon.batch(1, 2, 3, outcomes=[])
    daemon.settle({0: Outcome.DURABLE})
    assert daemon.checkpoint(stored="1") == "1"
    assert daemon.received()[0] is Kind.SAVED
    daemon.settle({2: Outcome.DURABLE})
    daemon.ready("1")  # the second is still at work
    daemon.settle({1: Outcome.DURABLE})
    assert daemon.checkpoint(stored="3") == "3"
    assert daemon.received()[0] is Kind.SAVED
    assert daemon.answer() == done("processRecords")
    daemon.batch(outcomes=[])
    assert daemon.answer() == done("processRecords")


def test_after_a_refused_record_no_more_are_taken(lazy: Daemon) -> None:
    lazy.batch(1, 2, 3, outcomes=[Outcome.DURABLE, Outcome.REFUSED, Outcome.DURABLE])
    assert lazy.answer() == done("processRecords")
    # The daemon's further records are neither processed nor checkpointed.
    lazy.batch(4, 5)
    assert lazy.answer() == done("processRecords")
    lazy.tell(action="shutdownRequested")
    assert lazy.checkpoint(stored="1") == "1"
    assert lazy.answer() == done("shutdownRequested")
    # A shard with refused records has not ended.
    lazy.tell(action="shardEnded")
    assert lazy.answer() == done("shardEnded")


def test_checkpoints_are_rare_but_one_comes_at_the_shutdown(lazy: Daemon) -> None:
    lazy.batch(1, outcomes=[Outcome.DURABLE])
    assert lazy.answer() == done("processRecords")
    lazy.batch(2, outcomes=[Outcome.DURABLE])
    assert lazy.answer() == done("processRecords")
    lazy.tell(action="shutdownRequested")
    assert lazy.checkpoint(stored="2") == "2"
    assert lazy.answer() == done("shutdownRequested")


def test_the_end_of_a_shard_is_checkpointed(lazy: Daemon) -> None:
    lazy.batch(1, outcomes=[Outcome.DURABLE])
    assert lazy.answer() == done("processRecords")
    lazy.tell(action="shardEnded")
    lazy.ready("1", ended=True)
    assert lazy.checkpoint() is None  # the protocol's word for the end
    assert lazy.answer() == done("shardEnded")


def test_the_end_of_a_shard_is_not_checkpointed_where_something_has_no_outcome(lazy: Daemon) -> None:
    lazy.batch(1, 2, outcomes=[Outcome.DURABLE, Outcome.DURABLE])
    assert lazy.answer() == done("processRecords")
    lazy.tell(action="shardEnded")
    lazy.ready("1", ended=True)
    assert lazy.answer() == done("shardEnded")


def test_a_checkpoint_that_the_worker_holds_back_is_asked_for_again(daemon: Daemon) -> None:
    daemon.batch(1, outcomes=[Outcome.DURABLE])
    daemon.ready(None)
    assert daemon.answer() == done("processRecords")
    daemon.batch(outcomes=[])  # a read that found nothing
    assert daemon.checkpoint(stored="1") == "1"
    assert daemon.answer() == done("processRecords")


def test_a_lease_that_is_lost_is_told_unless_it_was_given_up(lazy: Daemon) -> None:
    lazy.tell(action="shutdownRequested")
    assert lazy.answer() == done("shutdownRequested")
    lazy.tell(action="leaseLost")
    assert lazy.answer() == done("leaseLost")
    lazy.worker.setblocking(False)
    with pytest.raises(BlockingIOError):  # nothing was said
        lazy.worker.recv(1)


def test_throttled_checkpoints_are_tried_again(daemon: Daemon) -> None:
    daemon.batch(1, outcomes=[Outcome.DURABLE])
    assert daemon.checkpoint(stored="1", error="ThrottlingException") == "1"
    assert daemon.checkpoint(error="ThrottlingException") == "1"
    assert daemon.checkpoint() == "1"
    assert daemon.answer() == done("processRecords")


@pytest.mark.thorough  # a quarter of a minute of pauses
def test_a_checkpoint_waits_for_dynamodb_for_as_long_as_it_is_away(daemon: Daemon) -> None:
    daemon.batch(1, outcomes=[Outcome.DURABLE])
    daemon.ready("1")
    for _ in range(10):
        assert daemon.checkpoint(error="KinesisClientLibDependencyException") == "1"
    assert daemon.checkpoint() == "1"
    assert daemon.answer() == done("processRecords")


def test_after_a_lost_lease_nothing_is_checkpointed(daemon: Daemon) -> None:
    daemon.batch(1, outcomes=[Outcome.DURABLE])
    assert daemon.checkpoint(stored="1", error="ShutdownException") == "1"
    assert daemon.received() == (Kind.LOST, b"{}")
    assert daemon.answer() == done("processRecords")
    daemon.tell(action="leaseLost")
    assert daemon.answer() == done("leaseLost")
    daemon.tell(action="shutdownRequested")
    assert daemon.answer() == done("shutdownRequested")


def test_a_lease_that_is_lost_in_the_midst_of_a_batch_ends_the_batch(daemon: Daemon) -> None:
    daemon.batch(*range(WINDOW + 2))
    assert [daemon.received()[0] for _ in range(1 + WINDOW)][-1] is Kind.RECORD
    daemon.settle({1: Outcome.DURABLE})
    assert daemon.received()[0] is Kind.RECORD
    assert daemon.checkpoint(stored="0", error="ShutdownException") == "0"
    # No further record is taken; those at work get their outcomes.
    daemon.settle({number: Outcome.DURABLE for number in range(WINDOW + 1) if number != 1})
    assert daemon.answer() == done("processRecords")


def test_a_read_that_found_nothing_is_told_in_one_message(daemon: Daemon) -> None:
    for _ in range(2):
        daemon.batch(outcomes=[])
        assert daemon.answer() == done("processRecords")  # without a checkpoint: there is nothing to checkpoint
    daemon.batch(1, outcomes=[Outcome.DURABLE])  # the next message, so there was none in between
    assert daemon.checkpoint(stored="1") == "1"


def test_a_failure_ends_the_process_instead_of_passing_for_success(daemon: Daemon) -> None:
    daemon.batch(1, outcomes=[])
    daemon.worker.shutdown(socket.SHUT_RDWR)
    assert daemon.process.wait() == 1
    assert daemon.process.stderr
    line = json.loads(daemon.process.stderr.read().splitlines()[-1])
    assert line["level"] == "error"


def test_it_ends_with_the_daemon_and_ignores_its_signals(daemon: Daemon) -> None:
    daemon.process.send_signal(signal.SIGTERM)
    daemon.process.send_signal(signal.SIGINT)
    daemon.batch(1, outcomes=[Outcome.DURABLE])
    assert daemon.checkpoint(stored="1") == "1"
    assert daemon.answer() == done("processRecords")
    assert daemon.process.stdin
    daemon.process.stdin.close()
    assert daemon.process.wait() == 0


def test_it_is_small(lazy: Daemon) -> None:
    lazy.batch(*range(20), outcomes=[Outcome.DURABLE] * 20)
    assert lazy.answer() == done("processRecords")
    status = Path(f"/proc/{lazy.process.pid}/status")
    if not status.exists():
        pytest.skip("no /proc here to read the resident size from")
    resident = int(next(line for line in status.read_text().splitlines() if line.startswith("VmRSS")).split()[1])
    assert resident < 40 * 1024
