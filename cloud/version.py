"""The version of cv2kinesis, if it was installed as a package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _version() -> str:
    try:
        return version("cv2kinesis")
    except PackageNotFoundError:
        return "unknown"


VERSION: Final = _version()
