"""The main job where every service is somebody else's."""

from __future__ import annotations

import pytest

from local.rig import Rig
from local.services import Services
from tests.independent.conftest import MakeRig, Report

FAN_OUT = {"KINESIS_RETRIEVAL_MODE": "FANOUT"}


def run(stage: Rig, report: Report, scenario: str) -> None:
    """Sends frames of four cameras through one worker; ends with the audit."""
    stage.fleet.scale(1)
    stage.send(cameras=4, frames=20, fps=6)
    stage.wait_for_outcomes()
    findings = stage.audit()
    report(f"none: {scenario}, dynalite, s3rver, ElasticMQ", findings)
    assert findings.problems == []
    assert (findings.accepted, findings.duplicates) == (80, 0)
    assert stage.fleet.exits == []


def consumers(stage: Rig) -> int:
    """How many the stream pushes its records to."""
    kinesis, stream = stage.resources.client("kinesis"), stage.resources.stream
    arn = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    return len(kinesis.list_stream_consumers(StreamARN=arn)["Consumers"])


@pytest.mark.thorough
def test_every_frame_arrives_once(rig: MakeRig, report: Report) -> None:
    run(rig(), report, "kinesis-mock")


@pytest.mark.thorough
def test_every_frame_that_is_pushed_arrives_once(rig: MakeRig, report: Report) -> None:
    stage = rig(environment=FAN_OUT)
    run(stage, report, "kinesis-mock with fan-out")
    assert consumers(stage) == 1


@pytest.mark.thorough
def test_every_frame_of_another_kinesis_arrives_once(rig: MakeRig, ferrokinesis: Services, report: Report) -> None:
    run(rig(services=ferrokinesis), report, "ferrokinesis")


@pytest.mark.thorough
def test_every_frame_that_another_kinesis_pushes_arrives_once(
    rig: MakeRig, ferrokinesis: Services, report: Report
) -> None:
    stage = rig(services=ferrokinesis, environment=FAN_OUT)
    run(stage, report, "ferrokinesis with fan-out")
    assert consumers(stage) == 1
