"""Settings of single sources, as operators keep them in Parameter Store; workers apply them within half a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contract.errors import FrameError
from contract.frame import check_source
from contract.source_settings import MAX_BYTES, SourceSettings
from stacks.config import Config
from stacks.errors import DeployError
from stacks.names import Names


def sources_path(config: Config) -> str:
    """The common path of the parameters."""
    return Names(config).parameter("sources")


def source_defaults(config: Config) -> dict[str, Any]:
    """The settings of all sources that an environment gives."""
    return config.sources.model_dump(mode="json", by_alias=True, exclude_unset=True)


def show(ssm: Any, config: Config) -> list[str]:
    """A line for each source that has settings; if workers cannot use them, the line says why."""
    path = sources_path(config)
    lines = []
    for page in ssm.get_paginator("get_parameters_by_path").paginate(Path=path):
        for parameter in page["Parameters"]:
            text = parameter["Value"]
            try:
                SourceSettings.parse(text, defaults=config.sources)
            except ValueError as error:
                text = f"not usable: {error}"
            lines.append(f"{parameter['Name'].removeprefix(path + '/')}  {text}")
    return lines


def put(ssm: Any, config: Config, source: str, file: Path) -> None:
    """Checks a JSON file and makes it a source's settings.

    Raises:
        DeployError: If the source or the settings cannot be used.
    """
    _check(source)
    try:
        text = file.read_text()
        settings = SourceSettings.parse(text)
        SourceSettings.parse(text, defaults=config.sources)  # as workers read it: one may contradict the other
    except OSError as error:
        raise DeployError(f"--settings {file}: {error.strerror}") from None
    except ValueError as error:
        raise DeployError(f"--settings {file}: {error}") from None
    value = settings.model_dump_json(exclude_unset=True, by_alias=True)
    if len(value.encode()) > MAX_BYTES:
        raise DeployError(f"--settings {file}: {len(value.encode())} bytes: a parameter holds {MAX_BYTES}")
    ssm.put_parameter(Name=f"{sources_path(config)}/{source}", Value=value, Type="String", Overwrite=True)


def remove(ssm: Any, config: Config, source: str) -> None:
    """Removes a source's own settings.

    Raises:
        DeployError: If the source has none.
    """
    _check(source)
    try:
        ssm.delete_parameter(Name=f"{sources_path(config)}/{source}")
    except ssm.exceptions.ParameterNotFound:
        raise DeployError(f"--source {source}: has no settings") from None


def _check(source: str) -> None:
    try:
        check_source(source)
    except FrameError as error:
        raise DeployError(f"--source: {error.detail}") from None
