"""Starting the pipeline's real processes, knowing when they are ready, ending them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parent.parent
# Interpreters of the extras' own environments; they may not be there.
MODEL_PYTHON: Final = ROOT / ".venv-model" / "bin" / "python"
QUANTISE_PYTHON: Final = ROOT / ".venv-quantise" / "bin" / "python"
START_SECONDS: Final = 60.0


class Process:
    """A Python module of this repository as a process of its own; its group is its own too, so that
    a terminal's Ctrl-C reaches it only through us.

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
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._log = log.open("ab") if log else None
        self.process = subprocess.Popen(
            [str(python), "-m", module, *arguments],
            env={**(env or os.environ), "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
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

    def line(self, timeout: float) -> str | None:
        """The next line of its standard output; None at its end or when none comes in time."""
        try:
            return self._lines.get(timeout=timeout)
        except queue.Empty:
            return None

    def lines(self) -> Iterator[str]:
        """All lines until its end."""
        while (line := self._lines.get()) is not None:
            yield line

    def stop(self, timeout: float = 40.0) -> int:
        """Asks it to end, makes it end when it does not; gives its exit status."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            if self._log:
                self._log.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.decode().rstrip("\n"))
        self._lines.put(None)


class Aws(Process):
    """The embedded AWS.

    Attributes:
        url: Its endpoint.
    """

    def __init__(self, port: int = 0, log: Path | None = None) -> None:
        super().__init__("local.server", "--port", str(port), log=log)
        url = self.line(START_SECONDS)
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

    def wait_for(self, condition: Callable[[], Any], what: str, timeout: float = START_SECONDS) -> Any:
        """Waits until a condition holds; gives what it gave.

        Raises:
            RuntimeError: If the worker ends before, or it takes too long.
        """
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            if not self.alive:
                last = self.log()[-1:] or [{"message": "no log"}]
                raise RuntimeError(f"the worker ended before {what}: {last[0].get('message')}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"no {what} within {timeout:g} s; see {self._path}")
            time.sleep(0.05)
        return result

    def health_port(self) -> int:
        """The port of /health and /status, once it is known."""

        def port() -> int | None:
            return next((int(e["health_port"]) for e in self.log() if "health_port" in e), None)

        return int(self.wait_for(port, "start"))

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Asks /health or /status; gives the code and the JSON."""
        url = f"http://127.0.0.1:{self.health_port()}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def wait_for_shards(self, number: int, timeout: float = START_SECONDS) -> None:
        """Waits until it holds so many shards."""
        self.wait_for(lambda: len(self.get("/status")[1]["shards"]) >= number, f"{number} shards", timeout)
