"""A shard's record processor: it hands records to the worker and checkpoints what is stored.

The MultiLangDaemon starts one of these processes for each shard that it leases. It holds no model
and no AWS client, so that many shards fit into a task. It guarantees:

- A checkpoint stands at a record whose outcome, and that of every record before it, is stored. The worker names it.
- There is one every `CHECKPOINT_SECONDS` while records get outcomes, however long a batch takes.
- A failure ends the process. The daemon would report an exception as success, and the next
  checkpoint would pass the failed batch. When a process ends, the daemon leaves, the whole task
  ends, another starts, and work resumes at the checkpoint.
- Standard output carries the daemon's protocol and nothing else.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from itertools import count
from typing import Any, Final

from amazon_kclpy.kcl import CheckpointError, KCLProcess
from amazon_kclpy.messages import (
    InitializeInput,
    LeaseLostInput,
    ProcessRecordsInput,
    ShardEndedInput,
    ShutdownRequestedInput,
)
from amazon_kclpy.v3.processor import RecordProcessorBase

from cloud.retry import full_jitter
from kcl_worker.kcl import wire
from kcl_worker.kcl.wire import CHECKPOINT_VARIABLE, SOCKET_VARIABLE, WINDOW, Kind, WireError
from kcl_worker.record import Outcome, Place

# So KCL names a DynamoDB that is away or throttles. That passes, and the lease is ours until KCL says it is not.
PASSING: Final = frozenset({"ThrottlingException", "KinesisClientLibDependencyException"})
# For any other failure.
CHECKPOINT_ATTEMPTS: Final = 8
CHECKPOINT_RETRY_BASE_SECONDS: Final = 0.1
CHECKPOINT_RETRY_CAP_SECONDS: Final = 5.0


class FrameRelay(RecordProcessorBase):  # type: ignore[misc]
    """Relays the records of one shard, keeping at most one batch in flight."""

    def __init__(self, socket_path: str, checkpoint_seconds: float) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(socket_path)
        self._checkpoint_seconds = checkpoint_seconds
        self._asked = time.monotonic()
        self._sent: Place | None = None
        self._checkpointed: Place | None = None
        self._at_work = 0  # records without an outcome
        self._news = False  # whether more may be stored than the worker has said when it was last asked
        self._held_back = False  # whether the worker holds the checkpoint back from what has its outcome
        self._draining = False
        self._lease_lost = False
        self._leaves = False
        self._shard_id = ""

    def initialize(self, initialize_input: InitializeInput) -> None:
        """Called once, before anything else."""
        self._shard_id = initialize_input.shard_id
        self._tell(
            Kind.HELLO,
            shard_id=self._shard_id,
            sequence_number=initialize_input.sequence_number,
        )

    def process_records(self, process_records_input: ProcessRecordsInput) -> None:
        """Returns when each record is stored or quarantined, or a draining worker has refused it."""
        if self._draining or self._lease_lost:
            return  # records after a refused one must not be checkpointed either
        records, checkpointer = process_records_input.records, process_records_input.checkpointer
        self._tell(
            Kind.BATCH,
            records=len(records),
            millis_behind_latest=process_records_input.millis_behind_latest or 0,
        )
        for number, record in enumerate(records):
            self._await(WINDOW - 1, checkpointer)
            if self._draining or self._lease_lost:
                break
            self._sent = record.sequence_number, record.sub_sequence_number or 0
            header = {
                "number": number,
                "sequence_number": self._sent[0],
                "sub_sequence_number": self._sent[1],
                "partition_key": record.partition_key,
                "arrived_at_ms": record.timestamp_millis,
            }
            wire.send_record(self._connection, header, record.binary_data)
            self._at_work += 1
            records[number] = None  # the worker has the data; a batch can be many megabytes
        self._await(0, checkpointer)
        if self._seconds_left() <= 0:
            self._news = self._news or self._held_back
            self._checkpoint(checkpointer)

    def lease_lost(self, lease_lost_input: LeaseLostInput) -> None:
        """Called when another worker has the shard, or may have it from now on: no more checkpoints are allowed."""
        if self._leaves:
            self._lease_lost = True  # in good order
        else:
            self._lose()
        _log("info", "lease lost", shard_id=self._shard_id)

    def shard_ended(self, shard_ended_input: ShardEndedInput) -> None:
        """Called when a closed shard is fully processed; its children may start after this checkpoint."""
        if not self._draining and not self._lease_lost and self._ask(ended=True) == self._sent:
            self._save(shard_ended_input.checkpointer, None)
            _log("info", "shard ended", shard_id=self._shard_id)

    def shutdown_requested(self, shutdown_requested_input: ShutdownRequestedInput) -> None:
        """Called when the task stops: makes one last checkpoint."""
        self._news = self._news or self._held_back
        self._checkpoint(shutdown_requested_input.checkpointer)
        self._leaves = True

    def _await(self, most: int, checkpointer: Any) -> None:
        """Waits until at most so many records are without an outcome; checkpoints meanwhile when it is time."""
        while self._at_work > most:
            patience = max(0.0, self._seconds_left()) if self._news and not self._lease_lost else None
            if patience == 0:
                self._checkpoint(checkpointer)
            elif select.select([self._connection], [], [], patience)[0]:
                self._settle(*wire.answer(self._connection))

    def _settle(self, kind: Kind, body: bytes) -> None:
        """Takes note of a record's outcome."""
        if kind is not Kind.OUTCOME:
            raise WireError(f"{kind.name} where OUTCOME was due")
        _, outcome = wire.read_outcome(body)
        self._at_work -= 1
        if outcome is Outcome.REFUSED:
            self._draining = True
        else:
            self._news = True

    def _seconds_left(self) -> float:
        """Seconds until the next checkpoint is due."""
        return self._asked + self._checkpoint_seconds - time.monotonic()

    def _checkpoint(self, checkpointer: Any) -> None:
        """Checkpoints behind what is stored, if that is more than at the last time."""
        if self._news and not self._lease_lost:
            place = self._ask()
            if place and place != self._checkpointed:
                self._save(checkpointer, place)

    def _ask(self, **fields: bool) -> Place | None:
        """Has the worker store what belongs to a checkpoint; gives where it may stand."""
        self._asked, self._news = time.monotonic(), False
        self._tell(Kind.SAVING, **fields)
        while (answer := wire.answer(self._connection))[0] is not Kind.READY:
            self._settle(*answer)
        place = wire.read_ready(answer[1])
        # Outcomes that came meanwhile may or may not be before it.
        self._news = self._news and place != self._sent
        self._held_back = place != self._sent
        return place

    def _save(self, checkpointer: Any, place: Place | None) -> None:
        """Checkpoints at a sequence number, or at the shard's end if none is given; retries with full jitter.

        While DynamoDB is away, it waits.

        Raises:
            CheckpointError: If it still fails after all attempts, for another reason.
        """
        for attempt in count():
            try:
                checkpointer.checkpoint(*place) if place else checkpointer.checkpoint()
            except CheckpointError as error:
                if error.value == "ShutdownException":
                    self._lose()
                    _log("warning", "checkpoint refused: the lease is gone", shard_id=self._shard_id)
                    return
                if error.value not in PASSING and attempt + 1 >= CHECKPOINT_ATTEMPTS:
                    raise
                _log("warning", f"checkpoint failed: {error.value}", shard_id=self._shard_id)
                time.sleep(full_jitter(attempt, CHECKPOINT_RETRY_BASE_SECONDS, CHECKPOINT_RETRY_CAP_SECONDS))
            else:
                self._checkpointed = place
                self._tell(Kind.SAVED, sequence_number=place[0] if place else "SHARD_END")
                return

    def _lose(self) -> None:
        """Notes that no checkpoint is allowed any more, and has the worker note it."""
        if not self._lease_lost:
            self._lease_lost = True
            self._tell(Kind.LOST)

    def _tell(self, kind: Kind, **fields: Any) -> None:
        self._connection.sendall(wire.message(kind, fields))


class StrictProcess(KCLProcess):  # type: ignore[misc]
    """A KCL process that does not report an exception as success."""

    def _perform_action(self, action: Any) -> None:
        action.dispatch(self.checkpointer, self.processor)


def main() -> None:
    # The daemon decides when this process ends: a shut-down needs the process until the last checkpoint.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Keep standard output for the protocol: every print goes to standard error instead.
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        relay = FrameRelay(os.environ[SOCKET_VARIABLE], float(os.environ.get(CHECKPOINT_VARIABLE, "5")))
        StrictProcess(relay, input_file=sys.stdin.buffer, output_file=protocol).run()
    except Exception as error:
        _log("error", f"record processor failed: {type(error).__name__}: {error}")
        os._exit(1)


def _log(level: str, text: str, **fields: Any) -> None:
    """Writes one JSON line to standard error, which the daemon passes on and the worker merges into its log."""
    line = json.dumps({"level": level, "logger": "record_processor", "message": text, **fields})
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
