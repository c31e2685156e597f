"""Computes frames in a process of their own, which may die of them."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, TypeVar

from contract import Frame, FrameError
from contract.source_settings import DEFAULT, SourceSettings
from kcl_worker.doing import doing
from kcl_worker.errors import ModelError
from kcl_worker.kinship import die_with_parent
from kcl_worker.vision.compute import Compute, Picture
from kcl_worker.vision.detector import Detector

Answer = TypeVar("Answer", Picture, bytes)

# One death may be somebody else's doing, such as that of a kernel short of memory; two are the frame's.
ATTEMPTS: Final = 2
START_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Child:
    process: BaseProcess
    connection: Connection


class Isolation:
    """Looks and glances as `Compute` does, a frame at a time, in a child process that lives while there are frames.

    Args:
        load: Loads the child's detector; goes to the child by name, with its arguments.
        quality, confidence_threshold: As of `Compute`.
        patience: Seconds that a frame may take.
    """

    def __init__(
        self, load: Callable[[], Detector], quality: int, confidence_threshold: float, patience: float
    ) -> None:
        self._load, self._quality, self._threshold, self._patience = load, quality, confidence_threshold, patience
        self._turn = asyncio.Lock()
        self._wanted, self._ended = 0, False
        self._child: _Child | None = None

    async def picture(self, frame: Frame, settings: SourceSettings = DEFAULT) -> Picture:
        """Waits for its turn, then for the child's work.

        Raises:
            FrameError: `undecodable`; `crashed` if it kills the child, or the child does not come back from it.
            ModelError: If the child does not start.
        """
        return await self._in_child(Picture, frame, settings)

    async def glance(self, frame: Frame, settings: SourceSettings) -> bytes:
        """Waits and raises as `picture`."""
        return await self._in_child(bytes, frame, settings)

    async def _in_child(self, kind: type[Answer], frame: Frame, settings: SourceSettings) -> Answer:
        self._wanted += 1
        with doing("isolation"):
            async with self._turn:
                return await asyncio.to_thread(self._work, kind, frame, settings)

    def end(self) -> None:
        """Ends the child, whatever it does; there will be no other."""
        self._ended = True
        if child := self._child:
            child.process.kill()

    def _work(self, kind: type[Answer], frame: Frame, settings: SourceSettings) -> Answer:
        try:
            return self._try(kind, frame, settings)
        finally:
            self._wanted -= 1
            if not self._wanted:
                self._close()

    def _try(self, kind: type[Answer], frame: Frame, settings: SourceSettings) -> Answer:
        causes = []
        for _ in range(ATTEMPTS):
            answer = self._ask(kind, frame, settings)
            if isinstance(answer, FrameError):
                raise answer
            if isinstance(answer, kind):
                return answer
            causes.append(str(answer))
        raise FrameError("crashed", f"a process that works on it ends each time: {', '.join(causes)}")

    def _ask(self, kind: type[Answer], frame: Frame, settings: SourceSettings) -> Answer | FrameError | str:
        """Gives what the child made of a frame, or what the child died of."""
        if self._child is None and (cause := self._start()):
            return cause
        child = self._child
        assert child is not None
        answer: Answer | tuple[str, str] | str
        try:
            child.connection.send((kind is Picture, frame, settings))
            with doing("detect"):  # and all else
                answered = child.connection.poll(self._patience)
            if not answered:
                self._close()
                return f"no answer for {self._patience:g} s"
            answer = child.connection.recv()
        except (EOFError, OSError):
            if self._ended:  # it was us
                raise ModelError("the worker ends") from None
            child.process.join()
            cause = _cause(child.process)
            self._close()
            return cause
        if isinstance(answer, str):
            self._close()  # who knows what such an error has left
            return answer
        return answer if isinstance(answer, kind) else FrameError(*answer)  # type: ignore[misc]

    def _close(self) -> None:
        if self._child:
            self._child.process.kill()
            self._child.process.join()
            self._child.connection.close()
            self._child = None

    def _start(self) -> str | None:
        """Starts the child; gives what it died of, if a signal ended it before it was ready.

        Raises:
            ModelError: If it does not start for another reason.
        """
        context = multiprocessing.get_context("spawn")
        connection, far_end = context.Pipe()
        process = context.Process(
            target=_serve, args=(far_end, self._load, self._quality, self._threshold), name="isolation", daemon=True
        )
        process.start()
        far_end.close()
        with suppress(EOFError, OSError):
            if not self._ended and connection.poll(START_SECONDS) and connection.recv():
                self._child = _Child(process, connection)
                return None
            process.kill()  # it has come to nothing in all that time
            process.join()
            raise ModelError("the process for suspicious frames does not start")
        process.join()
        if self._ended or (process.exitcode or 0) >= 0:
            raise ModelError("the process for suspicious frames does not start")
        return _cause(process)  # such as the kernel, for lack of memory


def _cause(process: BaseProcess) -> str:
    """What a process that has ended died of."""
    status = process.exitcode or 0
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _serve(connection: Connection, load: Callable[[], Detector], quality: int, confidence_threshold: float) -> None:
    """The child: answers frames with pictures until the worker has gone."""
    die_with_parent()
    # A terminal's Ctrl-C reaches it too; it must not look like the frame's doing.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where memory runs out, the kernel is to take this process and not the worker.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    compute = Compute(load(), quality, confidence_threshold)
    with suppress(EOFError, OSError):  # the worker has gone
        connection.send(True)
        while True:
            looks, frame, settings = connection.recv()
            connection.send(_answer(compute, frame, settings, looks=looks))


def _answer(
    compute: Compute, frame: Frame, settings: SourceSettings, *, looks: bool
) -> Picture | bytes | tuple[str, str] | str:
    """A picture or what a glance gives; a reason and its detail; or what a worker would have ended with."""
    try:
        return compute.look(frame, settings, always_draw=True) if looks else compute.glance_at(frame, settings)
    except FrameError as error:
        return error.reason, error.detail
    except Exception as error:
        return type(error).__name__
