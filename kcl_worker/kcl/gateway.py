"""Where the record processors connect: records in, outcomes out."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from contract import Position
from kcl_worker.budget import Budget, Grant
from kcl_worker.doing import SHARD, doing
from kcl_worker.kcl import wire
from kcl_worker.kcl.horizon import POLLED, Horizon
from kcl_worker.kcl.shard_order import Turns
from kcl_worker.kcl.shards import Shard, ShardBoard
from kcl_worker.kcl.wire import WINDOW, Kind, WireError
from kcl_worker.record import Outcome, Place, Record, ShardWork

logger = logging.getLogger(__name__)

# SOL_LOCAL and LOCAL_PEERPID of macOS' <sys/un.h>, which Python does not name.
_LOCAL_PEERPID = 0, 2


class Gateway:
    """Serves the record processors of this task.

    Args:
        listener: A bound Unix socket in a private folder. Record processors may connect before
            `serve` runs; they wait in its backlog.
        begin: Called with the shard id when a lease begins: gives what is done with its records. What that raises ends
            the gateway.
        board: Keeps what is known of each shard.
        memory: What records of all shards may take, from when they are read until they have their outcomes; None: all.
            A shard's are read in their order, so that the first of them always has what it needs.
        ahead: Reads of a shard that may lie ready in the daemon.
    """

    def __init__(
        self,
        listener: socket.socket,
        begin: Callable[[str], ShardWork],
        board: ShardBoard,
        memory: Budget | None = None,
        ahead: int = POLLED,
    ) -> None:
        self._listener, self._begin, self._board, self._ahead = listener, begin, board, ahead
        self._memory = memory or Budget(sys.maxsize)
        self._draining = False
        self._pids: set[int] = set()
        self._conversations: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None

    async def serve(self) -> None:
        """Serves until cancelled, or raises what the work on a record raised."""
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
        pids = {pid} if (pid := _peer_pid(writer)) else set()
        self._pids |= pids
        try:
            await self._relay(reader, writer)
        except asyncio.CancelledError:
            pass  # by `serve`, at its end; asyncio would log the cancellation of a conversation as an error
        except Exception as error:
            self._judge(_first(error))
        finally:
            self._conversations.discard(conversation)
            self._pids -= pids
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
        SHARD.set(shard_id)
        window, turns, work = asyncio.Semaphore(WINDOW), Turns(), self._begin(shard_id)
        with self._board.hold(shard_id, hello.get("sequence_number")) as shard, closing(work):
            logger.info("shard leased", extra={"shard_id": shard_id})
            stored: Place | None = None
            resting: asyncio.Task[None] | None = None
            horizon = Horizon(self._ahead)
            async with asyncio.TaskGroup() as frames:
                while (head := await wire.read_head(reader)) is not None:
                    kind, length = head
                    shard.checkpointing_since = None  # it goes on, so there is none to be made any more
                    if kind is Kind.RECORD:
                        with doing("turn"):
                            await window.acquire()
                        record, number, memory = await self._take(reader, length, shard, turns)
                        horizon.record(record.position.arrived_at)
                        frame = frames.create_task(self._settle(work, record, number, shard, window, writer))
                        # Not by the task itself: one that is cancelled before it begins runs nothing.
                        frame.add_done_callback(memory.release)
                        del record  # or it would live until the next one comes, which may wait for its memory
                        continue
                    body = await wire.read_body(reader, length)
                    if kind is Kind.BATCH:
                        batch = wire.fields(body)
                        records, behind = (wire.number(batch, name) for name in ("records", "millis_behind_latest"))
                        horizon.read(records, behind, time.time())
                        free = not (shard.pending or self._draining) and (resting is None or resting.done())
                        if free and work.is_due(horizon.time):
                            resting = frames.create_task(work.rest(turns.next, horizon.time))
                        shard.announce(records, behind, self._board.clock())
                    elif kind is Kind.SAVING:
                        if wire.fields(body).get("ended"):
                            work.close()
                        if (place := await work.save()) != stored:  # or no checkpoint follows
                            shard.checkpointing(self._board.clock())
                        stored = place
                        writer.write(wire.ready(place))
                    elif kind is Kind.SAVED:
                        shard.checkpointed(wire.text(wire.fields(body), "sequence_number"), self._board.clock())
                        logger.debug("checkpoint", extra={"shard_id": shard_id, "at": shard.checkpoint})
                    elif kind is Kind.LOST:
                        shard.lose()
            if not shard.lost:  # what is said of the shard from now on is its new owner's to say
                await work.finish()
            logger.info("shard released", extra={"shard_id": shard_id})

    async def _take(
        self, reader: asyncio.StreamReader, length: int, shard: Shard, turns: Turns
    ) -> tuple[Record, int, Grant]:
        """Waits for memory, then reads a record into it; gives it with its number in the batch."""
        with doing("memory"):
            memory = await self._memory.take(length)
        try:
            header, data = wire.split_record(await wire.read_body(reader, length))
            position, number = _position(shard.shard_id, header), wire.number(header, "number")
        except BaseException:
            memory.release()
            raise
        return Record(data, position, turns.next(), shard.millis_behind_latest or 0), number, memory

    async def _settle(
        self,
        work: ShardWork,
        record: Record,
        number: int,
        shard: Shard,
        window: asyncio.Semaphore,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            if self._draining:
                record.turn.give_up()
                outcome = Outcome.REFUSED
            else:
                waited = time.time() - record.position.arrived_at.timestamp()
                with shard.working(self._board.clock() - waited):
                    outcome = await work.process(record)
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


def _peer_pid(writer: asyncio.StreamWriter) -> int | None:
    """The process at the other end, as the kernel knows it; None where it does not say.

    Never a number that means more than one process to kill(): 0 is a whole group, -1 is everybody.
    """
    peer: socket.socket = writer.get_extra_info("socket")
    if sys.platform == "darwin":
        pid = peer.getsockopt(*_LOCAL_PEERPID)
    elif hasattr(socket, "SO_PEERCRED"):
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid = int(struct.unpack("3i", credentials)[0])
    else:
        return None
    return pid if pid > 0 else None


def _is_stopped(pid: int) -> bool:
    """From the state in /proc; False where there is none. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state in ("T", "t")


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
