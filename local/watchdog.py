"""What this process starts does not outlive it, even when it is killed with -9.

Every process that is started from here carries a mark in its environment, which its own children inherit, those in
sessions of their own included. A watchdog process holds the other end of a pipe; when this process is gone, however it
went, the kernel closes the pipe, and the watchdog kills whoever carries the mark.

    environment = os.environ | watchdog.mark()

Linux tells environments in /proc, macOS by `ps -E`; both for processes of the same user.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

VARIABLE = "CV2KINESIS_STARTED_BY"
# A process that the kernel cannot end now, as one in a broken file system, is not waited for without end.
KILLING_SECONDS = 60.0

_lock = threading.Lock()
_value = f"{os.getpid()}-{uuid4().hex}"
# Its pipe is open as long as we live.
_watchdog: subprocess.Popen[bytes] | None = None


def mark() -> dict[str, str]:
    """The variable that dooms whoever has it to end with this process; the first call starts the watchdog."""
    global _watchdog
    with _lock:
        if _watchdog is None:
            _watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(__file__)), f"{VARIABLE}={_value}"],
                # Not one of those that another watchdog ends, nor one that a terminal's Ctrl-C ends before the others.
                env={name: text for name, text in os.environ.items() if name != VARIABLE},
                start_new_session=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    return {VARIABLE: _value}


def carriers(text: str) -> Iterator[int]:
    """Processes with these words in their environment."""
    if Path("/proc/self/environ").exists():
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if text.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)
        return
    listed = subprocess.run(["ps", "-axEww", "-o", "pid=,command="], capture_output=True, text=True, check=False)  # noqa: S607
    for line in listed.stdout.splitlines():
        number, _, command = line.strip().partition(" ")
        if text in command.split():
            yield int(number)


def main() -> None:
    """Waits for the end of whoever started it, then ends what that one left behind."""
    text = sys.argv[1]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while sys.stdin.buffer.read(4096):
        pass
    deadline = time.monotonic() + KILLING_SECONDS
    # Again, until none is left: one that was being started may have come in between.
    while (left := [pid for pid in carriers(text) if pid != os.getpid()]) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
