"""Where the record processors connect: records in, outcomes out."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from contract import Position
from kcl_worker import wire
from kcl_worker.flow import Turns
from kcl_worker.pipeline import Record
from kcl_worker.scenes import Scenes
from kcl_worker.shards import Shard, ShardBoard
from kcl_worker.sinks import StateStore
from kcl_worker.wire import Kind, Outcome, WireError

logger = logging.getLogger(__name__)

# Records of one shard that are in the pipeline at once; further ones wait in the socket's buffer
# and in the record processor, so that a worker's memory does not follow the size of batches.
WINDOW = 8

Process = Callable[[Record], Awaitable[Outcome]]


class Gateway:
    """Serves the record processors of this task.

    Args:
        listener: A bound Unix socket in a private folder. Record processors may connect before
            `serve` runs; they wait in its backlog.
        process: Carries one record to its outcome; an error that it raises ends the gateway.
        board: Keeps what is known of each shard.
        states: Where the scenes of tracked sources outlive their shard's lease; None if nothing is tracked.
    """

    def __init__(
        self, listener: socket.socket, process: Process, board: ShardBoard, states: StateStore | None = None
    ) -> None:
        self._listener, self._process, self._board, self._states = listener, process, board, states
        self._draining = False
        self._pids: set[int] = set()
        self._conversations: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None

    async def serve(self) -> None:
        """Serves until cancelled, or raises what `process` raised."""
        self._failed = asyncio.get_running_loop().create_future()
        server = await asyncio.start_unix_server(self._converse, sock=self._listener)
        try:
            await self._failed
        finally:
            server.close()
            for conversation in self._conversations:
                conversation.cancel()
            await asyncio.gather(*self._conversations, return_exceptions=True)

    def drain(self) -> None:
        """Takes no more records: what is in flight is finished, what comes is refused."""
        self._draining = True

    async def deserted(self) -> None:
        """Waits until no record processor is connected: each has had its last checkpoint."""
        while self._conversations:
            await asyncio.wait(self._conversations)

    def stopped_processors(self) -> list[int]:
        """Record processors that the kernel does not run, as after SIGSTOP: they say nothing, like idle ones."""
        return sorted(pid for pid in self._pids if _is_stopped(pid))

    def kill_processors(self) -> None:
        """Ends record processors that outlived their daemon, a stopped one included."""
        for pid in self._pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = asyncio.current_task()
        assert conversation is not None
        assert self._failed is not None
        self._conversations.add(conversation)
        pid = _peer_pid(writer)
        self._pids.add(pid)
        try:
            await self._relay(reader, writer)
        except asyncio.CancelledError:
            pass  # by `serve`, at its end; asyncio would log the cancellation of a conversation as an error
        except Exception as error:
            self._judge(_first(error))
        finally:
            self._conversations.discard(conversation)
            self._pids.discard(pid)
            writer.close()

    def _judge(self, error: BaseException) -> None:
        """A peer's failure ends its conversation, which is read again; ours ends the gateway."""
        if isinstance(error, WireError):
            logger.error("a record processor broke the protocol: %s", error)
        elif isinstance(error, ConnectionError):
            logger.warning("a record processor has gone: %s", error)
        elif self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await wire.read(reader)
        if first is None:
            return
        if first[0] is not Kind.HELLO:
            raise WireError(f"{first[0].name} before HELLO")
        hello = wire.fields(first[1])
        shard_id = wire.text(hello, "shard_id")
        window, turns, scenes = asyncio.Semaphore(WINDOW), Turns(), Scenes(self._states)
        with self._board.hold(shard_id, hello.get("sequence_number")) as shard:
            logger.info("shard leased", extra={"shard_id": shard_id})
            async with asyncio.TaskGroup() as frames:
                while (received := await wire.read(reader)) is not None:
                    kind, body = received
                    if kind is Kind.RECORD:
                        await window.acquire()
                        header, data = wire.split_record(body)
                        position, lag_ms = _position(shard_id, header), shard.millis_behind_latest
                        record = Record(data, position, turns.next(), scenes, lag_ms)
                        number = wire.number(header, "number")
                        frames.create_task(self._settle(record, number, shard, window, writer))
                    elif kind is Kind.BATCH:
                        batch = wire.fields(body)
                        records, behind = (wire.number(batch, name) for name in ("records", "millis_behind_latest"))
                        shard.announce(records, behind, self._board.clock())
                    elif kind is Kind.SAVING:
                        await scenes.save()
                        writer.write(wire.ready())
                    elif kind is Kind.SAVED:
                        shard.checkpoint = wire.text(wire.fields(body), "sequence_number")
                        logger.debug("checkpoint", extra={"shard_id": shard_id, "at": shard.checkpoint})
            logger.info("shard released", extra={"shard_id": shard_id})

    async def _settle(
        self, record: Record, number: int, shard: Shard, window: asyncio.Semaphore, writer: asyncio.StreamWriter
    ) -> None:
        try:
            if self._draining:
                record.turn.give_up()
                outcome = Outcome.REFUSED
            else:
                outcome = await self._process(record)
                shard.settle(self._board.clock(), quarantined=outcome is Outcome.QUARANTINED)
            writer.write(wire.outcome(number, outcome))
        finally:
            window.release()


def _position(shard_id: str, header: dict[str, object]) -> Position:
    milliseconds = wire.number(header, "arrived_at_ms")
    try:
        arrived_at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise WireError(f"no such time: {milliseconds} ms") from None
    return Position(
        shard_id=shard_id,
        sequence_number=wire.text(header, "sequence_number"),
        sub_sequence_number=wire.number(header, "sub_sequence_number"),
        partition_key=wire.text(header, "partition_key"),
        arrived_at=arrived_at,
    )


def _peer_pid(writer: asyncio.StreamWriter) -> int:
    """The process at the other end, as the kernel knows it."""
    peer: socket.socket = writer.get_extra_info("socket")
    if not hasattr(socket, "SO_PEERCRED"):
        return -1
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def _is_stopped(pid: int) -> bool:
    """From the state in /proc; False where there is none. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state in ("T", "t")


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
