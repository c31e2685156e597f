"""Ctrl-C and SIGTERM, whatever the producer does just then.

Python runs a handler in the main thread, once that comes back from native code. The look-up of a camera's name keeps it
for a minute. So a thread of its own takes the signals, those of a container's first process too, which the kernel keeps
from a process without a handler.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

# After the signal, frames are sent for so long; and whatever happens, the process has ended after so long.
DRAIN_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 1.8
# Signals so close together are one: systemd sends it to each process, and a wrapper passes its own on.
TOGETHER_SECONDS: Final = 0.5
_SHOW_CURSOR: Final = b"\x1b[?25h"
# Exit statuses.
INTERRUPTED: Final = 128 + signal.SIGINT
TERMINATED: Final = 128 + signal.SIGTERM


class Signals:
    """Ends the process with 128 and the signal's number: at once, or after an orderly stop where there is one.

    Attributes:
        received: The first signal's number; None before.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._stop: Callable[[], None] | None = None
        self._sockets: tuple[socket.socket, socket.socket] | None = None

    def take(self) -> None:
        """Takes the signals from now on; must be called in the main thread, a second time to no effect."""
        if self._sockets:
            return
        self._sockets = told, _ = socket.socketpair()
        told.setblocking(False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._wait, args=self._sockets[1:], name="signals", daemon=True).start()

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Has the first signal call `stop` in another thread; a later one, or too long a stop, ends the process."""
        self._stop = stop
        try:
            yield
        finally:
            self._stop = None

    def leave(self, status: object) -> None:
        """Ends the process if a signal has come, without the interpreter's farewell, which may last a second."""
        if self.received and isinstance(status, int):
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(status)

    def _wait(self, heard: socket.socket) -> None:
        number = heard.recv(1)[0]
        self.received, came = number, time.monotonic()
        if stop := self._stop:
            stop()
            while (left := came + LONGEST_SECONDS - time.monotonic()) > 0:
                heard.settimeout(left)
                with suppress(TimeoutError):
                    again = heard.recv(1)[0]
                    if time.monotonic() - came > TOGETHER_SECONDS:
                        number = again
                        break
        _show_cursor()
        os._exit(128 + number)


def _show_cursor() -> None:
    """Shows a terminal's cursor, which the live table hides. Rich's lock may be taken for ever by now."""
    with suppress(OSError, ValueError):
        if sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
            os.write(sys.stderr.fileno(), _SHOW_CURSOR)


signals: Final = Signals()
