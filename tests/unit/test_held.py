"""Frames that are held for events: whose memory they take."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from kcl_worker.held import Held, HeldFrame, HeldMemory
from kcl_worker.looked import Looked

KIB = 1024
BEFORE_SECONDS = 5.0


def hold(shard: Held, source: str, frames: int, size: int) -> list[HeldFrame]:
    made = [frame(source, number / 10, size) for number in range(frames)]
    for one in made:
        shard.add(one, BEFORE_SECONDS)
    return made


def frame(source: str, clock: float, size: int) -> HeldFrame:
    looked: Any = SimpleNamespace(
        identity=SimpleNamespace(source=source),
        entry=SimpleNamespace(held=False),
        frame=SimpleNamespace(jpeg=b"x" * size),
        picture=SimpleNamespace(jpeg=b"", candidates=()),
    )
    return HeldFrame(clock, cast(Looked, looked))


def held(frames: list[HeldFrame]) -> int:
    return sum(one.looked.entry.held for one in frames)


def test_a_heavy_camera_takes_no_memory_from_one_in_another_shard() -> None:
    memory = HeldMemory(1024 * KIB)
    here, there = Held(memory), Held(memory)
    heavy = hold(here, "heavy", 40, 100 * KIB)
    light = hold(there, "light", 20, 4 * KIB)
    assert held(light) == 20
    assert 0 < held(heavy) < 10
    assert memory.used <= memory.most


def test_who_holds_the_most_bytes_gives_up_not_who_holds_the_most_frames() -> None:
    memory = HeldMemory(1024 * KIB)
    shard = Held(memory)
    light = hold(shard, "light", 30, 4 * KIB)
    heavy = hold(shard, "heavy", 20, 100 * KIB)
    assert held(light) == 30
    assert 0 < held(heavy) < 10


def test_all_that_is_let_go_is_given_back() -> None:
    memory = HeldMemory(1024 * KIB)
    here, there = Held(memory), Held(memory)
    hold(here, "door", 60, KIB)  # more than five seconds
    hold(there, "yard", 5, KIB)
    taken = there.take("yard", 0.2)
    assert memory.used > 0
    there.done(taken)
    here.close()
    there.close()
    assert (memory.used, memory.shares) == (0, {})
