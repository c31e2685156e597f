"""A command's output and messages where nobody takes them, with real processes and real descriptors."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from local.processes import ROOT

COMMAND = """
import sys
from terminal.streams import guarded
with guarded():
    print("a message", file=sys.stderr)
    print("a result", flush={flush})
    sys.exit({status})
"""


def run(redirection: str, *, flush: bool = True, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMMAND.format(flush=flush, status=status)]
    shell = ["bash", "-c", f'set -o pipefail; "$@" {redirection}', "bash", *command]
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    return subprocess.run(shell, env=buffered, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize(
    ("redirection", "status", "output", "messages"),
    [
        ("", 0, "a result\n", "a message\n"),
        (">/dev/full", 1, "", "a message\nerror: standard output: No space left on device\n"),
        (">&-", 1, "", "a message\nerror: standard output: Bad file descriptor\n"),
        ("2>/dev/full", 0, "a result\n", ""),
        ("2>&-", 0, "a result\n", ""),
        ("<&- 2>&-", 0, "a result\n", ""),
        ("2>&- >&-", 1, "", ""),
        ("2>/dev/full >/dev/full", 1, "", ""),
    ],
)
def test_messages_may_get_lost_and_results_may_not(
    redirection: str, status: int, output: str, messages: str, flush: bool
) -> None:
    done = run(redirection, flush=flush)
    assert (done.returncode, done.stdout, done.stderr) == (status, output, messages)


def test_a_reader_may_have_enough() -> None:
    done = run("| (exec <&-; wait)", flush=False)
    assert (done.returncode, done.stderr) == (0, "a message\n")


def test_a_command_that_failed_keeps_its_status() -> None:
    assert run(">/dev/full", flush=False, status=5).returncode == 5


def test_what_was_closed_is_nobody_elses() -> None:
    """The next file gets no number of a standard stream, to which libraries write by themselves."""
    opens = "from terminal.streams import guarded\nwith guarded():\n    assert open('README.md').fileno() > 2"
    shell = ["bash", "-c", '"$@" <&- >&- 2>&-', "bash", sys.executable, "-c", opens]
    assert subprocess.run(shell, cwd=ROOT, check=False).returncode == 0


def test_ctrl_c_has_its_own_status() -> None:
    """Of any command that does not end in good order."""
    wait = "def wait(): raise KeyboardInterrupt\nwith guarded(): typer.run(wait)"
    command = f"import typer\nfrom terminal.streams import guarded\n{wait}"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert "Traceback" not in done.stderr
