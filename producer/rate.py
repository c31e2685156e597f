"""Decides when a source's pictures are taken; all times are monotonic, in seconds."""

from __future__ import annotations

from typing import Final, Literal

from producer.picture import Picture, Source

# The automatic rate falls at once by three tenths and rises step by step, as TCP's window does.
AUTO_LOWEST_FPS: Final = 0.2
AUTO_HIGHEST_FPS: Final = 30.0
AUTO_DECREASE: Final = 0.7
AUTO_INCREASE: Final = 0.05
AUTO_STEP_SECONDS: Final = 1.0
# More waiting frames than this mean that the stream is slower than the source.
AUTO_WAITING: Final = 3


# A film may pause for an hour; nobody wants to wait for what it did not see.
LONGEST_PAUSE_SECONDS: Final = 1.0


class Rate:
    """A fixed number of pictures a second.

    Args:
        fps: 0 takes pictures as they come.
        live: Whether pictures that come too early are left out, because a live source cannot wait.
    """

    def __init__(self, fps: float, *, live: bool) -> None:
        self.fps, self._live = fps, live
        self._due: float | None = None

    def wait(self, picture: Picture, now: float) -> float | None:
        """Seconds until a picture should be taken; None to leave it out."""
        if not self.fps:
            return 0.0
        due = now if self._due is None else self._due
        if self._live and now < due:
            return None
        self._due = max(due + 1 / self.fps, now)  # late ones do not pile up
        return max(0.0, due - now)

    def adjust(self, waiting: int, throttled: int, now: float) -> None:
        """Adjusts the rate; called for each picture with the number of waiting frames and of refusals so far."""


class FilmRate(Rate):
    """Takes pictures at the times at which the film shows them, which may be uneven; a gap lasts a second at most."""

    def __init__(self, native_fps: float) -> None:
        super().__init__(native_fps, live=False)
        self._began = 0.0
        self._last: float | None = None

    def wait(self, picture: Picture, now: float) -> float | None:
        if picture.seconds is None:
            return super().wait(picture, now)
        if self._last is None or picture.seconds < self._last:  # the first, also when it begins again
            self._began = max(now, self._due or now) - picture.seconds
        else:
            self._began -= max(0.0, picture.seconds - self._last - LONGEST_PAUSE_SECONDS)
        self._last = picture.seconds
        due = self._began + picture.seconds
        # After a stall of the stream, the film does not hurry to catch up.
        self._began += max(0.0, now - due)
        self._due = due + (1 / self.fps if self.fps else 0.0)
        return max(0.0, due - now)


class AutoRate(Rate):
    """As many pictures as the stream takes, up to the source's own rate."""

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
    """The requested rate; without one, a file's own rate, and a camera's pictures as they come."""
    if fps == "auto":
        return AutoRate(source.native_fps, live=source.live)
    if fps is not None:
        return Rate(fps, live=source.live)
    return Rate(0, live=True) if source.live else FilmRate(source.native_fps)
