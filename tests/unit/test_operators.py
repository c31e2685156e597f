"""The operators' commands that need neither Node nor terraform."""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit import Findings
from contract.source_settings import SourceSettings
from local.processes import ROOT, Aws
from local.resources import REGION, client
from local.waiting import PATIENCE_SECONDS
from stacks import image, operate, smoke, sources
from stacks.cli import Operator
from stacks.config import Config
from stacks.errors import DeployError
from stacks.menu import CHOICES


@pytest.fixture
def config(name: str) -> Config:
    """An environment with a unique name."""
    return Config.of({"suffix": f"-{name[:12]}"})


@pytest.fixture
def connect(aws: Aws) -> Callable[[str], Any]:
    return lambda service: client(service, aws.url)


# -- the image


def test_the_tag_is_made_of_what_the_image_is_made_of(tmp_path: Path) -> None:
    for folder in ("kcl_worker", "cloud", "contract", "requirements"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / file, tmp_path)
    config = Config.of({})
    tag = image.tag(config, tmp_path)
    assert tag == image.tag(config)
    assert tag.startswith("yolov8n-")
    assert image.tag(Config.of({"service": {"model_size": "s"}}), tmp_path).startswith("yolov8s-")
    assert image.tag(Config.of({"service": {"precision": "int8"}}), tmp_path).startswith("yolov8n-int8-")
    assert image.tag(Config.of({"service": {"architecture": "ARM64"}}), tmp_path) != tag
    assert image.tag(Config.of({"service": {"image_tag": "mine"}}), tmp_path) == "mine"
    (tmp_path / "contract" / "new.py").write_text("")
    assert image.tag(config, tmp_path) != tag


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout without models, whose sources are this one's."""
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    monkeypatch.setattr(image, "ROOT", project)
    monkeypatch.setattr(image, "_sources", lambda root: iter(()))
    return project


def of(**service: str) -> Config:
    return Config.of({"service": service})


@pytest.mark.parametrize(
    ("service", "file"),
    [
        ({"model": "mine"}, "models/mine.onnx"),
        ({"model": "weights/mine.onnx"}, "weights/mine.onnx"),
        ({"model": "../mine.onnx"}, "../mine.onnx"),
        ({"model": "models/yolo11n.onnx"}, "models/yolo11n.onnx"),
        ({"precision": "int8"}, "models/yolov8n-int8.xml"),
        ({"precision": "int8"}, "models/yolov8n-int8.bin"),
        ({"precision": "int8", "model": "weights/mine.onnx"}, "weights/mine-int8.bin"),
        ({"precision": "auto"}, "models/yolov8n-int8.xml"),
        ({"precision": "auto"}, "models/yolov8n.agreement.json"),
        ({"precision": "auto", "model": "weights/mine.onnx"}, "weights/mine-int8.bin"),
        ({"precision": "auto", "model": "weights/mine.onnx"}, "weights/mine.onnx"),
    ],
)
def test_weights_that_are_trained_again_are_another_image(project: Path, service: dict[str, str], file: str) -> None:
    (project / file).parent.mkdir(exist_ok=True)
    (project / file).write_text("old")
    tag = image.tag(of(**service), project)
    assert tag == image.tag(of(**service), project)
    (project / file).write_text("new")
    assert image.tag(of(**service), project) != tag


@pytest.mark.parametrize(
    "service", [{}, {"precision": "bf16"}, {"precision": "auto"}, {"model_size": "x"}, {"model": "yolo11n"}]
)
def test_a_plan_needs_no_export_of_ultralytics_own_weights(project: Path, service: dict[str, str]) -> None:
    config = of(**service)
    tag = image.tag(config, project)
    (project / "models" / f"{image.model(config)}.onnx").write_text("exported meanwhile")
    assert image.tag(config, project) == tag
    assert not image.missing_model(config)


@pytest.mark.parametrize("name", ["yolov8n", "yolov5n6u", "yolov9c", "yolov10b", "yolo11n", "yolo12x", "yolo26m"])
def test_what_ultralytics_offers_is_exported(project: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(image, "_run", lambda command, what: commands.append(command))
    image.bring_model(of(model=name))
    assert commands == [["make", "-C", str(project), "model", f"NAME={name}"]]
    (project / "models" / f"{name}.onnx").write_text("")
    image.bring_model(of(model=name))
    assert len(commands) == 1


@pytest.mark.parametrize(
    ("service", "line"),
    [
        ({"model": "mine"}, "models/mine.onnx is not there: `make model NAME=mine WEIGHTS=file.pt` exports"),
        ({"model": "../mine.onnx"}, "../mine.onnx is not there: `make model NAME=mine WEIGHTS=file.pt` exports"),
        ({"precision": "int8"}, "models/yolov8n-int8.xml is not there: `make quantise MODEL=models/yolov8n.onnx "),
        ({"precision": "int8", "model": "a/b.onnx"}, "a/b-int8.xml is not there: `make quantise MODEL=a/b.onnx "),
    ],
)
def test_a_model_that_is_not_there_is_one_line(project: Path, service: dict[str, str], line: str) -> None:
    with pytest.raises(DeployError) as caught:
        image.bring_model(of(**service))  # and fetches nothing
    assert str(caught.value).startswith(line)
    assert len(str(caught.value).splitlines()) == 1


def test_a_quantised_model_needs_no_other(project: Path) -> None:
    for suffix in (".xml", ".bin", ".xml.sha256"):
        (project / "models" / f"yolov8n-int8{suffix}").write_text("")
    image.bring_model(of(precision="int8"))


def test_a_models_file_goes_into_the_image_with_its_hash(project: Path) -> None:
    models, config = project / "models", of(model="../mine.onnx")
    (models / "mine.onnx").write_text("old")
    (models / "mine.onnx.sha256").write_text("of the old one")
    (project.parent / "mine.onnx").write_text("new")
    image.bring_model(config)
    assert (models / "mine.onnx").read_text() == "new"
    assert not (models / "mine.onnx.sha256").exists()
    (project.parent / "mine.onnx.sha256").write_text("of the new one")
    image.bring_model(config)
    assert (models / "mine.onnx.sha256").read_text() == "of the new one"
    image.bring_model(of(model="models/mine.onnx"))
    assert (models / "mine.onnx").read_text() == "new"


def test_all_that_auto_chooses_from_goes_into_the_image(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(image, "_run", lambda command, what: commands.append(command))
    monkeypatch.setattr(image, "engine", lambda: "docker")
    weights, models, config = project / "weights", project / "models", of(precision="auto", model="weights/mine.onnx")
    weights.mkdir()
    (weights / "mine.onnx").write_text("new")
    (models / "mine-int8.xml.sha256").write_text("of an old one")
    (models / "mine.agreement.json").write_text("of an old one")
    image.build(config, "r/w:1")
    assert [path.name for path in models.iterdir()] == ["mine.onnx"]
    assert "MODEL=mine" in commands[-1]
    assert not [part for part in commands[-1] if part.startswith("QUANTISED")]
    made = ["mine-int8.bin", "mine-int8.xml", "mine-int8.xml.sha256", "mine.agreement.json"]
    for name in made:
        (weights / name).write_text("new")
    image.build(config, "r/w:1")
    assert sorted(path.name for path in models.iterdir()) == [*made, "mine.onnx"]
    assert "QUANTISED=mine-int8" in commands[-1]


def operator(**service: str) -> Operator:
    return Operator(of(**service), argparse.Namespace(auto_approve=True, plan="plan", no_image=False, out="plan"))


def test_nothing_is_deployed_of_a_model_that_is_not_there(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (Operator.deploy, Operator.image):
        with pytest.raises(DeployError, match=r"^models/mine\.onnx is not there"):
            command(operator(model="mine"))
    # A plan is shown, as in a pull request, whose checkout has no models.
    monkeypatch.setattr(Operator, "_terraform", lambda self: lambda *arguments: 0)
    monkeypatch.setattr(Operator, "_check_zones", lambda self: None)
    assert operator(model="mine").plan() == 0
    assert capsys.readouterr().err.startswith("warning: models/mine.onnx is not there")
    assert operator(model="mine", image_tag="one").plan() == 0
    assert not capsys.readouterr().err


def test_a_plan_of_another_image_is_not_applied(project: Path) -> None:
    (project / "models" / "mine.onnx").write_text("new")
    mine = operator(model="mine")
    tag = image.tag(of(model="mine"), project)
    mine._check_image({"container_definitions": json.dumps([{"image": f"registry/cv2kinesis:{tag}"}])})
    mine._check_image({"family": "of a registry that is yet to be made"})
    with pytest.raises(DeployError, match="plan again"):
        mine._check_image({"container_definitions": json.dumps([{"image": "registry/cv2kinesis:mine-0123"}])})


@pytest.mark.parametrize("engine", image.ENGINES)
def test_every_engine_builds_with_a_health_check(engine: str) -> None:
    command = image.build_command(engine, "r/w:1", "yolov8n-int8", "linux/arm64", "python@sha256:0")
    assert command[:2] == [engine, "bud" if engine == "buildah" else "build"]
    assert ("docker" in command[2:]) == (engine != "docker")
    text = " ".join(command)
    for part in ("--platform linux/arm64", "BASE=python@sha256:0", "MODEL=yolov8n-int8", "--tag r/w:1"):
        assert part in text


def test_without_an_engine_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeployError, match="needs one of docker, podman, buildah"):
        image.engine()


def test_a_client_without_its_daemon_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, status in (("docker", 1), ("podman", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert image.engine() == "podman"


def test_pushing_logs_in_with_the_registrys_own_password(
    connect: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # An engine that records how it was called.
    engine = tmp_path / "docker"
    lines = (
        'test "$1" = info && exit',
        f'echo "$@" >> {tmp_path}/calls',
        f'test "$1" = push || cat > {tmp_path}/input',
    )
    engine.write_text("\n".join(("#!/bin/sh", *lines, "")))
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ecr = connect("ecr")
    image.push(ecr, "registry.example/cv2kinesis:tag")
    [authorization] = ecr.get_authorization_token()["authorizationData"]
    password = base64.b64decode(authorization["authorizationToken"]).decode().partition(":")[2]
    # The password is never among the arguments, where other users of the machine could read it.
    assert (tmp_path / "input").read_text() == password
    assert (tmp_path / "calls").read_text().splitlines() == [
        "login --username AWS --password-stdin registry.example",
        "push registry.example/cv2kinesis:tag",
    ]


def test_a_tag_that_is_in_the_registry_is_known(connect: Callable[[str], Any], name: str) -> None:
    ecr = connect("ecr")
    assert not image.is_pushed(ecr, name, "1")
    ecr.create_repository(repositoryName=name)
    assert not image.is_pushed(ecr, name, "1")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"digest": "sha256:" + "0" * 64, "size": 1},
        "layers": [],
    }
    ecr.put_image(repositoryName=name, imageManifest=json.dumps(manifest), imageTag="1")
    assert image.is_pushed(ecr, name, "1")


# -- commands for a deployed environment


def deploy(connect: Callable[[str], Any], config: Config, tasks: int = 0) -> str:
    """Makes a service like the stack's, without a stack; gives the cluster's name."""
    ecs, cluster = connect("ecs"), config.name("VideoPipelineStack-Cluster")
    ecs.create_cluster(clusterName=cluster)
    family = config.name("videoPipeline")
    ecs.register_task_definition(
        family=family, containerDefinitions=[{"name": "worker", "image": "r/w:tag", "memory": 1}]
    )
    ecs.create_service(
        cluster=cluster,
        serviceName=config.name("VideoPipelineStack-Service"),
        taskDefinition=family,
        desiredCount=tasks,
    )
    return cluster


def test_nothing_deployed_is_one_line(connect: Callable[[str], Any], config: Config) -> None:
    for command in (operate.status, operate.restart):
        with pytest.raises(DeployError, match=r"no service VideoPipelineStack-Service.*make deploy"):
            command(connect, config)
    with pytest.raises(DeployError, match="no log group"):
        list(operate.logs(connect, config, timedelta(minutes=1), follow=False))


def test_a_service_without_tasks_is_asleep_and_cannot_be_restarted(
    connect: Callable[[str], Any], config: Config
) -> None:
    deploy(connect, config)
    assert operate.wait_until_stable(connect("ecs"), config).startswith("asleep")
    with pytest.raises(DeployError, match="no task is wanted now"):
        operate.restart(connect, config)


def test_waiting_ends_with_what_to_look_at(connect: Callable[[str], Any], config: Config) -> None:
    deploy(connect, config, tasks=2)  # the embedded AWS does not run tasks
    with pytest.raises(DeployError, match=r"not stable after 0 s \(0 of 2 tasks healthy\)"):
        operate.wait_until_stable(connect("ecs"), config, seconds=0)


def test_a_deployment_wakes_a_task_and_waits_for_its_health(connect: Callable[[str], Any], config: Config) -> None:
    ecs, cluster = connect("ecs"), deploy(connect, config)
    service = config.name("VideoPipelineStack-Service")
    operate.wake(ecs, config)
    operate.wake(ecs, config)  # one that is wanted is enough
    with pytest.raises(DeployError, match=r"not stable after 0 s \(0 of 1 tasks healthy\)"):
        operate.wait_until_stable(ecs, config, seconds=0)
    definition = ecs.describe_services(cluster=cluster, services=[service])["services"][0]["taskDefinition"]
    ecs.run_task(cluster=cluster, taskDefinition=definition, launchType="FARGATE", group=f"service:{service}")
    assert operate.wait_until_stable(ecs, config) == "1 of 1 tasks healthy"
    # Autoscaling may put it to sleep meanwhile: nothing is proved by no task.
    ecs.update_service(cluster=cluster, service=service, desiredCount=0)
    assert operate.wait_until_stable(ecs, config, least=1) == "1 of 1 tasks healthy"


def test_a_deployment_that_is_rolled_back_is_told(config: Config) -> None:
    class Ecs:
        """A service whose circuit breaker opens at the second look; the embedded AWS has no circuit breaker."""

        exceptions = client("ecs", "http://127.0.0.1:9").exceptions
        looks = 0

        def describe_services(self, **_: Any) -> dict[str, Any]:
            self.looks += 1
            state = {"status": "PRIMARY", "rolloutState": "FAILED" if self.looks > 1 else "IN_PROGRESS"}
            deployment = {**state, "rolloutStateReason": "circuit breaker: tasks failed to start"}
            service = {"status": "ACTIVE", "clusterArn": "c", "serviceName": "s", "taskDefinition": "w:2"}
            return {"services": [{**service, "desiredCount": 1, "deployments": [deployment]}]}

        def get_paginator(self, _: str) -> Ecs:
            return self

        def paginate(self, **_: Any) -> list[dict[str, Any]]:
            return [{"taskArns": []}]

    with pytest.raises(DeployError, match="rolled back: circuit breaker"):
        operate.wait_until_stable(Ecs(), config)


def test_the_log_is_printed_in_order_and_once(connect: Callable[[str], Any], config: Config) -> None:
    logs, group = connect("logs"), config.name("/ecs/videoPipeline")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="worker/1")
    now = int(datetime.now(UTC).timestamp() * 1000)
    events = [{"timestamp": now - 7200_000, "message": "old"}]
    events += [{"timestamp": now + k, "message": f"line {k}\n"} for k in range(3)]
    logs.put_log_events(logGroupName=group, logStreamName="worker/1", logEvents=events)
    lines = list(operate.logs(connect, config, timedelta(minutes=5), follow=False))
    assert lines == ["line 0", "line 1", "line 2"]


def test_status_asks_everyone(connect: Callable[[str], Any], config: Config) -> None:
    deploy(connect, config)
    stream = config.name("cv2kinesis")
    connect("kinesis").create_stream(StreamName=stream, ShardCount=3)
    connect("dynamodb").create_table(
        TableName=stream,
        KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "leaseKey", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for key, owner in (("shard-0", "w1"), ("shard-1", None)):
        item = {"leaseKey": {"S": key}, **({"leaseOwner": {"S": owner}} if owner else {})}
        connect("dynamodb").put_item(TableName=stream, Item=item)
    for kind in ("", "-dlq", "-quarantine", "-events"):  # one is missing, as before the next deployment
        url = connect("sqs").create_queue(QueueName=config.name(f"processing-results{kind}"))["QueueUrl"]
        if kind == "-dlq":
            connect("sqs").send_message(QueueUrl=url, MessageBody="x")
    cloudwatch = connect("cloudwatch")
    names = ("cv2kinesis-lag", "cv2kinesis-scaling-out")
    for alarm_name in (*map(config.name, names), f"{config.name('cv2kinesis')}_events_mail", "cv2kinesis-lag-other"):
        cloudwatch.put_metric_alarm(
            AlarmName=alarm_name, ComparisonOperator="GreaterThanThreshold", EvaluationPeriods=1,
            MetricName="x", Namespace="x", Period=60, Statistic="Sum", Threshold=0,
        )  # fmt: skip
        cloudwatch.set_alarm_state(AlarmName=alarm_name, StateValue="ALARM", StateReason="test")
    status = operate.status(connect, config)
    assert (status.shards, status.lag_seconds, status.image, status.alarms) == (3, None, "tag", ["events_mail", "lag"])
    assert status.leases == {"shard-0": "w1", "shard-1": ""}
    assert status.queues[config.name("processing-results-dlq")] == 1
    assert config.name("processing-results-events-dlq") not in status.queues
    text = "\n".join(status.lines())
    assert "lag nobody reads" in text
    assert "shard-1: free" in text
    json.dumps(status.as_dict())


# -- the menu


@pytest.mark.parametrize(("typed", "status"), [("\n", 0), ("", 0), ("9\n", 2)])
def test_the_menu_can_be_left(typed: str, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stacks.menu"], input=typed, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert "1  build and deploy" in done.stdout


def test_ctrl_c_in_the_menu_is_for_its_command(tmp_path: Path) -> None:
    """`make` stands for the real one: it waits, and says how it ended."""
    make = tmp_path / "make"
    make.write_text(
        "#!/bin/sh\ntrap 'kill $!; sleep 1; echo in good order; exit 7' INT\nsleep 600 &\necho waiting\nwait\n"
    )
    make.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [sys.executable, "-u", "-m", "stacks.menu"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        process.stdin.write("4\n")
        process.stdin.flush()
        while "waiting" not in process.stdout.readline():
            pass
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        output, messages = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, messages) == (7, "")
    assert output.endswith("in good order\n")


def test_each_choice_of_the_menu_is_a_command_of_the_makefile() -> None:
    for _, commands in CHOICES.values():
        for command in commands:
            done = subprocess.run(["make", "-n", *command], cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


def test_the_region_of_these_tests_is_the_default() -> None:
    assert Config.of({}).region == REGION


# -- what a command says and keeps


def test_a_command_whose_output_finds_no_room_ends_in_a_line() -> None:
    command = [sys.executable, "-m", "stacks.cli", "needs"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: standard output: No space left on device\n")


@pytest.mark.parametrize("target", ["send", "watch", "doctor", "web", "preflight"])
def test_a_command_makes_the_folder_that_it_writes_to(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "> cdktf.out/" in done.stdout
    assert done.stdout.index("mkdir -p cdktf.out\n") < done.stdout.index("> cdktf.out/")


# -- settings of sources


def test_settings_that_contradict_the_environments_are_refused(connect: Callable[[str], Any], tmp_path: Path) -> None:
    """As a worker would refuse them, all of them, when it reads both."""
    zone = {"name": "step", "polygon": [[0, 0], [1, 0], [1, 1]]}
    rule = {"name": "visit", "kind": "appear", "zone": "step"}
    config = Config.of({"suffix": "-contradict", "sources": {"tracking": True, "zones": [zone], "events": [rule]}})
    ssm, file = connect("ssm"), tmp_path / "door.json"
    file.write_text(json.dumps({"zones": [zone | {"name": "gate"}]}))
    with pytest.raises(DeployError, match="no zone step"):
        sources.put(ssm, config, "door", file)
    file.write_text(json.dumps({"zones": [zone], "confidence_threshold": 0.5}))
    sources.put(ssm, config, "door", file)
    assert json.loads(sources.show(ssm, config)[0].removeprefix("door  ")).keys() == {"zones", "confidence_threshold"}
    zone["name"] = rule["zone"] = "gate"  # the environment has other zones by now
    other = Config.of({"suffix": "-contradict", "sources": {"tracking": True, "zones": [zone], "events": [rule]}})
    assert sources.show(ssm, other) == ["door  not usable: events: visit: no zone gate; there are: step"]


# -- a smoke test


def test_a_smoke_test_says_that_frames_were_skipped() -> None:
    lines = smoke.Smoke("smoke-1", Findings(accepted=3, stored=1, announced=1, skipped=2), 100).lines()
    assert "skipped    2 frames: too old when a task read them (lag_policy: skip-stale)" in lines
    assert not any("another consumer" in line for line in lines)


@pytest.mark.parametrize("policy", ["all", "events"])
def test_a_smoke_test_sees_all_frames_whatever_is_kept_of_others(connect: Callable[[str], Any], policy: str) -> None:
    config = Config.of({"suffix": f"-s{policy}", "sources": {"store": policy, "announce": policy}})
    ssm, path = connect("ssm"), f"/cv2kinesis-s{policy}/sources"

    def settings() -> dict[str, str]:
        found = ssm.get_parameters_by_path(Path=path)["Parameters"]
        return {parameter["Name"].removeprefix(f"{path}/"): parameter["Value"] for parameter in found}

    with smoke.whole(ssm, config, "smoke-1", settle_seconds=0):
        given = {name: SourceSettings.parse(text, defaults=config.sources) for name, text in settings().items()}
    assert {name: (s.store, s.announce) for name, s in given.items()} == (
        {} if policy == "all" else {"smoke-1": ("all", "all")}
    )
    assert settings() == {}
