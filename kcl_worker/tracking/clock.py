"""How much time passes between two frames."""

from __future__ import annotations

from typing import Final

# An object that is out of sight for longer gets a new id.
LOST_SECONDS: Final = 2.0


def elapsed(claimed: float, known: float) -> float:
    """Seconds between two frames. A time of capture is a claim: where it leaps, the stream's clock is asked.

    Args:
        claimed: Between their times of capture.
        known: Between their times of arrival on the stream.
    """
    known = max(0.0, known)
    if claimed < 0:
        return known
    return claimed if claimed <= LOST_SECONDS else min(claimed, known)
