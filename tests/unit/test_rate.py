"""Tests of the times at which pictures are taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from producer.picture import Picture, Source
from producer.rate import AUTO_LOWEST_FPS, AutoRate, FilmRate, Rate, choose_rate
from producer.video import VideoSource


def play(rate: Rate, pictures: list[Picture]) -> list[float]:
    """The times at which pictures are taken that are all available at once."""
    now, gone = 100.0, []
    for picture in pictures:
        wait = rate.wait(picture, now)
        if wait is not None:
            now += wait
            gone.append(round(now - 100, 3))
    return gone


def test_a_file_waits_and_a_camera_leaves_out() -> None:
    assert play(Rate(4, live=False), [Picture()] * 4) == [0, 0.25, 0.5, 0.75]
    camera = Rate(10, live=True)
    taken = [n for n in range(50) if camera.wait(Picture(), 100 + n / 25) is not None]
    assert len(taken) == 20  # two seconds


def test_a_film_is_shown_as_it_was_taken() -> None:
    times = [0.0, 0.1, 0.7, 0.8]
    assert play(FilmRate(10), [Picture(seconds=time) for time in times]) == times
    assert play(FilmRate(10), [Picture()] * 3) == [0, 0.1, 0.2]
    twice = [Picture(seconds=time) for time in (0.0, 0.1, 0.2)] * 2
    assert play(FilmRate(10), twice) == [0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_a_gap_in_a_film_lasts_a_second_at_most() -> None:
    times = [0.0, 0.1, 3601.0, 3601.1, 3601.9, 3603.0, 9e9, 9e9]
    assert play(FilmRate(10), [Picture(seconds=time) for time in times]) == [0, 0.1, 1.1, 1.2, 2.0, 3.0, 4.0, 4.0]


def test_no_rate_never_waits() -> None:
    source = Gap()
    assert play(choose_rate(source, 0.0), list(source.pictures())) == [0, 0, 0]


def test_a_film_with_a_gap_as_somebody_met_it(cases: Path) -> None:
    film = VideoSource(str(cases / "video_with_one_hour_gap.mp4"))
    assert film.native_fps == 10
    pictures = list(film.pictures())
    for fps, seconds in ((None, 2.8), (0.0, 0.0), (5.0, 3.8), ("auto", 3.0)):
        times = play(choose_rate(film, fps), pictures)  # type: ignore[arg-type]
        assert len(times) == 20
        assert times[-1] <= seconds


class Gap(Source):
    """A film with an hour's gap."""

    def pictures(self) -> Iterator[Picture]:
        yield from (Picture(seconds=seconds) for seconds in (0.0, 0.1, 3600.0))


def test_a_film_that_had_to_wait_does_not_hurry() -> None:
    rate = FilmRate(10)
    assert rate.wait(Picture(seconds=0.0), 0.0) == 0
    assert rate.wait(Picture(seconds=0.1), 5.0) == 0
    assert rate.wait(Picture(seconds=0.2), 5.0) is not None
    assert rate.wait(Picture(seconds=0.4), 5.0) > 0.29  # type: ignore[operator]


def test_the_automatic_rate_falls_with_throttling_and_rises_again() -> None:
    rate, throttled = AutoRate(20, live=True), 0
    for second in range(10):
        throttled += 1
        rate.adjust(0, throttled, float(second))
    low = rate.fps
    assert AUTO_LOWEST_FPS <= low < 1
    rate.adjust(0, throttled + 1, 9.5)
    assert rate.fps == low  # at most one step a second
    for second in range(10, 40):
        rate.adjust(0, throttled, float(second))
    assert rate.fps == 20
    rate.adjust(30, throttled, 50.0)
    assert rate.fps == 14  # waiting frames have the same effect
