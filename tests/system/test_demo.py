"""`make demo` as somebody sees it: on a terminal of 80 columns, with Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import numpy as np
import pytest

from local import demo, models
from local.interrupts import STATUS, InterruptionError, Interrupts
from local.processes import ROOT, Worker, running
from local.waiting import wait_for
from local.wanted import FPS, Wanted, choose_rate, native_rate, producer_arguments

COLUMNS = 80
CTRL_C = b"\x03"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
FILM_FRAMES = 6


class Terminal:
    """A demo on a terminal of its own; what it starts bears a mark, by which it can be found."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._mark = f"CV2KINESIS_TEST={uuid4().hex}"
        name, _, value = self._mark.partition("=")
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 40, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local.demo", "--output", "out", *arguments],
            cwd=folder,
            env={**os.environ, name: value, "TERM": "xterm", "PYTHONPATH": str(ROOT)},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # Has the terminal's Ctrl-C reach it.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )
        os.close(slave)
        self._written = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press(self, keys: bytes) -> None:
        """As a keyboard does."""
        os.write(self._master, keys)

    def wait_for(self, text: str) -> None:
        """Waits until it has written something, for as long as it runs."""
        wait_for(lambda: text in self.text or self.process.poll() is not None, text, lambda: self._written)
        assert text in self.text, self.text

    def end(self) -> int:
        """Waits for its end; gives its exit status."""
        status = self.process.wait()
        self._reader.join()
        return status

    @property
    def text(self) -> str:
        """What it has written, without colours and the like."""
        return ESCAPES.sub("", self._written.decode(errors="replace"))

    @property
    def lines(self) -> list[str]:
        """Lines, those that were written over included."""
        return re.split(r"[\r\n]+", self.text)

    def left_behind(self) -> list[str]:
        """Commands of what it has started and still runs."""
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if self._mark.encode() in environment.read_bytes().split(b"\0"):
                    found.append((environment.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def _read(self) -> None:
        with suppress(OSError):  # EIO: nobody writes any more
            while part := os.read(self._master, 65536):
                self._written += part
        os.close(self._master)


@pytest.fixture
def film(tmp_path: Path) -> str:
    """Shorter than anybody would watch."""
    path = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 4, (320, 180))
    for number in range(FILM_FRAMES):
        writer.write(np.full((180, 320, 3), 40 * number, np.uint8))
    writer.release()
    return path


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[list[Terminal]]:
    """Terminals that are closed after the test, whatever came of it."""
    made: list[Terminal] = []
    yield made
    for terminal in made:
        terminal.process.kill()
        terminal.process.wait()


def expect_clean(terminal: Terminal) -> None:
    assert "Traceback" not in terminal.text
    assert [line for line in terminal.lines if len(line) > COLUMNS] == []
    wait_for(lambda: not terminal.left_behind(), "end of all that was started")


@pytest.mark.thorough
def test_a_film_goes_on_until_ctrl_c_which_sums_up(tmp_path: Path, film: str, ended: list[Terminal]) -> None:
    terminal = Terminal(tmp_path, "--source", film)
    ended.append(terminal)
    terminal.wait_for("live page: http://127.0.0.1:")
    # Beyond its end.
    terminal.wait_for(f"film #{2 * FILM_FRAMES}")
    assert "Ctrl-C: summary" in terminal.text
    terminal.press(CTRL_C)
    assert terminal.end() == 0
    figures = dict(re.findall(r"^(frames sent|frames processed|lost) +(\d+)", terminal.text.replace("\r", ""), re.M))
    assert int(figures["frames sent"]) > 2 * FILM_FRAMES
    assert (figures["frames processed"], figures["lost"]) == (figures["frames sent"], "0")
    assert "capture to consumer" in terminal.text
    expect_clean(terminal)


@pytest.mark.thorough
@pytest.mark.parametrize("moment", ["Starting an embedded AWS", "Starting the worker", "Starting consumer"])
def test_ctrl_c_at_the_start_leaves_nothing(moment: str, tmp_path: Path, ended: list[Terminal]) -> None:
    terminal = Terminal(tmp_path)
    ended.append(terminal)
    terminal.wait_for(moment)
    terminal.press(CTRL_C)
    # The last of the moments may be so late that there is something to sum up.
    status = terminal.end()
    assert (status, "everything is shut down" in terminal.text) in ((STATUS, True), (0, False)), terminal.text
    expect_clean(terminal)


def test_ctrl_c_just_before_the_worker_is_there_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the embedded AWS, for which a worker would wait as long as it is let."""

    class Late(Worker):
        def __init__(self, env: dict[str, str], log: Path) -> None:
            signal.raise_signal(signal.SIGINT)
            super().__init__(env, log)

    monkeypatch.setattr(demo, "Worker", Late)
    before = running()
    wanted = Wanted(models.DEMO, None, None, None, 5, tmp_path)
    with Interrupts() as interrupts, pytest.raises(InterruptionError):
        demo.run(wanted, interrupts)
    assert running() == before


@pytest.mark.thorough
def test_a_second_ctrl_c_does_not_wait(tmp_path: Path, ended: list[Terminal]) -> None:
    terminal = Terminal(tmp_path)
    ended.append(terminal)
    terminal.wait_for("street-1 #")
    terminal.press(CTRL_C)
    terminal.wait_for("Ending")
    terminal.press(CTRL_C)
    # All may have come before it was seen.
    assert terminal.end() in (0, STATUS)
    expect_clean(terminal)


@pytest.mark.thorough
def test_without_a_terminal_it_ends_by_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.demo", "--output", "out", "--frames", "5"], cwd=tmp_path, capture_output=True,
        text=True, env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^lost +0", done.stdout, re.M)
    assert [line for line in done.stdout.splitlines() if len(line) > COLUMNS] == []
    assert "Ctrl-C" not in done.stdout


@pytest.mark.parametrize("name", ["--source", "--model"])
def test_what_cannot_be_read_is_told_before_anything_is_started(tmp_path: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.demo", "--output", str(tmp_path), name, "none.mp4"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.startswith("error: none.mp4: no such file")
    assert "Starting" not in done.stdout


def test_what_the_producer_is_asked_for(tmp_path: Path, film: str) -> None:
    model = ROOT / "models" / "street.onnx"
    assert native_rate(film) == 4
    on_a_terminal = Wanted(model, film, 4, None, None, tmp_path)
    assert producer_arguments(on_a_terminal, None) == ["send", film, "--json", "--loop"]
    elsewhere = Wanted(model, None, None, None, 160, tmp_path)
    arguments = producer_arguments(elsewhere, 8.0)
    assert arguments[-4:] == ["--fps", "8", "--limit", "160"]


def test_it_sends_no_more_than_the_machine_takes(tmp_path: Path) -> None:
    model = ROOT / "models" / "street.onnx"
    fast, slow = (list[dict[str, Any]]([{"inference_ms": ms}, {"threads": 2}]) for ms in (20.0, 190.0))
    streets = Wanted(model, None, None, None, None, tmp_path)
    assert choose_rate(streets, fast) == (FPS, False)
    assert choose_rate(streets, slow) == (2.0, True)
    film = Wanted(model, "film.mp4", 25.0, None, None, tmp_path)
    assert choose_rate(film, fast) == (None, False)
    assert choose_rate(film, slow) == (4.0, True)
    # Who asks for a rate has it; where nobody watches, the streets have theirs and films their own.
    assert choose_rate(Wanted(model, None, None, 30.0, None, tmp_path), slow) == (30.0, False)
    assert choose_rate(Wanted(model, None, None, None, 160, tmp_path), slow) == (FPS, False)
    assert choose_rate(Wanted(model, "film.mp4", 25.0, None, 160, tmp_path), slow) == (None, False)
