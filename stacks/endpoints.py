"""Which services have endpoints in the VPC."""

from __future__ import annotations

from typing import Final

from stacks.config import Config

# Services that a task calls. With `egress = "endpoints"`, each has an interface in the private subnets. Metrics travel
# in the log, and ECS itself hands out credentials, so that nobody calls CloudWatch or STS.
STREAM_INTERFACE: Final = "kinesis-streams"
INTERFACES: Final = (STREAM_INTERFACE, "sqs", "logs", "ssm", "ecr.api", "ecr.dkr")
EVENTS_INTERFACE: Final = "events"
# Which carries the sessions of ECS Exec.
SHELL_INTERFACE: Final = "ssmmessages"
# They cost nothing.
GATEWAYS: Final = ("s3", "dynamodb")


def interfaces(config: Config) -> tuple[str, ...]:
    """The services that have an interface in the private subnets of an environment."""
    if config.network.egress != "endpoints":
        return (STREAM_INTERFACE,) if config.network.kinesis_endpoint else ()
    bus = (EVENTS_INTERFACE,) if config.events.bus else ()
    return (*INTERFACES, *bus, *((SHELL_INTERFACE,) if config.service.exec else ()))
