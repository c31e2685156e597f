"""One format for all logs of a task: each line on standard error is a JSON object."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final

from kcl_worker.operating.outlet import Output

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

# The daemon's lines, in the format that `daemon.py` sets: level, logger and message, separated by tabs.
_DAEMON_LINE: Final = re.compile(r"(TRACE|DEBUG|INFO|WARN|ERROR)\t([^\t]*)\t(.*)", re.DOTALL)
# The daemon logs what a record processor writes to standard error, and also writes it out unchanged. The worker
# reads the unchanged line.
_QUOTED_LINE: Final = "Received error line from subprocess"

# Lines of KCL and the JVM that warn of nothing: their level here, and what they mean. docs/kcl.md explains them.
_HARMLESS: Final = (
    # A child shard is missing from KCL's list for a while. A frame that then comes twice has one outcome.
    (re.compile(r"Cannot get the shard for this ProcessTask"), logging.DEBUG, ""),
    # At every start, until a worker has reported itself. Where it lasts, the shards are told as unowned.
    (re.compile(r"Not able to assign all expiredOrUnAssignedLeases"), logging.DEBUG, ""),
    (
        re.compile(r"Did not find an operating range metadata provider"),
        logging.INFO,
        " There is no ECS around it: leases are balanced by the shards' throughput alone.",
    ),
    # Four lines of a JVM from version 24 on about libraries of the AWS SDK.
    (
        re.compile(r"WARNING: .*(sun\.misc\.Unsafe|Please consider reporting this to the maintainers)"),
        logging.DEBUG,
        "",
    ),
)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object; `extra` fields become its keys."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((key, value) for key, value in record.__dict__.items() if key not in _STANDARD)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"), default=str)


def configure(level: str, stream: Output | None = None) -> None:
    """Sends every log of this process as JSON to a stream; None for standard error."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Their debug logs are about their own internals, and botocore's hold signed headers.
    for name in ("botocore", "boto3", "urllib3", "s3transfer", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def relay(line: str) -> None:
    """Logs a line of the daemon's output, or of a record processor's within it, as a line of the worker."""
    match = _DAEMON_LINE.fullmatch(line)
    if match:
        level, logger, text = match.groups()
        if not text.startswith(_QUOTED_LINE):
            _log("kcl." + logger.rpartition(".")[2], _number(level), text.rstrip())
    elif line.startswith("{"):
        _relay_record_processor(line)
    elif line.strip():
        _log("kcl", logging.WARNING, line)


def _log(logger: str, level: int, text: str) -> None:
    """Logs a line of the daemon at its level, or as what is known of it."""
    for pattern, known, explanation in _HARMLESS:
        if level <= logging.WARNING and pattern.match(text):
            level, text = min(level, known), text + explanation
            break
    logging.getLogger(logger).log(level, "%s", text)


def _relay_record_processor(line: str) -> None:
    try:
        fields = json.loads(line)
        level, logger, text = fields.pop("level"), fields.pop("logger"), fields.pop("message")
    except (ValueError, KeyError, AttributeError):
        logging.getLogger("kcl").warning("%s", line)
    else:
        logging.getLogger(logger).log(_number(level), "%s", text, extra=fields)


def _number(level: str) -> int:
    return logging.getLevelNamesMapping().get(level.upper(), logging.DEBUG)
