"""The sources of pictures: a video, images, a webcam, a network camera, the drawn street."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from producer.address import SCHEMES, is_url, name_of, scheme, shown
from producer.errors import PictureError, SourceError
from producer.picture import Image, Picture, Source, decoded
from producer.street import Street
from producer.video import NetworkCamera, VideoSource, open_url
from producer.webcam import Webcam

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
JPEG_SUFFIXES: Final = frozenset({".jpg", ".jpeg"})
DEMO_FPS: Final = 10.0


class DemoSource(Source):
    """The drawn street; each seed gives another street."""

    native_fps = DEMO_FPS

    def __init__(self, seed: int = 0, fps: float = DEMO_FPS) -> None:
        self._seed, self._fps = seed, fps or DEMO_FPS

    def pictures(self) -> Iterator[Picture]:
        for image in Street(self._seed).frames(self._fps):
            yield Picture(image)


class ImageSource(Source):
    """Image files. JPEGs are passed on as they are; one that cannot be read says so when its pixels are asked for."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def pictures(self) -> Iterator[Picture]:
        for path in self._paths:
            jpeg = None
            if path.suffix.lower() in JPEG_SUFFIXES:
                with suppress(OSError):  # said when its pixels are asked for
                    jpeg = path.read_bytes()
            yield Picture(jpeg=jpeg, render=partial(_pixels, path), name=str(path))


def open_source(text: str, fps: float = 0) -> Source:
    """Opens a SOURCE of the command line, whatever kind it is.

    Raises:
        UnreachedError: If it is a camera that cannot be reached, or a file without a video.
        SourceError: If it cannot be read for another reason; the text says what is allowed.
    """
    try:
        return _opened(text, fps)
    except OSError as error:
        raise SourceError(f"{shown(text)}: {error.strerror}") from None
    except RuntimeError as error:  # `~somebody` who has no home
        raise SourceError(f"{shown(text)}: {error}") from None


def away_source(text: str) -> Source | None:
    """A camera that could not be reached, which is tried again; None if the SOURCE is none."""
    if is_url(text):
        return NetworkCamera(text, None)
    return Webcam(int(text), away=True) if _is_index(text) else None


def source_name(text: str) -> str:
    """Makes a source id from a SOURCE: its file's name, limited to the allowed characters; a URL's host and a hash."""
    if _is_index(text):
        return f"webcam-{int(text)}"
    if is_url(text):
        return name_of(text)
    if shown(text) != text and not os.path.exists(text):  # almost a URL
        return name_of(text)
    name = Path(text).name if os.path.isdir(text) else Path(text).stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:128]
    return name or "source"


def _opened(text: str, fps: float) -> Source:
    if text == "demo" or re.fullmatch(r"demo:\d{1,9}", text):
        return DemoSource(int(text.partition(":")[2] or 0), fps)
    if _is_index(text):
        return Webcam(int(text))
    if is_url(text):
        if scheme(text) not in SCHEMES:
            raise SourceError(f"{shown(text)}: {', '.join(SCHEMES)} are read")
        return open_url(text)
    path = Path(text).expanduser()
    if text and path.is_dir():
        return ImageSource(_images(path.iterdir(), text))
    if path.is_file():
        return ImageSource([path]) if path.suffix.lower() in IMAGE_SUFFIXES else VideoSource(str(path))
    if glob.has_magic(text):
        return ImageSource(_images(_matches(path), text))
    raise SourceError(
        f"{shown(text) or 'an empty SOURCE'}: no such file; a video, a folder or glob of images, a webcam's index, an "
        "RTSP or HTTP URL, or `demo` is allowed"
    )


def _is_index(text: str) -> bool:
    """Whether a SOURCE is a webcam's index. A file of that name is a file."""
    return re.fullmatch(r"[0-9]{1,4}", text) is not None and not os.path.exists(text)


def _images(paths: Iterator[Path], text: str) -> list[Path]:
    images = (path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    found = sorted(images, key=as_numbered)
    if not found:
        raise SourceError(f"{shown(text)}: no images there; {', '.join(sorted(IMAGE_SUFFIXES))} are read")
    return found


def as_numbered(path: Path) -> tuple[list[list[str | int]], str]:
    """A key that sorts paths as people number them: 2 before 10."""
    parts = [re.split(r"(\d+)", part) for part in (*path.parent.parts, path.stem, path.suffix)]
    return [[int(piece) if piece.isdecimal() else piece for piece in part] for part in parts], str(path)


def _matches(pattern: Path) -> Iterator[Path]:
    """The files of a glob. Folders that exist are taken by their names, whatever characters are in them."""
    folder, parts = Path(), list(pattern.parts)
    while len(parts) > 1 and (folder / parts[0]).is_dir():
        folder /= parts.pop(0)
    return (folder / found for found in glob.iglob(str(Path(*parts)), root_dir=folder, recursive=True))


def _pixels(path: Path) -> Image:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror}") from None
    return decoded(data, str(path))
