"""A frame on the stream: a JPEG file that may carry what is known about it.

The metadata travels in one JPEG comment segment straight after the start of the image, so that a
record opens in any viewer and any producer of plain JPEGs works:

    FF D8  FF FE <length> {"v":1,"source":"cam-1","session":"9f2c…","index":17,"captured_at":"…"}  …

Other comments may stand there too: encoders sign their files so, and some cameras add JSON of their own.
Ours is a JSON object that names its version `v` and a `source`, `session` or `captured_at`; any other is
passed over. Without ours, the frame counts as plain.

Only the standard library is imported here, and no byte is trusted: whatever is parsed is a frame
or raises `FrameError`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from contract.errors import FrameError
from contract.jpeg import COMMENT, SOI, Header, check_picture, read_header

MAX_METADATA_BYTES: Final = 1024
MAX_INDEX: Final = 10**15

DEFAULT_MAX_PIXELS: Final = 50_000_000
DEFAULT_MAX_BYTES: Final = 10 * 1024 * 1024

# Names become part of S3 keys and file names: no separators, no control characters, and `_check`
# refuses names of dots alone.
SOURCE_PATTERN: Final = r"[A-Za-z0-9._-]{1,128}"
SESSION_PATTERN: Final = r"[A-Za-z0-9]{1,64}"
_START_OF_COMMENT: Final = bytes((0xFF, COMMENT))
# A field's name in our metadata, also where the JSON around it is damaged.
_FIELD: Final = re.compile(rb'"(v|source|session|captured_at)"\s*:')
_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{6})Z", re.ASCII)


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
        header: What stands before the picture.
        metadata: None for a plain JPEG.
    """

    jpeg: bytes
    header: Header
    metadata: Metadata | None

    @property
    def width(self) -> int:
        """In pixels, before any EXIF rotation."""
        return self.header.width

    @property
    def height(self) -> int:
        """In pixels, before any EXIF rotation."""
        return self.header.height

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
        header = read_header(data)
        size, pixels = f"{header.width}x{header.height} pixels", header.width * header.height
        if pixels == 0:
            raise FrameError("undecodable", f"{size} in the header")
        if pixels > max_pixels:
            raise FrameError("too_many_pixels", f"{size}: at most {max_pixels} are allowed")
        check_picture(data, header.scan)
        comment = next((comment for comment in _leading_comments(data) if _is_ours(comment)), None)
        return cls(data, header, None if comment is None else Metadata.from_json(comment))


def embed(jpeg: bytes, metadata: Metadata) -> bytes:
    """Puts metadata into a JPEG, in place of any that is there; other comments stay.

    Raises:
        FrameError: `not_jpeg`.
    """
    if not jpeg.startswith(SOI):
        raise FrameError("not_jpeg", "metadata can be embedded in a JPEG only")
    text = metadata.to_json()
    segments, rest = [_comment_segment(text)], len(SOI)
    for comment in _leading_comments(jpeg):
        rest += 4 + len(comment)
        if not _is_ours(comment):
            segments.append(_comment_segment(comment))
    return b"".join((SOI, *segments, memoryview(jpeg)[rest:]))


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


def _leading_comments(data: bytes) -> Iterator[bytes]:
    """The whole comment segments that follow SOI without anything between them."""
    position = len(SOI)
    while data[position : position + 2] == _START_OF_COMMENT:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if not position + 4 <= end <= len(data):
            return
        yield data[position + 4 : end]
        position = end


def _comment_segment(text: bytes) -> bytes:
    return _START_OF_COMMENT + (len(text) + 2).to_bytes(2, "big") + text


def _is_ours(comment: bytes) -> bool:
    """Whether a comment is meant to be our metadata, right or wrong."""
    fields = set(_FIELD.findall(comment)) if comment.startswith(b"{") else set()
    return b"v" in fields and len(fields) > 1


def _check(name: str, value: object, pattern: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII) or not value.strip("."):
        raise FrameError("bad_metadata", f"{name} {_quote(value)}: {pattern} is allowed, not dots alone")


def _quote(value: object) -> str:
    """A hostile value, made fit for one line of a log."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "…"
