from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from local.processes import ROOT
from stacks.config import Config, ConfigError


@pytest.mark.parametrize("path", sorted((ROOT / "environments").glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples_are_valid(path: Path) -> None:
    assert Config.read(path).stream.shards >= 1


def test_the_defaults_are_the_names_that_users_know() -> None:
    config = Config.of({})
    assert (config.region, config.stream.name, config.stream.shards) == ("eu-central-1", "cv2kinesis", 1)
    assert (config.service.cpu, config.service.memory) == (512, 2048)
    assert config.storage.bucket == "processedframes-{account}-{region}"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"steam": {}}, "steam: no such key"),
        ({"stream": {"shard": 2}}, "stream.shard: no such key"),
        ({"stream": {"shards": 0}}, "stream.shards: 0: input should be greater than or equal to 1"),
        ({"service": {"max_tasks": 2}}, "service.max_tasks 2: more than the 1 shards"),
        ({"service": {"max_tasks": 501}, "stream": {"shards": 500}}, "service.max_tasks: 501"),
        (
            {"service": {"max_tasks": 2}, "stream": {"shards": 17}},
            "service.max_tasks 2: a task of 2048 MiB reads at most 8 shards, so 17 shards take 3 tasks",
        ),
        (
            {"worker": {"kcl_max_leases": 2}, "service": {"max_tasks": 2}, "stream": {"shards": 5}},
            "service.max_tasks 2: a task of 2048 MiB reads at most 2 shards, so 5 shards take 3 tasks",
        ),
        ({"worker": {"log_level": "LOUD"}}, "worker.log_level: 'LOUD': input should be 'DEBUG', 'INFO'"),
        ({"worker": {"worker_id": "me"}}, "worker.worker_id: no such key"),
        ({"service": {"min_tasks": 3, "max_tasks": 2}, "stream": {"shards": 3}}, "min_tasks 3: more than max_tasks 2"),
        ({"service": {"cpu": 500}}, "cpu 500: Fargate offers 256"),
        ({"service": {"memory": 8192}}, "memory 8192: with cpu 512 Fargate offers 1024 to 4096 MiB in steps of 1024"),
        (
            {"service": {"cpu": 32768, "memory": 65536}},
            "memory 65536: with cpu 32768 Fargate offers 61440, 122880, 249856 MiB",
        ),
        ({"service": {"model_size": "q"}}, "service.model_size: 'q'"),
        (
            {"service": {"model_size": "s", "model": "yolo11n"}},
            "model_size s and model yolo11n: one of them is allowed",
        ),
        ({"service": {"model": "yolo 11"}}, "service: model 'yolo 11': a name that ultralytics knows, such as yolo11n"),
        ({"service": {"model": "../nets/my net.onnx"}}, "service: model '../nets/my net.onnx': a name that"),
        ({"service": {"model": "mine.pt"}}, "`make model WEIGHTS=file.pt NAME=mine` exports your own weights"),
        ({"service": {"model": "a\nb"}}, "service: model 'a\\nb': a name that"),
        ({"service": {"image_size": 100}}, "service.image_size: 100: input should be a multiple of 32"),
        ({"network": {"cidr": "10.0.0.0/33"}}, "network: cidr 10.0.0.0/33: '33' is not a valid netmask"),
        ({"network": {"cidr": "10.0.0.0/28"}}, "a block of /16 to /24"),
        ({"region": "europe"}, "region: europe: the AWS SDK knows no such region"),
        ({"region": "eu-central-9"}, "region: eu-central-9: the AWS SDK knows no such region"),
        ({"region": "cn-north-1"}, "region: cn-north-1 is in the partition aws-cn"),
        ({"storage": {"replica_region": "us-gov-west-1", "versioning": True}}, "in the partition aws-us-gov"),
        ({"stream": {"name": "Cameras"}}, "stream.name 'Cameras': 3 to 128 lowercase letters"),
        ({"stream": {"name": "x"}}, "stream.name 'x': 3 to 128"),
        ({"stream": {"name": "a--b"}}, "stream.name 'a--b'"),
        ({"stream": {"name": "a" * 120}, "suffix": "-production"}, "stream.name"),
        ({"storage": {"queue": "processing.results"}}, "storage.queue: 'processing.results'"),
        ({"storage": {"queue": "q" * 70}}, "is longer than the 80 characters that SQS allows"),
        ({"storage": {"bucket": "frames.{account}.{region}.{account}{account}{account}"}}, "S3 allows 3 to 63"),
        (
            {"storage": {"bucket": "frames-{zone}"}},
            "storage.bucket 'frames-{zone}': frames-{zone}: S3 allows lowercase",
        ),
        ({"storage": {"bucket": "a..b"}}, "a..b: S3 allows lowercase"),
        ({"storage": {"bucket": "192.168.1.1"}}, "192.168.1.1: S3 reserves"),
        ({"storage": {"replica_region": "eu-west-1"}}, "replica_region: S3 copies only versioned buckets"),
        ({"storage": {"replica_region": "eu-central-1", "versioning": True}}, "another region than the pipeline's"),
        ({"tags": {"Environment": "production"}}, "tags.Environment: `project`, `environment` and `pipeline` are"),
        ({"service": {"on_demand_base": 1}}, "on_demand_base 1: without `spot = true`, all tasks run on demand"),
        ({"service": {"spot": True, "on_demand_base": 2}}, "service.on_demand_base 2: more than max_tasks 1"),
        (
            {"network": {"egress": "endpoints", "kinesis_endpoint": False}},
            "kinesis_endpoint false: with egress `endpoints`, it is the only way to the stream",
        ),
        (
            {
                "network": {"certificate_arn": "arn:aws:acm:eu-central-1:1:certificate/x"},
                "service": {"balancer": False},
            },
            "network.certificate_arn: `service.balancer = false` leaves nothing that would use it",
        ),
        ({"alarms": {"budget": -1}}, "alarms.budget: -1: input should be greater than or equal to 0"),
        ({"github": {"repository": "nobody"}}, "github.repository: 'nobody'"),
    ],
)
def test_a_wrong_configuration_is_one_line(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.of(values, "dev.toml")
    message = str(caught.value)
    assert message.startswith("dev.toml: ")
    assert text in message
    assert "\n" not in message


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        Config.read(tmp_path / "none.toml")
    for content, problem in (
        (b"region = ", "Invalid value"),
        ('owner = "Jürgen"'.encode("latin-1"), "can't decode byte"),
    ):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=rf"bad\.toml: .*{problem}"):
            Config.read(tmp_path / "bad.toml")


def test_subnets_do_not_overlap() -> None:
    for zones in (2, 3, 4):
        blocks = Config.of({"network": {"zones": zones, "cidr": "10.1.0.0/20"}}).network.subnets()
        assert len(set(blocks)) == 2 * zones


@pytest.mark.parametrize("name", ["on_demand_8_tasks", "provisioned_40_shards_30_tasks"])
def test_as_many_tasks_as_are_asked_for(cases: Path, name: str) -> None:
    assert Config.read(cases / f"{name}.toml").max_tasks in (8, 30)


def test_another_partition_is_refused(cases: Path) -> None:
    with pytest.raises(ConfigError, match="partition aws-cn"):
        Config.read(cases / "china_region.toml")


def test_an_on_demand_stream_begins_with_four_shards() -> None:
    assert Config.of({"stream": {"mode": "ON_DEMAND"}, "service": {"max_tasks": 4}}).stream.least_shards == 4
