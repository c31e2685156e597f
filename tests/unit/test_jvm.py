"""The daemon's JVM and its cache, with the real Java: what does not fit is refused, and the JVM starts all the same."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kcl_worker.heap import LEAST_MIB, MOST_MIB
from kcl_worker.kcl import jvm
from kcl_worker.operating import logs
from kcl_worker.settings import Settings

JARS = jvm._jars()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A cache of what the daemon loads until it says how it is called."""
    path = tmp_path_factory.mktemp("trained") / "daemon.aot"
    done = run(jvm.command(settings()), JDK_JAVA_OPTIONS=f"-XX:AOTCacheOutput={path}")
    assert path.is_file(), done
    return path.read_bytes()


@pytest.fixture
def cache(trained: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache beside the jars, in a folder of its own."""
    monkeypatch.setattr(jvm, "_jars", lambda: tmp_path)
    for jar in JARS.glob("*.jar"):
        (tmp_path / jar.name).symlink_to(jar)
    path = tmp_path / "daemon.aot"
    path.write_bytes(trained)
    return path


def settings(**changes: Any) -> Settings:
    values = {"kinesis_stream_name": "s", "s3_bucket_name": "bucket", "sqs_queue_url": "https://sqs/q"}
    return Settings(**values | {"java_heap_mib": LEAST_MIB} | changes)


def run(command: list[str], **env: str) -> list[str]:
    """Lines of a daemon without properties, which says how it is called."""
    done = subprocess.run(
        [*command, "--help"],
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert any("MultiLangDaemon [options]" in line for line in lines), done.stdout
    return lines


def classes(command: list[str]) -> tuple[int, int]:
    """How many of the classes that the JVM loads come from a cache, and how many not."""
    lines = run([command[0], "-Xlog:class+load", *command[1:]])
    loaded = [line for line in lines if " source: " in line]
    cached = sum("shared objects file" in line for line in loaded)
    return cached, len(loaded) - cached


@pytest.mark.slow
@pytest.mark.parametrize("heap", [LEAST_MIB, MOST_MIB])
def test_the_jvm_starts_from_its_cache_whatever_its_heap(cache: Path, heap: int) -> None:
    cached, others = classes(jvm.command(settings(java_heap_mib=heap)))
    assert cached > 20 * others


@pytest.mark.slow
def test_the_jvm_starts_from_its_cache_on_a_processor_without_vectors(cache: Path) -> None:
    command = jvm.command(settings())
    cached, others = classes([command[0], "-XX:UseAVX=0", *command[1:]])
    assert cached > 20 * others


def truncated(cache: Path) -> None:
    os.truncate(cache, cache.stat().st_size // 2)


def empty(cache: Path) -> None:
    cache.write_bytes(b"")


def of_something_else(cache: Path) -> None:
    cache.write_bytes(b"\x7fELF" * 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("change", [truncated, empty, of_something_else])
def test_the_jvm_starts_without_a_cache_that_does_not_fit(
    cache: Path, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    change(cache)
    assert classes(jvm.command(settings()))[0] == 0
    for line in run(jvm.command(settings())):
        logs.relay(line)
    told = [record for record in caplog.records if "[aot]" in record.message]
    assert told
    assert {(record.name, record.levelno) for record in told} == {("kcl", logging.WARNING)}


@pytest.mark.slow
def test_the_jvm_starts_where_it_knows_no_such_cache(cache: Path) -> None:
    command = jvm.command(settings())
    run([part.replace("AOTCache=", "CacheOfTomorrow=") for part in command])


def test_the_jars_have_an_order(cache: Path) -> None:
    command = jvm.command(settings())
    jars = command[command.index("-cp") + 1].split(os.pathsep)
    assert jars == sorted(jars)
    assert {Path(jar).name for jar in jars} == {jar.name for jar in JARS.glob("*.jar")}


def test_without_a_cache_none_is_named(cache: Path) -> None:
    cache.unlink()
    assert not any("AOT" in part for part in jvm.command(settings()))
