"""Where AWS's services are when they are not at AWS: all at one address, or each at its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import boto3

from cloud.endpoints import IGNORE_VARIABLE, VARIABLE, variable

REGION = "eu-central-1"
KEY = "local"


@dataclass(frozen=True, slots=True)
class Services:
    """Addresses of services, and what it takes to be let in.

    Attributes:
        url: Of every service that has no address of its own; empty if there is none.
        urls: Addresses by service, such as `kinesis`.
        key: The access key and its secret; None where every key is good.
        cbor: Whether Kinesis understands CBOR as AWS's does.
    """

    url: str = ""
    urls: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    cbor: bool = False

    @classmethod
    def of(cls, services: str | Self) -> Self:
        """The embedded AWS at an address, or what is one of these already."""
        return cls(services) if isinstance(services, str) else services

    def client(self, service: str, key: str = KEY) -> Any:
        """Makes a client with dummy credentials.

        Args:
            key: The access key where every key is good.
        """
        return boto3.client(
            service,
            endpoint_url=self.urls.get(service, self.url),
            region_name=REGION,
            aws_access_key_id=self.key or key,
            aws_secret_access_key=self.key or KEY,
        )

    def environment(self) -> dict[str, str]:
        """This process's environment variables, changed to use these services and no real account."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        general = {VARIABLE: self.url} if self.url else {}
        return (
            kept
            | general
            | {variable(service): url for service, url in self.urls.items()}
            | {
                IGNORE_VARIABLE: "false",
                "AWS_REGION": REGION,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ACCESS_KEY_ID": self.key or KEY,
                "AWS_SECRET_ACCESS_KEY": self.key or KEY,
                "AWS_EC2_METADATA_DISABLED": "true",
                "CBOR_ENABLED": str(self.cbor).lower(),
            }
        )
