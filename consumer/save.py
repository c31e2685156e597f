"""Annotated frames and their messages, on disk."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, TypeAdapter

from consumer.errors import DiskError, GoneError, RefusedError
from consumer.files import complete
from consumer.frames import Frames
from contract.frame import parse_time
from contract.identity import frame_key
from contract.message import ResultMessage
from contract.parts import FrameKey

logger = logging.getLogger(__name__)

_KEY: Final = TypeAdapter(FrameKey, config=ConfigDict(regex_engine="python-re"))


class Saver:
    """Writes `DIR/{source}/{date}/{hour}/{name}.jpg` and `.json`.

    A file is complete or does not exist: it is written under another name first. The message goes last. It stands alone
    where its frame is gone, because a queue may keep messages for longer than the bucket keeps frames.

    Attributes:
        saved: Frames that are in the folder.
        gone: Frames that were not there any more.
        unstored: Messages of frames that the worker had not stored.
    """

    def __init__(self, frames: Frames, folder: Path) -> None:
        self._frames, self._folder = frames, folder
        self.saved = self.gone = self.unstored = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(f"{folder}: {error.strerror}") from None

    def __call__(self, result: ResultMessage, body: str) -> None:
        # The contract's keys hold no `..` and no separators but these, so a path cannot leave the folder.
        path = self._folder / key_of(result).removeprefix("frames/")
        try:
            if not path.with_suffix(".json").is_file():
                self._write(path, self._picture(result), body)
            self.saved += path.exists()
            self.gone += result.key is not None and not path.exists()
            self.unstored += result.key is None
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            # Keys of strangers may name as a folder what is a file.
            raise RefusedError(f"{path}: another frame's file is in its way") from None
        except OSError as error:
            raise DiskError(f"{path}: {error.strerror}") from None

    def _picture(self, result: ResultMessage) -> bytes | None:
        if result.key is None:  # nobody wanted it
            return None
        try:
            return self._frames.picture(result)
        except GoneError as error:
            logger.warning("the frame is gone, its message is saved alone: %s", error)
            return None

    @staticmethod
    def _write(path: Path, picture: bytes | None, body: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if picture is not None:
            _replace(path, picture)
        _replace(path.with_suffix(".json"), body.encode() + b"\n")


def key_of(result: ResultMessage) -> str:
    """Where a result's frame lies, or would lie if it were stored.

    Raises:
        RefusedError: If the message names no frame.
    """
    try:
        return result.key or _KEY.validate_python(frame_key(result.frame_id, parse_time(result.captured_at)))
    except ValueError:
        raise RefusedError(f"{result.frame_id!r}: not a frame's id") from None


def _replace(path: Path, data: bytes) -> None:
    with complete(path) as part:
        part.write_bytes(data)
