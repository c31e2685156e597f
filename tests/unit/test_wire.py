from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcl_worker.kcl import wire
from kcl_worker.kcl.wire import Kind, WireError
from kcl_worker.record import Outcome


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


def test_answers_arrive_as_they_were_sent() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(wire.outcome(7, Outcome.QUARANTINED) + wire.ready(("49", 3)) + wire.ready(None))
        kind, body = wire.answer(there)
        assert (kind, wire.read_outcome(body)) == (Kind.OUTCOME, (7, Outcome.QUARANTINED))
        assert [wire.read_ready(wire.answer(there)[1]) for _ in range(2)] == [("49", 3), None]
        here.sendall(wire.message(Kind.BATCH, {}))
        with pytest.raises(WireError, match="where an answer was due"):
            wire.answer(there)
        here.sendall(wire.outcome(7, Outcome.DURABLE)[:7])
        here.close()
        for _ in range(2):  # the rest of the batch, and an outcome that is cut
            with pytest.raises(WireError):
                wire.answer(there)


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_wire_error(data: bytes) -> None:
    try:
        messages = read_all(data)
    except WireError:
        return
    for kind, body in messages:
        with suppress(WireError):
            wire.split_record(body) if kind is Kind.RECORD else wire.fields(body)
        with suppress(WireError):
            wire.read_outcome(body)
        with suppress(WireError):
            wire.read_ready(body)


def test_a_length_beyond_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(WireError, match="at most"):
        read_all(bytes([Kind.RECORD]) + (2**32 - 1).to_bytes(4, "big"))
