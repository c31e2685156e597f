"""Motion JPEG over HTTP: pictures one after another in an answer that never ends.

Cameras put junk between the parts, forget boundaries and miscount lengths, at which FFmpeg gives the connection up. So
the pictures are found by their own markers, whatever stands around them, and passed on as they are.
"""

from __future__ import annotations

import re
import ssl
import string
import time
import urllib.request
from collections.abc import Generator, Iterator
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from typing import Final, Self
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, unquote, urlsplit

from contract.jpeg import EOI, SOI
from producer.address import shown
from producer.errors import UnreachedError
from producer.picture import Picture

TIMEOUT_SECONDS: Final = 10.0
# A camera that keeps its connection open with everything but pictures is called again.
LONGEST_WITHOUT_PICTURE_SECONDS: Final = 30.0
# No camera's picture is larger; bounds what is kept of one without an end.
MAX_BYTES: Final = 32 * 1024 * 1024
# After so many pictures, all without an end, the camera is one that sends none.
ENDLESS_PICTURES: Final = 3
CHUNK_BYTES: Final = 64 * 1024

# How urllib says that it knows no way to log in.
_NO_LOG_IN: Final = ("AbstractDigestAuthHandler ", "AbstractBasicAuthHandler ", "Unsupported digest ")

_SOS: Final = 0xDA
_LONGEST_SOS: Final = 14
# What is neither a coded byte nor a restart.
_MARKER: Final = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")


class JpegFinder:
    """Finds JPEGs among other bytes.

    It walks from marker to marker, because a thumbnail in a picture's header has an end, too. A picture that is cut
    ends where the walk meets no marker, or the beginning of the next picture; that one is not lost. Where all pictures
    are cut so, the camera leaves their ends out, and they are given one.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        # How many were cut by the next one; None once one was whole.
        self._endless: int | None = 0
        self._at = 0  # in a picture, the place of the walk; else 0
        self._in_scan = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Takes the next bytes; yields the pictures that they complete."""
        self._data += data
        while self._at or self._begin():
            end = self._walk()
            if end is None:
                if len(self._data) > MAX_BYTES:
                    self._data.clear()
                    self._at = 0
                return
            if end > 0:
                self._endless = None
                yield bytes(self._data[:end])
            elif self._in_scan and end < -len(SOI) and self._endless is not None:
                self._endless += 1
                if self._endless > ENDLESS_PICTURES:
                    boundary = self._data.rfind(b"\r\n--", 0, -end)
                    yield bytes(self._data[: boundary if boundary > 0 else -end]) + EOI
            del self._data[: abs(end)]
            self._at = 0

    def _begin(self) -> bool:
        """Goes to the first beginning of a picture."""
        start = self._data.find(SOI + b"\xff")
        del self._data[: start if start >= 0 else max(0, len(self._data) - len(SOI))]
        self._at, self._in_scan = (len(SOI) if start >= 0 else 0), False
        return start >= 0

    def _walk(self) -> int | None:
        """Where the picture ends; how many bytes are none, as a negative number; None if more bytes are needed."""
        data = self._data
        while True:
            if self._in_scan:
                found = _MARKER.search(data, self._at)
                if found is None:
                    self._at = max(self._at, len(data) - 1)
                    return None
                self._at = found.start()
            if self._at + 4 > len(data) and data[self._at : self._at + 2] != EOI:
                return None
            first, marker = data[self._at], data[self._at + 1]
            if first != SOI[0] or not (marker == 0xFF or _MARKER.match(data, self._at)):
                return -len(SOI)
            if marker == EOI[1]:
                end = self._at + len(EOI)
                return end if self._in_scan else -end
            if marker == SOI[1]:
                return -self._at
            if marker == 0xFF:  # fill
                self._at += 1
                continue
            length = int.from_bytes(data[self._at + 2 : self._at + 4], "big")
            self._in_scan = marker == _SOS
            if not 2 <= length <= (_LONGEST_SOS if self._in_scan else 0xFFFF):
                return -len(SOI)
            self._at += 2 + length


class MotionJpeg:
    """A camera's answer."""

    def __init__(self, url: str, answer: HTTPResponse) -> None:
        self._url, self._answer = url, answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()

    def pictures(self) -> Generator[Picture, None, None]:
        """Yields its pictures until it ends.

        Raises:
            UnreachedError: If it breaks off or falls silent.
        """
        finder, latest = JpegFinder(), time.monotonic()
        try:
            while data := self._answer.read1(CHUNK_BYTES):
                for jpeg in finder.feed(data):
                    yield Picture(jpeg=jpeg, name="a picture of the camera")
                    latest = time.monotonic()
                if time.monotonic() - latest > LONGEST_WITHOUT_PICTURE_SECONDS:
                    text = f"no whole picture comes for {LONGEST_WITHOUT_PICTURE_SECONDS:g} seconds"
                    raise UnreachedError(f"{shown(self._url)}: {text}")
        except (OSError, HTTPException) as error:
            raise UnreachedError(f"{shown(self._url)}: breaks off: {_why(error)}") from None


def open_motion_jpeg(url: str, *, certain: bool = False) -> MotionJpeg | None:
    """Opens what an HTTP URL leads to if it says that it is Motion JPEG; None if it is for FFmpeg to tell.

    Args:
        certain: It is, whatever it says.

    Raises:
        UnreachedError: If it cannot be reached.
    """
    try:
        parts = urlsplit(url)
        passwords = _Passwords(parts)
    except ValueError:
        return None
    plain = parts._replace(
        netloc=parts.netloc.rpartition("@")[2],
        path=quote(parts.path, safe=string.punctuation),
        query=quote(parts.query, safe=string.punctuation),
        fragment="",
    ).geturl()
    opener = urllib.request.build_opener(
        # Cameras sign their certificates themselves.
        urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),  # noqa: S323
        urllib.request.HTTPBasicAuthHandler(passwords),
        urllib.request.HTTPDigestAuthHandler(passwords),
    )
    opener.addheaders = [("User-Agent", "cv2kinesis"), ("Accept", "*/*")]
    try:
        answer = opener.open(plain, timeout=TIMEOUT_SECONDS)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPException) or (isinstance(error, HTTPError) and error.code < 400):
            return None  # such as another protocol behind a redirection
        raise UnreachedError(f"{shown(url)}: cannot be opened as a video: {_why(error)}") from None
    except ValueError as error:
        if not str(error).startswith(_NO_LOG_IN):
            return None  # such as a name that no host can have
        raise UnreachedError(f"{shown(url)}: cannot be opened as a video: {_answer(401)}") from None
    if certain or answer.headers.get_content_maintype() == "multipart":
        return MotionJpeg(url, answer)
    answer.close()
    return None


class _Passwords(urllib.request.HTTPPasswordMgr):
    """A URL's name and password, for its own scheme, host and port, wherever redirections lead.

    Raises:
        ValueError: If the URL's port is none.
    """

    def __init__(self, parts: SplitResult) -> None:
        super().__init__()
        self._origin = _origin(parts)
        self._known = parts.username is not None
        self._login = unquote(parts.username or ""), unquote(parts.password or "")

    def find_user_password(self, realm: str, authuri: str) -> tuple[str | None, str | None]:
        return self._login if self._known and _origin(urlsplit(authuri)) == self._origin else (None, None)


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _why(error: Exception) -> str:
    """An error's reason without its text, which may hold the URL."""
    if isinstance(error, HTTPError):
        return _answer(error.code)
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        return _why(error.reason)
    if isinstance(error, TimeoutError):
        return f"nothing comes for {TIMEOUT_SECONDS:g} seconds"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _answer(code: int) -> str:
    if code == HTTPStatus.UNAUTHORIZED:
        return "the server answers 401 Unauthorized; is NAME:PASSWORD@ before its host right?"
    try:
        return f"the server answers {code} {HTTPStatus(code).phrase}"
    except ValueError:
        return f"the server answers {code}"
