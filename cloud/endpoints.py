"""Endpoints of services that are not at AWS's own addresses: the SDKs' variables, with the SDKs' precedence.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

VARIABLE: Final = "AWS_ENDPOINT_URL"
IGNORE_VARIABLE: Final = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"


def endpoint_url(service: str) -> str | None:
    """The endpoint of a service such as `kinesis`; None for AWS's own. A service's own variable overrides the general
    one, and `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true` overrides both."""
    if ignored(os.environ):
        return None
    return os.environ.get(variable(service)) or os.environ.get(VARIABLE) or None


def variable(service: str) -> str:
    """A service's own variable."""
    return f"{VARIABLE}_{service.upper().replace(' ', '_').replace('-', '_')}"


def ignored(environment: Mapping[str, str]) -> bool:
    """Whether the variables of endpoints count for nothing."""
    return environment.get(IGNORE_VARIABLE, "").lower() == "true"


def for_java(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without the endpoints that do not count, because the SDK for Java 2.33 knows no variable to
    ignore them and takes an empty one for an address."""
    ignore = ignored(environment)
    return {
        name: value for name, value in environment.items() if not name.startswith(VARIABLE) or (value and not ignore)
    }
