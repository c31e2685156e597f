"""The bus of events, and the rules that take events from it to targets, without any Lambda function.

What a target does not take within a day lies in the rule's queue of dead letters, and an alarm tells. Bus, archive,
connections and these queues are encrypted with keys of AWS's: EventBridge writes to the queues by itself, and a key of
one's own would have to be open to it for all of the account's rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cdktf import Fn, TerraformResourceLifecycle, TerraformStack
from cdktf_cdktf_provider_aws.cloudwatch_event_api_destination import CloudwatchEventApiDestination
from cdktf_cdktf_provider_aws.cloudwatch_event_archive import CloudwatchEventArchive
from cdktf_cdktf_provider_aws.cloudwatch_event_bus import CloudwatchEventBus
from cdktf_cdktf_provider_aws.cloudwatch_event_connection import (
    CloudwatchEventConnection,
    CloudwatchEventConnectionAuthParameters,
    CloudwatchEventConnectionAuthParametersApiKey,
)
from cdktf_cdktf_provider_aws.cloudwatch_event_rule import CloudwatchEventRule
from cdktf_cdktf_provider_aws.cloudwatch_event_target import (
    CloudwatchEventTarget,
    CloudwatchEventTargetDeadLetterConfig,
    CloudwatchEventTargetInputTransformer,
    CloudwatchEventTargetRetryPolicy,
)
from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.sns_topic import SnsTopic
from cdktf_cdktf_provider_aws.sns_topic_policy import SnsTopicPolicy
from cdktf_cdktf_provider_aws.sns_topic_subscription import SnsTopicSubscription
from cdktf_cdktf_provider_aws.sqs_queue import SqsQueue

from contract.event import EVENT_SOURCE
from stacks import iam, queue
from stacks.config import Config
from stacks.event_routes import EventRoute
from stacks.names import Names
from stacks.policies import Statement, allow, allow_service, document

SERVICE: Final = "events.amazonaws.com"
# EventBridge's own limits, said here so that nobody has to look them up:
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-event-delivery.html
RETRY_SECONDS: Final = 24 * 3600
RETRIES: Final = 185
# A connection has to have a value when it is made. Terraform ignores what it becomes (`stacks/webhooks.py`).
NO_VALUE: Final = "none"
# The targets that EventBridge reaches with a role; to topics and queues, their own policies let it.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
WITH_ROLE: Final = ("webhook", "bus")
_TEXT: Final = {
    name: f"$.detail.{name}" for name in ("source", "event", "rule", "phase", "started_at", "event_id", "index_key")
}
_TEMPLATE: Final = '"<source>: <event> (<rule>), <phase>. It began at <started_at>. Event <event_id>: <index_key>"'


def pattern(route: EventRoute) -> dict[str, Any]:
    """The events that a route lets through, as EventBridge's pattern."""
    detail = {"source": route.sources, "event": route.kinds, "rule": route.rules, "zone": route.zones}
    found: dict[str, Any] = {"source": [EVENT_SOURCE]}
    if route.phase:
        found["detail-type"] = [f"event {route.phase}"]
    if filters := {name: list(values) for name, values in detail.items() if values}:
        found["detail"] = filters
    return found


class EventBus:
    """The bus, its archive, its rules.

    Args:
        key: The ARN of the key of topics, which EventBridge may use.

    Attributes:
        name: Of the bus.
        dead_letters: The queues of what targets did not take, by rule.
    """

    def __init__(self, stack: TerraformStack, config: Config, account: str, key: str) -> None:
        self._stack, self._config, self._account, self._key = stack, config, account, key
        self._names = Names(config)
        bus = CloudwatchEventBus(stack, "bus", name=self._names.bus, description="events of the sources")
        self.name = bus.name
        if config.events.archive_days:
            CloudwatchEventArchive(
                stack,
                "archive",
                name=self._names.bus,
                description="events of the sources, for a replay",
                event_source_arn=bus.arn,
                retention_days=config.events.archive_days,
            )
        role = self._role()
        self.dead_letters: dict[str, SqsQueue] = {}
        for name, route in config.events.rules.items():
            self._rule(name, route, role)

    def _rule(self, name: str, route: EventRoute, role: IamRole | None) -> None:
        stack = self._stack
        rule = CloudwatchEventRule(
            stack,
            f"event-rule-{name}",
            name=name,
            description=f"events for {route.target} of {name}",
            event_bus_name=self.name,
            event_pattern=Fn.jsonencode(pattern(route)),
        )
        dead_letters = self.dead_letters[name] = queue.make(
            stack, f"event-dead-letters-{name}", self._names.of_rule(name), None
        )
        bury = allow_service("Bury", SERVICE, ["sqs:SendMessage"], [dead_letters.arn], self._account, self._arn(name))
        closed = queue.close(stack, f"event-dead-letters-{name}", dead_letters, [bury])
        CloudwatchEventTarget(
            stack,
            f"event-target-{name}",
            rule=rule.name,
            event_bus_name=self.name,
            target_id=route.target,
            arn=self._target(name, route),
            role_arn=role.arn if role and route.target in WITH_ROLE else None,
            dead_letter_config=CloudwatchEventTargetDeadLetterConfig(arn=dead_letters.arn),
            retry_policy=CloudwatchEventTargetRetryPolicy(
                maximum_event_age_in_seconds=RETRY_SECONDS, maximum_retry_attempts=RETRIES
            ),
            input_transformer=CloudwatchEventTargetInputTransformer(input_paths=_TEXT, input_template=_TEMPLATE)
            if route.email
            else None,
            depends_on=[closed],  # what fails at once is not lost either
        )

    def _target(self, name: str, route: EventRoute) -> str:
        """The target's ARN; what there is not yet is made."""
        if route.email:
            return self._topic(name, route.email)
        if route.webhook:
            return self._destination(name, route)
        return route.sns or route.queue or route.bus

    def _topic(self, name: str, email: str) -> str:
        topic = SnsTopic(
            self._stack, f"event-topic-{name}", name=self._names.of_rule(name), kms_master_key_id=self._key
        )
        publish = allow_service("Publish", SERVICE, ["sns:Publish"], [topic.arn], self._account, self._arn(name))
        policy = document(self._stack, f"event-topic-permissions-{name}", [publish])
        SnsTopicPolicy(self._stack, f"event-topic-policy-{name}", arn=topic.arn, policy=policy.json)
        SnsTopicSubscription(self._stack, f"event-email-{name}", topic_arn=topic.arn, protocol="email", endpoint=email)
        return str(topic.arn)

    def _destination(self, name: str, route: EventRoute) -> str:
        key = CloudwatchEventConnectionAuthParametersApiKey(key=route.header, value=NO_VALUE)
        connection = CloudwatchEventConnection(
            self._stack,
            f"event-connection-{name}",
            name=self._names.of_rule(name),
            authorization_type="API_KEY",
            auth_parameters=CloudwatchEventConnectionAuthParameters(api_key=key),
            lifecycle=TerraformResourceLifecycle(ignore_changes=["auth_parameters"]),
        )
        destination = CloudwatchEventApiDestination(
            self._stack,
            f"event-destination-{name}",
            name=self._names.of_rule(name),
            invocation_endpoint=route.webhook,
            http_method="POST",
            connection_arn=connection.arn,
        )
        return str(destination.arn)

    def _role(self) -> IamRole | None:
        """What EventBridge takes to call webhooks and other buses; None if no rule has one."""
        if not (statements := list(self._permissions())):
            return None
        return iam.role(
            self._stack, self._config, "routes", self._account, statements, service=SERVICE, source=self._arn("*")
        )

    def _permissions(self) -> Iterator[Statement]:
        routes = self._config.events.rules
        if webhooks := [name for name, route in routes.items() if route.webhook]:
            arns = [self._names.destination(self._account, name) for name in webhooks]
            yield allow("CallWebhooks", ["events:InvokeApiDestination"], arns)
        if buses := other_buses(self._config):
            yield allow("TellBuses", ["events:PutEvents"], buses)

    def _arn(self, rule: str) -> str:
        return self._names.arn(self._account, "events", f"rule/{self._names.bus}/{rule}")


def other_buses(config: Config) -> list[str]:
    """ARNs of the buses that rules tell."""
    return sorted({route.bus for route in config.events.rules.values() if route.bus})
