"""Which resource a request to moto names, for the check of its permission: the ARN, or `*` where there is none.

moto determines S3's by itself. The forms of ARNs, and which actions know no resource:
https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from moto.cloudwatch.responses import CloudWatchResponse
from moto.dynamodb.responses import DynamoHandler
from moto.ecr.responses import ECRResponse
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.events.responses import EventsHandler
from moto.iam.responses import IamResponse
from moto.kinesis.responses import KinesisResponse
from moto.kinesis.utils import decompose_shard_iterator
from moto.kms.responses import KmsResponse
from moto.logs.responses import LogsResponse
from moto.sns.responses import SNSResponse
from moto.sqs.responses import SQSResponse
from moto.ssm.responses import SimpleSystemManagerResponse

ANY: Final = "*"


def _arn(self: Any, service: str, resource: str) -> str:
    return f"arn:aws:{service}:{self.region}:{self.current_account}:{resource}"


def _given(self: Any, *names: str) -> str:
    """The first of some parameters that the request has; of a list, its first element."""
    for name in names:
        value = self._get_param(name)
        if isinstance(value, list):
            value = value[0] if value else ""
        if value:
            return str(value)
    return ""


def _parameters(self: Any) -> dict[str, Any]:
    body: Any = self.body or "{}"  # DynamoDB's body is decoded already
    parameters: dict[str, Any] = body if isinstance(body, dict) else json.loads(body)
    return parameters


def _stream(self: Any) -> str:
    if arn := _given(self, "StreamARN", "ResourceARN"):
        return arn
    name = _given(self, "StreamName")
    if not name and (iterator := _given(self, "ShardIterator")):
        name = decompose_shard_iterator(iterator)[0]
    return _arn(self, "kinesis", f"stream/{name}") if name else ANY


def _table(self: Any) -> str:
    parameters = _parameters(self)
    name = parameters.get("TableName") or parameters.get("ResourceArn")
    name = name or next(iter(parameters.get("RequestItems", {})), None)
    if not name:
        return ANY
    arn = str(name) if name.startswith("arn:") else _arn(self, "dynamodb", f"table/{name}")
    index = parameters.get("IndexName")
    return f"{arn}/index/{index}" if index else arn


def _queue(self: Any) -> str:
    name = _given(self, "QueueName") or _given(self, "QueueUrl").rpartition("/")[2]
    return _arn(self, "sqs", name) if name else ANY


def _parameter(self: Any) -> str:
    if self._get_action() == "DescribeParameters":
        return ANY
    name = _given(self, "Name", "Path", "Names", "ResourceId")
    return _arn(self, "ssm", f"parameter/{name.lstrip('/')}") if name else ANY


def _of_logs(self: Any) -> str:
    if arn := _given(self, "resourceArn"):
        return arn
    name = _given(self, "logGroupName")
    return _arn(self, "logs", f"log-group:{name}:*") if name else ANY


def _of_sns(self: Any) -> str:
    if arn := _given(self, "TopicArn", "ResourceArn", "SubscriptionArn"):
        return arn
    name = _given(self, "Name")
    return _arn(self, "sns", name) if name else ANY


# By what the names of EventBridge's actions end with.
_EVENTS_KINDS: Final = {"EventBus": "event-bus", "Connection": "connection", "ApiDestination": "api-destination"}


def _of_events(self: Any) -> str:
    if arn := _given(self, "ResourceARN"):
        return arn
    action, name = self._get_action(), _given(self, "Rule", "Name")
    if action == "PutEvents":
        buses = {entry.get("EventBusName", "default") for entry in self._get_param("Entries") or []}
        # IAM looks at each entry. Entries for several buses are none of this project's.
        bus = buses.pop() if len(buses) == 1 else ANY
        return bus if bus.startswith("arn:") else _arn(self, "events", f"event-bus/{bus}")
    if archive := _given(self, "ArchiveName"):
        return _arn(self, "events", f"archive/{archive}")
    for end, kind in _EVENTS_KINDS.items():
        if action.endswith(end):
            # Connections and destinations have an id behind their names, which a call by name does not say.
            return _arn(self, "events", f"{kind}/{name}" + ("" if kind == "event-bus" else "/0"))
    bus = _given(self, "EventBusName").rpartition("/")[2]
    rule = f"{bus}/{name}" if bus and bus != "default" else name
    return _arn(self, "events", f"rule/{rule}") if name else ANY


def _of_cloudwatch(self: Any) -> str:
    action = self._get_action()
    if action in ("PutMetricData", "GetMetricStatistics", "GetMetricData", "ListMetrics"):
        return ANY
    if arn := _given(self, "ResourceARN"):
        return arn
    if name := _given(self, "DashboardName", "DashboardNames"):
        return f"arn:aws:cloudwatch::{self.current_account}:dashboard/{name}"
    return _arn(self, "cloudwatch", f"alarm:{_given(self, 'AlarmName', 'AlarmNames') or ANY}")


def _of_ecr(self: Any) -> str:
    if arn := _given(self, "resourceArn"):
        return arn
    name = _given(self, "repositoryName", "repositoryNames")
    return _arn(self, "ecr", f"repository/{name}") if name else ANY


# Actions of ECS that know no resource, or a container instance alone, which Fargate has none of.
_ECS_ANY: Final = ("RegisterTaskDefinition", "DeregisterTaskDefinition", "DescribeTaskDefinition", "ListTasks")


def _of_ecs(self: Any) -> str:
    if arn := _given(self, "resourceArn"):
        return arn
    if self._get_action() in _ECS_ANY:
        return ANY
    cluster = _given(self, "cluster", "clusters", "clusterName").rpartition("/")[2]
    for kind, names in (("service", ("service", "services", "serviceName")), ("task", ("task", "tasks"))):
        if name := _given(self, *names).rpartition("/")[2]:
            return _arn(self, "ecs", f"{kind}/{cluster}/{name}")
    return _arn(self, "ecs", f"cluster/{cluster}") if cluster else ANY


def _of_iam(self: Any) -> str:
    arn = _given(self, "PolicyArn", "OpenIDConnectProviderArn")
    if arn and not _given(self, "RoleName"):  # which is the resource where both are named
        return arn
    for kind, name in (("role", "RoleName"), ("user", "UserName"), ("policy", "PolicyName")):
        if given := _given(self, name):
            return f"arn:aws:iam::{self.current_account}:{kind}/{given}"
    return ANY


def _of_kms(self: Any) -> str:
    """An alias's change needs the right to alias and key; here it counts as the alias's."""
    if alias := _given(self, "AliasName"):
        return _arn(self, "kms", alias)
    key = key_of(self)
    return str(key.arn) if key else ANY


def key_of(self: Any) -> Any:
    """The key that a request to KMS names, if it is there."""
    if not (given := _given(self, "KeyId")):
        return None
    backend = self.kms_backend
    name = backend.get_alias_name(given)
    found = backend.get_key_id_from_alias(name) if name.startswith("alias/") else backend.get_key_id(given)
    return backend.keys.get(found)


RESOURCES: Final[dict[Any, Callable[[Any], str]]] = {
    KinesisResponse: _stream,
    DynamoHandler: _table,
    SQSResponse: _queue,
    SimpleSystemManagerResponse: _parameter,
    LogsResponse: _of_logs,
    SNSResponse: _of_sns,
    EventsHandler: _of_events,
    CloudWatchResponse: _of_cloudwatch,
    ECRResponse: _of_ecr,
    EC2ContainerServiceResponse: _of_ecs,
    IamResponse: _of_iam,
    KmsResponse: _of_kms,
}
