from __future__ import annotations

import json
from datetime import UTC, datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import Frame, FrameError, Metadata, embed
from contract.frame import MAX_INDEX, MAX_METADATA_BYTES, REASONS, format_time, parse_time
from tests import pictures

METADATA = Metadata("cam-1", "s1", 17, datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC))
JPEG = pictures.street_jpeg(64, 64)

names = st.text("ABCxyz019._-", min_size=1, max_size=128).filter(lambda name: name.strip("."))
times = st.datetimes(timezones=st.just(UTC))
metadata = st.builds(
    Metadata,
    source=names,
    session=st.text("abcXYZ019", min_size=1, max_size=64),
    index=st.integers(0, MAX_INDEX),
    captured_at=times,
)


@given(metadata)
def test_metadata_round_trips(value: Metadata) -> None:
    assert Metadata.from_json(value.to_json()) == value
    frame = Frame.parse(embed(JPEG, value))
    assert frame.metadata == value
    assert (frame.width, frame.height) == (64, 64)


@given(times)
def test_times_round_trip(time: datetime) -> None:
    assert parse_time(format_time(time)) == time


def test_the_metadata_is_where_the_contract_says() -> None:
    data = embed(JPEG, METADATA)
    assert data[:4] == b"\xff\xd8\xff\xfe"
    length = int.from_bytes(data[4:6], "big")
    assert data[6 : 4 + length] == (
        b'{"v":1,"source":"cam-1","session":"s1","index":17,"captured_at":"2026-01-02T03:04:05.678901Z"}'
    )
    assert data[4 + length :] == JPEG[2:]


def test_embedding_again_replaces() -> None:
    once = embed(JPEG, METADATA)
    other = Metadata("cam-2", "s2", 0, METADATA.captured_at)
    assert embed(once, other) == embed(JPEG, other)


def test_somebody_elses_comment_stays_and_the_frame_is_plain() -> None:
    signed = pictures.with_comment(JPEG, b"Lavc60.31.102")
    assert Frame.parse(signed).metadata is None
    assert b"Lavc60" in embed(signed, METADATA)


@given(st.data())
def test_any_mutation_gives_a_frame_or_a_frame_error(data: st.DataObject) -> None:
    jpeg = bytearray(embed(JPEG, METADATA))
    for _ in range(data.draw(st.integers(1, 8))):
        # Mostly in the header, where the structure is.
        position = data.draw(st.integers(0, min(len(jpeg), 400)) | st.integers(0, len(jpeg)))
        match data.draw(st.sampled_from(("set", "cut", "insert", "delete"))):
            case "set" if position < len(jpeg):
                jpeg[position] = data.draw(st.integers(0, 255))
            case "cut":
                del jpeg[position:]
            case "insert":
                jpeg[position:position] = data.draw(st.binary(max_size=16))
            case "delete":
                del jpeg[position : position + data.draw(st.integers(1, 64))]
    try:
        frame = Frame.parse(bytes(jpeg))
    except FrameError as error:
        assert error.reason in REASONS
        assert "\n" not in error.detail
    else:
        assert frame.width * frame.height > 0


@given(st.binary(max_size=300))
def test_any_bytes_give_a_frame_or_a_frame_error(data: bytes) -> None:
    for candidate in (data, b"\xff\xd8" + data, pictures.with_comment(JPEG, data)):
        try:
            Frame.parse(candidate)
        except FrameError as error:
            assert error.reason in REASONS


def reason(data: bytes, **limits: int) -> str:
    with pytest.raises(FrameError) as caught:
        Frame.parse(data, **limits)
    return caught.value.reason


def test_records_that_are_no_frames() -> None:
    assert reason(b"") == "empty"
    assert reason(b"hello") == "not_jpeg"
    assert reason(pictures.png()) == "not_jpeg"
    assert reason(JPEG[:-2]) == "truncated"
    assert reason(JPEG[: len(JPEG) // 2]) == "truncated"
    assert reason(JPEG[:30]) == "truncated"
    assert reason(b"\xff\xd8\xff\xd9") == "truncated"
    assert reason(JPEG, max_bytes=len(JPEG) - 1) == "too_many_bytes"
    assert reason(JPEG, max_pixels=64 * 64 - 1) == "too_many_pixels"
    assert reason(pictures.resized_header(JPEG, 65535, 65535)) == "too_many_pixels"
    assert reason(pictures.resized_header(JPEG, 64, 0)) == "undecodable"


def test_an_end_marker_in_a_thumbnail_does_not_hide_a_cut() -> None:
    segment = b"\xff\xe1\x00\x06" + b"\xff\xd9\xff\xd9"
    assert reason(JPEG[:2] + segment + JPEG[2:-2]) == "truncated"


def test_a_megabyte_of_comments_is_refused_soon() -> None:
    assert reason(JPEG[:2] + b"\xff\xfe\x00\x02" * 250_000 + JPEG[2:]) == "undecodable"


@pytest.mark.parametrize("make", [pictures.grey, pictures.cmyk, pictures.progressive, pictures.rotated])
def test_other_kinds_of_jpeg_are_frames(make: object) -> None:
    frame = Frame.parse(make())  # type: ignore[operator]
    assert (frame.width, frame.height) == (320, 180)


GOOD = json.loads(METADATA.to_json())


@pytest.mark.parametrize(
    "fields",
    [
        GOOD | {"source": "../x"},
        GOOD | {"source": ".."},
        GOOD | {"source": ""},
        GOOD | {"source": "a\nb"},
        GOOD | {"source": "a" * 129},
        GOOD | {"source": 7},
        GOOD | {"source": None},
        GOOD | {"session": "a-b"},
        GOOD | {"session": ["s"]},
        GOOD | {"index": -1},
        GOOD | {"index": True},
        GOOD | {"index": 1.0},
        GOOD | {"index": MAX_INDEX + 1},
        GOOD | {"captured_at": "2026-01-02"},
        GOOD | {"captured_at": "2026-02-30T00:00:00.000000Z"},
        GOOD | {"captured_at": "0000-01-01T00:00:00.000000Z"},
        GOOD | {"captured_at": 0},
        GOOD | {"v": 2},
        GOOD | {"v": True},
        {"v": 1},
    ],
)
def test_wrong_metadata_is_refused(fields: dict[str, object]) -> None:
    assert reason(pictures.with_comment(JPEG, json.dumps(fields).encode())) == "bad_metadata"


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b'{"v":1,"source":"\xff\xfe"}',
        b"{" * 500,
        b'{"a":' + b"[" * 1000,
        b'{"v":1,"x":"' + b"y" * 65_000 + b'"}',
        b'{"v":' + b"1" * 1000 + b"}",
    ],
)
def test_metadata_that_is_no_json_is_refused(text: bytes) -> None:
    assert reason(pictures.with_comment(JPEG, text)) == "bad_metadata"


def test_metadata_has_a_limit_and_says_so() -> None:
    with pytest.raises(FrameError, match=f"at most {MAX_METADATA_BYTES}"):
        Metadata.from_json(b"{" + b" " * MAX_METADATA_BYTES)


def test_a_time_must_be_in_utc() -> None:
    with pytest.raises(FrameError, match="UTC"):
        Metadata("a", "b", 0, datetime(2026, 1, 1))
    with pytest.raises(FrameError, match="UTC"):
        Metadata("a", "b", 0, datetime(2026, 1, 1, tzinfo=timezone.max))


def test_only_a_jpeg_carries_metadata() -> None:
    with pytest.raises(FrameError, match="not_jpeg"):
        embed(pictures.png(), METADATA)
