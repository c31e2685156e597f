"""Which services have endpoints in the VPC."""

from __future__ import annotations

from typing import Final

# Services that a task calls. With `egress = "endpoints"`, each has an interface in the private subnets. Metrics travel
# in the log, and ECS itself hands out credentials, so that nobody calls CloudWatch or STS.
STREAM_INTERFACE: Final = "kinesis-streams"
INTERFACES: Final = (STREAM_INTERFACE, "sqs", "logs", "ssm", "ecr.api", "ecr.dkr")
# They cost nothing.
GATEWAYS: Final = ("s3", "dynamodb")
