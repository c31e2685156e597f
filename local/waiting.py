"""Waiting for something as long as it is on its way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

# The longest step in which nothing is seen to move is the start of the daemon until its first lease: some seven
# seconds of a processor. Beside a dozen busy processes for each core that lasts a minute and a half; three times that
# is no patience with what works, and an end to what does not.
PATIENCE_SECONDS: Final = 300.0
PAUSE_SECONDS: Final = 0.1


class StoodStillError(RuntimeError):
    """Nothing has moved for longer than whoever waited was patient."""


def wait_for(
    condition: Callable[[], Any],
    what: str,
    progress: Callable[[], object] | None = None,
    *,
    patience: float = PATIENCE_SECONDS,
) -> Any:
    """Waits until a condition holds; gives what it gave.

    However long that takes: how fast a machine is proves nothing. What ends the wait is that nothing moves.

    Args:
        what: Is waited for, in words.
        progress: Gives what changes while the condition comes nearer, such as a number of frames.
        patience: So many seconds `progress` may give the same; without one, the whole wait.

    Raises:
        StoodStillError: With what has stood still, and at which value.
    """
    seen, since = progress() if progress else None, time.monotonic()
    while not (result := condition()):
        now = time.monotonic()
        if progress and (current := progress()) != seen:
            seen, since = current, now
        if now - since > patience:
            stood = f"; stood still at {seen}" if progress else ""
            raise StoodStillError(f"no {what} for {patience:g} s{stood}")
        time.sleep(PAUSE_SECONDS)
    return result
