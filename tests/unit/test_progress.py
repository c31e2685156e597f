"""Who waits with a reason is well, for however long; who stands still without one is told and ended."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from doctor.worker import worker
from kcl_worker.doing import SHARD, Doings
from kcl_worker.errors import StuckError
from kcl_worker.kcl.daemon_watch import START_SECONDS, DaemonWatch
from kcl_worker.kcl.read_watch import LEAST_SECONDS, LOOK_SECONDS, ReadWatch
from kcl_worker.kcl.shards import STALE_SECONDS, Shard, ShardBoard
from kcl_worker.operating.health import HealthServer, State
from kcl_worker.operating.metrics import Metrics, dropped
from kcl_worker.operating.outlet import Outlet
from kcl_worker.operating.progress import Progress
from local.faults import Fault, FaultControl
from local.processes import Aws
from local.resources import Resources
from local.waiting import wait_for
from tests.unit.test_worker_parts import Clock, get, settings

STUCK = 60.0
DAY = 24 * 3600.0
SHARD_ID = "shardId-000000000000"
STANDS_STILL = f"no progress for 60 s on {SHARD_ID}"


class Parts:
    """A board with a shard, what is done for it, and the judgement."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.board, self.doings = ShardBoard(self.clock), Doings(self.clock)
        self.progress = Progress(self.board, STUCK, self.doings)
        self.shard: Shard

    def waits(self) -> list[tuple[str, float]]:
        return [(wait.service, wait.seconds) for wait in self.progress.waits()]


@pytest.fixture
def parts() -> Iterator[Parts]:
    parts = Parts()
    before = SHARD.set(SHARD_ID)
    with parts.board.hold(SHARD_ID, None) as parts.shard:
        yield parts
    SHARD.reset(before)


@pytest.mark.parametrize("service", ["s3", "sqs", "dynamodb"])
def test_waiting_for_a_service_is_no_illness(parts: Parts, service: str) -> None:
    parts.shard.announce(2, 0, parts.clock())
    with parts.doings.doing("turn"):
        with parts.doings.doing(service):
            parts.clock.now += DAY
            assert parts.waits() == [(service, DAY)]
            assert parts.progress.problem() is None
            assert parts.progress.of_shard(parts.shard) == {"what": service, "seconds": DAY}
        # It has come, and from now on there is something to be done.
        parts.clock.now += STUCK - 1
        assert (parts.waits(), parts.progress.problem()) == ([], None)
        # All wait for a turn, and nobody has it.
        parts.clock.now += 2
        assert parts.progress.problem() == STANDS_STILL


def test_a_record_processor_that_announces_records_and_keeps_them_is_told_whatever_else_waits(parts: Parts) -> None:
    parts.shard.announce(2, 0, parts.clock())
    SHARD.set("shardId-000000000001")
    with parts.doings.doing("s3"):
        parts.clock.now += STUCK + 1
        assert parts.progress.problem() == STANDS_STILL
        assert parts.progress.of_shard(parts.shard)["what"] == "record processor"


def test_native_code_that_hangs_is_told_though_a_service_is_away(parts: Parts) -> None:
    parts.shard.announce(2, 0, parts.clock())
    with parts.doings.doing("s3"), parts.doings.doing("core"), parts.doings.doing("detect"):
        parts.clock.now += STUCK - 1
        assert parts.progress.problem() is None
        parts.clock.now += 2
        assert parts.progress.problem() == STANDS_STILL
        assert parts.progress.threads() == [{"what": "detect", "seconds": STUCK + 1}]


def test_who_waits_for_a_core_is_as_well_as_those_who_have_one(parts: Parts) -> None:
    parts.shard.announce(2, 0, parts.clock())
    with parts.doings.doing("core"):
        for _ in range(10):  # others' frames take half a minute each
            with parts.doings.doing("decode"):
                parts.clock.now += STUCK / 2
        assert parts.progress.problem() is None


def test_a_shard_that_cannot_be_read_waits_for_kinesis_and_what_it_said_of_itself_is_left_out(parts: Parts) -> None:
    lines = io.StringIO()
    metrics = Metrics("cv2kinesis", "app", parts.board, lines, waits=parts.progress.waits)
    parts.shard.announce(0, 700, parts.clock())
    assert parts.shard.lag(parts.clock()) == 700
    parts.clock.now += 240
    assert parts.waits() == [("kinesis", 240)]
    assert parts.progress.problem() is None
    assert parts.shard.lag(parts.clock()) is None
    metrics.flush()
    of_stream, of_service = map(json.loads, lines.getvalue().splitlines())
    assert "MillisBehindLatest" not in of_stream
    assert (of_stream["SecondsSinceRead"], of_stream["WaitingSeconds"]) == (240, 240)
    assert (of_service["Service"], of_service["WaitingSeconds"]) == ("kinesis", 240)


def test_the_end_moves_on_while_records_wait(parts: Parts) -> None:
    parts.shard.announce(2, 700, parts.clock())
    parts.clock.now += 240
    assert parts.shard.lag(parts.clock()) == 240_700
    for _ in range(2):
        parts.shard.settle(parts.clock(), quarantined=False)
    assert parts.shard.lag(parts.clock()) == 700


def test_what_the_daemon_has_read_ahead_is_behind_too(parts: Parts) -> None:
    # The daemon is at the end already, but what it holds has waited for a minute.
    parts.shard.announce(1, 0, parts.clock())
    with parts.shard.working(parts.clock() - 60), parts.shard.working(parts.clock() - 59):
        assert parts.shard.lag(parts.clock()) == 60_000
    parts.shard.settle(parts.clock(), quarantined=False)
    assert parts.shard.lag(parts.clock()) == 0


def test_a_checkpoint_that_is_not_made_waits_for_dynamodb(parts: Parts) -> None:
    parts.shard.announce(2, 0, parts.clock())
    parts.shard.settle(parts.clock(), quarantined=False)
    parts.shard.checkpointing(parts.clock())  # in the midst of a batch
    parts.clock.now += DAY
    assert parts.waits() == [("dynamodb", DAY)]
    assert parts.progress.problem() is None
    parts.shard.settle(parts.clock(), quarantined=False)
    parts.shard.checkpointed("7", parts.clock())
    assert parts.waits() == []


def test_a_shard_whose_lease_is_lost_is_nobodys_to_hurry_but_silent(parts: Parts) -> None:
    parts.shard.announce(2, 0, parts.clock())
    parts.shard.checkpointing(parts.clock())
    parts.shard.lose()
    parts.clock.now += DAY
    assert parts.progress.problem() is None
    assert parts.shard.silent(parts.clock()) == DAY  # so it is asked for, if the daemon forgets it


async def test_health_stays_200_and_names_the_service(parts: Parts) -> None:
    metrics = Metrics("s", "app", parts.board, io.StringIO())
    state = State(model="street", daemon_alive=lambda: True)
    server = HealthServer(settings(stuck_shard_seconds=STUCK), state, parts.board, metrics, parts.progress)
    service = asyncio.create_task(server.run())
    parts.shard.announce(1, 5, parts.clock())
    with parts.doings.doing("s3"):
        parts.clock.now += 812
        assert await get(server, "/health") == (200, {"status": "ok", "waiting": {"service": "s3", "seconds": 812}})
        status = (await get(server, "/status"))[1]
    assert status["waiting"] == [{"service": "s3", "seconds": 812}]
    assert status["shards"][0]["doing"] == {"what": "s3", "seconds": 812}
    assert status["shards"][0]["seconds_since_read"] == 812
    parts.shard.settle(parts.clock(), quarantined=False)
    parts.clock.now += 240
    finding = await asyncio.to_thread(worker, f"http://127.0.0.1:{server.port}")
    assert finding.verdict == "wrong"
    assert finding.says.endswith("how far behind, nobody knows; it has waited for kinesis for 240 s")
    service.cancel()


async def test_what_stands_still_for_the_stuck_time_after_it_was_told_ends_the_worker() -> None:
    clock, told = Clock(), iter(["before", None, "first seen", "in time", "in time", "over"])
    progress = Progress(ShardBoard(), 0.4, Doings(clock))

    def problem() -> str | None:
        clock.now += 0.15  # however long it really takes from look to look
        return next(told)

    with pytest.raises(StuckError, match="over"):
        await progress.run(problem)


class Daemon:
    """The report of a daemon, with the watch of it."""

    def __init__(self, resources: Resources) -> None:
        self.clock, self.dynamodb = Clock(), resources.client("dynamodb")
        application = f"{resources.stream}-app"
        self.settings = settings(kcl_application_name=application, worker_id="me", stuck_shard_seconds=STUCK)
        self.dynamodb.create_table(
            TableName=self.settings.report_table,
            KeySchema=[{"AttributeName": "wid", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "wid", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.watch = DaemonWatch(self.settings, self.dynamodb, self.clock)

    def report(self, at: int) -> None:
        self.dynamodb.update_item(
            TableName=self.settings.report_table, Key={"wid": {"S": "me"}},
            UpdateExpression="SET lut = :at", ExpressionAttributeValues={":at": {"N": str(at)}},
        )  # fmt: skip

    def pass_time(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.watch.look()
            self.clock.now += self.watch.interval
        self.watch.look()


@pytest.fixture
def daemon(resources: Resources) -> Daemon:
    return Daemon(resources)


def test_a_daemon_that_reports_no_more_is_told_within_the_stuck_time(daemon: Daemon) -> None:
    daemon.report(1)
    daemon.pass_time(START_SECONDS / 2)
    assert daemon.watch.problem() is None  # it starts
    daemon.report(2)
    daemon.pass_time(STUCK / 2)
    assert daemon.watch.problem() is None
    daemon.pass_time(STUCK / 2)
    assert "the KCL daemon has made no report for" in str(daemon.watch.problem())
    daemon.report(3)
    daemon.watch.look()
    assert daemon.watch.problem() is None


def test_a_daemon_that_never_reports_is_told_too(daemon: Daemon) -> None:
    daemon.pass_time(START_SECONDS + 2 * daemon.watch.interval)
    assert daemon.watch.problem()


@pytest.fixture
def own_aws(tmp_path: Path) -> Iterator[Aws]:
    """A fault of a service must not meet another test."""
    with Aws(log=tmp_path / "aws.log") as server:
        yield server


@pytest.mark.thorough
def test_an_outage_of_dynamodb_is_none_of_the_daemon(own_aws: Aws, name: str) -> None:
    daemon, faults = Daemon(Resources.create(own_aws.url, name)), FaultControl(own_aws.url)
    for number in range(2):
        daemon.report(number)
        daemon.watch.look()

    async def outage() -> None:
        looking = asyncio.create_task(daemon.watch.run())
        while "dynamodb:UpdateItem" not in (seen := faults.requests()) or seen["dynamodb:UpdateItem"] < 8:
            await asyncio.sleep(0.05)
            daemon.clock.now += STUCK
        assert daemon.watch.problem() is None
        looking.cancel()

    daemon.watch.interval = 0.05
    faults.add(Fault("throttle", "dynamodb", "UpdateItem"))  # reads go on
    asyncio.run(outage())


def test_a_shard_that_kinesis_gives_and_nobody_takes_is_told(resources: Resources) -> None:
    clock = Clock()
    board = ShardBoard(clock)
    watch = ReadWatch(resources.stream, resources.client("kinesis"), board, STUCK)
    with board.hold(SHARD_ID, None) as shard, board.hold("shardId-000000000009", None):  # the second is unknown there
        for _ in range(int((STALE_SECONDS + LEAST_SECONDS) // LOOK_SECONDS) + 1):
            assert watch.stuck() == []
            clock.now += LOOK_SECONDS
            watch.look()
        clock.now += LOOK_SECONDS
        watch.look()
        assert watch.stuck() == [SHARD_ID]
        shard.announce(0, 0, clock())
        assert watch.stuck() == []


def test_nobody_waits_for_a_reader_of_the_output() -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as stream:
        outlet = Outlet(stream, max_lines=10)
        outlet.tell = partial(dropped, "cv2kinesis", "app")
        for number in range(1000):  # far more than a pipe holds
            outlet.write(f"{number:05} {'x' * 1000}\n")
        os.set_blocking(reading, False)
        text, again = "", 0

        def told() -> Any:
            nonlocal text, again
            try:
                text += os.read(reading, 2**20).decode()
            except BlockingIOError:
                outlet.write("again\n")
                again += 1
            return "lines were dropped" in text

        wait_for(told, "word of what is missing")
        outlet.end()
    with open(reading, "rb", closefd=True) as rest:
        os.set_blocking(reading, True)
        text += rest.read().decode()
    first, *others = text.splitlines()
    assert first.startswith("00000 x")
    # As a metric, too; and what came and what is missing add up.
    told_of = [json.loads(line) for line in others if line.startswith("{")]
    assert all(
        line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["StreamName", "Application"]] for line in told_of
    )
    came = 1 + len(others) - len(told_of)
    assert came + sum(line["LinesDropped"] for line in told_of) == 1000 + again


def test_a_reader_that_is_gone_harms_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = open(writing, "w")  # noqa: SIM115
    outlet = Outlet(stream)
    Metrics("cv2kinesis", "app", ShardBoard(), outlet).add_quarantined()
    for _ in range(100):
        print("x" * 1000, file=outlet, flush=True)
    outlet.end()
    with pytest.raises(BrokenPipeError):
        stream.close()
