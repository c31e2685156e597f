"""`make local`: what it prints is all that the other commands need."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.processes import ROOT
from local.resources import client
from local.waiting import PATIENCE_SECONDS
from tests.agent import free_port


@pytest.mark.thorough
def test_what_it_prints_is_what_the_commands_need() -> None:
    command = [sys.executable, "-m", "local.playground", "--port", str(free_port())]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as playground:
        assert playground.stdout
        exported = {}
        while match := re.search(r"^(?:export (\w+)=(.+)|# The .+)$", playground.stdout.readline()):
            if match[1]:
                [exported[match[1]]] = shlex.split(match[2])
        assert Path(exported["YOLO_MODEL_PATH"]).is_file()
        queues = client("sqs", exported["AWS_ENDPOINT_URL"]).list_queues()["QueueUrls"]
        assert {exported[name] for name in ("SQS_QUEUE_URL", "QUARANTINE_QUEUE_URL", "EVENTS_QUEUE_URL")} <= set(queues)
        playground.send_signal(signal.SIGINT)
        assert playground.wait(PATIENCE_SECONDS) == 0
