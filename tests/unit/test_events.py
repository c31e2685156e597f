"""Events: what starts and ends them, what does not, and that nothing of it hangs on when a worker died."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from contract.event_rules import Rule
from kcl_worker.tracking.events import (
    MARGIN_SECONDS,
    MAX_OPEN,
    SILENCE_SECONDS,
    Change,
    Crossing,
    Mark,
    Sight,
    Thing,
    Watch,
    WatchState,
)

RULES: TypeAdapter[tuple[Rule, ...]] = TypeAdapter(tuple[Rule, ...])
FPS = 10
Told = tuple[str, str, str]


def rules(**values: Any) -> tuple[Rule, ...]:
    return RULES.validate_python([{"name": "it", **values}])


def thing(name: str = "person", track: str | None = "t-1", zones: Sequence[str] = ("door",), score: float = 1) -> Thing:
    return Thing(name, 0.9, (0, 0, 0.1, 0.1), track, frozenset(zones), score)


def sight(number: int, *things: Thing, crossings: Sequence[Crossing] = (), clock: float | None = None) -> Sight:
    name = f"cam/s/{number:09d}"
    at = number / FPS if clock is None else clock
    mark = Mark(
        clock=at, frame_id=name, captured_at=f"at {at:.1f}", key=name, shown=bool(things), shard_id="s",
        sequence_number=str(number),
    )  # fmt: skip
    return Sight(mark, things, crossings)


def story(wanted: tuple[Rule, ...], sights: Sequence[Sight], watch: Watch | None = None) -> list[Change]:
    watch = watch or Watch("cam")
    return [change for one in sights for change in watch.add(one, one.mark.clock, wanted)]


def told(changes: Sequence[Change]) -> list[tuple[str, str, str]]:
    """Phase and frames of what starts and ends."""
    return [
        (change.phase, change.happening.first.frame_id[-3:], change.happening.last.frame_id[-3:])
        for change in changes
        if change.phase != "better"
    ]


def film(pattern: str, *things: Thing) -> list[Sight]:
    """Ten frames a second: `x` where the things are there, `.` where they are not."""
    return [sight(number, *(things or (thing(),) if letter == "x" else ())) for number, letter in enumerate(pattern)]


def test_somebody_appears_and_goes() -> None:
    wanted = rules(kind="appear", classes=["person"], zone="door")
    changes = story(wanted, film("..." + "x" * 20 + "." * 30))
    assert told(changes) == [("start", "003", "008"), ("end", "003", "022")]
    [start, end] = changes
    assert start.happening.event_id == end.happening.event_id
    assert (end.happening.frames, end.happening.most, end.happening.tracks) == (20, 1, ("t-1",))


@pytest.mark.parametrize(
    "pattern",
    [
        "x." * 3 + "." * 30,  # too short
        "x" * 4 + "." * 30,
        "." * 40,
    ],
)
def test_what_flickers_is_no_event(pattern: str) -> None:
    assert story(rules(kind="appear"), film(pattern)) == []


def test_an_occlusion_makes_no_second_event() -> None:
    changes = story(rules(kind="appear"), film("x" * 10 + "." * 15 + "x" * 10 + "." * 30))
    assert [phase for phase, *_ in told(changes)] == ["start", "end"]


@pytest.mark.parametrize("other", [thing("car"), thing(zones=("road",))])
def test_others_do_not_count(other: Thing) -> None:
    assert story(rules(kind="appear", classes=["person"], zone="door"), film("x" * 20, other)) == []


def test_a_cooldown_keeps_the_next_one_away() -> None:
    two = "x" * 10 + "." * 25 + "x" * 10 + "." * 25
    assert len(told(story(rules(kind="appear"), film(two)))) == 4
    assert len(told(story(rules(kind="appear", cooldown_seconds=5), film(two)))) == 2


def test_somebody_has_left() -> None:
    changes = story(rules(kind="leave"), film("x" * 20 + "." * 30))
    assert told(changes) == [("start", "019", "019"), ("end", "019", "019")]
    assert changes[0].happening.best


def test_who_stays_too_long_has_an_event_of_his_own() -> None:
    wanted = rules(kind="dwell", zone="door", seconds=3)
    sights = [sight(number, thing(track="a"), *([thing(track="b")] if number < 20 else [])) for number in range(60)]
    changes = story(wanted, sights)
    assert told(changes) == [("start", "000", "030")]
    assert changes[0].happening.tracks == ("a",)


def test_each_crossing_is_an_event() -> None:
    wanted = rules(kind="cross", line="gate", direction="in")
    there, back = Crossing("gate", "t-1", inward=True), Crossing("gate", "t-1", inward=False)
    crossings = {5: [there], 8: [back], 20: [there, Crossing("fence", "t-1", inward=True)]}
    sights = [sight(number, thing(), crossings=crossings.get(number, [])) for number in range(25)]
    changes = story(wanted, [*sights, *(sight(number) for number in range(25, 60))])
    assert told(changes) == [
        ("start", "005", "005"), ("end", "005", "019"), ("start", "020", "020"), ("end", "020", "024")
    ]  # fmt: skip
    assert {change.happening.direction for change in changes} == {"in"}


def test_more_than_so_many() -> None:
    crowd = [thing(track=f"t-{number}") for number in range(3)]
    assert told(story(rules(kind="count", more_than=2), film("x" * 20 + "." * 30, *crowd))) != []
    assert story(rules(kind="count", more_than=3), film("x" * 20 + "." * 30, *crowd)) == []


def test_a_picture_is_shown_again_only_if_it_is_clearly_better() -> None:
    sights = [sight(number, thing(score=1 + number / 20)) for number in range(40)]
    better = [change for change in story(rules(kind="appear"), sights) if change.phase == "better"]
    assert 3 <= len(better) <= 10  # of forty frames, each a little better than the one before
    assert all(change.happening.best for change in better)


def test_a_rule_that_is_gone_or_another_one_ends_what_it_began() -> None:
    watch = Watch("cam")
    story(rules(kind="appear"), film("x" * 20), watch)
    changes = watch.add(sight(20, thing()), 2.0, rules(kind="appear", min_seconds=3))
    assert told(changes) == [("end", "000", "019")]
    assert watch.running() == ()


def test_hostile_pictures_open_no_more_than_so_many() -> None:
    crowd = [thing(track=f"t-{number}") for number in range(1000)]
    changes = story(rules(kind="dwell", seconds=1), film("x" * 15, *crowd))
    assert len(changes) == MAX_OPEN


# -- silence


def silence(wanted: tuple[Rule, ...], gap: float, *, clocked: bool) -> list[Change]:
    """Frames, a gap, and another frame; with a look at the end of the shard in between."""
    watch = Watch("cam")
    changes = story(wanted, film("x" * 20), watch)
    if clocked:
        changes += watch.rest(1.9 + gap, wanted)
    return changes + watch.add(sight(20, thing(), clock=1.9 + gap), 1.9 + gap, wanted)


@pytest.mark.parametrize("gap", [7, SILENCE_SECONDS + 2, SILENCE_SECONDS + MARGIN_SECONDS + 1, 500])
def test_a_clock_says_what_the_next_frame_would_say(gap: float) -> None:
    for wanted in (rules(kind="appear"), rules(kind="silent", seconds=10), rules(kind="dwell", seconds=1)):
        assert told(silence(wanted, gap, clocked=True)) == told(silence(wanted, gap, clocked=False))


def test_a_silent_source_ends_what_it_showed_and_has_an_event() -> None:
    both = RULES.validate_python([{"name": "a", "kind": "appear"}, {"name": "b", "kind": "silent", "seconds": 60}])
    watch = Watch("cam")
    story(both, film("x" * 20), watch)
    assert not watch.is_due(1.9 + SILENCE_SECONDS, both)
    assert watch.is_due(1.9 + 40, both)
    assert told(watch.rest(1.9 + 40, both)) == [("end", "000", "019")]
    assert not watch.is_due(1.9 + 60, both)
    assert told(watch.rest(1.9 + 70, both)) == [("start", "019", "019")]
    assert watch.rest(1.9 + 80, both) == []
    assert told(watch.add(sight(20, clock=100), 101.9, both)) == [("end", "019", "020")]


def test_whether_somebody_has_left_is_not_known_of_a_silent_source() -> None:
    assert silence(rules(kind="leave"), 100, clocked=True) == []


# -- state

EVERYTHING = RULES.validate_python([
    {"name": "a", "kind": "appear"}, {"name": "l", "kind": "leave"}, {"name": "d", "kind": "dwell", "seconds": 1},
    {"name": "c", "kind": "cross", "line": "gate", "cooldown_seconds": 1},
    {"name": "n", "kind": "count", "more_than": 1, "min_seconds": 0}, {"name": "s", "kind": "silent", "seconds": 5},
])  # fmt: skip
MOMENTS = st.tuples(
    st.sampled_from([0.1, 0.1, 0.1, 0.5, 3.0, 7.0, 40.0]),
    st.lists(st.sampled_from(["t-1", "t-2", "t-3", None]), max_size=3),
    st.booleans(),
)


@given(st.lists(MOMENTS, max_size=40), st.data())
def test_another_worker_goes_on_wherever_the_first_one_died(moments: list[Any], data: st.DataObject) -> None:
    clock, sights = 0.0, []
    for number, (step, tracks, crosses) in enumerate(moments):
        clock += step
        crossings = [Crossing("gate", track, inward=True) for track in {*tracks} - {None}] if crosses else []
        sights.append(sight(number, *(thing(track=track) for track in tracks), crossings=crossings, clock=clock))
    whole = story(EVERYTHING, sights)
    place = data.draw(st.integers(0, len(sights)))
    first = Watch("cam")
    before = story(EVERYTHING, sights[:place], first)
    second = Watch("cam", WatchState.model_validate_json(first.state.model_dump_json()))
    assert before + story(EVERYTHING, sights[place:], second) == whole
    ids = [change.happening.event_id for change in whole if change.phase == "start"]
    assert len(ids) == len(set(ids))
    ended = {change.happening.event_id for change in whole if change.phase == "end"}
    assert {*ids} - ended == {
        happening.event_id
        for state in second.state.rules.values()
        for happening in state.happenings.values()
        if happening.event_id
    }


# -- what a review has found


def test_a_second_silence_within_the_cooldown_is_told_when_that_is_over() -> None:
    wanted = rules(kind="silent", seconds=10, cooldown_seconds=30)
    watch = Watch("cam")
    story(wanted, film("x" * 20), watch)
    watch.add(sight(20, clock=22), 21.9 + 1, wanted)  # silent for 21 s, and back
    last = 22.9
    assert watch.rest(last + MARGIN_SECONDS + 12, wanted) == []
    assert not watch.is_due(last + MARGIN_SECONDS + 12, wanted)
    assert [phase for phase, *_ in told(watch.rest(last + MARGIN_SECONDS + 31, wanted))] == ["start"]


def test_who_waits_for_silence_has_something_to_tell() -> None:
    watch = Watch("cam")
    story(rules(kind="silent"), film("...."), watch)
    assert watch.has_open()
