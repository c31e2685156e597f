"""Makes the cache from which the daemon's JVM starts (JEP 483, 514): `python -m local.aot`.

A worker works on the embedded AWS once, from an empty application to its last checkpoint, and the JVM keeps what it has
loaded and linked. Whoever has changed Java or KCL's jars runs this again; until then the JVM starts without.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from kcl_worker.kcl import jvm
from local import tls
from local.processes import Aws, Worker
from local.resources import Resources
from local.rig import QUICK, drain, parts, send_streets
from local.waiting import StoodStillError

CAMERAS, FRAMES = 4, 2
SHARDS: Final = 2
# Machine code would be of this processor, whose instructions the next may lack; it is a hundredth of the cache.
_NO_CODE: Final = ("-XX:+UnlockDiagnosticVMOptions", "-XX:-AOTAdapterCaching", "-XX:-AOTStubCaching")


class TrainingError(RuntimeError):
    """There is no cache; says what the worker said last."""


def make(cache: Path) -> None:
    """Makes the cache beside KCL's jars anew.

    Raises:
        TrainingError: If the worker or its JVM fails.
    """
    cache.unlink(missing_ok=True)  # so that the JVM reads none while it writes one
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = folder / cache.name
        tls.certify(folder)
        os.environ.update(tls.trust(folder))
        with Aws(log=folder / "aws.log", tls=folder) as aws:
            resources = Resources.create(aws.url, shards=SHARDS)
            # The launcher adds them to its command.
            options = [f"-XX:AOTCacheOutput={made}", *_NO_CODE, *tls.java_trust(folder)]
            # The daemon idles for its failover time before it ends.
            quick = QUICK | {"KCL_FAILOVER_SECONDS": "1", "JDK_JAVA_OPTIONS": " ".join(options)}
            environment = resources.environment() | quick | tls.trust(folder)
            try:
                work(resources, environment, folder / "worker.log")
            except (RuntimeError, StoodStillError) as error:
                raise TrainingError(str(error)) from None
        if not made.is_file():
            raise TrainingError(f"the JVM has written no cache:\n{(folder / 'worker.log').read_text()[-3000:]}")
        # Whole or not at all: another daemon may start meanwhile.
        partial = cache.with_suffix(".partial")
        partial.write_bytes(made.read_bytes())
        os.replace(partial, cache)


def work(resources: Resources, environment: dict[str, str], log: Path) -> None:
    """Has a worker process frames; then ends its daemon alone, which a worker would kill when all is checkpointed.

    Raises:
        RuntimeError: If no frame comes through.
    """
    with Worker(environment, log) as worker:
        send_streets(environment, CAMERAS, FRAMES, log.with_name("producer.log"))
        came: list[str] = []

        def all_came() -> bool:
            came.extend(drain(resources, resources.queue_url))
            return len(came) >= CAMERAS * FRAMES

        worker.wait_for(all_came, "every frame")
        [daemon] = parts(worker)["daemon"]
        os.kill(daemon, signal.SIGTERM)
        worker.wait()


def main() -> int:
    cache = jvm.cache()
    try:
        make(cache)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{cache}: {cache.stat().st_size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
