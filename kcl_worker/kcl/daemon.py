"""The KCL MultiLangDaemon: its properties, its process and how it ends."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cloud.endpoints import endpoint_url, for_java
from kcl_worker import multilang
from kcl_worker.heap import leases_in
from kcl_worker.kcl import jvm
from kcl_worker.kcl.wire import CHECKPOINT_VARIABLE, SOCKET_VARIABLE
from kcl_worker.kinship import die_with_parent
from kcl_worker.settings import Settings

# Part of the grace period that remains for the worker's own end after the daemon has ended.
GRACE_MARGIN: Final = 0.8

_LOGBACK: Final = """\
<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder>
      <pattern>%level%replace(\t%logger\t%msg %ex{8}){'[\\r\\n]+\\s*', ' | '}%nopex%n</pattern>
    </encoder>
  </appender>
  <logger name="software.amazon.kinesis.multilang.MultiLangDaemon" level="INFO"/>
  <root level="LEVEL"><appender-ref ref="OUT"/></root>
</configuration>
"""


def properties(settings: Settings, record_processor: Path) -> dict[str, str]:
    """The daemon's properties.

    Names and meanings: `MultiLangDaemonConfiguration` of amazon-kinesis-client-multilang 3.1.
    """
    grace_ms = int(settings.shutdown_grace_seconds * GRACE_MARGIN * 1000)
    values = {
        "executableName": f"/bin/sh {record_processor}",
        "streamName": settings.kinesis_stream_name,
        "applicationName": settings.kcl_application_name,
        "AwsCredentialsProvider": "DefaultCredentialsProvider",
        "regionName": settings.aws_region,
        "workerIdentifier": settings.worker_id,
        "processingLanguage": "python/3",
        "retrievalMode": settings.kinesis_retrieval_mode,
        "maxRecords": str(settings.kcl_max_records),
        # A shard allows five reads a second; four leave room for another reader.
        "idleTimeBetweenReadsInMillis": "250",
        # Reads that find nothing are passed on too: a shard's sign of life, by which the last records of a burst get
        # their checkpoint. It costs 0.4 % of a core for each shard.
        "callProcessRecordsEvenForEmptyRecordList": "true",
        # With 0, the default, record processors would end without their last checkpoint.
        "shutdownGraceMillis": str(grace_ms),
        "metricsLevel": "NONE",
        **_most_leases(settings),
        "failoverTimeMillis": str(int(settings.kcl_failover_seconds * 1000)),
        # The leader assigns leases at this interval, and new owners look for theirs twice as often. KCL's
        # default is twice the failover time and makes a first start last 40 s. This value costs a scan of two
        # small tables every two seconds, by one worker.
        "leaseAssignmentIntervalMillis": "2000",
        # KCL sleeps for so long after it has made leases by itself at its start (`ShardSyncTask`); its default is a
        # minute. 0 counts as not set.
        "shardSyncIntervalMillis": "1",
        # A worker gets no leases before its first report; KCL's default is 30 s.
        "workerMetricsReporterFreqInMillis": "2000",
    }
    if settings.initial_position == "AT_TIMESTAMP" and settings.initial_timestamp:
        values["initialPositionInStreamExtended"] = str(int(settings.initial_timestamp.timestamp()))
    else:
        values["initialPositionInStream"] = settings.initial_position
    for service, name in (
        ("kinesis", "kinesisEndpoint"),
        ("dynamodb", "dynamoDBEndpoint"),
        ("cloudwatch", "cloudWatchClient.endpointOverride"),
    ):
        if endpoint := endpoint_url(service):
            values[name] = endpoint
    return values | multilang.properties(settings.kcl_properties)


def most_leases(daemon: Mapping[str, str]) -> int:
    """How many leases a daemon may hold, by its properties."""
    return int(daemon.get("maxLeasesForWorker", sys.maxsize))


def _most_leases(settings: Settings) -> dict[str, str]:
    """As many as the heap holds: one more, with a backlog, would end the JVM and with it all of them."""
    most = settings.kcl_max_leases or (settings.java_heap_mib and leases_in(settings.java_heap_mib))
    return {"maxLeasesForWorker": str(most)} if most else {}


class Daemon:
    """The MultiLangDaemon's process; its record processors are its children.

    Args:
        folder: A private folder for its files.
        socket_path: Where record processors reach the worker.
        relay: Called with each line of the daemon's log.
    """

    def __init__(self, settings: Settings, folder: Path, socket_path: Path, relay: Callable[[str], None]) -> None:
        self._settings, self._folder, self._socket_path, self._relay = settings, folder, socket_path, relay
        self._process: asyncio.subprocess.Process | None = None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Starts the process; its files must have been written.

        Raises:
            DaemonError: If there is no Java.
        """
        command = self._command()
        # Endpoints are among the properties.
        environment = for_java(os.environ) | {
            SOCKET_VARIABLE: str(self._socket_path),
            CHECKPOINT_VARIABLE: str(self._settings.checkpoint_seconds),
            "AWS_REGION": self._settings.aws_region,
            "PYTHONPATH": str(Path(__file__).parent.parent.parent),
            "PYTHONUNBUFFERED": "1",
        }
        self._process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # A terminal's Ctrl-C must reach the worker alone, which then shuts the daemon down.
            start_new_session=True,
            preexec_fn=die_with_parent,
            limit=2**20,
        )

    async def run(self) -> int:
        """Passes the daemon's log lines on until the daemon ends; gives its exit status."""
        assert self._process is not None
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # a line over the limit; the rest of it follows
                continue
            if not line:
                return await self._process.wait()
            self._relay(line.decode(errors="replace").rstrip("\n"))

    def terminate(self) -> None:
        """Asks the daemon to shut its record processors down, each with a last checkpoint, and to end."""
        if self.alive:
            assert self._process is not None
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills the daemon; its record processors see their standard input close."""
        if self.alive:
            assert self._process is not None
            self._process.kill()

    async def ended(self) -> None:
        """Waits until the process is gone."""
        if self._process is not None:
            await self._process.wait()

    def write_files(self) -> None:
        """Writes the files that the process reads at its start.

        Raises:
            OSError: If there is no room.
        """
        # The daemon splits its command at spaces and knows no quotes, so a script holds the interpreter's path.
        script = self._folder / "record-processor.sh"
        script.write_text(f"exec {shlex.quote(sys.executable)} -m kcl_worker.kcl.record_processor\n")
        # At INFO this logger writes a line every second.
        level = "INFO" if self._settings.log_level == "DEBUG" else "WARN"
        (self._folder / "logback.xml").write_text(_LOGBACK.replace("LEVEL", level))
        lines = properties(self._settings, script).items()
        self._properties.write_text("".join(f"{name} = {value}\n" for name, value in lines))

    @property
    def _properties(self) -> Path:
        return self._folder / "daemon.properties"

    def _command(self) -> list[str]:
        return [
            *jvm.command(self._settings),
            "--properties-file",
            str(self._properties),
            "--log-configuration",
            str(self._folder / "logback.xml"),
        ]
