"""Ctrl-C and SIGTERM end the producer in any state, with a status of its own and without a traceback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from audit import read_ledger
from local.faults import Fault, FaultControl
from local.processes import ROOT, Aws
from local.resources import Resources
from local.waiting import wait_for
from producer.stopping import TOGETHER_SECONDS

SIGNALS = [signal.SIGINT, signal.SIGTERM]
SEND = [sys.executable, "-m", "producer", "send"]


@contextmanager
def silent_server() -> Iterator[tuple[str, threading.Event]]:
    """Takes connections and says nothing; gives its address, and an event for the first connection."""
    called, kept = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return
                called.set()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", called
        server.shutdown(socket.SHUT_RDWR)


def start(command: list[str], resources: Resources, **variables: str) -> subprocess.Popen[str]:
    environment = resources.environment() | variables
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def ended(producer: subprocess.Popen[str], number: int) -> tuple[int, str, str]:
    """Sends a signal; gives status, output and errors."""
    os.kill(producer.pid, number)
    output, errors = producer.communicate()
    assert "Traceback" not in errors
    return producer.returncode, output, errors


@pytest.mark.parametrize("scheme", ["rtsp", pytest.param("http", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("number", SIGNALS)
def test_while_a_camera_is_opened(resources: Resources, scheme: str, number: int) -> None:
    with silent_server() as (address, called):
        producer = start([*SEND, f"{scheme}://{address}/live", "--json"], resources)
        assert called.wait(300)
        assert ended(producer, number) == (128 + number, "", "")


HANGING_LOOK_UP = """
import ctypes, sys
from producer import cli
from producer.__main__ import main

def hang(*_):
    print("looking up", flush=True)
    while True:
        ctypes.CDLL(None).sleep(60)  # native code, as the look-up of a name

cli.open_source = hang
sys.argv = ["producer", "send", "rtsp://camera.invalid/"]
main()
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_while_native_code_hangs(resources: Resources, number: int) -> None:
    producer = start([sys.executable, "-c", HANGING_LOOK_UP], resources)
    assert producer.stdout
    assert producer.stdout.readline() == "looking up\n"
    assert ended(producer, number) == (128 + number, "", "")


def test_while_the_stream_is_out_of_reach_at_the_start(resources: Resources) -> None:
    with silent_server() as (address, called):
        producer = start([*SEND, "demo", "--endpoint-url", f"http://{address}"], resources)
        assert called.wait(300)
        assert ended(producer, signal.SIGTERM) == (143, "", "")


def put_requests(control: FaultControl) -> int:
    return control.requests().get("kinesis:PutRecords", 0)


@contextmanager
def meeting(aws: Aws, resources: Resources, fault: Fault, *options: object) -> Iterator[subprocess.Popen[str]]:
    """A producer that has sent frames and then meets a fault, for which it would have patience."""
    control = FaultControl(aws.url)
    before = put_requests(control)
    producer = start([*SEND, "demo", "--fps", "100", "--json", *map(str, options)], resources)

    def more_than(number: int) -> None:
        wait_for(lambda: put_requests(control) > number or producer.poll() is not None, "request")

    more_than(before + 1)  # so one has been answered
    control.add(fault)
    try:
        more_than(put_requests(control))
        yield producer
    finally:
        control.clear()


@pytest.mark.parametrize(
    "kind",
    [
        "throttle",
        "partial",
        pytest.param("slow", marks=pytest.mark.thorough),
        pytest.param("reset", marks=pytest.mark.thorough),
    ],
)
def test_while_the_stream_takes_nothing(aws: Aws, resources: Resources, tmp_path: Path, kind: str) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with meeting(aws, resources, Fault(kind, "kinesis", "PutRecords", delay=60), "--ledger", ledger) as producer:
        status, output, errors = ended(producer, signal.SIGTERM)
    counts = json.loads(output)["sources"]["demo"]
    assert status == 143
    assert counts["captured"] == counts["sent"] + counts["unsent"]
    noted = read_ledger(ledger)
    assert [frame.index for frame in noted] == list(range(counts["sent"] + counts["unanswered"]))
    assert [frame.index for frame in noted if not frame.answered] == [counts["sent"]] * counts["unanswered"]
    if kind != "partial":
        assert counts["unanswered"] or kind == "throttle"
        but = "; 1 of them it may have taken, without an answer" if counts["unanswered"] else ""
        assert errors == f"error: {counts['unsent']} frames were not sent: the stream did not take them in time{but}\n"


@pytest.mark.thorough
def test_while_a_camera_is_away(aws: Aws, resources: Resources) -> None:
    with silent_server() as (address, _):
        control = FaultControl(aws.url)
        before = put_requests(control)
        producer = start([*SEND, "http://127.0.0.1:9/", f"rtsp://{address}/", "demo", "--json"], resources)
        wait_for(lambda: put_requests(control) > before or producer.poll() is not None, "frame")
        status, output, errors = ended(producer, signal.SIGTERM)
    assert status == 5
    assert json.loads(output)["sent"] > 0
    assert errors.splitlines()[-1].endswith(": never reached")


STOPPING = """
import sys, threading, time
from producer.stopping import signals

signals.take()
asked = threading.Event()

def stop():
    print("stopping", flush=True)
    asked.set()

with signals.stopping(stop):
    print("running", flush=True)
    asked.wait()
    time.sleep(float(sys.argv[1]))
    print("summary", flush=True)
signals.leave(143)
"""


@contextmanager
def stopping(seconds: float, errors: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """A process whose orderly stop takes so long, after its first signal."""
    command = [sys.executable, "-c", STOPPING, str(seconds)]
    environment = os.environ | {"TERM": "xterm"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        yield process


def test_a_second_signal_ends_it_at_once() -> None:
    with stopping(60) as process:
        time.sleep(TOGETHER_SECONDS + 0.1)
        assert ended(process, signal.SIGINT)[:2] == (130, "")


def test_signals_that_come_together_are_one() -> None:
    with stopping(1) as process:
        assert ended(process, signal.SIGTERM)[:2] == (143, "summary\n")


def test_a_stop_that_takes_too_long_leaves_the_terminals_cursor_shown() -> None:
    ours, theirs = os.openpty()
    with stopping(60, theirs) as process:
        assert process.wait() == 143
        assert os.read(ours, 100) == b"\x1b[?25h"
    os.close(ours)
    os.close(theirs)


def unshare() -> list[str]:
    """A command that runs another as the first process of a container; empty where that is not allowed."""
    command = [shutil.which("unshare") or "", "--pid", "--fork", "--mount-proc", "--kill-child"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return command


@pytest.mark.skipif(not unshare(), reason="unshare is not here or not allowed")
@pytest.mark.parametrize("command", [["demo", "--json"], ["rtsp://{address}/"]], ids=["sending", "opening"])
def test_as_the_first_process_of_a_container(aws: Aws, resources: Resources, command: list[str]) -> None:
    """To which the kernel passes no signal that has no handler; `docker stop` sends SIGTERM."""
    with silent_server() as (address, called):
        control = FaultControl(aws.url)
        before = put_requests(control)
        words = [word.format(address=address) for word in command]
        contained = start([*unshare(), *SEND, *words], resources)
        wait_for(lambda: called.is_set() or put_requests(control) > before, "request")
        children = f"/proc/{contained.pid}/task/{contained.pid}/children"
        with open(children) as file:
            [first] = file.read().split()
        os.kill(int(first), signal.SIGTERM)
        output, errors = contained.communicate()
    assert contained.returncode == 143, errors
    assert not output or json.loads(output)["sent"] > 0
    assert "Traceback" not in errors
