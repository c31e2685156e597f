"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["well", "unsure", "wrong", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one hop.

    Attributes:
        hop: Such as `stream`.
        says: What was found, in plain words.
        advice: What to do about it; empty if nothing is to be done.
        seconds: How long the test frame took to this hop; None for other checks.
    """

    hop: str
    verdict: Verdict
    says: str
    advice: str = ""
    seconds: float | None = None
