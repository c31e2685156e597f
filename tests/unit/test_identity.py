from __future__ import annotations

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from contract import Metadata, Position, identify
from contract.identity import source_from_partition_key

ARRIVED = datetime(2026, 5, 6, 7, 8, 9, 123000, tzinfo=UTC)
POSITION = Position("shardId-000000000001", "4956", "door cam/1", ARRIVED)


def test_a_frame_with_metadata() -> None:
    captured = datetime(2026, 1, 1, 23, 59, 59, 999999, tzinfo=UTC)
    identity = identify(Metadata("cam-1", "s1", 17, captured), POSITION)
    assert identity.frame_id == "cam-1/s1/000000017"
    assert identity.key == "frames/cam-1/2026-01-01/23/s1-000000017.jpg"
    assert identity.quarantine_key == "quarantine/cam-1/2026-01-01/23/s1-000000017.bin"
    assert identity.index == 17


def test_a_plain_jpeg() -> None:
    identity = identify(None, POSITION)
    source = source_from_partition_key("door cam/1")
    assert source.startswith("door_cam_1-")
    assert identity.frame_id == f"{source}/shardId-000000000001/4956"
    assert identity.key == f"frames/{source}/2026-05-06/07/shardId-000000000001-4956.jpg"
    assert (identity.index, identity.captured_at) == (None, ARRIVED)


def test_records_that_the_kpl_aggregated_differ() -> None:
    parts = [Position("shardId-0", "4956", "k", ARRIVED, number) for number in range(3)]
    assert [identify(None, part).frame_id for part in parts] == [
        "k/shardId-0/4956",
        "k/shardId-0/4956.1",
        "k/shardId-0/4956.2",
    ]


def test_different_partition_keys_are_different_sources() -> None:
    long = "c" * 200
    keys = [
        "door_1",
        "door/1",
        "door 1",
        "door\n1",
        "door_1\n",
        ".",
        "..",
        "_",
        "__",
        long,
        long + "c",
        "c" * 128,
        "Tür",
        "T_r",
    ]
    assert len({source_from_partition_key(key) for key in keys}) == len(keys)


@given(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", fullmatch=True))
def test_a_partition_key_that_is_a_name_is_the_source(partition_key: str) -> None:
    assert source_from_partition_key(partition_key) == partition_key


@given(st.text(min_size=1, max_size=256))
def test_a_key_never_leaves_its_prefix(partition_key: str) -> None:
    source = source_from_partition_key(partition_key)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", source)
    assert source.strip(".")
    key = identify(None, Position("shardId-0", "1", partition_key, ARRIVED)).key
    assert key.startswith("frames/")
    assert ".." not in key.split("/")


def test_years_before_1000_keep_their_form() -> None:
    early = datetime(1, 1, 1, tzinfo=UTC)
    assert identify(Metadata("c", "s", 0, early), POSITION).key.startswith("frames/c/0001-01-01/00/")
