"""Gives webhooks their secrets, past Terraform's state.

EventBridge takes the value of a connection's header itself, never the name of a secret, and the provider's resource
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


def read_secrets(client: Callable[[str], Any], config: Config) -> dict[str, str]:
    """The secrets of webhooks by rule.

    Raises:
        DeployError: If a parameter is missing or forbidden.
    """
    given = {name: route.secret for name, route in config.events.rules.items() if route.secret}
    ssm = client("ssm") if given else None
    return {name: _value(ssm, name, parameter) for name, parameter in given.items()}


def hand_over(client: Callable[[str], Any], config: Config, secrets: dict[str, str]) -> None:
    """Gives webhooks their secrets."""
    events: Any = client("events") if secrets else None
    for name, secret in secrets.items():
        key = {"ApiKeyName": config.events.rules[name].header, "ApiKeyValue": secret}
        events.update_connection(
            Name=Names(config).of_rule(name), AuthorizationType="API_KEY", AuthParameters={"ApiKeyAuthParameters": key}
        )


def _value(ssm: Any, rule: str, parameter: str) -> str:
    try:
        return str(ssm.get_parameter(Name=parameter, WithDecryption=True)["Parameter"]["Value"])
    except ClientError as error:
        raise DeployError(
            f"events.rules.{rule}.secret {parameter}: {code_of(error)}: `aws ssm put-parameter --type SecureString "
            f"--name {parameter} --value …` makes it"
        ) from None
