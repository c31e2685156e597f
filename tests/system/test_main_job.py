"""The main job with its real parts: producer and consumer CLIs, the KCL daemon, YOLOv8n, the street video."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from contract.identity import source_from_partition_key
from contract.message import QuarantineMessage, schema_files
from local.processes import ROOT, Aws, Worker
from local.resources import Resources
from local.rig import drain
from local.waiting import PATIENCE_SECONDS
from tests import pictures

VIDEO_FRAMES = 40
PHOTOGRAPHS = ("bus.jpg", "zidane.jpg")


@dataclass
class Pipeline:
    """A stream of two shards, and the worker that reads it."""

    resources: Resources
    env: dict[str, str]
    folder: Path
    messages: list[dict[str, Any]] = field(default_factory=list)

    def worker(self) -> Worker:
        return Worker(self.env, self.folder / "worker.log")

    def produce(self, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "producer", "send", *arguments, "--json"],
            env=self.env, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        summary: dict[str, Any] = json.loads(done.stdout)
        return summary

    def consume(self, number: int) -> list[dict[str, Any]]:
        """Reads so many messages; fewer if none comes any more."""
        done = subprocess.run(
            [sys.executable, "-m", "consumer", "watch", "--json", "--limit", str(number),
             "--idle-exit", f"{PATIENCE_SECONDS:.0f}"],
            env=self.env, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def checkpoints(self) -> dict[str, str]:
        """By shard, out of DynamoDB."""
        items = self.resources.client("dynamodb").scan(TableName=self.resources.stream)["Items"]
        return {item["leaseKey"]["S"]: item["checkpoint"]["S"] for item in items}

    def last_records(self) -> dict[str, str]:
        """By shard, the sequence number of the last record on the stream."""
        kinesis, last = self.resources.client("kinesis"), {}
        for shard in kinesis.list_shards(StreamName=self.resources.stream)["Shards"]:
            iterator = kinesis.get_shard_iterator(
                StreamName=self.resources.stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while records := (response := kinesis.get_records(ShardIterator=iterator))["Records"]:
                last[shard["ShardId"]] = records[-1]["SequenceNumber"]
                iterator = response["NextShardIterator"]
        return last

    def objects(self, prefix: str) -> list[str]:
        pages = self.resources.client("s3").get_paginator("list_objects_v2")
        return [
            o["Key"] for p in pages.paginate(Bucket=self.resources.bucket, Prefix=prefix) for o in p.get("Contents", [])
        ]

    def object(self, key: str) -> bytes:
        body: bytes = self.resources.client("s3").get_object(Bucket=self.resources.bucket, Key=key)["Body"].read()
        return body


@pytest.fixture
def pipeline(aws: Aws, name: str, reference: Path, tmp_path: Path) -> Pipeline:
    resources = Resources.create(aws.url, name, shards=2)
    env = resources.environment() | {
        "YOLO_MODEL_PATH": str(reference / "yolov8n.onnx"),
        "CONFIDENCE_THRESHOLD": "0.25",
        "CHECKPOINT_SECONDS": "1",
    }
    return Pipeline(resources, env, tmp_path)


def test_the_main_job(pipeline: Pipeline, reference: Path) -> None:
    photographs = [argument for name in PHOTOGRAPHS for argument in (str(reference / name),)]
    ids = [argument for name in (*PHOTOGRAPHS, "street") for argument in ("--source-id", Path(name).stem)]
    sent = pipeline.produce(
        *photographs, str(reference / "vtest.avi"), *ids, "--limit", str(VIDEO_FRAMES), "--fps", "0"
    )
    total = VIDEO_FRAMES + len(PHOTOGRAPHS)
    assert sent["sent"] == total

    with pipeline.worker() as worker:
        worker.wait_for_shards(2)
        assert worker.get("/health") == (200, {"status": "ok"})
        messages = pipeline.consume(total)
        status = worker.get("/status")[1]
        assert (status["frames"], status["quarantined"], status["model"]) == (total, 0, "yolov8n")
        assert worker.stop() == 0

    assert_each_frame_once(messages, sent)
    assert_photographs_match_the_reference(messages, reference)
    assert_street(messages)
    assert_objects(pipeline, messages)
    assert pipeline.checkpoints() == dict.fromkeys(pipeline.checkpoints(), "TRIM_HORIZON") | pipeline.last_records()

    # A second worker resumes at the checkpoints: what is new is processed, nothing comes twice.
    # It may choose its precision, and has none to choose from.
    more = pipeline.produce("demo:4", "--source-id", "street", "--limit", "5", "--fps", "0")
    pipeline.env["YOLO_PRECISION"] = "auto"
    with pipeline.worker() as worker:
        again = pipeline.consume(5)
        assert worker.stop() == 0
        [said] = [line for line in worker.log() if line["message"].startswith("YOLO_PRECISION=auto takes fp32")]
    assert said["left_out"]["int8"] == "there is no yolov8n-int8.xml, which `make quantise` makes"
    again += map(json.loads, drain(pipeline.resources, pipeline.resources.queue_url))
    assert_each_frame_once(again, more)
    assert {message["frame_id"] for message in messages}.isdisjoint(message["frame_id"] for message in again)
    assert pipeline.checkpoints() == dict.fromkeys(pipeline.checkpoints(), "TRIM_HORIZON") | pipeline.last_records()


def assert_each_frame_once(messages: list[dict[str, Any]], sent: dict[str, Any]) -> None:
    expected = Counter(
        f"{source}/{counts['session']}/{index:09d}"
        for source, counts in sent["sources"].items()
        for index in range(counts["sent"])
    )
    assert Counter(message["frame_id"] for message in messages) == expected


def assert_photographs_match_the_reference(messages: list[dict[str, Any]], reference: Path) -> None:
    expected = json.loads((reference / "reference_detections.json").read_text())["images"]
    for name in PHOTOGRAPHS:
        wanted = expected[name]["rect=True,conf=0.25"]
        [message] = [one for one in messages if one["source"] == Path(name).stem]
        height, width = expected[name]["size_hw"]
        assert (message["image_width"], message["image_height"]) == (width, height)
        assert [item["class"] for item in message["summary"]] == [box["class"] for box in wanted]
        for item, box in zip(message["summary"], wanted, strict=True):
            x, y, w, h = item["bbox"]
            corners = [x * width, y * height, (x + w) * width, (y + h) * height]
            np.testing.assert_allclose(corners, box["xyxy"], atol=1)
            assert abs(item["conf"] - box["confidence"]) < 0.005


def assert_street(messages: list[dict[str, Any]]) -> None:
    """The real street: people in every frame, and messages in the order of the film."""
    street = [message for message in messages if message["source"] == "street"]
    for message in street:
        people = [item for item in message["summary"] if item["class"] == "person"]
        assert 2 <= len(people) <= 12
    assert [message["frame_index"] for message in street] == list(range(VIDEO_FRAMES))


def assert_objects(pipeline: Pipeline, messages: list[dict[str, Any]]) -> None:
    [schema] = [json.loads(text) for path, text in schema_files().items() if path.name.startswith("result")]
    assert sorted(pipeline.objects("frames/")) == sorted(message["key"] for message in messages)
    for message in messages:
        jsonschema.validate(message, schema)
        assert re.fullmatch(
            rf"frames/{message['source']}/\d{{4}}-\d\d-\d\d/\d\d/[0-9a-z]+-{message['frame_index']:09d}\.jpg",
            message["key"],
        )
        image = cv2.imdecode(np.frombuffer(pipeline.object(message["key"]), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape[:2] == (message["image_height"], message["image_width"])


def test_bad_records_do_not_stop_their_shard(pipeline: Pipeline, reference: Path) -> None:
    photograph = (reference / "zidane.jpg").read_bytes()
    bad = {
        "not_jpeg": b"hello",
        "truncated": photograph[: len(photograph) // 2],
        "too_many_pixels": pictures.resized_header(photograph, 65535, 65535),
        "bad_metadata": pictures.with_comment(photograph, b'{"v":1,"source":"../../etc"}'),
    }
    good = [pictures.grey(), pictures.progressive(), pictures.rotated(), pictures.big(), photograph]
    kinesis = pipeline.resources.client("kinesis")
    # All to one shard, good after bad.
    records = [record for pair in zip(bad.values(), good, strict=False) for record in pair] + good[len(bad) :]
    for record in records:
        kinesis.put_record(StreamName=pipeline.resources.stream, PartitionKey="any tool", Data=record)
    with pipeline.worker() as worker:
        messages = pipeline.consume(len(good))
        assert worker.stop() == 0
    assert len(messages) == len(good)
    assert {message["source"] for message in messages} == {source_from_partition_key("any tool")}
    url = pipeline.resources.quarantine_url
    notices = [QuarantineMessage.model_validate_json(body) for body in drain(pipeline.resources, url)]
    assert {notice.reason for notice in notices} == set(bad)
    for notice in notices:
        kept = pipeline.object(notice.key)
        assert hashlib.sha256(kept).digest() == hashlib.sha256(bad[notice.reason]).digest()
    assert pipeline.checkpoints().items() >= pipeline.last_records().items()
