"""Starting the pipeline's real processes, knowing when they are ready, ending them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from local import watchdog
from local.waiting import PATIENCE_SECONDS, StoodStillError, wait_for

ROOT: Final = Path(__file__).parent.parent
# Interpreters of the extras' own environments; they may not be there.
MODEL_PYTHON: Final = ROOT / ".venv-model" / "bin" / "python"
QUANTISE_PYTHON: Final = ROOT / ".venv-quantise" / "bin" / "python"
# What only keeps itself alive uses less of a processor in the time that waits are patient.
CPU_STEP_SECONDS: Final = 5.0

_started: Final[list[Program]] = []


def running() -> list[Program]:
    """Those that were started and not yet stopped, and still run; the latest is the last."""
    return [process for process in _started if process.alive]


class Program:
    """A program as a process in a group of its own, so that a terminal's Ctrl-C reaches it only through us. It does not
    outlive us, however we end.

    Args:
        name: How it is called in messages.
        log: Where its standard error goes; shared with ours if None.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._name = name
        self._log = log.open("ab") if log else None
        self._read_lines, self._ended = 0, False
        self.process = subprocess.Popen(
            command,
            env={**(env or os.environ), **watchdog.mark()},
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        _started.append(self)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def line(self, timeout: float | None = None) -> str | None:
        """The next line of its standard output; None at its end or when none comes in time.

        Raises:
            StoodStillError: If, without a timeout, none comes and the process does nothing any more.
        """
        if timeout is None:
            wait_for(lambda: self._ended or not self._lines.empty(), f"line from {self._name}", self.activity)
            timeout = 0
        try:
            return self._lines.get(timeout=timeout)
        except queue.Empty:
            return None

    def lines(self) -> Iterator[str]:
        """All lines until its end."""
        while (line := self._lines.get()) is not None:
            yield line

    def activity(self) -> tuple[int, int, int]:
        """What moves while it works: bytes of its log, lines of its output, steps of its processor time."""
        written = os.fstat(self._log.fileno()).st_size if self._log and not self._log.closed else 0
        return written, self._read_lines, int(cpu_seconds(self.process.pid) // CPU_STEP_SECONDS)

    def wait(self) -> int:
        """Waits for its end; gives its exit status.

        Raises:
            StoodStillError: If it neither ends nor does anything any more.
        """
        wait_for(lambda: not self.alive, f"end of {self._name}", self.activity)
        return int(self.process.returncode)

    def stop(self, within: float | None = None) -> int:
        """Asks it to end, makes it end when it does nothing any more; gives its exit status.

        Args:
            within: After so many seconds it is made to end whatever it does.
        """
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.wait() if within is None else self.process.wait(within)
        except (StoodStillError, subprocess.TimeoutExpired):
            self.process.kill()
            return self.process.wait()
        finally:
            if self in _started:
                _started.remove(self)
            if self._log:
                self._log.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._read_lines += 1
            self._lines.put(line.decode().rstrip("\n"))
        self._lines.put(None)
        self._ended = True


class Process(Program):
    """A Python module of this repository as a process of its own.

    Args:
        module: As in `python -m`.
        log: Where its standard error goes; shared with ours if None.
        python: Another environment's interpreter.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        python: Path | str = sys.executable,
    ) -> None:
        environment = dict(env or os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
        super().__init__(module, [str(python), "-m", module, *arguments], env=environment, log=log)


def cpu_seconds(pid: int) -> float:
    """Seconds of a processor that a process has used; 0 where there is no /proc to tell, and once it is gone."""
    try:
        # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: utime and stime, after the name in brackets
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Aws(Process):
    """The embedded AWS.

    Args:
        tls: A folder with a certificate and its key, which `local.tls` makes; None for plain HTTP.

    Attributes:
        url: Its endpoint.
    """

    def __init__(self, port: int = 0, log: Path | None = None, tls: Path | None = None) -> None:
        encrypted = ("--tls", str(tls)) if tls else ()
        super().__init__("local.server", "--port", str(port), *encrypted, log=log)
        url = self.line()
        if not url:
            self.stop()
            raise RuntimeError("the embedded AWS did not start")
        self.url = url


class Worker(Process):
    """A worker; its log is a file of JSON lines.

    Args:
        module: What runs; tests have workers that fail on purpose.
    """

    def __init__(self, env: Mapping[str, str], log: Path, module: str = "kcl_worker") -> None:
        self._path = log
        self._start = log.stat().st_size if log.exists() else 0
        environment = {**env, "HEALTH_HOST": "127.0.0.1", "HEALTH_PORT": "0"}
        super().__init__(module, env=environment, log=log)

    def log(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        with self._path.open("rb") as file:
            file.seek(self._start)
            text = file.read().decode(errors="replace")
        entries = []
        for line in text.splitlines():
            try:
                entries.append(json.loads(line))
            except ValueError:
                entries.append({"level": "raw", "message": line})
        return entries

    def wait_for(self, condition: Callable[[], Any], what: str, progress: Callable[[], object] | None = None) -> Any:
        """Waits until a condition holds; gives what it gave.

        Args:
            progress: What moves meanwhile; by default what `progress` gives.

        Raises:
            RuntimeError: If the worker ends before, or nothing moves any more.
        """

        def met() -> Any:
            if (result := condition()) or self.alive:
                return result
            last = self.log()[-1:] or [{"message": "no log"}]
            raise RuntimeError(f"the worker ended before {what}: {last[0].get('message')}")

        return wait_for(met, f"{what}, see {self._path}", progress or self.progress)

    def progress(self) -> tuple[object, ...]:
        """What moves while it works: before its start its processor time, then its shards and frames; its log always.

        A worker that answers us uses the processor for that alone, so from its start on it does not count.
        """
        written, _, used = self.activity()
        if not (port := self._port()):
            return written, used
        try:
            status = self._ask(port, "/status")[1]
        except OSError:
            return (written,)
        done = sum(status[name] for name in ("frames", "quarantined", "skipped"))
        return written, len(status["shards"]), done

    def health_port(self) -> int:
        """The port of /health and /status, once it is known."""
        return int(self.wait_for(self._port, "start"))

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Asks /health or /status; gives the code and the JSON."""
        return self._ask(self.health_port(), path)

    @property
    def healthy(self) -> bool:
        """Whether it has begun, and says that it is well."""
        with suppress(OSError):
            return (port := self._port()) is not None and self._ask(port, "/health")[0] == 200
        return False

    def wait_for_shards(self, number: int) -> None:
        """Waits until it holds so many shards."""
        self.wait_for(lambda: len(self.get("/status")[1]["shards"]) >= number, f"{number} shards")

    def _port(self) -> int | None:
        return next((int(entry["health_port"]) for entry in self.log() if "health_port" in entry), None)

    def _ask(self, port: int, path: str) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_SECONDS) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
