"""What is told of an installation: what is waited for, and why it failed."""

from __future__ import annotations

import re
import sys
from typing import Final

COLUMNS: Final = 80

# uv's lines and pip's, the most telling first: what names the package, and the cause in words of ours or of theirs.
_FAILURES: Final = (
    # The build of amazon-kclpy fetches its jars.
    (r"Failed to retrieve \S+/(?P<package>[^/\s]+\.jar): (?P<why>.+)", "amazon-kclpy: its jar {package}: {why}"),
    (r"Hash mismatch for `(?P<package>[^`]+)`", "{package}: what came has another hash than the locked one"),
    (
        r"DO NOT MATCH THE HASHES[^\n]*\n\s+(?P<package>[^\s]+)",
        "{package}: what came has another hash than the locked one",
    ),
    (r"cause: Because (?P<why>.+?) and\s+you\s+require (?P<package>[^\s,]+)", "{package}: {why}"),
    (r"(?P<why>\[Errno [^']+)'\)': \S*?/(?P<package>[^/\s]+)/?\n", "{package}: {why}"),
    (
        r"No matching distribution found for (?P<package>\S+)",
        "{package}: the index has no such version for this Python",
    ),
    (r"Failed building wheel for (?P<package>\S+)", "{package}: its build failed"),
)


def cause(output: str) -> str:
    """The package and the reason in a line, from what uv or pip wrote."""
    for pattern, text in _FAILURES:
        if match := re.search(pattern, output):
            return text.format(**match.groupdict())
    errors = re.findall(r"^(?:error|ERROR|Error): *(.+)", output, re.MULTILINE)
    causes = re.findall(r"^ +cause: (.+)", output, re.MULTILINE)
    if errors and causes:
        named = re.search(r"`([^`\s]+==[^`\s]+)`", output) or re.search(r"Failed to fetch: \S+/([^/\s]+)", output)
        return f"{named[1] if named else errors[0]}: {causes[-1]}"
    lines = output.split("\n")
    return next((line.strip() for line in [*errors, *reversed(lines)] if line.strip()), "no reason was given")


class Waiting:
    """Shows in one line of a terminal which large downloads and builds of uv's are still to come."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._shown = sys.stdout.isatty()

    def note(self, line: str) -> None:
        """Takes a line of uv's, such as " Downloading openvino (56.4MiB)" or " Downloaded openvino"."""
        match = re.match(r" *(Downloading|Building|Downloaded|Built) ([^\s=]+)", line)
        if not match:
            return
        if match[1].endswith("ing"):
            self._names.append(match[2])
        elif match[2] in self._names:
            self._names.remove(match[2])
        if self._shown:
            text = f"  to come: {', '.join(self._names)}" if self._names else ""
            print(f"\r\033[K{text[: COLUMNS - 1]}", end="", flush=True)

    def end(self) -> None:
        """Leaves the line empty."""
        if self._shown:
            print("\r\033[K", end="", flush=True)
