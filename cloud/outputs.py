"""A deployment's outputs: the file that `make outputs` prints.

The CLIs read it with `--from-outputs` instead of the variables that name stream, queue and region.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

VARIABLES: Final = {
    "KinesisStreamName": "KINESIS_STREAM_NAME",
    "SQSQueueURL": "SQS_QUEUE_URL",
    "EventsQueueURL": "EVENTS_QUEUE_URL",
    "QuarantineQueueURL": "QUARANTINE_QUEUE_URL",
    "S3BucketName": "S3_BUCKET_NAME",
    "SourcesPath": "SOURCES_PATH",
    "SourceDefaults": "SOURCE_DEFAULTS",
    "Region": "AWS_REGION",
    "ClusterName": "ECS_CLUSTER_NAME",
    "ServiceName": "ECS_SERVICE_NAME",
}


class OutputsError(Exception):
    """A file does not hold the outputs of a deployment; the error's text is one line."""


def read(path: Path) -> dict[str, str]:
    """Reads the variables from a file of outputs, in terraform's form or as plain names and values.

    Raises:
        OutputsError: If the file cannot be read, names none of the variables, or gives one no text.
    """
    try:
        outputs = json.loads(path.read_text())
    except OSError as error:
        raise OutputsError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise OutputsError(f"{path}: not JSON; `make -s outputs > {path}` writes it") from None
    values = outputs if isinstance(outputs, dict) else {}
    given = {
        name: value.get("value") if isinstance(value, dict) else value
        for name in VARIABLES
        if (value := values.get(name))
    }
    for name, value in given.items():
        if not _is_text(value):
            raise OutputsError(f"{path}: {name}: {value!r} is no text; `make -s outputs > {path}` writes it")
    found = {VARIABLES[name]: str(value) for name, value in given.items()}
    if not found:
        raise OutputsError(f"{path}: none of {', '.join(VARIABLES)}; `make -s outputs > {path}` writes them")
    return found


def _is_text(value: object) -> bool:
    """Whether a variable of the environment can have this value."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def into_environment(path: Path) -> None:
    """Sets the variables. They override the environment, because the user has named the file explicitly.

    Raises:
        OutputsError: As in `read`.
    """
    os.environ.update(read(path))
