"""`doctor` on the embedded AWS: what is well, and each thing that can be wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contract.source_settings import SourceSettings
from doctor.place import Place
from doctor.trace import trace
from local.processes import ROOT, Aws, Worker
from local.resources import Resources
from local.waiting import PATIENCE_SECONDS, wait_for
from tests.strangers import answering, http
from tests.unit.test_quarantine import on_the_stream


def run(environment: dict[str, str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    command = [sys.executable, "-m", "doctor", "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, {finding["hop"]: finding for finding in json.loads(done.stdout)}


@pytest.mark.thorough
def test_a_pipeline_that_is_well(resources: Resources, tmp_path: Path) -> None:
    environment = resources.environment() | {"YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx")}
    with Worker(environment, tmp_path / "worker.log") as worker:
        worker.wait_for_shards(1)
        url = f"http://127.0.0.1:{worker.health_port()}"
        status, found = run(environment, "--worker-url", url, "--wait", f"{PATIENCE_SECONDS:.0f}")
        assert status == 0, found
        assert {hop for hop, finding in found.items() if finding["verdict"] == "wrong"} == set()
        assert "1 of 1 shards are held, by 1 workers" in found["leases"]["says"]
        assert "model street" in found["worker"]["says"]
        # The frame went through every hop, each later than the one before.
        times = [found[hop]["seconds"] for hop in ("frame sent", "frame stored", "frame announced")]
        assert times == sorted(times)
        assert "objects" in found["frame announced"]["says"]
        # Now there is something to be seen; and a person reads it as well.
        status, found = run(environment, "--no-frame")
        assert (found["records"]["verdict"], found["bucket"]["verdict"]) == ("well", "well")
        done = subprocess.run(
            [sys.executable, "-m", "doctor", "--no-frame"], cwd=ROOT, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0
        assert "✓ stream" in done.stdout


@pytest.mark.thorough
def test_nobody_works(resources: Resources) -> None:
    status, found = run(resources.environment(), "--wait", "2", "--worker-url", "http://127.0.0.1:1")
    assert status == 1
    assert found["stream"]["verdict"] == "well"
    assert "no worker has ever run" in found["leases"]["says"]
    assert "does not answer" in found["worker"]["says"]
    assert (found["frame sent"]["verdict"], found["frame stored"]["verdict"]) == ("well", "wrong")


@pytest.mark.thorough
def test_a_frame_that_is_too_old_for_the_policy(
    resources: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in resources.environment().items():
        monkeypatch.setenv(name, value)
    environment = resources.environment() | {
        "YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx"),
        "LAG_POLICY": "skip-stale",
        "MAX_FRAME_AGE_SECONDS": "0.001",
    }
    with Worker(environment, tmp_path / "worker.log") as worker:
        worker.wait_for_shards(1)
        following = trace(Place.from_environment(), SourceSettings(), patience=0)
        assert next(following).hop == "frame sent"
        worker.wait_for(lambda: worker.get("/status")[1]["skipped"] == 1, "the frame")
        [stored] = following
    assert (stored.hop, stored.verdict) == ("frame stored", "unsure")
    assert "LAG_POLICY=skip-stale" in stored.says


def test_ctrl_c_leaves_what_was_found(resources: Resources) -> None:
    command = [sys.executable, "-m", "doctor", "--json", "--wait", "3600"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=resources.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: on_the_stream(resources), "the test frame")
    process.send_signal(signal.SIGINT)
    output, messages = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, messages) == (130, "")
    assert [finding["hop"] for finding in json.loads(output)][:2] == ["credentials", "stream"]


@pytest.mark.parametrize(
    "seconds", ["nan", *(pytest.param(text, marks=pytest.mark.thorough) for text in ("inf", "-1", "soon"))]
)
def test_how_long_to_wait_is_a_number(seconds: str) -> None:
    command = [sys.executable, "-m", "doctor", "--wait", seconds]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--wait" in done.stderr.splitlines()[-1]


def test_names_that_are_not_known_are_said(resources: Resources) -> None:
    environment = resources.environment() | {"KINESIS_STREAM_NAME": "", "SQS_QUEUE_URL": ""}
    status, found = run(environment, "--no-frame")
    assert status == 1
    names = dict.fromkeys(("stream", "records", "leases"), "KINESIS_STREAM_NAME") | {"results": "SQS_QUEUE_URL"}
    for hop, name in names.items():
        assert found[hop]["says"] == f"{name} is not set"


def test_somebody_else_than_aws(resources: Resources) -> None:
    with answering(http("<a/>")) as url:
        status, found = run(resources.environment() | {"AWS_ENDPOINT_URL": url}, "--no-frame")
    assert status == 1
    assert "is not AWS" in found["credentials"]["says"]


def test_a_frame_of_which_nothing_is_kept_is_not_missed(resources: Resources) -> None:
    environment = resources.environment() | {"SOURCE_DEFAULTS": '{"store": "none", "announce": "detections"}'}
    _, found = run(environment, "--wait", "2")
    assert (found["frame sent"]["verdict"], found["frame stored"]["verdict"]) == ("well", "skipped")
    assert found["frame announced"]["verdict"] == "skipped"
    assert "only frames with something in them" in found["frame announced"]["says"]
    _, found = run(environment | {"SOURCE_DEFAULTS": '{"store": "events"}'}, "--wait", "2")
    assert (found["frame stored"]["verdict"], found["frame announced"]["verdict"]) == ("skipped", "unsure")


@pytest.mark.thorough
def test_tasks_that_do_not_run(resources: Resources) -> None:
    ecs = resources.client("ecs")
    cluster, service = f"{resources.stream}-cluster", f"{resources.stream}-service"
    ecs.create_cluster(clusterName=cluster)
    container = {"name": "worker", "image": "none", "memory": 512}
    ecs.register_task_definition(family=resources.stream, containerDefinitions=[container])
    ecs.create_service(cluster=cluster, serviceName=service, taskDefinition=resources.stream, desiredCount=2)
    environment = resources.environment() | {"ECS_CLUSTER_NAME": cluster, "ECS_SERVICE_NAME": service}
    _, found = run(environment, "--no-frame")
    # The embedded AWS starts none.
    assert (found["tasks"]["verdict"], found["tasks"]["says"][:18]) == ("wrong", "0 of 2 tasks run, ")
    ecs.update_service(cluster=cluster, service=service, desiredCount=0)
    _, found = run(environment, "--no-frame")
    assert (found["tasks"]["verdict"], found["tasks"]["says"]) == ("unsure", "0 of 0 tasks run: asleep")
    _, found = run(environment | {"ECS_SERVICE_NAME": "other"}, "--no-frame")
    assert "there is no service other" in found["tasks"]["says"]
    _, found = run(environment | {"ECS_CLUSTER_NAME": "other"}, "--no-frame")
    assert "there is no cluster other" in found["tasks"]["says"]


@pytest.mark.thorough
def test_a_worker_that_has_died(resources: Resources, tmp_path: Path) -> None:
    environment = resources.environment() | {"YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx")}
    with Worker(environment, tmp_path / "worker.log") as worker:
        worker.wait_for_shards(1)
        worker.process.kill()
        worker.process.wait()
        status, found = run(environment, "--no-frame")
    assert status == 1
    assert "nobody reads shardId-000000000000" in found["leases"]["says"]


@pytest.mark.thorough
def test_one_shard_that_nobody_reads_among_others(aws: Aws, name: str, tmp_path: Path) -> None:
    # A worker that may have one lease, and two shards.
    resources = Resources.create(aws.url, name, shards=2)
    environment = resources.environment() | {
        "YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx"),
        "KCL_PROPERTIES": "maxLeasesForWorker=1",
    }
    with Worker(environment, tmp_path / "worker.log") as worker:
        worker.wait_for_shards(1)
        status, found = run(environment, "--no-frame")
        assert status == 1
        assert "1 of 2 shards are held, by 1 workers; nobody reads shardId-00000000000" in found["leases"]["says"]
        assert "it is free" in found["leases"]["says"]
        # The worker that reads the other one says so as well.
        [unowned] = worker.get("/status")[1]["unowned_shards"]
        assert (unowned["why"], unowned["seconds"] > 10) == ("its lease is free", True)


def test_what_is_missing_is_named_with_what_to_do(resources: Resources) -> None:
    for variable, value, hop, says in (
        ("KINESIS_STREAM_NAME", "none", "stream", "there is no stream none"),
        ("S3_BUCKET_NAME", "there-is-none-such", "bucket", "there is no bucket there-is-none-such"),
        ("SQS_QUEUE_URL", resources.queue_url + "-none", "results", "there is no queue"),
    ):
        status, found = run(resources.environment() | {variable: value}, "--no-frame")
        assert status == 1
        assert found[hop]["verdict"] == "wrong"
        assert says in found[hop]["says"]
        assert found[hop]["advice"]


@pytest.mark.thorough
def test_without_a_service_it_says_so_once(resources: Resources) -> None:
    status, found = run(resources.environment() | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert status == 1
    assert "does not get through" in found["credentials"]["says"]
    assert set(found) <= {"credentials", "frame sent"}
