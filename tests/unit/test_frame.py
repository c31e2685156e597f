from __future__ import annotations

import json
from datetime import UTC, datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import Frame, FrameError, Metadata, embed
from contract.errors import REASONS
from contract.frame import MAX_INDEX, MAX_METADATA_BYTES, format_time, parse_time
from contract.jpeg import MAX_SCANS
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


FOREIGN = [
    b'{"camera":"AXIS P3245","seq":17}',
    b'{"v":3,"maker":"Acme","index":4}',
    b"{",
    b"{" * 500,
    b'{"a":' + b"[" * 1000,
    b'{"v":1,"x":"' + b"y" * 60_000 + b'"}',
    b"Lavc60.31.102",
    b"",
]


@pytest.mark.parametrize("comment", FOREIGN)
def test_a_comment_of_another_maker_is_passed_over_alone_and_before_ours(comment: bytes) -> None:
    assert Frame.parse(pictures.with_comment(JPEG, comment)).metadata is None
    ours = embed(JPEG, METADATA)
    before = pictures.with_comment(pictures.with_comment(ours, comment), comment)
    assert Frame.parse(before).metadata == METADATA
    # Ours goes to the front, once, and no other is lost.
    other = Metadata("cam-2", "s2", 0, METADATA.captured_at)
    assert embed(before, other) == embed(pictures.with_comment(pictures.with_comment(JPEG, comment), comment), other)
    assert Frame.parse(embed(before, other)).metadata == other


def test_a_camera_with_a_comment_of_its_own_as_somebody_met_it(cases: Path) -> None:
    frame = Frame.parse((cases / "jpeg_foreign_json_comment.jpg").read_bytes())
    assert frame.metadata is None
    assert Frame.parse(embed(frame.jpeg, METADATA)).metadata == METADATA


@pytest.mark.parametrize("cut", [b"\xff\xfe", b"\xff\xfe\x00", b"\xff\xfe\x00\x01ab", b"\xff\xfe\x00\x09ab"])
def test_a_comment_that_is_cut_is_not_read(cut: bytes) -> None:
    ours = embed(b"\xff\xd8" + cut, METADATA)
    assert ours.endswith(cut)
    assert reason(ours) in ("truncated", "undecodable")


@given(st.data())
def test_any_mutation_gives_a_frame_or_a_frame_error(data: st.DataObject) -> None:
    jpeg = bytearray(embed(JPEG, METADATA))
    for _ in range(data.draw(st.integers(1, 8))):
        # Most changes are in the header, where the structure is.
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


# What libjpeg skips between segments, or reads as something else than a segment; a camera writes none of it.
NO_MARKERS = {
    "stuffing": b"\xff\x00\x00\x04ab",
    "stuffing behind fill": b"\xff\xff\x00\x00\x04ab",
    "garbage": b"ab",
    "zeros": b"\0\0",
    "TEM": b"\xff\x01",
    "RST0": b"\xff\xd0",
    "a second SOI": b"\xff\xd8",
    "reserved": b"\xff\x02\x00\x04ab",
    "JPG": b"\xff\xc8\x00\x04ab",
    "JPG13": b"\xff\xfd\x00\x04ab",
    "DNL": b"\xff\xdc\x00\x04\x00\x40",
    "DHP": b"\xff\xde\x00\x0b\x08\x00\x40\x00\x40\x01\x01\x11\x00",
    "EXP": b"\xff\xdf\x00\x03\x11",
    "a segment shorter than its length": b"\xff\xe0\x00\x01",
    "a segment of no length": b"\xff\xfe\x00\x00",
}


@pytest.mark.parametrize("between", NO_MARKERS)
def test_what_is_no_marker_is_refused_wherever_it_stands(between: str) -> None:
    start = JPEG.index(b"\xff\xdb")
    for place in (2, start, JPEG.index(b"\xff\xda")):
        assert reason(JPEG[:place] + NO_MARKERS[between] + JPEG[place:]) == "undecodable"


@pytest.mark.parametrize("fill", [1, 2, 1000, 2**20])
def test_fill_bytes_before_a_marker_are_legal(fill: int) -> None:
    start = JPEG.index(b"\xff\xdb")
    frame = Frame.parse(JPEG[:start] + b"\xff" * fill + JPEG[start:])
    assert (frame.width, frame.height) == (64, 64)


@pytest.mark.parametrize("hidden_by", [b"\xff\x00", b"\xff\x01", b"\xff\xd3", b"\xff\x02"])
def test_a_picture_of_two_sizes_is_refused(hidden_by: bytes) -> None:
    assert reason(pictures.two_sizes((16, 16), (9000, 9000), hidden_by)) == "undecodable"


def test_the_same_as_somebody_met_it(cases: Path) -> None:
    assert reason((cases / "header_16x16_decoder_9000x9000.jpg").read_bytes()) == "undecodable"


def frame_header(jpeg: bytes = JPEG, **changes: int) -> bytes:
    """Other values in the frame header: its marker, precision, number of components, the first one's sampling."""
    places = {"marker": 1, "length": 3, "precision": 4, "height": 6, "components": 9, "sampling": 11}
    data, start = bytearray(jpeg), jpeg.index(b"\xff\xc0")
    for name, value in changes.items():
        data[start + places[name]] = value
    return bytes(data)


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF])
def test_lossless_and_hierarchical_kinds_are_refused(marker: int) -> None:
    assert reason(frame_header(marker=marker)) == "undecodable"


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": 12},
        {"precision": 16},
        {"components": 2},
        {"components": 0},
        {"components": 255},
        {"length": 7},
        {"length": 20},
        {"sampling": 0x01},
        {"sampling": 0x15},
        {"height": 0},
    ],
)
def test_frame_headers_that_no_decoder_of_ours_knows_are_refused(changes: dict[str, int]) -> None:
    assert reason(frame_header(JPEG, **changes)) == "undecodable"


def test_a_picture_has_one_frame_header() -> None:
    start = JPEG.index(b"\xff\xc0")
    header = JPEG[start : start + 19]
    assert reason(JPEG[:start] + header + JPEG[start:]) == "undecodable"
    assert reason(JPEG[:start] + JPEG[start + 19 :]) == "undecodable"


def test_a_picture_in_a_note_is_not_the_picture() -> None:
    thumbnail = pictures.segment(0xE1, b"Exif\0\0" + pictures.street_jpeg(96, 96))
    frame = Frame.parse(JPEG[:2] + thumbnail + JPEG[2:])
    assert (frame.width, frame.height) == (64, 64)


@given(st.sampled_from([0x11, 0x21, 0x22, 0x12, 0x41, 0x14]), st.integers(1, 4000), st.integers(1, 4000))
def test_coefficients_are_counted_by_blocks(sampling: int, width: int, height: int) -> None:
    header = Frame.parse(frame_header(pictures.resized_header(JPEG, width, height), sampling=sampling)).header
    across, down = sampling >> 4, sampling & 15
    columns, rows = -(-width // (8 * across)), -(-height // (8 * down))
    assert header.coefficients == 64 * columns * rows * (across * down + 2)


def test_scans_beyond_the_picture_are_not_counted() -> None:
    # A phone appends a film or further pictures.
    appended = JPEG + b"\xff\xda" * 1000 + b"\xff\xd9"
    assert Frame.parse(appended).width == 64


@pytest.mark.parametrize("hiding", [b"", b"\xff\x01\xff\xff", b"\xff\xd0\xff\xff", b"\xff\x00\xff\xff"])
def test_scans_do_not_hide(hiding: bytes) -> None:
    scan = JPEG[JPEG.index(b"\xff\xda") : -2]
    assert reason(JPEG[:-2] + hiding + scan * MAX_SCANS + b"\xff\xd9" * 2) == "undecodable"


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
OURS = b'{"v":1,"source":"cam-1","session":"s1",'


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
        {"v": 1, "source": "cam-1"},
        {"v": 1, "captured_at": GOOD["captured_at"]},
    ],
)
def test_wrong_metadata_is_refused(fields: dict[str, object]) -> None:
    assert reason(pictures.with_comment(JPEG, json.dumps(fields).encode())) == "bad_metadata"


@pytest.mark.parametrize(
    "text",
    [
        OURS + b'"captured_at":"\xff\xfe"}',
        OURS,
        OURS + b'"a":' + b"[" * 900,
        OURS + b'"x":"' + b"y" * 65_000 + b'"}',
        OURS + b'"index":' + b"1" * 900 + b"}",
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
