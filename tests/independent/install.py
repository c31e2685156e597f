"""Installs the emulators that others wrote, in pinned versions: `python -m tests.independent.install`.

They lie in `.independent`: npm compares what it gets with package-lock.json, uv with the hashes in requirements.txt,
and ElasticMQ's jars are compared with jars.sha256. What this machine has no tool for is left out, and its tests say so.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kcl_worker.kcl import jars
from local.processes import ROOT

HERE: Final = Path(__file__).parent
FOLDER: Final = ROOT / ".independent"
NODE: Final = FOLDER / "node"
JARS: Final = FOLDER / "jars"
PYTHON: Final = FOLDER / "python"
FERROKINESIS: Final = FOLDER / "bin" / "ferrokinesis"
LOOPBACK: Final = FOLDER / "bin" / "loopback.so"
FERROKINESIS_VERSION: Final = "0.7.0"


def node() -> None:
    """kinesis-mock, dynalite and s3rver."""
    NODE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, NODE)
    # None of them needs what packages do when they are installed: classic-level brings its library built.
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(NODE))


def elasticmq() -> None:
    """ElasticMQ and what it needs."""
    shutil.rmtree(JARS, ignore_errors=True)
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    run("mvn", "--quiet", "--batch-mode", "--file", str(HERE / "pom.xml"), goal, f"-DoutputDirectory={JARS}")
    if problems := jars.check(JARS, HERE / "jars.sha256"):
        shutil.rmtree(JARS)
        raise SystemExit("error: " + "\nerror: ".join(problems))


def aggregation() -> None:
    """AWS's own library that aggregates records."""
    requirements = str(HERE / "requirements.txt")
    run("uv", "pip", "install", "--quiet", "--require-hashes", "--target", str(PYTHON), "-r", requirements)


def ferrokinesis() -> None:
    """ferrokinesis, which is compiled: a quarter of an hour on two cores."""
    if not FERROKINESIS.exists():
        version = f"ferrokinesis@{FERROKINESIS_VERSION}"
        run("nice", "cargo", "install", "--quiet", "--locked", "--root", str(FOLDER), version)
    run("cc", "-shared", "-fPIC", "-o", str(LOOPBACK), str(HERE / "loopback.c"), "-ldl")


def run(*command: str) -> None:
    """Runs a command; what this environment has goes before the machine's."""
    here = str(Path(sys.executable).parent)
    subprocess.run([shutil.which(command[0], path=here) or command[0], *command[1:]], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="install emulators that others wrote")
    parser.add_argument("--compile", action="store_true", help="those too that have to be compiled")
    chosen = (("cargo", ferrokinesis),) if parser.parse_args().compile else QUICK
    for tool, install in chosen:
        if tool == "uv" or shutil.which(tool):
            install()
        else:
            print(
                f"▸ no {tool} here: {(install.__doc__ or '').partition(',')[0].rstrip('.')} left out", file=sys.stderr
            )
    return 0


QUICK: Final[tuple[tuple[str, Callable[[], None]], ...]] = (("npm", node), ("mvn", elasticmq), ("uv", aggregation))

if __name__ == "__main__":
    sys.exit(main())
