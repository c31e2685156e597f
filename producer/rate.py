"""When a source's pictures go, by the time of a clock in seconds that only grows."""

from __future__ import annotations

from typing import Final, Literal

from producer.picture import Picture, Source

# The automatic rate: down at once by three tenths, up again a step at a time, as TCP does with its window.
AUTO_LOWEST_FPS: Final = 0.2
AUTO_HIGHEST_FPS: Final = 30.0
AUTO_DECREASE: Final = 0.7
AUTO_INCREASE: Final = 0.05
AUTO_STEP_SECONDS: Final = 1.0
# Frames that wait for the stream; more say that it is slower than the source.
AUTO_WAITING: Final = 3


class Rate:
    """So many pictures a second.

    Args:
        fps: 0 takes pictures as they come.
        live: Whether pictures that come too early are left out, for they cannot wait.
    """

    def __init__(self, fps: float, *, live: bool) -> None:
        self.fps, self._live = fps, live
        self._due: float | None = None

    def wait(self, picture: Picture, now: float) -> float | None:
        """Seconds until a picture should go; None: leave it out."""
        if not self.fps:
            return 0.0
        due = now if self._due is None else self._due
        if self._live and now < due:
            return None
        self._due = max(due + 1 / self.fps, now)  # late ones do not pile up
        return max(0.0, due - now)

    def adjust(self, waiting: int, throttled: int, now: float) -> None:
        """Told at each picture how many frames wait for the stream, and how often it has refused some so far."""


class FilmRate(Rate):
    """As a film shows its pictures, which need not be evenly."""

    def __init__(self, native_fps: float) -> None:
        super().__init__(native_fps, live=False)
        self._began = 0.0
        self._last: float | None = None

    def wait(self, picture: Picture, now: float) -> float | None:
        if picture.seconds is None:
            return super().wait(picture, now)
        if self._last is None or picture.seconds < self._last:  # the first, also when it begins again
            self._began = max(now, self._due or now) - picture.seconds
        self._last = picture.seconds
        due = self._began + picture.seconds
        # A stream that is slower than the film does not make it hurry afterwards.
        self._began += max(0.0, now - due)
        self._due = due + (1 / self.fps if self.fps else 0.0)
        return max(0.0, due - now)


class AutoRate(Rate):
    """As many as the stream takes, up to the source's own rate."""

    def __init__(self, native_fps: float, *, live: bool) -> None:
        super().__init__(native_fps or AUTO_HIGHEST_FPS, live=live)
        self._highest = self.fps
        self._throttled = 0
        self._adjusted_at: float | None = None

    def adjust(self, waiting: int, throttled: int, now: float) -> None:
        if self._adjusted_at is not None and now - self._adjusted_at < AUTO_STEP_SECONDS:
            return
        if throttled > self._throttled or waiting > AUTO_WAITING:
            self.fps = max(AUTO_LOWEST_FPS, self.fps * AUTO_DECREASE)
        else:
            self.fps = min(self._highest, self.fps + self._highest * AUTO_INCREASE)
        self._throttled, self._adjusted_at = throttled, now


def choose_rate(source: Source, fps: float | Literal["auto"] | None) -> Rate:
    """The rate that is asked for; without one a file's own, and a camera's as its pictures come."""
    if fps == "auto":
        return AutoRate(source.native_fps, live=source.live)
    if fps is not None:
        return Rate(fps, live=source.live)
    return Rate(0, live=True) if source.live else FilmRate(source.native_fps)
