"""How long to wait before the next attempt."""

from __future__ import annotations

import random


def full_jitter(attempt: int, base: float, cap: float) -> float:
    """Seconds to wait after an attempt, counted from 1: random, up to `base` doubled with each attempt, at most `cap`.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return random.uniform(0, min(cap, base * 2.0 ** min(attempt, 64)))  # noqa: S311
