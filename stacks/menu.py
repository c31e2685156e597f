"""The menu of `make menu`. Each choice is a command of the Makefile."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Final

CHOICES: Final[dict[str, tuple[str, list[list[str]]]]] = {
    "1": ("build and deploy", [["deploy"]]),
    "2": ("image only", [["image"]]),
    "3": ("deploy only", [["deploy", "IMAGE=no"]]),
    "4": ("producer: a drawn street, until Ctrl-C", [["send"]]),
    "5": ("consumer: results as they come, until Ctrl-C", [["watch"]]),
    "6": ("full test: frames through the deployed pipeline", [["smoke"], ["status"]]),
}


def main() -> int:
    """Gives the status of the chosen command; 0 if none was chosen."""
    for key, (text, _) in CHOICES.items():
        print(f"  {key}  {text}")
    try:
        choice = input("choose 1 to 6, or Enter to leave: ").strip()
    except (EOFError, KeyboardInterrupt):
        print()
        return 0
    if not choice:
        return 0
    if choice not in CHOICES:
        print(f"error: {choice!r}: 1 to 6 are offered", file=sys.stderr)
        return 2
    # Ctrl-C is for the command, which ends in good order. A handler is not inherited, as ignoring it would be.
    signal.signal(signal.SIGINT, lambda *_: None)
    for command in CHOICES[choice][1]:
        if status := subprocess.run(["make", *command], check=False).returncode:  # noqa: S607
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
