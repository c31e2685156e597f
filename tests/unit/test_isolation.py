"""Frames that are computed in a process of their own, with decoders that die."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import time
from functools import partial

import numpy as np
import pytest

from contract import Frame, FrameError
from contract.source_settings import DEFAULT
from kcl_worker.doing import NOW
from kcl_worker.errors import ModelError
from kcl_worker.vision.compute import Compute
from kcl_worker.vision.detections import Detections, Image
from kcl_worker.vision.detector import Detector
from kcl_worker.vision.isolation import Isolation
from tests import pictures

GOOD, ABORTS, HANGS, RUNS_OUT = 320, 322, 324, 326


class Mortal(Detector):
    """Dies of images of certain widths."""

    name, class_names, parallelism = "mortal", ("cat",), 1

    def detect(
        self, image: Image, confidence_threshold: float | None = None, max_detections: int | None = None
    ) -> Detections:
        match image.shape[1]:
            case 322:
                os.abort()
            case 324:
                time.sleep(3600)
            case 326:
                raise MemoryError
        box = np.array([[0, 0, 9, 9]], np.float32)
        return Detections(box, np.array([0.75], np.float32), np.array([0], np.int32))


def frame(width: int) -> Frame:
    return Frame.parse(pictures.street_jpeg(width=width))


async def test_it_makes_the_same_picture_as_the_worker() -> None:
    isolation = Isolation(Mortal, 85, 0.5, patience=60)
    isolated = await isolation.picture(frame(GOOD))
    usual = Compute(Mortal(), 85, 0.5).look(frame(GOOD), DEFAULT)
    assert isolated.jpeg == usual.jpeg
    assert isolated.detections.xyxy.tolist() == usual.detections.xyxy.tolist()


async def test_it_glances_as_the_worker_does() -> None:
    isolation = Isolation(Mortal, 85, 0.5, patience=60)
    assert await isolation.glance(frame(GOOD), DEFAULT) == Compute(Mortal(), 85, 0.5).glance_at(frame(GOOD), DEFAULT)


@pytest.mark.parametrize(
    ("width", "cause"),
    [
        (ABORTS, "SIGABRT, SIGABRT"),
        pytest.param(HANGS, "no answer for 5 s", marks=pytest.mark.thorough),
        (RUNS_OUT, "MemoryError"),
    ],
)
async def test_what_kills_is_told_by_its_signal_and_others_pass(width: int, cause: str) -> None:
    isolation = Isolation(Mortal, 85, 0.5, patience=5 if width == HANGS else 60)
    bad = asyncio.create_task(isolation.picture(frame(width)))
    good = asyncio.create_task(isolation.picture(frame(GOOD)))
    with pytest.raises(FrameError, match=cause) as error:
        await bad
    assert error.value.reason == "crashed"
    assert (await good).width == GOOD


async def test_a_bad_picture_is_undecodable_here_too() -> None:
    isolation = Isolation(Mortal, 85, 0.5, patience=60)
    with pytest.raises(FrameError, match="undecodable"):
        await isolation.picture(Frame.parse(pictures.two_sizes((16, 16), (2000, 2000))))


async def test_a_model_that_is_not_there_is_said() -> None:
    isolation = Isolation(partial(sys.exit, 3), 85, 0.5, patience=60)
    with pytest.raises(ModelError):
        await isolation.picture(frame(GOOD))


async def test_a_process_that_dies_before_it_is_ready_counts_as_one_that_died_of_the_frame() -> None:
    isolation = Isolation(partial(os.abort), 85, 0.5, patience=60)
    with pytest.raises(FrameError, match="SIGABRT, SIGABRT"):
        await isolation.picture(frame(GOOD))


async def test_the_end_of_the_worker_is_not_the_frames_doing() -> None:
    isolation = Isolation(Mortal, 85, 0.5, patience=60)
    await isolation.picture(frame(GOOD))
    hanging = asyncio.create_task(isolation.picture(frame(HANGS)))
    while not (multiprocessing.active_children() and NOW.now() and NOW.now()[-1].what == "detect"):
        await asyncio.sleep(0.01)
    isolation.end()
    with pytest.raises(ModelError):
        await hanging
