"""Aggregated records that KCL drops, because one of the records inside hashes into another shard.

It takes such a one for a copy that a resharding left (`AggregatorUtil.deaggregate`), and says so nowhere.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from doctor.finding import Finding
from doctor.latest import RECENT_MINUTES, Latest

# https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
MAGIC: Final = b"\xf3\x89\x9a\xc2"
DIGEST_BYTES: Final = 16
ADVICE: Final = "one partition key, or one explicit hash key, in each record: docs/messages.md"


def aggregates(recent: Latest) -> Finding:
    """Whether the latest aggregated records are such as KCL takes."""
    seen, dropped = 0, 0
    for shard, records in recent:
        hashes = range(int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"]) + 1)
        for record in records:
            inside = list(hash_keys(record["Data"]))
            seen += bool(inside)
            dropped += any(key not in hashes for key in inside)
    if not seen:
        return Finding("aggregates", "well", f"no aggregated records of the last {RECENT_MINUTES} minutes")
    if not dropped:
        return Finding("aggregates", "well", f"{seen} aggregated records, each within its shard")
    says = f"KCL drops {dropped} of {seen} aggregated records whole, because one in them hashes "
    says += "into another shard; only the KPL sends such records again"
    return Finding("aggregates", "wrong", says, ADVICE)


def hash_keys(record: bytes) -> list[int]:
    """The hash keys of the records in an aggregated one; none of any other record."""
    message, digest = record[len(MAGIC) : -DIGEST_BYTES], record[-DIGEST_BYTES:]
    if record.startswith(MAGIC) and hashlib.md5(message, usedforsecurity=False).digest() == digest:
        with suppress(IndexError, KeyError, TypeError, ValueError):  # it only looks like one
            return list(_hash_keys(message))
    return []


def _hash_keys(message: bytes) -> Iterator[int]:
    # AggregatedRecord: 1 the table of partition keys, 2 that of explicit hash keys, 3 the records.
    tables: defaultdict[int, list[bytes]] = defaultdict(list)
    for number, value in _fields(message):
        if isinstance(value, bytes):
            tables[number].append(value)
    for packed in tables[3]:
        # Record: 1 and 2 are places in these tables.
        places = dict(_fields(packed))
        if 2 in places:
            yield int(tables[2][int(places[2])])
        else:
            key = tables[1][int(places[1])]
            yield int.from_bytes(hashlib.md5(key, usedforsecurity=False).digest(), "big")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """A protobuf message's fields of the two kinds that the format has: number and value."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        value, place = _varint(message, place)
        if tag & 7:  # the value is a length
            if place + value > len(message):
                raise ValueError("a field goes past the end")
            yield tag >> 3, message[place : place + value]
            place += value
        else:
            yield tag >> 3, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
