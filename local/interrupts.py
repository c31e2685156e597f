"""Ctrl-C while processes are started, watched and stopped: noted at once, acted on where nothing can be left behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

from local.processes import running

# Ctrl-C, an end that is asked for, a terminal that is closed.
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STATUS: Final = 130
"""Exit status of what was interrupted before it had anything to say, as shells have it."""


class InterruptionError(Exception):
    """The work should not go on."""


class Interrupts:
    """Counts signals that ask for an end, instead of raising wherever the program happens to be.

    Each also asks the process that was started last to end, so that whoever waits for it waits no longer; once more,
    and it hurries. The others are ended by their `with` blocks, in order. Whoever has started a process calls `check`:
    a signal just before has ended the one before it, which it may need.

    Attributes:
        count: Signals so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._patient = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises:
        InterruptionError: If a signal has come.
        """
        if self.count:
            raise InterruptionError

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Has signals counted only: whoever works in the block looks at `count`."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def _on_signal(self, _number: int, _frame: Any) -> None:
        self.count += 1
        if not self._patient:
            for process in running()[-1:]:
                process.process.terminate()
