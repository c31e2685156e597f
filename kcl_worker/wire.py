"""The protocol between a record processor and the worker, over a local socket.

A message is one byte of kind, four of length and a body:

    processor → worker   HELLO    {"shard_id", "sequence_number"}                   once
                         BATCH    {"records", "millis_behind_latest"}               announces records
                         RECORD   !I length of a JSON header, the header, the data
                         SAVING   {}                                                before a checkpoint
                         SAVED    {"sequence_number"}                               after it
    worker → processor   OUTCOME  !IB number of the record in its batch, an Outcome
                         READY    nothing: what belongs to the checkpoint is stored

Outcomes come in any order. REFUSED says that the worker drains: it takes no more records. A SAVING comes when every
record before it has its outcome, and waits for READY.

Record processors must be small, so only the standard library is imported here.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from enum import IntEnum
from typing import Any, BinaryIO, Final

_HEAD: Final = struct.Struct("!BI")
_META: Final = struct.Struct("!I")
_OUTCOME: Final = struct.Struct("!IB")
# Kinesis allows records of 10 MiB at the most; the rest is room for the header.
MAX_BODY_BYTES: Final = 11 * 1024 * 1024


class Kind(IntEnum):
    HELLO = 1
    BATCH = 2
    RECORD = 3
    SAVED = 4
    OUTCOME = 5
    SAVING = 6
    READY = 7


class Outcome(IntEnum):
    """What became of a record; REFUSED alone means that it has to be read again."""

    DURABLE = 1
    QUARANTINED = 2
    REFUSED = 3


class WireError(Exception):
    """The other side does not keep to the protocol."""


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
    """Gives a RECORD's header and data.

    Raises:
        WireError: If the body is not a record's.
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
    """Decodes the body of a message that is JSON.

    Raises:
        WireError: If it is not.
    """
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a malformed message: {error}") from None
    if not isinstance(decoded, dict):
        raise WireError("a message is an object")
    return decoded


def text(message: dict[str, Any], name: str) -> str:
    """A field that is text.

    Raises:
        WireError: If it is missing or something else.
    """
    value = message.get(name)
    if not isinstance(value, str):
        raise WireError(f"{name} is text, not {value!r}")
    return value


def number(message: dict[str, Any], name: str) -> int:
    """A field that is a whole number from 0 on.

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


def ready() -> bytes:
    """Encodes a READY."""
    return _HEAD.pack(Kind.READY, 0)


def read_outcome(stream: BinaryIO) -> tuple[int, Outcome]:
    """Waits for an OUTCOME.

    Raises:
        WireError: If the worker has closed the connection or sent anything else.
    """
    number, result = _OUTCOME.unpack(_answer(stream, Kind.OUTCOME, _OUTCOME.size))
    return number, Outcome(result)


def read_ready(stream: BinaryIO) -> None:
    """Waits for a READY.

    Raises:
        WireError: If the worker has closed the connection or sent anything else.
    """
    _answer(stream, Kind.READY, 0)


def _answer(stream: BinaryIO, expected: Kind, size: int) -> bytes:
    data = stream.read(_HEAD.size + size)
    if len(data) < _HEAD.size + size:
        raise WireError("the worker has closed the connection")
    kind, _ = _HEAD.unpack_from(data)
    if kind != expected:
        raise WireError(f"message {kind} where {expected.name} was due")
    return data[_HEAD.size :]


async def read(stream: asyncio.StreamReader) -> tuple[Kind, bytes] | None:
    """Waits for a message; None at the connection's end.

    Raises:
        WireError: If it is of no known kind, too long or cut.
    """
    try:
        kind, length = _HEAD.unpack(await stream.readexactly(_HEAD.size))
        if length > MAX_BODY_BYTES:
            raise WireError(f"a message of {length} bytes: at most {MAX_BODY_BYTES} are allowed")
        return Kind(kind), await stream.readexactly(length)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise WireError("the connection ended within a message") from None
        return None
    except ConnectionError:
        return None
    except ValueError as error:
        raise WireError(str(error)) from None
