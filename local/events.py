"""Where moto's EventBridge departs from the service, and the corrections.

| moto 5.2                                              | EventBridge                                          |
| ----------------------------------------------------- | ---------------------------------------------------- |
| a topic as a target fails the call of `PutEvents`     | publishes the event                                  |
| a webhook is called without the event and its secret  | gets both by POST                                    |
| a target that fails, fails the call of `PutEvents`    | the event goes to the target's queue of dead letters |
| a rule that is turned off still passes events         | passes none                                          |
| an event tells the time in seconds                    | in ISO 8601                                          |
| templates and archives need a package of JSON paths     | need none                                            |
| describing a connection tells its secret              | does not                                             |

EventBridge tries again for a day; here a target has one attempt. `correct()` puts the corrections into moto, once per
process.
"""

from __future__ import annotations

import copy
import json
import re
from datetime import UTC, datetime
from typing import Any, Final

import requests
from moto.events.models import Connection, Rule, events_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends
from moto.utilities.arns import parse_arn

# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-api-destinations.html
WEBHOOK_SECONDS: Final = 5.0
# What begins the name of an archive's own rule.
ARCHIVE: Final = "Events-Archive-"
_SECRETS: Final = ("ApiKeyValue", "Password", "ClientSecret")

_stock_send = Rule.send_to_targets
_stock_describe = Connection.describe


def _send_to_targets(self: Rule, original_event: Any, transform_input: bool = True) -> None:
    if self.state == "DISABLED" or not self.event_pattern.matches_event(original_event):
        return
    for target in self.targets:
        arn = parse_arn(target["Arn"])
        if self.managed_by:  # an archive's
            backend = events_backends[self.account_id][self.region_name]
            backend.archives[self.name.removeprefix(ARCHIVE)].events.append(original_event)
            continue
        if arn.service not in ("sqs", "sns") and arn.resource_type not in ("api-destination", "event-bus"):
            only = copy.copy(self)
            only.targets = [target]
            _stock_send(only, original_event, transform_input)
            continue
        try:
            _deliver(self, target, arn, original_event, transform_input)
        except Exception as error:  # whatever a target's service says
            _bury(target, original_event, self.arn, error)


def _deliver(rule: Rule, target: dict[str, Any], arn: Any, event: Any, transform: bool) -> None:
    if arn.resource_type == "event-bus":
        entry = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])}
        events_backends[arn.account][arn.region].put_events([entry | {"EventBusName": arn.resource_id}])
        return
    text = _text(target.get("InputTransformer") if transform else None, event)
    if arn.service == "sqs":
        group = target.get("SqsParameters", {}).get("MessageGroupId")
        sqs_backends[arn.account][arn.region].send_message(arn.resource_id, text, group_id=group)
    elif arn.service == "sns":
        sns_backends[arn.account][arn.region].publish(text, target["Arn"])
    else:
        _post(rule, target, arn.resource_id.partition("/")[0], text)


def _post(rule: Rule, target: dict[str, Any], destination: str, text: str) -> None:
    backend = events_backends[rule.account_id][rule.region_name]
    webhook = backend.destinations[destination]
    connection = backend.connections[webhook.connection_arn.partition("connection/")[2].partition("/")[0]]
    headers = {"Content-Type": "application/json; charset=utf-8"}
    headers |= target.get("HttpParameters", {}).get("HeaderParameters", {})
    if key := connection.auth_parameters.get("ApiKeyAuthParameters"):
        headers[key["ApiKeyName"]] = key["ApiKeyValue"]
    requests.request(
        webhook.http_method, webhook.invocation_endpoint, data=text.encode(), headers=headers, timeout=WEBHOOK_SECONDS
    ).raise_for_status()


def _text(transformer: dict[str, Any] | None, event: Any) -> str:
    """What a target gets: the whole event, or what a template makes of it."""
    whole: Any = {name: value for name, value in event.items() if name != "ingestion-time"}
    time = whole["time"]
    if not isinstance(time, str):
        whole["time"] = f"{datetime.fromtimestamp(float(time), UTC):%Y-%m-%dT%H:%M:%SZ}"
    if not transformer:
        return json.dumps(whole)
    values = {name: _at(whole, path) for name, path in transformer.get("InputPathsMap", {}).items()}
    template = str(transformer["InputTemplate"])
    in_quotes = template.startswith('"')

    def value(placeholder: re.Match[str]) -> str:
        found = values[placeholder[1]]
        return json.dumps(str(found))[1:-1] if in_quotes else json.dumps(found)

    return json.dumps(json.loads(re.sub(r"<([\w-]+)>", value, template)))


def _at(event: Any, path: str) -> Any:
    """What is at a path of names, such as `$.detail.source`."""
    for name in path.split(".")[1:]:
        event = event.get(name) if isinstance(event, dict) else None
    return event


def _bury(target: dict[str, Any], event: Any, rule: str, error: Exception) -> None:
    if not (queue := target.get("DeadLetterConfig", {}).get("Arn")):
        return
    arn = parse_arn(queue)
    said = {
        "ERROR_CODE": type(error).__name__,
        "ERROR_MESSAGE": str(error),
        "RULE_ARN": rule,
        "TARGET_ARN": target["Arn"],
    }
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in said.items()}
    sqs_backends[arn.account][arn.region].send_message(arn.resource_id, _text(None, event), attributes)


def _describe(self: Connection) -> dict[str, Any]:
    found = copy.deepcopy(_stock_describe(self))
    for parameters in found["AuthParameters"].values():
        for secret in _SECRETS:
            parameters.pop(secret, None)
    return found


def correct() -> None:
    """Puts the corrections into moto."""
    rule: Any = Rule
    rule.send_to_targets = _send_to_targets
    connection: Any = Connection
    connection.describe = _describe
