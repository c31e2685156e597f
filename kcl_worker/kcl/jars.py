"""Checks KCL's jars, because building `amazon-kclpy` fetches them without checking any hash.

python -m kcl_worker.kcl.jars
"""

from __future__ import annotations

import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

HASHES: Final = Path(__file__).parent / "jars.sha256"


def check(folder: Path, hashes: Path = HASHES) -> list[str]:
    """Compares the jars of a folder with a list in the form of `sha256sum`; gives the differences."""
    expected = {}
    for line in hashes.read_text().splitlines():
        digest, name = line.split()
        expected[name] = digest
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jar")}
    return sorted(
        [f"{name}: missing" for name in expected.keys() - found.keys()]
        + [f"{name}: not expected" for name in found.keys() - expected.keys()]
        + [f"{name}: another content" for name in expected.keys() & found.keys() if expected[name] != found[name]]
    )


def main() -> int:
    spec = find_spec("amazon_kclpy")
    if spec is None or spec.origin is None:
        print("error: amazon-kclpy is not installed", file=sys.stderr)
        return 1
    problems = check(Path(spec.origin).parent / "jars")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
