"""The protocol between a record processor and the worker, over a local socket.

A message is one byte of kind, four of length and a body:

    processor → worker   HELLO    {"shard_id", "sequence_number"}                   once
                         BATCH    {"records", "millis_behind_latest"}               announces records
                         RECORD   !I length of a JSON header, the header, the data
                         SAVING   {"ended"}: whether the shard has                  before a checkpoint
                         SAVED    {"sequence_number"}                               after it
                         LOST     {}                                                the lease: no checkpoint follows
    worker → processor   OUTCOME  !IB number of the record in its batch, an Outcome
                         READY    {"sequence_number", "sub_sequence_number"}        where to checkpoint; or {}: nowhere

The worker sends outcomes in any order. REFUSED means that the worker drains and takes no more records. The record
processor has at most `WINDOW` records without an outcome on their way, so that the worker always reads what comes next.
It may send SAVING at any time. READY names the last record whose outcome, and that of every record before it, is
stored, once what belongs to a checkpoint there is stored too. Outcomes may come between the two.

Record processors must be small, so this module imports little. `asyncio` alone would be a third of their memory.
"""

from __future__ import annotations

import json
import socket
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from kcl_worker.record import Outcome, Place

if TYPE_CHECKING:
    import asyncio

# These variables tell a record processor where the worker listens and how often to checkpoint.
SOCKET_VARIABLE: Final = "CV2KINESIS_SOCKET"
CHECKPOINT_VARIABLE: Final = "CHECKPOINT_SECONDS"
# Records of one shard that are in the pipeline at once; further ones wait in the record processor.
WINDOW: Final = 8

_HEAD: Final = struct.Struct("!BI")
_META: Final = struct.Struct("!I")
_OUTCOME: Final = struct.Struct("!IB")
# Kinesis allows records of at most 10 MiB; the rest is room for the header.
MAX_BODY_BYTES: Final = 11 * 1024 * 1024


class Kind(IntEnum):
    HELLO = 1
    BATCH = 2
    RECORD = 3
    SAVED = 4
    OUTCOME = 5
    SAVING = 6
    READY = 7
    LOST = 8


class WireError(Exception):
    """The other side has broken the protocol."""


def message(kind: Kind, fields: dict[str, Any]) -> bytes:
    """Encodes a message whose body is JSON."""
    body = json.dumps(fields, separators=(",", ":")).encode()
    return _HEAD.pack(kind, len(body)) + body


def send_record(connection: socket.socket, header: dict[str, Any], data: bytes) -> None:
    """Sends a RECORD without copying its data."""
    meta = json.dumps(header, separators=(",", ":")).encode()
    size = _META.size + len(meta) + len(data)
    connection.sendall(_HEAD.pack(Kind.RECORD, size) + _META.pack(len(meta)) + meta)
    connection.sendall(data)


def split_record(body: bytes) -> tuple[dict[str, Any], bytes]:
    """Splits a RECORD's body into header and data.

    Raises:
        WireError: If the body is not that of a record.
    """
    try:
        (length,) = _META.unpack_from(body)
        header = json.loads(body[_META.size : _META.size + length])
    except (struct.error, ValueError, RecursionError) as error:
        raise WireError(f"a malformed record: {error}") from None
    if not isinstance(header, dict):
        raise WireError("a record's header is an object")
    return header, body[_META.size + length :]


def fields(body: bytes) -> dict[str, Any]:
    """Decodes a message body that is JSON.

    Raises:
        WireError: If the body is not JSON.
    """
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a malformed message: {error}") from None
    if not isinstance(decoded, dict):
        raise WireError("a message is an object")
    return decoded


def text(message: dict[str, Any], name: str) -> str:
    """Gives a field of a message that is text.

    Raises:
        WireError: If it is missing or something else.
    """
    value = message.get(name)
    if not isinstance(value, str):
        raise WireError(f"{name} is text, not {value!r}")
    return value


def number(message: dict[str, Any], name: str) -> int:
    """Gives a field of a message that is a whole number of at least 0.

    Raises:
        WireError: If it is missing or something else.
    """
    value = message.get(name)
    if type(value) is not int or value < 0:
        raise WireError(f"{name} is a whole number from 0 on, not {value!r}")
    return value


def outcome(number: int, result: Outcome) -> bytes:
    """Encodes an OUTCOME."""
    return _HEAD.pack(Kind.OUTCOME, _OUTCOME.size) + _OUTCOME.pack(number, result)


def read_outcome(body: bytes) -> tuple[int, Outcome]:
    """Decodes an OUTCOME's body.

    Raises:
        WireError: If it is not that of an outcome.
    """
    try:
        number, result = _OUTCOME.unpack(body)
        return number, Outcome(result)
    except (struct.error, ValueError) as error:
        raise WireError(f"a malformed outcome: {error}") from None


def ready(place: Place | None) -> bytes:
    """Encodes a READY."""
    named = {} if place is None else {"sequence_number": place[0], "sub_sequence_number": place[1]}
    return message(Kind.READY, named)


def read_ready(body: bytes) -> Place | None:
    """Decodes a READY's body.

    Raises:
        WireError: If it names no place and is not empty.
    """
    named = fields(body)
    return (text(named, "sequence_number"), number(named, "sub_sequence_number")) if named else None


def answer(connection: socket.socket) -> tuple[Kind, bytes]:
    """Waits for a message of the worker. It reads no further, so that `select` sees the next one.

    Raises:
        WireError: If the worker has closed the connection or sent what is no answer.
    """
    kind, length = _HEAD.unpack(_receive(connection, _HEAD.size))
    if kind not in (Kind.OUTCOME, Kind.READY) or length > MAX_BODY_BYTES:
        raise WireError(f"message {kind} of {length} bytes where an answer was due")
    return Kind(kind), _receive(connection, length) if length else b""


def _receive(connection: socket.socket, size: int) -> bytes:
    data = connection.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise WireError("the worker has closed the connection")
    return data


async def read(stream: asyncio.StreamReader) -> tuple[Kind, bytes] | None:
    """Waits for a message; gives None at the connection's end.

    Raises:
        WireError: If the message is of unknown kind, too long or cut.
    """
    head = await read_head(stream)
    return head and (head[0], await read_body(stream, head[1]))


async def read_head(stream: asyncio.StreamReader) -> tuple[Kind, int] | None:
    """Waits for a message's kind and the length of its body, which has to be read next; None at the connection's end.

    Raises:
        WireError: If it is of no known kind, too long or cut.
    """
    try:
        kind, length = _HEAD.unpack(await stream.readexactly(_HEAD.size))
        if length > MAX_BODY_BYTES:
            raise WireError(f"a message of {length} bytes: at most {MAX_BODY_BYTES} are allowed")
        return Kind(kind), length
    except EOFError as error:
        if error.partial:  # type: ignore[attr-defined]  # an asyncio.IncompleteReadError
            raise WireError("the connection ended within a message") from None
        return None
    except ConnectionError:
        return None
    except ValueError as error:
        raise WireError(str(error)) from None


async def read_body(stream: asyncio.StreamReader, length: int) -> bytes:
    """Waits for a message's body.

    Raises:
        WireError: If it is cut.
    """
    try:
        return await stream.readexactly(length)
    except (EOFError, ConnectionError):
        raise WireError("the connection ended within a message") from None
