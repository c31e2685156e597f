"""Clients of AWS's services."""

from __future__ import annotations

from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, InvalidRegionError, NoRegionError
from botocore.handlers import add_expect_header
from botocore.session import get_session

from cloud.credentials import Credentials, credentials
from cloud.errors import Kind, classify, line
from cloud.renewal import renewing
from cloud.unusable import UnusableSettingsError
from cloud.version import VERSION

# CloudTrail and access logs show this user agent. It is fixed, because the SDK would build its own from thirty parts
# for each call, which takes a tenth of a call's time.
USER_AGENT: Final = f"cv2kinesis/{VERSION} boto3/{boto3.__version__}"
# No answer takes longer: a long poll of a queue is limited to a few seconds.
CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 15
ENDPOINTS: Final = "an endpoint is http://host:port or https://host:port, without a user"


def client(
    service: str,
    region: str | None = None,
    *,
    endpoint_url: str | None = None,
    attempts: int = 1,
    connections: int = 10,
) -> Any:
    """Makes a client. By default it tries once: its caller makes the retries, counts them and shows the waits.

    What a service calls expired is tried once more (`cloud.renewal`).

    Args:
        region: None for the SDK's default.
        endpoint_url: None for the SDK's variables, such as `AWS_ENDPOINT_URL`.
        attempts: Attempts of each call.
        connections: Connections that are kept open.

    Raises:
        UnusableSettingsError: If region, endpoint, profile or the SDK's files allow none.
    """
    config = Config(
        region_name=region,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": attempts},
        max_pool_connections=connections,
        tcp_keepalive=True,
        user_agent=USER_AGENT,
    )
    try:
        made = _session().client(service, endpoint_url=endpoint_url, config=config)
        _check(made.meta.endpoint_url, made.meta.region_name or "")
    except NoRegionError:
        raise UnusableSettingsError("no region: set AWS_REGION, or name one") from None
    except (BotoCoreError, ValueError) as error:
        is_of_credentials = isinstance(error, BotoCoreError) and classify(error) is Kind.CREDENTIALS
        text = line(error) if isinstance(error, BotoCoreError) else _no_endpoint(error)
        raise UnusableSettingsError(text, credentials=is_of_credentials) from None
    except Exception as error:  # what the SDK reads has not the form that it takes for granted
        raise UnusableSettingsError(f"the SDK's files are not of the form that it reads: {line(error)}") from None
    credentials.region = made.meta.region_name
    if service == "s3":
        # `Expect: 100-continue` would cost a round trip before each body; the bodies are small and rarely refused.
        made.meta.events.unregister("before-call.s3", add_expect_header)
    renewing(made, service)
    return made


@cache
def _session() -> boto3.Session:
    """One for all clients, since it reads the services' descriptions, and with our credentials in place of its own."""
    core = get_session()
    core.register_component("credential_provider", _Chain())
    return boto3.Session(botocore_session=core)


class _Chain:
    def load_credentials(self) -> Credentials:
        return credentials


def _no_endpoint(error: ValueError) -> str:
    """What is said of an endpoint that is none; one with an `@` may hold a password, and other errors may quote it."""
    text = line(error)
    return f"{text}; {ENDPOINTS}" if text.startswith("Invalid endpoint") and "@" not in text else ENDPOINTS


def _check(endpoint: str, region: str) -> None:
    """Refuses what the SDK finds out in a call, or never.

    Raises:
        ValueError: If the endpoint is none.
        InvalidRegionError: If the region is none.
    """
    try:
        url = urlsplit(endpoint)
        good = url.scheme in ("http", "https") and url.username is None and url.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"Invalid endpoint: {endpoint}")
    if not region.isprintable():
        raise InvalidRegionError(region_name=repr(region))
