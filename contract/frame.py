"""A frame on the stream: a JPEG file that may carry what is known about it.

The metadata travels in one JPEG comment segment straight after the start of the image, so that a
record opens in any viewer and any producer of plain JPEGs works:

    FF D8  FF FE <length> {"v":1,"source":"cam-1","session":"9f2c…","index":17,"captured_at":"…"}  …

A comment there that does not begin with `{` is somebody else's (encoders sign their files so) and
the frame counts as plain.

Only the standard library is imported here, and no byte is trusted: whatever is parsed is a frame
or raises `FrameError`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, get_args

SOI: Final = b"\xff\xd8"
EOI: Final = b"\xff\xd9"
MAX_METADATA_BYTES: Final = 1024
MAX_INDEX: Final = 10**15
# More segments before the picture than any encoder writes; bounds the walk over hostile ones.
MAX_SEGMENTS: Final = 1024

MAX_SCANS: Final = 64

DEFAULT_MAX_PIXELS: Final = 50_000_000
DEFAULT_MAX_BYTES: Final = 10 * 1024 * 1024

# Names become part of S3 keys and file names: no separators, no control characters, and `_check`
# refuses names of dots alone.
SOURCE_PATTERN: Final = r"[A-Za-z0-9._-]{1,128}"
SESSION_PATTERN: Final = r"[A-Za-z0-9]{1,64}"
_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{6})Z", re.ASCII)

_COMMENT: Final = 0xFE
_START_OF_SCAN: Final = 0xDA
# Start-of-frame markers: all of C0-CF but the tables DHT, JPG and DAC. ITU-T T.81, table B.1.
_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers that stand alone, without a length: TEM and RST0-RST7.
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})

Reason = Literal[
    "empty", "not_jpeg", "truncated", "too_many_bytes", "too_many_pixels", "bad_metadata", "undecodable"
]  # fmt: skip
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)


class FrameError(ValueError):
    """A record that is not a frame, with the reason by which it is filed in quarantine.

    Attributes:
        reason: One of `REASONS`.
        detail: One line for people: what was found and what is allowed.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a producer knows about a frame.

    Attributes:
        source: The camera's name, 1-128 of `A-Z a-z 0-9 . _ -`.
        session: New at every start of a producer, 1-64 letters and digits.
        index: Counts the frames of a session from 0.
        captured_at: When the frame was taken, in UTC.

    Raises:
        FrameError: `bad_metadata`, if a value is not of that form.
    """

    source: str
    session: str
    index: int
    captured_at: datetime

    def __post_init__(self) -> None:
        check_source(self.source)
        _check("session", self.session, SESSION_PATTERN)
        if type(self.index) is not int or not 0 <= self.index <= MAX_INDEX:
            raise FrameError("bad_metadata", f"index {_quote(self.index)}: 0 to {MAX_INDEX} is allowed")
        if self.captured_at.tzinfo is not UTC:
            raise FrameError("bad_metadata", "captured_at: a time in UTC is needed")

    def to_json(self) -> bytes:
        """The compact form that goes into the comment segment."""
        fields = {
            "v": 1,
            "source": self.source,
            "session": self.session,
            "index": self.index,
            "captured_at": format_time(self.captured_at),
        }
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Metadata:
        """Reads `to_json`'s form; unknown keys are ignored.

        Raises:
            FrameError: `bad_metadata`.
        """
        if len(text) > MAX_METADATA_BYTES:
            raise FrameError("bad_metadata", f"{len(text)} bytes: at most {MAX_METADATA_BYTES} are allowed")
        try:
            fields = json.loads(text)
        except UnicodeDecodeError:
            raise FrameError("bad_metadata", "not UTF-8") from None
        except (ValueError, RecursionError):
            raise FrameError("bad_metadata", "not JSON") from None
        if not isinstance(fields, dict) or type(fields.get("v")) is not int or fields["v"] != 1:
            raise FrameError("bad_metadata", 'an object with "v":1 is needed')
        captured_at = fields.get("captured_at")
        if not isinstance(captured_at, str) or not _TIME.fullmatch(captured_at):
            raise FrameError(
                "bad_metadata",
                f"captured_at {_quote(captured_at)}: 2026-01-01T00:00:00.000000Z is the form",
            )
        try:
            time = parse_time(captured_at)
        except ValueError:
            raise FrameError("bad_metadata", f"captured_at {captured_at}: no such time") from None
        return cls(fields.get("source"), fields.get("session"), fields.get("index"), time)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Frame:
    """A JPEG whose header has been read; nothing is decoded yet.

    Attributes:
        jpeg: The record's bytes, as they are.
        width, height: As the header says, before any EXIF rotation.
        metadata: None for a plain JPEG.
    """

    jpeg: bytes
    width: int
    height: int
    metadata: Metadata | None

    @classmethod
    def parse(
        cls,
        data: bytes,
        *,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> Frame:
        """Reads a record's markers up to its picture.

        Raises:
            FrameError: With the reason why the record is no frame.
        """
        if not data:
            raise FrameError("empty", "the record has no bytes")
        if len(data) > max_bytes:
            raise FrameError("too_many_bytes", f"{len(data)} bytes: at most {max_bytes} are allowed")
        if not data.startswith(SOI):
            raise FrameError("not_jpeg", f"begins with {data[:4].hex(' ')}: ff d8 is needed")
        width, height, scan = _read_header(data)
        if width * height == 0:
            raise FrameError("undecodable", f"{width}x{height} pixels in the header")
        if width * height > max_pixels:
            raise FrameError("too_many_pixels", f"{width}x{height} pixels: at most {max_pixels} are allowed")
        # Decoders paint what is missing grey and say nothing, so a cut file is found here. Bytes
        # of 0xFF inside a scan are stuffed, hence this marker cannot occur in the picture itself.
        # It is sought from the end, where it stands in all others.
        if data.rfind(EOI, scan) < 0:
            raise FrameError("truncated", f"no end-of-image marker in {len(data)} bytes")
        # Each scan of a progressive JPEG is a pass over the whole picture, however few bytes it has. Encoders make
        # about ten; thousands, which a record has room for, would keep a core busy for minutes.
        if (scans := 1 + data.count(bytes((0xFF, _START_OF_SCAN)), scan)) > MAX_SCANS:
            raise FrameError("undecodable", f"{scans} scans: at most {MAX_SCANS} are allowed")
        comment = _leading_comment(data)
        metadata = Metadata.from_json(comment) if comment and comment[:1] == b"{" else None
        return cls(data, width, height, metadata)


def embed(jpeg: bytes, metadata: Metadata) -> bytes:
    """Puts metadata into a JPEG, in place of any that is there.

    Raises:
        FrameError: `not_jpeg`.
    """
    if not jpeg.startswith(SOI):
        raise FrameError("not_jpeg", "metadata can be embedded in a JPEG only")
    text = metadata.to_json()
    comment = _leading_comment(jpeg)
    rest = 2 if comment is None or comment[:1] != b"{" else 6 + len(comment)
    segment = bytes((0xFF, _COMMENT)) + (len(text) + 2).to_bytes(2, "big") + text
    return b"".join((SOI, segment, memoryview(jpeg)[rest:]))


def format_time(time: datetime) -> str:
    """ISO 8601 in UTC with microseconds and `Z`, the only form that the contract knows."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_time(text: str) -> datetime:
    """Reads `format_time`'s form.

    Raises:
        ValueError: If it is of another form or no such time exists.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{_quote(text)}: 2026-01-01T00:00:00.000000Z is the form")
    year, month, day, hour, minute, second, microsecond = map(int, match.groups())
    return datetime(year, month, day, hour, minute, second, microsecond, UTC)


def check_source(source: object) -> None:
    """Checks the name of a camera.

    Raises:
        FrameError: `bad_metadata`.
    """
    _check("source", source, SOURCE_PATTERN)


def _read_header(data: bytes) -> tuple[int, int, int]:
    """Walks the segments; gives width, height and where the first scan begins."""
    size: tuple[int, int] | None = None
    position, end = 2, len(data)
    for _ in range(MAX_SEGMENTS):
        if position >= end:
            raise FrameError("truncated", f"the header is cut at byte {end}")
        if data[position] != 0xFF:
            raise FrameError("undecodable", f"no marker at byte {position}")
        while position < end and data[position] == 0xFF:  # any number of fill bytes may lead
            position += 1
        if position >= end:
            raise FrameError("truncated", f"the header is cut at byte {end}")
        marker = data[position]
        position += 1
        if marker in _STANDALONE:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        if position + max(length, 2) > end:
            raise FrameError("truncated", f"a segment of {length} bytes is cut at byte {end}")
        if length < 2:
            raise FrameError("undecodable", f"a segment of length {length} at byte {position}")
        if marker == _START_OF_SCAN:
            if size is None:
                raise FrameError("undecodable", "no frame header before the picture")
            return *size, position + length
        if marker in _START_OF_FRAME:
            if length < 8:
                raise FrameError("undecodable", f"a frame header of {length} bytes")
            height = int.from_bytes(data[position + 3 : position + 5], "big")
            width = int.from_bytes(data[position + 5 : position + 7], "big")
            size = width, height
        position += length
    raise FrameError("undecodable", f"more than {MAX_SEGMENTS} segments before the picture")


def _leading_comment(data: bytes) -> bytes | None:
    """The comment segment straight after SOI, if there is one."""
    if data[2:4] != bytes((0xFF, _COMMENT)):
        return None
    length = int.from_bytes(data[4:6], "big")
    return data[6 : 4 + length]


def _check(name: str, value: object, pattern: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII) or not value.strip("."):
        raise FrameError("bad_metadata", f"{name} {_quote(value)}: {pattern} is allowed, not dots alone")


def _quote(value: object) -> str:
    """A hostile value, made fit for one line of a log."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "…"
