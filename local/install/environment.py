"""A virtual environment, and uv or pip, which install into it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import IO, Final

from local.install.pip_settings import for_uv
from local.install.told import COLUMNS, Waiting, cause

PROJECT: Final = "cv2kinesis"
_BUILD_HASHES: Final = ("--require-build-hashes", "--preview-features", "build-dependency-hashes")
# 60 MB of OpenVINO's: its plugins for other processors than the CPU, and the GPU's tuning.
_UNUSED: Final = ("libopenvino_intel_gpu_plugin.*", "libopenvino_intel_npu_plugin.*", "cache.json")
# The class archive lets the JVM start a second sooner.
_ARCHIVE: Final = (
    "import subprocess; from kcl_worker.kcl.jvm import find_java; "
    "subprocess.run([find_java(), '-Xshare:dump'], stdout=subprocess.DEVNULL)"
)


class InstallError(Exception):
    """An environment cannot be made; says which package is at fault, and why."""


class Environment:
    """A virtual environment and what installs into it.

    Args:
        requirements: The folder of the locked files.
        log: Takes all that pip and uv write.
    """

    def __init__(self, folder: Path, requirements: Path, log: IO[str]) -> None:
        self._folder, self._bin = folder, folder / "bin"
        self.python = str(self._bin / "python")
        self._requirements = requirements
        self._log = log
        if not (self._bin / "pip").exists():
            self._run([sys.executable, "-m", "venv", str(folder)], "making the environment")
        self._uv = self._find_uv()

    def install(self, name: str) -> None:
        """Installs a locked file, only what has its hash there; leaves out what nothing here loads."""
        file = str(self._requirements / f"{name}.txt")
        if self._uv is None:
            self._pip("--use-pep517", "--require-hashes", "--no-deps", "-r", file)
        else:
            # What builds the packages that come as source is locked too.
            build = ("--build-constraints", str(self._requirements / "build.txt"), *_BUILD_HASHES)
            self._uv_pip("--require-hashes", "--no-deps", *build, "-r", file)
        for pattern in _UNUSED:
            for unused in self._folder.glob(f"lib/python*/site-packages/openvino/libs/{pattern}"):
                unused.unlink()

    def install_project(self, root: Path) -> None:
        """Installs this repository as editable, checks the KCL's jars, archives the JVM's classes."""
        arguments = ("--no-deps", "--no-build-isolation", "-e", str(root))
        if self._uv is None:
            self._pip(*arguments)
        else:
            self._uv_pip("--reinstall-package", PROJECT, *arguments)
        self._run([self.python, "-m", "kcl_worker.kcl.jars"], "checking the KCL's jars", cwd=root)
        self._run([self.python, "-c", _ARCHIVE], "archiving the JVM's classes", cwd=root)

    def _find_uv(self) -> str | None:
        uv, file = self._bin / "uv", self._requirements / "uv.txt"
        pinned = re.search(r"^uv==(\S+)", file.read_text(), re.MULTILINE)
        try:
            if not uv.exists() or not pinned or _version(uv) != pinned[1]:
                self._pip("--retries", "1", "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(file))
            _version(uv)
        except (InstallError, OSError, subprocess.SubprocessError) as error:
            reason = str(error).splitlines()[0].removeprefix("error: ")
            text = f"uv cannot be used, pip takes three times as long: {reason}"
            print(textwrap.fill(text, COLUMNS, initial_indent="  ", subsequent_indent="  "), flush=True)
            return None
        return str(uv)

    def _pip(self, *arguments: str) -> None:
        options = ("--quiet", "--disable-pip-version-check")
        self._run([self.python, "-m", "pip", "install", *options, *arguments], "pip install")

    def _uv_pip(self, *arguments: str) -> None:
        assert self._uv is not None
        command = [self._uv, "pip", "install", "--color", "never", "--python", self.python, *arguments]
        self._run(command, "uv pip install", for_uv(self.python))

    def _run(
        self, command: list[str], what: str, settings: dict[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        """Runs a command, whose output goes to the log and tells what is waited for.

        Raises:
            InstallError: If its status is not 0; with the package and the cause.
        """
        lines, waiting = [], Waiting()
        with subprocess.Popen(
            command,
            cwd=cwd,
            env=os.environ | (settings or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                self._log.write(line)
                waiting.note(line)
        waiting.end()
        self._log.flush()
        if process.returncode:
            # A status below 0 is a signal.
            output = "".join(lines) if process.returncode > 0 else f"ended by signal {-process.returncode}"
            raise InstallError(f"error: {what}: {cause(output)}\nall of it: {self._log.name}")


def _version(uv: Path) -> str:
    """What `uv --version` says: "uv 0.13.9 (…)".

    Raises:
        OSError, subprocess.SubprocessError: If it cannot run here.
    """
    done = subprocess.run([str(uv), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[1]
