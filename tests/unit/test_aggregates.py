"""Records in the KPL's format, as `doctor` reads them."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.aggregates import MAGIC, aggregates, hash_keys
from doctor.latest import latest
from doctor.place import Place
from local.resources import Resources


def aggregate(*records: tuple[str, int | None], data: bytes = b"x" * 300) -> bytes:
    """An aggregated record of such partition keys and explicit hash keys."""
    message = b"".join(_field(1, key.encode()) for key, _ in records)
    explicit = [hash_key for _, hash_key in records if hash_key is not None]
    message += b"".join(_field(2, str(hash_key).encode()) for hash_key in explicit)
    for place, (_, hash_key) in enumerate(records):
        places = bytes((0x08, place))
        if hash_key is not None:
            places += bytes((0x10, explicit.index(hash_key)))
        message += _field(3, places + _field(3, data))
    return MAGIC + message + hashlib.md5(message).digest()


def _field(number: int, value: bytes) -> bytes:
    size, length = b"", len(value)
    while length > 127:
        size, length = size + bytes((length & 127 | 128,)), length >> 7
    return bytes((number << 3 | 2,)) + size + bytes((length,)) + value


def hashed(key: str) -> int:
    return int(hashlib.md5(key.encode()).hexdigest(), 16)


def test_hash_keys_are_those_of_the_records_inside() -> None:
    assert hash_keys(aggregate(("a", None), ("b", 7), ("c", None))) == [hashed("a"), 7, hashed("c")]


@pytest.mark.parametrize("record", [b"", MAGIC, b"\xff\xd8 a picture", aggregate(("a", None))[:-1], aggregate()])
def test_other_records_have_none(record: bytes) -> None:
    assert hash_keys(record) == []


@given(st.binary(max_size=60))
def test_what_only_looks_like_one_has_none_or_some(message: bytes) -> None:
    hash_keys(MAGIC + message + hashlib.md5(message).digest())


def test_aggregates_that_kcl_drops_are_told(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in resources.environment().items():
        monkeypatch.setenv(name, value)
    place, kinesis = Place.from_environment(), resources.client("kinesis")

    def put(record: bytes) -> None:
        kinesis.put_record(StreamName=resources.stream, PartitionKey="a", Data=record)

    put(b"\xff\xd8 a picture")
    assert aggregates(latest(place)).says == "no aggregated records of the last 5 minutes"
    # The only shard has every hash key that there is.
    put(aggregate(("a", None), ("b", None)))
    assert aggregates(latest(place)).verdict == "well"
    put(aggregate(("a", None), ("b", 2**128)))
    found = aggregates(latest(place))
    assert (found.verdict, found.says[:36]) == ("wrong", "KCL drops 1 of 2 aggregated records ")
