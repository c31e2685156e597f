"""Where tasks run: on Fargate, or most of them on Fargate Spot, for less, until AWS wants a place back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cdktf import ITerraformDependable, TerraformStack
from cdktf_cdktf_provider_aws.ecs_cluster import EcsCluster
from cdktf_cdktf_provider_aws.ecs_cluster_capacity_providers import EcsClusterCapacityProviders
from cdktf_cdktf_provider_aws.ecs_service import EcsServiceCapacityProviderStrategy

from stacks.config import Config

ON_DEMAND: Final = "FARGATE"
SPOT: Final = "FARGATE_SPOT"


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the service's tasks run on: a launch type, or providers once the cluster has them (`ready`)."""

    launch_type: str | None = None
    strategy: list[EcsServiceCapacityProviderStrategy] = field(default_factory=list)
    ready: list[ITerraformDependable] = field(default_factory=list)


def capacity(stack: TerraformStack, config: Config, cluster: EcsCluster) -> Capacity:
    """The first `on_demand_base` tasks on demand and all others on Spot, or everything on demand.

    A task that is reclaimed gets SIGTERM and two minutes, of which its stop timeout takes 120 s at the most. Both
    architectures have Spot; where it has no room, tasks wait: AWS puts none of them on demand instead. Terraform
    replaces a service that goes to Spot or comes back.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-capacity-providers.html
    """
    if not config.service.spot:
        return Capacity(launch_type=ON_DEMAND)
    providers = EcsClusterCapacityProviders(
        stack, "capacity", cluster_name=cluster.name, capacity_providers=[ON_DEMAND, SPOT]
    )
    strategy = [EcsServiceCapacityProviderStrategy(capacity_provider=SPOT, weight=1)]
    if base := config.service.on_demand_base:
        strategy.insert(0, EcsServiceCapacityProviderStrategy(capacity_provider=ON_DEMAND, base=base, weight=0))
    return Capacity(strategy=strategy, ready=[providers])
