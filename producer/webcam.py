"""Webcams on Linux, macOS and Windows."""

from __future__ import annotations

import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from producer.camera import Camera
from producer.errors import SourceError, UnreachedError
from producer.picture import Picture

LINUX_DEVICES: Final = Path("/sys/class/video4linux")
# FFmpeg's names for the systems' camera interfaces; OpenCV numbers devices in the same order.
INTERFACES: Final = {"darwin": "avfoundation", "win32": "dshow"}


class Webcam(Camera):
    """A webcam by its index.

    Uses OpenCV, because the FFmpeg in PyAV's wheels does not support webcams on Linux.

    Args:
        away: Whether it could not be opened, which was told.

    Raises:
        UnreachedError: If it cannot be opened, which was not told.
    """

    def __init__(self, index: int, *, away: bool = False) -> None:
        super().__init__(away=away)
        self._index = index
        self._first: cv2.VideoCapture | None = None if away else self._open()
        fps = float(self._first.get(cv2.CAP_PROP_FPS)) if self._first else 0.0
        self.native_fps = fps if 0 < fps <= 1000 else 0.0

    def connection(self) -> Generator[Picture, None, None]:
        capture, self._first = self._first or self._open(), None
        try:
            while True:
                ok, image = capture.read()
                if not ok:
                    raise SourceError(f"webcam {self._index}: no more pictures")
                yield Picture(np.asarray(image, np.uint8))
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        # What OpenCV says of a device that is not there is said in one line below.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        capture = cv2.VideoCapture(self._index)
        if not capture.isOpened():
            capture.release()
            raise UnreachedError(f"webcam {self._index}: cannot be opened; `producer list` shows those that are there")
        return capture


@dataclass(frozen=True, slots=True)
class Device:
    """A webcam: its index for `producer send`, and its maker's name for it."""

    index: int
    name: str


def devices(platform: str = sys.platform, linux_devices: Path = LINUX_DEVICES) -> list[Device]:
    """Lists the webcams of this machine.

    Raises:
        SourceError: If PyAV is missing, which asks macOS and Windows for their webcams.
    """
    if interface := INTERFACES.get(platform):
        return _ask(interface)
    found = []
    for folder in linux_devices.glob("video*"):
        try:
            # A camera has several nodes; the first gives pictures, the others describe them.
            if (folder / "index").read_text().strip() == "0":
                found.append(Device(int(folder.name.removeprefix("video")), (folder / "name").read_text().strip()))
        except (OSError, ValueError):
            continue
    return sorted(found, key=lambda device: device.index)


def _ask(interface: str) -> list[Device]:
    try:
        import av
    except ModuleNotFoundError:
        raise SourceError("listing webcams needs PyAV: pip install 'cv2kinesis[camera]'") from None
    listed = [device for device in av.enumerate_input_devices(interface) if "video" in device.media_types]
    return [Device(index, device.description) for index, device in enumerate(listed)]
