"""The settings of single sources, as Parameter Store has them now."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from contract.source_settings import DEFAULT, SourceSettings
from kcl_worker.aws import Caller, error_code

logger = logging.getLogger(__name__)


class SourceBook:
    """The settings of all sources, read again and again.

    A value that cannot be used is logged once, and the last good one stays; so it does while Parameter Store is away.

    Args:
        ssm: A client.
        path: The parameters' common path, without a slash at its end.
        class_names: Of the model.
    """

    def __init__(self, ssm: Any, path: str, class_names: tuple[str, ...], caller: Caller) -> None:
        self._ssm, self._path, self._class_names, self._call = ssm, path, class_names, caller
        self._settings: dict[str, SourceSettings] = {}
        self._texts: dict[str, str] = {}

    def of(self, source: str) -> SourceSettings:
        """A source's settings as they are now."""
        return self._settings.get(source, DEFAULT)

    async def load(self) -> None:
        """Reads all of them, however long that takes.

        Raises:
            ServiceError: If they are closed to us.
        """
        self._take(await self._call(f"ssm read {self._path}", self._read))

    async def run(self, seconds: float) -> None:
        """Reads them again at this interval until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            try:
                self._take(await asyncio.to_thread(self._read))
            except (ClientError, BotoCoreError) as error:
                logger.warning("ssm read %s failed: %s; settings stay as they are", self._path, error_code(error))

    def _read(self) -> dict[str, str]:
        """By source."""
        pages = self._ssm.get_paginator("get_parameters_by_path").paginate(Path=self._path)
        return {
            str(parameter["Name"]).removeprefix(f"{self._path}/"): str(parameter["Value"])
            for page in pages
            for parameter in page["Parameters"]
        }

    def _take(self, texts: dict[str, str]) -> None:
        for source in self._settings.keys() - texts.keys():
            del self._settings[source]
            logger.info("settings of a source removed", extra={"source": source})
        for source, text in texts.items():
            if self._texts.get(source) == text:
                continue
            try:
                self._settings[source] = SourceSettings.parse(text, self._class_names)
                logger.info("settings of a source applied", extra={"source": source})
            except ValueError as error:
                logger.error("%s/%s: %s; it stays as it was", self._path, source, error)
        self._texts = texts
