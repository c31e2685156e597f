"""What the demo should show, and how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from producer.sources import open_source

# Of a source that has no rate of its own.
FPS: Final = 8.0
# What the worker does of a frame beside inference, and its share of a machine that does all of the demo.
OTHER_WORK_MS: Final = 10.0
WORKERS_SHARE: Final = 0.4


@dataclass(frozen=True)
class Wanted:
    """What the demo should show.

    Attributes:
        source: What `producer send` takes; None: two drawn streets.
        native: Frames a second that a film or a camera has by itself; None where there is no such rate.
        fps: What is asked for; None: nothing is.
        frames: Of each source; None: until Ctrl-C, or for `SECONDS`.
        output: A folder for logs and pictures.
    """

    model: Path
    source: str | None
    native: float | None
    fps: float | None
    frames: int | None
    output: Path


def native_rate(source: str | None) -> float | None:
    """A film's or camera's frames a second; looks into files before anything is started.

    Raises:
        SourceError: If it cannot be read.
    """
    if source is None:
        return None
    if source.isdecimal() or "://" in source:
        return math.inf  # as its pictures come, which only its start will tell
    return open_source(source).native_fps or None


def choose_rate(wanted: Wanted, log: list[dict[str, Any]]) -> tuple[float | None, bool]:
    """Frames a second of each source, None: its own; and whether that is less than its own.

    Where the demo goes on it sends no more than the machine takes: frames would wait longer and longer.

    Args:
        log: Of a worker that has started; it says how fast the model is.
    """
    if wanted.fps or wanted.frames is not None:
        return wanted.fps or (None if wanted.source else FPS), False
    own = wanted.native or FPS
    entries: dict[str, float] = {name: value for entry in log for name, value in entry.items()}
    frames_a_second = entries["threads"] * 1000 / (entries["inference_ms"] + OTHER_WORK_MS)
    most = max(1.0, round(frames_a_second * WORKERS_SHARE / (1 if wanted.source else 2), 1))
    if own > most:
        return most, True
    return (None if wanted.native else own), False


def producer_arguments(wanted: Wanted, fps: float | None) -> list[str]:
    """Of the producer's command line."""
    streets = ["demo:7", "demo:20", "--source-id", "street-1", "--source-id", "street-2"]
    arguments = ["send", *([wanted.source] if wanted.source else streets), "--json"]
    if fps:
        arguments += ["--fps", f"{fps:g}"]
    # A film begins again, so that somebody who watches sees more than its few seconds.
    return [*arguments, *(["--loop"] if wanted.frames is None else ["--limit", str(wanted.frames)])]
