"""Gives webhooks their secrets, past Terraform's state.

EventBridge takes the value of a connection's header itself, never the name of a secret, and Terraform 5's resource
would keep it in the state. So the stack makes a connection without one, ignores what it becomes, and a deployment hands
the value over from Parameter Store; EventBridge keeps it in Secrets Manager.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-target-connection-auth.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from cloud.errors import code_of
from stacks.config import Config
from stacks.errors import DeployError
from stacks.names import Names


def authorise(client: Callable[[str], Any], config: Config) -> list[str]:
    """Hands the secrets of all webhooks over; gives the names of their rules.

    Raises:
        DeployError: If a parameter is missing or forbidden.
    """
    given = {name: route for name, route in config.events.rules.items() if route.secret}
    if not given:
        return []
    ssm, events = client("ssm"), client("events")
    for name, route in given.items():
        key = {"ApiKeyName": route.header, "ApiKeyValue": _value(ssm, name, route.secret)}
        events.update_connection(
            Name=Names(config).of_rule(name), AuthorizationType="API_KEY", AuthParameters={"ApiKeyAuthParameters": key}
        )
    return list(given)


def _value(ssm: Any, rule: str, parameter: str) -> str:
    try:
        return str(ssm.get_parameter(Name=parameter, WithDecryption=True)["Parameter"]["Value"])
    except ClientError as error:
        raise DeployError(
            f"events.rules.{rule}.secret {parameter}: {code_of(error)}: `aws ssm put-parameter --type SecureString "
            f"--name {parameter} --value …` makes it"
        ) from None
