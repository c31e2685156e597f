"""A network camera for tests: an RTSP server (RFC 2326) that plays a film, interleaved on a single TCP connection.

The film is an MPEG transport stream, which RTP carries in whole packets (RFC 2250), so that this module need not know
how video is coded.
"""

from __future__ import annotations

import io
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np

from producer.picture import Image

TS_PACKET: Final = 188
TS_PACKETS: Final = 7
MP2T_PAYLOAD: Final = 33


def film(
    images: list[Image], times: list[Fraction], container: str = "mpegts", rate: int = 25, title: str = ""
) -> bytes:
    """Encodes pictures that are shown at these times, in seconds."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        if title:
            output.metadata["title"] = title
        stream = output.add_stream("mpeg4", rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, seconds in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = round(seconds * 1000), Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def grey(level: int, size: int = 64) -> Image:
    return np.full((size, size, 3), level, np.uint8)


class _Connection(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        while request := self._request():
            method, headers = request
            self.server.methods.append(method)
            answer = {"CSeq": headers.get("cseq", "0"), "Session": "1"}
            body = ""
            if method == "DESCRIBE":
                body = f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=film\r\nt=0 0\r\nm=video 0 RTP/AVP {MP2T_PAYLOAD}\r\n"
                answer |= {"Content-Type": "application/sdp", "Content-Length": str(len(body))}
            elif method == "SETUP":
                if "interleaved" not in headers.get("transport", ""):
                    self._answer("461 Unsupported Transport", answer)
                    continue
                answer["Transport"] = "RTP/AVP/TCP;unicast;interleaved=0-1"
            elif method == "OPTIONS":
                answer["Public"] = "DESCRIBE, SETUP, PLAY, TEARDOWN"
            self._answer("200 OK", answer, body)
            if method == "PLAY":
                self._play()
                return

    def _request(self) -> tuple[str, dict[str, str]] | None:
        first = self.rfile.readline().decode()
        headers = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return (first.split()[0], headers) if first.strip() else None

    def _answer(self, status: str, headers: dict[str, str], body: str = "") -> None:
        lines = [f"RTSP/1.0 {status}", *(f"{name}: {value}" for name, value in headers.items())]
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def _play(self) -> None:
        data = self.server.data
        started = time.monotonic()
        size = TS_PACKET * TS_PACKETS
        for number, at in enumerate(range(0, len(data), size)):
            packet = data[at : at + size]
            stamp = int((time.monotonic() - started) * 90_000) & 0xFFFFFFFF
            header = struct.pack(">BBHII", 0x80, MP2T_PAYLOAD, number & 0xFFFF, stamp, 1)
            self.wfile.write(struct.pack(">cBH", b"$", 0, len(header) + len(packet)) + header + packet)
        if self.server.hang.is_set():
            self.server.released.wait(30)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.data = data
        self.methods: list[str] = []
        # A camera that falls silent and keeps the connection.
        self.hang, self.released = threading.Event(), threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the caller has closed the connection

    @property
    def url(self) -> str:
        return f"rtsp://user:secret@127.0.0.1:{self.server_address[1]}/live"


@contextmanager
def camera(data: bytes) -> Iterator[_Server]:
    """Serves a film repeatedly to every caller."""
    with _Server(data) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
