"""A shard's record processor: hands its records to the worker, checkpoints what is stored.

The MultiLangDaemon starts one of these processes for each shard that it leases. It holds no model
and no AWS client, so that many shards fit a task. What it guarantees:

- A checkpoint stands at a record whose outcome, and that of every record before it, is stored.
- A failure ends the process. The daemon would report an exception as success, and the next
  checkpoint would pass the failed batch; when a process ends, the daemon leaves with the whole
  task, another starts, and work resumes at the checkpoint.
- Standard output carries the daemon's protocol and nothing else.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import time
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

from kcl_worker import wire
from kcl_worker.wire import Kind, Outcome

SOCKET_VARIABLE: Final = "CV2KINESIS_SOCKET"
CHECKPOINT_VARIABLE: Final = "CHECKPOINT_SECONDS"
CHECKPOINT_ATTEMPTS: Final = 8
CHECKPOINT_RETRY_CAP_SECONDS: Final = 5.0

Checkpoint = tuple[str, int]
"""A sequence number and a sub-sequence number."""


class FrameRelay(RecordProcessorBase):  # type: ignore[misc]
    """Relays the records of one shard, keeping at most one batch in flight."""

    def __init__(self, socket_path: str, checkpoint_seconds: float) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(socket_path)
        self._answers = self._connection.makefile("rb")
        self._checkpoint_seconds = checkpoint_seconds
        self._last_checkpoint = time.monotonic()
        self._durable: Checkpoint | None = None  # not yet checkpointed
        self._draining = False
        self._lease_lost = False
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
        """Returns when each record is stored, quarantined, or refused by a draining worker."""
        if self._draining or self._lease_lost:
            return  # what came after a refused record must not be checkpointed either
        records = process_records_input.records
        self._tell(
            Kind.BATCH,
            records=len(records),
            millis_behind_latest=process_records_input.millis_behind_latest or 0,
        )
        places: list[Checkpoint] = []
        for number, record in enumerate(records):
            places.append((record.sequence_number, record.sub_sequence_number or 0))
            header = {
                "number": number,
                "sequence_number": record.sequence_number,
                "sub_sequence_number": record.sub_sequence_number or 0,
                "partition_key": record.partition_key,
                "arrived_at_ms": record.timestamp_millis,
            }
            wire.send_record(self._connection, header, record.binary_data)
            records[number] = None  # the worker has it; a batch can be many megabytes
        outcomes: dict[int, Outcome] = {}
        while len(outcomes) < len(places):
            number, outcome = wire.read_outcome(self._answers)
            outcomes[number] = outcome
        for number, place in enumerate(places):
            if outcomes[number] is Outcome.REFUSED:
                self._draining = True
                break
            self._durable = place
        if time.monotonic() - self._last_checkpoint >= self._checkpoint_seconds:
            self._checkpoint(process_records_input.checkpointer)

    def lease_lost(self, lease_lost_input: LeaseLostInput) -> None:
        """Another worker has the shard: nothing may be checkpointed any more."""
        self._lease_lost = True
        _log("info", "lease lost", shard_id=self._shard_id)

    def shard_ended(self, shard_ended_input: ShardEndedInput) -> None:
        """All of a closed shard is processed; its children may start after this checkpoint."""
        if not self._draining:
            self._save(shard_ended_input.checkpointer, None)
            _log("info", "shard ended", shard_id=self._shard_id)

    def shutdown_requested(self, shutdown_requested_input: ShutdownRequestedInput) -> None:
        """The task stops: one last checkpoint."""
        self._checkpoint(shutdown_requested_input.checkpointer)

    def _checkpoint(self, checkpointer: Any) -> None:
        if self._durable is not None and not self._lease_lost:
            self._save(checkpointer, self._durable)

    def _save(self, checkpointer: Any, place: Checkpoint | None) -> None:
        """Checkpoints at a place, or at the shard's end; retries with full jitter.

        Raises:
            CheckpointError: If it still fails after all attempts.
        """
        self._tell(Kind.SAVING)
        wire.read_ready(self._answers)
        for attempt in range(CHECKPOINT_ATTEMPTS):
            try:
                checkpointer.checkpoint(*place) if place else checkpointer.checkpoint()
            except CheckpointError as error:
                if error.value == "ShutdownException":
                    self._lease_lost = True
                    _log("warning", "checkpoint refused: the lease is gone", shard_id=self._shard_id)
                    return
                if attempt + 1 == CHECKPOINT_ATTEMPTS:
                    raise
                _log("warning", f"checkpoint failed: {error.value}", shard_id=self._shard_id)
                time.sleep(random.uniform(0, min(CHECKPOINT_RETRY_CAP_SECONDS, 0.1 * 2**attempt)))  # noqa: S311
            else:
                self._durable = None
                self._last_checkpoint = time.monotonic()
                self._tell(Kind.SAVED, sequence_number=place[0] if place else "SHARD_END")
                return

    def _tell(self, kind: Kind, **fields: Any) -> None:
        self._connection.sendall(wire.message(kind, fields))


class StrictProcess(KCLProcess):  # type: ignore[misc]
    """A KCL process that does not report an exception as success."""

    def _perform_action(self, action: Any) -> None:
        action.dispatch(self.checkpointer, self.processor)


def main() -> None:
    # The daemon decides when this process ends, and a shut-down needs it to the last checkpoint.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Keep the protocol's channel for the protocol: whoever prints, prints to standard error.
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        relay = FrameRelay(os.environ[SOCKET_VARIABLE], float(os.environ.get(CHECKPOINT_VARIABLE, "5")))
        StrictProcess(relay, input_file=sys.stdin.buffer, output_file=protocol).run()
    except Exception as error:
        _log("error", f"record processor failed: {type(error).__name__}: {error}")
        os._exit(1)


def _log(level: str, text: str, **fields: Any) -> None:
    """One JSON line on standard error, which the daemon passes on and the worker merges."""
    line = json.dumps({"level": level, "logger": "record_processor", "message": text, **fields})
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
