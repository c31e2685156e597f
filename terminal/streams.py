"""Standard output and standard error of a command line: closed, full, or read by nobody.

What a command says on standard error may get lost, and its work goes on. What it was asked to print may not: the
command ends, in one line. Who reads the output, such as `head`, may have enough of it; that is no error.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO, cast

FAILED: Final = 1
INTERRUPTED: Final = 128 + signal.SIGINT


class OutputError(Exception):
    """Standard output takes no more; no kind of `OSError`, for which others would take the blame.

    Attributes:
        closed_by_reader: Whether whoever read it has closed it.
    """

    def __init__(self, error: OSError | ValueError) -> None:
        super().__init__(error.strerror if isinstance(error, OSError) else str(error))
        self.closed_by_reader = isinstance(error, BrokenPipeError)


@contextmanager
def guarded() -> Iterator[None]:
    """Runs a command; it ends with `FAILED` if its output finds no room, and it succeeded otherwise.

    Ctrl-C ends it with `INTERRUPTED`, where it has no other way to end in good order.
    """
    _fill()
    output, messages = sys.stdout, sys.stderr
    if isinstance(output, io.TextIOWrapper):
        output.reconfigure(errors="backslashreplace")  # as standard error does with what its encoding has not
    sys.stdout, sys.stderr = cast("TextIO", _Output(output)), cast("TextIO", _Messages(messages))
    try:
        yield
        sys.stdout.flush()
    except SystemExit as end:
        try:
            sys.stdout.flush()
        except OutputError as error:
            raise SystemExit(end.code or _status(error)) from None
        raise
    except OutputError as error:
        raise SystemExit(_status(error)) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    finally:
        sys.stdout, sys.stderr = output, messages
        for stream in (output, messages):
            _empty(stream)


def _fill() -> None:
    """Opens what is closed: the next file or socket would get its number, and with it a library's words.

    Output that was closed fails when it is used, as it would have by its number.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free
    # Python has none where it was closed.
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _status(error: OutputError) -> int:
    if error.closed_by_reader:
        return 0
    print(f"error: standard output: {error}", file=sys.stderr)
    return FAILED


def _empty(stream: TextIO) -> None:
    """Python writes the rest of both at its end; if that fails, it says so, with a status of its own."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Messages:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class _Output(_Messages):
    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError) as error:
            raise OutputError(error) from None

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            raise OutputError(error) from None
