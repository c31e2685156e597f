"""Tallies: every frame without a message is in one, and in one alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kcl_worker.tracking.events import MARGIN_SECONDS
from kcl_worker.tracking.tally import MAX_SESSIONS, Counted, Tally, count, rest


def counted(number: int, arrived: float, session: str = "s", **values: Any) -> Counted:
    given: dict[str, Any] = {"stored": False, "classes": {}, "zones": {}, "lines": {}, "latency_ms": 5}
    return Counted(
        shard_id="shard", frame_id=f"cam/{session}/{number:09d}", session=session, index=number, arrived=arrived,
        **given | values,
    )  # fmt: skip


def test_a_minute_is_complete_when_a_later_one_begins() -> None:
    open_: dict[str, Tally] = {}
    for number in range(3):
        values: dict[str, Any] = {
            "classes": {"person": number},
            "zones": {"door": 3 - number},
            "lines": {"gate": (1, 0)},
        }
        open_, complete = count(open_, counted(number, 118 + number / 2, latency_ms=number, **values))
        assert complete == []
    open_, [minute] = count(open_, counted(3, 120))
    assert (minute.minute, minute.frames, minute.first_index, minute.last_index) == (60, 3, 0, 2)
    assert (minute.classes, minute.zones, minute.lines) == ({"person": 3}, {"door": 3}, {"gate": (3, 0)})
    assert minute.worst_latency_ms == 2
    assert open_["s"].first_frame_id == "cam/s/000000003"


def test_a_clock_completes_a_minute_that_nothing_follows() -> None:
    open_, _ = count({}, counted(0, 61))
    assert rest(open_, 120 + MARGIN_SECONDS - 0.1) == (open_, [])
    still, complete = rest(open_, 120 + MARGIN_SECONDS)
    assert (still, len(complete)) == ({}, 1)


@given(st.lists(st.tuples(st.floats(0, 50), st.sampled_from("abcdef")), max_size=60), st.floats(-2, 2))
def test_each_frame_is_in_one_tally(steps: list[tuple[float, str]], jitter: float) -> None:
    """Whatever sessions send side by side, and though times of arrival go back a little."""
    arrived, open_, found = 1000.0, dict[str, Tally](), list[Tally]()
    numbers: dict[str, int] = {}
    for place, (step, session) in enumerate(steps):
        arrived += step
        number = numbers[session] = numbers.get(session, -1) + 1
        open_, complete = count(open_, counted(number, arrived + (jitter if place % 2 else 0), session))
        assert len(open_) <= MAX_SESSIONS
        found += complete
    found += rest(open_, arrived + 1000)[1]
    for session, last in numbers.items():
        own = [tally for tally in found if tally.first_frame_id.startswith(f"cam/{session}/")]
        covered = [number for tally in own for number in range(tally.first_index or 0, (tally.last_index or 0) + 1)]
        assert sorted(covered) == list(range(last + 1))
        assert sum(tally.frames for tally in own) == last + 1
