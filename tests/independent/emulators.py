"""Emulators that nobody here wrote, one process for each service, each on a free port of the loopback interface."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from kcl_worker.kcl.jvm import find_java
from local.processes import Program
from local.services import REGION, Services
from tests.independent.install import FERROKINESIS, HERE, JARS, LOOPBACK, NODE

# s3rver knows this key alone; the others take any.
S3RVER_KEY: Final = "S3RVER"
# Where a service is sought that has no emulator; nothing goes to AWS.
NOWHERE: Final = "http://127.0.0.1:9"

Emulator = Callable[[Path], tuple[Program, str]]
"""Starts one, with a folder for its log and data; gives the program and its address."""


class MissingError(Exception):
    """An emulator is not installed."""


def kinesis_mock(folder: Path) -> tuple[Program, str]:
    """https://github.com/etspaceman/kinesis-mock"""
    quick = {f"{change}_DURATION": "100ms" for change in ("CREATE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS")}
    # It asks for 4568, and for 4567 with TLS.
    return _node("kinesis-local/main.js", folder, port=4568, environment=quick | {"AWS_REGION": REGION})


def dynalite(folder: Path) -> tuple[Program, str]:
    """https://github.com/architect/dynalite"""
    return _node("dynalite/cli.js", folder, "--createTableMs", "0", "--updateTableMs", "0", port=4567)


def s3rver(folder: Path) -> tuple[Program, str]:
    """https://github.com/jamhall/s3rver"""
    return _node("s3rver/bin/s3rver.js", folder, "--silent", "--directory", str(folder / "s3rver"), port=4568)


def elasticmq(folder: Path) -> tuple[Program, str]:
    """https://github.com/softwaremill/elasticmq"""
    if not JARS.is_dir():
        raise MissingError("ElasticMQ")
    command = [find_java(), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command += [f"-Dconfig.file={HERE / 'elasticmq.conf'}", "-cp", f"{JARS}/*", "org.elasticmq.server.Main"]
    program = Program("elasticmq", command, log=folder / "elasticmq.log")
    return program, _address(program, r"visible server address (http\S+)")


def ferrokinesis(folder: Path) -> tuple[Program, str]:
    """https://github.com/mandrean/ferrokinesis"""
    if not (FERROKINESIS.exists() and LOOPBACK.exists()):
        raise MissingError("ferrokinesis")
    command = [str(FERROKINESIS), "serve", "--region", REGION, "--create-stream-ms", "0", "--log-level", "warn"]
    env = os.environ | {"LD_PRELOAD": str(LOOPBACK)}
    program = Program("ferrokinesis", command, env=env, log=folder / "ferrokinesis.log")
    return program, _address(program, r"^(http\S+)")


@contextmanager
def services(folder: Path, kinesis: Emulator = kinesis_mock) -> Iterator[Services]:
    """One emulator for each service that the pipeline uses.

    Raises:
        MissingError: If one is not installed.
    """
    chosen = {"kinesis": kinesis, "dynamodb": dynalite, "s3": s3rver, "sqs": elasticmq}
    with ExitStack() as stack:
        urls = {}
        for service, start in chosen.items():
            program, urls[service] = start(folder)
            stack.enter_context(program)
            # In good order, kinesis-mock would wait for its clients.
            stack.callback(program.process.kill)
        yield Services(NOWHERE, urls=urls, key=S3RVER_KEY, cbor=True)


def _node(
    script: str, folder: Path, *arguments: str, port: int, environment: dict[str, str] | None = None
) -> tuple[Program, str]:
    name, path, node = script.partition("/")[0], NODE / "node_modules" / script, shutil.which("node")
    if not node or not path.exists():
        raise MissingError(name)
    command = [node, "--require", str(HERE / "loopback.js"), str(path), *arguments]
    env = os.environ | (environment or {})
    # kinesis-mock reads its certificate where it is started.
    program = Program(name, command, env=env, log=folder / f"{name}.log", cwd=path.parent)
    return program, _address(program, rf"{port} (http\S+)")


def _address(program: Program, pattern: str) -> str:
    """Reads the lines of a program up to that which says its address."""
    while (line := program.line()) is not None:
        if found := re.search(pattern, line):
            return found[1]
    program.stop()
    raise RuntimeError("the emulator did not start")
