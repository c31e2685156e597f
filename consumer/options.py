"""Options, clients and the error exit that the commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from cloud import clients, outputs
from cloud.unusable import UnusableSettingsError
from consumer.errors import AccessError, ConsumerError
from contract.source_settings import SourceSettings
from terminal.text import plain

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
        metavar="FILE",
        is_eager=True,
        callback=_from_outputs,
        help="Queues, bucket and region from what `make outputs` printed.",
    ),
]
QueueUrl = Annotated[str, typer.Option(envvar="SQS_QUEUE_URL", help="The queue of results.")]
QuarantineUrl = Annotated[
    str, typer.Option("--queue-url", envvar="QUARANTINE_QUEUE_URL", help="The queue of notices of quarantine.")
]
# Messages may come from anyone, so nothing is read from any other bucket.
BUCKET: Final = typer.Option("--bucket", envvar="S3_BUCKET_NAME", help="The pipeline's; objects of others are refused.")
Bucket = Annotated[str, BUCKET]
EndpointUrl = Annotated[
    str | None,
    typer.Option(help="Of services that are not on AWS. Default: the SDK's variables, as AWS_ENDPOINT_URL."),
]
StreamName = Annotated[
    str | None, typer.Option("--stream", envvar="KINESIS_STREAM_NAME", help="Whose original frames are read.")
]
SourcesPath = Annotated[
    str | None,
    typer.Option(envvar="SOURCES_PATH", help="Path of sources' settings in Parameter Store, which say what is hidden."),
]
SourceDefaults = Annotated[
    str, typer.Option(envvar="SOURCE_DEFAULTS", help="Settings of all sources, as JSON, as workers have them.")
]
Region = Annotated[str, typer.Option(envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], help="Of queue and bucket.")]


def client(service: str, region: str, *, endpoint_url: str | None = None, connections: int = 10) -> Any:
    """Makes a client; ends the command where the SDK's settings allow none."""
    try:
        return clients.client(service, region, endpoint_url=endpoint_url, connections=connections)
    except UnusableSettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(AccessError.exit_status if error.credentials else 2) from None


def source_defaults(text: str) -> SourceSettings:
    """Reads the settings of all sources; ends the command where they cannot be used."""
    try:
        return SourceSettings.parse(text or "{}")
    except ValueError as error:
        print(f"error: --source-defaults: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def fail(error: ConsumerError) -> NoReturn:
    """Ends the command with the error's line and exit status."""
    print(f"error: {plain(str(error))}", file=sys.stderr)
    raise typer.Exit(error.exit_status)
