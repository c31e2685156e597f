"""Waits end when nothing moves, not after a time."""

from __future__ import annotations

import itertools

import pytest

from local.waiting import StoodStillError, wait_for


def test_a_wait_lasts_as_long_as_something_moves() -> None:
    # Each look finds another number, so even no patience at all is not exhausted.
    looks, numbers = itertools.count(), itertools.count()
    assert wait_for(lambda: next(looks) >= 5 and "found", "five looks", lambda: next(numbers), patience=0) == "found"


def test_what_stands_still_is_named_with_its_value() -> None:
    with pytest.raises(StoodStillError, match=r"^no frames for 0 s; stood still at \{'frames': 17\}$"):
        wait_for(lambda: False, "frames", lambda: {"frames": 17}, patience=0)


def test_without_progress_the_whole_wait_is_measured() -> None:
    with pytest.raises(StoodStillError, match=r"^no frames for 0 s$"):
        wait_for(lambda: False, "frames", patience=0)
