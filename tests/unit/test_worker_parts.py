"""The worker's small parts: board, health, metrics, logs, the daemon's files, CPU quota, jars, leases."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kcl_worker.errors import SettingsError
from kcl_worker.kcl import arrival, daemon, departure, jars, tables
from kcl_worker.kcl.lease_table import LeaseTable
from kcl_worker.kcl.shards import ShardBoard
from kcl_worker.kcl.stream_watch import creation
from kcl_worker.operating import logs
from kcl_worker.operating.health import HealthServer, State
from kcl_worker.operating.metrics import Metrics
from kcl_worker.settings import Settings
from kcl_worker.vision import cpu, memory
from local.resources import Resources
from local.waiting import PATIENCE_SECONDS

ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL_DYNAMODB")


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "kinesis_stream_name": "cv2kinesis",
        "s3_bucket_name": "processedframes-1",
        "sqs_queue_url": "https://sqs/q",
        "health_host": "127.0.0.1",
        "health_port": 0,
    }
    return Settings(**values | changes)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_shard_is_stuck_when_it_has_records_and_makes_no_progress() -> None:
    clock = Clock()
    board = ShardBoard(clock)
    with board.hold("shardId-0", None) as shard:
        clock.now += 1000
        assert board.stuck(60) == []  # idle, not stuck
        shard.announce(2, 500, clock())
        clock.now += 59
        assert board.stuck(60) == []
        shard.settle(clock(), quarantined=False)
        clock.now += 61
        assert board.stuck(60) == [shard]
        shard.settle(clock(), quarantined=True)
        assert board.stuck(60) == []
        assert (shard.frames, shard.quarantined, shard.pending) == (1, 1, 0)
    assert board.held() == []


async def get(server: HealthServer, path: str, method: str = "GET") -> tuple[int, dict[str, Any]]:
    def ask() -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
                return response.status, json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    return await asyncio.to_thread(ask)


async def test_health_is_200_only_when_all_is_well() -> None:
    clock = Clock()
    board = ShardBoard(clock)
    state = State()
    server = HealthServer(settings(stuck_shard_seconds=60), state, board, Metrics("s", "app", board, io.StringIO()))
    service = asyncio.create_task(server.run())
    assert (await get(server, "/health"))[1]["reason"] == "the model is not loaded yet"
    state.model = "yolov8n"
    assert await get(server, "/health") == (503, {"status": "unhealthy", "reason": "the KCL daemon does not run"})
    state.daemon_alive = lambda: True
    assert await get(server, "/health") == (200, {"status": "ok"})
    assert await get(server, "/health", "HEAD") == (200, {})
    with board.hold("shardId-0", "17") as shard:
        shard.announce(3, 1500, clock())
        status = (await get(server, "/status"))[1]
        assert status["healthy"]
        assert status["model"] == "yolov8n"
        assert status["version"]
        [held] = status["shards"]
        assert held["shard_id"] == "shardId-0"
        assert (held["pending"], held["millis_behind_latest"], held["checkpoint"]) == (3, 1500, "17")
        assert held["reads"] == 1
        clock.now += 61
        code, body = await get(server, "/health")
        assert (code, body["reason"]) == (503, "no progress for 60 s on shardId-0")
    state.draining = True
    assert (await get(server, "/health"))[1]["reason"] == "shutting down"
    assert (await get(server, "/frames"))[0] == 404
    assert (await get(server, "/health", "POST"))[0] == 405
    service.cancel()
    with pytest.raises(asyncio.CancelledError):
        await service


def test_a_port_that_is_taken_is_named() -> None:
    board = ShardBoard()
    metrics = Metrics("s", "app", board, io.StringIO())
    first = HealthServer(settings(), State(), board, metrics)
    with pytest.raises(SettingsError, match=f"HEALTH_PORT={first.port}"):
        HealthServer(settings(health_port=first.port), State(), board, metrics)
    first.close()


def test_frames_that_nobody_looked_at_are_counted_apart() -> None:
    output = io.StringIO()
    metrics = Metrics("cv2kinesis", "app", ShardBoard(), output)
    metrics.add_frame(2, 10.0, 300.0)
    metrics.add_frame(2, None, 200.0)
    metrics.flush()
    line = json.loads(output.getvalue())
    assert (line["Frames"], line["Detections"], line["FramesTracked"]) == (2, 4, 1)
    assert (line["InferenceTime"], line["EndToEndLatency"]) == ([10.0], [300.0, 200.0])


def test_a_worker_that_leaves_tells_what_it_does_and_does_not_count_any_more() -> None:
    output = io.StringIO()
    metrics = Metrics("cv2kinesis", "app", ShardBoard(), output)
    metrics.leaving = True
    metrics.flush()
    assert output.getvalue() == ""
    metrics.add_quarantined()
    metrics.flush()
    line = json.loads(output.getvalue())
    assert (line["Quarantined"], "Workers" in line) == (1, False)


def test_metrics_are_lines_of_the_embedded_format() -> None:
    board, output = ShardBoard(), io.StringIO()
    metrics = Metrics("cv2kinesis", "app", board, output, worker_id="w")
    metrics.flush()
    idle = json.loads(output.getvalue())
    assert idle["Workers"] == 1
    assert idle["_aws"]["CloudWatchMetrics"][0]["Metrics"] == [
        {"Name": "Workers", "Unit": "Count", "StorageResolution": 1}
    ]
    output.seek(output.truncate(0))
    with board.hold("shardId-0", None) as shard:
        shard.millis_behind_latest = 1200
        for number in range(250):
            metrics.add_frame(2, 10.0 + number, 300.0)
        metrics.add_quarantined()
        metrics.flush()
    *lines, by_shard = [json.loads(line) for line in output.getvalue().splitlines()]
    assert (by_shard["ShardId"], by_shard["MillisBehindLatest"]) == ("shardId-0", 1200)
    assert by_shard["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["StreamName", "Application", "ShardId"]]
    assert [len(line["InferenceTime"]) for line in lines] == [100, 100, 50]
    first = lines[0]
    assert (first["Frames"], first["Detections"], first["Quarantined"]) == (250, 500, 1)
    assert first["MillisBehindLatest"] == [1200.0]
    declared = first["_aws"]["CloudWatchMetrics"][0]
    assert declared["Namespace"] == "cv2kinesis"
    dimensions = {"StreamName", "Application"}
    assert {m["Name"] for m in declared["Metrics"]} == set(first) - {"_aws", "worker", "line"} - dimensions
    # A gap in the numbers is a line that was lost on the way; the idle one was the first.
    assert [(line["worker"], line["line"]) for line in (*lines, by_shard)] == [("w", 2), ("w", 3), ("w", 4), ("w", 5)]
    assert all("Frames" not in line for line in lines[1:])
    assert metrics.frames_per_second() == 25


def test_of_many_shards_those_that_are_furthest_behind_are_told() -> None:
    board, output = ShardBoard(), io.StringIO()
    with ExitStack() as held:
        for number in range(150):
            held.enter_context(board.hold(f"shardId-{number:03}", None)).millis_behind_latest = number
        Metrics("cv2kinesis", "app", board, output).flush()
    assert json.loads(output.getvalue().splitlines()[0])["MillisBehindLatest"] == list(range(149, 49, -1))


def test_all_logs_have_one_form(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO")
    try:
        logging.getLogger("a").info("ours %d", 1, extra={"frame_id": "x"})
        logs.relay("WARN\tsoftware.amazon.kinesis.coordinator.Scheduler\ttheirs ")
        logs.relay('{"level": "info", "logger": "record_processor", "message": "a child\'s", "shard_id": "s"}')
        logs.relay("ERROR\tx.LineReaderTask\tReceived error line from subprocess [{...}] for shard s")
        logs.relay("Picked up JAVA_TOOL_OPTIONS")
        for logger, text in (
            ("lifecycle.ProcessTask", "Cannot get the shard for this ProcessTask, so duplicate KPL user records …"),
            ("coordinator.assignment.LeaseAssignmentManager", "Not able to assign all expiredOrUnAssignedLeases"),
            ("worker.WorkerMetricsSelector", "Did not find an operating range metadata provider."),
        ):
            logs.relay(f"WARN\tsoftware.amazon.kinesis.{logger}\t{text} ")
        logs.relay("WARNING: A terminally deprecated method in sun.misc.Unsafe has been called")
        logs.relay("WARNING: Please consider reporting this to the maintainers of class io.netty.util.Unsafe0")
        logs.relay("{not json")
    finally:
        logging.getLogger().handlers.clear()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["logger"], line["message"]) for line in lines] == [
        ("info", "a", "ours 1"),
        ("warning", "kcl.Scheduler", "theirs"),
        ("info", "record_processor", "a child's"),
        ("warning", "kcl", "Picked up JAVA_TOOL_OPTIONS"),
        ("info", "kcl.WorkerMetricsSelector", lines[4]["message"]),
        ("warning", "kcl", "{not json"),
    ]
    assert "leases are balanced by the shards' throughput alone" in lines[4]["message"]
    assert lines[0]["frame_id"] == "x"
    assert lines[2]["shard_id"] == "s"


def test_the_daemon_is_told_what_keeps_frames_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    values = daemon.properties(
        settings(shutdown_grace_seconds=30, kcl_properties="maxRecords=7; fanoutConfig.consumerName = b"),
        Path("/x/p.sh"),
    )
    assert 0 < int(values["shutdownGraceMillis"]) < 30_000
    assert "timeoutInSeconds" not in values  # it would end the task while S3 is away
    assert values["callProcessRecordsEvenForEmptyRecordList"] == "true"
    assert 0 < int(values["shardSyncIntervalMillis"]) < 1000  # 0 is none, and that a minute's sleep
    assert (values["maxRecords"], values["fanoutConfig.consumerName"]) == ("7", "b")
    assert values["initialPositionInStream"] == "TRIM_HORIZON"
    assert not any("ndpoint" in name for name in values)


def test_endpoints_follow_the_sdks_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:2")
    values = daemon.properties(settings(), Path("/x/p.sh"))
    assert values["kinesisEndpoint"] == "http://127.0.0.1:1"
    assert values["dynamoDBEndpoint"] == "http://127.0.0.1:2"


def test_an_endpoint_does_not_turn_cbor_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", "https://vpce-0-0.kinesis.eu-central-1.vpce.amazonaws.com")
    for asked, flag in (({}, "true"), ({"cbor_enabled": False}, "false")):
        command = daemon.Daemon(settings(**asked), tmp_path, tmp_path, print)._command()
        assert f"-Daws.cborEnabled={flag}" in command


@pytest.mark.parametrize(
    ("text", "expected"), [("50000 100000", 0.5), ("max 100000", None), ("150000 100000", 1.5), ("junk", None)]
)
def test_the_quota_of_a_cgroup(tmp_path: Path, text: str, expected: float | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    cores = cpu.available_cpus(tmp_path / "none")
    assert cpu.available_cpus(tmp_path) == min(cores, expected or cores)
    assert cpu.thread_count(tmp_path) >= 1


def test_the_older_cgroup_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu.available_cpus(tmp_path) == 0.5


def test_the_quota_of_ones_own_group_counts_where_the_root_is_the_hosts(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    for group, text, line in (
        ("task/two", "150000 100000", "0::/task/two"),
        ("task/one", "50000 100000", "0::/task/one"),
    ):
        (tmp_path / group).mkdir(parents=True)
        (tmp_path / group / "cpu.max").write_text(text)
        membership.write_text(f"4:memory:/elsewhere\n{line}\n")
        cores = cpu.available_cpus(tmp_path / "none", membership)
        assert cpu.available_cpus(tmp_path, membership) == min(cores, int(text.split()[0]) / 100000)
    older = tmp_path / "cpu" / "a:b"  # a colon is allowed in a name
    older.mkdir(parents=True)
    (older / "cpu.cfs_quota_us").write_text("25000")
    (older / "cpu.cfs_period_us").write_text("100000")
    membership.write_text("3:cpu,cpuacct:/a:b\n")
    assert cpu.available_cpus(tmp_path, membership) == 0.25
    assert cpu.thread_count(tmp_path, membership) == 1


def test_the_jars_are_those_that_were_checked_in() -> None:
    assert jars.main() == 0


def test_a_jar_that_changed_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.jar").write_bytes(b"a")
    (tmp_path / "b.jar").write_bytes(b"b")
    hashes = tmp_path / "hashes"
    hashes.write_text(f"{'0' * 64}  a.jar\n{'1' * 64}  c.jar\n")
    assert jars.check(tmp_path, hashes) == ["a.jar: another content", "b.jar: not expected", "c.jar: missing"]


@pytest.fixture
def of_a_worker(on_embedded_aws: Resources) -> Settings:
    stream = on_embedded_aws.stream
    return settings(kinesis_stream_name=stream, kcl_application_name=stream)


def test_leases_are_seeded_once_and_never_over_those_of_others(resources: Resources, of_a_worker: Settings) -> None:
    dynamodb = resources.client("dynamodb")
    arrival.prepare(of_a_worker)
    [lease] = dynamodb.scan(TableName=resources.stream)["Items"]
    assert lease["leaseKey"]["S"] == "shardId-000000000000"
    assert lease["checkpoint"]["S"] == "TRIM_HORIZON"
    # KCL need not add it.
    [index] = dynamodb.describe_table(TableName=resources.stream)["Table"]["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "LeaseOwnerToLeaseKeyIndex"
    moved = lease | {"checkpoint": {"S": "17"}, "leaseOwner": {"S": "other"}}
    dynamodb.put_item(TableName=resources.stream, Item=moved)
    arrival.prepare(of_a_worker)
    assert dynamodb.scan(TableName=resources.stream)["Items"] == [moved]


def test_a_worker_that_is_alone_takes_the_free_leases(resources: Resources, of_a_worker: Settings) -> None:
    resources.client("kinesis").update_shard_count(
        StreamName=resources.stream, TargetShardCount=2, ScalingType="UNIFORM_SCALING"
    )
    table = LeaseTable(resources.client("dynamodb"), of_a_worker.lease_table)
    arrival.prepare(of_a_worker)
    # Of a stream that was resharded KCL makes the leases.
    assert table.leases() == []
    shards = resources.client("kinesis").list_shards(StreamName=resources.stream)["Shards"]
    for shard in shards:
        table.add(shard, "TRIM_HORIZON", creation(resources.client("kinesis"), resources.stream))
    held, ended, *free = table.leases()
    table.assign(held, "other")
    resources.client("dynamodb").update_item(
        TableName=of_a_worker.lease_table,
        Key={"leaseKey": {"S": ended.key}},
        AttributeUpdates={"checkpoint": {"Value": {"S": "SHARD_END"}}},
    )
    others = settings(**of_a_worker.model_dump() | {"worker_id": "another"})
    # It sees the report of the first.
    arrival.prepare(others)
    assert {lease.owner for lease in table.leases()} == {None, "other"}
    departure.release(others)
    arrival.prepare(of_a_worker)
    owners = {lease.key: lease.owner for lease in table.leases()}
    assert owners == {held.key: "other", ended.key: None} | {lease.key: of_a_worker.worker_id for lease in free}


def test_a_worker_takes_no_lease_while_another_leads(resources: Resources, of_a_worker: Settings) -> None:
    dynamodb = resources.client("dynamodb")
    tables.make_missing(dynamodb, of_a_worker.lease_table, of_a_worker.report_table, of_a_worker.coordinator_table)
    leads = {"key": {"S": "Leader"}, "ownerName": {"S": "another"}}
    dynamodb.put_item(TableName=of_a_worker.coordinator_table, Item=leads)
    arrival.prepare(of_a_worker)
    [lease] = LeaseTable(dynamodb, of_a_worker.lease_table).leases()
    assert lease.owner is None


def test_a_stream_that_was_resharded_is_left_to_kcl(resources: Resources, of_a_worker: Settings) -> None:
    resources.client("kinesis").split_shard(
        StreamName=resources.stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)
    )
    arrival.prepare(of_a_worker)
    assert resources.client("dynamodb").scan(TableName=resources.stream)["Items"] == []


def test_without_dynamodb_the_worker_starts_and_leaves_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    arrival.prepare(settings())
    caplog.clear()
    assert departure.release(settings()) == 0
    assert caplog.messages == ["leases are not released: EndpointConnectionError"]


@pytest.mark.parametrize(
    ("file", "text", "mib"),
    [
        ("memory.max", "1073741824", 1024),
        ("memory.max", "max", None),
        ("memory/memory.limit_in_bytes", "536870912", 512),
        ("memory/memory.limit_in_bytes", "9223372036854771712", None),
    ],
)
def test_the_memory_of_a_cgroup(tmp_path: Path, file: str, text: str, mib: int | None) -> None:
    machine = memory.available_memory(tmp_path / "none")
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text + "\n")
    assert memory.available_memory(tmp_path, tmp_path / "none") == (mib * 2**20 if mib else machine)


def test_the_memory_of_our_own_group(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    membership.write_text("4:memory:/ours\n0::/\n")
    (group := tmp_path / "memory" / "ours").mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(str(2**28))
    assert memory.available_memory(tmp_path, membership) == 2**28


def test_frames_get_what_is_left_of_the_tasks_memory() -> None:
    small, large = (memory.frame_memory(settings(task_memory_mib=mib)) for mib in (64, 65536))
    assert small == memory.LEAST_FRAME_MEMORY
    assert large > 2**30
    heap = memory.frame_memory(settings(task_memory_mib=65536, java_heap_mib=8192))
    assert large - heap == pytest.approx(2 / 3 * (8192 - 2048) * 2**20, rel=0.05)


MEASURE = """
import sys
from kcl_worker.settings import Settings
from kcl_worker.vision.memory import frame_memory
print(frame_memory(Settings.model_validate_json(sys.argv[1])))
"""


def test_what_started_the_worker_takes_nothing_of_its_memory() -> None:
    alone = [sys.executable, "-c", MEASURE, settings(task_memory_mib=4096).model_dump_json()]
    # As large as a test runner after many tests.
    by_another = [
        sys.executable,
        "-c",
        f"import subprocess; large = b'x' * 2**30; subprocess.run({alone!r}, check=True)",
    ]
    figures = [
        int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for command in (alone, by_another)
    ]
    assert figures[1] == pytest.approx(figures[0], abs=2**25)


def test_a_worker_takes_the_leases_that_its_heap_holds() -> None:
    default, small, given = (
        daemon.properties(memory.with_heap(settings(**given)), Path("/x/p.sh"))["maxLeasesForWorker"]
        for given in ({"task_memory_mib": 2048}, {"task_memory_mib": 512}, {"kcl_max_leases": 3})
    )
    assert (default, small, given) == ("8", "4", "3")
    assert memory.with_heap(settings(task_memory_mib=2048)).java_heap_mib == 512
    assert memory.with_heap(settings(java_heap_mib=300)).java_heap_mib == 300
