from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from contract import Frame, FrameError
from kcl_worker import codec
from kcl_worker.detections import Detections
from tests import pictures

JPEG = pictures.street_jpeg()


@pytest.mark.parametrize("make", [pictures.grey, pictures.cmyk, pictures.progressive])
def test_all_kinds_of_jpeg_look_alike(make: Callable[[], bytes]) -> None:
    usual, image = codec.decode(Frame.parse(JPEG)), codec.decode(Frame.parse(make()))
    assert image.shape == usual.shape == (180, 320, 3)
    # Brightness at least; a CMYK picture taken for an inverted one would be far off.
    assert abs(image.mean() - usual.mean()) < 12


def test_a_rotated_photograph_is_upright() -> None:
    assert codec.decode(Frame.parse(pictures.rotated())).shape == (320, 180, 3)


def test_a_header_that_lies_about_the_size_is_a_frame_or_undecodable() -> None:
    frame = Frame.parse(pictures.resized_header(JPEG, 2000, 3000))
    try:
        codec.decode(frame)
    except FrameError as error:
        assert error.reason == "undecodable"


def test_garbage_between_good_markers_is_undecodable() -> None:
    broken = JPEG.replace(b"\xff\xdb", b"\xff\xec")  # no quantisation tables
    with pytest.raises(FrameError, match="undecodable"):
        codec.decode(Frame.parse(broken))


def test_annotation_draws_within_the_picture_and_always_alike() -> None:
    edges = np.array([[0, 0, 320, 180], [-0.0, 0, 3, 3], [300, 170, 320, 180], [5, 100, 60, 170]], np.float32)
    found = Detections(edges, np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([0, 1, 79, 2], np.int32))
    names = tuple(f"class {number}" for number in range(80))
    drawn = []
    for _ in range(2):
        image = codec.decode(Frame.parse(JPEG))
        codec.annotate(image, found, names)
        drawn.append(codec.encode(image, 85))
    assert drawn[0] == drawn[1]
    assert drawn[0] != codec.encode(codec.decode(Frame.parse(JPEG)), 85)
