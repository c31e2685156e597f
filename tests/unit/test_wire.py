from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcl_worker import wire
from kcl_worker.wire import Kind, Outcome, WireError


def read_all(data: bytes) -> list[tuple[Kind, bytes]]:
    async def run() -> list[tuple[Kind, bytes]]:
        stream = asyncio.StreamReader()
        stream.feed_data(data)
        stream.feed_eof()
        messages = []
        while (message := await wire.read(stream)) is not None:
            messages.append(message)
        return messages

    return asyncio.run(run())


def test_a_record_arrives_as_it_was_sent() -> None:
    here, there = socket.socketpair()
    with here, there:
        wire.send_record(here, {"number": 3, "partition_key": "ü"}, b"\x00data")
        here.close()
        data = there.recv(4096)
    [(kind, body)] = read_all(data)
    assert kind is Kind.RECORD
    assert wire.split_record(body) == ({"number": 3, "partition_key": "ü"}, b"\x00data")


def test_an_outcome_arrives_as_it_was_sent() -> None:
    here, there = socket.socketpair()
    with here, there, there.makefile("rb") as stream:
        here.sendall(wire.outcome(7, Outcome.QUARANTINED))
        assert wire.read_outcome(stream) == (7, Outcome.QUARANTINED)
        here.close()
        with pytest.raises(WireError, match="closed"):
            wire.read_outcome(stream)


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_wire_error(data: bytes) -> None:
    try:
        messages = read_all(data)
    except WireError:
        return
    for kind, body in messages:
        with suppress(WireError):
            wire.split_record(body) if kind is Kind.RECORD else wire.fields(body)


def test_a_length_beyond_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(WireError, match="at most"):
        read_all(bytes([Kind.RECORD]) + (2**32 - 1).to_bytes(4, "big"))
