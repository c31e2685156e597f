"""What the commands share: options, clients, and how a command fails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import boto3
import typer
from botocore.config import Config

from consumer.errors import ConsumerError
from contract import outputs

EXIT_STATUS = """
[bold]Exit status[/bold]

0 done or Ctrl-C · 1 other error · 2 wrong usage · 3 no such queue · 4 no credentials or not allowed ·
5 folder cannot be written · 6 service out of reach
"""


def _from_outputs(path: Path | None) -> None:
    try:
        if path:
            outputs.into_environment(path)
    except outputs.OutputsError as error:
        print(f"error: --from-outputs: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


FromOutputs = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", is_eager=True, callback=_from_outputs, help="Queue and region from what `make outputs` printed."
    ),
]
QueueUrl = Annotated[str, typer.Option(envvar="SQS_QUEUE_URL", help="The queue of results.")]
QuarantineUrl = Annotated[
    str, typer.Option("--queue-url", envvar="QUARANTINE_QUEUE_URL", help="The queue of notices of quarantine.")
]
EndpointUrl = Annotated[str | None, typer.Option(envvar="AWS_ENDPOINT_URL", help="Of services that are not on AWS.")]
Region = Annotated[str, typer.Option(envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], help="Of queue and bucket.")]


def client(service: str, endpoint_url: str | None, region: str) -> Any:
    """A client that tries once; retries are the caller's."""
    # A receive waits at the queue for some seconds.
    config = Config(
        region_name=region,
        retries={"total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=30,
        tcp_keepalive=True,
    )
    return boto3.client(service, endpoint_url=endpoint_url, config=config)


def fail(error: ConsumerError) -> NoReturn:
    """Ends the command with its one line."""
    print(f"error: {error}", file=sys.stderr)
    raise typer.Exit(error.exit_status)
