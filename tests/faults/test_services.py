"""Services that fail for a while, one after the other, under load: nothing is lost, nobody is restarted, no storm."""

from __future__ import annotations

import os
import time

import pytest

from local.faults import Fault, FaultControl
from tests.faults.conftest import MakeRig, Report

SECONDS = float(os.environ.get("FAULT_SECONDS", "4"))  # a minute each in `make chaos FAULT_SECONDS=60`
# In the order in which they come; "" is every service at once.
FAULTS = (
    Fault("throttle", "s3"),
    Fault("throttle", "sqs"),
    Fault("throttle", "kinesis", "PutRecords"),
    Fault("throttle", "kinesis", "GetRecords"),
    Fault("partial"),
    Fault("error", "s3"),
    Fault("error", "sqs"),
    Fault("error", "kinesis"),
    Fault("error", "dynamodb", share=0.5),
    Fault("reset", "", share=0.3),
    Fault("slow", "s3", delay=2),
    Fault("expired", "s3"),
    Fault("expired", "sqs"),
    Fault("expired", "kinesis", "GetRecords"),
    Fault("conflict", "dynamodb", "UpdateItem"),
)
# One service after the other fails every call.
OUTAGES = tuple(fault for fault in FAULTS if fault.kind == "error" and fault.service in {"s3", "sqs", "kinesis"})
# Calls of one worker in flight, each with at least some tens of milliseconds of pause between attempts.
MAX_ATTEMPTS_PER_SECOND = 60


@pytest.mark.parametrize(
    "coming",
    [pytest.param(OUTAGES, id="outages"), pytest.param(FAULTS, id="all", marks=pytest.mark.thorough)],
)
def test_services_that_fail_for_a_while_cost_nothing_but_time(
    rig: MakeRig, faults: FaultControl, report: Report, coming: tuple[Fault, ...]
) -> None:
    stage = rig(shards=2)
    stage.fleet.scale(1)
    stage.send(cameras=2, fps=2)
    stage.wait_for_outcomes(10)
    rates = {}
    for fault in coming:
        before = faults.requests()
        faults.add(fault)
        time.sleep(SECONDS)  # this long it lasts
        faults.clear()
        after = faults.requests()
        attempts = sum(
            number - before.get(name, 0)
            for name, number in after.items()
            if name.startswith(fault.service) and not name.endswith("ReceiveMessage")
        )
        rates[f"{fault.kind} {fault.service}"] = round(attempts / SECONDS, 1)
        reached = stage.outcomes
        stage.wait_for_outcomes(reached + 1)  # it goes on by itself
    stage.stop_sending()
    stage.wait_for_outcomes()
    findings = stage.audit()
    report(f"{len(coming)} faults of services, {SECONDS:g} s each", findings, requests_per_second=max(rates.values()))
    assert findings.problems == []
    assert stage.fleet.exits == []
    assert {name: rate for name, rate in rates.items() if rate > MAX_ATTEMPTS_PER_SECOND} == {}
