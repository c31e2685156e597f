"""Errors that end a worker, each with an exit status that tells an operator why.

    WorkerError
    ├── SettingsError        2   a variable of the environment is wrong or missing
    ├── ModelError          10   the model cannot be read or is not the file that was exported
    ├── DaemonError         11   the MultiLangDaemon could not start or has left
    ├── StuckError          11   the daemon, a record processor or a thread stands still without a reason
    ├── ServiceError        12   a stream, bucket or queue is missing or forbidden
    ├── DrainError          13   the grace period ended with frames in flight; none is lost
    └── ScratchError        14   the folder for temporary files is full or cannot be written

Any other exception is a bug: status 70, with its traceback in the log.
"""

from __future__ import annotations

from typing import ClassVar


class WorkerError(Exception):
    """Ends the worker; its text is one line for an operator."""

    exit_status: ClassVar[int] = 1


class SettingsError(WorkerError):
    exit_status = 2


class ModelError(WorkerError):
    exit_status = 10


class DaemonError(WorkerError):
    exit_status = 11


class StuckError(WorkerError):
    exit_status = 11


class ServiceError(WorkerError):
    exit_status = 12


class DrainError(WorkerError):
    exit_status = 13


class ScratchError(WorkerError):
    exit_status = 14


BUG_EXIT_STATUS = 70
