"""The unit tests on each Python that is to be had here, in environments of their own: `make test-python`.

A Python is looked for on the path, among pyenv's and among uv's; where uv is there, it is asked to install what is
missing. What is not to be had is named; the status is 1 when a test fails, or when no Python was found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
ROOT = Path(__file__).parent.parent


def candidates(version: str) -> Iterator[str]:
    """Where a Python of this version may be."""
    for folder in os.get_exec_path():
        yield f"{folder}/python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/python")))
    if uv := shutil.which("uv", path=os.pathsep.join([str(ROOT / ".venv" / "bin"), *os.get_exec_path()])):
        subprocess.run([uv, "python", "install", "--no-bin", version], capture_output=True, check=False)
        found = subprocess.run(
            [uv, "python", "find", "--managed-python", version], capture_output=True, text=True, check=False
        )
        yield found.stdout.strip()


def python_of(version: str) -> str | None:
    """A Python that runs and is of this version; pyenv's stand-ins are there but do not always run."""
    for path in filter(shutil.which, candidates(version)):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return path
    return None


def tested(version: str, python: str) -> bool:
    """Whether all unit tests pass on it."""
    environment = f".venv-{version}"
    if subprocess.run(["make", "setup", f"VENV={environment}", f"PYTHON={python}"], cwd=ROOT, check=False).returncode:
        return False
    command = [f"{environment}/bin/python", "-m", "pytest", "-q", "-n", "auto", "-p", "no:cacheprovider", "tests/unit"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main(versions: list[str]) -> int:
    outcomes = {}
    for version in versions:
        python = python_of(version)
        print(f"-- Python {version}: {python or 'none here'}", flush=True)
        outcomes[version] = "none here" if python is None else "passed" if tested(version, python) else "failed"
    print("".join(f"Python {version:6} {outcome}\n" for version, outcome in outcomes.items()), end="")
    return int("failed" in outcomes.values() or "passed" not in outcomes.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(VERSIONS)))
