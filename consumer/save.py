"""Annotated frames and their messages, on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from consumer.errors import DiskError
from consumer.results import call
from contract.message import ResultMessage


class Saver:
    """Writes `DIR/{source}/{date}/{hour}/{name}.jpg` and `.json`.

    A file is whole or not there at all: it is written under another name first. The message goes
    last, so where it is, its frame is too.
    """

    def __init__(self, s3: Any, folder: Path) -> None:
        self._s3, self._folder = s3, folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(f"{folder}: {error.strerror}") from None

    def __call__(self, result: ResultMessage, body: str) -> None:
        # The contract's key has no `..` and no separator but these: it cannot leave the folder.
        path = self._folder / result.key.removeprefix("frames/")
        if path.with_suffix(".json").exists():
            return
        where = f"s3://{result.bucket}/{result.key}"
        image = call(where, lambda: self._s3.get_object(Bucket=result.bucket, Key=result.key)["Body"].read())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, image)
            _write(path.with_suffix(".json"), body.encode() + b"\n")
        except OSError as error:
            raise DiskError(f"{path}: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)
