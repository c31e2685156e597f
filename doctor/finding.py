"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["well", "unsure", "wrong", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One hop's state.

    Attributes:
        hop: Such as `stream`.
        says: What was found, in plain words.
        advice: What to do about it; empty where nothing is to be done.
        seconds: How long the frame took to here, of a hop of the test frame.
    """

    hop: str
    verdict: Verdict
    says: str
    advice: str = ""
    seconds: float | None = None
