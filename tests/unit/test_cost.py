from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks import cost
from benchmarks.bill import Traffic, bill, task_rate
from local.processes import ROOT
from stacks.config import Config

MEASURED: dict[str, Any] = {
    "cores": 2,
    "models": {"yolov8n fp32": {"rate": 40.0, "memory": 300.0, "memory_one_core": 250.0}},
}
PRICES = cost.of_region(cost.load()[1], "us-east-1")
HOURS = 730
TRAFFIC = Traffic(cameras=10, fps=2, frame_kb=50)


def of(traffic: Traffic = TRAFFIC, **sections: Any) -> dict[str, float]:
    """The parts of the bill of an environment of two shards and tasks of one vCPU."""
    service = {"cpu": 1024} | sections.pop("service", {})
    values = {"stream": {"shards": 2}, "service": service} | sections
    return bill(Config.of(values), traffic, MEASURED, PRICES).parts


def test_the_document_has_the_tables_of_the_figures() -> None:
    text = cost.DOCUMENT.read_text()
    assert cost.with_tables(text) == text


def test_a_bill_adds_up_by_hand() -> None:
    # 50 ms of a core for the network and 8 ms for the rest.
    assert task_rate("yolov8n", "fp32", 1.0, MEASURED) == pytest.approx(1000 / 58)
    # 20 frames/s: 1 MB/s needs two shards at four fifths; a task does 12.1 frames/s at 70 %, so two tasks are needed.
    config = Config.of({"stream": {"shards": 2}, "service": {"cpu": 1024}})
    made = bill(config, TRAFFIC, MEASURED, PRICES)
    assert (made.size.tasks, made.size.shards, made.size.short) == (2, 2, ())
    frames = 20 * HOURS * 3600
    gib = frames * 50_000 / 2**30
    parts = made.parts
    assert parts["Fargate"] == pytest.approx(2 * HOURS * (0.04048 + 2 * 0.004445))
    assert parts["Kinesis"] == pytest.approx(2 * HOURS * 0.015 + frames * 2 * 0.014 / 1e6)
    assert parts["endpoints"] == pytest.approx(HOURS * 0.01 + gib * 0.01)
    assert parts["NAT"] == pytest.approx(HOURS * 0.05 + frames * 1000 / 2**30 * 0.045)
    assert parts["balancer"] == pytest.approx(HOURS * (0.0225 + 2 * 0.005))
    assert made.total == pytest.approx(sum(parts.values()))


def test_each_choice_changes_its_part() -> None:
    default = of()
    without = of(network={"kinesis_endpoint": False})
    gib = TRAFFIC.gib
    assert without["endpoints"] == 0
    assert without["NAT"] - default["NAT"] == pytest.approx(gib * 0.045)
    alone = of(network={"egress": "endpoints"})
    assert alone["NAT"] == 0
    assert alone["endpoints"] == pytest.approx(7 * 2 * HOURS * 0.01 + (gib + TRAFFIC.frames * 1000 / 2**30) * 0.01)
    assert of(network={"egress": "nat-per-zone", "zones": 3})["NAT"] > 3 * HOURS * 0.05
    assert of(service={"balancer": False})["balancer"] == 0
    assert of(service={"spot": True})["Fargate"] == pytest.approx(0.3 * default["Fargate"])
    assert of(service={"spot": True, "on_demand_base": 1})["Fargate"] == pytest.approx(0.65 * default["Fargate"])
    assert of(service={"architecture": "ARM64"})["Fargate"] < default["Fargate"]
    assert of(service={"retrieval_mode": "FANOUT"})["Kinesis"] > default["Kinesis"]
    assert of(stream={"shards": 2, "retention_hours": 48})["Kinesis"] == pytest.approx(
        default["Kinesis"] + 2 * HOURS * 0.02
    )
    stored = of(storage={"expiry_days": 14})["S3"] - default["S3"]
    assert stored == pytest.approx(gib * 1.6 * 7 * 24 / HOURS * 0.023)
    assert of(storage={"versioning": True, "replica_region": "eu-west-1"})["S3"] > 2 * default["S3"]
    assert of(service={"log_retention_days": 365})["logs"] > default["logs"]


def test_an_endpoint_pays_for_itself_where_the_configuration_says() -> None:
    eu = cost.of_region(cost.load()[1], "eu-central-1")
    month = 730 * eu["endpoint_hour"] / (eu["nat_gib"] - eu["endpoint_gib"])
    assert round(month) == 209
    assert round(730 * PRICES["endpoint_hour"] / (PRICES["nat_gib"] - PRICES["endpoint_gib"])) == 209
    for cameras, pays in ((0, False), (1, True)):
        traffic = Traffic(cameras=cameras)
        with_one, without = of(traffic), of(traffic, network={"kinesis_endpoint": False})
        assert (sum(with_one.values()) < sum(without.values())) == pays


def test_a_sleeping_environment_pays_for_no_task() -> None:
    asleep = of(Traffic(cameras=0))
    assert (asleep["Fargate"], asleep["S3"], asleep["logs"], asleep["DynamoDB"]) == (0, 0, 0, 0)
    assert asleep["balancer"] > asleep["Kinesis"] > 0
    half, whole = of(Traffic(cameras=10, fps=2, frame_kb=50, hours=12)), of()
    assert half["Fargate"] == pytest.approx(whole["Fargate"] / 2)
    awake = of(Traffic(cameras=0), service={"min_tasks": 1})
    assert awake["Fargate"] == pytest.approx(HOURS * (0.04048 + 2 * 0.004445))


def test_what_is_not_stored_and_not_announced_is_not_paid_for() -> None:
    frames, default = TRAFFIC.frames, of()
    half = Traffic(cameras=10, fps=2, frame_kb=50, detected=0.5)
    some = of(half, sources={"store": "detections", "announce": "detections"})
    # Half of the frames; the scenes of two shards that remember, every five seconds; a tally a minute of ten cameras.
    scenes, tallies = 2 / 5 * HOURS * 3600, 10 * HOURS * 60
    assert some["S3"] == pytest.approx(default["S3"] / 2 + scenes / 1000 * 0.005)
    assert some["SQS"] == pytest.approx(default["SQS"] / 2 + tallies * 3 * 0.4 / 1e6)
    assert some["NAT"] - HOURS * 0.05 == pytest.approx((frames / 2 + tallies) * 1000 / 2**30 * 0.045)
    assert (some["EventBridge"], some["Kinesis"]) == (0, default["Kinesis"])
    # A twentieth of the time in events of a minute each: five objects, two messages and two calls of the bus.
    few = of(Traffic(cameras=10, fps=2, frame_kb=50, eventful=0.05), sources={"store": "events", "announce": "events"})
    events = 10 * HOURS * 3600 * 0.05 / 60
    assert few["S3"] == pytest.approx(default["S3"] / 20 + (scenes + 5 * events) / 1000 * 0.005)
    assert few["SQS"] == pytest.approx(default["SQS"] / 20 + (tallies + 2 * events) * 3 * 0.4 / 1e6)
    gib = 2 * events * 1000 / 2**30
    assert few["EventBridge"] == pytest.approx(2 * events / 1e6 + gib * (0.1 + 30 * 24 / HOURS * 0.023))
    assert of(Traffic(), sources={"events": [{"kind": "silent", "name": "quiet"}]})["EventBridge"] > 0
    without = of(sources={"store": "events", "announce": "events"}, events={"bus": False})
    assert without["EventBridge"] == 0


def test_samples_and_tags_have_their_price() -> None:
    default, none = of(), of(sources={"store": "none"})
    assert none["S3"] == 0
    # One frame in ten seconds of twenty.
    assert of(sources={"store": "none", "sample_seconds": 10})["S3"] > default["S3"] / 20
    day = of(sources={"keep_days": 1})
    objects = TRAFFIC.frames * 24 / HOURS
    stored = TRAFFIC.gib * 1.6 * 6 * 24 / HOURS * 0.023
    assert day["S3"] == pytest.approx(default["S3"] - stored + objects / 1e4 * 0.01)


def test_frames_that_nobody_stores_take_less_of_a_task() -> None:
    assert task_rate("yolov8n", "fp32", 1.0, MEASURED, 0.0) == pytest.approx(1000 / (58 - 3.4))
    assert task_rate("yolov8n", "fp32", 1.0, MEASURED, 0.5) == pytest.approx(1000 / (58 - 1.7))


def test_events_alone_are_less_than_a_third_of_the_bill_of_all_frames() -> None:
    """100 cameras at 5 frames a second, a twentieth of them of events: the document's table."""
    measured, prices = cost.load()
    traffic, prices = Traffic(cameras=100, eventful=0.05), cost.of_region(prices, "us-east-1")

    def total(precision: str, policy: str, *, spot: bool = False) -> float:
        config = cost.fitting(traffic, precision, measured, policy=policy, spot=spot)
        return bill(config, traffic, measured, prices).total

    # Where inference is cheap, what is left is little; frames have to be sent and looked at under any policy.
    assert total("int8", "events", spot=True) < total("int8", "all", spot=True) / 4
    assert total("int8", "events") < total("fp32", "all") * 0.28
    assert total("int8", "events") < total("int8", "all") * 0.3
    assert total("fp32", "events") < total("fp32", "all") / 3


def test_what_the_environment_does_not_allow_is_said() -> None:
    made = bill(Config.of({}), Traffic(cameras=100), MEASURED, PRICES)
    assert made.size.short == (
        f"{made.size.tasks} tasks (max_tasks allows 1)", f"{made.size.shards} shards (it has 1)",
    )  # fmt: skip


def test_rekognition_has_its_tiers() -> None:
    tiers = cost.load()[1]["rekognition_tiers"]
    assert cost.rekognition(1e6, tiers) == pytest.approx(1000)
    assert cost.rekognition(2e6, tiers) == pytest.approx(1800)
    assert cost.rekognition(40e6, tiers) == pytest.approx(1000 + 3200 + 18000 + 1250)


def test_the_regions_have_the_same_prices() -> None:
    one, *others = cost.load()[1]["regions"].values()
    assert all(other.keys() == one.keys() for other in others)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.cost", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.thorough
def test_the_command_reads_the_environment() -> None:
    dev, prod = (json.loads(run("--environment", name, "--json").stdout) for name in ("dev", "prod"))
    assert prod["parts"]["NAT"] > dev["parts"]["NAT"] > 0  # a gateway in each zone
    assert dev["total"] > dev["asleep"] > 0
    assert dev["region"] == "eu-central-1"
    text = run("--environment", "prod", "--size", "s", "--precision", "int8", "--hours", "12").stdout
    assert "of 1 vCPU and 4 GiB" in text
    assert "a million frames" in text


def test_the_document_shows_what_the_command_prints() -> None:
    example = cost.DOCUMENT.read_text().partition("$ make cost ")[2].partition("```")[0]
    command, _, printed = example.partition("\n")
    environment, arguments = (part.partition("=")[2] for part in command.split(" ", 1))
    assert run("--environment", environment, *arguments.strip("'").split()).stdout == printed


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--environment", "none"), "environments/none.toml: No such file"),
        (("--prices", "mars"), "no prices of mars in benchmarks/prices.json"),
        (("--hours", "25"), "--hours 0 to 24 are allowed"),
        (("--eventful", "101"), "--detected and --eventful 0 to 100 are allowed"),
    ],
)
def test_what_the_command_cannot_price_is_one_line(arguments: tuple[str, ...], text: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_model_that_was_not_measured_is_named() -> None:
    with pytest.raises(ValueError, match="no measured speed of yolo11n fp32; measured are yolov8n fp32"):
        bill(Config.of({"service": {"model": "yolo11n"}}), TRAFFIC, MEASURED, PRICES)


def test_a_model_that_no_task_of_the_size_holds_is_named() -> None:
    measured = {"cores": 2, "models": {"yolov8x fp32": {"rate": 1.0, "memory": 9000.0, "memory_one_core": 8000.0}}}
    with pytest.raises(ValueError, match=r"0\.5 vCPU: no memory size of Fargate's holds the 8\.9 GiB"):
        cost.task_memory("yolov8x", "fp32", 0.5, measured)
