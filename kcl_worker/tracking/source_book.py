"""The current settings of single sources in Parameter Store."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from contract.source_settings import DEFAULT, Privacy, SourceSettings
from kcl_worker.errors import ServiceError
from kcl_worker.storing.caller import Caller
from kcl_worker.storing.sinks import RENEW_SECONDS, StateStore
from kcl_worker.tracking.tracker import load_library

logger = logging.getLogger(__name__)

# The most that GetParametersByPath gives at once.
PAGE: Final = 10
# Wherever these stand, something is meant to be hidden.
HIDING: Final = frozenset({"privacy", *Privacy.model_fields})
NOTHING_SHOWN: Final = SourceSettings(store="none", privacy=Privacy(masks=(((0, 0), (1, 0), (1, 1), (0, 1)),)))


class SourceBook:
    """The settings of all sources, read at intervals.

    An unusable value is logged once, and the last good one stays. It also stays while Parameter Store is down. That of
    a source which hides something outlives the worker. Where there is none, and the unusable value may be meant to hide
    something, nothing of the source is shown.

    Args:
        ssm: A client of Systems Manager; not needed without a path.
        path: The parameters' common path, without a slash at its end; empty: no source has settings of its own.
        class_names: The model's class names.
        defaults: Of all sources.
        memory: Where the last good settings outlive the worker.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        ssm: Any,
        path: str,
        class_names: tuple[str, ...],
        caller: Caller,
        defaults: SourceSettings = DEFAULT,
        memory: StateStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ssm, self._path, self._class_names, self._call = ssm, path, class_names, caller
        self._defaults, self._memory, self._clock = defaults, memory, clock
        self._settings: dict[str, SourceSettings] = {}
        self._texts: dict[str, str] = {}
        # What is remembered of sources that hide something, and when it was stored.
        self._remembered: dict[str, tuple[str, float]] = {}

    def of(self, source: str) -> SourceSettings:
        """A source's current settings."""
        return self._settings.get(source, self._defaults)

    @property
    def may_remember(self) -> bool:
        """Whether any source may want something remembered of its frames."""
        return bool(self._path) or self._defaults.remembers

    def anything_hidden(self) -> bool:
        """Whether any source hides something."""
        return any(settings.privacy.hides for settings in (self._defaults, *self._settings.values()))

    async def load(self) -> None:
        """Reads all settings, however long that takes.

        Raises:
            ServiceError: If reading them is forbidden.
        """
        if self._path:
            await self._take(await self._read())

    async def run(self, seconds: float) -> None:
        """Reads the settings again at this interval until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self._take(await self._read())
            except ServiceError as error:
                logger.warning("%s; settings stay as they are", error)

    async def _read(self) -> dict[str, str]:
        """The parameters' values by source.

        Parameter Store gives ten a call, and an account may make 40 calls a second, shared by all of its workers: each
        page is asked for until it comes, and none a second time.
        """
        texts: dict[str, str] = {}
        token: dict[str, str] = {}
        while True:
            page = await self._call(f"ssm read {self._path}", partial(self._page, token))
            for parameter in page["Parameters"]:
                texts[str(parameter["Name"]).removeprefix(f"{self._path}/")] = str(parameter["Value"])
            if not page.get("NextToken"):
                return texts
            token = {"NextToken": page["NextToken"]}

    def _page(self, token: dict[str, str]) -> Any:
        return self._ssm.get_parameters_by_path(Path=self._path, MaxResults=PAGE, **token)

    async def _take(self, texts: dict[str, str]) -> None:
        for source in self._settings.keys() - texts.keys():
            del self._settings[source]
            self._remembered.pop(source, None)
            logger.info("settings of a source removed", extra={"source": source})
        for source, text in texts.items():
            if self._texts.get(source) == text:
                continue
            try:
                settings = await self._parse(text)
            except ValueError as error:
                logger.error("%s/%s: %s; it stays as it was", self._path, source, error)
                if source not in self._settings and (recalled := await self._recall(source, text)):
                    self._settings[source] = recalled
                continue
            if settings.privacy.hides or self.of(source).privacy.hides:
                await self._remember(source, text)
            self._settings[source] = settings
            logger.info("settings of a source applied", extra={"source": source})
        self._texts = texts
        for source, (text, stored) in [*self._remembered.items()]:
            if self._clock() - stored >= RENEW_SECONDS:
                await self._remember(source, text)

    async def _remember(self, source: str, text: str) -> None:
        if self._memory:
            await self._memory.put(_memory_of(source), text)
            self._remembered[source] = text, self._clock()

    async def _recall(self, source: str, unusable: str) -> SourceSettings | None:
        """What a worker before this one has applied last to a source which hid something; None if none did, and the
        unusable text is not meant to."""
        text = await self._memory.get(_memory_of(source)) if self._memory else None
        with suppress(ValueError):
            if text is not None:
                settings = await self._parse(text)
                await self._remember(source, text)
                return settings
        if text is None and not _may_hide(unusable):
            return None
        logger.error("%s/%s: nothing of it is shown until its settings can be used", self._path, source)
        return NOTHING_SHOWN

    async def _parse(self, text: str) -> SourceSettings:
        """Reads a parameter's value.

        Raises:
            ValueError: If it cannot be used, here or anywhere.
        """
        settings = SourceSettings.parse(text, self._class_names, self._defaults)
        await prepare(settings)
        return settings


def _memory_of(source: str) -> str:
    return f"settings/{source}"


def _names_but_privacy() -> frozenset[str]:
    """Names of settings and of their parts that hide nothing."""
    schema = SourceSettings.model_json_schema()
    parts = [schema, *schema["$defs"].values()]
    return frozenset(name for part in parts for name in part.get("properties", ())) - HIDING


def _may_hide(unusable: str) -> bool:
    """Whether a text that cannot be used may be meant to hide something: all but settings of other names, at any
    depth, for a brace may be in the wrong place."""
    names: set[str] = set()

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names.update(name for name, _ in pairs)
        return dict(pairs)

    try:
        values = json.loads(unusable, object_pairs_hook=note)
    except (ValueError, RecursionError):  # of a text that is nested too deeply
        return True
    if not isinstance(values, dict):
        return True
    return not (values.keys() <= SourceSettings.model_fields.keys() and names <= _names_but_privacy())


async def prepare(settings: SourceSettings) -> None:
    """Loads what settings need, now and not at the source's next frame, which could not be processed without it.

    Raises:
        ValueError: If it is not installed.
    """
    if settings.tracks:
        try:
            await asyncio.to_thread(load_library)
        except ImportError as error:
            raise ValueError(f"tracking: the extra `tracking` is not installed here: {error}") from None
