"""One form for all logs: a JSON object a line on standard error, whoever of the task wrote it."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

# The daemon's lines, as `daemon.py` has logback write them: level, logger, message, tab-separated.
_DAEMON_LINE: Final = re.compile(r"(TRACE|DEBUG|INFO|WARN|ERROR)\t([^\t]*)\t(.*)", re.DOTALL)
# The daemon logs what a record processor writes to standard error, and writes it out once more as it
# is. The latter is what we read.
_QUOTED_LINE: Final = "Received error line from subprocess"


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


def configure(level: str) -> None:
    """Sends every log of this process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Their debug logs are about themselves, and botocore's hold signed headers.
    for name in ("botocore", "boto3", "urllib3", "s3transfer", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def relay(line: str) -> None:
    """Logs a line of the daemon's output, or of a record processor's within it, as our own."""
    match = _DAEMON_LINE.fullmatch(line)
    if match:
        level, logger, text = match.groups()
        if not text.startswith(_QUOTED_LINE):
            logging.getLogger("kcl." + logger.rpartition(".")[2]).log(_number(level), "%s", text.rstrip())
    elif line.startswith("{"):
        _relay_record_processor(line)
    elif line.strip():
        logging.getLogger("kcl").warning("%s", line)


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
