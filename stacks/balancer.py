"""The load balancer that forwards `/health` alone; an environment may do without."""

from __future__ import annotations

from cdktf import ITerraformDependable, TerraformStack
from cdktf_cdktf_provider_aws.lb import Lb
from cdktf_cdktf_provider_aws.lb_listener import (
    LbListener,
    LbListenerDefaultAction,
    LbListenerDefaultActionFixedResponse,
    LbListenerDefaultActionRedirect,
)
from cdktf_cdktf_provider_aws.lb_listener_rule import (
    LbListenerRule,
    LbListenerRuleAction,
    LbListenerRuleCondition,
    LbListenerRuleConditionPathPattern,
)
from cdktf_cdktf_provider_aws.lb_target_group import LbTargetGroup, LbTargetGroupHealthCheck

from stacks.config import Config
from stacks.names import Names
from stacks.network import WORKER_PORT, Network


class Balancer:
    """Listener, rule and target group of the worker's health.

    Attributes:
        url: Where it answers.
        target: The group that the service's tasks join.
        ready: What has to be there before they do.
        dimensions: Of its metrics.
    """

    def __init__(self, stack: TerraformStack, config: Config, network: Network) -> None:
        certificate = config.network.certificate_arn
        balancer = Lb(
            stack,
            "balancer",
            name=Names(config).own(),
            load_balancer_type="application",
            internal=False,
            security_groups=[network.balancer_group],
            subnets=network.public,
            drop_invalid_header_fields=True,
            depends_on=[network.gateway] if network.gateway else None,
        )
        self.target = LbTargetGroup(
            stack,
            "target",
            name=Names(config).own(),
            port=WORKER_PORT,
            protocol="HTTP",
            target_type="ip",
            vpc_id=network.vpc.id,
            deregistration_delay="10",
            health_check=LbTargetGroupHealthCheck(
                path="/health", matcher="200", interval=15, timeout=5, healthy_threshold=2, unhealthy_threshold=4
            ),
        )
        nothing = LbListenerDefaultAction(
            type="fixed-response",
            fixed_response=LbListenerDefaultActionFixedResponse(
                content_type="text/plain", message_body="/health is here", status_code="404"
            ),
        )
        if certificate:
            LbListener(
                stack,
                "listener-http",
                load_balancer_arn=balancer.arn,
                port=80,
                protocol="HTTP",
                default_action=[
                    LbListenerDefaultAction(
                        type="redirect",
                        redirect=LbListenerDefaultActionRedirect(port="443", protocol="HTTPS", status_code="HTTP_301"),
                    )
                ],
            )
        listener = LbListener(
            stack,
            "listener",
            load_balancer_arn=balancer.arn,
            port=443 if certificate else 80,
            protocol="HTTPS" if certificate else "HTTP",
            certificate_arn=certificate or None,
            ssl_policy="ELBSecurityPolicy-TLS13-1-2-2021-06" if certificate else None,
            default_action=[nothing],
        )
        # ECS takes no target group that no balancer uses.
        rule = LbListenerRule(
            stack,
            "health-rule",
            listener_arn=listener.arn,
            priority=1,
            condition=[LbListenerRuleCondition(path_pattern=LbListenerRuleConditionPathPattern(values=["/health"]))],
            action=[LbListenerRuleAction(type="forward", target_group_arn=self.target.arn)],
        )
        self.url = f"{'https' if certificate else 'http'}://{balancer.dns_name}/health"
        self.ready: list[ITerraformDependable] = [listener, rule]
        self.dimensions = {"LoadBalancer": balancer.arn_suffix, "TargetGroup": self.target.arn_suffix}
