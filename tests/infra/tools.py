"""Builds tools of the infrastructure's tests from Go modules, in pinned versions: `python -m tests.infra.tools tflint`.

They lie in `.tools`. The module proxy has their sources; Go compares what these need with their go.sum, and this module
compares the sources with the hashes here. tflint and its rules take eight minutes of a core, OpenTofu takes seven.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local.processes import ROOT

FOLDER: Final = ROOT / ".tools"
TFLINT: Final = FOLDER / "tflint"
TOFU: Final = FOLDER / "tofu"
PLUGINS: Final = FOLDER / "plugins"  # TFLINT_PLUGIN_DIR
GO: Final = "/usr/local/go/bin/go"  # where Go's own installer puts it


@dataclass(frozen=True, slots=True)
class Tool:
    """A program of a Go module.

    Attributes:
        hash: Of the module's sources, as in a go.sum.
        package: Of the program, within the module.
    """

    path: Path
    module: str
    version: str
    hash: str
    package: str = "."


TOOLS: Final = {
    "tflint": (
        Tool(
            TFLINT, "github.com/terraform-linters/tflint", "v0.61.0",
            "h1:fWYy7c28oxku/OGeyOX/FaHDRVzsTbEAog1BL0JS/Xs=",
        ),
        Tool(
            PLUGINS / "tflint-ruleset-aws", "github.com/terraform-linters/tflint-ruleset-aws", "v0.36.0",
            "h1:5oxkziXug7SPNmsxIzdw80LgMuOPWD4AKWJyLKju3cE=",
        ),
    ),
    "tofu": (
        Tool(
            TOFU, "github.com/opentofu/opentofu", "v1.10.10", "h1:ELFHOkY0x/bHvkgBP4KK3i7Y19CSFuHOyeZOLc0cqWY=",
            "./cmd/tofu",
        ),
    ),
}  # fmt: skip


def main() -> int:
    """Builds what is named and not there yet."""
    go = shutil.which("go") or (GO if Path(GO).exists() else "")
    if not go:
        print("skipped: Go is not installed", file=sys.stderr)
        return 0
    for tool in (tool for name in sys.argv[1:] for tool in TOOLS[name]):
        if not tool.path.exists():
            build(go, tool)
    return 0


def build(go: str, tool: Tool) -> None:
    """Builds a tool within its own module: `go install` refuses a module that replaces others."""
    module = f"{tool.module}@{tool.version}"
    got = json.loads(subprocess.run([go, "mod", "download", "-json", module], capture_output=True, check=True).stdout)
    if got["Sum"] != tool.hash:
        raise SystemExit(f"error: {module} has the hash {got['Sum']}, not {tool.hash}")
    tool.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        # The sources in Go's cache cannot be written, and are not to be.
        sources = shutil.copytree(got["Dir"], Path(folder) / "sources", copy_function=shutil.copyfile)
        for path in (sources, *sources.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        subprocess.run(
            # Without paths in it, Go's cache serves the next checkout as well.
            ["nice", go, "build", "-trimpath", "-o", str(tool.path), tool.package],
            cwd=sources, env=os.environ | {"GOFLAGS": "-mod=readonly -buildvcs=false"}, check=True,
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
