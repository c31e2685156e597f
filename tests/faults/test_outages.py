"""Services that are away for far longer than anything may be stuck: all wait and say for what; nothing is restarted."""

from __future__ import annotations

import pytest

from local.faults import Fault, FaultControl
from local.waiting import wait_for
from tests import agent
from tests.faults.conftest import MakeRig, Report

STUCK = 4
# Each outage lasts so many times as long.
TIMES = 5


@pytest.mark.thorough
def test_an_outage_restarts_nothing_however_long_it_lasts(rig: MakeRig, faults: FaultControl, report: Report) -> None:
    stage = rig(shards=2, environment={"STUCK_SHARD_SECONDS": f"{STUCK}"})
    stage.fleet.scale(1)
    stage.send(cameras=2, fps=2)
    stage.wait_for_outcomes(10)
    [worker] = stage.fleet.workers
    waited = {}
    for service in ("s3", "sqs", "kinesis", "dynamodb"):
        # What is put still finds its way, or there would be nothing to wait for.
        faults.add(Fault("error", service, "GetRecords" if service == "kinesis" else ""))
        unwell: list[str] = []

        def long_enough(service: str = service, unwell: list[str] = unwell) -> bool:
            code, health = worker.get("/health")
            if code != 200:
                unwell.append(health["reason"])
            waiting = health.get("waiting", {})
            waited[service] = waiting.get("seconds", 0)
            return bool(waiting.get("service") == service and waiting["seconds"] >= TIMES * STUCK)

        wait_for(long_enough, f"a long wait for {service}", lambda: dict(waited))
        assert unwell == []
        faults.clear()
        reached = stage.outcomes
        stage.wait_for_outcomes(reached + 10)  # it goes on by itself
    stage.stop_sending()
    stage.wait_for_outcomes()
    findings = stage.audit()
    report("outages five times as long as the stuck time", findings, seconds=waited)
    assert findings.problems == []
    assert stage.fleet.exits == []


@pytest.mark.thorough
def test_a_start_waits_for_what_is_away(rig: MakeRig, faults: FaultControl, report: Report) -> None:
    # KCL attempts it twenty times, a second apart.
    stage = rig(shards=1, environment={"KCL_PROPERTIES": "schedulerInitializationBackoffTimeMillis=50"})
    faults.add(Fault("error", "dynamodb"))
    stage.fleet.scale(1)
    stage.send(cameras=1, fps=2, frames=20)
    [worker] = stage.fleet.workers
    given_up = "the KCL daemon gave up on a service that is away; it starts again when that is back"
    worker.wait_for(lambda: given_up in [entry["message"] for entry in worker.log()], "the daemon's end")
    code, health = worker.get("/health")
    assert (code, health["status"], health["waiting"]["service"]) == (200, "ok", "dynamodb")
    faults.clear()
    stage.wait_for_outcomes()
    findings = stage.audit()
    report("DynamoDB is away at the start", findings)
    assert findings.problems == []
    assert stage.fleet.exits == []


@pytest.mark.thorough
@pytest.mark.parametrize("comes_after", ["sources failed, attempt 2: CredentialRetrievalError", "Unable to initialize"])
def test_a_start_waits_for_its_credentials(rig: MakeRig, report: Report, comes_after: str) -> None:
    port = agent.free_port()
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "")
    stage = rig(shards=1)
    stage.fleet.change({**keys, agent.VARIABLE: f"http://127.0.0.1:{port}/role"})
    stage.fleet.scale(1)
    [worker] = stage.fleet.workers
    stage.send(cameras=1, fps=2, frames=20)
    worker.wait_for(lambda: comes_after in str(worker.log()), comes_after)
    with agent.agent(port):
        stage.wait_for_outcomes()
        findings = stage.audit()
        report("the credentials come late", findings)
        assert findings.problems == []
        assert stage.fleet.exits == []
