"""`python3 -m local.install LAYER`: see `local.install`."""

from __future__ import annotations

import argparse
import fcntl
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local.install.environment import Environment, InstallError
from local.install.told import COLUMNS

ROOT: Final = Path(__file__).parent.parent.parent
INTERRUPTED: Final = 130


@dataclass(frozen=True)
class Layer:
    """What one file of requirements is for; `takes` is measured on two cores without any cache."""

    environment: str
    what: str
    takes: str
    # Layers of the same environment that this one holds.
    holds: tuple[str, ...] = ()


LAYERS: Final = {
    "demo": Layer(".venv", "what the demo runs", "0.8 GB, about a minute"),
    "camera": Layer(".venv", "what reads films and cameras", "0.8 GB in all, about a minute", ("demo",)),
    "infra": Layer(".venv", "what deploys", "1.3 GB in all, one or two minutes", ("demo", "camera")),
    "dev": Layer(".venv", "what tests and checks need", "1.5 GB in all, two minutes", ("demo", "camera", "infra")),
    "model": Layer(
        ".venv-model", "what exports models", "3 GB to fetch, 6 GB on the disk (torch with CUDA), ten minutes"
    ),
    "quantise": Layer(".venv-quantise", "what quantises models", "0.5 GB, a minute"),
    "scan": Layer(".venv-scan", "what scans", "0.5 GB, a minute"),
    "cdktn": Layer(".venv-cdktn", "what docs/cdktf.md compares", "0.4 GB, a minute"),
}


def main() -> int:
    """0; 1 where something could not be installed; 130 where Ctrl-C came before the end."""
    parser = argparse.ArgumentParser(prog="local.install", description="install a layer of requirements/")
    parser.add_argument("layer", choices=LAYERS)
    parser.add_argument("--into", metavar="FOLDER", help="another environment than the layer's own")
    args = parser.parse_args()
    try:
        install(args.layer, into=args.into)
    except KeyboardInterrupt:
        print("\ninterrupted; the next call goes on")
        return INTERRUPTED
    except (InstallError, OSError) as error:
        for line in str(error).splitlines():
            print(textwrap.fill(line, COLUMNS, subsequent_indent="  ", break_long_words=False), file=sys.stderr)
        return 1
    return 0


def install(name: str, root: Path = ROOT, into: str | None = None) -> None:
    """Brings one layer into its environment, which is made if need be, and marks it as ready.

    Args:
        into: A folder of `root`; None takes the layer's own.

    Raises:
        InstallError: If a package cannot be installed.
    """
    layer = LAYERS[name]
    folder = root / (into or layer.environment)
    begun = time.monotonic()
    print(f"▸ Installing {layer.what} into {folder.name}: {layer.takes}", flush=True)
    folder.mkdir(exist_ok=True)
    with (folder / ".installing").open("w") as lock, (folder / "install.log").open("w", encoding="utf-8") as log:
        # Two calls at once, as `make -j` makes them, take turns. `.lock` is what uv takes.
        fcntl.flock(lock, fcntl.LOCK_EX)
        environment = Environment(folder, root / "requirements", log)
        environment.install(name)
        if layer.environment == ".venv":
            environment.install_project(root)
        for ready in (*layer.holds, name):
            (folder / f".{ready}").touch()
    print(f"  installed in {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
