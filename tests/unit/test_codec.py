from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract import Frame, FrameError
from kcl_worker.vision import codec
from kcl_worker.vision.detections import Detections
from kcl_worker.vision.memory import peak_resident
from local.processes import ROOT
from tests import pictures

JPEG = pictures.street_jpeg()


@pytest.mark.parametrize("make", [pictures.grey, pictures.cmyk, pictures.progressive])
def test_all_kinds_of_jpeg_look_alike(make: Callable[[], bytes]) -> None:
    usual, image = codec.decode(Frame.parse(JPEG)), codec.decode(Frame.parse(make()))
    assert image.shape == usual.shape == (180, 320, 3)
    # At least the brightness is right; a CMYK picture that is decoded as inverted would be far off.
    assert abs(image.mean() - usual.mean()) < 12


def test_a_rotated_photograph_is_upright() -> None:
    assert codec.decode(Frame.parse(pictures.rotated())).shape == (320, 180, 3)


def test_a_header_that_lies_about_the_size_is_a_frame_or_undecodable() -> None:
    frame = Frame.parse(pictures.resized_header(JPEG, 2000, 3000))
    try:
        codec.decode(frame)
    except FrameError as error:
        assert error.reason == "undecodable"


@pytest.mark.parametrize("hidden_by", [b"\xff\x00", b"\xff\xd3"])
def test_a_size_that_the_decoder_sees_otherwise_is_refused_before_it_has_memory(hidden_by: bytes) -> None:
    # A parser that is fooled, as ours may be by what nobody has thought of.
    data = pictures.two_sizes((16, 16), (20_000, 20_000), hidden_by)
    fooled = replace(Frame.parse(JPEG).header, width=16, height=16)
    before = peak_resident()
    with pytest.raises(FrameError, match="undecodable: 16x16 pixels in the header, 20000x20000 for the decoder"):
        codec.decode(Frame(data, fooled, None))
    assert peak_resident() - before < 64 * 2**20  # decoded it is 1.2 GB


@pytest.mark.parametrize("sampling", [0x11, 0x21, 0x12, 0x22, 0x41, 0x14, 0x31, 0x13, 0x42])
def test_samplings_that_the_decoder_has_no_name_for_are_decoded(sampling: int) -> None:
    start = JPEG.index(b"\xff\xc0")
    data = JPEG[: start + 11] + bytes([sampling]) + JPEG[start + 12 :]
    assert codec.decode(Frame.parse(data)).shape == (180, 320, 3)
    rescaled = pictures.resized_header(data, 400, 100)
    lying = Frame(rescaled, Frame.parse(data).header, None)
    with pytest.raises(FrameError, match="320x180 pixels in the header, 400x100 for the decoder"):
        codec.decode(lying)


MEASURE = """
import re, sys
from contract import Frame
from kcl_worker.vision import codec
from kcl_worker.vision.footprint import footprint
from tests import pictures
def resident(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
# The first picture of either decoder loads its code.
for jpeg in (pictures.street_jpeg(), pictures.rotated()):
    codec.encode(codec.decode(Frame.parse(jpeg)), 85)
frame = Frame.parse(sys.stdin.buffer.read())
open("/proc/self/clear_refs", "w").write("5")
before = resident("VmRSS")
codec.encode(codec.decode(frame), 85)
print(resident("VmHWM") - before, footprint(frame))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of memory are Linux' to tell")
@pytest.mark.parametrize("size", [(1600, 1200), (4000, 3000)])
@pytest.mark.parametrize("kind", ["baseline", "progressive", "grey", "cmyk", "progressive cmyk", "rotated"])
def test_a_frame_takes_no_more_memory_than_its_header_lets_expect(kind: str, size: tuple[int, int]) -> None:
    make: dict[str, Callable[[], bytes]] = {
        "baseline": pictures.street_jpeg, "progressive": pictures.progressive, "grey": pictures.grey,
        "cmyk": pictures.cmyk, "progressive cmyk": lambda: pictures.heavy(1, 1), "rotated": pictures.rotated,
    }  # fmt: skip
    data = pictures.resized_header(make[kind](), *size)
    ran = subprocess.run([sys.executable, "-c", MEASURE], input=data, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    took, expected = map(int, ran.stdout.split())
    assert took <= expected
    # Nor does it keep others waiting for nothing.
    assert expected < 2.5 * took + 8 * 2**20


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
