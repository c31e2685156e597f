from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from local.processes import ROOT
from local.resources import Resources
from producer.motion import LONGEST_SECONDS, ChangeGate
from producer.picture import Image, Picture
from producer.street import Street


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def noisy(image: Image, seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def jpeg(image: Image, quality: int = 60) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


@pytest.mark.parametrize("as_jpeg", [False, True])
def test_noise_does_not_pass_and_a_passer_by_does(as_jpeg: bool) -> None:
    street, gate = Street(3, 1280, 720).frame(1.0), ChangeGate(Clock())

    def passes(image: Image) -> bool:
        return gate.passes(Picture(jpeg=jpeg(image)) if as_jpeg else Picture(image))

    assert passes(street)
    assert not any(passes(noisy(street, seed)) for seed in range(20))
    visitor = street.copy()
    cv2.rectangle(visitor, (600, 300), (630, 380), (20, 20, 200), cv2.FILLED)  # a person far away
    assert passes(noisy(visitor, 99))
    assert not passes(noisy(visitor, 100))
    assert passes(noisy(street, 101))  # and gone again


def test_a_picture_passes_after_a_while_whatever_it_shows() -> None:
    clock = Clock()
    gate, street = ChangeGate(clock), Picture(Street(3, 640, 360).frame(1.0))
    assert gate.passes(street)
    clock.now = LONGEST_SECONDS - 0.1
    assert not gate.passes(street)
    clock.now = LONGEST_SECONDS
    assert gate.passes(street)


def test_slow_movement_adds_up() -> None:
    gate, street = ChangeGate(Clock()), Street(3, 640, 360).frame(1.0)
    gate.passes(Picture(street))
    passed = [gate.passes(Picture(np.clip(street.astype(int) + level, 0, 255).astype(np.uint8))) for level in range(30)]
    assert 1 <= sum(passed) <= 3


def test_what_cannot_be_decoded_is_left_to_others() -> None:
    gate = ChangeGate(Clock())
    assert gate.passes(Picture(jpeg=b"no picture"))
    assert gate.passes(Picture(jpeg=b""))


def test_the_command_counts_what_it_left_out(resources: Resources, tmp_path: Path) -> None:
    still = Street(3, 640, 360).frame(1.0)
    for number in range(20):
        moved = number >= 10
        image = np.ascontiguousarray(still[:, ::-1]) if moved else still
        (tmp_path / f"{number:03}.jpg").write_bytes(jpeg(noisy(image, number)))
    command = [sys.executable, "-m", "producer", "send", str(tmp_path), "--fps", "0", "--on-change", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=resources.environment(), capture_output=True, text=True, check=True)
    [counts] = json.loads(done.stdout)["sources"].values()
    assert (counts["sent"], counts["captured"], counts["unchanged"]) == (2, 2, 18)
